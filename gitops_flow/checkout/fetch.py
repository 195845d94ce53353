"""Where the objects of one pull come from: a server, this machine, or the cache.

A server is asked for no more than is missing here, and the first one that has it is enough.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import files, stop
from gitops_flow.checkout import sealed, tree
from gitops_flow.checkout.cache import UnusableError
from gitops_flow.checkout.objects import DamagedError, Store, objects_of, opened
from gitops_flow.checkout.write import NoWayError, made_aside
from gitops_flow.errors import GitError, RemoteError
from gitops_flow.git import command, remote
from gitops_flow.git.url import local_path, split_userinfo
from gitops_flow.redact import get_logger, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gitops_flow.checkout.cache import Shelf
    from gitops_flow.checkout.objects import Reader
    from gitops_flow.checkout.sealed import Copy
    from gitops_flow.checkout.write import Workspace
    from gitops_flow.git.command import Auth

_log = get_logger("checkout")
# Objects asked for by id in one go; each is an argument of git's.
_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """An address of the repository, its credentials, and seconds for each talk with it."""

    address: str
    auth: Auth | None = None
    timeout: float = 600.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be fetched: ``commit``, or only some directories of it, from one of ``places``."""

    places: tuple[Place, ...]
    commit: str
    directories: tuple[str, ...] = ()
    pauses: Sequence[float] = ()


def _fetch(store: Store, order: Order) -> None:
    """Fetch the commit of ``order``, or only its directories of it, into ``store``.

    What ``store`` was lent (see :meth:`Store.lend`) is not sent again. A server that cannot leave
    files out sends all of them.

    Raises:
        RemoteError: no address could be used.
        CheckoutError: as for :func:`tree.read`.
    """

    def ask(place: Place) -> None:
        if not order.directories:
            _ask(store, place, [order.commit])
            return
        _ask(store, place, [order.commit], filter_="blob:none")
        store.forget_remotes()
        with opened(store, place.timeout) as source:
            listing = tree.read(source, order.commit, order.directories)
        oids = dict.fromkeys(file.oid for file in listing.files)
        oids |= dict.fromkeys(link.oid for link in listing.links)
        held = store.held(oids)
        missing = [oid for oid in oids if oid not in held]
        for start in range(0, len(missing), _BATCH):
            _ask(store, place, missing[start : start + _BATCH], filter_="blob:none")
            store.forget_remotes()

    _from_any(order, ask)


def _ask(store: Store, place: Place, wanted: Sequence[str], filter_: str | None = None) -> None:
    try:
        remote.fetch(
            store.path,
            place.address,
            wanted,
            depth=1,
            filter=filter_,
            auth=place.auth,
            config=store.FETCH_CONFIG,
            timeout=place.timeout,
        )
    except RemoteError as error:
        # git says of such a repository that there is none.
        path = local_path(place.address)
        parts = [path / name for name in ("objects", ".git/objects")] if path else []
        closed = next(filter(None, map(files.closed_to_us, parts)), None)
        if closed is None:
            raise
        raise RemoteError(
            f"the code store cannot be read: this user may not enter {closed}",
            kind="auth",
            where=place.address,
            hint="it is a directory on this machine: let the worker's user in, run the worker as "
            "the user that deploys, or deploy to a git server",
        ) from error


def _from_any(order: Order, ask: Callable[[Place], None]) -> None:
    """Ask each place in order; all again after each pause while the network is to blame."""
    for pause in (*order.pauses, None):
        failures: list[RemoteError] = []
        for place in order.places:
            try:
                ask(place)
            except RemoteError as error:
                if len(order.places) > 1:
                    _log.warning("%s: %s", _shown(place), error.message)
                failures.append(error)
            else:
                return
        if pause is None or all(error.kind != "network" for error in failures):
            break
        _log.warning("%s; trying again in %g s", failures[-1].message, pause)
        stop.pause(pause)
    raise _together(order, failures)


def _together(order: Order, failures: list[RemoteError]) -> RemoteError:
    """One error that names every address."""
    if len(failures) == 1:
        return failures[0]
    told = "; ".join(
        f"{_shown(place)}: {error.message}"
        for place, error in zip(order.places, failures, strict=True)
    )
    return RemoteError(
        f"none of {len(failures)} addresses could be used: {told}",
        kind=failures[-1].kind,
        hint=failures[-1].hint,
        retry=any(error.retry for error in failures),
    )


def _shown(place: Place) -> str:
    return redact(split_userinfo(place.address)[0])


