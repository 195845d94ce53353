"""How far one controller goes: its queue, on a clock that jumps, with looks that take so long.

    python -m tools.scale [--look 0.01] [--deploy 1] [--listing 0.01] [--workers 4]

The queue is the real one (:class:`gitops_flow.controller.queue.Schedule`); git, Prefect and the
deploys are seconds that the arguments say, as `benchmarks/controller.py` measures them.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.controller.queue import Outcome, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZES = (100, 1_000, 10_000, 100_000)
# A listing of the server is good for this part of an interval, for all sources.
_FRESH = 4


@dataclass
class Clock:
    """Seconds that pass when somebody says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The seconds."""
        return self.now


@dataclass
class Simulation:
    """Sources that are looked at for some time; what became of them is read afterwards.

    Args:
        sources: how many there are, named "0", "1" and so on.
        workers: how many looks are taken at once.
        interval: seconds between the looks at each source.
        look: seconds of a look that finds nothing new.
        seconds: of the looks at sources for which it is something else.
        failing: the sources of which every look fails.
        commits: new commits of each source in a day; ``deploy`` is how many seconds each takes.
        listing: seconds of the server's listing for each source. One worker at a time waits for
            it, and others' looks are handed back until then.
        settled: seconds after which it counts how late a look is.
        seed: of what is random.
    """

    sources: int
    workers: int = 4
    interval: float = 300.0
    look: float = 0.02
    seconds: dict[str, float] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    commits: float = 0.0
    deploy: float = 1.0
    listing: float = 0.0
    settled: float = 0.0
    seed: int = 7
    late: dict[str, float] = field(default_factory=dict, init=False)
    busy: float = field(default=0.0, init=False)
    listings: int = field(default=0, init=False)

    def run(self, until: float) -> None:
        """Let ``until`` seconds pass.

        Afterwards ``late`` has the longest wait for a worker of each source that does not fail,
        in seconds, ``busy`` the part of the workers' time that was used, from 0 to 1, and
        ``listings`` how often the server was asked.
        """
        clock, rng = Clock(), random.Random(self.seed)  # noqa: S311
        schedule = Schedule(self.workers, clock=clock, random=rng.random)
        for number in range(self.sources):
            schedule.add(str(number), after=rng.random() * self.interval)
        ending: list[tuple[float, str, Outcome]] = []
        begun, worked = clock.now, 0.0
        listed, listing_ends, handed_back = -self.interval, 0.0, []
        chance = self.commits * self.interval / 86400
        while clock.now < begun + until:
            if clock.now >= listing_ends:
                for key, asked in handed_back:
                    schedule.add(key, asked=asked)
                handed_back = []
            while (turn := schedule.take()) is not None:
                key, took, outcome = turn.key, self.seconds.get(turn.key, self.look), Outcome.DONE
                schedule.add(key, after=self.interval)
                if self.listing and clock.now < listing_ends:
                    handed_back.append((key, turn.asked))
                    outcome = Outcome.UNTRIED
                elif self.listing and listed < turn.asked - self.interval / _FRESH:
                    took += self.listing * self.sources
                    listed, listing_ends = clock.now, clock.now + took
                    self.listings += 1
                elif key in self.failing:
                    outcome = Outcome.FAILED
                elif rng.random() < chance:
                    took += self.deploy
                if key not in self.failing and outcome is Outcome.DONE:
                    self._count(key, clock.now - turn.asked, clock.now - begun)
                worked += took
                heapq.heappush(ending, (clock.now + took, key, outcome))
            due = schedule.next_due()
            if ending and (due is None or ending[0][0] <= due):
                clock.now, key, outcome = heapq.heappop(ending)
                schedule.finish(key, outcome)
            else:
                clock.now = due if due is not None else begun + until
        self.busy = worked / (clock.now - begun) / self.workers

    def _count(self, key: str, late: float, since: float) -> None:
        if since > self.settled:
            self.late[key] = max(self.late.get(key, 0.0), late)

    @property
    def overdue(self) -> int:
        """How many sources were not looked at for three intervals, or not at all."""
        waited = sum(each >= 2 * self.interval for each in self.late.values())
        return waited + self.sources - len(self.failing) - len(self.late)


def rows(args: argparse.Namespace) -> Iterator[str]:
    """A line for each number of sources."""
    yield "sources    interval  workers busy  latest look  listings  overdue"
    for sources in _SIZES:
        for interval in args.interval:
            made = Simulation(
                sources,
                args.workers,
                interval,
                args.look,
                commits=args.commits,
                deploy=args.deploy,
                listing=args.listing,
                settled=2 * interval,
            )
            made.run(6 * interval)
            latest = max(made.late.values(), default=float("inf"))
            yield (
                f"{sources:7,}  {interval:7.0f} s  {100 * made.busy:10.0f} %  {latest:9.1f} s  "
                f"{made.listings:8}  {made.overdue:7,}"
            )


def main() -> None:
    """Print what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tools.scale")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--interval", type=float, nargs="+", default=[300.0], help="seconds")
    parser.add_argument("--look", type=float, default=0.01, help="seconds; nothing is new")
    parser.add_argument("--deploy", type=float, default=1.0, help="seconds of a deploy")
    parser.add_argument("--commits", type=float, default=5.0, help="of a source, in a day")
    parser.add_argument("--listing", type=float, default=0.01, help="seconds for each source")
    for line in rows(parser.parse_args()):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
