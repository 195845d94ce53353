"""Which source is looked at next: one entry for each, backoff for what fails, a turn for everybody."""

from __future__ import annotations

import contextlib
import enum
import heapq
import itertools
import math
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.redact import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKOFF = 2.0
LONGEST_BACKOFF = 600.0
# A turn that takes longer than these seconds waits for a server, and keeps no worker from the
# others; there are only so many times as many turns as workers.
SLOW = 10.0
_MOST_SLOW = 4
_log = get_logger("controller")


class Outcome(enum.Enum):
    """What came of a look at a source, as far as the queue has to know."""

    DONE = "all is well: nothing is tried again before somebody asks"
    WAITING = "it failed, and time does not heal it"
    FAILED = "it failed again: the next try is later than the last one was"
    FAILED_AFRESH = "it failed for the first time: backoff begins"
    UNTRIED = "there was nothing new: a try that is due later stays due"


@dataclass(frozen=True, slots=True)
class Turn:
    """One look at one source.

    Args:
        key: the source.
        asked: when the last of the triggers came that this look answers.
        retry: that no backoff is to be waited for.
        forced: that somebody asked for this source by name.
    """

    key: str
    asked: float
    retry: bool = True
    forced: bool = False


@dataclass(slots=True)
class _Entry:
    due: float | None = None
    asked: float = 0.0
    forced: bool = False
    running: bool = False
    limited: bool = False
    gone: bool = False
    failures: int = 0
    retry: float = 0.0
    ticket: int = 0


