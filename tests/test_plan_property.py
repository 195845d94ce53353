"""Whatever the manifest and the server say: after a plan is applied, the next one is empty."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_flow import plan
from gitops_flow.model import Automation, Deployment, Schedule
from gitops_flow.pin import PULL_CODE
from gitops_flow.plan.attached import normal
from gitops_flow.prefect import automations as automation_shape
from gitops_flow.prefect import shape

MARK = "gitflow:etl-0123abcd"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
mappings = st.dictionaries(st.sampled_from(["a", "b", "env"]), json_values, max_size=2)
zones = st.sampled_from([None, "UTC", "Europe/Berlin"])
anchors = st.sampled_from([None, "2026-01-01T00:00:00", "2026-01-01T02:00:00+02:00"])


def spec(**parts: Any) -> dict[str, Any]:
    return {key: value for key, value in parts.items() if value is not None}


specs = st.one_of(
    st.builds(
        spec,
        cron=st.sampled_from(["* * * * *", "@daily"]),
        timezone=zones,
        day_or=st.sampled_from([None, True, False]),
    ),
    st.builds(
        spec, interval=st.sampled_from([60, 60.0, 3600]), anchor_date=anchors, timezone=zones
    ),
    st.builds(
        spec,
        rrule=st.sampled_from(["FREQ=DAILY", "DTSTART:20210101T000000\nFREQ=DAILY"]),
        timezone=zones,
    ),
)
schedules = st.builds(
    Schedule,
    spec=specs,
    active=st.sampled_from([None, True, False]),
    parameters=mappings,
    slug=st.sampled_from([None, "x", "y", "z"]),
)
steps = st.builds(
    lambda commit, source: {PULL_CODE: spec(repository="r", commit=commit, source=source)},
    st.sampled_from(["a" * 40, "b" * 40]),
    st.none() | mappings,
)


events = st.builds(
    spec,
    type=st.sampled_from([None, "event"]),
    expect=st.none() | st.lists(st.sampled_from(["a", "b"]), max_size=3),
    posture=st.sampled_from(["Reactive", "Proactive"]),
    within=st.sampled_from([None, 20, 20.0]),
    threshold=st.sampled_from([None, 2]),
)
triggers = events | st.builds(
    spec,
    type=st.just("sequence"),
    triggers=st.lists(events, min_size=1, max_size=2),
    within=st.sampled_from([None, 60]),
)
automations = st.builds(
    Automation,
    name=st.sampled_from(["one", "two", "three"]),
    trigger=triggers,
    description=st.sampled_from(["", "d"]),
    enabled=st.sampled_from([None, True, False]),
    parameters=st.none() | mappings,
    schedule_after=st.sampled_from([0.0, 60.0]),
)


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    chosen = draw(st.lists(schedules, max_size=3))
    slugs = [item.slug for item in chosen if item.slug]
    if len(slugs) != len(set(slugs)):
        chosen = [replace(item, slug=None) for item in chosen]
    pool = draw(st.sampled_from([None, "p", "q"]))
    ours = draw(st.booleans())
    return Deployment(
        flow_name="etl",
        name="prod",
        entrypoint="a.py:f",
        description=draw(st.sampled_from([None, "", "d"])),
        version="0123abcd" if ours else draw(st.sampled_from([None, "1", "2"])),
        version_is_ours=ours,
        tags=tuple(draw(st.lists(st.sampled_from(["a", "b", MARK]), max_size=3))),
        parameters=draw(mappings),
        parameter_schema=draw(st.none() | mappings),
        enforce_parameter_schema=draw(st.booleans()),
        work_pool=pool,
        work_queue=draw(st.sampled_from([None, "hot", "default"])) if pool else None,
        job_variables=draw(mappings),
        schedules=tuple(chosen),
        paused=draw(st.sampled_from([None, True, False])),
        concurrency_limit=draw(st.sampled_from([None, 1, 2])),
        concurrency_options=draw(st.sampled_from([None, {"collision_strategy": "ENQUEUE"}])),
        pull_steps=draw(st.none() | st.lists(steps, max_size=2).map(tuple)),
        automations=tuple(draw(st.lists(automations, max_size=3))),
        ignored=tuple(draw(st.lists(st.sampled_from(["paused", "schedules.active"]), max_size=2))),
    )


class Server:
    """What the server does with our bodies, as far as a plan can tell."""

    def __init__(self) -> None:
        self.ids = itertools.count()
        self.data: dict[str, Any] = {}
        self.automations: dict[str, dict[str, Any]] = {}
        self.tagged = True

    def run(self, action: plan.Action) -> None:
        self._automations(action)
        if isinstance(action, plan.Create):
            body = json.loads(json.dumps(shape.new_deployment(action.desired, "f")))
            schedules = [self._schedule(item) for item in body.pop("schedules")]
            self.data = {"id": "d", "pull_steps": [], **body, "schedules": schedules}
            self._normalise(body)
        elif isinstance(action, plan.Update):
            names = [change.field for change in action.changes]
            body = json.loads(json.dumps(shape.changes(action.desired, names)))
            self.data.update(body)
            self._normalise(body)
            there = {item["id"]: item for item in self.data["schedules"]}
            for gone in action.schedules.remove:
                del there[str(gone.id)]
            for change in action.schedules.change:
                body = shape.schedule_change(change.desired, spec=change.spec)
                there[str(change.live.id)].update(self._filled(body))
            for renewed in action.schedules.renew:
                del there[str(renewed.live.id)]
            made = [renewed.desired for renewed in action.schedules.renew]
            self.data["schedules"] = [
                *there.values(),
                *(self._schedule(shape.new_schedule(item)) for item in made),
                *(self._schedule(shape.new_schedule(item)) for item in action.schedules.add),
            ][::-1]

    def live(self) -> list[Deployment]:
        return [shape.deployment(self.data, "etl")] if self.data else []

    def _automations(self, action: plan.Action) -> None:
        if isinstance(action, plan.Create):
            added, changed, removed = action.desired.automations, (), ()
        elif isinstance(action, plan.Update):
            diff = action.automations
            added, changed, removed = diff.add, diff.change, diff.remove
        else:
            return
        for gone in removed:
            del self.automations[str(gone.id)]
        named = [(str(next(self.ids)), item) for item in added]
        named += [(str(pair.live.id), pair.desired) for pair in changed]
        for key, item in named:
            body = automation_shape._body(item, "d", [MARK], tagged=self.tagged)
            # The server hands out its sets in any order.
            trigger = {**normal(body["trigger"]), "id": "t"}
            if "expect" in trigger:
                trigger["expect"] = trigger["expect"][::-1]
            self.automations[key] = {**json.loads(json.dumps(body)), "trigger": trigger, "id": key}

    def read_automations(self) -> dict[str, tuple[Automation, ...]]:
        listed = self.automations.values()
        found = [automation_shape.automation(item, tagged=self.tagged) for item in listed]
        return {"d": tuple(item[1] for item in found if item)}

    def _normalise(self, body: dict[str, Any]) -> None:
        if "concurrency_limit" in body:
            limit = body["concurrency_limit"]
            self.data["global_concurrency_limit"] = limit and {
                "limit": limit,
                "name": "deployment:d",
            }
        if self.data.get("work_pool_name") is None:
            self.data["work_queue_name"] = None

    def _schedule(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"id": str(next(self.ids)), "slug": None, **self._filled(body)}

    def _filled(self, body: dict[str, Any]) -> dict[str, Any]:
        body = json.loads(json.dumps(body))
        spec = body.get("schedule")
        if spec and "interval" in spec:
            defaults = {"anchor_date": "2026-10-01T00:00:00Z", "timezone": "UTC"}
            body["schedule"] = {**defaults, **spec, "interval": float(spec["interval"])}
        elif spec and "rrule" in spec:
            rule = spec["rrule"]
            if "DTSTART" not in rule:
                rule = f"DTSTART:20200101T000000\n{rule}"
            body["schedule"] = {"timezone": "UTC", **spec, "rrule": rule}
        elif spec:
            body["schedule"] = {"timezone": None, "day_or": True, **spec}
        return body


def step_plan(server: Server, want: Deployment) -> plan.Action:
    return plan.make(
        [want],
        server.live(),
        source_mark=MARK,
        adopt=False,
        automations=server.read_automations(),
    ).actions[0]


@settings(max_examples=100)
@given(st.lists(deployments(), min_size=1, max_size=4), st.integers(0, 4))
def test_the_plan_after_an_apply_is_empty(wanted: list[Deployment], upgraded: int) -> None:
    server = Server()
    for number, want in enumerate(wanted):
        # From some deploy on the server has tags for automations.
        server.tagged = number >= upgraded
        server.run(step_plan(server, want))
        assert isinstance(step_plan(server, want), plan.Unchanged)


@settings(max_examples=60)
@given(deployments(), deployments())
def test_schedules_that_stay_keep_their_ids(first: Deployment, second: Deployment) -> None:
    server = Server()
    server.run(step_plan(server, first))
    before = {str(item["id"]) for item in server.data["schedules"]}
    server.run(step_plan(server, second))
    after = {str(item["id"]) for item in server.data["schedules"]}

    def kinds(item: Deployment) -> list[str]:
        return sorted(next(iter(schedule.spec)) for schedule in item.schedules)

    slugs = any(schedule.slug for schedule in (*first.schedules, *second.schedules))
    # A slug may pair schedules of different kinds; without one nothing is lost.
    if kinds(first) == kinds(second) and not slugs:
        assert after == before
    assert len(after) == len(second.schedules)
