"""Making a workspace's tree of a commit's files, and how long each part took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.checkout import convert, tree, write
from gitops_flow.checkout.base import Rest

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
    """Write the files of ``order`` that are not in the tree of ``work`` already."""
    clock.lap("fetch")
    root, source = work.tree, found.source
    advanced = found.base.advance(root, source, order.commit) if found.base else None
    if found.base and not advanced:
        work.clear()
    rest = advanced or Rest.all_of(tree.read(source, order.commit, order.directories))
    listing = rest.listing
    write.directories(root, rest.missing)
    write.files(root, rest.missing, source)
    warnings = convert.apply(
        root,
        listing,
        found.store,
        order.places[-1].timeout,
        source if found.empty else None,
        done=rest.kept,
    )
    write.links(root, rest.missing, source)
    clock.lap("checkout")
    write.verify(root, listing.kinds(), order.commit)
    clock.lap("verify")
    return Found(len(listing.files), warnings, found.origin, found.received)
