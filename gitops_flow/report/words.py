"""Text that a report can hold: printable, of a width, counted."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What messages call ‹name› may be an option of a front end; in JSON the marks are escaped.
_OPTION = re.compile(r"(?:‹|\\u2039)([a-z_]+)(?:›|\\u203a)")
_NAMES = (
    "adopt branch ci_files clean code_only config create_pools env force_prune import_flows json lfs "
    "max_file_size max_total_size no_atomic no_sign prune pull_url python remote submodules to yes"
)
COMMAND_LINE = {
    **{name: f"--{name.replace('_', '-')}" for name in _NAMES.split()},
    "allow_secrets": "--allow-secret",
    "everything": "--all",
    "ignore_submodules": "--ignore-submodule",
    "manifest": "--file",
    "tags": "--tag",
}
# A controller has no flags: what gitflow.yaml cannot say, somebody does once by hand.
CONTROLLER = {
    **{name: f"`gitflow deploy {flag}`" for name, flag in COMMAND_LINE.items()},
    "config": "--config",
    "manifest": "manifest:",
    "prune": "prune: true",
    "remote": "code_store: {remote: ...}",
    "branch": "code_store: {branch: ...}",
}
_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})[0-9a-f]{28}(?![0-9a-f])")


def worded(text: str, options: Mapping[str, str]) -> str:
    """A text or JSON in which each ``‹name›`` is what a front end's ``options`` call it.

    Below the front ends nobody knows whether an option is a flag, a key of a file or an input.
    """
    return _OPTION.sub(lambda match: options.get(match[1], match[0]), text)


def printable(text: str, keep: str = "") -> str:
    """Text without control characters or undecodable bytes, which could steer a terminal."""
    shown = "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(text: str) -> str:
    """Text as it can be shown: printable, and what may be secret masked."""
    return printable(redact(text))


def next_lines(command: str) -> list[str]:
    """``next: COMMAND``; nothing for one that would not work as it can be printed."""
    if shown(command) != command:
        return []
    return [f"next: {command}"]


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as os.fsdecode keeps it
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def safe(value: str) -> str:
    """A path or name as JSON can carry it: bytes that are not UTF-8 are escaped."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def count(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def names_within(names: Sequence[str], room: int) -> str:
    """``a, b and 3 more``: as many names as fit into ``room`` columns, at least one."""
    for shown in range(len(names), 0, -1):
        more = len(names) - shown
        text = ", ".join(names[:shown]) + (f" and {more} more" if more else "")
        if columns(text) <= room:
            return text
    return fitted(text, room) if names else ""


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def fitted(text: str, room: int) -> str:
    """``text`` in at most ``room`` columns, its end cut off where it is longer."""
    if columns(text) <= room:
        return text
    while text and columns(text) > room - 1:
        text = text[:-1]
    return f"{text}…"


def short_ids(text: str) -> str:
    """``text`` with 12 digits of each id of 40."""
    return _ID.sub(r"\1", text)
