"""Desired and live deployments to a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitops_flow import plan
from gitops_flow.model import Deployment, Schedule, Source
from gitops_flow.pin import PULL_CODE

MARK = "gitflow:etl-0123abcd"
RENAMED = "gitflow:load-0123abcd"
OTHER = "gitflow:etl-ffffffff"
CRON = {"cron": "0 6 * * *"}


def desired(**changes: Any) -> Deployment:
    base = Deployment(flow_name="etl", name="prod", entrypoint="flows.py:etl", tags=(MARK,))
    return replace(base, **changes)


def live(**changes: Any) -> Deployment:
    return desired(**{"paused": False, "id": "d-1", "flow_id": "f-1", **changes})


def the_action(
    want: Deployment, have: Deployment | None, *, mark: str = MARK, adopt: bool = False
) -> plan.Action:
    there = [] if have is None else [have]
    return plan.make([want], there, source_mark=mark, adopt=adopt).actions[0]


def update(want: Deployment, have: Deployment) -> plan.Update:
    action = the_action(want, have)
    assert isinstance(action, plan.Update)
    return action


def fields(want: Deployment, have: Deployment) -> tuple[str, ...]:
    action = the_action(want, have)
    return action.fields if isinstance(action, plan.Update) else ()


def step(commit: str, **more: Any) -> tuple[dict[str, Any], ...]:
    return ({PULL_CODE: {"repository": "r", "commit": commit, "requires": "gitops-flow", **more}},)


def scheduled(want: list[Schedule], have: list[Schedule]) -> plan.ScheduleDiff:
    action = the_action(desired(schedules=tuple(want)), live(schedules=tuple(have)))
    return action.schedules if isinstance(action, plan.Update) else plan.ScheduleDiff()


def test_what_is_not_there_is_created_with_the_mark() -> None:
    action = the_action(desired(tags=("a",)), None)
    assert isinstance(action, plan.Create)
    assert action.desired.tags == ("a", MARK)


def test_what_is_equal_is_unchanged_and_writes_nothing() -> None:
    made = plan.make([desired()], [live()], source_mark=MARK, adopt=False)
    assert isinstance(made.actions[0], plan.Unchanged)
    assert made.writes == ()


def test_actions_come_in_the_order_of_the_manifest() -> None:
    names = ["c", "a", "b"]
    made = plan.make(
        [desired(name=name) for name in names],
        [live(name=name) for name in sorted(names)],
        source_mark=MARK,
        adopt=False,
    )
    assert [action.desired.name for action in made.actions] == names


def test_the_same_name_on_another_flow_is_another_deployment() -> None:
    assert isinstance(the_action(desired(), live(flow_name="other")), plan.Create)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entrypoint", "other.py:f"),
        ("path", "/opt"),
        ("description", "words"),
        ("version", "2"),
        ("parameters", {"a": 1}),
        ("job_variables", {"env": {"A": "b"}}),
        ("tags", (MARK, "new")),
        ("parameter_schema", {"type": "object"}),
        ("enforce_parameter_schema", False),
        ("paused", True),
        ("concurrency_limit", 3),
        ("concurrency_options", {"collision_strategy": "CANCEL_NEW"}),
        ("pull_steps", ({"a": {}},)),
    ],
)
def test_only_the_field_that_differs_is_changed(field: str, value: Any) -> None:
    action = update(desired(**{field: value}), live())
    assert action.fields == (field,)
    assert (action.changes[0].before, action.changes[0].after) == (getattr(live(), field), value)


def test_paused_that_the_manifest_does_not_say_is_left_as_it_is() -> None:
    assert fields(desired(paused=None), live(paused=True)) == ()


def test_the_order_of_tags_is_no_difference_but_a_tag_too_many_is() -> None:
    assert fields(desired(tags=("a", "b", MARK)), live(tags=(MARK, "b", "a", "a"))) == ()
    assert fields(desired(), live(tags=(MARK, "by-hand"))) == ("tags",)


def test_a_schema_that_could_not_be_read_is_left_alone() -> None:
    assert fields(desired(parameter_schema=None), live(parameter_schema={"type": "object"})) == ()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, True, False),
        (0, False, False),
        (1, 1.0, False),
        (1e20, 10**20, True),
        ([1, [2]], (1, (2,)), True),
        ({"a": 1, "b": None}, {"b": None, "a": 1}, True),
        ({"a": None}, {}, False),
        ("1", 1, False),
    ],
)
def test_json_values_are_compared_as_json(one: Any, other: Any, equal: bool) -> None:
    differs = fields(desired(parameters={"p": one}), live(parameters={"p": other}))
    assert differs == (() if equal else ("parameters",))


def test_the_pools_default_queue_needs_not_be_named() -> None:
    assert fields(desired(work_pool="p"), live(work_pool="p", work_queue="default")) == ()
    assert fields(desired(work_pool="p"), live(work_pool="p", work_queue="hot")) == ("work_queue",)
    assert fields(desired(work_pool="p"), live()) == ("work_pool", "work_queue")
    assert fields(desired(), live(work_pool="p", work_queue="default")) == ("work_pool",)


def test_options_the_manifest_dropped_are_reset_and_filled_in_ones_are_not() -> None:
    strategy = {"collision_strategy": "CANCEL_NEW"}
    filled = {**strategy, "grace_period_seconds": None}
    assert (
        fields(
            desired(concurrency_limit=2, concurrency_options=strategy),
            live(concurrency_limit=2, concurrency_options=filled),
        )
        == ()
    )
    assert fields(
        desired(concurrency_limit=2), live(concurrency_limit=2, concurrency_options=filled)
    ) == ("concurrency_options",)


@pytest.mark.parametrize("kept", ["collision_strategy", "grace_period_seconds"])
def test_one_option_that_the_manifest_dropped_is_taken_away(kept: str) -> None:
    options = {"collision_strategy": "ENQUEUE", "grace_period_seconds": 60}
    assert fields(
        desired(concurrency_limit=2, concurrency_options={kept: options[kept]}),
        live(concurrency_limit=2, concurrency_options=options),
    ) == ("concurrency_options",)


def test_the_same_code_from_a_later_commit_is_no_difference() -> None:
    want = desired(
        pull_steps=step("a", source={"commit": "2"}), version="2" * 8, version_is_ours=True
    )
    for version in ("1" * 8, f"{'1' * 8}-dirty-{'a' * 8}", f"snapshot-{'a' * 8}"):
        have = live(pull_steps=step("a", source={"commit": "1"}), version=version)
        assert fields(want, have) == ()


@pytest.mark.parametrize("before", ["1.0", None, "11111111-rc", "deadbeefdeadbeef"])
def test_a_version_that_the_manifest_no_longer_sets_is_replaced(before: str | None) -> None:
    want = desired(pull_steps=step("a"), version="2" * 8, version_is_ours=True)
    assert fields(want, live(pull_steps=step("a"), version=before)) == ("version",)


def test_other_code_is_pinned_with_its_version_and_provenance() -> None:
    want = desired(pull_steps=step("b", source={"commit": "2"}), version="2", version_is_ours=True)
    have = live(pull_steps=step("a", source={"commit": "1"}), version="1")
    action = update(want, have)
    assert action.fields == ("pull_steps", "version")
    assert action.changes[0].after == want.pull_steps


def test_a_version_from_the_manifest_counts_by_itself() -> None:
    want = desired(pull_steps=step("a"), version="2")
    assert fields(want, live(pull_steps=step("a"), version="1")) == ("version",)


def test_any_other_input_of_our_step_counts() -> None:
    want = desired(pull_steps=step("a", credentials="{{ prefect.blocks.secret.t }}"))
    assert fields(want, live(pull_steps=step("a"))) == ("pull_steps",)


def test_a_source_input_of_another_step_counts() -> None:
    want = desired(pull_steps=({"other": {"source": 1}},))
    assert fields(want, live(pull_steps=({"other": {"source": 2}},))) == ("pull_steps",)


def test_no_pull_steps_and_an_empty_list_are_the_same() -> None:
    assert fields(desired(pull_steps=()), live(pull_steps=None)) == ()
    assert fields(desired(pull_steps=None), live(pull_steps=())) == ()


def test_an_unmarked_deployment_is_adopted_and_the_plan_says_so() -> None:
    action = update(desired(), live(tags=("theirs",)))
    assert action.adopts
    assert action.fields == ("tags",)


def test_another_sources_deployment_is_refused() -> None:
    action = the_action(desired(description="x"), live(tags=(OTHER,)))
    assert isinstance(action, plan.Conflict)
    assert OTHER in action.reason


def test_another_sources_deployment_is_taken_over_when_asked() -> None:
    action = the_action(desired(), live(tags=(OTHER,)), adopt=True)
    assert isinstance(action, plan.Update)
    assert action.adopts


def test_a_renamed_source_keeps_what_it_owns() -> None:
    action = the_action(desired(tags=(RENAMED,)), live(), mark=RENAMED)
    assert isinstance(action, plan.Update)
    assert not action.adopts
    assert action.fields == ("tags",)


def test_what_nothing_desires_is_named_only_when_it_is_ours() -> None:
    have = [live(name="old", id="1"), live(name="other", id="2", tags=(OTHER,))]
    made = plan.make([desired()], have, source_mark=MARK, adopt=False)
    assert [orphan.name for orphan in made.orphans] == ["old"]
    assert len(made.actions) == 1


@pytest.mark.parametrize(
    ("want", "have"),
    [
        (CRON, {**CRON, "day_or": True}),
        ({**CRON, "timezone": "UTC"}, {**CRON, "day_or": True}),
        (
            {"interval": 3600},
            {"interval": 3600.0, "anchor_date": "2026-01-01T00:00:00Z", "timezone": "UTC"},
        ),
        (
            {"interval": 60, "anchor_date": "2026-01-01T03:00:00-03:00"},
            {"interval": 60.0, "anchor_date": "2026-01-01T06:00:00Z", "timezone": "UTC"},
        ),
        (
            {"interval": 60, "anchor_date": "2026-01-01T00:00:00"},
            {"interval": 60.0, "anchor_date": "2026-01-01T00:00:00+00:00", "timezone": "UTC"},
        ),
        (
            {"rrule": "FREQ=DAILY"},
            {"rrule": "DTSTART:20200101T000000\nFREQ=DAILY", "timezone": "UTC"},
        ),
    ],
)
def test_what_the_server_fills_in_is_no_difference(want: dict[str, Any], have: Any) -> None:
    assert not scheduled([Schedule(want)], [Schedule(have, active=True, id="s")])


@pytest.mark.parametrize(
    ("want", "have"),
    [
        (CRON, {"cron": "0 7 * * *", "day_or": True}),
        ({**CRON, "day_or": False}, {**CRON, "day_or": True}),
        (CRON, {**CRON, "timezone": "Europe/Berlin"}),
        ({"interval": 60}, {"interval": 61.0, "anchor_date": "x", "timezone": "UTC"}),
        (
            {"interval": 60, "anchor_date": "2026-01-01T00:00:00Z"},
            {"interval": 60.0, "anchor_date": "2026-01-02T00:00:00Z"},
        ),
        (
            {"rrule": "DTSTART:20210101T000000\nFREQ=DAILY"},
            {"rrule": "DTSTART:20200101T000000\nFREQ=DAILY"},
        ),
    ],
)
def test_other_times_change_the_schedule_in_place(want: dict[str, Any], have: Any) -> None:
    diff = scheduled([Schedule(want)], [Schedule(have, active=True, id="s")])
    assert (diff.add, diff.remove) == ((), ())
    assert diff.change[0].live.id == "s"
    assert diff.change[0].spec is not None


def test_a_changed_interval_keeps_its_anchor() -> None:
    have = Schedule({"interval": 60.0, "anchor_date": "2026-01-01T00:00:00Z"}, active=True, id="s")
    diff = scheduled([Schedule({"interval": 90})], [have])
    assert diff.change[0].spec == {"interval": 90, "anchor_date": "2026-01-01T00:00:00Z"}


def test_a_schedule_switched_off_by_hand_stays_off_unless_the_manifest_says_otherwise() -> None:
    have = Schedule(CRON, active=False, id="s")
    assert not scheduled([Schedule(CRON)], [have])
    assert scheduled([Schedule(CRON, active=True)], [have]).change[0].spec is None


def test_slugs_pair_schedules_before_anything_else() -> None:
    have = [
        Schedule({"cron": "1 * * * *"}, active=True, slug="a", id="1"),
        Schedule({"cron": "2 * * * *"}, active=True, slug="b", id="2"),
    ]
    diff = scheduled([Schedule({"cron": "2 * * * *"}, slug="a")], have)
    assert [(c.live.id, c.spec) for c in diff.change] == [("1", {"cron": "2 * * * *"})]
    assert [gone.id for gone in diff.remove] == ["2"]


def test_a_new_slug_renames_the_schedule_with_the_same_times() -> None:
    have = [Schedule(CRON, active=True, slug="old", id="1")]
    diff = scheduled([Schedule(CRON, slug="new")], have)
    assert [(c.live.id, c.desired.slug, c.spec) for c in diff.change] == [("1", "new", None)]


def test_a_schedule_whose_slug_is_dropped_is_made_again_as_it_was_but_for_that() -> None:
    spec = {"interval": 3600.0, "anchor_date": "2026-01-01T00:00:00Z", "timezone": "UTC"}
    have = [Schedule(spec, active=False, slug="a", id="1")]
    diff = scheduled([Schedule({"interval": 3600})], have)
    assert (diff.add, diff.change, diff.remove) == ((), (), ())
    (renewed,) = diff.renew
    assert renewed.live == have[0]
    assert renewed.desired == Schedule(
        {"interval": 3600, "anchor_date": "2026-01-01T00:00:00Z"}, active=False
    )


def test_a_schedule_without_a_slug_is_rather_the_one_that_has_none() -> None:
    have = [
        Schedule(CRON, active=True, slug="a", id="1"),
        Schedule(CRON, active=True, id="2"),
    ]
    diff = scheduled([Schedule(CRON)], have)
    assert (diff.remove, diff.renew, diff.change) == ((have[0],), (), ())


def test_another_kind_of_schedule_is_a_new_one() -> None:
    diff = scheduled([Schedule({"interval": 60})], [Schedule(CRON, active=True, id="1")])
    assert [item.spec for item in diff.add] == [{"interval": 60}]
    assert [item.id for item in diff.remove] == ["1"]


def test_without_schedules_in_the_manifest_all_are_removed() -> None:
    assert scheduled([], [Schedule(CRON, active=True, id="1")]).remove


def test_equal_schedules_pair_one_to_one() -> None:
    diff = scheduled([Schedule(CRON), Schedule(CRON)], [Schedule(CRON, active=True, id="1")])
    assert len(diff.add) == 1
    assert not diff.change


def test_a_schedule_that_may_be_off_does_not_take_the_place_of_one_that_has_to_be() -> None:
    have = [Schedule(CRON, active=False, id="1"), Schedule(CRON, active=True, id="2")]
    assert not scheduled([Schedule(CRON), Schedule(CRON, active=False)], have)


def test_the_order_of_schedules_is_no_difference() -> None:
    want = [Schedule(CRON), Schedule({"cron": "1 * * * *"}, parameters={"a": 1})]
    have = [
        Schedule({"cron": "1 * * * *"}, active=True, parameters={"a": 1}, id="2"),
        Schedule(CRON, active=True, id="1"),
    ]
    assert not scheduled(want, have)


def test_a_source_keeps_what_it_owned_before_it_had_a_remote() -> None:
    before = Source("shop", "/srv/shop", "prefect.yaml", "/srv/shop")
    after = Source("shop", "git.lan/shop", "prefect.yaml", "/srv/shop")
    assert after.former_marks == (before.mark,)
    desired = Deployment("f", "d", "f.py:f")
    live = Deployment("f", "d", "f.py:f", tags=(before.mark,), id="1", flow_id="2")
    made = plan.make(
        [desired], [live], source_mark=after.mark, former_marks=after.former_marks, adopt=False
    )
    (action,) = made.actions
    assert isinstance(action, plan.Update)
    assert not action.adopts
    assert [change.field for change in action.changes] == ["tags"]
