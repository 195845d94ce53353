"""The measured tables of docs/versions.md: what was not tried again stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.versions import table

PAGE = """\
above
<!-- prefect -->
| Prefect | deploy | prune |
| --- | --- | --- |
| 3.10.1 | 1 passed | 2 passed |
<!-- /prefect -->
below
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "versions.md"
    path.write_text(PAGE)
    return path


def rows(page: Path) -> list[str]:
    return page.read_text().splitlines()[4:-2]


def test_a_part_that_was_not_tried_again_keeps_its_cell(page: Path) -> None:
    table.write("prefect", ["Prefect", "deploy", "prune"], {"3.10.1": ["3 passed", ""]}, page)
    assert rows(page) == ["| 3.10.1 | 3 passed | 2 passed |"]


def test_rows_are_in_the_order_of_versions(page: Path) -> None:
    table.write("prefect", ["Prefect", "deploy", "prune"], {"3.9.1": ["1 passed", ""]}, page)
    assert rows(page) == ["| 3.9.1 | 1 passed | not tried |", "| 3.10.1 | 1 passed | 2 passed |"]


def test_a_new_column_is_not_tried_for_the_others(page: Path) -> None:
    heads = ["Prefect", "deploy", "prune", "pointer"]
    table.write("prefect", heads, {"3.9.1": ["", "", "4 passed"]}, page)
    assert rows(page) == [
        "| 3.9.1 | not tried | not tried | 4 passed |",
        "| 3.10.1 | 1 passed | 2 passed | not tried |",
    ]


def test_the_rest_of_the_page_stays(page: Path) -> None:
    table.write("prefect", ["Prefect", "deploy", "prune"], {}, page)
    assert page.read_text() == PAGE
