"""What is deleted, what is refused, what is left alone on purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitops_flow import plan
from gitops_flow.model import Automation, Deployment, Schedule

MARK = "gitflow:etl-0123abcd"
CRON = {"cron": "0 6 * * *"}


def desired(name: str = "d", **changes: Any) -> Deployment:
    return replace(Deployment("etl", name, "a.py:f", tags=(MARK,)), **changes)


def live(name: str = "d", **changes: Any) -> Deployment:
    return desired(name, **{"paused": False, "id": name, "flow_id": "f", **changes})


def pruned(wanted: list[str], there: list[str], **options: Any) -> plan.Plan:
    return plan.make(
        [desired(name) for name in wanted],
        [live(name) for name in there],
        source_mark=MARK,
        adopt=False,
        prune=True,
        **options,
    )


def test_deletions_come_after_everything_else() -> None:
    made = pruned(["z", "new"], ["a", "z"])
    kinds = [type(action) for action in made.actions]
    assert kinds == [plan.Unchanged, plan.Create, plan.Delete]
    assert [action.full_name for action in made.deletes] == ["etl/a"]
    assert made.orphans == ()


def test_what_another_source_owns_or_nobody_is_never_deleted() -> None:
    there = [live("theirs", tags=("gitflow:etl-ffffffff",)), live("nobodys", tags=())]
    made = plan.make([], there, source_mark=MARK, adopt=True, prune=True)
    assert made.actions == ()


def test_what_the_manifest_has_and_is_not_deployed_now_is_spared() -> None:
    made = pruned(["a"], ["a", "b", "c"], spared=[("etl", "b")])
    assert [action.full_name for action in made.deletes] == ["etl/c"]


@pytest.mark.parametrize(
    ("wanted", "there", "refused"),
    [
        (["a", "b"], ["a", "b", "c"], None),
        (["a", "b"], ["a", "b"], None),
        (["a"], ["a", "b", "c"], "more than a third"),
        (["a"], ["a", "b"], "more than a third"),
        (["new"], ["a"], "every deployment"),
        ([], [], None),
    ],
)
def test_no_more_than_a_third_and_never_all_is_deleted_unasked(
    wanted: list[str], there: list[str], refused: str | None
) -> None:
    said = plan.prune_refusal(pruned(wanted, there))
    assert said is None if refused is None else said is not None and refused in said


def test_destroying_a_source_deletes_its_own_alone_under_both_marks() -> None:
    former = "gitflow:etl-aaaaaaaa"
    there = [live("a"), live("b", tags=(former,)), live("c", tags=("gitflow:etl-ffffffff",))]
    made = plan.destroy(there, MARK, (former,))
    assert [action.full_name for action in made.deletes] == ["etl/a", "etl/b"]


def only(want: Deployment, have: Deployment) -> plan.Action:
    return plan.make([want], [have], source_mark=MARK, adopt=False, automations={}).actions[0]


def test_ignored_switches_are_no_difference_but_are_told_as_drift() -> None:
    want = desired(
        paused=False,
        schedules=(Schedule(CRON, active=True),),
        ignored=("paused", "schedules.active"),
    )
    have = live(paused=True, schedules=(Schedule(CRON, active=False, id="s"),))
    assert isinstance(only(want, have), plan.Unchanged)
    assert [(each.field, each.before, each.after) for each in plan.drift(want, have)] == [
        ("paused", True, False),
        ('schedules[cron "0 6 * * *" UTC].active', False, True),
    ]


def test_a_changed_schedule_keeps_the_ignored_switch() -> None:
    want = desired(
        schedules=(Schedule({"cron": "1 * * * *"}, True),), ignored=("schedules.active",)
    )
    action = only(want, live(schedules=(Schedule(CRON, active=False, id="s"),)))
    assert isinstance(action, plan.Update)
    assert action.schedules.change[0].desired.active is None


def test_a_new_schedule_is_as_the_manifest_says_though_the_switch_is_ignored() -> None:
    want = desired(schedules=(Schedule(CRON, False),), ignored=("schedules.active",))
    action = only(want, live())
    assert isinstance(action, plan.Update)
    assert action.schedules.add[0].active is False


def test_what_the_manifest_does_not_say_is_drift_and_what_it_says_is_not() -> None:
    assert plan.drift(desired(), live()) == ()
    assert [each.field for each in plan.drift(desired(), live(paused=True))] == ["paused"]
    assert plan.drift(desired(paused=False), live(paused=True)) == ()
    assert plan.drift(desired(paused=True), live(paused=True)) == ()


def test_a_disabled_automation_is_drift() -> None:
    want = desired(automations=(Automation("one", {"type": "event"}),))
    have = live(automations=(Automation("one", {"type": "event"}, enabled=False, id="1"),))
    assert [each.field for each in plan.drift(want, have)] == ["triggers[one].enabled"]


def test_a_schedule_that_replaces_another_is_renamed_in_place() -> None:
    want = desired(schedules=(Schedule({"cron": "1 * * * *"}, slug="new", replaces="old"),))
    have = live(schedules=(Schedule(CRON, True, slug="old", id="s"),))
    action = only(want, have)
    assert isinstance(action, plan.Update)
    (change,) = action.schedules.change
    assert (change.live.id, change.desired.slug) == ("s", "new")
    assert isinstance(
        only(want, live(schedules=(Schedule({"cron": "1 * * * *"}, True, slug="new", id="s"),))),
        plan.Unchanged,
    )


def test_fields_that_steps_complete_are_an_update_that_may_come_to_nothing() -> None:
    want = desired(job_variables={"image": "{{ image }}"}, unknown=("job_variables",))
    action = only(want, live())
    assert isinstance(action, plan.Update)
    assert action.maybe
    assert [(each.field, each.unknown) for each in action.changes] == [("job_variables", True)]
    action = only(replace(want, description="new"), live())
    assert isinstance(action, plan.Update)
    assert not action.maybe
    assert action.fields == ("description", "job_variables")


KINDS = {
    "json": {"__prefect_kind": "json", "value": '{"a": [1]}'},
    "jinja": {"__prefect_kind": "jinja", "template": "{{ a.b }}x{{ 1 + 1 }}"},
    "none": {"__prefect_kind": "none", "value": [1]},
    "left out": {"__prefect_kind": "json"},
    "variable": {"__prefect_kind": "workspace_variable", "variable_name": "v"},
}
COMPUTED = {"json": {"a": [1]}, "jinja": "x2", "none": [1], "variable": 5}


def parameters(want: Any, have: Any, variables: Any = None) -> bool:
    made = plan.make(
        [desired(parameters=want)],
        [live(parameters=have)],
        source_mark=MARK,
        adopt=False,
        variables=variables,
    )
    return isinstance(made.actions[0], plan.Unchanged)


def test_computed_parameters_are_equal_as_written_and_as_the_server_stores_them() -> None:
    assert plan.workspace_variables([desired(parameters=KINDS)]) == ("v",)
    assert parameters(KINDS, KINDS)
    assert parameters(KINDS, COMPUTED, {"v": 5})
    assert parameters(KINDS, COMPUTED), "what was not looked up agrees with anything computed"


@pytest.mark.parametrize(
    ("have", "variables"),
    [
        ({**COMPUTED, "variable": 6}, {"v": 5}),
        ({**COMPUTED, "json": {"a": [2]}}, {"v": 5}),
        ({**COMPUTED, "jinja": "x3"}, None),
        ({**COMPUTED, "left out": 1}, {"v": 5}),
    ],
)
def test_another_computed_value_is_a_difference(have: Any, variables: Any) -> None:
    assert not parameters(KINDS, have, variables)


def test_another_template_is_a_difference() -> None:
    want = {"p": {"__prefect_kind": "jinja", "template": "{{ 2 }}"}}
    assert not parameters(want, {"p": {"__prefect_kind": "jinja", "template": "{{ 1 }}"}})
    assert not parameters({"p": {"__prefect_kind": "jinja", "template": "{{ 1 | nonsense }}"}}, {})
