"""Standard output and error as they may be: closed, full, gone, or of a narrow encoding."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from gitops_flow.errors import GitflowError
from gitops_flow.report.words import COMMAND_LINE, worded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_RED, _GREEN, _YELLOW, _CYAN, _BOLD = "31", "32", "33", "36", "1"
_COLOURS = {
    # How a patch's lines begin, and those of a plan.
    "diff --git ": _BOLD,
    "--- ": _BOLD,
    "+++ ": _BOLD,
    "@@ ": _CYAN,
    "+": _GREEN,
    "-": _RED,
    "~ ": _YELLOW,
    "! ": _RED,
    "= ": _CYAN,
    "warning: ": _YELLOW,
    "refused: ": _RED,
    "next:": _BOLD,
    # And those of a controller's status.
    "synced ": _GREEN,
    "progressing ": _CYAN,
    "out-of-sync ": _YELLOW,
    "degraded ": _RED,
}


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
    with _told(stream):
        stream.write(worded(text, COMMAND_LINE))
        stream.flush()


def out_bytes(data: bytes) -> None:
    """Write to standard output what is to arrive as it is; errors as in :func:`out`."""
    with _told(sys.stdout):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _told(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon(stream)
        raise OutputError(
            f"standard output cannot be written: {error.strerror or error}",
            hint="the report is lost; running the same command again shows how things are",
        ) from None


def show(lines: Iterable[str]) -> None:
    """Write lines for a person: in colours, by how they begin, where a terminal shows some.

    Raises:
        OutputError: as :func:`out`.
    """
    if in_colour():
        lines = map(_coloured, lines)
    out("\n".join(lines) + "\n")


def in_colour() -> bool:
    """Whether standard output is a terminal on which colours are welcome (no-color.org)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and is_terminal()


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def _coloured(line: str) -> str:
    colour = next((code for start, code in _COLOURS.items() if line.startswith(start)), None)
    return line if colour is None else f"\x1b[{colour}m{line}\x1b[0m"


def err(text: str) -> None:
    """Write to standard error; where that fails there is nobody left to tell."""
    try:
        sys.stderr.write(worded(text, COMMAND_LINE))
        sys.stderr.flush()
    except OSError:
        abandon(sys.stderr)


def abandon(stream: TextIO | None = None) -> None:
    """Give a stream up, standard output by default.

    Python would complain of what is left in it at exit, and change the exit code.
    """
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())
