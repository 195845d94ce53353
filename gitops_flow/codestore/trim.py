"""Dropping old releases: the ledger is written anew without them; snapshot ids never change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.codestore import ledger
from gitops_flow.codestore.store import writing
from gitops_flow.git import remote
from gitops_flow.git.objects import Objects
from gitops_flow.model import digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.history import Chain, Entry
    from gitops_flow.git.repository import Repository

# Between publishing and pinning a deploy is slower than this only if it is dead.
GRACE = 3600


@dataclass(frozen=True, slots=True)
class Sorted:
    """Which releases stay, newest first, and which go.

    ``pinned`` stay only because of a pin, ``young`` because nothing drops what
    may be younger than :data:`GRACE`.
    """

    kept: tuple[Entry, ...]
    dropped: tuple[Entry, ...]
    pinned: tuple[Entry, ...]
    young: tuple[Entry, ...] = ()


def sort(
    entries: Sequence[Entry],
    pins: Collection[str],
    *,
    keep: int,
    older_than: float,
    now: float,
    gone: Collection[str] = (),
) -> Sorted:
    """Decide. Pure.

    The date of an entry is its publisher's clock, which may be slow. What the next
    publisher saw is no older than the next entry, so a release is young until the one
    after it is not.

    Args:
        entries: the ledger, newest first.
        pins: snapshots that some deployment names.
        keep: how many of each source's newest releases stay.
        older_than: seconds; what is younger stays.
        now: seconds since 1970; of several clocks the slowest.
        gone: sources, by the digests of their marks, of which nothing stays for being new.
    """
    seen: dict[str, int] = {}
    newest: set[str] = set()
    kept, dropped, pinned, young = [], [], [], []
    following = float("-inf")
    for entry in entries:
        source = digest_of(entry.mark) or entry.origin.source
        seen[source] = seen.get(source, 0) + 1
        # The newest entry of a pinned snapshot is enough.
        wanted = entry.snapshot in pins and entry.snapshot not in newest
        newest.add(entry.snapshot)
        latest, following = max(entry.when, following), entry.when
        newer = 0 if source in gone else keep
        if seen[source] <= newer or now - entry.when < older_than:
            kept.append(entry)
        elif wanted:
            kept.append(entry)
            pinned.append(entry)
        elif now - latest < GRACE:
            kept.append(entry)
            young.append(entry)
        else:
            dropped.append(entry)
    return Sorted(tuple(kept), tuple(dropped), tuple(pinned), tuple(young))


def rewrite(
    chain: Chain, kept: Sequence[Entry], repository: Repository, target: CodeStore
) -> str | None:
    """Replace the ledger by one of ``kept`` (newest first); the new tip, None if it had moved.

    Raises:
        RemoteError: the server refuses.
    """
    with writing(chain.path), files.locked(chain.path / "gitflow.lock"):
        objects = Objects(chain.path)
        tip = ledger.write_root(objects)
        renamed: dict[str, str] = {}
        for entry in reversed(kept):
            tip = renamed[entry.id] = objects.write_commit(
                entry.tree,
                (tip, entry.snapshot),
                ledger.quiet(_renamed(entry.message, renamed)),
                ledger.dated(objects.commit(entry.id).committer),
                headers={"mergetag": entry.signature} if entry.signature else None,
            )
        outcome = remote.push(
            chain.path,
            target.url,
            f"{tip}:{target.ref}",
            expect=chain.tip,
            auth=target.auth,
            config=repository.network_config(),
        )
    return None if outcome is remote.PushOutcome.STALE else tip


def _renamed(message: str, renamed: dict[str, str]) -> str:
    """A rollback's entry goes on naming the entry that it went back to, if that stays."""
    return re.sub(
        r"(?m)^(Gitflow-Rollback: )([0-9a-f]{40})$",
        lambda found: found[1] + renamed.get(found[2], found[2]),
        message,
    )
