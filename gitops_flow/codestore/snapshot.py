"""From a working tree to a snapshot: objects only; no ref, no index, no network.

Unchanged files are taken from HEAD's tree; changed ones are hashed by git
itself, so that attributes, encodings and filters (LFS, git-crypt) apply as in
`git add`. The tree is then put together in process.
"""

from __future__ import annotations

import fnmatch
import os
import shlex
import stat
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gitops_flow.codestore import cifiles, detect, guard, hashing, lfs, worktree
from gitops_flow.codestore.links import leaves_tree
from gitops_flow.codestore.worktree import Scan, scan
from gitops_flow.errors import GitflowError, SnapshotError
from gitops_flow.files import MAX_DEPTH
from gitops_flow.git import command, repository
from gitops_flow.git.lfs import pointer
from gitops_flow.git.objects import (
    DIRECTORY,
    EMPTY_TREE,
    GITLINK,
    SYMLINK,
    Entry,
    Objects,
)
from gitops_flow.model import FileChange, LeftOut, Provenance, Snapshot

if TYPE_CHECKING:
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
class _Taken:
    """A tree and how it came about; paths are relative to the outer repository."""

    tree: str
    scan: Scan
    changes: tuple[FileChange, ...]
    left_out: tuple[LeftOut, ...]


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
        taken = _take_tree(repo, store, options, prefix="")
        objects = store.objects()
        if taken.tree == EMPTY_TREE:
            raise SnapshotError(
                "there is no file to deploy here",
                hint="a snapshot holds the files that no ignore rule excludes",
            )
        commit = objects.write_commit(taken.tree, (), MESSAGE, IDENT)
    dirty = bool(taken.changes)
    provenance = Provenance(source, taken.scan.commit, dirty, author, taken.scan.ref)
    return Snapshot(commit, taken.tree, provenance, taken.changes, taken.left_out)


def _take_tree(repo: Repository, store: PrivateStore, options: Options, prefix: str) -> _Taken:
    state = scan(repo, store, prefix.count("/"))
    hashing.look_at_unwatched(repo, store, state)
    _check_depth(state, options, prefix)
    # While git hashes there is time to look for what git does not tell of.
    with ThreadPoolExecutor(1) as side:
        special = side.submit(worktree.special_files, repo, state)
        # A forge looks for them at the top of what it is given, and nowhere else.
        wanted = options.ci_files or bool(prefix)
        dropped = [] if wanted else cifiles.drop(state)
        taken = _take_all(repo, store, options, state, prefix)
    left_out = [
        LeftOut(prefix + os.fsdecode(path), "a socket, pipe or device") for path in special.result()
    ]
    taken = replace(taken, left_out=(*taken.left_out, *left_out))
    return taken if wanted else _without_ci_files(store.objects(), taken, dropped)


def _without_ci_files(objects: Objects, taken: _Taken, dropped: list[bytes]) -> _Taken:
    committed = list(cifiles.below(objects, taken.tree))
    left_out = [
        LeftOut(os.fsdecode(path), cifiles.LEFT_OUT) for path in sorted({*dropped, *committed})
    ]
    tree = objects.overlay(taken.tree, dict.fromkeys(committed)) if committed else taken.tree
    return replace(taken, tree=tree, left_out=(*left_out, *taken.left_out))


def _take_all(
    repo: Repository, store: PrivateStore, options: Options, state: Scan, prefix: str
) -> _Taken:
    if options.clean:
        return _take_head(repo, store, options, state, prefix)
    if state.conflicts:
        raise SnapshotError(
            "a merge with conflicts is in progress",
            paths=tuple(prefix + os.fsdecode(p) for p in sorted(state.conflicts)),
            hint="resolve them, or deploy HEAD as it is with --clean",
        )
    objects = store.objects()
    base = objects.commit(state.commit).tree if state.commit else None
    fresh = [t.path for t in state.tracked if t.content != "deleted" and not t.is_submodule]
    fresh += state.untracked
    _check_names_and_sizes(repo, fresh, options, prefix)
    entries = _staged(state)
    entries |= hashing.hashed(repo, store, state)
    large: dict[bytes, Entry] = {}
    if options.lfs:
        large = lfs.contents(repo, store, base, entries, options.allow, prefix)
    pointers = _check_content(store, objects, fresh, {**entries, **large}, options, prefix)
    removed, left_out = _taken_out(objects, state, entries, prefix)
    # git takes nothing that could pass for its own directory somewhere (git~1 on Windows).
    refused = [p for p in state.untracked if entries.get(p) is None and _is_there(repo, p)]
    left_out += [LeftOut(prefix + os.fsdecode(p), "git refuses its name") for p in refused]
    links = [
        path for path in state.submodules if _is_gitlink(entries.get(path, Entry(GITLINK, "")))
    ]
    included = _without_ignored(links, options, prefix, removed, left_out)
    if state.has_attributes and not options.lfs:
        pointers |= lfs.pointers(repo, store, base, entries, prefix)
    left_out += [LeftOut(path, lfs.LEFT_OUT) for path in sorted(pointers)]
    shipped = {p: e for p, e in entries.items() if p not in removed}
    changes = _changes(objects, base, state, shipped, prefix)
    plain = {p: e for p, e in entries.items() if not _is_gitlink(e)}
    tree = objects.overlay(base, {**plain, **large, **removed})
    for path in included:
        tree, inner = _with_submodule(repo, store, options, prefix, tree, path)
        changes += inner.changes
        left_out += inner.left_out
    return _Taken(tree, state, changes, (*left_out, *_left_out(state, prefix)))


