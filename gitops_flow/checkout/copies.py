"""Copies of sealed trees, by the cp program: its loop is faster, and some disks share the blocks.

A copy of the last tree is also the beginning of the next snapshot: what differs is changed in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import threading
from typing import TYPE_CHECKING, NamedTuple

from gitops_flow import files
from gitops_flow.checkout import shared, tree
from gitops_flow.checkout.objects import DamagedError
from gitops_flow.checkout.workspace import NoWayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitops_flow.checkout.fetch import Order
    from gitops_flow.checkout.objects import Reader
    from gitops_flow.checkout.shared import Key, Tree
    from gitops_flow.checkout.tree import Kind, Listing
    from gitops_flow.checkout.workspace import Workspace

_KINDS: dict[int, Kind] = {stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


class Copy:
    """A copy under way; see :func:`started`."""

    def __init__(
        self, tree: Tree, root: Path, wait: Callable[[], int], stop: Callable[[], None]
    ) -> None:
        self.stop = stop
        self._tree = tree
        self._names: dict[bytes, int] | None = None
        self._root = root
        self._wait = wait

    def check(self) -> None:
        """Look whether the tree is what was sealed; best while cp is at work.

        Raises:
            BrokenError: it is not.
        """
        # Names that come or go meanwhile are seen in the copy, and who overwrites a read-only
        # file in just this moment can do so in the copy as well.
        if self._names is None:
            self._names = self._tree.names()

    def finish(self) -> dict[bytes, Kind]:
        """Wait for it: the paths that are there now, each with its kind.

        Raises:
            NoWayError: cp is another one, failed or took too long.
            BrokenError: as for :meth:`check`.
        """
        try:
            self.check()
            names = self._names or {}
            if self._wait():
                raise NoWayError
            runnable = stat.S_IMODE(self._root.stat().st_mode)
            base = os.fsencode(self._root) + b"/"
            for path, mode in names.items():
                if stat.S_ISREG(mode) and mode & stat.S_IXUSR:
                    os.chmod(base + path, runnable)  # noqa: PTH101
        except OSError as error:
            raise NoWayError from error
        return {path: _KINDS.get(stat.S_IFMT(mode), "file") for path, mode in names.items()}


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
        yield Copy(tree, work.tree, wait, stack.close)


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


# With more than this part of the files to write, all are written.
_TOO_MANY = 0.5


class Rest(NamedTuple):
    """What has yet to be made, and all that is there then."""

    missing: Listing
    kinds: dict[bytes, Kind]

    @classmethod
    def all_of(cls, listing: Listing) -> Rest:
        """Nothing is there."""
        return cls(listing, listing.kinds())


class Base:
    """A copy of the tree of ``key``, which has so many ``files``, under way."""

    def __init__(self, key: Key, copy: Copy, files: int) -> None:
        self._key = key
        self._copy = copy
        self._files = files
        # While git waits for the server.
        self._checking = threading.Thread(target=self._check, daemon=True)
        self._checking.start()

    def advance(self, root: Path, source: Reader, commit: str) -> Rest | None:
        """Remove from the copy, which is in ``root``, what ``commit`` lacks or has otherwise.

        None if it does not help here; then it has ended.
        """
        with contextlib.suppress(DamagedError, NoWayError, shared.BrokenError, OSError):
            gone, made = tree.compare(source, self._key.commit, commit, self._key.directories)
            many = len(made.files) > _TOO_MANY * self._files
            if not many and not _converts_otherwise(gone, made):
                self.join()
                kinds = self._copy.finish()
                if _hides_attributes(root, kinds):
                    return None
                _remove(root, gone)
                for path in gone.kinds():
                    del kinds[path]
                return Rest(made, kinds | made.kinds())
        self._copy.stop()
        return None

    def join(self) -> None:
        """Wait until nothing is read any more."""
        self._checking.join()

    def _check(self) -> None:
        with contextlib.suppress(shared.BrokenError):
            self._copy.check()


def begun(
    stack: contextlib.ExitStack, key: Key | None, order: Order, work: Workspace
) -> Base | None:
    """Begin to copy the tree of ``key`` into ``work``, if it is another one and can be used here."""
    if key is None or key.commit == order.commit:
        return None
    if not (key.shelf.is_private() and possible(work)):
        return None
    with contextlib.suppress(NoWayError):
        found = shared.held(key)
        if found:
            stack.callback(found.close)
            copy = stack.enter_context(started(found, work, order.places[-1].timeout))
            base = Base(key, copy, found.files)
            stack.callback(base.join)
            return base
    return None


def _converts_otherwise(gone: Listing, made: Listing) -> bool:
    """Whether attributes changed, by which files that did not are converted."""
    return any(file.path.endswith(b".gitattributes") for file in (*gone.files, *made.files))


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
