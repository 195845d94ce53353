"""Descriptions of parameters in a Google-style docstring."""

from __future__ import annotations

import re

_PARAMETERS = ("args", "arguments", "params", "parameters")
_TITLE = re.compile(r"(?P<kind>\w[\s\w-]*):(?:\s+\S.*)?\s*")


def parameters(docstring: str | None) -> dict[str, str]:
    """What each parameter is, by name; the last section of parameters counts.

    ``docstring`` is without common indentation, as ``inspect.getdoc`` gives it.
    """
    lines = (docstring or "").strip().splitlines()
    found: dict[str, str] = {}
    in_code = False
    for number, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        title = None if in_code else _TITLE.fullmatch(line)
        if title and title["kind"].lower() in _PARAMETERS and _opens_section(lines, number):
            found = dict(_items(_block(lines, number + 1)))
    return found


def _opens_section(lines: list[str], number: int) -> bool:
    # A title stands after a blank line and directly above its indented text.
    above = number == 0 or not lines[number - 1].strip()
    below = number + 1 < len(lines) and bool(lines[number + 1].strip())
    return above and below and lines[number + 1].startswith(" ")


def _block(lines: list[str], start: int) -> list[str]:
    end = start
    while end < len(lines) and (lines[end].startswith(" ") or not lines[end].strip()):
        end += 1
    return lines[start:end]


def _items(block: list[str]) -> list[tuple[str, str]]:
    indent = len(block[0]) - len(block[0].lstrip())
    items: list[list[str]] = []
    for line in block:
        depth = len(line) - len(line.lstrip())
        if not line.strip():
            items[-1].append("")
        elif depth < indent:
            break
        elif depth == indent:
            items.append([line[indent:]])
        else:
            # Continuation lines lose one more indentation of the same width.
            items[-1].append(line[min(depth, indent * 2) :])
    described = []
    for first, *rest in items:
        name, colon, text = first.partition(":")
        if not colon:
            continue
        if "(" in name and name.endswith(")"):
            name = name.partition("(")[0].strip()
        described.append((name, "\n".join([text.lstrip(), *rest]).rstrip("\n")))
    return described
