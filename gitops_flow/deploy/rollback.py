"""Going back: a release takes the place of the working tree, and the rest is a deploy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import manifest, names, pin
from gitops_flow.codestore import changes, history
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import locate, sources
from gitops_flow.deploy.desire import pin_of, version
from gitops_flow.errors import CodeStoreError, UsageError
from gitops_flow.pin import Pin
from gitops_flow.plan.fields import is_our_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.deploy.request import DeployRequest, Rollback
    from gitops_flow.deploy.session import Session
    from gitops_flow.model import Deployment


def rewound(session: Session) -> Prepared:
    """What is deployed when a release is: its manifest, and the deployments chosen in that.

    Raises:
        UsageError: no such release, or no such deployment in it.
        CodeStoreError: the code store does not give it out any more.
        ManifestError: its manifest has problems for this version.
    """
    prepared = session.prepared
    wanted = prepared.request.rollback
    if wanted is None:
        raise ValueError("the request is no rollback")
    entry = _release(session, wanted)
    store = open_store(prepared.settings.cache_dir, prepared.repository, prepared.target.url)
    if not changes.have(store, prepared.target, entry.snapshot):
        raise CodeStoreError(
            f"the code store does not give out release {entry.id[:12]}",
            where=prepared.target.url,
            hint="gitflow history lists what there is",
        )
    if wanted.code_only:
        return replace(prepared, restored=entry)
    path = prepared.source.manifest
    data = sources.SnapshotFiles(store.objects(), entry.tree).read(path)
    if data is None:
        raise UsageError(
            f"release {entry.id[:12]} has no {path}",
            hint="go back with --code-only, which leaves the configuration as it is",
        )
    document = manifest.parse(
        data,
        f"{path} of {entry.id[:12]}",
        strict=prepared.request.strict,
        directory=prepared.manifest.directory,
    )
    chosen = tuple(locate.choose(document, prepared.request))
    return replace(prepared, manifest=document, chosen=chosen, restored=entry)


def _release(session: Session, wanted: Rollback) -> Entry:
    prepared = session.prepared
    chain = history.read(prepared.settings.cache_dir, prepared.repository, prepared.target)
    entries = [entry for entry in chain.entries if entry.of_source(prepared.source)]
    if wanted.to is not None:
        return history.find(entries, wanted.to)
    live = choose(session.live(()), prepared.request)
    there = {pinned.commit for item in live if (pinned := Pin.of(item.pull_steps))}
    newest = next((entry for entry in entries if entry.snapshot in there), None)
    found = history.before(entries, newest.snapshot) if newest else None
    if found is None:
        raise UsageError(
            "there is no release before what is pinned now",
            hint="name one with --to; gitflow history lists them",
        )
    return found


def choose(live: Iterable[Deployment], request: DeployRequest) -> list[Deployment]:
    """The live deployments that any name of ``request`` (``flow/name``, a glob) matches.

    Raises:
        UsageError: a name matches none of them, or there is no choice among several.
    """
    known = list(live)
    own = {at: names.both(item.full_name) for at, item in enumerate(known)}
    if len(known) > 1 and not request.names and not request.everything:
        some = ", ".join(item.full_name for item in known[:10])
        raise UsageError(
            f"which deployment? There are {len(known)}: {some}"
            + (", ..." if len(known) > 10 else ""),
            hint="name some, or take all with --all",
        )
    meant: set[int] = set()
    for name in request.names:
        called = names.matching(own, name)
        meant |= called
        if not called:
            some = ", ".join(item.full_name for item in known[:10]) or "none"
            raise UsageError(
                f"this source has no deployment {name!r} on the server",
                hint=names.did_you_mean(name, [text for words in own.values() for text in words])
                or f"it has {some}{', ...' if len(known) > 10 else ''}",
            )
    return [item for at, item in enumerate(known) if at in meant or not request.names]


def repinned(session: Session, code: Code) -> list[Deployment]:
    """The chosen live deployments as they are, but for the code that they name.

    Raises:
        UsageError: a name that matches none, or nothing that is pinned.
    """
    prepared = session.prepared
    chosen = choose(session.live(()), prepared.request)
    found = [item for item in chosen if Pin.of(item.pull_steps)]
    if not found:
        raise UsageError("no deployment of this source is pinned to a snapshot")
    new, label = pin_of(prepared, code.snapshot), version(code.snapshot)
    return [
        replace(
            item,
            pull_steps=pin.repin(item.pull_steps, new),
            version=label if is_our_version(item.version) else item.version,
            version_is_ours=is_our_version(item.version),
        )
        for item in found
    ]


def refuse_steps(prepared: Prepared, desired: Iterable[Deployment]) -> None:
    """Refuse configurations that only steps could complete: they would build today's code.

    Raises:
        UsageError: with the deployments.
    """
    missing = [item.full_name for item in desired if item.unknown]
    if missing:
        raise UsageError(
            f"the configuration of {', '.join(missing)} needs the outputs of build steps, "
            "which a rollback does not run",
            where=prepared.manifest.shown,
            hint="go back with --code-only, or deploy from a checkout of that release",
        )
