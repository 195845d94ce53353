"""Going back: which release, and what a rollback of the code alone changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import manifest, pin
from gitops_flow.codestore import changes, history
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import choice
from gitops_flow.deploy.code import pin_of, version
from gitops_flow.deploy.tree import Files
from gitops_flow.errors import CodeStoreError, UsageError
from gitops_flow.model import is_our_version
from gitops_flow.pin import Pin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy.request import DeployRequest, Which
    from gitops_flow.deploy.server import Server
    from gitops_flow.deploy.source import Project, Release
    from gitops_flow.model import Deployment, Snapshot


def look_up(project: Project, origin: Release, request: DeployRequest, server: Server) -> Project:
    """``project`` with the release that ``origin`` means, and the manifest in that.

    Raises:
        UsageError: no such release, or it has no manifest.
        CodeStoreError: the code store does not give it out any more.
        ManifestError: its manifest has problems for this version.
    """
    entry = _entry(project, origin, request.which, server)
    store = open_store(project.settings.cache_dir, project.repository, project.target.url)
    if not changes.have(store, project.target, entry.snapshot):
        raise CodeStoreError(
            f"the code store does not give out release {entry.id[:12]}",
            where=project.target.url,
            hint="gitflow history lists what there is",
        )
    project = replace(project, origin=replace(origin, entry=entry))
    if origin.code_only:
        return project
    path = project.source.manifest
    data = Files(store.objects(), entry.tree).read(path)
    if data is None:
        raise UsageError(
            f"release {entry.id[:12]} has no {path}",
            hint="go back with --code-only, which leaves the configuration as it is",
        )
    document = manifest.parse(
        data,
        f"{path} of {entry.id[:12]}",
        strict=request.options.strict,
        directory=project.manifest.directory,
    )
    return replace(project, manifest=document)


def _entry(project: Project, origin: Release, which: Which, server: Server) -> Entry:
    chain = history.read(project.settings.cache_dir, project.repository, project.target)
    entries = [entry for entry in chain.entries if entry.of_source(project.source)]
    if origin.to is not None:
        return history.find(entries, origin.to)
    live = choice.choose_live(server.live(()), which)
    there = {pinned.commit for item in live if (pinned := Pin.of(item.pull_steps))}
    newest = next((entry for entry in entries if entry.snapshot in there), None)
    before = history.before(entries, newest.snapshot) if newest else None
    if before is None:
        raise UsageError(
            "there is no release before what is pinned now",
            hint="name one with --to; gitflow history lists them",
        )
    return before


def repinned(
    project: Project, snap: Snapshot, which: Which, live: Iterable[Deployment]
) -> list[Deployment]:
    """The chosen live deployments as they are, but for the code that they name.

    Raises:
        UsageError: a name that matches none, or nothing that is pinned.
    """
    pinned = [item for item in choice.choose_live(live, which) if Pin.of(item.pull_steps)]
    if not pinned:
        raise UsageError("no deployment of this source is pinned to a snapshot")
    new, label = pin_of(project, snap), version(snap)
    return [
        replace(
            item,
            pull_steps=pin.repin(item.pull_steps, new),
            version=label if is_our_version(item.version) else item.version,
            version_is_ours=is_our_version(item.version),
        )
        for item in pinned
    ]


def refuse_steps(project: Project, desired: Iterable[Deployment]) -> None:
    """Refuse configurations that only steps could complete: they would build today's code.

    Raises:
        UsageError: with the deployments.
    """
    missing = [item.full_name for item in desired if item.unknown]
    if missing:
        raise UsageError(
            f"the configuration of {', '.join(missing)} needs the outputs of build steps, "
            "which a rollback does not run",
            where=project.manifest.shown,
            hint="go back with --code-only, or deploy from a checkout of that release",
        )
