"""One read-only directory per snapshot: what runs copy, or share if they do not write to it.

A seal beside it tells every name's size, inode and time of last change. The kernel sets that
time at each write, so a tree whose seal is unbroken holds what was verified when it was made.

Copies are made by the cp program: its loop is faster, and some disks share the blocks. A copy of
the last tree is also the beginning of the next snapshot: what differs is changed in it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import threading
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gitops_flow import files
from gitops_flow.checkout import tree
from gitops_flow.checkout.cache import UnusableError, by_use, choice, touch
from gitops_flow.checkout.objects import DamagedError
from gitops_flow.checkout.write import NoWayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gitops_flow.checkout.cache import Shelf
    from gitops_flow.checkout.fetch import Order
    from gitops_flow.checkout.objects import Reader
    from gitops_flow.checkout.tree import Kind, Listing
    from gitops_flow.checkout.write import Workspace


@dataclass(frozen=True, slots=True)
class Tree:
    """A sealed directory, how many files it has, and what to warn of.

    Nobody deletes it until ``close`` is called or this process ends.
    """

    key: Key
    directory: Path
    files: int
    warnings: tuple[str, ...]
    state: str
    lock: int

    def names(self) -> dict[bytes, int]:
        """The path and mode of all that is in it.

        Raises:
            BrokenError: it is no longer what was sealed; nobody finds it any more.
        """
        with contextlib.suppress(OSError):
            state, names = _state(self.directory)
            if state == self.state:
                return names
        with contextlib.suppress(OSError):
            self.key.seal.unlink()
        raise BrokenError("a tree in it was changed")

    def close(self) -> None:
        """Let others delete it."""
        os.close(self.lock)

    def keep(self) -> None:
        """Let nobody delete it as long as this process lives; once for each directory."""
        if _kept.setdefault(self.directory, self) is not self:
            self.close()


# The trees that are in use as long as this process lives.
_kept: dict[Path, Tree] = {}


class BrokenError(Exception):
    """Somebody changed a sealed tree."""


class Key(NamedTuple):
    """Which tree: of which snapshot, and of which directories of it, if not all."""

    shelf: Shelf
    commit: str
    directories: Sequence[str]

    @property
    def seal(self) -> Path:
        """The file that tells of the tree."""
        return self.shelf.path / "trees" / (self.commit + _suffix(self.directories))


def _suffix(directories: Sequence[str]) -> str:
    """After the commit, the rest of a seal's name: each user has trees of his own."""
    return f"{choice(directories)}.{os.geteuid()}.seal"


def find(key: Key) -> Tree | None:
    """The tree of ``key`` if it is there, is ours and unbroken."""
    tree = held(key)
    if tree is not None:
        try:
            tree.names()
        except BrokenError:
            tree.close()
            return None
    return tree


def held(key: Key) -> Tree | None:
    """As :func:`find`, but whether it is unbroken is still to be asked: :meth:`Tree.names`."""
    seal = key.seal
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = _told(seal)
        path = seal.parent / os.path.basename(told["name"])  # noqa: PTH119
        # What another user owns, that user can change and change back, and rename a seal.
        if told["of"] != seal.name or path.lstat().st_uid != os.geteuid():
            return None
        warnings = tuple(map(str, told["warnings"]))
        count, state = int(told["files"]), str(told["state"])
        fd = os.open(lock_of(path), os.O_RDWR | os.O_CLOEXEC)
        if files.acquired(fd, shared=True):
            touch(seal)
            key.shelf.pulled(key.commit, key.directories)  # they go together
            return Tree(key, path, count, warnings, state, fd)
        os.close(fd)
    return None


def _told(seal: Path) -> dict[str, Any]:
    """What is in the file ``seal``, which must be ours."""
    # A pipe in its place would be waited for.
    fd = os.open(seal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, encoding="utf-8") as file:  # noqa: PTH123
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError
        told: dict[str, Any] = json.load(file)
        return told


def newest(shelf: Shelf, directories: Sequence[str]) -> Key | None:
    """The key of the tree, of all or of the same ``directories``, that was used last."""
    suffix = _suffix(directories)
    for path in by_use(shelf.path / "trees"):
        if path.name[40:] == suffix:
            return Key(shelf, path.name[:40], directories)
    return None


