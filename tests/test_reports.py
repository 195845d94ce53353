"""What a person reads at the end of a command; no server."""

from __future__ import annotations

import pytest

from gitops_flow.apply import Result
from gitops_flow.cli import deploy
from gitops_flow.deploy import Report
from gitops_flow.deploy.request import Published
from gitops_flow.model import Provenance, Snapshot, Source

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
