"""Placeholders: ``{{ $ENV }}``, ``{{ prefect.blocks... }}``, ``{{ id.key }}`` and their kin.

The grammar is Prefect's. A value is gone through once, so nothing that was
filled in is read as a placeholder again.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow.manifest.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from gitops_flow.model import Json

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.\-\[\]$]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One ``{{ name }}``; an ``env`` placeholder's name has no ``$``.

    ``path`` leads to the text that holds it, from the value that was given.
    ``whole`` says that the text holds nothing else.
    """

    text: str
    name: str
    kind: Literal["env", "block", "variable", "context", "output"]
    path: tuple[Hashable, ...] = ()
    whole: bool = False

    @property
    def shown(self) -> str:
        """The text as messages show it."""
        return shortened(self.text, 100)


class Keep:
    """The answer for a placeholder that stays as it is written."""


class Remove:
    """The answer for a placeholder that takes its key or list item with it; in text, nothing."""


KEEP = Keep()
REMOVE = Remove()
MISSING = object()


def fill(value: Json, answer: Callable[[Placeholder], Json | Keep | Remove]) -> Json:
    """``value`` with each placeholder replaced by what ``answer`` says of it.

    A text that is one placeholder becomes the answer itself, of whatever type;
    inside longer text the answer is written out. Keys are not looked at. None
    when the value itself is removed.
    """
    filled = _fill(value, answer, ())
    return None if isinstance(filled, Remove) else filled


def placeholders(value: Json) -> tuple[Placeholder, ...]:
    """All placeholders in ``value``, in order."""
    return tuple(_walk(value, ()))


def lookup(values: Json, name: str) -> Json:
    """What ``a.b[0].c`` names in nested mappings and lists, :data:`MISSING` if nothing.

    A part that is a whole number is one, as in Prefect: it never names a key of text.
    """
    for part in name.replace("[", ".").replace("]", "").split("."):
        key: str | int = part
        with contextlib.suppress(ValueError):
            key = int(part)
        try:
            values = values[key]
        except (TypeError, KeyError, IndexError):
            return MISSING
    return values


def names(values: Mapping[str, Json]) -> list[str]:
    """The names that ``values`` can fill in: their keys, and those of mappings in them."""
    found = []
    for key, value in values.items():
        found.append(key)
        if isinstance(value, Mapping):
            found += [f"{key}.{inner}" for inner in value]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found += [f"{key}[{number}]" for number in range(min(len(value), 10))]
    return found


def _fill(
    value: Json, answer: Callable[[Placeholder], Json | Keep | Remove], path: tuple[Hashable, ...]
) -> Json:
    if isinstance(value, dict):
        pairs = {key: _fill(inner, answer, (*path, key)) for key, inner in value.items()}
        return {key: inner for key, inner in pairs.items() if not isinstance(inner, Remove)}
    if isinstance(value, list):
        items = [_fill(inner, answer, (*path, at)) for at, inner in enumerate(value)]
        return [inner for inner in items if not isinstance(inner, Remove)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    if whole := _PLACEHOLDER.fullmatch(value):
        found = answer(_placeholder(whole, path))
        return value if isinstance(found, Keep) else found

    def written(match: re.Match[str]) -> str:
        found = answer(_placeholder(match, path))
        if isinstance(found, Remove):
            return ""
        return match.group() if isinstance(found, Keep) else str(found)

    return _PLACEHOLDER.sub(written, value)


def _walk(value: Json, path: tuple[Hashable, ...]) -> Iterator[Placeholder]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _walk(inner, (*path, at))
    elif isinstance(value, str) and "{{" in value:
        for match in _PLACEHOLDER.finditer(value):
            yield _placeholder(match, path)


def _placeholder(match: re.Match[str], path: tuple[Hashable, ...]) -> Placeholder:
    text, name = match.group(), match[1]
    whole = len(text) == len(match.string)
    if name.startswith("$"):
        return Placeholder(text, name.lstrip("$"), "env", path, whole)
    if name.startswith("prefect.blocks."):
        return Placeholder(text, name, "block", path, whole)
    if name.startswith("prefect.variables."):
        return Placeholder(text, name, "variable", path, whole)
    if name.startswith("ctx."):
        return Placeholder(text, name, "context", path, whole)
    return Placeholder(text, name, "output", path, whole)
