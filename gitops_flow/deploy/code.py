"""The code to deploy: its snapshot, and what the flows in it say of themselves."""

from __future__ import annotations

import json
import posixpath
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import flows, manifest, pin
from gitops_flow.codestore import guard, ledger, publish, snapshot, trim
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import imported, locate, sources
from gitops_flow.deploy.request import Published
from gitops_flow.errors import FlowError
from gitops_flow.git import repository
from gitops_flow.plan import Create, Unchanged, Update
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.manifest import Answers, DeploymentConfig, Override
    from gitops_flow.model import Deployment, FlowInfo, Snapshot
    from gitops_flow.plan import Action, Plan

Key = tuple[str, "str | None"]


@dataclass(frozen=True, slots=True)
class Code:
    """A snapshot, the store that holds its objects, and its flows.

    ``flows`` are by entrypoint and the manifest's ``flow_name``, which counts
    where the code computes the name; ``directories`` say what an entrypoint is
    relative to.
    """

    snapshot: Snapshot
    store: PrivateStore
    flows: Mapping[Key, FlowInfo | FlowError]
    directories: Mapping[str, str]


def read(prepared: Prepared, answers: Answers) -> Code:
    """Take the snapshot (or a release's) and read the chosen deployments' flows in it.

    Raises:
        GitflowError: the working tree cannot be snapshotted.
    """
    repo = prepared.repository
    store = open_store(prepared.settings.cache_dir, repo, prepared.target.url)
    if prepared.restored is not None:
        snap = prepared.restored.restored()
    else:
        snap = snapshot.take(
            repo,
            store,
            options(prepared),
            source=prepared.source.name,
            author=repo.identity(answers.environ),
        )
        snap = _with_branch(snap, answers.environ)
    files = sources.SnapshotFiles(store.objects(), snap.tree)
    infos, directories = _flows(prepared, answers, files)
    return Code(snap, store, infos, directories)


def _with_branch(snap: Snapshot, environ: Mapping[str, str]) -> Snapshot:
    """``snap`` with the branch that CI says it is from, where none is checked out."""
    origin = snap.provenance
    if origin.ref is not None or origin.commit is None:
        return snap
    branch = repository.branch_of_ci(environ, origin.commit)
    return replace(snap, provenance=replace(origin, ref=branch))


def _flows(
    prepared: Prepared, answers: Answers, files: sources.SnapshotFiles
) -> tuple[dict[Key, FlowInfo | FlowError], dict[str, str]]:
    cache = flows.Cache(prepared.settings.cache_dir / "flows")
    directories: dict[str, str] = {}
    here = locate.below(prepared.repository.root, prepared.request.directory)
    infos: dict[Key, FlowInfo | FlowError] = {}
    entrypoints = manifest.entrypoints(prepared.manifest, answers)
    for item in prepared.chosen:
        entrypoint = entrypoints[item.index]
        if entrypoint is None or (entrypoint, item.spec.flow_name) in infos:
            continue
        if entrypoint not in directories:
            directories[entrypoint] = sources.directory_of(files, entrypoint, prepared.base, here)
        infos[entrypoint, item.spec.flow_name] = _read(
            cache, files, directories[entrypoint], entrypoint, item.spec.flow_name
        )
    if prepared.request.import_flows and prepared.restored is None:
        inside = {
            key: info for key, info in infos.items() if _shipped(files, directories[key[0]], key[0])
        }
        infos |= imported.answers(prepared, answers.environ, inside, directories)
    elif prepared.restored is None:
        infos = {key: _or_imported(info) for key, info in infos.items()}
    return infos, directories


def _or_imported(info: FlowInfo | FlowError) -> FlowInfo | FlowError:
    """``info``, with the way to ask the code itself where only running it would tell."""
    if not isinstance(info, FlowError) or not isinstance(info, flows.ComputedError):
        return info
    return FlowError(info.message, where=info.where, hint=f"{info.hint}, or use --import-flows")


def narrowed(prepared: Prepared, found: Code, answers: Answers) -> Prepared:
    """``prepared`` with the deployments that are meant, now that their flows' names are known.

    Raises:
        UsageError: a name that matches nothing.
    """
    entrypoints = manifest.entrypoints(prepared.manifest, answers)

    def flow_of(item: DeploymentConfig) -> str | None:
        known, key = found.flows, (entrypoints[item.index] or "", item.spec.flow_name)
        if key not in known and item not in prepared.chosen:
            known = _others_flow(prepared, found, answers, item)
        info = known.get(key)
        return None if info is None or isinstance(info, FlowError) else info.name

    request = prepared.request
    chosen = locate.narrow(
        prepared.chosen, request.names, flow_of, prepared.manifest, tags=request.tags
    )
    return replace(prepared, chosen=tuple(chosen))


def _others_flow(
    prepared: Prepared, found: Code, answers: Answers, item: DeploymentConfig
) -> Mapping[Key, FlowInfo | FlowError]:
    """What the flow of a deployment that was not chosen says, to tell why it was not."""
    request = replace(prepared.request, import_flows=False)
    files = sources.SnapshotFiles(found.store.objects(), found.snapshot.tree)
    return _flows(replace(prepared, request=request, chosen=(item,)), answers, files)[0]


def _shipped(files: sources.SnapshotFiles, directory: str, entrypoint: str) -> bool:
    """False for a file that no worker will find, so that it is not imported here either."""
    path = entrypoint.rpartition(":")[0]
    return not path.endswith(".py") or files.blob_id(posixpath.join(directory, path)) is not None


