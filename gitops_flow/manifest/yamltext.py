"""Bytes to text that YAML allows, and the parser's complaints in plain words."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

import yaml

from gitops_flow.model import Position, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 5_000_000

_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)

_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE
# What libyaml says, in the words of somebody who has just mistyped something.
_PLAIN_WORDS = (
    ("tab character", "a tab is used for indentation", "indent with spaces"),
    ("mapping values are not allowed", "unexpected ':'", "check the indentation, or quote"),
    ("did not find expected ',' or '}'", "a '{' is not closed", "add the missing ',' or '}'"),
    ("did not find expected ',' or ']'", "a '[' is not closed", "add the missing ',' or ']'"),
    ("expected node content", "a value is missing", "a '[' or '{' may not be closed"),
    ("unexpected end of stream", "a quote is not closed", "add the closing quote"),
    (
        "expected '-' indicator",
        "expected a list item",
        "start it with '- ', or check the indentation",
    ),
    ("expected key", "expected a key", "check the indentation of this line and the one above"),
    ("cannot start any token", "a tab is used for indentation", "indent with spaces"),
    (
        "unknown escape character",
        "unknown escape sequence",
        "use single quotes, or double the '\\'",
    ),
)


class Fatal(Exception):  # noqa: N818 - carries one problem, and never leaves this package
    """Nothing after this problem can be read; ``before`` are those that were found until then."""

    def __init__(self, problem: Problem, before: Sequence[Problem] = ()) -> None:
        super().__init__(str(problem))
        self.problems = [*before, problem]


def decode(data: bytes, shown: str) -> str:
    """The text of a manifest.

    Raises:
        Fatal: when it is too large, not UTF-8, or holds what YAML does not allow.
    """
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes; the limit is {MAX_BYTES:,}"
        raise Fatal(Problem(message, Position(shown, 1, 1)))
    if data.startswith(_WIDE_MARKS) or 0 in data[:4]:
        message = "the file is UTF-16 or UTF-32, not UTF-8"
        raise Fatal(Problem(message, Position(shown, 1, 1), "save it with the encoding UTF-8"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"the file is not UTF-8 (byte {error.start} is 0x{data[error.start]:02x})"
        raise Fatal(
            Problem(message, Position(shown, line, column), "save it with the encoding UTF-8")
        ) from None
    if bad := _UNPRINTABLE.search(text):
        before_text = text[: bad.start()]
        line, column = before_text.count("\n") + 1, len(before_text.rpartition("\n")[2]) + 1
        message = f"control character U+{ord(bad.group()):04X} is not allowed in YAML"
        raise Fatal(Problem(message, Position(shown, line, column), "remove it"))
    return text


def in_plain_words(error: yaml.MarkedYAMLError, character: str) -> tuple[str, str | None]:
    """What the parser objects to, and a hint; ``character`` is where it stopped."""
    said = str(error.problem or error.context or "not valid YAML")
    if "cannot start any token" in said and character != "\t":
        return f"not valid YAML: a plain value cannot start with {character!r}", "quote the value"
    for fragment, message, hint in _PLAIN_WORDS:
        if fragment in said:
            return f"not valid YAML: {message}", hint
    return f"not valid YAML: {said}", None
