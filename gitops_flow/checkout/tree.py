"""A commit's files as a list that is safe to write: every name checked, from the tree objects."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from gitops_flow.errors import CheckoutError
from gitops_flow.files import MAX_DEPTH
from gitops_flow.git.formats import tree_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_flow.checkout.objects import Reader

# A few small trees that contain each other many times would expand without end.
MAX_ENTRIES = 2_000_000
_TREE_LIMIT = 256 << 20
# Characters of a path that a message shows.
_SHOWN = 200
# Code points that HFS+ leaves out when it compares names.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")

# Between zeros, a name that has to be looked at: it is empty, has a slash, or begins with ".",
# "g" or a code point that is left out, as a disguise of ".git" does.
_DOUBTFUL = re.compile(rb"\0[\0.gG\xe2\xef]|/")

Kind = Literal["file", "directory", "link"]


# A directory's path with its slash, and the ids of its trees before and after.
_Pair = tuple[bytes, str | None, str | None]


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
    """What one tree object holds: links and files by their paths, directories with their trees."""

    directories: dict[bytes, str]
    files: dict[bytes, File]
    links: dict[bytes, Link]


@dataclass(frozen=True, slots=True)
class Listing:
    """What is to be made. A directory comes after the one that it is in; files are sorted."""

    directories: list[bytes] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def kinds(self) -> dict[bytes, Kind]:
        """Each path and what is there."""
        kinds: dict[bytes, Kind] = dict.fromkeys(self.directories, "directory")
        kinds |= {file.path: "file" for file in self.files}
        kinds |= {link.path: "link" for link in self.links}
        return kinds

    def __len__(self) -> int:
        return len(self.directories) + len(self.files) + len(self.links)


def read(source: Reader, commit: str, directories: Iterable[str] = ()) -> Listing:
    """List the files of ``commit``, verified from its id down.

    With ``directories``, only all that is below them, and the files beside
    them and at the root: what ``git sparse-checkout`` takes in its cone mode.

    Raises:
        CheckoutError: something in it must not become a file here, an object
            is missing or damaged, or one of ``directories`` is not there.
    """
    return compare(source, None, commit, directories)[1]


def compare(
    source: Reader, old: str | None, new: str, directories: Iterable[str] = ()
) -> tuple[Listing, Listing]:
    """What has to go and what has to be made to turn the commit ``old`` into ``new``.

    A file with other content is in both. Trees that both have are not read. For
    ``directories`` and what is raised see :func:`read`; ``old`` was read with the same.
    """
    named = _named(directories)
    enters = _entering(named)
    gone, made = Listing(), Listing()
    level: list[_Pair] = [(b"", _root(source, old) if old else None, _root(source, new))]
    depth = 0
    while level:
        oids = dict.fromkeys(oid for _, *pair in level if pair[0] != pair[1] for oid in pair if oid)
        trees = dict(zip(oids, source.whole(list(oids), "tree", _TREE_LIMIT), strict=True))
        following: list[_Pair] = []
        for prefix, before, after in level:
            if before != after:
                following += _differ(
                    _expand(prefix, trees[before] if before else b"", enters),
                    _expand(prefix, trees[after] if after else b"", enters),
                    gone,
                    made,
                )
            if len(made) > MAX_ENTRIES:
                raise CheckoutError(f"the commit expands to more than {MAX_ENTRIES:,} files")
        level = following
        depth += 1
        if level and depth > MAX_DEPTH:
            raise _refused(
                level[0][0][:-1],
                f"lies more than {MAX_DEPTH} directories deep, too deep to be used",
            )
    made.files.sort()
    # What the older commit had and did not lose is there as well.
    lost = named.intersection(gone.directories) if old else named
    if missing := sorted(lost.difference(made.directories)):
        raise CheckoutError(
            f"the pinned commit has no directory {shown(missing[0])}",
            hint="check the step's directories, and deploy again if one was moved",
        )
    return gone, made


def _root(source: Reader, commit: str) -> str:
    """The id of a commit's tree."""
    (text,) = source.whole([commit], "commit", 1 << 20)
    if not (header := re.match(rb"tree ([0-9a-f]{40})\n", text)):
        raise CheckoutError(f"the commit {commit} names no tree")
    return header[1].decode()


