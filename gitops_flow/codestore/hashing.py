"""Hashing what changed: by git itself, into an index of our own.

Attributes, encodings and filters (LFS, git-crypt) apply as in `git add`.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.codestore.scan import failed_filter
from gitops_flow.errors import SnapshotError
from gitops_flow.git import command
from gitops_flow.git.objects import Entry, read_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.codestore.scan import Scan, Tracked
    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Repository

# As many as fit an argument list without a thought; more are told on standard input.
_SEEDS_AT_ONCE = 64


def hashed(repo: Repository, store: PrivateStore, state: Scan) -> dict[bytes, Entry | None]:
    """Let git hash what is taken from the disk, as `git add` would, into an index of our own.

    The index holds what HEAD's index says of those paths first: whether git
    turns CRLF into LF depends on the version that is already stored.
    """
    paths = [t.path for t in state.tracked if t.content == "disk" and not t.is_submodule]
    paths += state.untracked
    if repo.git_dir is None:
        # A plain folder's index is ours, and is kept: next time only what changed is read.
        paths += [t.path for t in state.tracked if t.content == "deleted"]
        return _index_entries(repo, store, None, paths) if paths else {}
    if not paths:
        return {}
    known = {item.path: item for item in state.tracked}
    with files.aside(store.path, "gitflow-index-") as (directory, _):
        index = directory / "index"
        seeds = [known[p] for p in paths if p in known and known[p].index_mode]
        return _index_entries(repo, store, index, paths, seeds)


def look_at_unwatched(repo: Repository, store: PrivateStore, state: Scan) -> None:
    """Add to ``state.tracked`` what git was told not to look at and has other content on disk."""
    known = {item.path: item for item in state.tracked}
    top = os.fsencode(repo.root)
    there = [
        item
        for item in state.unwatched
        if known.get(item.path, item).content != "deleted" and _is_file(top + b"/" + item.path)
    ]
    if not there:
        return
    with files.aside(store.path, "gitflow-index-") as (directory, _):
        paths = [item.path for item in there]
        # Without a new object, for which git would touch the old one of the user's repository.
        entries = _index_entries(repo, store, directory / "index", paths, there, "--info-only")
    for item in there:
        if entries[item.path] != Entry(item.index_mode, item.index_id):
            staged = known.get(item.path)
            if staged:
                state.tracked.remove(staged)
            head = staged or item
            state.tracked.append(replace(item, head_mode=head.head_mode, head_id=head.head_id))


def _is_file(path: bytes) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _facts(item: Tracked) -> tuple[int, bytes, bytes]:
    return item.index_mode, item.index_id.encode("ascii"), item.path


def _index_entries(
    repo: Repository,
    store: PrivateStore,
    index: Path | None,
    paths: list[bytes],
    seeds: Sequence[Tracked] = (),
    *options: str,
) -> dict[bytes, Entry | None]:
    env = store.worktree_env(repo, index)
    if len(seeds) > _SEEDS_AT_ONCE:
        command.run(
            ["update-index", "-z", "--index-info"],
            cwd=repo.root,
            env=env,
            config=store.worktree_config,
            stdin=b"".join(b"%06o %s\t%s\0" % _facts(seed) for seed in seeds),
        )
        seeds = ()
    known = [arg for s in seeds for arg in (b"--cacheinfo", b"%o,%s,%s" % _facts(s))]
    answer = command.run(
        ["update-index", "-z", "--add", "--remove", "--replace", *options, *known, "--stdin"],
        cwd=repo.root,
        env=env,
        config=store.worktree_config,
        stdin=b"\0".join([*paths, b""]),
        check=False,
    )
    if answer.returncode != 0:
        raise failed_filter(answer.stderr) or _unreadable(answer.stderr)
    entries: dict[bytes, Entry | None] = dict.fromkeys(paths)
    written = Path(env["GIT_INDEX_FILE"])
    # git writes no index when every file has vanished since it was listed.
    for path, entry in read_index(written.read_bytes()) if written.exists() else ():
        if path in entries:
            entries[path] = entry
    return entries


def _unreadable(stderr: str) -> SnapshotError:
    found = re.findall(r'open\("(.*?)"\): (.*)', stderr)
    if found:
        paths = tuple(f"{path} ({why})" for path, why in found)
        return SnapshotError(
            "a file cannot be read",
            paths=paths,
            hint="change its permissions, or list it in .gitflowignore",
        )
    return SnapshotError(
        f"git cannot take a file into the snapshot: {command.tidy(stderr)}",
        hint="list it in .gitflowignore if workers do not need it",
    )
