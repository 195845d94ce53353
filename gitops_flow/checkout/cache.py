"""What pulls leave for the next ones: per repository, one object database and some trees.

Below the cache directory lies ``checkout/<repository>/``::

    objects/    git packs, the database that fetches build on and trees are made of
    pulled/     empty files named by the snapshots, or parts of them, that were pulled
    trees/      read-only directories and their seals, see sealed.py
    making/     under construction; what a killed pull left is swept up
    locks/      never deleted

Everything becomes visible by one rename. Who copies a tree holds its lock, and who reads objects
shares the database's, so that nobody clears them away. Objects are hashed when they are read, so nothing here needs to be believed but the seals, which only their owner can write
where copies are made of trees. All of it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.checkout.write import made_aside
from gitops_flow.errors import LockedError
from gitops_flow.git.url import name_of, normalise, split_userinfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitops_flow.checkout.objects import Store

# Snapshots that a fetch tells the server it has; the newest are the likeliest to be near.
_TOLD = 16
# Hex digits of a snapshot's id.
_ID = 40
# A file's time is its last use; writing it at every use would cost more than it tells.
_USED_AGAIN = 300.0
_FOLDERS = ("objects/pack", "objects/info", "pulled", "trees", "making", "locks")
# After the name of a snapshot whose objects are in another repository on this machine.
_ELSEWHERE = "-elsewhere"


class UnusableError(Exception):
    """The cache cannot serve this pull; it must do without."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The cache of one repository."""

    path: Path

    def is_private(self) -> bool:
        """Whether nobody else may change what is in it."""
        try:
            here, above = self.path.stat(), self.path.parent.stat()
        except OSError:
            return False  # it was deleted just now
        ours = here.st_uid == above.st_uid == os.geteuid()
        return ours and not (above.st_mode & 0o077 and (here.st_mode | above.st_mode) & 0o022)

    def pulled(
        self, commit: str, directories: Sequence[str] = (), *, elsewhere: bool = True
    ) -> bool:
        """Whether that was pulled before, so that its objects should be here; noted as a use.

        With ``elsewhere``, or in another repository on this machine.
        """
        names = {commit, commit + choice(directories)}
        if elsewhere:
            names |= {name + _ELSEWHERE for name in names}
        notes = [path for name in names if (path := self.path / "pulled" / name).exists()]
        for path in notes:
            touch(path)
        return bool(notes)

    def whole(self) -> list[Path]:
        """The notes of the snapshots that the database holds completely, the last used first."""
        return [path for path in by_use(self.path / "pulled") if len(path.name) == _ID]

    def lend(self, store: Store, places: Sequence[Path] = ()) -> bool:
        """Let ``store`` read the database and ``places``, and tell servers of the former.

        False if there is nothing to tell of.
        """
        held = [path.name for path in self.whole()[:_TOLD]]
        store.lend([self.path / "objects", *places], held)
        return bool(held)

    def adopt(self, store: Store, commit: str, directories: Sequence[str]) -> None:
        """Take over what ``store`` fetched: with what was lent to it, all that was asked for."""
        # git looks for the index, so it comes last.
        for suffix in (".pack", ".rev", ".idx"):
            for file in store.packs(suffix):
                if _group_rights(self.path):
                    file.chmod(0o440)
                file.rename(self.path / "objects" / "pack" / file.name)
        self.path.joinpath("pulled", commit + choice(directories)).touch()

    def note_elsewhere(self, commit: str, directories: Sequence[str]) -> None:
        """Note a pull whose objects stay in another repository on this machine."""
        self.path.joinpath("pulled", commit + choice(directories) + _ELSEWHERE).touch()

    def discard(self) -> None:
        """Forget the database, which turned out to be damaged."""
        with made_aside(self.path / "making", "gone") as gone:
            # In this order: a snapshot that is told of must be there.
            for name in ("pulled", "objects"):
                with contextlib.suppress(OSError):
                    (self.path / name).rename(gone.aside / name)
            self.make()

    def make(self) -> None:
        """Make what is not there yet; in a directory that a group shares, for the group."""
        missing = [name for name in _FOLDERS if not (self.path / name).is_dir()]
        for name in missing:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        if missing:
            _share(self.path, "objects", *missing)

    @contextlib.contextmanager
    def claimed(self, name: str, seconds: float, *, shared: bool = False) -> Iterator[None]:
        """Hold the lock ``name``.

        Raises:
            UnusableError: somebody else kept it for ``seconds``.
        """
        # No link that another user of the cache made is followed.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self.path / "locks" / name
        with open(os.open(path, flags, 0o666), "rb") as lock:  # noqa: PTH123
            _share_file(lock.fileno(), self.path)
            try:
                files.hold(lock, path, seconds, shared=shared)
            except LockedError as error:
                raise UnusableError(f"another pull held it for {seconds:g} s") from error
            yield


def choice(directories: Sequence[str]) -> str:
    """A suffix for the names of what holds only ``directories``."""
    if not directories:
        return ""
    text = "\0".join(sorted(set(directories)))
    return "-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def shelf(root: Path, address: str) -> Shelf:
    """The shelf for the repository at ``address``; credentials do not count.

    Raises:
        UnusableError: it cannot be made.
    """
    clean = split_userinfo(address)[0]
    key = hashlib.sha256(normalise(clean).encode()).hexdigest()[:16]
    place = Shelf(root / f"{name_of(clean)[:40]}-{key}")
    try:
        if not root.is_dir():
            root.parent.mkdir(parents=True, exist_ok=True)
            # Code is nobody else's business, unless its owner shared the directory above.
            root.mkdir(mode=0o700, exist_ok=True)
            _share(root)
        place.make()
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error
    return place


def touch(path: Path) -> None:
    """Note that ``path`` was used now."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _USED_AGAIN:
            os.utime(path)


def by_use(folder: Path) -> list[Path]:
    """The files in ``folder``, the one used last first."""
    used = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                used.append((entry.stat().st_mtime_ns, entry.path))
    return [Path(path) for _, path in sorted(used, reverse=True)]


def _share(folder: Path, *names: str) -> None:
    """Give ``folder`` and the directories ``names`` in it the group rights of the one above."""
    rights = _group_rights(folder.parent)
    if rights:
        for path in (folder, *(folder / name for name in names)):
            with contextlib.suppress(OSError):
                # No link that another user of the cache made is followed.
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.fchmod(fd, 0o700 | rights)
                finally:
                    os.close(fd)


def _share_file(fd: int, folder: Path) -> None:
    if _group_rights(folder):
        with contextlib.suppress(PermissionError):
            os.fchmod(fd, 0o660)


def _group_rights(folder: Path) -> int:
    """The set-group-id directory's bits that make what is below it the group's; else none."""
    mode = folder.stat().st_mode
    return mode & 0o2070 if mode & stat.S_ISGID and mode & stat.S_IWGRP else 0
