"""From a working tree or a commit to a snapshot: objects only; no ref, no index, no network.

Unchanged files are taken from HEAD's tree; changed ones are hashed by git
itself, so that attributes, encodings and filters (LFS, git-crypt) apply as in
`git add`. The tree is then put together in process.
"""

from __future__ import annotations

import fnmatch
import os
import shlex
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gitops_flow.codestore import guard, hashing, lfs, scan, select
from gitops_flow.errors import GitflowError, SnapshotError, StoppedError
from gitops_flow.git import command, repository
from gitops_flow.git.objects import (
    DIRECTORY,
    EMPTY_TREE,
    GITLINK,
    Entry,
    Objects,
)
from gitops_flow.model import FileChange, LeftOut, Provenance, Snapshot
from gitops_flow.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from gitops_flow.codestore.scan import Scan
    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Repository

# Constants, so that the id depends on the content alone.
IDENT = "gitops-flow <snapshot@gitops-flow.invalid> 0 +0000"
MESSAGE = "snapshot\n"


@dataclass(frozen=True, slots=True)
class Options:
    """How to take a snapshot.

    ``clean`` takes HEAD instead of the working tree. ``submodules`` includes
    their working trees as plain directories instead of refusing them;
    ``ignore_submodules`` holds globs of those that are left out all the same.
    ``lfs`` includes the content of Git LFS files instead of their pointers.
    ``ci_files`` includes what a forge starts its CI by.
    """

    allow: guard.Allowance = field(default_factory=guard.Allowance)
    clean: bool = False
    submodules: bool = False
    ignore_submodules: tuple[str, ...] = ()
    lfs: bool = False
    ci_files: bool = False

    def ignores_submodule(self, path: str) -> bool:
        """Whether the submodule at ``path`` is left out."""
        return any(fnmatch.fnmatchcase(path, glob) for glob in self.ignore_submodules)


@dataclass(frozen=True, slots=True)
class Taken:
    """A tree and how it came about; paths are relative to the outer repository.

    ``sizes`` are the bytes of the uncommitted files, submodules' apart.
    """

    tree: str
    scan: Scan
    left_out: tuple[LeftOut, ...]
    changes: tuple[FileChange, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)


def take(
    repo: Repository, store: PrivateStore, options: Options, *, source: str, author: str
) -> Snapshot:
    """Snapshot the working tree of ``repo`` (or HEAD, with ``options.clean``).

    Args:
        repo: what to snapshot; never written to.
        store: the private store that receives new objects.
        options: what to include and to allow.
        source: the source's name, for the provenance.
        author: who deploys, for the provenance.

    Returns:
        The snapshot; its commit object exists in the private store only.

    Raises:
        SnapshotError: conflicts, refused files, submodules, or unreadable files.
    """
    with store.locked():
        taken = working_tree(repo, store, options)
        return made(store.objects(), taken, source=source, author=author, ref=taken.scan.ref)


def of_commit(
    store: PrivateStore,
    commit: str,
    options: Options,
    *,
    source: str,
    author: str,
    ref: str | None = None,
) -> Snapshot:
    """Snapshot a commit of the store's repository, which may be a bare one.

    The id is that of ``options.clean`` in a fresh clone that has the commit checked out. Submodules
    can only be left out: their files are not in the commit.

    Args:
        store: the private store that receives new objects.
        commit: 40 hex digits.
        options: what to include and to allow; ``clean`` makes no difference.
        source: the source's name, for the provenance.
        author: who deploys, for the provenance.
        ref: the branch that the commit is of, for the provenance.

    Raises:
        SnapshotError: the commit is not there, or has submodules or files that are refused.
    """
    with store.locked():
        if not store.objects().has(commit):
            raise SnapshotError(
                f"the repository does not have the commit {commit}",
                paths=(str(store.repository.root),),
                hint="fetch it first",
            )
        taken = _commit(store.repository, store, options, commit, "", checked_out=False)
        if not options.ci_files:
            taken = _without_ci_files(store.objects(), taken)
        return made(store.objects(), taken, source=source, author=author, ref=ref)


def made(objects: Objects, taken: Taken, *, source: str, author: str, ref: str | None) -> Snapshot:
    """The snapshot with the tree that was taken; its commit is written."""
    if taken.tree == EMPTY_TREE:
        raise SnapshotError(
            "there is no file to deploy here",
            hint="a snapshot holds the files that no ignore rule excludes",
        )
    commit = objects.write_commit(taken.tree, (), MESSAGE, IDENT)
    dirty = bool(taken.changes)
    provenance = Provenance(source, taken.scan.commit, dirty, author, ref)
    return Snapshot(commit, taken.tree, provenance, taken.changes, taken.left_out)


