"""The ways to the objects of one pull: a cached image, the repository's shelf, or no cache."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.checkout import cache, fetching, image, shared
from gitops_flow.checkout.base import begun
from gitops_flow.checkout.cache import UnusableError
from gitops_flow.checkout.objects import DamagedError, opened
from gitops_flow.checkout.store import Store
from gitops_flow.checkout.workspace import NoWayError, made_aside
from gitops_flow.errors import GitError, RemoteError
from gitops_flow.git import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gitops_flow.checkout.base import Base
    from gitops_flow.checkout.cache import Shelf
    from gitops_flow.checkout.fetching import Order
    from gitops_flow.checkout.image import Image
    from gitops_flow.checkout.objects import Source
    from gitops_flow.checkout.workspace import Workspace

# Failures that the cache has no part in: without it, they would be the same.
_THE_SERVERS = ("network", "timeout", "auth", "host-key", "tls", "not-found", "missing")


@dataclass(frozen=True, slots=True)
class Supply:
    """Where a checkout's objects come from.

    ``store`` is for git's own commands; with ``empty`` it has no objects yet.
    ``origin`` says in a word whence, ``received`` how many bytes of packs came.
    With a ``base``, a copy of another snapshot is on its way to where this one is to be.
    ``keep`` is called once everything was read and was right.
    """

    source: Source
    store: Store
    origin: str
    received: int = 0
    empty: bool = False
    base: Base | None = None
    keep: Callable[[], None] = lambda: None


@contextlib.contextmanager
def uncached(order: Order, scratch: Path) -> Iterator[Supply]:
    """Everything from the server, into a store at ``scratch`` that is thrown away."""
    command.require_version()
    store = Store.create(scratch)
    origin = _borrowed(store, order)
    if origin is None:
        _fetch(store, order, None)
        origin = "fetched"
    with opened(store, order.places[-1].timeout) as reader:
        yield Supply(reader, store, origin, _size(store))


@contextlib.contextmanager
def imaged(order: Order, shelf: Shelf, scratch: Path) -> Iterator[Supply]:
    """From the image alone.

    Raises:
        NoWayError: there is none.
    """
    with contextlib.ExitStack() as stack:
        found = _image(stack, shelf, order)
        if found is None:
            raise NoWayError
        yield Supply(found, Store.create(scratch), "cached", empty=True)


@contextlib.contextmanager
def cached(order: Order, shelf: Shelf, work: Workspace) -> Iterator[Supply]:
    """From the image if there is one, else by fetching what the shelf lacks.

    Pulls of one missing snapshot wait for the first of them; others don't.

    Raises:
        UnusableError: the cache does not work here and now.
        GitflowError: as for the other ways.
    """
    with contextlib.ExitStack() as stack:
        with _its_own_errors():
            found = _image(stack, shelf, order)
            if found is None:
                patience = order.places[-1].timeout
                stack.enter_context(shelf.claimed(order.commit[:3], patience))
                found = _image(stack, shelf, order)
            if found is not None:
                supply = Supply(found, Store.create(work.scratch), "cached", empty=True)
            else:
                supply = _filled(stack, order, shelf, work)
        yield supply


def discard(order: Order, shelf: Shelf) -> None:
    """Drop what the cache has of ``order``, and its database: one of them was damaged."""
    with contextlib.suppress(OSError):
        for path in shelf.images(order.commit, order.directories):
            path.unlink(missing_ok=True)
        if newest := shelf.newest_image():
            newest.unlink(missing_ok=True)
        shelf.discard()


def _image(stack: contextlib.ExitStack, shelf: Shelf, order: Order) -> Image | None:
    for path in shelf.images(order.commit, order.directories):
        found = stack.enter_context(image.opened(path))
        if found and order.commit in found:
            cache.touch(path)
            return found
    return None


def _filled(stack: contextlib.ExitStack, order: Order, shelf: Shelf, target: Workspace) -> Supply:
    """Fetch what is missing, aside from what other pulls use; what is read is recorded."""
    command.require_version()
    stack.enter_context(shelf.claimed("database", order.places[-1].timeout, shared=True))
    base = begun(stack, shared.newest(shelf, order.directories), order, target)
    work = stack.enter_context(made_aside(shelf.path / "making", order.commit[:12]))
    store = Store.create(work.scratch)
    last = base.image if base else _newest_image(stack, shelf)
    origin = _borrowed(store, order)
    borrowed = origin is not None
    if not borrowed:
        lent = not order.directories and shelf.lend(store)
        origin = "updated" if lent or (last and order.directories) else "fetched"
        _fetch_beside(store, order, last, lent=lent)
    reader = stack.enter_context(opened(store, order.places[-1].timeout))
    recording = image.Recording(
        image.Layered(last, reader) if last else reader, work.aside / "image"
    )
    stack.callback(recording.close)

    def keep() -> None:
        with contextlib.suppress(OSError, DamagedError):
            if base and base.advanced:
                recording.take_over(base.image)
            recording.finish(shelf.images(order.commit, order.directories)[0])
        with contextlib.suppress(OSError):
            if not borrowed and not order.directories:
                shelf.adopt(store, order.commit)

    return Supply(recording, store, origin or "", _size(store), base=base, keep=keep)


def _newest_image(stack: contextlib.ExitStack, shelf: Shelf) -> Image | None:
    newest = shelf.newest_image()
    return stack.enter_context(image.opened(newest)) if newest else None


def _fetch(store: Store, order: Order, base: Image | None) -> None:
    if order.directories:
        fetching.fetch_some(store, order, base)
    else:
        fetching.fetch(store, order)


def _fetch_beside(store: Store, order: Order, base: Image | None, *, lent: bool) -> None:
    """Fetch; what neither the server nor the disk is to blame for, what was lent is."""
    try:
        _fetch(store, order, base)
    except RemoteError as error:
        if not lent or error.kind in (*_THE_SERVERS, "disk"):
            raise
        raise DamagedError(error.message) from error


def _borrowed(store: Store, order: Order) -> str | None:
    """Use a repository on this machine in place."""
    for place in order.places:
        if store.borrow(place.address, order.commit):
            return "read in place"
    return None


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
