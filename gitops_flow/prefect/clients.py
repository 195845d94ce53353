"""Connections that outlive a deploy, for a process that makes many."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self

from gitops_flow.prefect.client import Client
from gitops_flow.prefect.connection import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from gitops_flow.model import PrefectConnection

# How many connections nobody uses are kept, and for how many seconds.
MOST_IDLE = 8
LONGEST_IDLE = 300.0


class Clients:
    """Clients of Prefect servers, whose connections are used again; a context manager.

    Threads may share it. A connection is used by one borrower at a time, and again only for
    settings that are the same in everything: address, credentials, TLS, limits. Nothing else is
    kept from one borrower to the next, so a server may be upgraded or emptied between two.

    Args:
        clock: seconds, as they pass.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # The one that was given back last is the last.
        self._idle: list[tuple[float, PrefectConnection, httpx.Client]] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; those that are in use when they are given back."""
        with self._lock:
            self._closed = True
        self._drop()

    @contextlib.contextmanager
    def borrow(self, connection: PrefectConnection) -> Iterator[Client]:
        """A client of ``connection`` that nobody else has; an error in the block closes it.

        Raises:
            ApiError: the settings cannot be used.
        """
        http = self._take(connection) or opened(connection)
        try:
            yield Client(connection, http)
        except BaseException:
            http.close()
            raise
        with self._lock:
            self._idle.append((self._clock(), connection, http))
        self._drop()

    def _take(self, connection: PrefectConnection) -> httpx.Client | None:
        self._drop()
        with self._lock:
            for number in range(len(self._idle) - 1, -1, -1):
                if self._idle[number][1] == connection:
                    return self._idle.pop(number)[2]
        return None

    def _drop(self) -> None:
        """Close what is too much, or was not used for too long."""
        with self._lock:
            oldest = self._clock() - LONGEST_IDLE
            kept = [each for each in self._idle if each[0] > oldest and not self._closed]
            kept = kept[-MOST_IDLE:]
            dropped = [each[2] for each in self._idle if each not in kept]
            self._idle = kept
        for http in dropped:
            http.close()
