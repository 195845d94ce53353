"""Our own places, locks, temporary directories, directories that are built aside, deletion, and copies by cp."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import re
import secrets
import stat
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from gitops_flow import stop
from gitops_flow.errors import GitError, GitflowError, LockedError, RemoteError, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# As many directories may lie in each other in a snapshot. Python and most programs that walk
# a tree fail at some depth, at 1,000 for many; real projects stay below 60.
MAX_DEPTH = 256

# What a process that was killed leaves is known by its name and by this file in it, whose lock
# the kernel frees when its holder dies.
LOCK = ".gitflow-lock"
# A lock is held while a snapshot is pushed, which git gives up after ten minutes.
LOCK_SECONDS = 900.0
_ASIDE = re.compile(r"(?:\..*\.partial|gitflow-[a-z]+)-[a-z0-9_]{8}", re.DOTALL)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_READ_ONLY = re.compile(r"Read-only file system")


def home(environ: Mapping[str, str]) -> Path | None:
    """The user's home directory; None for a user without one."""
    path = environ.get("HOME", "")
    if not os.path.isabs(path):  # noqa: PTH117
        with contextlib.suppress(KeyError):
            path = pwd.getpwuid(os.getuid()).pw_dir
    return Path(path) if path else None


def from_home(path: str, environ: Mapping[str, str]) -> Path:
    """``path``, which may begin with ``~/``: in the home directory, not in a directory ``~``."""
    user = home(environ)
    return user / path[2:] if user and (path == "~" or path.startswith("~/")) else Path(path)


