"""The ``.env`` file as Prefect reads it: ``KEY=value`` lines, quotes, comments, ``${OTHER}``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ENTRY = re.compile(
    r"""[^\S\r\n]* (?:export[^\S\r\n]+)? (?:'(?P<quoted>[^']+)' | (?P<plain>[^=\#\s'][^=\#\s]*))
        [^\S\r\n]* (?: = [^\S\r\n]* (?:
            '(?P<single>(?:\\.|[^'\\])*)' | "(?P<double>(?:\\.|[^"\\])*)" | (?P<bare>[^'"\r\n][^\r\n]*|)
        ))?
        [^\S\r\n]* (?:\#[^\r\n]*)? (?:\r\n|\n|\r|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_VARIABLE = re.compile(r"\$\{(?P<name>[^}:]*)(?::-(?P<default>[^}]*))?\}")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a ``.env`` file.

    ``value`` has ``${OTHER}`` filled in, ``written`` only with what the file itself says.
    ``uses_environment`` says that a part of the value comes from the environment.
    """

    value: str
    written: str
    uses_environment: bool


def read(path: Path, environ: Mapping[str, str]) -> dict[str, Variable]:
    """The variables in ``path``, keys in upper case; empty if there is no such file.

    A line that cannot be read is skipped, as Prefect does, unless it is about
    Prefect: then it is a :class:`UsageError` that names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    found: dict[str, Variable] = {}
    at = 0
    while at < len(text):
        entry = _ENTRY.match(text, at)
        if entry is not None:
            key = entry["quoted"] or entry["plain"]
            value = _value(entry)
            if value is not None:
                found[key] = _expanded(value, environ, found)
            at = entry.end()
            continue
        line = _LINE.match(text, at)
        end = line.end() if line else len(text)
        skipped = text[at:end].strip()
        if "PREFECT_" in skipped.upper() and not skipped.startswith("#"):
            number = len(re.findall(r"\r\n|\n|\r", text[:at])) + 1
            raise UsageError(
                "this line is not KEY=value",
                where=f"{path}:{number}",
                hint="look for a quote that is not closed",
            )
        at = end
    return {key.upper(): value for key, value in found.items()}


def _value(entry: re.Match[str]) -> str | None:
    if entry["single"] is not None:
        return re.sub(r"\\([\\'])", r"\1", entry["single"])
    if entry["double"] is not None:
        return re.sub(r"\\([\\'\"abfnrtv])", lambda m: _ESCAPES.get(m[1], m[1]), entry["double"])
    if entry["bare"] is None:
        return None
    # After a space a "#" begins a comment; inside a word it belongs to the value.
    spaced = entry.string[entry.start("bare") - 1].isspace()
    if spaced and entry["bare"].startswith("#"):
        return ""
    return re.sub(r"\s+#.*", "", entry["bare"]).rstrip()


def _expanded(
    written: str, environ: Mapping[str, str], earlier: Mapping[str, Variable]
) -> Variable:
    def part(match: re.Match[str]) -> Variable:
        name = match["name"]
        if name in earlier:
            return earlier[name]
        if name in environ:
            return Variable(environ[name], f"${{{name}}}", True)
        default = match["default"] or ""
        return Variable(default, default, False)

    return Variable(
        _VARIABLE.sub(lambda match: part(match).value, written),
        _VARIABLE.sub(lambda match: part(match).written, written),
        any(part(match).uses_environment for match in _VARIABLE.finditer(written)),
    )
