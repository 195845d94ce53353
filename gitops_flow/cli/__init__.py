"""The ``gitflow`` command. This module is all that ``gitflow --version`` loads."""

from __future__ import annotations

import os
import sys
import time

# Commands that stay: what the others do to end soon would make these grow.
_LIVE_ON = frozenset({"demo", "controller"})
_loaded = time.monotonic()


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
    from gitops_flow.cli import progress
    from gitops_flow.cli.boundary import run

    progress.start_clock(_loaded)
    _end(run(sys.argv[1:]))


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
