"""What should not leave the machine by accident: secrets and huge files.

Only work in progress is looked at (untracked or modified files): what is
committed has been somebody's decision already. What a secret looks like is said
in :mod:`gitops_flow.codestore.detect`.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.codestore import detect
from gitops_flow.errors import SnapshotError
from gitops_flow.git.formats import pointer

if TYPE_CHECKING:
    from pathlib import Path

MEGABYTE = 1_000_000
DEFAULT_FILE_LIMIT = 50 * MEGABYTE
DEFAULT_TOTAL_LIMIT = 500 * MEGABYTE
_SHOWN = 20
_ID = 20  # bytes of an object's id


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the user lets through.

    ``secrets`` holds globs of paths that may look like secrets. Sizes are in bytes.
    """

    secrets: tuple[str, ...] = ()
    file_limit: int = DEFAULT_FILE_LIMIT
    total_limit: int = DEFAULT_TOTAL_LIMIT

    def allows(self, path: str) -> bool:
        """Whether ``path`` matches a glob of ``secrets``, as a whole or by its last part."""
        name = path.rsplit("/", 1)[-1]
        return any(
            fnmatch.fnmatchcase(path, glob) or fnmatch.fnmatchcase(name, glob)
            for glob in self.secrets
        )


class Harmless:
    """Contents in which no secret was found, so that they are not searched again.

    ``path`` is a file of the cache: what it says holds as long as the rules stay
    the same. It keeps what was asked for or found since it was read, and forgets the rest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head = bytes.fromhex(detect.digest())
        data = path.read_bytes() if path.is_file() else b""
        whole = data.startswith(self._head) and not (len(data) - len(self._head)) % _ID
        start = len(self._head) if whole else len(data)
        self._before = {data[at : at + _ID] for at in range(start, len(data), _ID)}
        self._now: set[bytes] = set()

    def has(self, blob: str) -> bool:
        """Whether nothing was found in ``blob`` (40 hex digits) before."""
        name = bytes.fromhex(blob)
        if name in self._before:
            self._now.add(name)
        return name in self._now

    def search(self, blob: str, data: bytes) -> detect.Finding | None:
        """What is found in ``data``, the content of ``blob``; remembered if that is nothing.

        What stands for a large file is looked at each time.
        """
        secret = detect.secret_in(data)
        if not secret and not pointer(data):
            self._now.add(bytes.fromhex(blob))
        return secret

    def keep(self) -> None:
        """Write it down for the next time."""
        if self._now != self._before:
            # What is cut off by a crash is only searched again.
            self._path.write_bytes(self._head + b"".join(sorted(self._now)))


def check_sizes(sizes: dict[str, int], allow: Allowance) -> None:
    """Refuse files over the limits.

    Args:
        sizes: bytes by path, of every untracked or modified file.
        allow: the limits.

    Raises:
        SnapshotError: with every file over the limit, or the largest ones.
    """
    large = {path: size for path, size in sizes.items() if size > allow.file_limit}
    if large:
        raise SnapshotError(
            f"{_count(len(large), 'file')} over the limit of {_megabytes(allow.file_limit)} each",
            paths=_listed([f"{p} ({_megabytes(s)})" for p, s in _largest(large)]),
            hint=(
                "list them in .gitflowignore to leave them out, or raise the limit with "
                "‹max_file_size› (gitflow: {max_file_size: ...} in the manifest)"
            ),
        )
    total = sum(sizes.values())
    if total > allow.total_limit:
        raise SnapshotError(
            f"uncommitted files of {_megabytes(total)} in all, over the limit of "
            f"{_megabytes(allow.total_limit)}",
            paths=_listed([f"{p} ({_megabytes(s)})" for p, s in _largest(sizes)]),
            hint=(
                "list what workers do not need in .gitflowignore, or raise the limit with "
                "‹max_total_size› (gitflow: {max_total_size: ...} in the manifest)"
            ),
        )


def refuse_secrets(reasons: dict[str, str]) -> None:
    """Raise if ``reasons``, by path, name any file.

    Raises:
        SnapshotError: with every such file and how to let it through.
    """
    if reasons:
        look = "looks" if len(reasons) == 1 else "look"
        raise SnapshotError(
            f"{_count(len(reasons), 'uncommitted file')} that {look} like secrets",
            paths=_listed([f"{path} ({why})" for path, why in sorted(reasons.items())]),
            hint=(
                "list them in .gitflowignore or .gitignore to leave them out; if one is no "
                "secret, allow it with ‹allow_secrets› PATH (gitflow: {allow_secrets: [...]})"
            ),
        )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _largest(sizes: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(sizes.items(), key=lambda item: (-item[1], item[0]))


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.3g} MB" if size >= 100_000 else f"{size} bytes"


def _listed(lines: list[str]) -> tuple[str, ...]:
    more = len(lines) - _SHOWN
    return tuple(lines) if more <= 0 else (*lines[:_SHOWN], f"and {more} more")