def _read(
    cache: flows.Cache,
    files: sources.SnapshotFiles,
    directory: str,
    entrypoint: str,
    flow_name: str | None,
) -> FlowInfo | FlowError:
    try:
        return flows.read_cached(
            cache,
            lambda path: files.read(posixpath.join(directory, path)),
            lambda path: files.blob_id(posixpath.join(directory, path)),
            entrypoint,
            flow_name=flow_name,
        )
    except FlowError as error:
        path = entrypoint.rpartition(":")[0]
        if path.endswith(".py") and not files.blob_id(posixpath.join(directory, path)):
            near = files.nearest(directory, path)
            hint = f"did you mean {near!r}? {error.hint}" if near else error.hint
            return FlowError(error.message, where=error.where, hint=hint)
        return error


def options(prepared: Prepared) -> snapshot.Options:
    """How the snapshot is taken, by the command line and the manifest."""
    request, said = prepared.request, prepared.manifest.gitflow
    allow = guard.Allowance(
        secrets=(*said.allow_secrets, *request.allow_secrets),
        file_limit=request.max_file_size or said.max_file_size or guard.DEFAULT_FILE_LIMIT,
        total_limit=request.max_total_size or said.max_total_size or guard.DEFAULT_TOTAL_LIMIT,
    )
    submodules = request.submodules
    ignored = (*said.ignore_submodules, *request.ignore_submodules)
    if submodules is None:
        wanted = manifest.wants_submodules(prepared.manifest, prepared.chosen)
        submodules = said.submodules == "include" or wanted
        ignored += ("*",) if said.submodules == "ignore" else ()
    lfs = said.lfs if request.lfs is None else request.lfs
    ci_files = said.ci_files if request.ci_files is None else request.ci_files
    return snapshot.Options(allow, request.clean, submodules, ignored, lfs, ci_files)


def sign(prepared: Prepared, code: Code, planned: Plan) -> tuple[Plan, str | None]:
    """Sign the snapshot if something is to be pinned to it, and put that into the plan.

    Raises:
        CodeStoreError: git cannot sign.
    """
    if not prepared.target.sign or not any(map(_pins, planned.actions)):
        return planned, None
    from gitops_flow.codestore import sign as signing

    signature = signing.sign(code.store, code.snapshot)
    actions = [
        replace(action, desired=_signed(action.desired, signature))
        if isinstance(action, Create | Update)
        else action
        for action in planned.actions
    ]
    return replace(planned, actions=tuple(actions)), signature


def _signed(desired: Deployment, signature: str) -> Deployment:
    return replace(desired, pull_steps=pin.sign(desired.pull_steps, signature))


def _pins(action: Action) -> bool:
    """Whether the action makes a deployment name the snapshot."""
    return isinstance(action, Create) or (
        isinstance(action, Update) and "pull_steps" in action.fields
    )


def release(
    prepared: Prepared,
    code: Code,
    planned: Plan,
    *,
    signature: str | None = None,
    author: str | None = None,
) -> Published:
    """Publish the snapshot; returns when the server has confirmed it.

    Args:
        prepared: what is deployed.
        code: the snapshot.
        planned: what is going to be done with it.
        signature: from :func:`sign`.
        author: who deploys, when that is not the snapshot's author.

    Raises:
        GitflowError: with what the server said.
    """
    target = prepared.target
    made = _release(prepared, code, planned, signature, author)
    moves = any(map(_pins, planned.actions))
    # A release that nothing pinned so far may be dropped at any moment, unless it is young.
    old = time.time() - trim.GRACE / 2 if moves else 0.0
    done = publish.publish(
        code.store,
        target,
        made,
        since=old,
        # What is pinned now is the newest release, so that the one before it is what it replaces.
        newest=moves,
        again=bool((prepared.restored or prepared.request.overrides) and planned.writes),
    )
    return Published(
        target.url, target.branch, done.entry, done.pushed, done.created, signature is not None
    )


def _release(
    prepared: Prepared, code: Code, planned: Plan, signature: str | None, author: str | None
) -> ledger.Release:
    names = [
        action.full_name
        for action in planned.actions
        if isinstance(action, Create | Update | Unchanged) and not action.desired.keeps_code
    ]
    made = ledger.Release.of(
        code.snapshot,
        names,
        mark=prepared.source.mark,
        author=author,
        rollback=prepared.restored.id if prepared.restored else None,
    )
    return replace(
        made, signature=signature, overrides=tuple(map(_shown, prepared.request.overrides))
    )


def _shown(override: Override) -> str:
    """An override as the ledger keeps it; of parameters and job variables only which."""
    if override.path[0] == "parameters" or "job_variables" in override.path:
        return f"{override.option} {override.path[-1]}"
    return redact(f"{override.option} {json.dumps(override.value, ensure_ascii=False)}")


def confirm(
    prepared: Prepared,
    code: Code,
    planned: Plan,
    published: Published,
    *,
    signature: str | None = None,
    author: str | None = None,
) -> Published:
    """Make sure that what was pinned is still released; the arguments are :func:`release`'s.

    Raises:
        GitflowError: with what the server said.
    """
    if not any(map(_pins, planned.actions)):
        return published
    made = _release(prepared, code, planned, signature, author)
    again = publish.confirm(
        prepared.settings.cache_dir, code.store, prepared.target, made, published.entry
    )
    return published if again is None else replace(published, entry=again.entry, pushed=True)
