"""The way of a deploy: check everything, snapshot, compare, publish, apply; in that order."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import apply, flows, manifest, plan, prefect
from gitops_flow.codestore import address, guard, ledger, publish, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import locate
from gitops_flow.deploy.request import DeployRequest, Published, Report
from gitops_flow.errors import FlowError, ManifestError
from gitops_flow.git import repository, url
from gitops_flow.model import PULL_STEP, Problem, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Repository
    from gitops_flow.manifest import DeploymentConfig, Manifest
    from gitops_flow.model import Deployment, FlowInfo, Json, Snapshot
    from gitops_flow.settings import Settings


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is known once the manifest is read: nothing has been written so far."""

    manifest: Manifest
    chosen: tuple[DeploymentConfig, ...]
    repository: Repository
    source: Source
    base: str
    target: CodeStore
    store: PrivateStore
    options: snapshot.Options


def run(
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Deploy.

    Args:
        request: what to deploy.
        settings: where Prefect, the cache and the code store are.
        environ: for ``{{ $NAME }}`` in the manifest.
        tell: is told what is being done, in a few words each time.

    Raises:
        GitflowError: something is wrong that was found before the first
            deployment was written. A write that fails is in the report instead.
    """
    connection = settings.require_prefect()
    prepared = _prepare(request, settings)
    mark = prepared.source.mark
    with prefect.Client(connection) as client, ThreadPoolExecutor(1) as side:
        # The server's listing is the slowest part of a deploy that changes nothing.
        owned = side.submit(prefect.live, client, names=None, mark=mark)
        tell("taking the snapshot")
        author = prepared.repository.identity(environ)
        snap = snapshot.take(
            prepared.repository,
            prepared.store,
            prepared.options,
            source=prepared.source.name,
            author=author,
        )
        tell("comparing with the server")
        desired, warnings = _desired(prepared, snap, settings, environ)
        live = owned.result()
        have = _names(live)
        if missing := [name for name in _names(desired) if name not in have]:
            live += prefect.live(client, names=missing, mark=None)
        planned = plan.make(
            desired,
            live,
            source_mark=mark,
            former_mark=prepared.source.former_mark,
            adopt=request.adopt,
        )
        _refuse_conflicts(planned)
        pools = apply.missing_pools(client, desired)
        _refuse_pools(pools, desired, request)
        tell("publishing the snapshot")
        published = _publish(prepared, snap, desired, author)
        for pool in pools:
            prefect.create_work_pool(client, pool)
        tell("applying")
        results = apply.execute(client, planned, fail_fast=request.fail_fast)
    return Report(
        source=prepared.source,
        snapshot=snap,
        published=published,
        results=tuple(results),
        warnings=tuple(warnings),
        pools_created=tuple(pools),
    )


def _prepare(request: DeployRequest, settings: Settings) -> _Prepared:
    path = locate.manifest_path(request.directory, request.manifest)
    document = manifest.load(path, _shown(path, request.directory))
    chosen = locate.choose(document, request.names, request.everything)
    repo = repository.discover(path.parent)
    relative = locate.inside(repo.root.resolve(), path)
    name = document.name or url.name_of(str(repo.root))
    source = Source(name, address.identity(repo), relative.as_posix(), str(repo.root))
    chain = settings.code_store.over(document.gitflow.code_store)
    target = address.resolve(repo, chain, settings.data_dir)
    base = relative.parent.as_posix()
    return _Prepared(
        manifest=document,
        chosen=tuple(chosen),
        repository=repo,
        source=source,
        base="" if base == "." else base,
        target=target,
        store=open_store(settings.cache_dir, repo, target.url),
        options=_options(request, document),
    )


def _options(request: DeployRequest, document: Manifest) -> snapshot.Options:
    said = document.gitflow
    allow = guard.Allowance(
        secrets=(*said.allow_secrets, *request.allow_secrets),
        file_limit=request.max_file_size or said.max_file_size or guard.DEFAULT_FILE_LIMIT,
        total_limit=request.max_total_size or said.max_total_size or guard.DEFAULT_TOTAL_LIMIT,
    )
    submodules = said.submodules if request.submodules is None else request.submodules
    return snapshot.Options(allow=allow, clean=request.clean, submodules=submodules)


def _shown(path: Path, directory: Path) -> str:
    try:
        return os.path.relpath(path, directory)
    except ValueError:
        return str(path)


def _desired(
    prepared: _Prepared, snap: Snapshot, settings: Settings, environ: Mapping[str, str]
) -> tuple[list[Deployment], list[Problem]]:
    """The manifest's deployments with everything that the snapshot's sources say of them."""
    files = locate.SnapshotFiles(prepared.store.objects(), snap.tree)
    directories: dict[str, str] = {}
    infos: dict[str, FlowInfo | FlowError] = {}
    entrypoints = manifest.entrypoints(prepared.manifest, environ)
    for item in prepared.chosen:
        entrypoint = entrypoints[item.index]
        if entrypoint is None or entrypoint in infos:
            continue
        directory = locate.directory_of(files, entrypoint, prepared.base)
        directories[entrypoint] = directory
        try:
            infos[entrypoint] = flows.read(
                files.below(directory), entrypoint, flow_name=item.spec.flow_name
            )
        except FlowError as error:
            infos[entrypoint] = error
    step = _pull_step(prepared.target, snap)
    desired, problems = manifest.resolve(
        prepared.manifest,
        mark=prepared.source.mark,
        pull_step=step,
        default_version=_version(snap),
        flows=infos,
        environ=environ,
        default_work_pool=settings.default_work_pool,
        chosen=prepared.chosen,
        is_own_repository=_is_own(prepared),
    )
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise ManifestError(
            f"{len(errors)} problem{'' if len(errors) == 1 else 's'} in the manifest; "
            "nothing was changed",
            tuple(str(problem) for problem in sorted(errors, key=_place)),
        )
    desired = [_in_directory(item, directories.get(item.entrypoint or "", "")) for item in desired]
    return desired, [*prepared.manifest.problems, *problems]


def _place(problem: Problem) -> tuple[str, int, int]:
    at = problem.where
    return (at.file, at.line, at.column) if at else ("", 0, 0)


def _is_own(prepared: _Prepared) -> Callable[[str], bool]:
    repo = prepared.repository
    own = {url.normalise(found) for name in repo.remotes() if (found := repo.remote_url(name))}
    return lambda address_: url.normalise(address_) in own


def _pull_step(target: CodeStore, snap: Snapshot) -> dict[str, Json]:
    inputs: dict[str, Json] = {
        "requires": "gitops-flow",
        "repository": target.pull_url,
        "commit": snap.commit,
    }
    if target.credentials is not None:
        inputs["credentials"] = target.credentials
    inputs["source"] = address.origin_inputs(snap.provenance)
    return {PULL_STEP: inputs}


def _version(snap: Snapshot) -> str:
    """The source commit as Prefect shortens it; for uncommitted work, the snapshot as well."""
    origin = snap.provenance
    if origin.commit is None:
        return f"snapshot-{snap.commit[:8]}"
    return f"{origin.commit[:8]}-dirty-{snap.commit[:8]}" if origin.dirty else origin.commit[:8]


def _in_directory(item: Deployment, directory: str) -> Deployment:
    """Tell our pull step to hand over a subdirectory, when the entrypoint is relative to one."""
    if not directory or item.pull_steps is None:
        return item
    steps = tuple(
        {PULL_STEP: {**step[PULL_STEP], "directory": directory}} if PULL_STEP in step else step
        for step in item.pull_steps
    )
    return replace(item, pull_steps=steps)


def _names(deployments: Sequence[Deployment]) -> dict[tuple[str, str], None]:
    return dict.fromkeys((item.flow_name, item.name) for item in deployments)


def _refuse_conflicts(planned: plan.Plan) -> None:
    if planned.conflicts:
        raise ManifestError(
            "deployments of another source are in the way; nothing was changed",
            tuple(
                str(Problem(action.reason, action.desired.where)) for action in planned.conflicts
            ),
            hint="take them over with --adopt, or give these another name",
        )


def _refuse_pools(
    pools: Sequence[str], desired: Sequence[Deployment], request: DeployRequest
) -> None:
    if not pools or request.create_pools:
        return
    problems = [
        str(Problem(f"there is no work pool {item.work_pool!r} on the server", item.where))
        for item in desired
        if item.work_pool in pools
    ]
    commands = "; ".join(f"prefect work-pool create '{pool}' --type process" for pool in pools)
    raise ManifestError(
        f"missing work pool{'' if len(pools) == 1 else 's'}; nothing was changed",
        tuple(problems),
        hint=f"{commands}; or let gitflow make process pools: --create-pools",
    )


def _publish(
    prepared: _Prepared, snap: Snapshot, desired: Sequence[Deployment], author: str
) -> Published:
    release = ledger.Release(
        snapshot=snap,
        deployments=tuple(item.full_name for item in desired),
        author=author,
        when=int(time.time()),
    )
    done = publish.publish(prepared.store, prepared.target, release)
    target = prepared.target
    return Published(target.url, target.branch, done.entry, done.pushed, done.created)
