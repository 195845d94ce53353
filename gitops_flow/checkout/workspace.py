"""Where a checkout is built: aside, locked, and swept up after a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.checkout.tree import shown
from gitops_flow.errors import CheckoutError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class NoWayError(Exception):
    """This way does not lead to the files here; another one has to be taken."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory under construction: ``tree`` becomes the checkout, ``scratch`` goes away.

    While the open file ``lock`` is open somewhere, nobody sweeps it up.
    """

    parent: Path
    name: str
    aside: Path
    lock: int

    @property
    def tree(self) -> Path:
        """What is built; empty at first."""
        return self.aside / "tree"

    @property
    def scratch(self) -> Path:
        """For what is thrown away at the end; not there at first."""
        return self.aside / "git"

    def clear(self) -> None:
        """Make ``tree`` empty again."""
        files.remove(self.tree)
        self.tree.mkdir()

    def publish(self) -> Path:
        """Give ``tree`` its final name, new for each call, and return it."""
        while (target := self.parent / f"{self.name}-{secrets.token_hex(4)}").exists():
            pass
        self.tree.rename(target)
        return target


@contextlib.contextmanager
def made_aside(parent: Path, name: str) -> Iterator[Workspace]:
    """Yield a workspace below ``parent``; whatever is not published is removed at the end.

    What earlier calls left because they were killed is removed first.
    """
    with files.aside(parent, f".{name}.partial-") as (path, lock):
        workspace = Workspace(parent, name, path, lock)
        workspace.tree.mkdir()
        yield workspace


@contextlib.contextmanager
def disk_errors(parent: Path) -> Iterator[None]:
    """Turn what the file system refuses in the block into errors with a hint."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        said = error.strerror or str(error)
        # The directory's own name says nothing: it is gone by now.
        name = os.path.basename(os.fsencode(error.filename)) if error.filename else b""  # noqa: PTH119
        hint = "check the directory's permissions"
        if full:
            hint = f"free some space ({said})"
        elif error.errno == errno.ENAMETOOLONG:
            hint = "shorten that path in the code, or let the worker run in a directory nearer to /"
        raise CheckoutError(
            "the disk is full" if full else f"cannot write {shown(name)}: {said}",
            where=str(parent),
            hint=hint,
            retry=full,
        ) from error
