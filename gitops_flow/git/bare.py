"""Bare repositories of our own. Made by hand: starting `git init` would take longer than a pull."""

from __future__ import annotations

import os
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


def make(path: Path, config: str = "") -> None:
    """Make an empty bare repository at ``path``, which is no repository yet.

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
