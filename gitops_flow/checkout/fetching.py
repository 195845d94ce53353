"""Bringing one commit from the first address that has it, and no more than is missing here."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import log
from gitops_flow.checkout import tree
from gitops_flow.checkout.objects import opened
from gitops_flow.errors import RemoteError
from gitops_flow.git import remote
from gitops_flow.git.url import split_userinfo
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops_flow.checkout.store import Store
    from gitops_flow.git.command import Auth

_log = log.get("checkout")
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


def fetch(store: Store, order: Order) -> str:
    """Fetch the commit of ``order`` whole into ``store``; the address that had them.

    What ``store`` was lent (see :meth:`Store.lend`) is not sent again.

    Raises:
        RemoteError: no address could be used.
    """
    return _from_any(order, lambda place: _ask(store, place, [order.commit])).address


def fetch_some(store: Store, order: Order) -> str:
    """Fetch only the chosen directories of ``order`` into ``store``.

    What ``store`` was lent is not sent again. A server that cannot leave files out sends all of them.

    Raises:
        RemoteError: no address could be used.
        CheckoutError: as for :func:`tree.read`.
    """

    def some(place: Place) -> None:
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

    return _from_any(order, some).address


def _ask(store: Store, place: Place, wanted: Sequence[str], filter_: str | None = None) -> None:
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


def _from_any(order: Order, ask: Callable[[Place], None]) -> Place:
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
                return place
        if pause is None or all(error.kind != "network" for error in failures):
            break
        _log.warning("%s; trying again in %g s", failures[-1].message, pause)
        time.sleep(pause)
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
