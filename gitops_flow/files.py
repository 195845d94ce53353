"""Locks, temporary directories, directories that are built aside, and copies by the cp program."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow.errors import GitError, GitflowError, RemoteError, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_READ_ONLY = re.compile(r"Read-only file system")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (created if absent, never deleted).

    The lock belongs to the open file, so the kernel frees it when its holder
    is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def built_aside(target: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``target`` and rename it there on success.

    On any error the directory is removed; a half-made ``target`` is never
    visible. ``target`` must not exist.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        yield aside
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


@contextlib.contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """Yield a new directory among the temporary ones; it is removed in the end.

    Raises:
        GitflowError: there is no place for one, or the block found it full.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        message = f"no temporary directory can be made: {error.strerror}"
        raise _no_room(message, Path(error.filename).parent if error.filename else None) from error
    with made as name:
        path = Path(name)
        try:
            yield path
        except (OSError, GitflowError) as error:
            if (reason := unwritten(path, error)) is None:
                raise
            raise no_room(path, reason) from error


def no_room(path: Path, reason: str) -> GitflowError:
    """The error for a temporary directory that cannot be written, for ``reason``."""
    return _no_room(f"the temporary directory cannot be written: {reason}", path.parent)


def _no_room(message: str, where: Path | None) -> GitflowError:
    return GitflowError(
        message,
        where=str(where) if where else None,
        hint="free some space, or set TMPDIR to a directory you may write",
        retry=bool(_FULL.search(message)),
    )


def unwritten(path: Path, error: Exception) -> str | None:
    """Why ``path`` could not be written, if that is what ``error`` is about.

    It is when it failed at ``path``, on the way to it, or in a file that was open
    already, ours or that of a git which worked there.
    """
    if isinstance(error, OSError):
        if error.filename is None:
            about = error.errno in (errno.ENOSPC, errno.EDQUOT)
        else:
            at = Path(os.fsdecode(error.filename))
            about = at.is_relative_to(path) or path.is_relative_to(at)
        return (error.strerror or str(error)) if about else None
    if isinstance(error, GitError | SnapshotError) and not isinstance(error, RemoteError):
        found = _FULL.search(error.message) or _READ_ONLY.search(error.message)
        return found[0] if found else None
    return None


@contextlib.contextmanager
def copied(source: Path, target: Path, lock: int, timeout: float) -> Iterator[Callable[[], int]]:
    """Copy all that is in ``source`` by the cp program; yield what waits for its exit status.

    The file system shares the blocks if it can. Modes are those of new files. cp ends with the
    block or after ``timeout`` s. The open file ``lock`` stays open in it: who holds its lock
    holds it until cp has ended as well.

    Raises:
        OSError: there is no such program.
    """
    options = ("-R", "-P", "--reflink=auto", "--no-preserve=mode")
    process = subprocess.Popen(
        ["cp", *options, "--", f"{source}/.", str(target)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(lock,),
    )
    # Popen's own timeout would look only every 50 ms.
    timer = threading.Timer(timeout, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield process.wait
    finally:
        timer.cancel()
        process.kill()
        process.wait()
