"""Triggers carried out on a real Prefect server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gitops_flow import apply, plan, prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import Automation, Deployment, PrefectConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.prefect import SharedServer

pytestmark = pytest.mark.real

EVENT = {"type": "event", "expect": ["b.done", "a.done"], "match": {"prefect.resource.id": "x.*"}}
SHAPES = (
    Automation("event", {**EVENT, "posture": "Reactive"}),
    Automation(
        "absent",
        {**EVENT, "posture": "Proactive", "for_each": ["prefect.resource.id"], "within": 20},
        description="words",
        parameters={"n": "{{ event.id }}"},
        schedule_after=60.0,
        enabled=False,
    ),
    Automation(
        "compound",
        {
            "type": "compound",
            "triggers": [
                {**EVENT, "posture": "Reactive"},
                {"type": "event", "posture": "Proactive", "match_related": [{"a": "b"}]},
            ],
            "within": 3600,
            "require": "any",
        },
    ),
    Automation(
        "sequence",
        {
            "type": "sequence",
            "triggers": [
                {**EVENT, "posture": "Reactive"},
                {**EVENT, "posture": "Reactive", "threshold": 2, "within": 5},
            ],
            "within": 60,
        },
    ),
)


class Case:
    """One test's corner of the shared server."""

    def __init__(self, server: SharedServer, namespace: str) -> None:
        self.server = server
        self.flow = namespace
        self.mark = f"gitflow:{namespace}-0123abcd"
        self.client = prefect.Client(PrefectConnection(server.api_url))

    def desired(self, *automations: Automation, **changes: Any) -> Deployment:
        base = Deployment(self.flow, "d", "a.py:f", tags=(self.mark,), automations=automations)
        return replace(base, **changes)

    def plan(self, desired: Deployment) -> plan.Plan:
        live = prefect.live(self.client, names=[(self.flow, "d")], mark=self.mark)
        unmarked = [item.id or "" for item in live if self.mark not in item.tags]
        names = [item.name for item in desired.automations]
        found = prefect.live_automations(self.client, self.mark, unmarked=unmarked, names=names)
        return plan.make([desired], live, source_mark=self.mark, adopt=False, automations=found)

    def deploy(self, desired: Deployment) -> apply.Result:
        """Apply, and prove that the next plan is empty."""
        (result,) = apply.execute(self.client, self.plan(desired))
        assert result.error is None
        assert not self.plan(desired).writes
        return result

    def all(self, deployment_id: str | None) -> list[dict[str, Any]]:
        found = self.server.call(
            "GET", f"/automations/related-to/prefect.deployment.{deployment_id}"
        )
        return sorted(found, key=lambda item: str(item["name"]))

    def shapes(self) -> tuple[Automation, ...]:
        """:data:`SHAPES`, as far as the server knows what is in them."""
        found = SHAPES
        if not self.client.can("schedule_after"):
            found = tuple(replace(item, schedule_after=0.0) for item in found)
        if not self.client.can("several match_related"):
            found = tuple(item for item in found if item.name != "compound")
        return found

    def marks(self, item: dict[str, Any]) -> list[str]:
        """The marks of an automation that the server has."""
        if self.client.can("automation tags"):
            return list(item["tags"])
        return [line for line in item["description"].split("\n") if line.startswith("gitflow:")]

    def by_prefect(self, deployment_id: str, name: str, **changes: Any) -> None:
        """What `prefect deploy` does for a trigger."""
        action = {"type": "run-deployment", "source": "selected", "deployment_id": deployment_id}
        body = {
            "name": name,
            "trigger": {**EVENT, "posture": "Reactive"},
            "actions": [action],
            "owner_resource": f"prefect.deployment.{deployment_id}",
            **changes,
        }
        self.server.call("POST", "/automations/", body)


@pytest.fixture
def case(prefect_server: SharedServer, namespace: str) -> Iterator[Case]:
    made = Case(prefect_server, namespace)
    with made.client:
        yield made
        for item in prefect.live(made.client, names=[(namespace, "d")], mark=None):
            for left in made.all(item.id):
                prefect.delete_automation(made.client, left["id"])


def test_every_kind_of_trigger_is_made_once_and_then_left_alone(case: Case) -> None:
    made = case.deploy(case.desired(*case.shapes()))
    before = case.all(made.id)
    assert [item["name"] for item in before] == sorted(item.name for item in case.shapes())
    assert [case.marks(item) for item in before] == [[case.mark]] * len(before)
    assert case.deploy(case.desired(*case.shapes())).status == "unchanged"
    assert case.all(made.id) == before


def test_only_the_trigger_that_differs_is_written_and_keeps_its_id(case: Case) -> None:
    made = case.deploy(case.desired(*case.shapes()))
    before = {item["name"]: item for item in case.all(made.id)}
    changed = replace(SHAPES[0], parameters={"n": 2})
    result = case.deploy(case.desired(changed, *case.shapes()[2:]))
    after = {item["name"]: item for item in case.all(made.id)}
    assert (result.status, result.changed) == ("updated", ("triggers",))
    assert after.keys() == before.keys() - {"absent"}
    assert after["event"]["id"] == before["event"]["id"]
    assert after["event"]["actions"][0]["parameters"] == {"n": 2}
    assert after["sequence"] == before["sequence"]


