"""Pulls from a repository on this machine as from a server, and what they leave in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_flow import checkout
from gitops_flow.checkout.cache import Shelf

if TYPE_CHECKING:
    from tests.support.repo import Repo


def parentless(repo: Repo) -> str:
    """The working tree as a snapshot: a commit without parents that a branch keeps."""
    repo.git("add", "-A")
    made = repo.git("commit-tree", repo.git("write-tree"), "-m", "snapshot")
    repo.git("update-ref", f"refs/heads/{made}", made)
    return made


def only_shelf(root: Path) -> Shelf:
    """The shelf of the one repository that was pulled from."""
    (path,) = (path for path in root.iterdir() if path.is_dir())
    return Shelf(path)


def pull(repo: Repo, commit: str, here: Path, root: Path | None, **more: Any) -> checkout.Checkout:
    """Check ``commit`` out below ``here``, with the cache at ``root``."""
    url = f"file://{repo.path}"
    return checkout.make(url, commit, here, pauses=(), cache=root, **more)
