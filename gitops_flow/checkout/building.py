"""Making a workspace's tree of a commit's files, and how long each part took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.checkout import convert, tree, write
from gitops_flow.checkout.base import Rest
from gitops_flow.checkout.objects import DamagedError
from gitops_flow.errors import CheckoutError

if TYPE_CHECKING:
    from gitops_flow.checkout.fetching import Order
    from gitops_flow.checkout.supply import Supply
    from gitops_flow.checkout.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Found:
    """What was made: how many files, what to warn of, whence, and the bytes received for it."""

    files: int
    warnings: tuple[str, ...]
    origin: str
    received: int = 0


class Clock:
    """Seconds from one lap to the next."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._laps: list[tuple[str, float]] = []

    def lap(self, name: str) -> None:
        """Note that the part ``name`` ends now."""
        now = time.perf_counter()
        self._laps.append((name, now - self._last))
        self._last = now

    @property
    def laps(self) -> tuple[tuple[str, float], ...]:
        """Each part and its seconds."""
        return tuple(self._laps)


def built(work: Workspace, order: Order, found: Supply, clock: Clock) -> Found:
    """Make the tree of ``work`` the files of ``order``, upon the base if that helps."""
    clock.lap("fetch")
    rest = found.base.advance(work.tree, found.source, order.commit) if found.base else None
    if rest is not None:
        try:
            return _written(work, order, found, rest, clock)
        except DamagedError:
            raise
        except (CheckoutError, OSError):
            pass  # cp made something else, or it fails again
    if found.base:
        work.clear()
    rest = Rest.all_of(tree.read(found.source, order.commit, order.directories))
    return _written(work, order, found, rest, clock)


def _written(work: Workspace, order: Order, found: Supply, rest: Rest, clock: Clock) -> Found:
    root, source = work.tree, found.source
    missing, kinds = rest
    write.directories(root, missing)
    write.files(root, missing, source)
    files = [path for path, kind in kinds.items() if kind == "file"]
    warnings = convert.apply(root, files, missing.files, found.store, order.places[-1].timeout)
    write.links(root, missing, source, kinds)
    clock.lap("checkout")
    write.verify(root, kinds, order.commit)
    clock.lap("verify")
    return Found(len(files), warnings, found.origin, found.received)
