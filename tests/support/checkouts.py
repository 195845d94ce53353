"""Pulls from a repository on this machine as from a server, and what they leave in the cache."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_flow import checkout
from gitops_flow.checkout.cache import Shelf

if TYPE_CHECKING:
    from tests.support.repo import Repo

# What a process of its own says first, to call checkout as a worker's step does.
AS_A_STEP = """
import os
from gitops_flow.git import environment
its_environment = environment.using(environment.GitEnvironment(os.environ))
its_environment.__enter__()
"""


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


def content(top: Path) -> dict[bytes, tuple[int, bytes]]:
    """Every path below ``top`` with its whole mode and what is in it."""
    found = {b"": (top.stat().st_mode, b"")}
    base = os.fsencode(top)
    for directory, directories, files in os.walk(base):
        for name in directories + files:
            path = os.path.join(directory, name)
            mode, data = os.lstat(path).st_mode, b""
            if stat.S_ISLNK(mode):
                data = os.readlink(path)
            elif stat.S_ISREG(mode):
                data = Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, base)] = (mode, data)
    return found
