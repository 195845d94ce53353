"""Triggers of the manifest against automations on the server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitops_flow import plan
from gitops_flow.model import Automation, Deployment
from gitops_flow.prefect.automations import automation

MARK = "gitflow:etl-0123abcd"
EVENT = {"type": "event", "expect": ["a", "b"], "posture": "Reactive"}
OTHER = {"type": "event", "expect": ["c"], "posture": "Reactive"}
READ_BACK = {
    **EVENT,
    "match": {},
    "match_related": {},
    "after": [],
    "expect": ["b", "a"],
    "for_each": [],
    "threshold": 1,
    "within": 0.0,
}


def want(name: str = "one", trigger: Any = EVENT, **more: Any) -> Automation:
    return Automation(name, trigger, **more)


def have(name: str = "one", trigger: Any = READ_BACK, **more: Any) -> Automation:
    return Automation(name, trigger, **{"enabled": True, "tags": (MARK,), "id": name, **more})


def diff(
    wanted: list[Automation], there: list[Automation], *, tags: tuple[str, ...] = (MARK,)
) -> plan.AutomationDiff:
    desired = Deployment("etl", "prod", "a.py:f", automations=tuple(wanted))
    live = Deployment("etl", "prod", "a.py:f", tags=tags, paused=False, id="d", flow_id="f")
    (action,) = plan.make(
        [desired], [live], source_mark=MARK, adopt=False, automations={"d": tuple(there)}
    ).actions
    return action.automations if isinstance(action, plan.Update) else plan.AutomationDiff()


def test_what_the_server_fills_in_and_reorders_is_no_difference() -> None:
    assert not diff([want()], [have()])


@pytest.mark.parametrize(
    "change",
    [
        {"description": "x"},
        {"parameters": {"a": 1}},
        {"parameters": {}},
        {"job_variables": {"a": 1}},
        {"schedule_after": 60.0},
        {"enabled": False},
        {"trigger": {**EVENT, "threshold": 2}},
        {"trigger": {**EVENT, "match": {"prefect.resource.id": "x"}}},
        {"trigger": {"type": "sequence", "triggers": [EVENT], "within": 60}},
    ],
)
def test_what_differs_is_rewritten_in_place(change: dict[str, Any]) -> None:
    found = diff([replace(want(), **change)], [have()])
    assert [pair.live.id for pair in found.change] == ["one"]
    assert (found.add, found.remove) == ((), ())


def test_a_disabled_automation_stays_disabled_unless_the_manifest_says_otherwise() -> None:
    off = have(enabled=False)
    assert not diff([want()], [off])
    assert diff([want(description="x")], [off]).change[0].desired.enabled is False
    assert diff([want(enabled=True)], [off]).change[0].desired.enabled is True


def test_a_renamed_trigger_keeps_its_automation() -> None:
    found = diff([want("new")], [have("old")])
    assert [(pair.live.id, pair.desired.name) for pair in found.change] == [("old", "new")]


def test_inner_triggers_of_a_compound_are_compared_as_the_server_reads_them() -> None:
    compound = {"type": "compound", "triggers": [EVENT, {**OTHER, "posture": "Proactive"}]}
    wanted = {**compound, "require": "all", "within": 3600}
    there = {
        **wanted,
        "within": 3600.0,
        "triggers": [READ_BACK, {**READ_BACK, **OTHER, "posture": "Proactive", "within": 10.0}],
    }
    assert not diff([want(trigger=wanted)], [have(trigger=there)])
    assert diff([want(trigger={**wanted, "require": "any"})], [have(trigger=there)]).change


def test_the_last_trigger_gone_from_the_manifest_removes_its_automation() -> None:
    assert [gone.id for gone in diff([], [have()]).remove] == ["one"]


def test_one_too_many_of_the_same_name_is_removed() -> None:
    found = diff([want()], [have(), have(id="twin")])
    assert [gone.id for gone in found.remove] == ["twin"]
    assert not found.change


def test_an_automation_that_is_not_ours_is_left_alone() -> None:
    assert not diff([], [have(tags=())])
    assert not diff([want()], [have(), have("by hand", tags=("team",))])


def test_a_renamed_source_marks_its_automations_anew() -> None:
    found = diff([want()], [have(tags=("gitflow:former-0123abcd",))], tags=("gitflow:x-0123abcd",))
    assert [pair.live.id for pair in found.change] == ["one"]
    assert not found.add


def test_adopting_replaces_what_the_deployment_owns_and_keeps_what_is_off() -> None:
    found = diff([want(), want("two")], [have(tags=(), enabled=False)], tags=())
    assert found.replaces_owned
    assert [(new.name, new.enabled) for new in found.add] == [("one", False), ("two", None)]
    assert [item.id for item in found.suspects] == ["one"]


def test_adopting_a_deployment_that_nothing_runs_only_adds() -> None:
    found = diff([want()], [], tags=())
    assert not found.replaces_owned
    assert [new.name for new in found.add] == ["one"]


def test_automations_that_were_not_read_are_left_alone() -> None:
    desired = Deployment("etl", "prod", "a.py:f", automations=(want(),))
    live = Deployment("etl", "prod", "a.py:f", tags=(MARK,), paused=False, id="d", flow_id="f")
    (action,) = plan.make([desired], [live], source_mark=MARK, adopt=False).actions
    assert isinstance(action, plan.Unchanged)


def test_triggers_are_named_among_what_differs() -> None:
    desired = Deployment("etl", "prod", "a.py:f", automations=(want(),))
    live = Deployment("etl", "prod", "a.py:f", tags=(MARK,), paused=False, id="d", flow_id="f")
    (action,) = plan.make([desired], [live], source_mark=MARK, adopt=False, automations={}).actions
    assert isinstance(action, plan.Update)
    assert action.fields == ("triggers",)


@pytest.mark.parametrize(
    "changes",
    [
        {"actions": []},
        {"actions": [{"type": "run-deployment", "source": "inferred", "deployment_id": None}]},
        {"actions": [{"type": "pause-deployment", "deployment_id": "d"}]},
        {"actions_on_resolve": [{"type": "do-nothing"}]},
    ],
)
def test_an_automation_that_does_anything_else_is_not_a_trigger(changes: dict[str, Any]) -> None:
    action = {"type": "run-deployment", "source": "selected", "deployment_id": "d"}
    data = {"id": "1", "name": "n", "trigger": {"type": "event", "id": "2"}, "actions": [action]}
    found = automation(data, tagged=True)
    assert found is not None
    assert found[0] == "d"
    assert found[1].trigger == {"type": "event"}
    assert automation({**data, **changes}, tagged=True) is None
