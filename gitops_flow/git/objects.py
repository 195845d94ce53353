"""Reading and writing git objects in process, by pygit2; no network, no refs, no index.

Trees and commits are written in git's own binary form (gitformat-tree in
``git help``), because file names are bytes and pygit2's builders want UTF-8.
"""

from __future__ import annotations

import binascii
import fnmatch
import hashlib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import ObjectType

from gitops_flow.errors import GitError
from gitops_flow.git.formats import tree_entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

DIRECTORY = 0o040000
FILE = 0o100644
EXECUTABLE = 0o100755
SYMLINK = 0o120000
GITLINK = 0o160000

_ID = re.compile(r"[0-9a-f]{40}")

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

# A walk over many paths reads the same few directories again and again.
_TREES_KEPT = 64


class DamagedError(GitError):
    """An object that should be there is missing or cannot be read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree: a git file mode and an object id of 40 hex digits."""

    mode: int
    id: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit's parts; ``parents`` are ids, ``message`` is decoded text.

    ``committer`` is what was written there, "" if nothing was; ``signature`` the header in which
    git keeps a signed tag that was merged, None without one.
    """

    tree: str
    parents: tuple[str, ...]
    message: str
    committer: str
    signature: str | None = None


class Objects:
    """The object database of the bare repository ``git_dir``, borrowing from others.

    Args:
        git_dir: a bare repository; new objects are written here.
        alternates: object directories that are read as well.
    """

    def __init__(self, git_dir: Path, alternates: Iterable[Path] = ()) -> None:
        try:
            self._odb = pygit2.Odb(str(git_dir / "objects"))
            for path in alternates:
                self._odb.add_disk_alternate(str(path))
        except (pygit2.GitError, KeyError, OSError) as error:
            raise GitError(f"the object store cannot be opened: {error}") from error
        self._trees: dict[str, Mapping[bytes, Entry]] = {}

    def has(self, object_id: str) -> bool:
        """Whether the object is here or in a borrowed database."""
        return pygit2.Oid(hex=object_id) in self._odb

    def data(self, object_id: str) -> bytes:
        """The content of an object.

        Raises:
            DamagedError: it is not here, or it cannot be read.
        """
        return self._read(object_id)[1]

    def write_blob(self, data: bytes) -> str:
        """Store ``data`` as a blob and return its id."""
        return self._write(ObjectType.BLOB, data)

    def tree(self, tree_id: str) -> Mapping[bytes, Entry]:
        """The entries of one tree by name, in the tree's order.

        Raises:
            DamagedError: it is not here, or it cannot be read.
        """
        if tree_id == EMPTY_TREE:
            return {}
        if tree_id in self._trees:
            return self._trees[tree_id]
        kind, data = self._read(tree_id)
        if kind != ObjectType.TREE:
            raise GitError(f"object {tree_id} is not a tree")
        if (listed := tree_entries(data)) is None:
            raise DamagedError(f"the tree {tree_id} is malformed")
        entries = {name: Entry(int(mode, 8), binary.hex()) for mode, name, binary in listed}
        self._keep(tree_id, entries)
        return entries

    def write_tree(self, entries: Mapping[bytes, Entry]) -> str:
        """Store a tree and return its id."""
        ordered = dict(sorted(entries.items(), key=_tree_order))
        parts = [
            b"%o %b\0%b" % (entry.mode, name, binascii.unhexlify(entry.id))
            for name, entry in ordered.items()
        ]
        tree_id = self._write(ObjectType.TREE, b"".join(parts))
        self._keep(tree_id, ordered)
        return tree_id

    def _keep(self, tree_id: str, entries: Mapping[bytes, Entry]) -> None:
        if len(self._trees) >= _TREES_KEPT:
            self._trees.clear()
        self._trees[tree_id] = entries

    def overlay(self, base: str | None, changes: Mapping[bytes, Entry | None]) -> str:
        """The tree ``base`` with ``changes`` applied; only touched directories are rewritten.

        Args:
            base: tree id, or None for an empty tree.
            changes: paths with "/" to their new entry, or None to remove them. A
                file replaces a directory of that name and the other way round.
        """
        entries = dict(self.tree(base)) if base else {}
        below: dict[bytes, dict[bytes, Entry | None]] = {}
        direct: dict[bytes, Entry | None] = {}
        for path, entry in changes.items():
            name, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(name, {})[rest] = entry
            else:
                direct[name] = entry
        for name, entry in direct.items():
            if entry is None:
                entries.pop(name, None)
            else:
                entries[name] = entry
        for name, inner in below.items():
            old = entries.get(name)
            is_tree = old is not None and old.mode == DIRECTORY
            if not is_tree and all(entry is None for entry in inner.values()):
                continue
            subtree = self.overlay(old.id if old and is_tree else None, inner)
            if subtree == EMPTY_TREE:
                entries.pop(name, None)
            else:
                entries[name] = Entry(DIRECTORY, subtree)
        return self.write_tree(entries)

    def find(self, tree_id: str, path: bytes) -> Entry | None:
        """The entry at ``path`` below a tree, or None."""
        entry: Entry | None = Entry(DIRECTORY, tree_id)
        for name in path.split(b"/"):
            if entry is None or entry.mode != DIRECTORY:
                return None
            entry = self.tree(entry.id).get(name)
        return entry

    def commit(self, commit_id: str) -> Commit:
        """The parts of a commit.

        Raises:
            DamagedError: it is not here, or it names no tree.
        """
        kind, data = self._read(commit_id)
        if kind != ObjectType.COMMIT:
            raise GitError(f"object {commit_id} is not a commit")
        if (commit := parse_commit(data)) is None:
            raise DamagedError(f"the commit {commit_id} is malformed")
        return commit

    def write_commit(
        self,
        tree: str,
        parents: Iterable[str],
        message: str,
        ident: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Store a commit and return its id.

        Args:
            tree: its tree's id.
            parents: ids, in order.
            message: the whole message.
            ident: ``Name <mail> seconds +0000``, for author and committer.
            headers: more headers by name; their lines are folded as git does.
        """
        lines = [f"tree {tree}", *(f"parent {p}" for p in parents)]
        lines += [f"author {ident}", f"committer {ident}"]
        for name, value in (headers or {}).items():
            first, *rest = value.rstrip("\n").split("\n")
            lines += [f"{name} {first}", *(f" {line}" for line in rest)]
        lines += ["", message]
        return self._write(ObjectType.COMMIT, "\n".join(lines).encode("utf-8", "replace"))

    def _read(self, object_id: str) -> tuple[int, bytes]:
        try:
            kind, data = self._odb.read(pygit2.Oid(hex=object_id))
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise DamagedError(f"object {object_id} is missing or damaged: {error}") from error
        return kind, data

    def _write(self, kind: ObjectType, data: bytes) -> str:
        object_id = _object_id(kind.name.lower().encode("ascii"), data)
        if pygit2.Oid(hex=object_id) in self._odb:
            return object_id
        try:
            return str(self._odb.write(kind, data))
        except (pygit2.GitError, OSError) as error:
            raise GitError(f"an object cannot be written to the cache: {error}") from error


