"""The worker's side: from a pin to a directory that holds exactly its files.

Every object is hashed on its way from git to the disk, from the commit down,
so a directory that was handed over is proven to be the pinned content, or it
is a copy of one that was and has an unbroken seal. It is made aside under a
name of its own and appears by one rename.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from gitops_flow.checkout import convert, fetch, sealed, tree, write
from gitops_flow.checkout.cache import UnusableError, shelf
from gitops_flow.checkout.fetch import Order, Place
from gitops_flow.checkout.objects import DamagedError
from gitops_flow.checkout.write import NoWayError, disk_errors, made_aside
from gitops_flow.errors import CheckoutError, GitflowError, RemoteError
from gitops_flow.git.url import check_address, check_commit, name_of, split_userinfo
from gitops_flow.redact import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from gitops_flow.checkout.cache import Shelf
    from gitops_flow.checkout.fetch import Supply
    from gitops_flow.checkout.write import Workspace
    from gitops_flow.git.command import Auth

    # Fills a workspace's tree, which the checkout has for its directory, still without seconds;
    # what follows its publishing is done when the block ends.
    _Way = Callable[[Order, Workspace, "Clock"], contextlib.AbstractContextManager["Checkout"]]

__all__ = ["PAUSES", "Checkout", "Place", "make", "make_shared"]

_log = get_logger("checkout")

# Seconds between attempts when a server cannot be reached for the moment.
PAUSES = (1.0, 3.0)

# Characters of a repository's name that its checkouts have in theirs.
_LONGEST_NAME = 100

_WITHOUT = "the cache of checkouts is not used: %s"


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
    order = _order(places, commit, directories, pauses)
    ways: list[_Way] = [_uncached]
    if cache is not None:
        try:
            place = shelf(cache, order.places[0].address)
        except UnusableError as error:
            _log.warning(_WITHOUT, error)
        else:
            # Each twice: as the cache is, and once more when it was damaged and is new, or when
            # another pull did the work meanwhile.
            ways[:0] = [partial(_copied, place), partial(_cached, place)] * 2
    with disk_errors(parent):
        return _made(order, parent, ways)


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
    order = _order(tuple(repository), commit, directories, pauses)
    place = shelf(cache, order.places[0].address)
    clock = Clock()
    cached = partial(_cached, place)
    held, made = _sealed(place, order, [cached, cached, _uncached])
    held.keep()
    if made is not None:
        return made
    clock.lap("checkout")
    return Checkout(held.directory, held.files, clock.laps, held.warnings, "shared")


def _order(
    places: tuple[Place, ...], commit: str, directories: Sequence[str], pauses: Sequence[float]
) -> Order:
    for place in places:
        check_address(place.address)
    return Order(places, check_commit(commit), tuple(directories), pauses)


def _made(order: Order, parent: Path, ways: Iterable[_Way]) -> Checkout:
    """A new directory by the first of ``ways`` that leads to it.

    Raises:
        NoWayError: none of them does.
        OSError: the disk.
        GitflowError: as for :func:`make`.
    """
    repository = name_of(split_userinfo(order.places[0].address)[0])[:_LONGEST_NAME]
    name = f"{repository}-{order.commit[:12]}"
    clock = Clock()
    told: set[str] = set()
    for way in ways:
        try:
            with made_aside(parent, name) as work, way(order, work, clock) as filled:
                directory = work.publish()
            return replace(filled, directory=directory, seconds=clock.laps)
        except UnusableError as error:
            if str(error) not in told:
                _log.warning(_WITHOUT, error)
            told.add(str(error))
        except (_AgainError, sealed.BrokenError) as error:
            _log.warning("the cache was damaged and is thrown away: %s", error)
        except NoWayError:
            pass  # nobody misses it
    raise NoWayError


@contextlib.contextmanager
def _copied(place: Shelf, order: Order, work: Workspace, clock: Clock) -> Iterator[Checkout]:
    """By a copy of the sealed tree, which is made when it is needed first."""
    if not (place.is_private() and sealed.possible(work)):
        raise NoWayError
    copied = sealed.held(sealed.Key(place, order.commit, order.directories))
    made = None
    if copied is None:
        if not _worth_a_tree(place, order):
            raise NoWayError
        try:
            copied, made = _sealed(place, order, [partial(_cached, place)] * 2)
        except RemoteError:
            raise
        except GitflowError as error:
            raise NoWayError from error  # the next way tells of it
    patience = order.places[-1].timeout
    with contextlib.closing(copied), sealed.started(copied, work, patience) as copy:
        names = copy.finish()
        clock.lap("checkout")
        try:
            write.verify(work.tree, names, order.commit)
        except CheckoutError as error:
            raise NoWayError from error
        clock.lap("verify")
        origin, received = (made.origin, made.received) if made else ("cached", 0)
        yield Checkout(work.tree, copied.files, (), copied.warnings, origin, received)


def _worth_a_tree(place: Shelf, order: Order) -> bool:
    """Whether a tree will be copied again: one that is pulled twice, and the first to build on."""
    if place.pulled(order.commit, order.directories):
        return True
    return bool(place.whole()) and sealed.newest(place, order.directories) is None


def _sealed(
    place: Shelf, order: Order, ways: Iterable[_Way]
) -> tuple[sealed.Tree, Checkout | None]:
    """The sealed tree; if it has to be made, by one process at a time, and how it was made."""
    key = sealed.Key(place, order.commit, order.directories)
    if (held := sealed.find(key)) is not None:
        return held, None
    with _one_at_a_time(place, order):
        if (held := sealed.find(key)) is not None:
            return held, None
        made = _made(order, place.path / "trees", ways)
        return sealed.seal(key, made.directory, made.files, made.warnings), made


@contextlib.contextmanager
def _one_at_a_time(place: Shelf, order: Order) -> Iterator[None]:
    try:
        with place.claimed(f"tree-{order.commit[:3]}", order.places[-1].timeout):
            yield
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error
    except RemoteError as error:
        if error.kind != "disk":
            raise
        raise UnusableError(error.message) from error


@contextlib.contextmanager
def _cached(place: Shelf, order: Order, work: Workspace, clock: Clock) -> Iterator[Checkout]:
    """Of what the cache has and, for what it lacks, the server."""
    try:
        with fetch.cached(order, place, work) as supply:
            yield _built(work, order, supply, clock)
            supply.keep()
    except DamagedError as error:
        with contextlib.suppress(OSError):
            place.discard()
        raise _AgainError(error.message) from error


@contextlib.contextmanager
def _uncached(order: Order, work: Workspace, clock: Clock) -> Iterator[Checkout]:
    """Of what the server sends, all of it."""
    with fetch.uncached(order, work.scratch) as supply:
        yield _built(work, order, supply, clock)


class _AgainError(Exception):
    """The objects of this way were damaged; the next one has others."""


def _built(work: Workspace, order: Order, supply: Supply, clock: Clock) -> Checkout:
    """Make the tree of ``work`` the files of ``order``, upon the base if that helps."""
    clock.lap("fetch")
    copy, source = supply.copy, supply.source
    rest = copy.advance(source, order.commit) if copy else None
    if rest is not None:
        try:
            return _written(work, order, supply, rest, clock)
        except DamagedError:
            raise
        except (CheckoutError, OSError):
            pass  # cp made something else, or it fails again
    if copy:
        work.clear()
    listing = tree.read(source, order.commit, order.directories)
    return _written(work, order, supply, sealed.Rest(listing, listing.kinds()), clock)


def _written(
    work: Workspace, order: Order, supply: Supply, rest: sealed.Rest, clock: Clock
) -> Checkout:
    root, source = work.tree, supply.source
    missing, kinds = rest
    write.directories(root, missing)
    write.files(root, missing, source)
    files = [path for path, kind in kinds.items() if kind == "file"]
    warnings = convert.apply(root, files, missing.files, supply.store, order.places[-1].timeout)
    write.links(root, missing, source, kinds)
    clock.lap("checkout")
    write.verify(root, kinds, order.commit)
    clock.lap("verify")
    return Checkout(root, len(files), (), warnings, supply.origin, supply.received)
