"""What git and Git LFS write, in the form they write it in: bare repositories, trees, pointers."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Ids are of 40 digits here, whatever git's default is.
CONFIG = """\
[core]
\trepositoryformatversion = 1
\tfilemode = true
\tbare = true
[extensions]
\tobjectFormat = sha1
"""

# An entry of a tree: a mode, a name, and the 20 bytes of an id.
_ENTRY = re.compile(rb"([0-7]+) ([^\0]*)\0(.{20})", re.DOTALL)

# The attribute `filter` of a path that Git LFS keeps.
FILTER = b"lfs"
# Bytes that a pointer may have (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
LARGEST = 1024

_POINTER = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\n(?:[a-z0-9.-]+ [^\n]*\n)*?"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?"
)


def make_bare(path: Path, config: str = "") -> None:
    """Make an empty bare repository at ``path``, which is no repository yet.

    By hand: starting `git init` would take longer than a pull.

    Args:
        path: its directory, made with those above it.
        config: what is to be in its configuration beside :data:`CONFIG`.
    """
    for name in ("objects/info", "objects/pack", "refs/heads"):
        (path / name).mkdir(parents=True)
    (path / "config").write_text(CONFIG + config)
    # Last: its presence says that the repository is whole.
    (path / "HEAD").write_text("ref: refs/heads/none\n")


def is_whole(path: Path) -> bool:
    """Whether there is a bare repository at ``path``."""
    return (path / "HEAD").is_file() and (path / "objects").is_dir()


def borrow(path: Path, places: Iterable[Path]) -> None:
    """Let the repository at ``path`` read the objects in ``places`` too, and in no others."""
    # A line that begins with a quote or holds a line break is written as in C.
    lines = (quoted(each) if "\n" in str(each) else os.fspath(each) for each in places)
    text = "".join(f"{line}\n" for line in lines)
    (path / "objects/info/alternates").write_bytes(os.fsencode(text))


def quoted(path: Path) -> str:
    """A path as GIT_ALTERNATE_OBJECT_DIRECTORIES wants it (colons and quotes escaped)."""
    text = os.fspath(path)
    if ":" not in text and not text.startswith('"') and "\n" not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def tree_entries(data: bytes) -> list[tuple[bytes, bytes, bytes]] | None:
    """The entries of a tree object (mode, name, 20 bytes of id); None if it is malformed."""
    entries = _ENTRY.findall(data)
    whole = sum(len(mode) + len(name) + 22 for mode, name, _ in entries) == len(data)
    return entries if whole else None


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands for a large file: the SHA-256 of its content in hex, and its bytes."""

    sha256: str
    size: int


def pointer(data: bytes) -> Pointer | None:
    """What ``data``, a file's content as git keeps it, points to; None if it is no pointer."""
    fields = _POINTER.fullmatch(data) if len(data) < LARGEST else None
    return Pointer(fields[1].decode("ascii"), int(fields[2])) if fields else None
