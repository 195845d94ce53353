"""Ending work from outside: a token that is asked between phases, before sleeps and by children."""

from __future__ import annotations

import contextlib
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from gitops_flow.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stop:
    """Whether what runs is to end. Threads may share it; once set it stays so."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._reason = "stopped"
        self._ends: list[Callable[[], None]] = []

    def set(self, reason: str = "stopped") -> None:
        """Have everything that was given this token end; returns at once."""
        with self._lock:
            if not self._event.is_set():
                self._reason = reason
                self._event.set()
            ends = list(self._ends)
        for end in ends:
            end()

    @property
    def is_set(self) -> bool:
        """Whether it was set."""
        return self._event.is_set()

    def check(self) -> None:
        """Go on, unless it was set.

        Raises:
            StoppedError: it was.
        """
        if self._event.is_set():
            raise StoppedError(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleep.

        Raises:
            StoppedError: it was set, before or meanwhile.
        """
        self._event.wait(seconds)
        self.check()

    @contextlib.contextmanager
    def calling(self, end: Callable[[], None]) -> Iterator[None]:
        """Have ``end`` called, by the thread that sets the token, should that happen in the block.

        Raises:
            StoppedError: it was set; also when the block ended because of it.
        """
        with self._lock:
            self.check()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)
            self.check()


# Nobody can set it: what runs without a token of its own is not stopped.
_NEVER = Stop()
_current: ContextVar[Stop] = ContextVar("gitflow_stop", default=_NEVER)


def current() -> Stop:
    """The token of this thread."""
    return _current.get()


def pause(seconds: float) -> None:
    """Sleep, as :meth:`Stop.wait` of this thread's token does."""
    current().wait(seconds)


@contextlib.contextmanager
def using(stop: Stop | None) -> Iterator[None]:
    """Have everything that this thread does in the block ask ``stop``; None changes nothing."""
    token = _current.set(stop or _current.get())
    try:
        yield
    finally:
        _current.reset(token)
