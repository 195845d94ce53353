"""Starting the programs of steps, reading what they print, ending them with all they started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gitops_flow import stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Take = Callable[[bytes], None]

# Seconds between SIGTERM and SIGKILL.
GRACE = 5.0
_PIECE = 64 << 10


def start(
    command: str | Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    stderr: int = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program (a list) or a line for the shell (a text), without standard input.

    It leads a session of its own: Ctrl-C reaches only us, and we end it with
    all that it started.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    return subprocess.Popen(
        command,
        shell=isinstance(command, str),
        cwd=cwd,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def finish(
    process: subprocess.Popen[bytes],
    on_stdout: Take,
    on_stderr: Take,
) -> int:
    """Hand over all that ``process`` prints until it has ended; its exit status.

    Whatever is raised meanwhile (Ctrl-C, a stop) ends it first.
    """
    try:
        with selectors.DefaultSelector() as waiting:
            for pipe, take in ((process.stdout, on_stdout), (process.stderr, on_stderr)):
                if pipe is not None:
                    waiting.register(pipe, selectors.EVENT_READ, take)
            while waiting.get_map():
                stop.current().check()
                for key, _ in waiting.select(0.5):
                    if data := os.read(key.fd, _PIECE):
                        key.data(data)
                    else:
                        waiting.unregister(key.fileobj)
        return process.wait()
    except BaseException:
        end(process)
        raise
    finally:
        close(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process and what it started, and after ``GRACE`` seconds SIGKILL."""
    try:
        deadline = time.monotonic() + GRACE
        _signal(process, signal.SIGTERM)
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            if ended and not _signal(process, 0):
                return
            time.sleep(0.02)
    finally:
        # Also when a second Ctrl-C cuts the waiting short.
        _signal(process, signal.SIGKILL)
        process.wait()


def close(process: subprocess.Popen[bytes]) -> None:
    """Close our ends of its pipes."""
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def describe(status: int) -> str:
    """How a program ended, in words."""
    if status >= 0:
        return f"failed with exit status {status}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Signal the whole group; whether there was anybody left in it."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Some systems answer so for a group whose last member is a zombie.
        return process.poll() is None
    return True
