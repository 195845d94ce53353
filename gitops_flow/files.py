"""Locks, temporary directories, directories that are built aside, and copies by the cp program."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow.errors import GitflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
        GitflowError: there is no place for one.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise GitflowError(
            f"no temporary directory can be made: {error.strerror}",
            hint="free some space, or set TMPDIR to a directory you may write",
        ) from error
    with made as path:
        yield Path(path)


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
