"""The worker's side: from a pin to a directory that holds exactly its files.

Every object is hashed on its way from git to the disk, from the commit down,
so a directory that was handed over is proven to be the pinned content. It is
made aside under a name of its own and appears by one rename.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import log
from gitops_flow.checkout import convert, shared, supply, tree, write
from gitops_flow.checkout.cache import UnusableError, shelf
from gitops_flow.checkout.fetching import Order, Place
from gitops_flow.checkout.objects import DamagedError
from gitops_flow.checkout.workspace import disk_errors, made_aside
from gitops_flow.git.url import check_address, check_commit, name_of, split_userinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gitops_flow.checkout.cache import Shelf
    from gitops_flow.checkout.supply import Supply
    from gitops_flow.git.command import Auth

    # To the objects of an order, given a directory to put them into.
    _Way = Callable[[Path], contextlib.AbstractContextManager[Supply]]

__all__ = ["PAUSES", "Checkout", "Place", "make", "make_shared"]

_log = log.get("checkout")

# Seconds between attempts when a server cannot be reached for the moment.
PAUSES = (1.0, 3.0)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A finished directory: where, how many files, seconds per phase, what to warn of.

    ``origin`` is ``cached``, ``updated`` (what was missing was fetched), ``fetched`` or
    ``read in place``; ``received`` is the size in bytes of the packs that came.
    """

    directory: Path
    files: int
    seconds: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]
    origin: str = "fetched"
    received: int = 0


def make(
    repository: str | Sequence[Place],
    commit: str,
    parent: Path,
    *,
    directories: Sequence[str] = (),
    auth: Auth | None = None,
    timeout: float = 600.0,
    pauses: Sequence[float] = PAUSES,
    cache: Path | None = None,
) -> Checkout:
    """Fetch ``commit`` alone and make a new directory below ``parent`` of its files.

    Args:
        repository: an address, used with ``auth`` and ``timeout`` (seconds for each
            talk with the server), or several places, tried in order.
        commit: the pin, 40 hex digits.
        parent: the new directory's parent.
        directories: limit what is fetched and written; see :func:`tree.read`.
        auth: credentials for one address.
        timeout: for one address.
        pauses: seconds between attempts when the failure may pass.
        cache: a directory that pulls share; without it everything is fetched anew.

    There is no ``.git`` in the directory.

    Raises:
        RemoteError: the server, the network or the credentials.
        CheckoutError: the content may not or cannot be made into a directory.
        GitError: no git, or a malformed repository or commit.
    """
    places = (
        (Place(repository, auth, timeout),) if isinstance(repository, str) else tuple(repository)
    )
    for place in places:
        check_address(place.address)
    order = Order(places, check_commit(commit), tuple(directories), pauses)
    return _made(order, parent, cache)


def make_shared(
    repository: Sequence[Place],
    commit: str,
    cache: Path,
    *,
    directories: Sequence[str] = (),
    pauses: Sequence[float] = PAUSES,
) -> Checkout:
    """As :func:`make`, but one read-only directory in the cache for all who ask for it.

    It stays at least as long as this process lives.

    Raises:
        UnusableError: the cache does not work; a directory of one's own may.
        GitflowError: as for :func:`make`.
    """
    for each in repository:
        check_address(each.address)
    place = shelf(cache, repository[0].address)
    key = shared.Key(place, check_commit(commit), directories)
    clock = _Clock()
    found = shared.find(key)
    if found is None:
        with _one_at_a_time(place, commit, repository[-1].timeout):
            found = shared.find(key)
            if found is None:
                made = make(
                    repository,
                    commit,
                    place.path / "trees",
                    directories=directories,
                    pauses=pauses,
                    cache=cache,
                )
                shared.seal(key, shared.Tree(made.directory, made.files, made.warnings))
                return made
    clock.lap("checkout")
    return Checkout(found.directory, found.files, clock.laps, found.warnings, "shared")


@contextlib.contextmanager
def _one_at_a_time(place: Shelf, commit: str, patience: float) -> Iterator[None]:
    try:
        with place.claimed(f"tree-{commit[:3]}", patience):
            yield
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error


def _made(order: Order, parent: Path, cache: Path | None) -> Checkout:
    name = f"{name_of(split_userinfo(order.places[0].address)[0])}-{order.commit[:12]}"
    clock = _Clock()

    def through(way: _Way) -> Checkout:
        with disk_errors(parent), made_aside(parent, name) as work, way(work.scratch) as found:
            clock.lap("fetch")
            files, warnings = _built(work.tree, order, found, clock)
            directory = work.publish()
            found.keep()
            origin, received = found.origin, found.received
        return Checkout(directory, files, clock.laps, warnings, origin, received)

    for way in _cached_ways(order, cache):
        try:
            return through(way)
        except UnusableError as error:
            _log.warning("the cache of checkouts is not used: %s", error)
        except _AgainError as error:
            _log.warning("the cache was damaged and is thrown away: %s", error)
    return through(lambda scratch: supply.uncached(order, scratch))


def _built(root: Path, order: Order, found: Supply, clock: _Clock) -> tuple[int, tuple[str, ...]]:
    """Write the files of ``order`` into the empty directory ``root``: how many, and warnings."""
    source = found.source
    listing = tree.read(source, order.commit, order.directories)
    write.directories(root, listing)
    write.files(root, listing, source)
    warnings = convert.apply(
        root, listing, found.store, order.places[-1].timeout, source if found.empty else None
    )
    write.links(root, listing, source)
    clock.lap("checkout")
    write.verify(root, listing)
    clock.lap("verify")
    return len(listing.files), warnings


class _AgainError(Exception):
    """The objects of this way were damaged; the next one has others."""


def _cached_ways(order: Order, cache: Path | None) -> Iterator[_Way]:
    """The ways through the cache: as it is, and once more when it was damaged and is new."""
    if cache is None:
        return
    try:
        place = shelf(cache, order.places[0].address)
    except UnusableError as error:
        _log.warning("the cache of checkouts is not used: %s", error)
    else:
        for _ in range(2):
            yield lambda scratch: _mending(order, place, scratch)


@contextlib.contextmanager
def _mending(order: Order, place: Shelf, scratch: Path) -> Iterator[Supply]:
    try:
        with supply.cached(order, place, scratch) as found:
            yield found
    except DamagedError as error:
        supply.discard(order, place)
        raise _AgainError(error.message) from error


class _Clock:
    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._laps: list[tuple[str, float]] = []

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps.append((name, now - self._last))
        self._last = now

    @property
    def laps(self) -> tuple[tuple[str, float], ...]:
        return tuple(self._laps)
