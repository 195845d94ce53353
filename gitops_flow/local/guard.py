"""Runs one command and ends it, with all it started, when the caller is gone.

A program of its own (``python -I -S guard.py GRACE LOG COMMAND...``) that loads
the standard library only. Its standard input is a pipe whose other end only the
caller holds: when that closes, be it on purpose or because the caller was
killed, everything below the guard gets SIGTERM and, after GRACE seconds,
SIGKILL. It prints the command's process id and ends with its exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform.startswith("linux")


def main(argv: list[str]) -> int:
    """Run ``argv`` = ``[grace in seconds, log file, command, ...]``; return its exit status."""
    grace, log, command = float(argv[0]), argv[1], argv[2:]
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    # Handlers, not SIG_IGN: ignored signals would stay ignored in the command,
    # and a Prefect worker stops by sending itself SIGINT.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with open(log, "ab") as out:  # noqa: PTH123
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_the_guard if _LINUX else None,
        )
    print(child.pid, flush=True)  # noqa: T201
    _wait(child, wake_read)
    _end(child, grace)
    code = child.returncode
    return code if code is not None and code >= 0 else 128 - (code or 0)


def _die_with_the_guard() -> None:
    # Only for a guard that was itself killed with SIGKILL.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if _LINUX:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _wait(child: subprocess.Popen[bytes], wake: int) -> None:
    """Return when the command ended, the caller is gone, or the guard is told to stop."""
    while _reap(child):
        ready, _, _ = select.select([sys.stdin, wake], [], [])
        if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1024):
            return
        if wake in ready and set(os.read(wake, 1024)) - {signal.SIGCHLD}:
            return


def _reap(child: subprocess.Popen[bytes]) -> bool:
    """Collect what ended, adopted orphans too; whether the command still runs."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == child.pid:
                child.wait()
            else:
                os.waitpid(ended.si_pid, 0)
    return child.returncode is None


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM to the command's process group, SIGKILL to whatever is left of its tree."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while _reap(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    # Orphans of any process group or session come to us, the subreaper, so one
    # pass per generation finds them all.
    for _ in range(50):
        left = _descendants()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reap(child)
        if not left:
            return
        time.sleep(0.02)


def _descendants() -> list[int]:
    """Every process below this one, by /proc; empty where there is none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may itself hold spaces and parentheses.
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
