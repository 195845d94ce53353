"""A server that goes away while a plan is carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from gitops_flow import apply, plan
from gitops_flow.errors import ApiError
from gitops_flow.model import Automation, Deployment, Schedule
from gitops_flow.prefect import Client
from gitops_flow.report.deploy import results_text


class Answers:
    """A client whose writes end as listed; the last answer is for all that follow."""

    def __init__(self, *answers: ApiError | None) -> None:
        self.answers = list(answers)
        self.flow_ids = {"etl": "flow-id"}
        self.writes = 0

    def post(self, _path: str, _body: Any, _shape: Any) -> Any:
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


class Until:
    """A client whose writes succeed until one to ``path`` with ``method``."""

    def __init__(self, method: str, path: str, error: BaseException | None = None) -> None:
        self.fails = method, path
        self.error = error or ApiError("not accepted", status=422)
        self.flow_ids = {"etl": "flow-id"}
        self.server_time = None
        self.page_limit = 200

    def can(self, _feature: str) -> bool:
        return True

    def _answer(self, method: str, path: str) -> Any:
        if method == self.fails[0] and path.endswith(self.fails[1]):
            raise self.error
        if path.endswith("/count"):
            return 0
        made = {"id": "made"}
        return [] if path.endswith("/filter") else [made] if path.endswith("/schedules") else made

    def post(self, path: str, _body: Any, _shape: Any = object, **_options: Any) -> Any:
        return self._answer("POST", path)

    def get(self, path: str, _shape: Any = object) -> Any:
        return self._answer("GET", path)

    def put(self, path: str, _body: Any) -> Any:
        return self._answer("PUT", path)

    def patch(self, path: str, _body: Any) -> Any:
        return self._answer("PATCH", path)

    def delete(self, path: str) -> Any:
        return self._answer("DELETE", path)


MARK = "gitflow:etl-0123abcd"
LIVE = Deployment(
    "etl",
    "d",
    "a.py:f",
    tags=(MARK,),
    paused=True,
    id="live",
    schedules=(
        Schedule({"cron": "0 1 * * *"}, True, {}, "one", "s1"),
        Schedule({"interval": 60.0}, True, {}, "two", "s2"),
    ),
)
WANTED = Deployment(
    "etl",
    "d",
    "a.py:f",
    description="new",
    paused=True,
    schedules=(
        Schedule({"cron": "0 2 * * *"}, None, {}, "one"),
        Schedule({"interval": 120.0}, None, {}, "two"),
    ),
    automations=(Automation("after", {"type": "event"}),),
)


@pytest.mark.parametrize(
    ("method", "path", "stands"),
    [
        ("PATCH", "/deployments/live", ()),
        ("POST", "/automations/", ("description",)),
        ("PATCH", "/schedules/s1", ("description", "triggers")),
        ("PATCH", "/schedules/s2", ("description", "part of schedules", "triggers")),
    ],
)
def test_an_update_that_failed_says_what_stands(
    method: str, path: str, stands: tuple[str, ...]
) -> None:
    made = plan.make([WANTED], [LIVE], source_mark=MARK, adopt=False, automations={})
    (result,) = apply.execute(cast("Client", Until(method, path)), made)
    assert (result.status, result.changed) == ("failed", stands)
    (line, *_) = results_text([result])
    told = f" (already written: {', '.join(stands)})" if stands else ""
    assert line == f"etl/d  failed{told}"


def test_a_creation_that_failed_after_it_was_made_says_that_the_deployment_stands() -> None:
    made = plan.make([WANTED], [], source_mark=MARK, adopt=False)
    (result,) = apply.execute(cast("Client", Until("POST", "/automations/")), made)
    assert (result.status, result.id, result.changed) == ("failed", "made", ("deployment",))


NAMES = {"d": LIVE, "next": replace(LIVE, name="next", id="live2")}
WANTED_BOTH = [replace(WANTED, name=name) for name in NAMES]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a signal, or a bug")])
def test_whatever_ends_the_work_each_action_is_told_of(error: BaseException) -> None:
    made = plan.make(WANTED_BOTH, NAMES.values(), source_mark=MARK, adopt=False, automations={})
    told: list[apply.Result] = []
    server = Until("POST", "/automations/", error)
    with pytest.raises(type(error)):
        apply.execute(cast("Client", server), made, on_result=told.append)
    first, second = told
    assert (first.changed, str(first.error)) == (
        ("description",),
        "stopped while it was being written",
    )
    assert (second.changed, str(second.error)) == ((), "not written")


def test_what_is_interrupted_before_the_first_write_has_written_nothing() -> None:
    made = plan.make(WANTED_BOTH, NAMES.values(), source_mark=MARK, adopt=False)
    told: list[apply.Result] = []
    server = Until("POST", "/flow_runs/filter", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        apply.execute(cast("Client", server), made, on_result=told.append)
    assert [str(each.error) for each in told] == ["not written"] * 2


def test_where_the_server_cannot_be_asked_before_the_first_write_nothing_is_tried() -> None:
    made = plan.make(WANTED_BOTH, NAMES.values(), source_mark=MARK, adopt=False)
    results = apply.execute(cast("Client", Until("POST", "/flow_runs/filter")), made)
    assert {each.status for each in results} == {"failed"}
    assert all("not tried" in str(each.error) for each in results)