def seal(key: Key, directory: Path, count: int, warnings: tuple[str, ...]) -> Tree:
    """Make ``directory``, which has ``count`` files, read-only, and what :func:`find` finds.

    Raises:
        UnusableError: the disk is full or refuses; then it is gone.
    """
    target = key.seal
    fd = None
    try:
        _read_only(directory)
        fd = os.open(lock_of(directory), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        files.acquired(fd, shared=True)
        state = _state(directory)[0]
        told = {"of": target.name, "name": directory.name, "files": count, "state": state}
        aside = _unfinished(directory)
        with aside.open("x", encoding="utf-8") as file:
            file.write(json.dumps(told | {"warnings": warnings}))
        aside.replace(target)
    except OSError as error:
        if fd is not None:
            os.close(fd)
        remove(directory)
        raise UnusableError(error.strerror or str(error)) from error
    return Tree(key, directory, count, warnings, state, fd)


def remove(tree: Path) -> None:
    """Delete a read-only tree with its lock, and a seal that was never finished."""
    files.remove(tree)
    _unfinished(tree).unlink(missing_ok=True)
    lock_of(tree).unlink(missing_ok=True)


def lock_of(tree: Path) -> Path:
    """The file whose shared lock means that ``tree`` is in use."""
    return tree.with_name(f"{tree.name}.lock")


def _unfinished(tree: Path) -> Path:
    """The seal of ``tree`` while it is written."""
    return tree.with_name(f".{tree.name}.seal-partial")


def _state(root: Path) -> tuple[str, dict[bytes, int]]:
    """A digest over every name below ``root`` and what the kernel says of it; names and modes."""
    paths: list[bytes] = []
    numbers = array("Q")
    names: dict[bytes, int] = {}
    base = os.fsencode(root)
    start = len(base) + 1

    def add(path: bytes, stat: os.stat_result) -> None:
        paths.append(path)
        numbers.extend((stat.st_mode, stat.st_uid, stat.st_size, stat.st_ino, stat.st_ctime_ns))
        names[path[start:]] = stat.st_mode

    below = [base]
    while below:
        here = below.pop()
        add(here, os.lstat(here))
        with os.scandir(here) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                else:
                    add(entry.path, entry.stat(follow_symlinks=False))
    del names[b""]
    digest = hashlib.sha256(b"\0".join(paths) + b"\0\0" + numbers.tobytes()).hexdigest()
    return digest, names


def _read_only(root: Path) -> None:
    base = os.fsencode(root)
    for directory, _, names in os.walk(base, topdown=False):
        for name in names:
            path = os.path.join(directory, name)  # noqa: PTH118
            if not os.path.islink(path):  # noqa: PTH114
                os.chmod(path, os.stat(path).st_mode & 0o555)  # noqa: PTH101, PTH116
        os.chmod(directory, os.stat(directory).st_mode & 0o555)  # noqa: PTH101, PTH116


_KINDS: dict[int, Kind] = {stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
# With more than this part of the files to write, all are written.
_TOO_MANY = 0.5


class Rest(NamedTuple):
    """What has yet to be made, and all that is there then."""

    missing: Listing
    kinds: dict[bytes, Kind]


class Copy:
    """A copy under way, into the directory ``root``; see :func:`started`.

    ``wait`` gives cp's exit status, ``stop`` ends it.
    """

    def __init__(
        self, tree: Tree, root: Path, wait: Callable[[], int], stop: Callable[[], None]
    ) -> None:
        self._tree, self._root, self._wait, self._stop = tree, root, wait, stop
        self._names: dict[bytes, int] | None = None
        # While cp is at work, and git waits for the server.
        self._checking = threading.Thread(target=self._check, daemon=True)
        self._checking.start()

    def _check(self) -> None:
        # Names that come or go meanwhile are seen in the copy, and who overwrites a read-only
        # file in just this moment can do so in the copy as well.
        with contextlib.suppress(BrokenError):
            self._names = self._tree.names()

    def join(self) -> None:
        """Wait until nothing of the tree is looked at any more."""
        self._checking.join()

    def finish(self) -> dict[bytes, Kind]:
        """Wait for it: the paths that are there now, each with its kind.

        Raises:
            NoWayError: cp is another one, failed or took too long.
            BrokenError: the tree is no longer what was sealed.
        """
        self.join()
        if self._names is None:
            raise BrokenError("a tree in it was changed")
        try:
            if self._wait():
                raise NoWayError
            runnable = stat.S_IMODE(self._root.stat().st_mode)
            top = os.fsencode(self._root) + b"/"
            for path, mode in self._names.items():
                if stat.S_ISREG(mode) and mode & stat.S_IXUSR:
                    os.chmod(top + path, runnable)  # noqa: PTH101
        except OSError as error:
            raise NoWayError from error
        return {p: _KINDS.get(stat.S_IFMT(mode), "file") for p, mode in self._names.items()}

    def advance(self, source: Reader, commit: str) -> Rest | None:
        """Remove from the copy what ``commit`` lacks or has otherwise.

        None if it does not help here; then it has ended.
        """
        key = self._tree.key
        with contextlib.suppress(DamagedError, NoWayError, BrokenError, OSError):
            gone, made = tree.compare(source, key.commit, commit, key.directories)
            many = len(made.files) > _TOO_MANY * self._tree.files
            # If attributes changed, files that did not are converted otherwise.
            changed = (*gone.files, *made.files)
            converts = any(file.path.endswith(b".gitattributes") for file in changed)
            if not many and not converts:
                kinds = self.finish()
                if _hides_attributes(self._root, kinds):
                    return None
                _remove(self._root, gone)
                for path in gone.kinds():
                    del kinds[path]
                return Rest(made, kinds | made.kinds())
        self._stop()
        return None


@contextlib.contextmanager
def started(tree: Tree, work: Workspace, timeout: float) -> Iterator[Copy]:
    """Yield a copy of ``tree`` into the empty tree of ``work``.

    It ends with the block or after ``timeout`` s.

    Raises:
        NoWayError: cp cannot be started.
    """
    with contextlib.ExitStack() as stack:
        try:
            wait = stack.enter_context(files.copied(tree.directory, work.tree, work.lock, timeout))
        except OSError as error:
            raise NoWayError from error
        copy = Copy(tree, work.tree, wait, stack.close)
        try:
            yield copy
        finally:
            copy.join()


def possible(work: Workspace) -> bool:
    """Whether there is a cp, and it gives what it makes in ``work`` the rights of new files."""
    return shutil.which("cp") is not None and not _hands_down_rights(work.tree)


def _hands_down_rights(directory: Path) -> bool:
    """Whether what is made in it gets more than the umask's mode: cp takes that away again."""
    if directory.stat().st_mode & stat.S_ISGID:
        return True
    try:
        os.getxattr(directory, "system.posix_acl_default")
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    except AttributeError:
        return True  # not Linux
    return True


def begun(
    stack: contextlib.ExitStack, key: Key | None, order: Order, work: Workspace
) -> Copy | None:
    """Begin to copy the tree of ``key`` into ``work``, if it is another one and can be used here."""
    if key is None or key.commit == order.commit:
        return None
    if not (key.shelf.is_private() and possible(work)):
        return None
    with contextlib.suppress(NoWayError):
        tree = held(key)
        if tree:
            stack.callback(tree.close)
            return stack.enter_context(started(tree, work, order.places[-1].timeout))
    return None


def _hides_attributes(root: Path, kinds: dict[bytes, Kind]) -> bool:
    """Whether attributes are in an encoding (UTF-16, say) in which git does not read them."""
    base = os.fsencode(root) + b"/"
    for path, kind in kinds.items():
        if kind == "file" and path.endswith(b".gitattributes"):
            with open(base + path, "rb") as attributes:  # noqa: PTH123
                if b"\0" in attributes.read():
                    return True
    return False


def _remove(root: Path, gone: Listing) -> None:
    base = os.fsencode(root) + b"/"
    for path, kind in gone.kinds().items():
        if kind != "directory":
            os.unlink(base + path)  # noqa: PTH108
    # A directory comes after the one that it is in.
    for path in reversed(gone.directories):
        os.rmdir(base + path)  # noqa: PTH106