class Schedule:
    """When each source's turn is. It has no threads and no lock; see :class:`Queue`.

    Sources that failed last time get at most half of the workers, and a turn that takes long
    does not count: however long servers let us wait, the other sources have their turns.

    Args:
        workers: how many turns there are at once, but for those that take long.
        clock: seconds, which only go forward.
        random: from 0 to 1.
    """

    def __init__(
        self, workers: int, *, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self.workers = workers
        self.clock = clock
        self._random = random
        self._entries: dict[str, _Entry] = {}
        self._tickets = itertools.count(1)
        self._healthy: list[tuple[float, int, str]] = []
        self._failing: list[tuple[float, int, str]] = []
        self._failing_at_work = 0
        # Since when each turn is being taken, the oldest first.
        self._started: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def at_work(self) -> int:
        """How many turns are being taken."""
        return len(self._started)

    def add(
        self, key: str, *, after: float = 0.0, forced: bool = False, asked: float | None = None
    ) -> None:
        """Have ``key`` looked at in ``after`` seconds, or earlier if that was asked for already.

        While it is being looked at this means once more, afterwards. ``forced`` also forgets
        that it failed. ``asked`` is when the trigger came, for one that is handed back.
        """
        now = self.clock()
        entry = self._entries.setdefault(key, _Entry())
        entry.gone = False
        if forced:
            entry.failures, entry.retry, entry.forced = 0, 0.0, True
        sooner = entry.due is None or now + after < entry.due
        if after <= 0:
            before = entry.asked if entry.asked <= now else 0.0
            entry.asked = max(before, now if asked is None else asked)
        elif sooner:
            entry.asked = now + after
        if sooner:
            entry.due = now + after
        if sooner or forced:
            self._enter(key, entry)

    def remove(self, key: str) -> None:
        """Forget ``key``; a look that is being taken ends first."""
        entry = self._entries.get(key)
        if entry is not None and entry.running:
            entry.gone, entry.due = True, None
        else:
            self._entries.pop(key, None)

    def take(self) -> Turn | None:
        """The turn that is due, if there is one and a worker for it."""
        now, heap = self.clock(), self._next()
        if heap is None or heap[0][0] > now or self._room(now) > now:
            return None
        key = heapq.heappop(heap)[2]
        entry = self._entries[key]
        turn = Turn(key, entry.asked, entry.forced or now >= entry.retry, entry.forced)
        entry.due, entry.forced, entry.running, entry.ticket = None, False, True, 0
        entry.limited = entry.failures > 0
        self._started[key] = now
        self._failing_at_work += entry.limited
        return turn

    def finish(self, key: str, outcome: Outcome) -> None:
        """End the turn of ``key``."""
        entry = self._entries[key]
        entry.running = False
        del self._started[key]
        self._failing_at_work -= entry.limited
        if entry.gone:
            del self._entries[key]
            return
        now = self.clock()
        if outcome in (Outcome.DONE, Outcome.WAITING):
            entry.failures, entry.retry = 0, 0.0
        elif outcome is not Outcome.UNTRIED:
            entry.failures = 1 if outcome is Outcome.FAILED_AFRESH else entry.failures + 1
            longest = min(BACKOFF * 2 ** min(entry.failures - 1, 20), LONGEST_BACKOFF)
            entry.retry = now + longest * (0.5 + self._random() / 2)
        if entry.retry > now and (entry.due is None or entry.retry < entry.due):
            entry.due, entry.asked = entry.retry, entry.retry
        if entry.due is not None:
            self._enter(key, entry)

    def next_due(self) -> float | None:
        """When the next turn can be taken; None when only the end of another brings one."""
        heap = self._next()
        when = max(heap[0][0], self._room(self.clock())) if heap else math.inf
        return None if when == math.inf else when

    def _room(self, now: float) -> float:
        """From when on there is room for a turn, if none of those that are being taken ends."""
        quick = [started for started in self._started.values() if now - started < SLOW]
        if len(quick) < self.workers:
            return now if len(self._started) < self.workers * _MOST_SLOW else math.inf
        return quick[len(quick) - self.workers] + SLOW

    def _enter(self, key: str, entry: _Entry) -> None:
        if entry.running or entry.due is None:
            return
        # What is in a heap under an older ticket is no longer valid.
        entry.ticket = next(self._tickets)
        heap = self._failing if entry.failures else self._healthy
        heapq.heappush(heap, (entry.due, entry.ticket, key))
        if len(heap) > 2 * len(self._entries) + 100:
            heap[:] = filter(self._is_valid, heap)
            heapq.heapify(heap)

    def _next(self) -> list[tuple[float, int, str]] | None:
        """The heap that has the first turn on top, of those that may have one now."""
        heaps = [self._healthy]
        if self._failing_at_work < max(1, self.workers // 2):
            heaps.append(self._failing)
        for heap in heaps:
            while heap and not self._is_valid(heap[0]):
                heapq.heappop(heap)
        return min((heap for heap in heaps if heap), default=None, key=lambda heap: heap[0])

    def _is_valid(self, item: tuple[float, int, str]) -> bool:
        entry = self._entries.get(item[2])
        return entry is not None and entry.ticket == item[1]


class Alone:
    """What one worker does at a time. The others do not wait: they would be missing elsewhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = False
        self._waiting: list[Callable[[], None]] = []

    @contextlib.contextmanager
    def entered(self, call: Callable[[], None]) -> Iterator[bool]:
        """Whether it is ours in the block; if not, ``call`` is called when it is free again."""
        with self._lock:
            ours, self._busy = not self._busy, True
            if not ours:
                self._waiting.append(call)
        try:
            yield ours
        finally:
            if ours:
                with self._lock:
                    self._busy = False
                    waiting, self._waiting = self._waiting, []
                for each in waiting:
                    each()


class Queue:
    """Threads that take the turns of a :class:`Schedule`.

    Args:
        work: is called with each turn. What it raises is our own mistake: it is logged, and
            counts as a failure.
        workers: how many turns there are at once, but for those that take long.
        clock: seconds; :func:`time.monotonic`.
        random: for the jitter.
    """

    def __init__(
        self,
        work: Callable[[Turn], Outcome],
        *,
        workers: int = 4,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._work = work
        self._schedule = Schedule(workers, clock=clock, random=random)
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"controller-{number}", daemon=True)
            for number in range(workers * _MOST_SLOW)
        ]

    def start(self) -> None:
        """Begin to take turns."""
        for thread in self._threads:
            thread.start()

    def add(
        self, key: str, *, after: float = 0.0, forced: bool = False, asked: float | None = None
    ) -> None:
        """As :meth:`Schedule.add`; any thread may call it, and it returns at once."""
        with self._changed:
            self._schedule.add(key, after=after, forced=forced, asked=asked)
            self._changed.notify()

    def remove(self, key: str) -> None:
        """As :meth:`Schedule.remove`."""
        with self._changed:
            self._schedule.remove(key)

    def __len__(self) -> int:
        return len(self._schedule)

    @property
    def at_work(self) -> int:
        """How many sources are being looked at."""
        return self._schedule.at_work

    def close(self) -> None:
        """Take no more turns; those that are being taken go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait for the turns that are being taken; whether all have ended in time."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while (turn := self._taken()) is not None:
            try:
                outcome = self._work(turn)
            except Exception:  # noqa: BLE001 - a thread that ends would be missed
                _log.exception("%s: this is a bug of gitflow", turn.key)
                outcome = Outcome.FAILED
            with self._changed:
                self._schedule.finish(turn.key, outcome)
                self._changed.notify()

    def _taken(self) -> Turn | None:
        with self._changed:
            while not self._closed:
                turn = self._schedule.take()
                if turn is not None:
                    self._changed.notify()  # there may be one for another thread, too
                    return turn
                due = self._schedule.next_due()
                wait = None if due is None else max(0.0, due - self._schedule.clock())
                # Longer ones than this are an error to the system.
                self._changed.wait(wait and min(wait, threading.TIMEOUT_MAX))
        return None
