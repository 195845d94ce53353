"""The code to deploy: its snapshot, and what the flows in it say of themselves."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import flows, manifest
from gitops_flow.codestore import guard, ledger, publish, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import imported, sources
from gitops_flow.deploy.request import Published
from gitops_flow.errors import FlowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Deployment, FlowInfo, Snapshot

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
    """Take the snapshot and read the chosen deployments' flows in it.

    Raises:
        GitflowError: the working tree cannot be snapshotted.
    """
    repo = prepared.repository
    store = open_store(prepared.settings.cache_dir, repo, prepared.target.url)
    snap = snapshot.take(
        repo,
        store,
        _options(prepared),
        source=prepared.source.name,
        author=repo.identity(answers.environ),
    )
    files = sources.SnapshotFiles(store.objects(), snap.tree)
    infos, directories = _flows(prepared, answers, files)
    return Code(snap, store, infos, directories)


def _flows(
    prepared: Prepared, answers: Answers, files: sources.SnapshotFiles
) -> tuple[dict[Key, FlowInfo | FlowError], dict[str, str]]:
    cache = flows.Cache(prepared.settings.cache_dir / "flows")
    directories: dict[str, str] = {}
    infos: dict[Key, FlowInfo | FlowError] = {}
    entrypoints = manifest.entrypoints(prepared.manifest, answers)
    for item in prepared.chosen:
        entrypoint = entrypoints[item.index]
        if entrypoint is None or (entrypoint, item.spec.flow_name) in infos:
            continue
        if entrypoint not in directories:
            directories[entrypoint] = sources.directory_of(files, entrypoint, prepared.base)
        infos[entrypoint, item.spec.flow_name] = _read(
            cache, files, directories[entrypoint], entrypoint, item.spec.flow_name
        )
    if prepared.request.import_flows:
        infos |= imported.answers(prepared, answers.environ, infos, directories)
    return infos, directories


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


def _options(prepared: Prepared) -> snapshot.Options:
    request, said = prepared.request, prepared.manifest.gitflow
    allow = guard.Allowance(
        secrets=(*said.allow_secrets, *request.allow_secrets),
        file_limit=request.max_file_size or said.max_file_size or guard.DEFAULT_FILE_LIMIT,
        total_limit=request.max_total_size or said.max_total_size or guard.DEFAULT_TOTAL_LIMIT,
    )
    submodules = request.submodules
    if submodules is None:
        wanted = manifest.wants_submodules(prepared.manifest, prepared.chosen)
        submodules = said.submodules or wanted
    return snapshot.Options(allow=allow, clean=request.clean, submodules=submodules)


def release(prepared: Prepared, code: Code, desired: Sequence[Deployment]) -> Published:
    """Publish the snapshot; returns when the server has confirmed it.

    Raises:
        GitflowError: with what the server said.
    """
    target = prepared.target
    made = ledger.Release.of(code.snapshot, [item.full_name for item in desired])
    done = publish.publish(code.store, target, made)
    return Published(target.url, target.branch, done.entry, done.pushed, done.created)