def working_tree(
    repo: Repository, store: PrivateStore, options: Options, prefix: str = ""
) -> Taken:
    """The tree of a working tree; ``prefix`` is where it lies in the outer one. The store is locked."""
    state = scan.working_tree(repo, store, prefix.count("/"))
    hashing.look_at_unwatched(repo, store, state)
    # A forge looks for its files at the top of what it is given, and nowhere else.
    with_ci_files = options.ci_files or bool(prefix)
    # While git hashes there is time to look for what git does not tell of.
    with Threads(1) as side:
        special = side.submit(scan.special_files, repo, state)
        dropped = [] if with_ci_files else select.drop_ci_files(state)
        take_it = _head if options.clean else _edited
        taken = take_it(repo, store, options, state, prefix)
    left_out = [
        LeftOut(prefix + os.fsdecode(path), "a socket, pipe or device") for path in special.result()
    ]
    taken = replace(taken, left_out=(*taken.left_out, *left_out))
    return taken if with_ci_files else _without_ci_files(store.objects(), taken, dropped)


def _without_ci_files(objects: Objects, taken: Taken, dropped: Iterable[bytes] = ()) -> Taken:
    committed = list(select.ci_files(objects, taken.tree))
    left_out = [
        LeftOut(os.fsdecode(path), select.CI_FILE) for path in sorted({*dropped, *committed})
    ]
    tree = objects.overlay(taken.tree, dict.fromkeys(committed)) if committed else taken.tree
    return replace(taken, tree=tree, left_out=(*left_out, *taken.left_out))


def _edited(
    repo: Repository, store: PrivateStore, options: Options, state: Scan, prefix: str
) -> Taken:
    """HEAD's tree with all that is edited laid over it."""
    if state.conflicts:
        raise SnapshotError(
            "a merge with conflicts is in progress",
            paths=tuple(prefix + os.fsdecode(p) for p in sorted(state.conflicts)),
            hint="resolve them, or deploy HEAD as it is with ‹clean›",
        )
    deleted = {each.path for each in state.tracked if each.content == "deleted"}
    select.deep_files((path for path in state.deep if path not in deleted), prefix)
    objects = store.objects()
    head = objects.commit(state.commit).tree if state.commit else None
    fresh = [t.path for t in state.tracked if t.path not in deleted and not t.is_submodule]
    fresh += state.untracked
    sizes = select.names_and_sizes(repo, fresh, options, prefix)
    entries = _staged(state)
    harmless = guard.Harmless(store.path / f"harmless-{zlib.crc32(os.fsencode(prefix)):08x}")
    entries |= hashing.hashed(repo, store, state, harmless)
    large: dict[bytes, Entry] = {}
    if options.lfs:
        large = lfs.contents(repo, store, head, entries, options.allow, prefix)
    content = {**entries, **large}
    pointers = select.contents(objects, fresh, content, options, prefix, harmless)
    removed, left_out = select.taken_out(objects, state, entries, prefix)
    # git takes nothing that could pass for its own directory somewhere (git~1 on Windows).
    top = os.fsencode(repo.root) + b"/"
    absent = (path for path in state.untracked if entries.get(path) is None)
    refused = [path for path in absent if os.path.lexists(top + path)]
    left_out += [LeftOut(prefix + os.fsdecode(p), "git refuses its name") for p in refused]
    links = [
        path for path in state.submodules if _is_gitlink(entries.get(path, Entry(GITLINK, "")))
    ]
    included = select.submodules(links, options, prefix, removed, left_out)
    if state.has_attributes and not options.lfs:
        pointers |= lfs.pointers(repo, store, head, entries, prefix)
    left_out += [LeftOut(path, lfs.LEFT_OUT) for path in sorted(pointers)]
    shipped = {p: e for p, e in entries.items() if p not in removed}
    changes = _changes(objects, head, state, shipped, prefix)
    files = {p: e for p, e in entries.items() if not _is_gitlink(e)}
    tree = objects.overlay(head, {**files, **large, **removed})
    for path in included:
        tree, inner = _with_submodule(repo, store, options, prefix, tree, path)
        changes += inner.changes
        left_out += inner.left_out
    return Taken(tree, state, (*left_out, *select.left_out(state, prefix)), changes, sizes)


def _head(
    repo: Repository, store: PrivateStore, options: Options, state: Scan, prefix: str
) -> Taken:
    """HEAD as it is; what differs from it on disk is left out, and listed."""
    if state.commit is None:
        raise SnapshotError(
            "there is no commit yet, so ‹clean› has nothing to deploy",
            hint="commit first, or deploy the working tree without ‹clean›",
        )
    taken = _commit(repo, store, options, state.commit, prefix, checked_out=True)
    beside = (*select.uncommitted(state, prefix), *select.left_out(state, prefix))
    return replace(taken, scan=state, left_out=(*taken.left_out, *beside))