def _differ(before: _Entries, after: _Entries, gone: Listing, made: Listing) -> list[_Pair]:
    """Add what differs to ``gone`` and ``made``; the directories that have to be entered."""
    for one, other, listing in ((before, after, gone), (after, before, made)):
        listing.files.extend(f for path, f in one.files.items() if other.files.get(path) != f)
        listing.links.extend(k for path, k in one.links.items() if other.links.get(path) != k)
        listing.directories.extend(p for p in one.directories if p not in other.directories)
    return [
        (path + b"/", before.directories.get(path), after.directories.get(path))
        for path in before.directories | after.directories
    ]


def _named(directories: Iterable[str]) -> frozenset[bytes]:
    """The directories' paths; none when the root itself is among them: that is everything."""
    paths = [posixpath.normpath(name.lstrip("/") or ".") for name in directories]
    if bad := next((path for path in paths if path.split("/")[0] == ".."), None):
        raise CheckoutError(f"the directory {bad!a} is not inside the pinned commit")
    try:
        return frozenset() if "." in paths else frozenset(map(os.fsencode, paths))
    except UnicodeEncodeError as error:
        raise CheckoutError(f"{error.object!a} is no name of a directory") from None


def _entering(named: frozenset[bytes]) -> Callable[[bytes], bool]:
    """Whether a directory has to be entered for the ``named`` ones."""
    chosen = {path for path in named if named.isdisjoint(_above(path))}
    parents = {above for path in chosen for above in _above(path)}

    def enters(path: bytes) -> bool:
        if not chosen or path in parents or path in chosen:
            return True
        # What is below a chosen one: its parent was entered, and not for being on the way.
        above = path.rpartition(b"/")[0]
        return above != b"" and (above in chosen or above not in parents)

    return enters


def _above(path: bytes) -> list[bytes]:
    """The directories that ``path`` is in, without the root."""
    return [path[: slash.start()] for slash in re.finditer(b"/", path)]


def _expand(prefix: bytes, data: bytes, enters: Callable[[bytes], bool]) -> _Entries:
    """A tree's entries; trees that it does not enter are left out."""
    expanded = _Entries({}, {}, {})
    if (entries := tree_entries(data)) is None:
        raise CheckoutError("a tree object is malformed", where=shown(prefix))
    names = {name for _, name, _ in entries}
    doubtful = _DOUBTFUL.search(b"\0".join((b"", *names, b"")))
    if len(names) != len(entries) or (doubtful and not all(map(_safe, names))):
        raise _refused(
            prefix + _worst(entries), "is a name that git does not allow, or is there twice"
        )
    for mode, name, binary in entries:
        path, oid = prefix + name, binary.hex()
        if mode == b"100644":
            expanded.files[path] = File(path, oid, False)
        elif mode in (b"40000", b"040000"):
            if enters(path):
                expanded.directories[path] = oid
        elif mode == b"120000":
            expanded.links[path] = Link(path, oid)
        elif mode[:3] == b"100" and len(mode) == 6:
            expanded.files[path] = File(path, oid, bool(int(mode, 8) & 0o100))
        elif mode == b"160000":
            raise _refused(path, "is a submodule, which a snapshot cannot hold")
        else:
            raise _refused(path, f"has the unknown mode {mode.decode('latin-1')}")
    return expanded


def _worst(entries: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """The first name that is not allowed or was there before."""
    seen: set[bytes] = set()
    for _, name, _ in entries:
        if name in seen or not _safe(name):
            return name
        seen.add(name)
    raise ValueError("every name is allowed")


def _safe(name: bytes) -> bool:
    """Whether ``name`` is one path component that no file system takes for ``.git``."""
    if b"/" in name or name in (b"", b".", b".."):
        return False
    text = _IGNORED.sub("", name.decode("utf-8", "surrogateescape")).lower()
    return re.split(r"[:\\]", text)[0].rstrip(" .") not in (".git", "git~1")


def _refused(path: bytes, reason: str) -> CheckoutError:
    return CheckoutError(
        f"{shown(path)} {reason}",
        hint="the commit was not made by gitflow or has been tampered with; publish it again",
    )


def shown(path: bytes | str) -> str:
    """A path or a link's target as messages show it, a long one without its middle."""
    text = path if isinstance(path, str) else path.decode("utf-8", "surrogateescape")
    if len(text) > _SHOWN:
        text = f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 2 :]}"
    return ascii(text)
