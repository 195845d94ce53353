"""One read-only directory per snapshot, for flows that do not write next to their code.

A seal beside it tells every name's size, inode and time of last change. The kernel sets that
time at each write, so a tree whose seal is unbroken holds what was verified when it was made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gitops_flow.checkout.cache import UnusableError, acquired, choice, touch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gitops_flow.checkout.cache import Shelf

# Open for as long as this process lives: their locks say that the trees are in use.
_held: list[int] = []


@dataclass(frozen=True, slots=True)
class Tree:
    """A sealed directory, how many files it has, and what to warn of."""

    directory: Path
    files: int
    warnings: tuple[str, ...]


class Key(NamedTuple):
    """Which tree: of which snapshot, and of which directories of it, if not all."""

    shelf: Shelf
    commit: str
    directories: Sequence[str]

    @property
    def seal(self) -> Path:
        """The file that tells of the tree."""
        name = f"{self.commit}{choice(self.directories)}.seal"
        return self.shelf.path / "trees" / name


def find(key: Key) -> Tree | None:
    """The tree of ``key`` if it is there, is ours and unbroken; then kept for this process."""
    seal = key.seal
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(seal.read_text())
        path = seal.parent / os.path.basename(told["name"])  # noqa: PTH119
        # What another user owns, that user can change and change back.
        if seal.lstat().st_uid != os.geteuid() or path.lstat().st_uid != os.geteuid():
            return None
        fd = os.open(lock_of(path), os.O_RDWR | os.O_CLOEXEC)
        if acquired(fd, shared=True) and _state(path) == told["state"]:
            _held.append(fd)
            touch(seal)
            return Tree(path, int(told["files"]), tuple(map(str, told["warnings"])))
        os.close(fd)
    return None


def seal(key: Key, tree: Tree) -> None:
    """Make ``tree`` read-only, and what :func:`find` finds.

    Raises:
        UnusableError: the disk is full or refuses.
    """
    target = key.seal
    try:
        _read_only(tree.directory)
        fd = os.open(lock_of(tree.directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        acquired(fd, shared=True)
        _held.append(fd)
        told = {
            "name": tree.directory.name,
            "files": tree.files,
            "warnings": tree.warnings,
            "state": _state(tree.directory),
        }
        aside = target.with_name(f".{tree.directory.name}.seal-partial")
        aside.write_text(json.dumps(told))
        aside.replace(target)
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error


def lock_of(tree: Path) -> Path:
    """The file whose shared lock means that ``tree`` is in use."""
    return tree.with_name(f"{tree.name}.lock")


def _state(root: Path) -> str:
    """A digest over every name below ``root`` and what the kernel says of it."""
    paths: list[bytes] = []
    numbers = array("Q")

    def add(path: bytes, stat: os.stat_result) -> None:
        paths.append(path)
        numbers.extend((stat.st_mode, stat.st_uid, stat.st_size, stat.st_ino, stat.st_ctime_ns))

    below = [os.fsencode(root)]
    while below:
        here = below.pop()
        add(here, os.lstat(here))
        with os.scandir(here) as entries:
            for entry in sorted(entries, key=_name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                else:
                    add(entry.path, entry.stat(follow_symlinks=False))
    return hashlib.sha256(b"\0".join(paths) + b"\0\0" + numbers.tobytes()).hexdigest()


def _name(entry: os.DirEntry[bytes]) -> bytes:
    return entry.name


def _read_only(root: Path) -> None:
    base = os.fsencode(root)
    for directory, _, files in os.walk(base, topdown=False):
        for name in files:
            path = os.path.join(directory, name)  # noqa: PTH118
            if not os.path.islink(path):  # noqa: PTH114
                os.chmod(path, os.stat(path).st_mode & 0o555)  # noqa: PTH101, PTH116
        os.chmod(directory, os.stat(directory).st_mode & 0o555)  # noqa: PTH101, PTH116
