"""What a working tree or a commit holds, as git sees it. Nothing is hashed or written here."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.errors import SnapshotError
from gitops_flow.files import MAX_DEPTH
from gitops_flow.git import command
from gitops_flow.git.objects import Entry
from gitops_flow.threads import Threads

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Repository

EXTRA_IGNORE_FILES = (".prefectignore", ".gitflowignore")

# Files that running Python leaves behind; with them in, importing a module would
# change the snapshot's id.
_LITTER = re.compile(rb"(?:^|/)(?:__pycache__|\.DS_Store|[^/]+\.py[co])(?:/|$)")
# What marks a directory as an environment of Python or conda.
_ENVIRONMENT = re.compile(rb"(.+/)(?:pyvenv\.cfg|conda-meta/history)")


@dataclass(frozen=True, slots=True)
class Tracked:
    """A path whose working-tree state differs from HEAD, or is conflicted.

    ``content`` says where the snapshot takes it from: the index (``staged``),
    the disk, or nowhere (``deleted``). Modes are git's, 0 where absent; an id is
    then all zeros.
    """

    path: bytes
    content: str
    head_mode: int
    head_id: str
    index_mode: int
    index_id: str
    is_submodule: bool = False

    @property
    def head(self) -> Entry | None:
        """What the source commit has there."""
        return Entry(self.head_mode, self.head_id) if self.head_mode else None

    @property
    def index(self) -> Entry | None:
        """What the index has there."""
        return Entry(self.index_mode, self.index_id) if self.index_mode else None


@dataclass(slots=True)
class Scan:
    """The state of a working tree. Paths are bytes relative to the root, with "/".

    ``unwatched`` are those that the user told git not to look at (skip-worktree,
    assume-unchanged), changed or not, and maybe absent. Of a commit there are only
    ``submodules``, ``links``, ``deep``, ``own`` and whether it has attributes.
    """

    commit: str | None = None
    ref: str | None = None
    tracked: list[Tracked] = field(default_factory=list)
    untracked: list[bytes] = field(default_factory=list)
    conflicts: list[bytes] = field(default_factory=list)
    ignored: list[bytes] = field(default_factory=list)
    litter: list[bytes] = field(default_factory=list)
    environments: list[bytes] = field(default_factory=list)
    nested: list[bytes] = field(default_factory=list)
    submodules: list[bytes] = field(default_factory=list)
    links: list[tuple[bytes, str]] = field(default_factory=list)
    unwatched: list[Tracked] = field(default_factory=list)
    has_attributes: bool = False
    deep: list[bytes] = field(default_factory=list)
    own: list[bytes] = field(default_factory=list)


def working_tree(repository: Repository, store: PrivateStore, depth: int = 0) -> Scan:
    """Ask git for the state of ``repository``'s working tree, which lies ``depth`` directories deep.

    Raises:
        SnapshotError: git cannot read the working tree or the index.
    """
    env = store.worktree_env(repository)
    status_args = [
        "status",
        "--porcelain=v2",
        "-z",
        "--branch",
        "--untracked-files=all",
        "--ignored=matching",
        "--no-renames",
        "--no-ahead-behind",
        # What was edited in one is seen by a scan of its own, if it is to be included; git
        # would fail at one whose repository is gone.
        "--ignore-submodules=dirty",
    ]
    index_args = ["ls-files", "-z", "-s", "-v"]

    def ask(args: list[str]) -> bytes:
        answer = command.run(
            args, cwd=repository.root, env=env, config=store.worktree_config, check=False
        )
        if answer.returncode != 0:
            raise failed_filter(answer.stderr) or SnapshotError(
                f"git cannot read the working tree: {command.tidy(answer.stderr)}",
                hint="`git status` in that directory shows the same",
            )
        return answer.stdout

    # Both only read; a second core makes the second one free.
    with Threads(2) as pool:
        listing = pool.submit(ask, index_args)
        result = _parse_status(ask(status_args))
        listed = listing.result()
        _read_index(listed, result)
    _find_deep(listed, MAX_DEPTH - depth, result)
    _drop_own(repository, (*repository.own, *store.own), result)
    _drop_environments(repository, result)
    _drop_extra_ignored(repository, store, result)
    return result


def committed(repository: Repository, store: PrivateStore, commit: str, depth: int = 0) -> Scan:
    """What ``commit`` holds, which lies ``depth`` directories deep; no working tree is looked at.

    Where ``repository`` has one, gitflow's own directories in it are known for the commit too.
    """
    listing = command.run(["ls-tree", "-r", "-z", commit], env=store.env()).stdout
    result = Scan(commit=commit, has_attributes=_ATTRIBUTES.search(listing) is not None)
    for mode, object_id, path in _COMMITTED.findall(b"\0" + listing):
        if mode == b"160000":
            result.submodules.append(path)
        else:
            result.links.append((path, object_id.decode("ascii")))
    _find_deep(listing, MAX_DEPTH - depth, result)
    if not repository.is_bare:
        _drop_own(repository, (*repository.own, *store.own), result)
    return result


def failed_filter(stderr: str) -> SnapshotError | None:
    """The error for a filter of .gitattributes that failed, if that is what git said."""
    missing = re.search(r"([^\s:]+): (?:command )?not found", stderr)
    failed = re.findall(r"fatal: (.*): clean filter '(.*)' failed", stderr)
    if not missing and not failed:
        return None
    names = {name for _, name in failed}
    program = missing[1] if missing else None
    if names == {"lfs"} and shutil.which("git-lfs") is None:
        program = "git-lfs"  # git does not always say it
    what = (
        f"the program {program!r} is not installed"
        if program
        else f"{', '.join(sorted(names))} failed"
    )
    return SnapshotError(
        f"git cannot filter files as .gitattributes says: {what}",
        paths=tuple(sorted({path for path, _ in failed})),
        hint="`git add` of such a file fails as well; install what it needs, or deploy what is "
        "committed with ‹clean›",
    )


def _parse_status(data: bytes) -> Scan:
    """Parse ``git status --porcelain=v2 -z`` (format in git help status)."""
    result = Scan()
    for record in data.split(b"\0"):
        kind = record[:2]
        if kind == b"? ":
            _untracked(result, record[2:])
        elif kind == b"! ":
            result.ignored.append(record[2:])
        elif kind == b"1 ":
            result.tracked.append(_changed(record))
        elif kind == b"u ":
            result.conflicts.append(record.split(b" ", 10)[10])
        elif record.startswith(b"# branch.oid ") and not record.endswith(b"(initial)"):
            result.commit = record.rsplit(b" ", 1)[1].decode("ascii")
        elif record.startswith(b"# branch.head ") and not record.endswith(b"(detached)"):
            result.ref = os.fsdecode(record.split(b" ", 2)[2])
    return result


def _untracked(result: Scan, path: bytes) -> None:
    if path.endswith(b"/"):
        result.nested.append(path)
    elif _LITTER.search(path):
        result.litter.append(path)
    else:
        result.untracked.append(path)


def _changed(record: bytes) -> Tracked:
    _, xy, _, head_mode, index_mode, tree_mode, head_id, index_id, path = record.split(b" ", 8)
    if xy[1:2] == b".":
        content = "deleted" if index_mode == b"000000" else "staged"
    else:
        content = "deleted" if tree_mode == b"000000" else "disk"
    return Tracked(
        path=path,
        content=content,
        head_mode=int(head_mode, 8),
        head_id=head_id.decode("ascii"),
        index_mode=int(index_mode, 8),
        index_id=index_id.decode("ascii"),
        is_submodule=tree_mode == b"160000",
    )


# Begins with one literal byte, which the search for it then flies over.
_SPECIAL = re.compile(rb"\0(?:([a-zS]) ([0-7]{6})|. (1[26]0000)) ([0-9a-f]{40}) \d\t([^\0]*)")
# The same of `git ls-tree`.
_COMMITTED = re.compile(rb"\0(1[26]0000) [a-z]+ ([0-9a-f]{40})\t([^\0]*)")
_ATTRIBUTES = re.compile(rb"[\t/]\.gitattributes(?:\0|\Z)")


def _read_index(data: bytes, result: Scan) -> None:
    """Find submodules, links and unwatched paths in ``git ls-files -s -v -z``."""
    result.has_attributes = _ATTRIBUTES.search(data) is not None
    for record in _SPECIAL.finditer(b"\0" + data):
        tag, unwatched_mode, special_mode, object_id, path = record.groups()
        mode = unwatched_mode or special_mode
        if tag and mode != b"160000":
            number = int(mode, 8)
            name = object_id.decode("ascii")
            result.unwatched.append(Tracked(path, "disk", number, name, number, name))
        if mode == b"160000":
            result.submodules.append(path)
        elif mode == b"120000":
            result.links.append((path, object_id.decode("ascii")))


def _find_deep(listing: bytes, limit: int, result: Scan) -> None:
    """Find the paths with more than ``limit`` directories above them."""
    # A directory takes two bytes at least; few records are that long.
    records = (record for record in listing.split(b"\0") if len(record) > 2 * limit)
    paths = {record.partition(b"\t")[2] for record in records}
    paths.update(result.untracked, (each.path for each in result.tracked))
    result.deep = sorted(path for path in paths if path.count(b"/") > limit)


def _drop_own(repository: Repository, places: tuple[Path, ...], result: Scan) -> None:
    """Take gitflow's own directories out: with them in, no deploy would find what it left.

    Raises:
        SnapshotError: the working tree itself is one.
    """
    root = os.path.realpath(repository.root)
    for place in places:
        real = os.path.realpath(place)
        if real == root:
            raise SnapshotError(
                "the working tree is also gitflow's cache or data directory",
                paths=(real,),
                hint="set GITFLOW_CACHE_DIR and GITFLOW_DATA_DIR to directories of their own",
            )
        below = os.path.join(root, "")  # noqa: PTH118
        if real.startswith(below) and os.path.isdir(real):  # noqa: PTH112
            result.own.append(os.fsencode(real[len(below) :]) + b"/")
    for top in result.own:
        for name in ("untracked", "ignored", "litter", "nested"):
            paths = getattr(result, name)
            setattr(result, name, [path for path in paths if not path.startswith(top)])
        result.tracked = [each for each in result.tracked if not each.path.startswith(top)]


def _drop_environments(repository: Repository, result: Scan) -> None:
    """Take virtual environments out that nobody has added to git: paths of this machine are in them."""
    candidates = [*result.untracked]
    if repository.git_dir is None:
        # The index of a plain folder is ours, and may know them from an older version.
        candidates += [each.path for each in result.tracked]
    marked = {marker[1] for path in candidates if (marker := _ENVIRONMENT.fullmatch(path))}
    result.environments = sorted(marked)
    if not marked:
        return
    tops = tuple(marked)
    result.untracked = [path for path in result.untracked if not path.startswith(tops)]
    if repository.git_dir is None:
        result.tracked = [each for each in result.tracked if not each.path.startswith(tops)]


def is_by_product(path: bytes) -> bool:
    """Whether ``path`` is litter, or marks a virtual environment."""
    return bool(_LITTER.search(path) or _ENVIRONMENT.fullmatch(path))


def special_files(repository: Repository, state: Scan) -> list[bytes]:
    """Sockets, pipes and devices among the files of a working tree; git passes over them silently."""
    top = os.fsencode(repository.root) + b"/"
    closed = {path.rstrip(b"/") for path in (*state.ignored, *state.nested, *state.environments)}
    closed |= {path.rstrip(b"/") for path in (*state.own, *state.submodules, b".git")}
    special, directories = [], [b""]
    while directories:
        inside = directories.pop()
        try:
            entries = list(os.scandir(top + inside))
        except OSError:
            continue  # git says what cannot be read
        for entry in entries:
            path = inside + entry.name
            if entry.is_dir(follow_symlinks=False):
                if path not in closed:
                    directories.append(path + b"/")
            elif not entry.is_file(follow_symlinks=False) and not entry.is_symlink():
                special.append(path)
    return sorted(path for path in special if path not in closed)


def _drop_extra_ignored(repository: Repository, store: PrivateStore, result: Scan) -> None:
    """Take out of the untracked files what .prefectignore and .gitflowignore exclude."""
    for name in EXTRA_IGNORE_FILES:
        if not result.untracked or not _has_file(repository.root, result.untracked, name):
            continue
        excludes = b"".join(b"/" + _glob_quoted(path) + b"\n" for path in result.ignored)
        excludes_file = store.path / "excludes"  # the store is locked
        excludes_file.write_bytes(excludes)
        try:
            answer = command.run(
                [
                    "ls-files",
                    "-z",
                    "--others",
                    f"--exclude-per-directory={name}",
                    f"--exclude-from={excludes_file}",
                ],
                cwd=repository.root,
                env=store.worktree_env(repository),
            )
        finally:
            excludes_file.unlink(missing_ok=True)
        kept = set(answer.stdout.split(b"\0"))
        result.ignored += [path for path in result.untracked if path not in kept]
        result.untracked = [path for path in result.untracked if path in kept]


def _has_file(root: Path, paths: list[bytes], name: str) -> bool:
    """Whether any directory on the way to one of ``paths`` holds a file ``name``."""
    directories = {b""}
    for path in paths:
        while b"/" in path:
            path = path.rsplit(b"/", 1)[0]
            if path in directories:
                break
            directories.add(path)
    top = os.fsencode(root)
    return any(
        os.path.lexists(os.path.join(top, directory, os.fsencode(name)))  # noqa: PTH118
        for directory in directories
    )


def _glob_quoted(path: bytes) -> bytes:
    """A path as a pattern of an ignore file that matches only itself."""
    quoted = re.sub(rb"([\\*?\[!# ])", rb"\\\1", path)
    return quoted.replace(b"\n", b"?")
