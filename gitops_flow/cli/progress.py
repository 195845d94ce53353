"""What is being waited for (a live line on a terminal, calm lines elsewhere), and how long."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from gitops_flow.cli import streams
from gitops_flow.report.words import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from gitops_flow.deploy import Event

T = TypeVar("T")
# Longer than that is not how long the interpreter took to start: a shell, say, became this process.
_LONGEST_START = 3.0
_began: float | None = None
_COLUMN = 11


class Progress:
    """Lines of ``subject  what happened`` on ``out``."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        # What an error or "interrupted" is written after must not stand in its line.
        self._clear()
        self._out.flush()

    def line(self, subject: str, text: str) -> None:
        """One finished fact."""
        self._clear()
        streams.out(f"{subject:<{_COLUMN}}{text}\n", self._out)

    def text(self, text: str = "") -> None:
        """Text as it is."""
        self._clear()
        streams.out(f"{text}\n", self._out)

    def wait_for(self, subject: str, waiting: str, future: Future[T]) -> T:
        """Show ``waiting`` with the seconds until ``future`` is done; its result."""
        return self.poll(subject, waiting, lambda: _result(future))[0]

    def poll(self, subject: str, waiting: str, ask: Callable[[], T | None]) -> tuple[T, float]:
        """Ask until the answer is not None; the answer and the seconds it took."""
        started = time.monotonic()
        if not self._live:
            self.line(subject, waiting)
        while (answer := ask()) is None:
            if self._live:
                seconds = time.monotonic() - started
                line = f"{subject:<{_COLUMN}}{waiting} {seconds:.0f} s"
                width = shutil.get_terminal_size().columns - 1
                streams.out(f"\r\x1b[K{line[:width]}", self._out)
            time.sleep(0.1)
        return answer, time.monotonic() - started

    def _clear(self) -> None:
        if self._live:
            self._out.write("\r\x1b[K")


def _result(future: Future[T]) -> T | None:
    try:
        return future.result(0)
    except TimeoutError:
        if future.done():
            raise
        return None


class Talk:
    """What is being done, as one live line on a terminal; nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._live = not quiet and sys.stderr.isatty()

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def say(self, what: str) -> None:
        """Show ``what`` is being done."""
        self._write(f"{what} ...")

    def event(self, event: Event) -> None:
        """Show what a deploy tells of itself; what became of a deployment is told in its report."""
        from gitops_flow.deploy import Phase, StepLine

        if isinstance(event, Phase):
            self.say(event.value)
        elif isinstance(event, StepLine):
            # Always passed on.
            self.clear()
            sys.stderr.write(f"  | {shown(event.text)}\n")
            sys.stderr.flush()

    def clear(self) -> None:
        """Make room for something else on the terminal."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def start_clock(loaded: float) -> None:
    """Count :func:`elapsed` from the start of this process, or from ``loaded`` (monotonic)."""
    global _began
    _began = process_began(loaded)


def elapsed(since: float) -> float:
    """Seconds since this process began, or since ``since`` (monotonic) where it has another use."""
    return time.monotonic() - (since if _began is None else _began)


def process_began(loaded: float) -> float:
    """When, by the monotonic clock, the process began; before Python did, where Linux tells it."""
    try:
        ticks = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
        began = ticks / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError, AttributeError):
        return loaded
    began = time.monotonic() - age
    return began if 0 <= loaded - began <= _LONGEST_START else loaded