def _take_head(
    repo: Repository, store: PrivateStore, options: Options, state: Scan, prefix: str
) -> _Taken:
    """HEAD as it is; what differs from it on disk is left out, and listed."""
    if state.commit is None:
        raise SnapshotError(
            "there is no commit yet, so --clean has nothing to deploy",
            hint="commit first, or deploy the working tree without --clean",
        )
    objects = store.objects()
    base = objects.commit(state.commit).tree
    removed, left_out = _taken_out(objects, state, {}, prefix)
    large = lfs.contents(repo, store, base, {}, options.allow, prefix) if options.lfs else {}
    if state.has_attributes and not options.lfs:
        pointers = lfs.pointers(repo, store, base, {}, prefix)
        left_out += [LeftOut(path, lfs.LEFT_OUT) for path in sorted(pointers)]
    known = {each.path: each.head_mode for each in state.tracked}
    links = {path for path in state.submodules if known.get(path, GITLINK) == GITLINK}
    links |= {path for path, mode in known.items() if mode == GITLINK}
    included = _without_ignored(sorted(links), options, prefix, removed, left_out)
    tree = objects.overlay(base, {**large, **removed})
    for path in included:
        tree, inner = _with_submodule(repo, store, options, prefix, tree, path)
        left_out += inner.left_out
    uncommitted = [
        (t.path, "deleted" if t.content == "deleted" else "modified") for t in state.tracked
    ]
    uncommitted += [(path, "untracked") for path in state.untracked]
    uncommitted += [(path, "in conflict") for path in state.conflicts]
    left_out += [
        LeftOut(prefix + os.fsdecode(path), f"not committed ({why})")
        for path, why in sorted(uncommitted)
    ]
    return _Taken(tree, state, (), (*left_out, *_left_out(state, prefix)))


def _check_depth(state: Scan, options: Options, prefix: str) -> None:
    """Refuse what no worker would take."""
    if options.clean:
        absent = {*state.untracked, *(each.path for each in state.tracked if not each.in_head)}
    else:
        absent = {each.path for each in state.tracked if each.content == "deleted"}
    if deep := [path for path in state.deep if path not in absent]:
        raise SnapshotError(
            f"a file lies more than {MAX_DEPTH} directories deep",
            paths=tuple(f"{(prefix + os.fsdecode(path))[:80]}..." for path in deep[:10]),
            hint="move it up; one that git does not track can be listed in .gitflowignore",
        )


def _is_there(repo: Repository, path: bytes) -> bool:
    return os.path.lexists(os.fsencode(repo.root) + b"/" + path)


def _check_names_and_sizes(
    repo: Repository, paths: list[bytes], options: Options, prefix: str
) -> None:
    """Sizes and names, before any content is read."""
    top = os.fsencode(repo.root)
    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    for path in paths:
        shown = prefix + os.fsdecode(path)
        try:
            info = os.lstat(os.path.join(top, path))  # noqa: PTH118
        except OSError:
            continue
        if stat.S_ISREG(info.st_mode):
            sizes[shown] = info.st_size
            if detect.secret_name(shown) and not options.allow.allows(shown):
                names[shown] = "by its name"
    guard.check_sizes(sizes, options.allow)
    guard.refuse_secrets(names)


