"""Placeholders: ``{{ $ENV }}``, ``{{ prefect.blocks... }}``, ``{{ id.key }}`` and their kin.

The grammar is Prefect's. A value is gone through once, so nothing that was
filled in is read as a placeholder again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from gitops_flow.model import Json

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.\-\[\]$]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One ``{{ name }}``; an ``env`` placeholder's name has no ``$``.

    ``path`` leads to the text that holds it, from the value that was given.
    """

    text: str
    name: str
    kind: Literal["env", "block", "variable", "context", "output"]
    path: tuple[Hashable, ...] = ()


class Keep:
    """The answer for a placeholder that stays as it is written."""


KEEP = Keep()


def fill(value: Json, answer: Callable[[Placeholder], Json | Keep]) -> Json:
    """``value`` with each placeholder replaced by what ``answer`` says of it.

    A text that is one placeholder becomes the answer itself, of whatever type;
    inside longer text the answer is written out. Keys are not looked at.
    """
    return _fill(value, answer, ())


def placeholders(value: Json) -> tuple[Placeholder, ...]:
    """All placeholders in ``value``, in order."""
    return tuple(_walk(value, ()))


def _fill(
    value: Json, answer: Callable[[Placeholder], Json | Keep], path: tuple[Hashable, ...]
) -> Json:
    if isinstance(value, dict):
        return {key: _fill(inner, answer, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, answer, (*path, at)) for at, inner in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    if whole := _PLACEHOLDER.fullmatch(value):
        found = answer(_placeholder(whole, path))
        return value if isinstance(found, Keep) else found

    def written(match: re.Match[str]) -> str:
        found = answer(_placeholder(match, path))
        return match.group() if isinstance(found, Keep) else str(found)

    return _PLACEHOLDER.sub(written, value)


def _walk(value: Json, path: tuple[Hashable, ...]) -> Iterator[Placeholder]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _walk(inner, (*path, at))
    elif isinstance(value, str):
        for match in _PLACEHOLDER.finditer(value):
            yield _placeholder(match, path)


def _placeholder(match: re.Match[str], path: tuple[Hashable, ...]) -> Placeholder:
    name = match[1]
    if name.startswith("$"):
        return Placeholder(match.group(), name.lstrip("$"), "env", path)
    if name.startswith("prefect.blocks."):
        return Placeholder(match.group(), name, "block", path)
    if name.startswith("prefect.variables."):
        return Placeholder(match.group(), name, "variable", path)
    if name.startswith("ctx."):
        return Placeholder(match.group(), name, "context", path)
    return Placeholder(match.group(), name, "output", path)