# Failures that the cache has no part in: without it, they would be the same.
_THE_SERVERS = ("network", "timeout", "auth", "host-key", "tls", "not-found", "missing")
# What damaged objects here look like.
_OF_OBJECTS = ("damaged", "other")


@dataclass(frozen=True, slots=True)
class Supply:
    """Where a checkout's objects come from; ``store`` is for git's own commands.

    ``origin`` says in a word whence, ``received`` how many bytes of packs came.
    With a ``copy``, one of another snapshot is on its way to where this one is to be.
    ``keep`` is called once everything was read and was right.
    """

    source: Reader
    store: Store
    origin: str
    received: int = 0
    copy: Copy | None = None
    keep: Callable[[], None] = lambda: None


@contextlib.contextmanager
def uncached(order: Order, scratch: Path) -> Iterator[Supply]:
    """Everything from the server, into a store at ``scratch`` that is thrown away."""
    command.require_version()
    store = Store.create(scratch)
    origin = "read in place" if _borrowed(store, order) else "fetched"
    if origin == "fetched":
        _fetch(store, order)
    with opened(store, order.places[-1].timeout) as reader:
        yield Supply(reader, store, origin, _size(store))


@contextlib.contextmanager
def cached(order: Order, shelf: Shelf, work: Workspace) -> Iterator[Supply]:
    """From the shelf, after fetching what it lacks.

    Pulls of one missing snapshot wait for the first of them; others don't.

    Raises:
        NoWayError: it was missing, and another pull brought it: there may be a better way now.
        UnusableError: the cache does not work here and now.
        GitflowError: as for the other ways.
    """
    with contextlib.ExitStack() as stack:
        with _its_own_errors():
            patience = order.places[-1].timeout
            if not _pulled(shelf, order):
                stack.enter_context(shelf.claimed(order.commit[:3], patience))
                if _pulled(shelf, order):
                    raise NoWayError
            command.require_version()
            stack.enter_context(shelf.claimed("database", patience, shared=True))
            supply = _filled(stack, order, shelf, work)
        yield supply


def _filled(stack: contextlib.ExitStack, order: Order, shelf: Shelf, target: Workspace) -> Supply:
    """Fetch what is missing, aside from what other pulls use."""
    copy = sealed.begun(stack, sealed.newest(shelf, order.directories), order, target)
    work = stack.enter_context(made_aside(shelf.path / "making", order.commit[:12]))
    store = Store.create(work.scratch)
    wanted = (order.commit, order.directories)

    def keep() -> None:
        with contextlib.suppress(OSError):
            if origin == "read in place":
                shelf.note_elsewhere(*wanted)
            elif origin != "cached":
                shelf.adopt(store, *wanted)

    if _pulled(shelf, order):
        origin = "cached"
        shelf.lend(store, _beside(order))
    elif _borrowed(store, order):
        origin = "read in place"
    else:
        lent = shelf.lend(store)
        origin = "updated" if lent else "fetched"
        _fetch_beside(store, order, lent=lent)
    reader = stack.enter_context(opened(store, order.places[-1].timeout))
    return Supply(reader, store, origin, _size(store), copy, keep)


def _pulled(shelf: Shelf, order: Order) -> bool:
    return shelf.pulled(order.commit, order.directories, elsewhere=bool(_beside(order)))


def _beside(order: Order) -> list[Path]:
    """The databases of the order's repositories that are on this machine."""
    return [place for each in order.places if (place := objects_of(each.address))]


def _fetch_beside(store: Store, order: Order, *, lent: bool) -> None:
    """Fetch; for objects that are not there or are wrong, what was lent is to blame."""
    try:
        _fetch(store, order)
    except RemoteError as error:
        if not lent or error.kind not in _OF_OBJECTS:
            raise
        raise DamagedError(error.message) from error


def _borrowed(store: Store, order: Order) -> bool:
    """Use a repository on this machine in place."""
    return any(store.borrow(place.address, order.commit) for place in order.places)


def _size(store: Store) -> int:
    return sum(path.stat().st_size for path in store.packs())


@contextlib.contextmanager
def _its_own_errors() -> Iterator[None]:
    """Tell failures of the cache, which a pull can do without, from the server's."""
    try:
        yield
    except OSError as error:
        raise UnusableError(error.strerror or str(error)) from error
    except GitError as error:
        if not isinstance(error, RemoteError) or error.kind in _THE_SERVERS:
            raise
        raise UnusableError(error.message) from error
