"""The push step: the snapshot and publishing of ``gitflow deploy``, for ``prefect deploy`` users."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import settings
from gitops_flow.codestore import address, guard, ledger, publish, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.git import environment, repository, url
from gitops_flow.model import CodeStoreSettings
from gitops_flow.redact import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.model import Json


@environment.using(environment.GitEnvironment(os.environ))
def push_code(
    remote: str | None = None,
    branch: str | None = None,
    pull_url: str | Sequence[str] | None = None,
    clean: bool = False,
    submodules: bool = False,
    ignore_submodules: Sequence[str] = (),
    lfs: bool = False,
    ci_files: bool = False,
    allow_secrets: Sequence[str] = (),
    max_file_size: int = guard.DEFAULT_FILE_LIMIT,
    max_total_size: int = guard.DEFAULT_TOTAL_LIMIT,
) -> dict[str, Json]:
    """Publish the working tree of the current directory's repository to the code store.

    For the ``push:`` section of a ``prefect.yaml``; with ``id: code`` its
    outputs are ``{{ code.commit }}`` and so on.

    Args:
        remote: the code store: a remote's name, a URL or a path; ``origin`` by default.
        branch: its branch, ``code-store`` by default.
        pull_url: its address as workers see it, when that is another one; or
            several, in the order in which they are to be tried.
        clean: HEAD instead of the working tree.
        submodules: include their files.
        ignore_submodules: globs of submodules that are left out.
        lfs: include the content of Git LFS files.
        ci_files: include what a forge starts its CI by.
        allow_secrets: globs of files that may look like secrets.
        max_file_size: bytes, for each uncommitted file.
        max_total_size: bytes, for all uncommitted files.

    Returns:
        ``{commit, repository, branch, source}``: the snapshot's id, the address
        for workers, the branch, and where the snapshot came from. ``commit``,
        ``repository`` and ``source`` are what ``pull_code`` takes.

    Raises:
        GitflowError: with what is wrong and what to do; nothing was published.
    """
    addresses = pull_url if isinstance(pull_url, str) else tuple(pull_url or ()) or None
    said = CodeStoreSettings(remote=remote, branch=branch, pull_url=addresses)
    found = settings.load(os.environ, Path.cwd())
    repo = repository.discover(Path.cwd(), own=(found.cache_dir, found.data_dir))
    # The inputs are the manifest's: they come first, but do not say where the token goes.
    target = address.resolve(repo, said.over(found.code_store), found.data_dir)
    store = open_store(found.cache_dir, repo, target.url)
    author = repo.identity(repository.Author.of(os.environ))
    allow = guard.Allowance(tuple(allow_secrets), int(max_file_size), int(max_total_size))
    ignored = tuple(ignore_submodules)
    options = snapshot.Options(allow, clean, submodules, ignored, lfs, ci_files)
    snap = snapshot.take(repo, store, options, source=url.name_of(str(repo.root)), author=author)
    done = publish.publish(store, target, ledger.Release.of(snap))
    get_logger("steps").info(
        "%s snapshot %s (%d uncommitted files) to %s",
        "published" if done.pushed else "already published",
        snap.commit[:12],
        len(snap.changes),
        target.url,
    )
    return {
        "commit": snap.commit,
        "repository": target.pull_input,
        "branch": target.branch,
        "source": address.origin_inputs(snap.provenance),
    }
