"""The pointers that Git LFS keeps in the place of large files.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FILTER = b"lfs"
# The format's own bound, in bytes.
LARGEST = 1024

_POINTER = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\n(?:[a-z0-9.-]+ [^\n]*\n)*?"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?"
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What stands for a large file: the SHA-256 of its content in hex, and its bytes."""

    sha256: str
    size: int


def pointer(data: bytes) -> Pointer | None:
    """What ``data``, a file's content as git keeps it, points to; None if it is no pointer."""
    found = _POINTER.fullmatch(data) if len(data) < LARGEST else None
    return Pointer(found[1].decode("ascii"), int(found[2])) if found else None