def _commit(
    repo: Repository,
    store: PrivateStore,
    options: Options,
    commit: str,
    prefix: str,
    *,
    checked_out: bool,
) -> Taken:
    """The tree of a commit, with submodules as they are on disk if it is ``checked_out``."""
    objects = store.objects()
    head = objects.commit(commit).tree
    state = scan.committed(repo, store, commit, prefix.count("/"))
    select.deep_files(state.deep, prefix)
    removed, left_out = select.taken_out(objects, state, {}, prefix)
    large = lfs.contents(repo, store, head, None, options.allow, prefix) if options.lfs else {}
    if state.has_attributes and not options.lfs:
        pointers = lfs.pointers(repo, store, head, None, prefix)
        left_out += [LeftOut(path, lfs.LEFT_OUT) for path in sorted(pointers)]
    included = select.submodules(state.submodules, options, prefix, removed, left_out)
    tree = objects.overlay(head, {**large, **removed})
    for path in included:
        if options.submodules and not checked_out:
            raise SnapshotError(
                "the files of a submodule are not in the commit",
                paths=(os.fsdecode(path),),
                hint="deploy from a clone in which it is checked out, or "
                + _ignore_hint(os.fsdecode(path)),
            )
        tree, inner = _with_submodule(repo, store, options, prefix, tree, path)
        left_out += inner.left_out
    return Taken(tree, state, tuple(left_out))


def _staged(state: Scan) -> dict[bytes, Entry | None]:
    entries: dict[bytes, Entry | None] = {}
    for item in state.tracked:
        if item.content == "deleted":
            entries[item.path] = None
        elif item.content == "staged":
            entries[item.path] = Entry(item.index_mode, item.index_id)
    return entries


def _is_gitlink(entry: Entry | None) -> bool:
    return entry is not None and entry.mode == GITLINK


def _with_submodule(
    repo: Repository, store: PrivateStore, options: Options, prefix: str, tree: str, path: bytes
) -> tuple[str, Taken]:
    """Put a submodule's files into ``tree`` as a plain directory."""
    name = os.fsdecode(path)
    shown = prefix + name
    ignore = _ignore_hint(shown)
    if not options.submodules:
        raise SnapshotError(
            "the repository has submodules",
            paths=(shown,),
            hint=f"include their files with ‹submodules›, or {ignore} (in the manifest: gitflow: "
            "{submodules: include}, {submodules: ignore} or {ignore_submodules: [...]})",
        )
    top = repo.root / name
    try:
        inner = repository.discover(top, own=repo.own) if top.is_dir() else repo
    except StoppedError:
        raise
    except GitflowError as error:
        raise SnapshotError(
            f"a submodule cannot be read: {error.message}", paths=(shown,), hint=ignore
        ) from error
    if inner.git_dir is None or inner.objects is None or inner.root == repo.root:
        update = f"git submodule update --init -- {shlex.quote(name)}"
        if not _is_declared(repo, name):
            update = (
                "no entry of .gitmodules says where it comes from; take it out of the repository "
                f"with: git rm --cached -- {shlex.quote(name)}"
            )
        raise SnapshotError(
            "a submodule is not checked out", paths=(shown,), hint=f"{update}; or {ignore}"
        )
    store.borrow(inner.objects)
    taken = working_tree(inner, store, options, prefix=f"{shown}/")
    return store.objects().overlay(tree, {path: Entry(DIRECTORY, taken.tree)}), taken


def _ignore_hint(path: str) -> str:
    return f"leave it out with ‹ignore_submodules› {shlex.quote(path)}"


def _is_declared(repo: Repository, path: str) -> bool:
    """Whether ``.gitmodules`` has an entry for the submodule at ``path``."""
    answer = command.run(
        ["config", "-z", "--file", str(repo.root / ".gitmodules"), "--get-regexp", r"\.path$"],
        check=False,
    )
    entries = os.fsdecode(answer.stdout).split("\0")
    return path in (entry.partition("\n")[2] for entry in entries)


def _changes(
    objects: Objects,
    head: str | None,
    state: Scan,
    entries: dict[bytes, Entry | None],
    prefix: str,
) -> tuple[FileChange, ...]:
    """Which files differ from the source commit; without one, all are new."""
    changes = []
    heads = {item.path: item.head for item in state.tracked}
    for path, entry in sorted(entries.items()):
        before = objects.find(head, path) if head and path not in heads else heads.get(path)
        if kind := change(before, entry):
            changes.append(FileChange(prefix + os.fsdecode(path), kind))
    return tuple(changes)


def change(
    before: Entry | None, after: Entry | None
) -> Literal["added", "modified", "deleted"] | None:
    """How a path that was ``before`` in the source commit is changed; None if it is not."""
    if before == after:
        return None
    return "deleted" if after is None else "modified" if before else "added"
