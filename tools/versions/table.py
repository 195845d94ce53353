"""The measured tables of docs/versions.md: one row for each environment that was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.versions.environments import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PAGE = ROOT / "docs" / "versions.md"


def write(
    name: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]], page: Path = PAGE
) -> None:
    """Put rows into the table between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    A row is known by its first cell, the key. What was not tried this time stays:
    rows that are not given, and cells that are empty.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    above, _, rest = page.read_text().partition(begin)
    old, _, after = rest.partition(end)
    width = len(heads) - 1
    # A column that is new has no cells yet.
    known = {
        cells[0]: [*cells[1:], *["not tried"] * width][:width]
        for line in old.splitlines()[2:]
        if (cells := _cells(line))
    }
    for key, measured in rows.items():
        there = known.get(key, ["not tried"] * width)
        known[key] = [new or before for new, before in zip(measured, there, strict=True)]
    lines = [heads, ["---"] * len(heads)]
    lines += [[key, *cells] for key, cells in sorted(known.items(), key=_order)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    page.write_text(above + begin + table + end + after)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _order(row: tuple[str, Sequence[str]]) -> list[int]:
    return [int(part) for part in row[0].split(".")]
