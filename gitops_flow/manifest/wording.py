"""Validation errors in plain words: what was expected, what is there, the nearest word."""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Any

from gitops_flow.names import did_you_mean
from gitops_flow.redact import is_secret_key, redact

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from pydantic_core import ErrorDetails

_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "bool": "true or false",
    "dict": "a mapping",
    "model": "a mapping",
    "list": "a list",
    "set": "a list",
    "float": "a number",
    "time_delta": "a duration in seconds, as HH:MM:SS, or ISO 8601",
}
_HINTS = {
    "dict": "write 'key: value' lines below it",
    "model": "write 'key: value' lines below it",
    "list": "start each item with '- '",
    "set": "start each item with '- '",
}


def dotted(path: Sequence[Hashable]) -> str:
    """``schedules[0].cron`` for ``("schedules", 0, "cron")``."""
    text = ""
    for part in path:
        if isinstance(part, int) and not isinstance(part, bool):
            text += f"[{shortened(str(part))}]"
        else:
            name = shortened(str(part), 100)
            text += f".{name}" if text else name
    return text


def shortened(text: str, most: int = 40) -> str:
    """``text`` without secrets, and of more than ``most`` characters only the beginning.

    Whatever a message shows of a manifest goes through this.
    """
    text = redact(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def label(number: int, name: object) -> str:
    """``deployments[0] 'etl'``, for a deployment that has a name."""
    place = f"deployments[{number}]"
    return f"{place} {quoted(name, 100)}" if isinstance(name, str) and name else place


def quoted(value: str, most: int = 40, *, key: object = "") -> str:
    """``value`` in quotes, shortened and without secrets; ``key`` says what it is for."""
    if isinstance(key, str) and is_secret_key(key):
        return "text"
    if len(value) > 1000:
        return f"a text of {len(value):,} characters"
    return repr(shortened(value, most))


def described(value: Any, *, key: object = "") -> str:
    """What stands in the file, in a few words that hold no secret."""
    if isinstance(key, str) and is_secret_key(key) and not isinstance(value, dict | list):
        return "something else"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        text = str(value) if abs(value) < 1e40 else "too large to show"
        return f"the number {text}"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, datetime.date):
        return f"the date {value.isoformat()}"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "binary data" if isinstance(value, bytes) else "a value"


def explain(error: ErrorDetails) -> tuple[str, str | None]:
    """The message and hint for one pydantic error, except for unknown keys."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    key = next((part for part in reversed(error["loc"]) if isinstance(part, str)), "")
    if kind == "gitflow":
        hint = context.get("hint")
        return str(context["message"]), str(hint) if hint else None
    got = described(value, key=key)
    if kind == "literal_error":
        words = re.findall(r"'([^']+)'", str(context["expected"]))
        hint = (
            did_you_mean(value.upper() if words[0].isupper() else value, words)
            if isinstance(value, str)
            else None
        )
        return f"expected {' or '.join(words)}, got {got}", hint
    if kind in ("greater_than", "greater_than_equal", "less_than_equal"):
        bound = {"greater_than": "above", "greater_than_equal": "of at least"}.get(
            kind, "of at most"
        )
        limit = next(iter(context.values()))
        return (
            f"expected a number {bound} {limit}, got {described(value).removeprefix('the number ')}",
            None,
        )
    family = re.sub(r"_(type|parsing|parsing_size|from_float|attributes_type)$", "", kind)
    if family not in _EXPECTED:
        return error["msg"], None
    hint = _HINTS.get(family)
    if family == "string" and isinstance(value, bool | int | float | datetime.date):
        hint = "put it in quotes"
    elif family in ("dict", "list") and value is None:
        hint = (
            "remove the line, or write {}" if family == "dict" else "remove the line, or write []"
        )
    return f"expected {_EXPECTED[family]}, got {got}", hint
