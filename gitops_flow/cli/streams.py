"""Standard output and error as they may be: closed, full, gone, or of a narrow encoding."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

from gitops_flow.errors import GitflowError


class OutputError(GitflowError):
    """Standard output does not take what is written to it."""


def prepare() -> None:
    """Make the standard streams usable, whatever the caller left of them."""
    # In this order each takes its own number, which no other file must get.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def out(text: str, stream: TextIO | None = None) -> None:
    """Write to standard output, or to ``stream`` that stands for it, now.

    Raises:
        BrokenPipeError: whoever read it has gone.
        OutputError: it cannot be written, as on a full disk.
    """
    stream = stream or sys.stdout
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon(stream)
        raise OutputError(
            f"standard output cannot be written: {error.strerror or error}",
            hint="the report is lost; running the same command again shows how things are",
        ) from None


def err(text: str) -> None:
    """Write to standard error; where that fails there is nobody left to tell."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)


def abandon(stream: TextIO | None = None) -> None:
    """Give a stream up, standard output by default.

    Python would complain of what is left in it at exit, and change the exit code.
    """
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())