def own_directory(
    environ: Mapping[str, str], kind: Literal["cache", "data"], cwd: Path
) -> Path | None:
    """Where gitflow keeps its cache or its data; None where nothing says it.

    What ``GITFLOW_CACHE_DIR`` or ``GITFLOW_DATA_DIR`` names, from ``cwd`` on or after ``~`` from
    the home directory on; else a directory in the user's by the XDG rules.
    """
    if named := environ.get(f"GITFLOW_{kind.upper()}_DIR"):
        return cwd / from_home(named, environ)
    # A relative XDG directory is invalid by its specification and is ignored.
    base = environ.get(f"XDG_{kind.upper()}_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117
        return Path(base, "gitops-flow")
    user = home(environ)
    return user and user / {"cache": ".cache", "data": ".local/share"}[kind] / "gitops-flow"


@contextlib.contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (created if absent, never deleted).

    The lock belongs to the open file: of two threads only one holds it, and the
    kernel frees it when its holder is killed.

    Raises:
        LockedError: others held it for ``seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as handle:
        hold(handle, path, seconds)
        yield


def hold(handle: BinaryIO, path: Path, seconds: float, *, shared: bool = False) -> None:
    """Wait for the lock on ``handle``, the open file ``path``.

    Raises:
        LockedError: others held it for ``seconds``.
    """
    deadline, pause = time.monotonic() + seconds, 0.002
    while not acquired(handle.fileno(), shared=shared):
        if (left := deadline - time.monotonic()) <= 0:
            raise LockedError(path, seconds)
        stop.pause(min(pause, left))
        pause = min(2 * pause, 0.1)


def acquired(fd: int, *, shared: bool = False) -> bool:
    """Take the lock on the open file ``fd`` if that needs no waiting."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


@contextlib.contextmanager
def aside(parent: Path, prefix: str) -> Iterator[tuple[Path, int]]:
    """Yield a new directory in ``parent`` and the descriptor of its lock; it is removed in the end.

    Those that earlier calls left there because they were killed are removed first: ours, with a
    lock that nobody holds. As long as the open file is open somewhere, also in a process that
    was handed the descriptor, nobody removes the directory.

    Args:
        parent: an existing directory.
        prefix: ``.<name>.partial-``, or ``gitflow-<word>-``: by that leftovers are known.
    """
    _sweep(parent)
    path, lock = _locked_directory(parent, prefix)
    try:
        yield path, lock
    finally:
        try:
            _remove_aside(path)
        finally:
            os.close(lock)


@contextlib.contextmanager
def built_aside(target: Path) -> Iterator[Path]:
    """Yield an empty directory beside ``target`` and rename it there on success.

    On any error the directory is removed; a half-made ``target`` is never
    visible. ``target`` must not exist.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with aside(target.parent, f".{target.name}.partial-") as (place, _):
        tree = place / "tree"
        tree.mkdir(0o700)
        yield tree
        tree.rename(target)


@contextlib.contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """Yield a new directory among the temporary ones; see :func:`aside`.

    Raises:
        GitflowError: there is no place for one, or the block found it full.
    """
    with contextlib.ExitStack() as stack:
        try:
            path, _ = stack.enter_context(aside(Path(tempfile.gettempdir()), prefix))
        except OSError as error:
            message = f"no temporary directory can be made: {error.strerror}"
            raise _no_room(
                message, Path(error.filename).parent if error.filename else None
            ) from error
        try:
            yield path
        except (OSError, GitflowError) as error:
            if (reason := unwritten(path, error)) is None:
                raise
            raise no_room(path, reason) from error


def _locked_directory(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Until its lock is held it looks like a leftover, and may be taken away.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(lock).st_nlink:
                    return path, lock
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove what killed processes of this user left in ``parent``."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        names = [entry.name for entry in entries if _ASIDE.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError):
                _sweep_one(parent / name)


def _sweep_one(path: Path) -> None:
    about = path.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        return
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        path.rmdir()  # killed before there was a lock, or after; what is not empty is not ours
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_aside(path)
    finally:
        os.close(lock)


def _remove_aside(path: Path) -> None:
    """Delete the directory, its lock last: by that, what is left of it is known."""
    with contextlib.suppress(OSError):
        for name in os.listdir(path):  # noqa: PTH208
            if name != LOCK:
                remove(path / name)
    remove(path)


def remove(path: Path) -> None:
    """Delete a file, or a directory with all that is in it, however deep and read-only it is.

    A link is not followed. What cannot be deleted stays.
    """
    try:
        top = _opened(os.fspath(path))
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        return
    try:
        token = secrets.token_hex(8)
        number = 0
        left = _emptied(top)
        while left:
            name = left.pop()
            with contextlib.suppress(OSError):
                fd = _opened(name, top)
                try:
                    # Each goes up to the top before it is entered: nothing here depends on depth.
                    for inner in _emptied(fd):
                        number += 1
                        os.close(_opened(inner, fd))
                        os.rename(
                            inner, moved := f"{token}-{number}", src_dir_fd=fd, dst_dir_fd=top
                        )
                        left.append(moved)
                finally:
                    os.close(fd)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    with contextlib.suppress(OSError):
        path.rmdir()


def _opened(name: str, parent: int | None = None) -> int:
    """Open a directory that can be emptied then."""
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
    with contextlib.suppress(OSError):
        os.fchmod(fd, 0o700)
    return fd


def _emptied(fd: int) -> list[str]:
    """Delete the files in a directory; the names of the directories in it."""
    directories = []
    with os.scandir(fd) as entries:
        listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in listed:
        if is_directory:
            directories.append(name)
        else:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=fd)
    return directories


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


def closed_to_us(path: Path) -> Path | None:
    """The first directory on the way to ``path``, or itself, that this process may not enter."""
    for each in (*reversed(path.parents), path):
        if not os.access(each, os.X_OK):
            return each if os.path.lexists(each) else None
    return None if os.access(path, os.R_OK) else path


def closed_to_others(path: Path) -> Path | None:
    """The first directory on the way to ``path``, or itself, that other users may not enter."""
    with contextlib.suppress(OSError):
        for each in (*reversed(path.parents), path):
            if not each.stat().st_mode & stat.S_IXOTH:
                return each
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
