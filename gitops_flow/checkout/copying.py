"""Copies of sealed trees, by the cp program: its loop is faster, and some disks share the blocks."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.checkout.workspace import NoWayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitops_flow.checkout.shared import Tree
    from gitops_flow.checkout.tree import Kind
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
