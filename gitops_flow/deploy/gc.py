"""Dropping old releases that no deployment, pointer or unfinished run of any server needs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import pin, prefect
from gitops_flow.codestore import changes, history, ledger, publish, trim
from gitops_flow.codestore.store import drop_unreachable, open_store
from gitops_flow.deploy import source
from gitops_flow.errors import ApiError, CodeStoreError
from gitops_flow.model import digest_of, is_of_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.history import Entry
    from gitops_flow.codestore.trim import Sorted
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.git.repository import Repository
    from gitops_flow.model import PrefectConnection
    from gitops_flow.settings import Settings

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Collected:
    """What was, or would be, dropped. ``tip`` is the new ledger's, None when nothing was done."""

    target: CodeStore
    sorted: Sorted
    servers: tuple[str, ...]
    tip: str | None


def collect(
    origin: AnySource,
    settings: Settings,
    servers: Sequence[PrefectConnection],
    *,
    keep: int,
    older_than: float,
    really: bool,
) -> Collected:
    """Drop releases from the ledger; none that a deployment or run needs, or of the last hour.

    Args:
        origin: the source.
        settings: where the code store is, and the first server to ask.
        servers: more servers whose deployments use this code store.
        keep: how many of each source's newest releases stay.
        older_than: seconds; what is younger stays.
        really: do it.

    Raises:
        ApiError: a server cannot be asked, so nothing is dropped.
        CodeStoreError: the code store was published to all the time.
    """
    project = source.find(origin, settings)
    target, repo = project.target, project.repository
    asked = {each.api_url: each for each in (settings.require_prefect(), *servers)}
    clients = tuple(asked.values())
    for _ in range(_ATTEMPTS):
        # In this order: what is published after the ledger was read makes the push
        # fail, and what was published before and is not pinned yet is young.
        chain = history.read(settings.cache_dir, repo, target)
        needed, alive, now = _asked(clients)
        # A branch's copy goes with its branch, and nobody goes back to it.
        copies = {digest_of(each.mark) for each in chain.entries if is_of_copy(each.mark)}
        found = trim.sort(
            chain.entries,
            needed,
            keep=keep,
            older_than=older_than,
            now=now,
            gone=copies - alive,
        )
        if not (really and found.dropped):
            return Collected(target, found, tuple(asked), None)
        tip = trim.rewrite(chain, found.kept, repo, target)
        if tip is not None:
            # A deploy that pinned one of these meanwhile found it still released.
            needed = _asked(clients)[0]
            lost = [each for each in found.dropped if each.snapshot in needed]
            tip = _publish_again(lost, settings, repo, target) or tip
            gone = tuple(each for each in found.dropped if each not in lost)
            found = replace(found, kept=(*lost, *found.kept), dropped=gone)
            if target.embedded:
                drop_unreachable(Path(target.url), trim.GRACE)
            return Collected(target, found, tuple(asked), tip)
    raise CodeStoreError(
        "somebody published each time the ledger was to be written", where=target.url, retry=True
    )


def _asked(connections: Iterable[PrefectConnection]) -> tuple[set[str], set[str], float]:
    """Every commit that the servers need (:func:`_pins`), and the slowest of all clocks.

    Between them the digests of the marks that their deployments carry. The clock is in seconds since 1970. Our own may be fast: then everything would look old.
    """
    needed: set[str] = set()
    alive: set[str] = set()
    now = time.time()
    for connection in connections:
        pinned, marks, clock = _pins(connection)
        needed |= pinned
        alive |= marks
        now = min(now, clock)
    return needed, alive, now


def _publish_again(
    lost: Iterable[Entry], settings: Settings, repo: Repository, target: CodeStore
) -> str | None:
    """Release once more what was dropped although it is pinned by now; the newest entry.

    Raises:
        CodeStoreError: the server does not have it any more.
    """
    tip = None
    for entry in lost:
        store = open_store(settings.cache_dir, repo, target.url)
        if not changes.have(store, target, entry.snapshot):
            raise CodeStoreError(
                f"release {entry.id[:12]} was pinned while it was dropped, and the code store "
                "does not give it out any more",
                where=target.url,
                hint=f"deploy {', '.join(entry.deployments) or entry.origin.source} again",
            )
        made = ledger.Release(
            entry.restored(),
            entry.deployments,
            int(time.time()),
            entry.mark,
            signature=entry.signature,
        )
        tip = publish.publish(store, target, made, again=True).entry
    return tip


def _pins(connection: PrefectConnection) -> tuple[set[str], set[str], float]:
    """Every commit that a deployment, release pointer or unfinished run names; marks; the clock."""
    try:
        with prefect.Client(connection) as client:
            live = prefect.live(client, names=None, mark=None)
            pointers = list(prefect.pointers(client).values())
            # Tried again, a run gets the commit that its labels tell.
            begun = prefect.labels_of_begun(client)
            clock = prefect.server_now(client).timestamp()
    except ApiError as error:
        raise ApiError(
            f"nothing was dropped, because a server cannot be asked what it needs: {error.message}",
            status=error.status,
            where=error.where or connection.api_url,
            hint=error.hint,
            retry=error.retry,
        ) from None
    named = ((item.pull_steps, item.job_variables) for item in live)
    marks = {digest_of(mark) for item in live for mark in item.marks}
    return pin.commits(pointers, begun, *named), marks, clock
