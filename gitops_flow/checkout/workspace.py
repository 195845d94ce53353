"""Where a checkout is built: aside, locked, and swept up after a crash."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow.errors import CheckoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# A directory without a held lock and younger than this may be about to be locked.
_SETTLED = 60.0


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
        shutil.rmtree(self.tree)
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
    _sweep(parent)
    aside = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=parent))
    try:
        with (aside / "lock").open("wb") as lock:
            # The kernel frees it when its holder dies: a free lock means a leftover.
            fcntl.flock(lock, fcntl.LOCK_EX)
            workspace = Workspace(parent, name, aside, lock.fileno())
            workspace.tree.mkdir()
            yield workspace
    finally:
        _remove(aside)


def _remove(aside: Path) -> None:
    """Delete a workspace, its lock last: by that, what is left of it is known."""
    for part in ("tree", "git"):
        shutil.rmtree(aside / part, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for leftover in parent.glob(".*.partial-*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.lstat().st_mtime < _SETTLED:
                continue
            try:
                with (leftover / "lock").open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(leftover)
            except FileNotFoundError:
                leftover.rmdir()  # killed before there was a lock, or after


@contextlib.contextmanager
def disk_errors(parent: Path) -> Iterator[None]:
    """Turn what the file system refuses in the block into errors with a hint."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        said = error.strerror or str(error)
        # The directory's own name says nothing: it is gone by now.
        name = os.path.basename(os.fsdecode(error.filename)) if error.filename else ""  # noqa: PTH119
        raise CheckoutError(
            "the disk is full" if full else f"cannot write {name!a}: {said}",
            where=str(parent),
            hint=f"free some space ({said})" if full else "check the directory's permissions",
            retry=full,
        ) from error
