"""Deletions carried out on a real Prefect server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gitops_flow import apply, plan, prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import Automation, Deployment, PrefectConnection, Schedule
from tests.support.prefect import make_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.prefect import SharedServer

pytestmark = pytest.mark.real

TRIGGER = Automation("t", {"type": "event", "expect": ["a"], "posture": "Reactive"})


class Case:
    """One test's corner of the shared server."""

    def __init__(self, server: SharedServer, namespace: str) -> None:
        self.server = server
        self.flow = namespace
        self.mark = f"gitflow:{namespace}-0123abcd"
        self.client = prefect.Client(PrefectConnection(server.api_url))

    def desired(self, name: str, **changes: Any) -> Deployment:
        return replace(Deployment(self.flow, name, "a.py:f", tags=(self.mark,)), **changes)

    def live(self) -> list[Deployment]:
        found = prefect.live(self.client, names=None, mark=self.mark)
        return plan.attach(found, prefect.live_automations(self.client, self.mark))

    def deploy(self, *desired: Deployment, prune: bool = True) -> list[apply.Result]:
        made = plan.make(
            desired,
            self.live(),
            source_mark=self.mark,
            adopt=False,
            prune=prune,
            automations=prefect.live_automations(self.client, self.mark),
        )
        return apply.execute(self.client, made)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.server.call(method, path, body)

    def run(self, deployment_id: str | None, *states: str) -> str:
        body = {"state": {"type": "SCHEDULED"}}
        made = self.call("POST", f"/deployments/{deployment_id}/create_flow_run", body)
        for state in states:
            path = f"/flow_runs/{made['id']}/set_state"
            self.call("POST", path, {"state": {"type": state}, "force": True})
        return str(made["id"])

    def state(self, run_id: str) -> str:
        return str(self.call("GET", f"/flow_runs/{run_id}")["state_type"])


@pytest.fixture
def case(prefect_server: SharedServer, namespace: str) -> Iterator[Case]:
    made = Case(prefect_server, namespace)
    with made.client:
        yield made


def test_what_left_the_manifest_is_deleted_with_its_automations(case: Case) -> None:
    made = case.deploy(case.desired("a"), case.desired("b", automations=(TRIGGER,)))
    assert len(prefect.live_automations(case.client, case.mark)) == 1
    kept, gone = case.deploy(case.desired("a"))
    assert (kept.status, gone.status, gone.id) == ("unchanged", "deleted", made[1].id)
    assert [item.name for item in case.live()] == ["a"]
    assert prefect.live_automations(case.client, case.mark) == {}


def test_without_prune_nothing_is_deleted(case: Case) -> None:
    case.deploy(case.desired("a"), case.desired("b"))
    case.deploy(case.desired("a"), prune=False)
    assert sorted(item.name for item in case.live()) == ["a", "b"]


def test_runs_that_wait_are_cancelled_and_those_that_run_go_on(case: Case) -> None:
    schedule = Schedule({"cron": "* * * * *"})
    (made,) = case.deploy(case.desired("a", schedules=(schedule,)))
    runs = [case.run(made.id, *states) for states in ((), ("PENDING",), ("PENDING", "RUNNING"))]
    late = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:30Z"}
    case.call("POST", f"/deployments/{made.id}/schedule", late)
    (result,) = case.deploy()
    assert (result.status, result.runs_cancelled) == ("deleted", 3)
    assert [case.state(run) for run in runs] == ["CANCELLED", "CANCELLED", "RUNNING"]
    left = {"flow_runs": {"deployment_id": {"any_": [made.id]}}}
    states = [run["state_type"] for run in case.call("POST", "/flow_runs/filter", left)]
    assert sorted(states) == ["CANCELLED", "CANCELLED", "CANCELLED", "RUNNING"]


def test_a_limit_that_others_share_outlives_the_deployment(case: Case) -> None:
    if case.client.version and case.client.version < (3, 3, 6):
        pytest.skip("on this server no limit can be shared")
    made = case.deploy(case.desired("a"), case.desired("b"))
    limit = case.call("POST", "/v2/concurrency_limits/", {"name": f"{case.flow}-s", "limit": 5})
    for result in made:
        body = {"global_concurrency_limit_id": limit["id"]}
        case.client.patch(f"/deployments/{result.id}", body)
    case.deploy(case.desired("a", concurrency_limit=None, description="x"))
    assert case.call("GET", f"/v2/concurrency_limits/{limit['id']}")["limit"] == 5
    case.call("DELETE", f"/v2/concurrency_limits/{limit['id']}")


