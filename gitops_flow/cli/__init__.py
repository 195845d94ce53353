"""The ``gitflow`` command. This module is all that ``gitflow --version`` loads."""

from __future__ import annotations

import os
import sys
import time

# Longer than that is not how long the interpreter took to start: a shell, say, became this process.
_LONGEST_START = 3.0
# Commands that stay: what the others do to end soon would make these grow.
_LIVE_ON = frozenset({"demo"})
_loaded = time.monotonic()
_began: float | None = None


def main() -> None:
    """Run the ``gitflow`` command on ``sys.argv`` and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]) and sys.stdout is not None:
        from gitops_flow import __version__

        try:
            # Not through the stream, which would keep what it cannot write.
            os.write(sys.stdout.fileno(), f"gitflow {__version__}\n".encode())
        except (OSError, ValueError):
            pass  # told below, as for any other command
        else:
            return
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)  # until the boundary takes over
    if not _LIVE_ON.intersection(sys.argv[1:2]):
        for_one_command()
    from gitops_flow.cli.boundary import run

    global _began
    _began = _process_began()
    _end(run(sys.argv[1:]))


def elapsed(since: float) -> float:
    """Seconds since this process began, or since ``since`` (monotonic) where it has another use."""
    return time.monotonic() - (since if _began is None else _began)


def _process_began() -> float:
    """When, by the monotonic clock, the process began; before Python did, where Linux tells it."""
    try:
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123 - pathlib is not loaded yet
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        began = ticks / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError, AttributeError):
        return _loaded
    began = time.monotonic() - age
    return began if 0 <= _loaded - began <= _LONGEST_START else _loaded


def _end(code: int) -> None:
    """Exit without taking the interpreter apart, which would take a fifth of a short command."""
    import atexit
    import threading

    others = [each for each in threading.enumerate() if not each.daemon]
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        sys.exit(code)
    if len(others) > 1:
        sys.exit(code)
    atexit._run_exitfuncs()  # noqa: SLF001 - what Python would do first
    os._exit(code)


def _interrupted(*_: object) -> None:
    """End at once: nothing is loaded yet that would say so, and nothing to be cleaned up."""
    args = sys.argv[1:]
    told = {2: "interrupted\n"}
    if "--json" in args[: args.index("--") if "--" in args else None]:
        error = '{"message": "interrupted", "where": null, "hint": null, "retry": false}'
        told[1] = f'{{"ok": false, "error": {error}}}\n'
    try:
        for number, text in sorted(told.items()):
            os.write(number, text.encode())
    finally:
        os._exit(130)


def for_one_command() -> None:
    """Set this process up to run one command and nothing else."""
    import gc

    # Where these are installed httpx loads them: its own command line, and HTTP/2.
    # We use neither.
    for name in ("httpx._main", "h2"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    # Little of what a command makes can be thrown away before its end, and looking
    # for it would take a third of the time in which a large manifest is read.
    gc.set_threshold(100_000, 50, 1000)
