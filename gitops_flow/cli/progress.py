"""What is being waited for: a live line on a terminal, calm lines elsewhere."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, TextIO, TypeVar

from gitops_flow.cli import streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")
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
                shown = f"{subject:<{_COLUMN}}{waiting} {seconds:.0f} s"
                width = shutil.get_terminal_size().columns - 1
                streams.out(f"\r\x1b[K{shown[:width]}", self._out)
            time.sleep(0.1)
        return answer, time.monotonic() - started

    def _clear(self) -> None:
        if self._live:
            self._out.write("\r\x1b[K")


def _result(future: Future[T]) -> T | None:
    try:
        return future.result(0)
    except NotYet:
        if future.done():
            raise
        return None