def test_a_rewritten_automation_still_belongs_to_its_deployment(case: Case) -> None:
    made = case.deploy(case.desired(SHAPES[0]))
    case.deploy(case.desired(replace(SHAPES[0], description="new")))
    prefect.delete_owned_automations(case.client, made.id or "")
    assert case.all(made.id) == []


def test_one_that_was_switched_off_stays_off_through_a_change(case: Case) -> None:
    made = case.deploy(case.desired(SHAPES[0]))
    path = f"/automations/{case.all(made.id)[0]['id']}"
    case.server.call("PATCH", path, {"enabled": False})
    assert case.deploy(case.desired(SHAPES[0])).status == "unchanged"
    case.deploy(case.desired(replace(SHAPES[0], description="new")))
    assert not case.all(made.id)[0]["enabled"]


def test_adopting_takes_over_what_prefect_deploy_made_and_nothing_else(case: Case) -> None:
    unmarked = case.desired(SHAPES[0], tags=())
    flow_id = prefect.ensure_flow(case.client, case.flow)
    made = prefect.create(case.client, unmarked, flow_id)
    case.by_prefect(made, "event", enabled=False)
    case.by_prefect(made, "gone from the manifest")
    case.by_prefect(made, "by hand", owner_resource=None)
    assert case.deploy(case.desired(SHAPES[0])).adopted
    found = {item["name"]: item["enabled"] for item in case.all(made)}
    assert found == {"by hand": True, "event": False}


def test_a_refused_adoption_leaves_the_automations_that_are_there(case: Case) -> None:
    flow_id = prefect.ensure_flow(case.client, case.flow)
    made = prefect.create(case.client, case.desired(tags=()), flow_id)
    case.by_prefect(made, "theirs")
    refused = case.desired(SHAPES[0], enforce_parameter_schema=True, parameters={"n": "x"})
    refused = replace(refused, parameter_schema={"properties": {"n": {"type": "integer"}}})
    (result,) = apply.execute(case.client, case.plan(refused))
    assert result.status == "failed"
    assert [item["name"] for item in case.all(made)] == ["theirs"]


@pytest.mark.parametrize("answer_lost", [False, True])
@pytest.mark.parametrize(
    ("adopting", "write", "nth"),
    [
        (False, "create_automation", 2),
        (True, "create_automation", 2),
        (True, "delete_owned_automations", 1),
        (True, "patch", 2),
    ],
)
def test_a_deploy_that_failed_between_its_writes_is_completed_by_the_next(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    adopting: bool,
    write: str,
    nth: int,
    answer_lost: bool,
) -> None:
    flow_id = prefect.ensure_flow(case.client, case.flow)
    made = prefect.create(case.client, case.desired(tags=() if adopting else (case.mark,)), flow_id)
    if adopting:
        case.by_prefect(made, "event")
    real, calls = getattr(prefect, write), []

    def fails_once(*arguments: Any) -> None:
        calls.append(arguments)
        failing = len(calls) == nth
        if not failing or answer_lost:
            real(*arguments)
        if failing:
            raise ApiError("no")

    wanted = case.desired(*case.shapes(), description="new")
    with monkeypatch.context() as broken:
        broken.setattr(prefect, write, fails_once)
        (result,) = apply.execute(case.client, case.plan(wanted))
    assert result.status == "failed"
    case.deploy(wanted)
    assert [item["name"] for item in case.all(made)] == sorted(i.name for i in case.shapes())


def test_a_renamed_source_takes_its_automations_along(case: Case) -> None:
    made = case.deploy(case.desired(SHAPES[0]))
    before = case.all(made.id)
    case.mark = case.mark.replace("gitflow:", "gitflow:renamed-")
    result = case.deploy(case.desired(SHAPES[0]))
    after = case.all(made.id)
    assert result.changed == ("tags", "triggers")
    assert [item["id"] for item in after] == [item["id"] for item in before]
    assert case.marks(after[0]) == [case.mark]


def test_what_was_made_before_the_server_had_tags_gets_them_after_its_upgrade(case: Case) -> None:
    if not case.client.can("automation tags"):
        pytest.skip("this server has no tags for automations")
    version, case.client.version = case.client.version, (3, 2, 0)
    wanted = case.desired(replace(SHAPES[0], description="words"))
    made = case.deploy(wanted)
    (before,) = case.all(made.id)
    assert (before["tags"], before["description"]) == ([], f"words\n{case.mark}")
    case.client.version = version
    assert case.deploy(wanted).changed == ("triggers",)
    (after,) = case.all(made.id)
    assert (after["tags"], after["description"]) == ([case.mark], "words")
    assert after["id"] == before["id"]


def test_a_trigger_that_the_server_refuses_fails_its_deployment_alone(case: Case) -> None:
    loop = {"type": "event", "posture": "Reactive", "expect": ["prefect.flow-run.Running"]}
    (result,) = apply.execute(case.client, case.plan(case.desired(Automation("loop", loop))))
    assert result.status == "failed"
    assert "infinite loop" in str(result.error)
    case.deploy(case.desired())
