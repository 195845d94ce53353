"""A commit's files as a list that is safe to write: every name checked, from the tree objects."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from gitops_flow.errors import CheckoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_flow.checkout.objects import Source

# A few small trees that contain each other many times would expand without end.
MAX_ENTRIES = 2_000_000
_TREE_LIMIT = 256 << 20
# Code points that HFS+ leaves out when it compares names.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")

Kind = Literal["file", "directory", "link"]


class File(NamedTuple):
    """A regular file; ``path`` is relative with "/", ``oid`` 40 hex digits."""

    path: bytes
    oid: str
    executable: bool


class Link(NamedTuple):
    """A symbolic link; the blob ``oid`` holds its target."""

    path: bytes
    oid: str


class _Entries(NamedTuple):
    """What one tree object holds, and the trees in it to be read: their prefixes and ids."""

    directories: list[bytes]
    files: list[File]
    links: list[Link]
    below: list[tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a commit holds. A directory comes after the one that it is in.

    ``trees`` says what came from which tree object, by its prefix and id.
    """

    commit: str
    directories: list[bytes] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    trees: dict[tuple[bytes, str], _Entries] = field(default_factory=dict)

    def kinds(self) -> dict[bytes, Kind]:
        """Each path and what is there."""
        kinds: dict[bytes, Kind] = dict.fromkeys(self.directories, "directory")
        kinds |= {file.path: "file" for file in self.files}
        kinds |= {link.path: "link" for link in self.links}
        return kinds

    def __len__(self) -> int:
        return len(self.directories) + len(self.files) + len(self.links)


def read(
    source: Source, commit: str, directories: Iterable[str] = (), known: Listing | None = None
) -> Listing:
    """List the files of ``commit``, verified from its id down.

    With ``directories``, only all that is below them, and the files beside
    them and at the root: what ``git sparse-checkout`` takes in its cone mode.

    What is in ``known`` too, a listing of the same directories, is not read again.

    Raises:
        CheckoutError: something in it must not become a file here, an object
            is missing or damaged, or one of ``directories`` is not there.
    """
    named = _named(directories)
    chosen = {path for path in named if named.isdisjoint(_above(path))}
    parents = {above for path in chosen for above in _above(path)}

    def enters(path: bytes) -> bool:
        if not chosen or path in parents or path in chosen:
            return True
        # What is below a chosen one: its parent was entered, and not for being on the way.
        above = path.rpartition(b"/")[0]
        return above != b"" and (above in chosen or above not in parents)

    listing = Listing(commit)
    (text,) = source.whole([commit], "commit", 1 << 20)
    if not (found := re.match(rb"tree ([0-9a-f]{40})\n", text)):
        raise CheckoutError(f"the commit {commit} names no tree")
    level = [(b"", found[1].decode())]
    seen = known.trees if known else {}
    while level:
        wanted = list(dict.fromkeys(oid for at, oid in level if (at, oid) not in seen))
        trees = dict(zip(wanted, source.whole(wanted, "tree", _TREE_LIMIT), strict=True))
        following = []
        for at in level:
            entries = seen.get(at) or _expand(at[0], trees[at[1]], enters)
            listing.trees[at] = entries
            listing.directories.extend(entries.directories)
            listing.files.extend(entries.files)
            listing.links.extend(entries.links)
            following += entries.below
            if len(listing) > MAX_ENTRIES:
                raise CheckoutError(f"the commit expands to more than {MAX_ENTRIES:,} files")
        level = following
    listing.files.sort(key=lambda file: file.path)
    if missing := sorted(named.difference(listing.directories)):
        raise CheckoutError(
            f"the pinned commit has no directory {shown(missing[0])}",
            hint="check the step's directories, and deploy again if one was moved",
        )
    return listing


def _named(directories: Iterable[str]) -> frozenset[bytes]:
    """The directories' paths; none when the root itself is among them: that is everything."""
    paths = [posixpath.normpath(name.lstrip("/") or ".") for name in directories]
    if bad := next((path for path in paths if path.split("/")[0] == ".."), None):
        raise CheckoutError(f"the directory {bad!a} is not inside the pinned commit")
    return frozenset() if "." in paths else frozenset(map(os.fsencode, paths))


def _above(path: bytes) -> list[bytes]:
    """The directories that ``path`` is in, without the root."""
    return [path[: slash.start()] for slash in re.finditer(b"/", path)]


def _expand(prefix: bytes, data: bytes, enters: Callable[[bytes], bool]) -> _Entries:
    """A tree's entries; trees that it does not enter are left out."""
    found = _Entries([], [], [], [])
    names: set[bytes] = set()
    at = 0
    while at < len(data):
        end = data.find(b"\0", at)
        mode, space, name = data[at:end].partition(b" ")
        if end < 0 or not space or end + 21 > len(data):
            raise CheckoutError("a tree object is malformed", where=shown(prefix))
        oid = data[end + 1 : end + 21].hex()
        at = end + 21
        path = prefix + name
        if not _safe(name) or name in names:
            raise _refused(path, "is a name that git does not allow, or is there twice")
        names.add(name)
        if mode == b"100644":
            found.files.append(File(path, oid, executable=False))
        elif mode in (b"40000", b"040000"):
            if enters(path):
                found.directories.append(path)
                found.below.append((path + b"/", oid))
        elif mode == b"120000":
            found.links.append(Link(path, oid))
        elif mode[:3] == b"100" and len(mode) == 6:
            found.files.append(File(path, oid, bool(int(mode, 8) & 0o100)))
        elif mode == b"160000":
            raise _refused(path, "is a submodule, which a snapshot cannot hold")
        else:
            raise _refused(path, f"has the unknown mode {mode.decode('latin-1')}")
    return found


def _safe(name: bytes) -> bool:
    """Whether ``name`` is one path component that no file system takes for ``.git``."""
    if b"/" in name:
        return False
    # A disguise begins with ".", "g" or a code point that is left out; most names don't.
    if name[:1] not in b".gG\xe2\xef":
        return True
    if name in (b"", b".", b".."):
        return False
    text = _IGNORED.sub("", name.decode("utf-8", "surrogateescape")).lower()
    return re.split(r"[:\\]", text)[0].rstrip(" .") not in (".git", "git~1")


def _refused(path: bytes, reason: str) -> CheckoutError:
    return CheckoutError(
        f"{shown(path)} {reason}",
        hint="the commit was not made by gitflow or has been tampered with; publish it again",
    )


def shown(path: bytes) -> str:
    """A path or a link's target as messages show it."""
    return ascii(path.decode("utf-8", "surrogateescape"))
