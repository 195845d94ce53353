"""The worker's side: from a pin to a directory that holds exactly its files.

Every object is hashed on its way from git to the disk, from the commit down,
so a directory that was handed over is proven to be the pinned content. It is
made aside under a name of its own and appears by one rename.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import log
from gitops_flow.checkout import convert, tree, write
from gitops_flow.checkout.objects import opened
from gitops_flow.checkout.store import Store
from gitops_flow.checkout.workspace import disk_errors, made_aside
from gitops_flow.errors import RemoteError
from gitops_flow.git import command, remote
from gitops_flow.git.url import check_address, check_commit, name_of, split_userinfo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gitops_flow.git.command import Auth

_log = log.get("checkout")

# Seconds between attempts when a server cannot be reached for the moment.
PAUSES = (1.0, 3.0)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A finished directory: where, how many files, seconds per phase, what to warn of."""

    directory: Path
    files: int
    seconds: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]


def make(
    repository: str,
    commit: str,
    parent: Path,
    *,
    directories: Sequence[str] = (),
    auth: Auth | None = None,
    timeout: float = 600.0,
    pauses: Sequence[float] = PAUSES,
) -> Checkout:
    """Fetch ``commit`` alone and make a new directory below ``parent`` of its files.

    ``directories``, if any, limit what is written, not what is fetched; see
    :func:`tree.read`.

    ``timeout`` is in seconds for each talk with the server; ``pauses`` are
    waited between attempts when the failure may pass. There is no ``.git`` in
    the directory.

    Raises:
        RemoteError: the server, the network or the credentials.
        CheckoutError: the content may not or cannot be made into a directory.
        GitError: no git, or a malformed repository or commit.
    """
    check_address(repository)
    check_commit(commit)
    command.require_version()
    clock = _Clock()
    name = f"{name_of(split_userinfo(repository)[0])}-{commit[:12]}"
    with disk_errors(parent), made_aside(parent, name) as work:
        store = Store.create(work.scratch)
        if not store.borrow(repository, commit):
            _fetch(store, repository, commit, auth, timeout, pauses)
        clock.lap("fetch")
        with opened(store, timeout) as source:
            listing = tree.read(source, commit, directories)
            write.directories(work.tree, listing)
            write.files(work.tree, listing, source)
            warnings = convert.apply(work.tree, listing, store, timeout)
            write.links(work.tree, listing, source)
        clock.lap("checkout")
        write.verify(work.tree, listing)
        clock.lap("verify")
        directory = work.publish()
    return Checkout(directory, len(listing.files), clock.laps, warnings)


def _fetch(
    store: Store,
    repository: str,
    commit: str,
    auth: Auth | None,
    timeout: float,
    pauses: Sequence[float],
) -> None:
    """Fetch one commit; again after each pause if the network failed, but not after a timeout."""
    for pause in (*pauses, None):
        try:
            remote.fetch(
                store.path,
                repository,
                [commit],
                depth=1,
                auth=auth,
                config=store.FETCH_CONFIG,
                timeout=timeout,
            )
        except RemoteError as error:
            if error.kind != "network" or pause is None:
                raise
            _log.warning("%s; trying again in %g s", error.message, pause)
            time.sleep(pause)
        else:
            return


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
