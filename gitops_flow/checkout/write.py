"""Making a directory: aside, locked and swept up after a crash; then a listing written into it.

Only new names, files through no link, links last and inside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import files as disk
from gitops_flow.checkout.tree import shown
from gitops_flow.errors import CheckoutError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitops_flow.checkout.objects import Reader
    from gitops_flow.checkout.tree import Kind, Listing

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_TARGET = 4095


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
        disk.remove(self.tree)
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
    with disk.aside(parent, f".{name}.partial-") as (path, lock):
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


def directories(root: Path, listing: Listing) -> None:
    """Make the directories of ``listing`` in the empty directory ``root``."""
    base = os.fsencode(root) + b"/"
    for path in listing.directories:
        try:
            os.mkdir(base + path)  # noqa: PTH102
        except FileExistsError:
            raise _same_name(path) from None


def files(root: Path, listing: Listing, source: Reader) -> None:
    """Write the regular files of ``listing``: their contents as they are in the store.

    Each was hashed when it was read, and each must be new: two names that the
    file system takes for one are an error.
    """
    base = os.fsencode(root) + b"/"

    def save(at: int, content: bytes | Iterator[bytes]) -> None:
        file = listing.files[at]
        try:
            fd = os.open(base + file.path, _NEW, 0o777 if file.executable else 0o666)
        except FileExistsError:
            raise _same_name(file.path) from None
        try:
            for piece in (content,) if isinstance(content, bytes) else content:
                write_all(fd, piece)
        finally:
            os.close(fd)

    source.each([file.oid for file in listing.files], "blob", save)


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``; a full disk may take only a part of it at first."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def links(root: Path, listing: Listing, source: Reader, kinds: dict[bytes, Kind]) -> None:
    """Make the symbolic links, after everything else, so that nothing is written through one.

    ``kinds`` is all that is there then.

    Raises:
        CheckoutError: a link leads out of ``root``, by itself or through others.
    """
    base = os.fsencode(root) + b"/"
    oids = [link.oid for link in listing.links]
    for link, target in zip(
        listing.links, source.whole(oids, "blob", _LONGEST_TARGET), strict=True
    ):
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), target))
        if not target or b"\0" in target or target[:1] == b"/" or inside.split(b"/")[0] == b"..":
            raise _leads_out(link.path, target)
        try:
            os.symlink(target, base + link.path)  # noqa: PTH211
        except FileExistsError:
            raise _same_name(link.path) from None
    real = os.path.realpath(base)
    for path, kind in kinds.items():
        if kind == "link":
            ends = os.path.realpath(base + path)
            if ends != real and not ends.startswith(real + b"/"):
                raise _leads_out(path, os.readlink(base + path))  # noqa: PTH115


def verify(root: Path, expected: dict[bytes, Kind], commit: str) -> None:
    """Check that exactly the ``expected`` names are there, each of its kind.

    Contents were hashed on their way here; this finds a file system that
    changes names, and anybody else who writes into the directory.
    """
    kinds: dict[bytes, Kind] = {}
    base = os.fsencode(root)
    below = [b""]
    while below:
        prefix = below.pop()
        with os.scandir(base + b"/" + prefix) as entries:
            for entry in entries:
                path = prefix + entry.name
                if entry.is_symlink():
                    kinds[path] = "link"
                elif entry.is_dir():
                    kinds[path] = "directory"
                    below.append(path + b"/")
                else:
                    kinds[path] = "file"
    if kinds != expected:
        wrong = min(path for path, _ in kinds.items() ^ expected.items())
        raise CheckoutError(
            f"what is on disk is not the commit {commit}: see {shown(wrong)}",
            hint="does another program write to this directory, or does its disk change names?",
        )


def _same_name(path: bytes) -> CheckoutError:
    return CheckoutError(
        f"{shown(path)} and another file have one name on this disk",
        hint="it does not tell upper from lower case, or normalises names; rename one of them",
    )


def _leads_out(path: bytes, target: bytes) -> CheckoutError:
    return CheckoutError(
        f"the symbolic link {shown(path)} leads out of the directory, to {shown(target)}",
        hint="links in deployed code must point to something in it, by a relative path",
    )
