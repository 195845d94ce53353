"""Clearing away: directories of finished runs, and what the cache no longer needs.

Nothing in use is touched. A run's process holds a lock that the kernel frees when it ends,
however it ends, and a pull one on the objects that it reads.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.checkout.cache import Shelf, UnusableError, by_use
from gitops_flow.checkout.objects import Store
from gitops_flow.checkout.sealed import lock_of, remove
from gitops_flow.checkout.write import made_aside
from gitops_flow.errors import GitflowError
from gitops_flow.git import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    # Last use, bytes, and what deletes it if it can.
    _Entry = tuple[float, int, Callable[[], bool]]

# Seconds between two looks at the whole cache.
_SELDOM = 3600.0
# More packs than this make reading slow; they become one.
_MANY_PACKS = 40
# Snapshots that stay in the database then.
_KEPT = 16

_ONE_PACK = ("pack-objects", "-q", "--revs", "--delta-base-offset")

# The note of a run beside its directory, whose name a checkout was given. A repository's own
# file of such a name may lie here as well, and must not choose what is deleted.
_MADE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{12}-[0-9a-f]{8}")
_NOTE = re.compile(rf"\.({_MADE.pattern})\.run")

_running: list[int] = []


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes that the cache may take, and seconds without use after which an entry goes.

    ``runs`` is the age in seconds after which a finished run's directory goes.
    """

    size: float = 10e9
    age: float = 30 * 86400.0
    runs: float = 86400.0


def register(directory: Path) -> None:
    """Note that this process runs in ``directory``, until the process ends."""
    with contextlib.suppress(OSError):
        note = directory.with_name(f".{directory.name}.run")
        aside = note.with_suffix(".run-partial")
        fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        files.acquired(fd)
        _running.append(fd)
        aside.rename(note)  # nobody finds it without its lock


def finished_runs(parent: Path, age: float) -> int:
    """Delete the directories of runs below ``parent`` that ended and began ``age`` s ago.

    One that cannot be deleted is left to a later call.
    """
    count = 0
    with contextlib.suppress(OSError):
        for note in parent.glob(".*.run"):
            named = _NOTE.fullmatch(note.name)
            if named is None:
                continue
            with contextlib.suppress(OSError), _unused(note, age) as free:
                if free:
                    remove(parent / named[1])
                    note.unlink(missing_ok=True)
                    count += 1
    return count


def cache(root: Path, limits: Limits) -> None:
    """Bring the cache at ``root`` within ``limits``; at most once an hour, by one process."""
    with contextlib.suppress(OSError, UnusableError):
        # Each user clears away what is his.
        stamp = root / f".swept-{os.geteuid()}"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < _SELDOM:
            return
        with stamp.open("ab") as lock:
            if not files.acquired(lock.fileno()):
                return
            os.utime(stamp)
            shelves = [Shelf(path) for path in root.iterdir() if _is_directory(path)]
            for shelf in shelves:
                with contextlib.suppress(OSError, UnusableError):
                    _pack(shelf)
            _entries(shelves, limits)


def _entries(shelves: list[Shelf], limits: Limits) -> None:
    """Delete trees and databases, the ones least recently used first."""
    entries: list[_Entry] = []
    for shelf in shelves:
        with contextlib.suppress(OSError):
            entries += _measured(shelf)
    total = sum(size for _, size, _ in entries)
    for used, size, delete in sorted(entries, key=lambda entry: entry[0]):
        if total > limits.size or time.time() - used > limits.age:
            with contextlib.suppress(OSError):
                total -= size if delete() else 0


def _measured(shelf: Shelf) -> Iterator[_Entry]:
    """Every tree and the database."""
    seals = {}
    for seal in shelf.path.joinpath("trees").glob("*.seal"):
        with contextlib.suppress(OSError, IndexError):
            if not seal.is_file():
                continue  # a pipe would be waited for
            name = seal.read_text().split('"name": "', 1)[1].split('"', 1)[0]
            seals[name] = (seal.stat().st_mtime, seal)
    for path in shelf.path.joinpath("trees").glob("*"):
        if _MADE.fullmatch(path.name) and _is_directory(path):
            used, sealed_by = seals.get(path.name, (0.0, None))
            yield used, _size(path), partial(_tree_gone, path, sealed_by)
    if notes := by_use(shelf.path / "pulled"):
        size = _size(shelf.path / "objects")
        yield notes[0].stat().st_mtime, size, partial(_database_gone, shelf)


def _database_gone(shelf: Shelf) -> bool:
    """Delete the objects, unless a pull reads them."""
    with contextlib.suppress(UnusableError), shelf.claimed("database", 0.0):
        shelf.discard()
        return True
    return False


def _tree_gone(path: Path, seal: Path | None) -> bool:
    """Delete a tree and its seal unless a process uses it."""
    lock = lock_of(path)
    if not lock.exists() and time.time() - path.stat().st_ctime > _SELDOM:
        lock.touch()  # who made it was killed before it was sealed
    with _unused(lock, 0.0) as free:
        if not free:
            return False
        if seal:
            seal.unlink(missing_ok=True)
        remove(path)
    return True


def _pack(shelf: Shelf) -> None:
    """Make one pack of many, of the newest snapshots."""
    packs = list(shelf.path.joinpath("objects", "pack").glob("pack-*"))
    if len(packs) <= 3 * _MANY_PACKS:
        return
    with shelf.claimed("database", 0.0), made_aside(shelf.path / "making", "repack") as work:
        kept = shelf.whole()[:_KEPT]
        dropped = [path for path in by_use(shelf.path / "pulled") if path not in kept]
        store = Store.create(work.scratch)
        store.lend([shelf.path / "objects"])
        try:
            made = command.run(
                [*_ONE_PACK, str(work.aside / "pack")],
                env=store.environment(),
                stdin="".join(f"{path.name}\n" for path in kept).encode(),
            )
        except GitflowError:
            shelf.discard()
            return
        for path in (*dropped, *packs):
            path.unlink(missing_ok=True)
        name = f"pack-{made.stdout.decode().strip()}"
        for suffix in (".pack", ".rev", ".idx"):
            file = work.aside / f"{name}{suffix}"
            if file.exists():
                file.rename(shelf.path / "objects" / "pack" / file.name)


@contextlib.contextmanager
def _unused(lock: Path, age: float) -> Iterator[bool]:
    """Yield whether nobody holds ``lock`` and it is older than ``age`` s; hold it meanwhile."""
    try:
        handle = lock.open("rb+")
    except OSError:
        yield False
        return
    with handle:
        aged = time.time() - os.fstat(handle.fileno()).st_mtime >= age
        yield aged and files.acquired(handle.fileno())


def _is_directory(path: Path) -> bool:
    """Whether it is one itself: what a link leads to is nobody's to clear away."""
    return path.is_dir() and not path.is_symlink()


def _size(root: Path) -> int:
    total, below = 0, [os.fspath(root)]
    while below:
        with contextlib.suppress(OSError), os.scandir(below.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                else:
                    with contextlib.suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total
