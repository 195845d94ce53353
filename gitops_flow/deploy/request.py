"""What a deploy is asked for, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_flow.apply import Result
    from gitops_flow.model import Problem, Snapshot, Source


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """One deploy.

    Args:
        directory: where to look for the manifest and the repository.
        manifest: the manifest, when it is named; relative to ``directory``.
        names: which deployments (``name``, ``flow/name`` or a glob); empty with ``everything``.
        everything: all deployments of the manifest.
        clean: HEAD instead of the working tree.
        submodules: include their files; None leaves it to the manifest.
        adopt: take over deployments that another source owns.
        create_pools: make missing work pools, of type process.
        fail_fast: stop at the first write that fails.
        allow_secrets: globs of files that may look like secrets.
        max_file_size, max_total_size: bytes; None leaves them to the manifest.
    """

    directory: Path
    manifest: Path | None = None
    names: tuple[str, ...] = ()
    everything: bool = False
    clean: bool = False
    submodules: bool | None = None
    adopt: bool = False
    create_pools: bool = False
    fail_fast: bool = False
    allow_secrets: tuple[str, ...] = ()
    max_file_size: int | None = None
    max_total_size: int | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """Where the snapshot is. ``entry`` is the newest ledger entry seen there."""

    url: str
    branch: str
    entry: str
    pushed: bool
    created: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a deploy did. ``notes`` are remarks that ask for nothing."""

    source: Source
    snapshot: Snapshot
    published: Published
    results: tuple[Result, ...]
    warnings: tuple[Problem, ...] = ()
    pools_created: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every deployment is as the manifest says."""
        return all(result.error is None for result in self.results)
