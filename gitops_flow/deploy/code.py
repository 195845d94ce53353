"""The code to deploy: its snapshot, and what the flows in it say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import flows, manifest
from gitops_flow.codestore import guard, ledger, publish, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import sources
from gitops_flow.deploy.request import Published
from gitops_flow.errors import FlowError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Deployment, FlowInfo, Snapshot


@dataclass(frozen=True, slots=True)
class Code:
    """A snapshot, the store that holds its objects, and its flows.

    ``flows`` and ``directories`` (what an entrypoint is relative to) are by
    entrypoint.
    """

    snapshot: Snapshot
    store: PrivateStore
    flows: Mapping[str, FlowInfo | FlowError]
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
    directories: dict[str, str] = {}
    infos: dict[str, FlowInfo | FlowError] = {}
    entrypoints = manifest.entrypoints(prepared.manifest, answers)
    for item in prepared.chosen:
        entrypoint = entrypoints[item.index]
        if entrypoint is None or entrypoint in infos:
            continue
        directory = sources.directory_of(files, entrypoint, prepared.base)
        directories[entrypoint] = directory
        try:
            infos[entrypoint] = flows.read(
                files.below(directory), entrypoint, flow_name=item.spec.flow_name
            )
        except FlowError as error:
            infos[entrypoint] = error
    return Code(snap, store, infos, directories)


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