def refs(git_dir: Path, patterns: Iterable[str]) -> tuple[dict[str, str], str | None]:
    """As :func:`gitops_flow.git.remote.list_refs`, of a bare repository that can be read here.

    Starting git takes forty times as long.

    Raises:
        GitError: libgit2 does not read it; git may.
    """
    found: dict[str, str] = {}
    head = None
    try:
        repository = pygit2.Repository(str(git_dir))
        for pattern in patterns:
            if "*" in pattern:
                names = fnmatch.filter(repository.references, pattern)
            else:
                names = [pattern.removesuffix("^{}")]
            for name in names:
                if (ref := repository.references.get(name)) is None:
                    continue
                if isinstance(ref.target, str):
                    if repository.references.get(ref.target) is None:
                        continue  # HEAD, of a branch that is not born yet
                    head = ref.target if name == "HEAD" else head
                whole = ref.resolve()
                found[name] = str(whole.target)
                if pattern.endswith("^{}"):
                    found[pattern] = str(whole.peel(pygit2.Commit).id)
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise GitError(f"the refs cannot be read: {error}", where=str(git_dir)) from error
    return found, head


def read_index(data: bytes) -> Iterator[tuple[bytes, Entry]]:
    """The entries of an index file of version 2, by path (format: git help gitformat-index).

    Only for an index that git has written for us a moment ago: reading it costs
    less than starting git to list it.
    """
    signature, version, count = struct.unpack_from(">4sLL", data)
    if signature != b"DIRC" or version != 2:
        raise GitError("git wrote an index of a version that was not asked for")
    at = 12
    for _ in range(count):
        (mode,) = struct.unpack_from(">L", data, at + 24)
        end = data.index(b"\0", at + 62)
        yield data[at + 62 : end], Entry(mode, data[at + 40 : at + 60].hex())
        at += (end - at + 8) & ~7


def parse_commit(data: bytes) -> Commit | None:
    """The parts of a commit object; None if its tree or a parent is no id."""
    head, _, message = data.decode("utf-8", "replace").partition("\n\n")
    # A header's further lines begin with a space, those of a mergetag's message too.
    headers = [line.partition(" ")[::2] for line in head.replace("\n ", "\0").split("\n")]
    parents = tuple(value for key, value in headers if key == "parent")
    first = {key: value.replace("\0", "\n") for key, value in reversed(headers)}
    if not all(map(_ID.fullmatch, (*parents, first.get("tree", "")))):
        return None
    signature = f"{first['mergetag']}\n" if first.get("mergetag") else None
    return Commit(first["tree"], parents, message, first.get("committer", ""), signature)


def blob_id(data: bytes) -> str:
    """The id of the blob that holds ``data``."""
    return _object_id(b"blob", data)


def _object_id(kind: bytes, data: bytes) -> str:
    return hashlib.sha1(b"%b %d\0%b" % (kind, len(data), data), usedforsecurity=False).hexdigest()


def _tree_order(item: tuple[bytes, Entry]) -> bytes:
    name, entry = item
    return name + b"/" if entry.mode == DIRECTORY else name