def test_what_somebody_else_deleted_meanwhile_counts_as_deleted(case: Case) -> None:
    case.deploy(case.desired("a", automations=(TRIGGER,)))
    made = plan.destroy(case.live(), case.mark)
    first = apply.execute(case.client, made)
    again = apply.execute(case.client, made)
    assert [result.status for result in (*first, *again)] == ["deleted", "deleted"]


def test_nothing_is_deleted_when_another_deployment_could_not_be_written(case: Case) -> None:
    case.deploy(case.desired("old"))
    schema = {"properties": {"n": {"type": "integer"}}}
    bad = case.desired("new", parameters={"n": "x"}, parameter_schema=schema)
    failed, kept = case.deploy(bad)
    assert (failed.status, kept.status) == ("failed", "failed")
    assert "not deleted" in str(kept.error)
    assert [item.name for item in case.live()] == ["old"]


def test_computed_parameters_converge_from_the_first_deploy_on(case: Case) -> None:
    name = case.flow.replace("-", "_")
    case.call("POST", "/variables/", {"name": name, "value": {"deep": [1]}})
    parameters = {
        "json": {"__prefect_kind": "json", "value": "1"},
        "jinja": {"__prefect_kind": "jinja", "template": "{{ a.b }}x{{ 1 + 1 }}"},
        "variable": {"__prefect_kind": "workspace_variable", "variable_name": name},
        "gone": {"__prefect_kind": "json"},
        "list": [{"__prefect_kind": "none", "value": True}, "plain"],
    }
    schema = {"type": "object", "properties": {"json": {"type": "integer"}}}
    wanted = case.desired("a", parameters=parameters, parameter_schema=schema)
    asked = plan.workspace_variables([wanted])
    assert asked == (name,)
    for description in ("first", "second"):
        item = replace(wanted, description=description)
        for expected in ("Create|Update", "Unchanged"):
            made = plan.make(
                [item],
                case.live(),
                source_mark=case.mark,
                adopt=False,
                variables=prefect.variables(case.client, asked),
            )
            assert type(made.actions[0]).__name__ in expected
            assert [result.error for result in apply.execute(case.client, made)] == [None]
    assert case.live()[0].parameters == {
        "json": 1,
        "jinja": "x2",
        "variable": {"deep": [1]},
        "list": [True, "plain"],
    }
    case.call("DELETE", f"/variables/name/{name}")


def test_a_schedule_is_renamed_in_place(case: Case) -> None:
    case.deploy(case.desired("a", schedules=(Schedule({"cron": "@daily"}, slug="old"),)))
    before = case.live()[0].schedules[0].id
    renamed = Schedule({"cron": "@hourly"}, slug="new", replaces="old")
    for _ in range(2):
        case.deploy(case.desired("a", schedules=(renamed,)))
        (found,) = case.live()[0].schedules
        assert (found.id, found.slug, found.spec["cron"]) == (before, "new", "@hourly")


def test_the_check_agrees_with_what_the_server_refuses(case: Case) -> None:
    pool = f"{case.flow}-pool"
    prefect.create_work_pool(case.client, pool)
    templates = prefect.pool_variables(case.client, [pool, f"{pool}-none"])
    assert templates.keys() == {pool}
    tries: list[dict[str, Any]] = [
        {"stream_output": "{{ prefect.blocks.secret.x }}"},
        {"stream_output": None},
        {"env": {"A": 1}},
        {"env": {"A": None}},
        {"working_dir": 3},
        {"anything": [1]},
        {"labels": {"a": "b"}},
    ]
    case.deploy(case.desired("there", work_pool=pool))
    for number, given in enumerate(tries):
        for name in (f"new{number}", "there"):
            item = case.desired(name, work_pool=pool, job_variables=given)
            made = plan.make([item], case.live(), source_mark=case.mark, adopt=False)
            refused = any(each.severity == "error" for each in plan.check(made.actions, templates))
            (result,) = apply.execute(case.client, made)
            assert isinstance(result.error, ApiError) == refused, (name, given)


def test_blocks_and_variables_are_read_and_missing_ones_are_missing(case: Case) -> None:
    name = case.flow.replace("-", "_")
    made = make_block(case.call, "secret", case.flow, {"value": "hunter22"})
    names = [("secret", case.flow), ("secret", "none"), ("no/such type", "x")]
    found = prefect.blocks(case.client, names)
    case.call("DELETE", f"/block_documents/{made}")
    assert found == {f"secret/{case.flow}": {"value": "hunter22"}}
    case.call("POST", "/variables/", {"name": name, "value": [1]})
    assert prefect.variables(case.client, [name, "none_such"]) == {name: [1]}
    case.call("DELETE", f"/variables/name/{name}")
