"""What a person reads at the end of a command; no server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitops_flow.apply import Result
from gitops_flow.cli import deploy, parts
from gitops_flow.deploy import Report
from gitops_flow.deploy.request import Published
from gitops_flow.model import Position, Problem, Provenance, Snapshot, Source

SNAPSHOT = Snapshot("1" * 40, "2" * 40, Provenance("shop", None, False, "Ann <ann@x>"))


def _report(*results: Result) -> Report:
    source = Source("shop", "host/shop", "prefect.yaml")
    return Report(
        source, SNAPSHOT, Published("/store", "code-store", "3" * 40, True, False), results
    )


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([Result("held", "f/a"), Result("deleted", "f/b")], []),
        ([Result("held", "f/a"), Result("updated", "f/b")], ["'f/b'"]),
    ],
)
def test_what_was_not_deployed_is_no_next_step(results: list[Result], told: list[str]) -> None:
    lines = deploy.text(_report(*results), 1.0)
    assert [line.rpartition(" ")[2] for line in lines if line.startswith("next:")] == told


def test_what_is_said_of_many_places_is_printed_once_with_the_first() -> None:
    def unset(line: int, name: str = "REGION") -> Problem:
        where = Position("prefect.yaml", line, 5)
        return Problem(f"${name} is not set", where, "set it", severity="warning")

    note = Problem("no pull steps", severity="note")
    problems = (unset(3), note, unset(9), unset(12, "ZONE"), note, unset(15))
    assert parts.problem_lines(problems) == [
        "warning: prefect.yaml:3:5: $REGION is not set (set it) (the first of 3 places)",
        "note: no pull steps (the first of 2 places)",
        "warning: prefect.yaml:12:5: $ZONE is not set (set it)",
    ]
    report = replace(_report(), warnings=(unset(3), unset(9)))
    assert deploy.text(report, 1.0)[0].endswith("(set it) (the first of 2 places)")
    assert len(deploy.document(report, 1.0)["warnings"]) == 2
