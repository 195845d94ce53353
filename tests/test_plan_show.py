"""A plan as lines that a person reads."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gitops_flow import plan
from gitops_flow.model import Automation, Deployment, Schedule
from gitops_flow.pin import PULL_CODE

MARK = "gitflow:etl-0123abcd"
Rows = list[tuple[str, str | None, str | None]]


def desired(**changes: Any) -> Deployment:
    return replace(Deployment("etl", "prod", "a.py:f", tags=(MARK,)), **changes)


def shown(want: dict[str, Any], have: dict[str, Any]) -> Rows:
    live = desired(**{"paused": False, "id": "d", "flow_id": "f", **have})
    found = live.automations
    (action,) = plan.make(
        [desired(**want)], [live], source_mark=MARK, adopt=False, automations={"d": found}
    ).actions
    return [(line.path, line.before, line.after) for line in plan.lines(action)]


def pinned(commit: str, **inputs: Any) -> tuple[dict[str, Any], ...]:
    return ({PULL_CODE: {"repository": "/store", "commit": commit * 40, **inputs}},)


OLD = {"pull_steps": pinned("a", source={"commit": "1"}), "version": "aaaaaaaa"}
NEW = {"pull_steps": pinned("b"), "version": "bbbbbbbb", "version_is_ours": True}


@pytest.mark.parametrize(
    ("want", "have", "only_code"),
    [
        (NEW, OLD, True),
        ({**NEW, "pull_steps": pinned("b", release="x")}, OLD, True),
        ({**NEW, "pull_steps": pinned("b", directory="x")}, OLD, False),
        ({**NEW, "pull_steps": (*pinned("b"), {"other": {}})}, OLD, False),
        ({**NEW, "version_is_ours": False}, OLD, False),
        (NEW, {**OLD, "version": "1.0"}, False),
        (NEW, {**OLD, "tags": ()}, False),
        ({**NEW, "unknown": ("parameters",)}, OLD, False),
        ({**NEW, "description": "x"}, OLD, False),
        ({**NEW, "schedules": (Schedule({"cron": "* * * * *"}),)}, OLD, False),
    ],
)
def test_a_deployment_that_only_gets_other_code_is_known_as_such(
    want: dict[str, Any], have: dict[str, Any], only_code: bool
) -> None:
    live = desired(**{"paused": False, "id": "d", "flow_id": "f", **have})
    (action,) = plan.make([desired(**want)], [live], source_mark=MARK, adopt=False).actions
    assert isinstance(action, plan.Update)
    assert action.new_code == (("a" * 40, "b" * 40) if only_code else None)


@pytest.mark.parametrize(
    ("want", "have", "rows"),
    [
        ({"description": "two"}, {"description": "one"}, [("description", "one", "two")]),
        ({"description": ""}, {}, [("description", None, '""')]),
        ({"paused": True}, {}, [("paused", "false", "true")]),
        ({"tags": (MARK, "b")}, {"tags": (MARK, "a")}, [("tags", "a", "b")]),
        ({"tags": (MARK,)}, {"tags": (MARK, "a")}, [("tags", "a", None)]),
        (
            {"job_variables": {"env": {"A": "1", "B": "2"}, "cpu": 1}},
            {"job_variables": {"env": {"A": "1", "B": "3"}, "cpu": 1}},
            [("job_variables.env.B", "3", "2")],
        ),
        (
            {"parameters": {"new": None, "deep": {"x": [1]}}},
            {"parameters": {"old": True}},
            [
                ("parameters.deep.x", None, "[1]"),
                ("parameters.new", None, "null"),
                ("parameters.old", "true", None),
            ],
        ),
        ({"parameters": {"a": 1}}, {"parameters": {"a": True}}, [("parameters.a", "true", "1")]),
        (
            {"job_variables": {"env": {"X": "a"}}, "unknown": ("job_variables",)},
            {},
            [("job_variables", None, "known after build")],
        ),
    ],
)
def test_only_the_parts_that_differ_are_shown(
    want: dict[str, Any], have: dict[str, Any], rows: Rows
) -> None:
    assert shown(want, have) == rows


def step(commit: str, **more: Any) -> dict[str, Any]:
    return {PULL_CODE: {"repository": "r", "commit": commit, **more}}


def test_other_code_is_shown_as_the_two_commits() -> None:
    rows = shown(
        {"pull_steps": (step("b" * 40, source={"commit": "2"}),)},
        {"pull_steps": (step("a" * 40, source={"commit": "1"}),)},
    )
    assert rows == [(f"pull_steps[0] {PULL_CODE}.commit", "a" * 40, "b" * 40)]


def test_steps_that_come_and_go_are_shown_whole() -> None:
    stock = {"prefect.deployments.steps.git_clone": {"access_token": "abcdef", "branch": "x"}}
    rows = shown({"pull_steps": (step("b" * 40),)}, {"pull_steps": (stock, step("a" * 40))})
    assert rows == [
        (
            "pull_steps[0]",
            'prefect.deployments.steps.git_clone {"access_token": "****", "branch": "x"}',
            f"{PULL_CODE} commit {'b' * 12}",
        ),
        ("pull_steps[1]", f"{PULL_CODE} commit {'a' * 12}", None),
    ]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"cron": "0 6 * * *"}, 'cron "0 6 * * *" UTC'),
        ({"cron": "@daily", "day_or": False}, 'cron "@daily" day_or=false UTC'),
        ({"interval": 3600.0}, "interval 1h UTC"),
        ({"interval": 90, "timezone": "Asia/Tokyo"}, "interval 90s Asia/Tokyo"),
        ({"rrule": "FREQ=DAILY\nCOUNT=1"}, 'rrule "FREQ=DAILY\\nCOUNT=1" UTC'),
    ],
)
def test_schedules_are_shown_in_words(spec: dict[str, Any], text: str) -> None:
    assert shown({"schedules": (Schedule(spec),)}, {}) == [("schedules", None, text)]


def test_a_changed_schedule_is_shown_before_and_after() -> None:
    have = Schedule({"cron": "0 6 * * *"}, active=False, slug="s", id="1")
    want = Schedule({"cron": "0 7 * * *"}, slug="s", parameters={"token": "abcdef"})
    assert shown({"schedules": (want,)}, {"schedules": (have,)}) == [
        (
            "schedules[s]",
            'cron "0 6 * * *" UTC (off)',
            'cron "0 7 * * *" UTC parameters {"token": "****"} (off)',
        )
    ]


def test_a_slug_that_is_dropped_is_shown() -> None:
    spec = {"cron": "0 1 * * *"}
    have = {"schedules": (Schedule(spec, True, {}, "nightly", "1"),)}
    assert shown({"schedules": (Schedule(spec),)}, have) == [("schedules.slug", "nightly", None)]


def test_triggers_are_shown_in_words() -> None:
    event = {"type": "event", "expect": ["b", "a"]}
    have = Automation("old", {**event, "expect": ["c"]}, enabled=True, tags=(MARK,), id="1")
    rows = shown(
        {"automations": (Automation("new", event, schedule_after=60.0),)}, {"automations": (have,)}
    )
    assert rows == [
        ("triggers[new]", None, "event a b after 1m"),
        ("triggers[old]", "event c", None),
    ]


EVENT = {"type": "event", "expect": ["a"], "match": {"x": "1"}}
BOTH = {"type": "compound", "require": "all", "triggers": [EVENT, {"type": "event"}]}


@pytest.mark.parametrize(
    ("trigger", "changes", "rows"),
    [
        (EVENT, {"trigger": {**EVENT, "match": {"x": "2"}}}, [("trigger.match.x", "1", "2")]),
        (EVENT, {"trigger": {**EVENT, "threshold": 3}}, [("trigger.threshold", "1", "3")]),
        (EVENT, {"description": "why"}, [("description", '""', "why")]),
        (EVENT, {"job_variables": {"cpu": 1}}, [("job_variables.cpu", None, "1")]),
        (
            BOTH,
            {"trigger": {**BOTH, "triggers": [{**EVENT, "expect": ["b"]}, {"type": "event"}]}},
            [("trigger.triggers.0.expect", '["a"]', '["b"]')],
        ),
        (
            EVENT,
            {"trigger": {**EVENT, "expect": ["b"], "match": {"x": "2"}}},
            [("", "event a", "event b"), ("trigger.match.x", "1", "2")],
        ),
    ],
    ids=["match", "threshold", "description", "job variables", "inner", "two things"],
)
def test_of_a_changed_trigger_the_values_that_differ_are_shown(
    trigger: dict[str, Any], changes: dict[str, Any], rows: Rows
) -> None:
    have = Automation("one", trigger, enabled=True, tags=(MARK,), id="1")
    want = replace(have, tags=(), id=None, enabled=None, **changes)
    found = shown({"automations": (want,)}, {"automations": (have,)})
    assert found == [(f"triggers[one].{path}".rstrip("."), *texts) for path, *texts in rows]


def test_a_trigger_that_only_gets_another_mark_says_so() -> None:
    former = "gitflow:former-" + MARK[-8:]
    have = Automation("one", EVENT, enabled=True, tags=(former,), id="1")
    want = replace(have, tags=(), id=None)
    rows = shown({"automations": (want,)}, {"automations": (have,), "tags": (former,)})
    assert ("triggers[one]", "event a, not marked as this source's", "event a, marked") in rows


def test_adopting_says_which_automations_may_go() -> None:
    event = {"type": "event", "expect": ["a"]}
    have = Automation("theirs", event, enabled=True, id="1")
    rows = shown({}, {"tags": (), "automations": (have,)})
    assert ("triggers[theirs]", "event a", "deleted if prefect deploy made it") in rows


SECRETS = {
    "job_variables": {
        "env": {"API_TOKEN": "hunter22", "URL": "https://u:hunter22@host/x"},
        "credentials": {"user": "hunter22", "list": ["hunter22", {"deep": "hunter22"}]},
        "password": "hunter22",
        "api_key": 22222222,
    }
}


@pytest.mark.parametrize("have", [{}, {"job_variables": {"password": "hunter2222"}}])
def test_no_secret_is_in_a_line(have: dict[str, Any]) -> None:
    text = json.dumps(shown(SECRETS, have))
    assert "hunter2" not in text
    assert "22222222" not in text
    assert "****" in text


def test_a_placeholder_for_a_secret_is_shown() -> None:
    place = "{{ prefect.blocks.secret.t }}"
    assert shown({"job_variables": {"token": place}}, {}) == [("job_variables.token", None, place)]


def test_control_characters_and_long_values_do_not_reach_the_terminal() -> None:
    ((_, _, text),) = shown({"description": "a\x1b[31m\n\x9b" + "é" * 500}, {})
    assert text is not None
    assert text.startswith("a\\x1b[31m\\n\\x9bé")
    assert text.isprintable()
    assert len(text) <= 203


def test_creations_and_deletions_show_what_tells_them_apart() -> None:
    item = desired(
        work_pool="p",
        work_queue="q",
        pull_steps=(step("a" * 40),),
        schedules=(Schedule({"cron": "@daily"}),),
        automations=(Automation("one", {"type": "event", "expect": ["a"]}),),
        paused=True,
    )
    (create,) = plan.make([item], [], source_mark=MARK, adopt=False).actions
    outline = [(line.path, line.after) for line in plan.lines(create)]
    assert outline == [
        ("entrypoint", "a.py:f"),
        ("work_pool", "p/q"),
        ("pull_steps[0]", f"{PULL_CODE} commit {'a' * 12}"),
        ("schedules", 'cron "@daily" UTC'),
        ("triggers[one]", "event a"),
        ("paused", "true"),
    ]
    deleted = plan.lines(plan.Delete(replace(item, id="d")))
    assert [(line.path, line.before) for line in deleted] == outline
    assert all(line.after is None for line in deleted)
