"""Clearing away: directories of finished runs, and what the cache no longer needs.

Nothing in use is touched. A run's process holds a lock that the kernel frees when it ends,
however it ends; an image that is being read stays readable after it was deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.checkout.cache import Shelf, UnusableError, acquired
from gitops_flow.checkout.shared import lock_of, remove
from gitops_flow.checkout.store import Store
from gitops_flow.checkout.workspace import made_aside
from gitops_flow.errors import GitflowError
from gitops_flow.git import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Seconds between two looks at the whole cache.
_SELDOM = 3600.0
# More packs than this make reading slow; they become one.
_MANY_PACKS = 40
# Snapshots that stay in the database then.
_KEPT = 16

_ONE_PACK = ("pack-objects", "-q", "--revs", "--delta-base-offset")

# The note of a run beside its directory, whose name a checkout was given. A repository's own
# file of such a name may lie here as well, and must not choose what is deleted.
_NOTE = re.compile(r"\.([A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{12}-[0-9a-f]{8})\.run")

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
        fd = os.open(note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        acquired(fd)
        _running.append(fd)


def finished_runs(parent: Path, age: float) -> int:
    """Delete the directories of runs below ``parent`` that ended and began ``age`` s ago."""
    count = 0
    for note in parent.glob(".*.run"):
        named = _NOTE.fullmatch(note.name)
        if named is None:
            continue
        with _unused(note, age) as free:
            if free:
                shutil.rmtree(parent / named[1], ignore_errors=True)
                note.unlink(missing_ok=True)
                count += 1
    return count


def cache(root: Path, limits: Limits) -> None:
    """Bring the cache at ``root`` within ``limits``; at most once an hour, by one process."""
    with contextlib.suppress(OSError, UnusableError):
        stamp = root / ".swept"
        if stamp.exists() and time.time() - stamp.stat().st_mtime < _SELDOM:
            return
        with stamp.open("ab") as lock:
            if not acquired(lock.fileno()):
                return
            os.utime(stamp)
            shelves = [Shelf(path) for path in root.iterdir() if path.is_dir()]
            for shelf in shelves:
                _pack(shelf, limits.age)
            _entries(shelves, limits)


def _entries(shelves: list[Shelf], limits: Limits) -> None:
    """Delete images and trees, the ones least recently used first."""
    found = sorted(entry for shelf in shelves for entry in _measured(shelf))
    total = sum(size for _, _, size in found)
    total += sum(_size(shelf.path / "objects") for shelf in shelves)
    for used, path, size in found:
        if total <= limits.size and time.time() - used <= limits.age:
            continue
        if path.suffix == ".seal" or path.is_dir():
            if not _tree_gone(path):
                continue
        else:
            path.unlink(missing_ok=True)
        total -= size


def _measured(shelf: Shelf) -> Iterator[tuple[float, Path, int]]:
    """Last use, path and bytes of every image and tree."""
    for path in shelf.path.joinpath("images").iterdir():
        stat = path.stat()
        yield stat.st_mtime, path, stat.st_size
    used = {}
    for seal in shelf.path.joinpath("trees").glob("*.seal"):
        with contextlib.suppress(OSError, IndexError):
            name = seal.read_text().split('"name": "', 1)[1].split('"', 1)[0]
            used[name] = seal.stat().st_mtime
    for path in shelf.path.joinpath("trees").iterdir():
        if path.is_dir() and not path.name.startswith("."):
            yield used.get(path.name, 0.0), path, _size(path)


def _tree_gone(path: Path) -> bool:
    """Delete a sealed tree unless a process uses it."""
    lock = lock_of(path)
    if not lock.exists() and time.time() - path.stat().st_ctime > _SELDOM:
        lock.touch()  # who made it was killed before it was sealed
    with _unused(lock, 0.0) as free:
        if not free:
            return False
        remove(path)
    return True


def _pack(shelf: Shelf, age: float) -> None:
    """Make one pack of many, of the newest snapshots; drop a database that nobody used."""
    packs = list(shelf.path.joinpath("objects", "pack").glob("pack-*"))
    whole = sorted(
        shelf.path.joinpath("whole").iterdir(), key=lambda path: path.stat().st_mtime, reverse=True
    )
    old = not whole or time.time() - whole[0].stat().st_mtime > age
    if not packs or (len(packs) <= 3 * _MANY_PACKS and not old):
        return
    with shelf.claimed("database", 0.0):
        if old:
            shelf.discard()
            return
        kept, dropped = whole[:_KEPT], whole[_KEPT:]
        with made_aside(shelf.path / "making", "repack") as work:
            store = Store.create(work.scratch)
            store.lend(shelf.path / "objects", [path.name for path in kept])
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
        yield aged and acquired(handle.fileno())


def _size(root: Path) -> int:
    total = 0
    for directory, _, files in os.walk(root):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118
    return total
