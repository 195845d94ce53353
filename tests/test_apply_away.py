"""A server that goes away while a plan is carried out."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gitops_flow import apply, plan
from gitops_flow.errors import ApiError
from gitops_flow.model import Deployment
from gitops_flow.prefect import Client


class Answers:
    """A client whose writes end as listed; the last answer is for all that follow."""

    def __init__(self, *answers: ApiError | None) -> None:
        self.answers = list(answers)
        self.flow_ids = {"etl": "flow-id"}
        self.writes = 0

    def post(self, _path: str, _body: Any) -> Any:
        answer = self.answers[min(self.writes, len(self.answers) - 1)]
        self.writes += 1
        if answer is not None:
            raise answer
        return {"id": f"d-{self.writes}"}


def creations(count: int) -> plan.Plan:
    wanted = [Deployment("etl", f"d{number}", "a.py:f") for number in range(count)]
    return plan.make(wanted, [], source_mark="gitflow:etl-0123abcd", adopt=False)


def execute(server: Answers, count: int) -> list[apply.Result]:
    return apply.execute(cast("Client", server), creations(count))


@pytest.mark.parametrize("status", [None, 503])
def test_a_server_that_went_away_is_not_waited_for_once_per_deployment(status: int | None) -> None:
    server = Answers(None, ApiError("nobody answers", status=status, retry=True))
    results = execute(server, 50)
    assert server.writes == 3
    assert [result.status for result in results] == ["created"] + ["failed"] * 49
    assert "not tried" not in str(results[2].error)
    assert "not tried" in str(results[3].error)
    assert "nobody answers" in str(results[49].error)


def test_a_server_that_is_back_for_the_next_deployment_gets_the_rest() -> None:
    slow = ApiError("did not answer within 60 s", retry=True)
    results = execute(Answers(slow, None, slow, None), 6)
    assert [result.status for result in results].count("failed") == 2


def test_what_the_server_says_of_single_deployments_does_not_end_the_deploy() -> None:
    server = Answers(ApiError("not accepted", status=422), ApiError("bug", status=500, retry=True))
    execute(server, 6)
    assert server.writes == 6
