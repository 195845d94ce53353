"""Hashing what changed: by git itself, into an index of our own.

Attributes, encodings and filters (LFS, git-crypt) apply as in `git add`. Git writes a file for
each new object, which takes most of the time once there are thousands. The contents of many new
files are therefore put into packs first: git finds there what it would write. What it makes of a
content by a filter is not there, and is written by git as ever.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.codestore.scan import failed_filter
from gitops_flow.errors import GitError, SnapshotError
from gitops_flow.git import command
from gitops_flow.git.objects import Entry, blob_id, read_index
from gitops_flow.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gitops_flow.codestore.guard import Harmless
    from gitops_flow.codestore.scan import Scan, Tracked
    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Repository

# As many as fit an argument list without a thought; more are told on standard input.
_SEEDS_AT_ONCE = 64

# As many files are put into packs; a larger one than this many bytes is left to git.
_MANY = 1_000
_LARGE = 1_000_000
_PACK_SIZE = 16_000_000  # bytes of files
_SAMPLE = 50
_PACK_CONFIG = (("fastimport.unpackLimit", "0"), ("pack.compression", "1"))


def hashed(
    repo: Repository, store: PrivateStore, state: Scan, harmless: Harmless
) -> dict[bytes, Entry | None]:
    """Let git hash what is taken from the disk, as `git add` would, into an index of our own.

    The index holds what HEAD's index says of those paths first: whether git
    turns CRLF into LF depends on the version that is already stored.
    """
    paths = [t.path for t in state.tracked if t.content == "disk" and not t.is_submodule]
    paths += state.untracked
    if len(paths) >= _MANY:
        _pack_new(repo, store, paths, harmless)
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


def _pack_new(
    repo: Repository, store: PrivateStore, paths: list[bytes], harmless: Harmless
) -> None:
    """Put the contents of new files into packs of the store, and search them for secrets meanwhile."""
    top, objects = os.fsencode(repo.root) + b"/", store.objects()
    sample = list(_contents(top, paths[:: len(paths) // _SAMPLE]))
    if sum(objects.has(blob_id(data)) for data in sample) * 2 > len(sample):
        return
    with files.aside(store.path, "gitflow-packs-") as (directory, _), Threads(1) as side:
        env = {"GIT_DIR": str(store.path), "GIT_OBJECT_DIRECTORY": str(directory)}
        config = (*store.worktree_config, *_PACK_CONFIG)

        def pack(contents: list[bytes]) -> None:
            blobs = b"".join(b"blob\ndata %d\n%b\n" % (len(data), data) for data in contents)
            arguments = ["fast-import", "--quiet", "--depth=0"]
            # Where it fails, or is not installed, git writes a file for each object.
            with contextlib.suppress(GitError):
                command.run(arguments, env=env, config=config, stdin=blobs)

        packing = None
        for contents in _batches(_contents(top, paths)):
            if packing:
                packing.result()
            packing = side.submit(pack, contents)
            for data in contents:
                harmless.search(blob_id(data), data)
        if packing:
            packing.result()
        # A pack is looked for by its index, so that comes last.
        for made in sorted(directory.glob("pack/pack-*"), reverse=True):
            made.rename(store.path / "objects/pack" / made.name)


def _contents(top: bytes, paths: Iterable[bytes]) -> Iterator[bytes]:
    """What is in the regular files among ``paths`` that are not large, and can be read."""
    for path in paths:
        with contextlib.suppress(OSError):
            file = os.open(top + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                about = os.fstat(file)
                if stat.S_ISREG(about.st_mode) and about.st_size <= _LARGE:
                    yield os.read(file, about.st_size)
            finally:
                os.close(file)


def _batches(contents: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch, size = [], 0
    for data in contents:
        batch.append(data)
        size += len(data)
        if size > _PACK_SIZE:
            yield batch
            batch, size = [], 0
    yield batch


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
    unopened = re.findall(r'open\("(.*?)"\): (.*)', stderr)
    if unopened:
        paths = tuple(f"{path} ({why})" for path, why in unopened)
        return SnapshotError(
            "a file cannot be read",
            paths=paths,
            hint="change its permissions, or list it in .gitflowignore",
        )
    return SnapshotError(
        f"git cannot take a file into the snapshot: {command.tidy(stderr)}",
        hint="list it in .gitflowignore if workers do not need it",
    )
