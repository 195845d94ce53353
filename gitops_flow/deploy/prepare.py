"""What is known of a deploy once the manifest is read; light, so that the server can be asked early."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import manifest
from gitops_flow.codestore import address
from gitops_flow.deploy import locate
from gitops_flow.errors import GitError, UsageError
from gitops_flow.git import repository
from gitops_flow.model import Source

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.git.repository import Repository
    from gitops_flow.manifest import DeploymentConfig, Manifest
    from gitops_flow.settings import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A manifest, what is chosen in it, and where its code comes from and goes to.

    ``base`` is the manifest's directory relative to the repository's root, ""
    at the root. ``restored`` is the release whose code and manifest these are,
    None for the working tree's. Nothing has been written so far.
    """

    request: DeployRequest
    settings: Settings
    manifest: Manifest
    chosen: tuple[DeploymentConfig, ...]
    repository: Repository
    source: Source
    base: str
    target: CodeStore
    restored: Entry | None = None


def prepare(request: DeployRequest, settings: Settings) -> Prepared:
    """Read the manifest and find everything it is about.

    Raises:
        GitflowError: the request, the manifest, the choice, the repository or the code store.
    """
    if request.names and request.everything:
        raise UsageError("names and --all exclude each other", hint="leave one of them out")
    if request.prune and not request.whole:
        raise UsageError(
            "--prune needs --all and no --tag: "
            "only the whole manifest says what is no longer in it",
            hint="deploy all of it, or leave --prune out",
        )
    if request.python is not None:
        request = replace(request, python=_program(request.directory, request.python))
    path = locate.manifest_path(request.directory, request.manifest)
    repo = repository.discover(path.parent, own=(settings.cache_dir, settings.data_dir))
    if repo.git_dir is None and request.manifest is not None:
        with contextlib.suppress(GitError):
            here = repository.discover(request.directory)
            if here.git_dir is not None:
                locate.refuse_beside(here.root, path)
    # Before it is read: messages about a manifest quote it.
    relative = locate.inside(repo.root.resolve(), path)
    # What a rollback chooses from is another manifest, or the server.
    elsewhere = request.source_only or request.rollback is not None
    document = manifest.load(
        path, _shown(path, request.directory), strict=request.strict, source_only=elsewhere
    )
    chosen = [] if elsewhere else locate.choose(document, request)
    if request.overrides:
        given = manifest.check_overrides(request.overrides)
        chosen = [manifest.override(each, request.overrides, given) for each in chosen]
    # A clone may be in a directory of any name; what it was cloned from is the same for all.
    identity, *former = address.identities(repo, document.gitflow.source)
    name = document.name or address.name_of(repo)
    base = relative.parent.as_posix()
    chain = settings.code_store.over(document.gitflow.code_store)
    return Prepared(
        request=request,
        settings=settings,
        manifest=document,
        chosen=tuple(chosen),
        repository=repo,
        source=Source(name, identity, relative.as_posix(), str(repo.root), tuple(former)),
        base="" if base == "." else base,
        target=address.resolve(repo, chain, settings.data_dir),
    )


def _program(directory: Path, python: str) -> str:
    """The named Python, by a path that is true in every directory."""
    named = str(directory / python) if "/" in python else python
    found = shutil.which(named)
    if found is None:
        raise UsageError(
            f"--python: there is no program {python!r}",
            hint="name the Python that has your flows' packages, such as .venv/bin/python",
        )
    return found


def _shown(path: Path, directory: Path) -> str:
    try:
        return os.path.relpath(path, directory)
    except ValueError:
        return str(path)
