"""What a person reads at the end of a command; no server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitops_flow import manifest
from gitops_flow.apply import Result
from gitops_flow.cli import deploy, parts
from gitops_flow.deploy import Report
from gitops_flow.deploy.request import Published
from gitops_flow.model import Position, Problem, Provenance, Snapshot, Source
from tests.support.manifests import FLOW, MARK, OURS

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
        where, label = Position("prefect.yaml", line, 5), f"deployments[{line}]"
        message = f"{label}: ${name} is not set"
        return Problem(message, where, "set it", severity="warning", subject=label)

    note = Problem("no pull steps", severity="note")
    problems = (unset(3), note, unset(9), unset(12, "ZONE"), note, unset(15))
    assert parts.problem_lines(problems) == [
        "warning: prefect.yaml:3:5: deployments[3]: $REGION is not set (set it) (the first of 3 places)",
        "note: no pull steps (the first of 2 places)",
        "warning: prefect.yaml:12:5: deployments[12]: $ZONE is not set (set it)",
    ]
    report = replace(_report(), warnings=(unset(3), unset(9)))
    assert deploy.text(report, 1.0)[0].endswith("(set it) (the first of 2 places)")
    assert len(deploy.document(report, 1.0)["warnings"]) == 2


def test_deployments_of_which_the_same_is_said_are_not_each_listed() -> None:
    one = "- {name: %s, entrypoint: 'f.py:g', token: x, work_pool: {name: p}}\n"
    read = manifest.parse(("deployments:\n" + one % "a" + one % "b").encode(), "p.yaml")
    _, problems = manifest.resolve(
        read,
        mark=MARK,
        pull_step=OURS,
        default_version=None,
        flows={"f.py:g": FLOW},
        answers=manifest.Answers({}, {}, {}),
        default_work_pool=None,
        is_own_repository=lambda _: False,
        notes=True,
    )
    ignored = "deployments[0] 'a': Prefect ignores this key: 'token'"
    pulled = "deployments[0] 'a': no pull steps: the pinned code is pulled"
    assert parts.problem_lines([*read.problems, *problems]) == [
        f"warning: p.yaml:2:35: {ignored} (the first of 2 places)",
        f"note: p.yaml:2:3: {pulled} (the first of 2 places)",
    ]
