"""The one place where errors become messages and exit codes.

0 done, 1 understood failure, 2 usage, 3 bug (with a log file), 4 changes
pending, 129 terminal closed, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import platform
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from gitops_flow import __version__, files
from gitops_flow.cli import errors, streams
from gitops_flow.cli.errors import BUG, INTERRUPTED, STOPPED
from gitops_flow.errors import GitflowError
from gitops_flow.git import environment
from gitops_flow.redact import redact
from gitops_flow.report.errors import plain_document
from gitops_flow.report.words import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a write to standard output fails with when it is a file.
_OUTPUT_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

# typer's own copy of click's ClickException, or click's: whichever it was built on.
_ClickError: type[Any] = typer.BadParameter.__mro__[2]


def run(args: Sequence[str]) -> int:
    """Run the command with ``args`` and return its exit code; every error is shown."""
    streams.prepare()
    _let_signals_clean_up()
    try:
        with environment.using(environment.GitEnvironment(os.environ)):
            words = set(itertools.takewhile(lambda arg: arg != "--", args))
            form = next((each for each in ("json", "markdown") if f"--{each}" in words), "text")
            return _run(args, form)
    except BrokenPipeError:
        streams.abandon()
        return 1


def _run(args: Sequence[str], form: str) -> int:
    as_json = form == "json"
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        from gitops_flow.cli.app import command

        code = command().main(list(args), prog_name="gitflow", standalone_mode=False)
        streams.out("")
    except GitflowError as error:
        form = "text" if isinstance(error, streams.OutputError) else form
        errors.show(error, form, next(iter(args), ""))
        return error.exit_code
    except typer.Exit as stop:
        code = stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None or error.errno not in _OUTPUT_FAILS:
            _show_bug(error, args, as_json)
            return BUG
        streams.abandon()
        message = f"standard output cannot be written: {error.strerror}"
        errors.show(streams.OutputError(message), "text", "")
        return 1
    except Exception as error:  # noqa: BLE001 - the boundary: anything else is our bug
        if isinstance(error, _ClickError):
            _show_usage(error, as_json)
            return 2
        _show_bug(error, args, as_json)
        return BUG
    # A signal inside a command comes back from typer as a code.
    if code in STOPPED:
        errors.show_stopped(STOPPED[code], as_json)
    return code if isinstance(code, int) else 0


def _let_signals_clean_up() -> None:
    """Let SIGTERM, and a terminal that is closed, end a command through its clean-up."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise typer.Exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal.signal(signal.SIGHUP, stop)


def _show_usage(error: Any, as_json: bool) -> None:
    if as_json and errors.written(plain_document(redact(error.format_message()))):
        return
    with contextlib.suppress(OSError):
        error.show(sys.stderr)


def _show_bug(error: Exception, args: Sequence[str], as_json: bool) -> None:
    trace = redact("".join(traceback.format_exception(error)))
    report = (
        f"gitflow {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"arguments: {redact(' '.join(args))}\n\n{trace}"
    )
    path = _write_log(report)
    message = printable(f"bug: {type(error).__name__}: {redact(str(error))}")
    hint = f"The details are in {path}; please attach it to a report." if path else None
    if as_json:
        errors.written(plain_document(message, hint))
    streams.err(f"{message}\n{hint or report}\n")


def _write_log(report: str) -> Path | None:
    try:
        directory = files.own_directory(os.environ, "cache", Path.cwd())
        if directory is None:
            return None
        path = directory / f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(report, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return None
    return path
