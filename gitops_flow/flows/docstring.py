"""Descriptions of parameters in a docstring, as Prefect finds them: in Google's style only."""

from __future__ import annotations

import inspect
import re

_PARAMETERS = ("args", "arguments", "params", "parameters")
_TITLE = re.compile(r"(?P<kind>\w[\s\w-]*):(?:\s+\S.*)?\s*")


def parameters(docstring: str | None) -> dict[str, str]:
    """What each parameter is, by name; the last section of parameters counts.

    NumPy's and Sphinx's styles give none: Prefect does not read them either.
    """
    lines = inspect.cleandoc((docstring or "").rstrip()).split("\n")
    found: dict[str, str] = {}
    in_code = False
    at = 0
    while at < len(lines):
        line = lines[at]
        title = None
        if line.lstrip(" ").startswith("```"):
            in_code = not in_code
        elif not in_code:
            title = _TITLE.fullmatch(line)
        at += 1
        if title and _opens_section(lines, at - 1):
            # Whatever the section is, what stands in it opens no other.
            block = _block(lines, at)
            at += len(block)
            if title["kind"].lower() in _PARAMETERS:
                found = dict(_items(block)) or found
    return found


def _opens_section(lines: list[str], at: int) -> bool:
    """Whether a title stands after a blank line and directly above its text."""
    above = at == 0 or not lines[at - 1].strip()
    below, next_below = [*lines[at + 1 : at + 3], "", ""][:2]
    if not below.strip():
        return False
    return above and (below.startswith(" ") or (next_below[:1] == " " and bool(next_below.strip())))


def _block(lines: list[str], start: int) -> list[str]:
    """The lines from ``start`` that are indented at least as the first one is."""
    indent = _indent(lines[start])
    end = start
    while indent and end < len(lines):
        if lines[end].strip() and not lines[end].startswith(" " * indent):
            break
        end += 1
    return lines[start:end]


def _items(block: list[str]) -> list[tuple[str, str]]:
    indent = _indent(block[0]) if block else 0
    items: list[list[str]] = []
    for line in block:
        depth = _indent(line)
        if not line.strip():
            items[-1].append("")
        elif line.startswith(" " * (indent + 1)):
            # Continuation lines lose one more indentation of the same width.
            items[-1].append(line[min(depth, indent * 2) :])
        else:
            items.append([line[indent:]])
    described = []
    for first, *rest in items:
        name, colon, text = first.partition(":")
        if not colon:
            continue
        if "(" in name and name.endswith(")"):
            name = name.partition("(")[0].strip()
        described.append((name, "\n".join([text.lstrip(), *rest]).rstrip("\n")))
    return described


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
