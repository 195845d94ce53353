"""Publishing: a compare-and-swap push of a ledger entry, repeated until nobody was faster."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gitops_flow import stop
from gitops_flow.codestore import ledger
from gitops_flow.codestore.store import PrivateStore, make_embedded, tidy
from gitops_flow.errors import CodeStoreError
from gitops_flow.git import command, remote

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.history import Entry
    from gitops_flow.codestore.ledger import Release

_TIP = "refs/gitflow/tip"
_PATIENCE = 300.0  # seconds of losing races before giving up


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing did.

    ``entry`` is the newest ledger entry that was seen. ``pushed`` is False when
    the content was there already; ``created`` says that the branch is new.
    """

    entry: str
    pushed: bool
    created: bool
    attempts: int


def publish(
    store: PrivateStore,
    target: CodeStore,
    release: Release,
    *,
    since: float = 0.0,
    again: bool = False,
    newest: bool = False,
    sleep: Callable[[float], None] = stop.pause,
    clock: Callable[[], float] = time.monotonic,
) -> Publication:
    """Make sure that ``release``'s snapshot is in the code store.

    Returns only when the server has confirmed it. A snapshot that is there
    already is not published again, unless its newest entry is older than
    ``since`` (seconds since 1970), the release is signed and that entry is
    not, with ``newest`` that entry is another source's or this one has released
    another snapshot since, or ``again`` says so.

    Raises:
        CodeStoreError, GitError: with what the server said.
    """
    if target.embedded:
        from pathlib import Path

        make_embedded(Path(target.url))
    until = clock() + _PATIENCE
    attempt = 0
    while clock() < until:
        attempt += 1
        with store.locked():
            known = _Known(float("inf") if again else since, release.mark if newest else None)
            done = _attempt(store, target, release, attempt, known)
            if done is not None and done.pushed:
                tidy(store.path)
        if done is not None:
            return done
        # Full jitter: deployers that collided once spread out.
        sleep(random.uniform(0, min(2.0, 0.05 * 2 ** min(attempt, 6))))  # noqa: S311
    raise CodeStoreError(
        f"other deployers were faster {attempt} times in {_PATIENCE:.0f} s",
        where=target.url,
        hint="check whether something pushes to the code store's branch in a loop",
        retry=True,
    )


def confirm(
    cache_dir: Path, store: PrivateStore, target: CodeStore, release: Release, tip: str
) -> tuple[Publication | None, tuple[Entry, ...]]:
    """Publish ``release`` again if it is no longer in the code store; None if it still is.

    The second value is what others have released since.

    Whoever drops releases may have done so between publishing and pinning, when nothing
    said yet that this one is needed.

    Args:
        cache_dir: where copies of ledgers are kept.
        store: the snapshot's objects.
        target: the code store.
        release: what has been pinned.
        tip: the newest entry when it was published; while that is so, nothing was dropped.

    Raises:
        CodeStoreError, GitError: with what the server said.
    """
    config = store.repository.network_config()
    if remote.ls_remote(target.url, target.ref, auth=target.auth, config=config) == tip:
        return None, ()
    from gitops_flow.codestore import history

    chain = history.read(cache_dir, store.repository, target)
    ids = [entry.id for entry in chain.entries]
    # Whoever drops releases gives all entries new ids.
    since = chain.entries[: ids.index(tip)] if tip in ids else ()
    if any(entry.snapshot == release.snapshot.commit for entry in chain.entries):
        return None, tuple(since)
    return publish(store, target, release, again=True), tuple(since)


class _Known(NamedTuple):
    """Which entry of a snapshot is as good as a new one; see :func:`ledger.holds`."""

    since: float
    newest_of: str | None


def _attempt(
    store: PrivateStore, target: CodeStore, release: Release, attempt: int, known: _Known
) -> Publication | None:
    config = store.repository.network_config()
    tip = remote.ls_remote(target.url, target.ref, auth=target.auth, config=config)
    if tip is not None:
        tip = _fetched(store, target, tip)
        if tip is None:
            return None
    objects = store.objects()
    if tip is not None and not ledger.is_ledger(objects, tip):
        raise CodeStoreError(
            f"the branch {target.branch!r} exists and is not a code store; it was left as it is",
            where=target.url,
            hint="choose another with ‹branch›, or gitflow: {code_store: {branch: NAME}}",
        )
    if tip is not None and ledger.holds(
        objects,
        tip,
        release.snapshot.commit,
        since=known.since,
        signed=release.signature is not None,
        newest_of=known.newest_of,
    ):
        return Publication(tip, pushed=False, created=False, attempts=attempt)
    entry = ledger.write_entry(objects, tip or ledger.write_root(objects), release)
    outcome = remote.push(
        store.path,
        target.url,
        f"{entry}:{target.ref}",
        expect=tip,
        auth=target.auth,
        env=store.env(),
        config=config,
    )
    if outcome is remote.PushOutcome.STALE:
        return None
    # It stays reachable, so that the next push sends only what is new.
    command.run(["update-ref", _TIP, entry], env=store.env(), timeout=60)
    return Publication(entry, pushed=True, created=tip is None, attempts=attempt)


def _fetched(store: PrivateStore, target: CodeStore, tip: str) -> str | None:
    """Have the ledger's newest entry here; None if the branch vanished meanwhile."""
    if store.objects().has(tip):
        return tip
    remote.fetch(
        store.path,
        target.url,
        [f"+{target.ref}:{_TIP}"],
        depth=1,
        auth=target.auth,
        env=store.env(),
        config=store.repository.network_config(),
    )
    answer = command.run(
        ["rev-parse", "--verify", "--quiet", _TIP], env=store.env(), check=False, timeout=60
    )
    return answer.stdout.decode("ascii").strip() or None