def _check_content(
    store: PrivateStore,
    objects: Objects,
    paths: list[bytes],
    entries: dict[bytes, Entry | None],
    options: Options,
    prefix: str,
) -> set[str]:
    """Token shapes, in exactly what would be published (after filters).

    Returns:
        The files that turn out to be Git LFS pointers.
    """
    reasons: dict[str, str] = {}
    pointers = set()
    known = guard.Harmless(store.path / f"harmless-{zlib.crc32(os.fsencode(prefix)):08x}")
    for path in paths:
        entry = entries.get(path)
        shown = prefix + os.fsdecode(path)
        if entry is None or entry.mode in (SYMLINK, GITLINK) or options.allow.allows(shown):
            continue
        if known.has(entry.id):
            continue
        data = objects.data(entry.id)
        if is_pointer := pointer(data):
            pointers.add(shown)
        if found := detect.secret_in(data):
            reasons[shown] = f"line {found.line}: {found.rule}"
        elif not is_pointer:
            known.add(entry.id)
    known.keep()
    guard.refuse_secrets(reasons)
    return pointers


def _staged(state: Scan) -> dict[bytes, Entry | None]:
    entries: dict[bytes, Entry | None] = {}
    for item in state.tracked:
        if item.content == "deleted":
            entries[item.path] = None
        elif item.content == "staged":
            entries[item.path] = Entry(item.index_mode, item.index_id)
    return entries


def _left_out(state: Scan, prefix: str) -> list[LeftOut]:
    groups = (
        (state.ignored, "ignored"),
        (state.nested, "a repository of its own"),
        (state.litter, "bytecode or litter"),
        (state.environments, "a virtual environment, which works on this machine only"),
        (state.own, "gitflow's own"),
    )
    return [LeftOut(prefix + os.fsdecode(p), why) for paths, why in groups for p in sorted(paths)]


def _taken_out(
    objects: Objects, state: Scan, entries: dict[bytes, Entry | None], prefix: str
) -> tuple[dict[bytes, Entry | None], list[LeftOut]]:
    """What is not to be in the tree: our own, and links that leave it; a worker refuses these."""
    links = {path: object_id for path, object_id in state.links if path not in entries}
    links |= {p: e.id for p, e in entries.items() if e is not None and e.mode == SYMLINK}
    targets = {path: objects.data(found) for path, found in links.items() if objects.has(found)}
    removed: dict[bytes, Entry | None] = {own.rstrip(b"/"): None for own in state.own}
    left_out = []
    for path in sorted(targets):
        if leaves_tree(path, targets):
            removed[path] = None
            left_out.append(
                LeftOut(prefix + os.fsdecode(path), "a link that leaves the repository")
            )
    return removed, left_out


def _is_gitlink(entry: Entry | None) -> bool:
    return entry is not None and entry.mode == GITLINK


def _without_ignored(
    links: list[bytes],
    options: Options,
    prefix: str,
    removed: dict[bytes, Entry | None],
    left_out: list[LeftOut],
) -> list[bytes]:
    """The submodules that are not ignored; the others are noted in ``removed`` and ``left_out``."""
    kept = []
    for path in links:
        shown = prefix + os.fsdecode(path)
        if options.ignores_submodule(shown):
            removed[path] = None
            left_out.append(LeftOut(shown, "a submodule that is ignored"))
        else:
            kept.append(path)
    return kept


def _with_submodule(
    repo: Repository, store: PrivateStore, options: Options, prefix: str, tree: str, path: bytes
) -> tuple[str, _Taken]:
    """Put a submodule's files into ``tree`` as a plain directory."""
    name = os.fsdecode(path)
    shown = prefix + name
    ignore = f"leave it out with --ignore-submodule {shlex.quote(shown)}"
    if not options.submodules:
        raise SnapshotError(
            "the repository has submodules",
            paths=(shown,),
            hint=f"include their files with --submodules, or {ignore} (in the manifest: gitflow: "
            "{submodules: include}, {submodules: ignore} or {ignore_submodules: [...]})",
        )
    top = repo.root / name
    try:
        inner = repository.discover(top, own=repo.own) if top.is_dir() else repo
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
    taken = _take_tree(inner, store, options, prefix=f"{shown}/")
    return store.objects().overlay(tree, {path: Entry(DIRECTORY, taken.tree)}), taken


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
    base: str | None,
    state: Scan,
    entries: dict[bytes, Entry | None],
    prefix: str,
) -> tuple[FileChange, ...]:
    """Which files differ from the source commit; without one, nothing is a change."""
    changes = []
    in_head = {item.path for item in state.tracked if item.in_head}
    for path, entry in sorted(entries.items()):
        known = path in in_head or (base is not None and objects.find(base, path) is not None)
        if entry is None:
            if known:
                changes.append(FileChange(prefix + os.fsdecode(path), "deleted"))
        else:
            changes.append(FileChange(prefix + os.fsdecode(path), "modified" if known else "added"))
    return tuple(changes)
