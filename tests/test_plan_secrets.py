"""No secret is in what a plan shows, wherever a placeholder or a hand has put it."""

from __future__ import annotations

import datetime
import json
from dataclasses import fields, replace

import pytest

from gitops_flow import plan
from gitops_flow.deploy.request import Preview
from gitops_flow.model import (
    Automation,
    Deployment,
    Json,
    Provenance,
    Schedule,
    Snapshot,
    Source,
)
from gitops_flow.plan.words import value_text
from gitops_flow.report import markdown
from gitops_flow.report import plan as report
from tests.support.commands import again
from tests.support.manifests import resolve

BASE = "deployments:\n- name: a\n  entrypoint: f.py:g\n  work_pool: {name: p%s}\n"
ALLOW = "gitflow: {allow_stored_secrets: ['*']}\n"
TOKEN = {"secret/tok": {"value": "new-secret"}}
BLOCK = "'{{ prefect.blocks.secret.tok }}'"


def shown(desired: Deployment, **live: Json) -> dict[str, tuple[str | None, str | None]]:
    """What a plan shows of an update from ``desired`` with ``live`` in its place."""
    before = replace(desired, id="1", secrets=(), secret_fields=(), work_queue="default", **live)
    mark = "gitflow:s-00000000"
    made = plan.make(
        [desired], [replace(before, tags=(*before.tags, mark))], source_mark=mark, adopt=True
    )
    return {line.path: (line.before, line.after) for line in plan.lines(made.actions[0])}


def desired(text: str, **given: Json) -> Deployment:
    [found], _ = resolve(text, **given)
    return found


def test_a_parameter_from_a_block_is_masked_before_and_after() -> None:
    item = desired(BASE % "" + f"  parameters: {{who: {BLOCK}, times: 2}}\n", blocks=TOKEN)
    lines = shown(item, parameters={"who": "old-secret", "times": 1})
    assert lines == {"parameters.who": ("****", "****"), "parameters.times": ("1", "2")}


def test_a_block_deep_in_a_parameter_that_was_plain_before_is_masked() -> None:
    item = desired(BASE % "" + f"  parameters: {{db: {{url: {BLOCK}}}}}\n", blocks=TOKEN)
    assert shown(item, parameters={"db": "old-secret"}) == {"parameters.db": ("****", "****")}


@pytest.mark.parametrize("line", ["description", "version"])
def test_a_text_from_a_block_is_masked_before_and_after(line: str) -> None:
    item = desired(BASE % "" + f"  {line}: 'x {BLOCK[1:-1]}'\n", blocks=TOKEN)
    assert shown(item, **{line: "x old-secret"})[line] == ("****", "****")


def test_tags_from_a_block_are_masked() -> None:
    item = desired(BASE % "" + f"  tags: [{BLOCK}]\n", blocks=TOKEN)
    assert shown(item, tags=("old-secret",))["tags"] == ("****", "****")


def test_parameters_of_a_schedule_from_a_block_are_masked() -> None:
    text = BASE % "" + f"  schedules: [{{cron: '0 1 * * *', parameters: {{p: {BLOCK}}}}}]\n"
    item = desired(text, blocks=TOKEN)
    assert set(shown(item, schedules=())) == {"schedules"}
    assert "secret" not in str(shown(item, schedules=()))


def test_a_value_under_a_secret_key_is_masked_under_any_other_key() -> None:
    jobs = ", job_variables: {env: {DB_PASSWORD: '{{ $V }}', PLAIN: 'x={{ $V }}'}}"
    item = desired(ALLOW + BASE % jobs, env={"V": "new-secret"})
    before = {"env": {"DB_PASSWORD": "old-secret", "PLAIN": "x=old-secret"}}
    assert shown(item, job_variables=before) == {
        "job_variables.env.DB_PASSWORD": ("****", "****"),
        "job_variables.env.PLAIN": ("x=****", "x=****"),
    }


def test_a_variable_named_like_a_secret_is_masked_in_a_pull_step() -> None:
    text = ALLOW + "pull:\n- a.run: {script: 'echo {{ $PGPASS }}'}\n" + BASE % ""
    item = desired(text, env={"PGPASS": "new-secret"})
    made = plan.make([item], [], source_mark="gitflow:s-00000000", adopt=False)
    assert "new-secret" not in str(plan.lines(made.actions[0]))


def test_a_placeholder_is_shown_for_it_is_no_secret() -> None:
    item = desired(BASE % f", job_variables: {{env: {{TOKEN: {BLOCK}}}}}")
    assert shown(item, job_variables={}) == {
        "job_variables.env.TOKEN": (None, "{{ prefect.blocks.secret.tok }}")
    }


MARK = "gitflow:s-00000000"
# Under a key that says so, deep below one, and elsewhere once it is known from there.
HELD = {
    "password": "LIT-shared",
    "d": {"api_key": "LIT-deep"},
    "credentials": [{"x": "LIT-list"}, ["LIT-list"]],
    "quoted_token": 'LIT"quote\n',
    "plain": 'LIT-shared and LIT-deep, LIT"quote\n',
}
EMPTY = Deployment(
    "etl", "prod", "a.py:f", tags=(MARK,), work_pool="p", work_queue="default", paused=False
)
SECRET = Deployment(
    "etl",
    "prod",
    "LIT-shared.py:f",
    path="/LIT-shared",
    description="with LIT-shared",
    version="LIT-shared",
    tags=(MARK, "x-LIT-shared"),
    parameters=HELD,
    parameter_schema={"properties": {"password": {"default": "LIT-schema"}}},
    enforce_parameter_schema=False,
    work_pool="LIT-shared",
    work_queue="LIT-shared",
    job_variables={"env": HELD},
    schedules=(
        Schedule({"cron": "0 1 * * *"}, True, HELD, "nightly", "1"),
        Schedule({"cron": "0 2 * * *"}, True, {"d": HELD}, None, "2"),
    ),
    paused=True,
    concurrency_limit=3,
    concurrency_options={"password": "LIT-options"},
    pull_steps=({"a.step": HELD}, {"b.step": {"list": [HELD]}}),
    automations=(
        Automation(
            "after",
            {"type": "event", "expect": ["LIT-shared"], "match": HELD},
            parameters=HELD,
            job_variables={"env": HELD},
            tags=(MARK,),
            id="3",
        ),
    ),
    id="d",
    flow_id="f",
)
# What says who it is, or is the plan's own.
KEPT = ("flow_name", "name", "id", "flow_id", "where", "ignored", "unknown")
KEPT += ("secret_fields", "secrets", "version_is_ours", "limit_is_shared")


def everything_shown(made: plan.Plan) -> str:
    snap = Snapshot("c" * 40, "t" * 40, Provenance("s", None, False, "A <a@b>"))
    drift = {
        each.full_name: plan.drift(each.desired, each.live)
        for each in made.actions
        if isinstance(each, plan.Update)
    }
    preview = Preview(Source("s", "i", "m"), snap, "u", "b", made, (), 1, (), (), (), drift)
    told = [*report.text(preview, again("plan")), *markdown.plan(preview, "server")]
    told.append(json.dumps(report.document(preview), ensure_ascii=False))
    for each in made.actions:
        for change in each.changes if isinstance(each, plan.Update) else ():
            # Nothing but JSON is in a change: what is in it can be looked through.
            json.dumps([change.before, change.after])
    return "\n".join(told)


@pytest.mark.parametrize("built", [False, True], ids=["known", "known-after-build"])
@pytest.mark.parametrize(
    "field", [each.name for each in fields(Deployment) if each.name not in KEPT]
)
def test_no_secret_that_is_live_in_any_field_is_shown_in_any_format(
    field: str, *, built: bool
) -> None:
    # What is secret is told by the parameters, wherever else it is.
    base = replace(EMPTY, parameters=HELD)
    live = replace(base, **{field: getattr(SECRET, field)}, id="d", flow_id="f")
    wanted = replace(base, unknown=(field,) if built else ())
    made = plan.make(
        [wanted], [live], source_mark=MARK, adopt=False, automations={"d": live.automations}
    )
    told = everything_shown(made)
    assert "LIT" not in told
    assert "Schedule(" not in told
    assert "Automation(" not in told
    assert not built or "known after build" in told


@pytest.mark.parametrize("field", ["schedules", "automations", "job_variables", "pull_steps"])
def test_what_one_part_names_a_secret_is_masked_in_all_others(field: str) -> None:
    live = replace(EMPTY, description="LIT-shared", **{field: getattr(SECRET, field)}, id="d")
    (line, *_) = plan.lines(plan.Delete(live))[1:]
    assert (line.path, line.before) == ("description", "****")


def test_schedules_and_triggers_known_after_build_read_as_those_that_are_known() -> None:
    wanted = replace(EMPTY, unknown=("schedules", "automations", "pull_steps", "tags"))
    live = replace(SECRET, tags=(MARK, "a", "b"))
    made = plan.make([wanted], [live], source_mark=MARK, adopt=False, automations=None)
    (update,) = made.actions
    lines = {line.path: line for line in plan.lines(update)}
    held = (
        '{"password": "****", "d": {"api_key": "****"}, "credentials": [{"x": "****"}, ["****"]],'
        ' "quoted_token": "****", "plain": "**** and ****, ****"}'
    )
    later = "known after build"
    assert lines["schedules[nightly]"].before == f'cron "0 1 * * *" UTC parameters {held}'
    assert lines["triggers[after]"].before == f"event **** parameters {held}"
    assert lines["pull_steps[0]"].before == f"a.step {held}"
    assert lines["tags"].before == "a, b"
    assert {lines[name].after for name in ("tags", "schedules", "pull_steps[0]")} == {later}
    assert "triggers" in update.fields


def test_a_secret_at_the_end_of_what_is_shown_of_a_long_value_is_masked_whole() -> None:
    text = "x" * 190 + " LIT-a-long-secret"
    live = replace(EMPTY, parameters={"token": "LIT-a-long-secret"}, description=text, id="d")
    (line, *_) = plan.lines(plan.Delete(live))[1:]
    assert line.before == "x" * 190 + " ****"


def test_where_no_schedule_is_yet_only_that_it_is_known_after_build_is_shown() -> None:
    live = replace(EMPTY, id="d")
    made = plan.make(
        [replace(EMPTY, unknown=("automations",))], [live], source_mark=MARK, adopt=False
    )
    (line,) = plan.lines(made.actions[0])
    assert (line.path, line.before, line.after) == ("triggers", None, "known after build")


def test_a_value_that_json_has_no_word_for_is_not_shown_by_its_repr() -> None:
    assert value_text({"x": Schedule({}, parameters={"password": "LIT"})}) == '{"x": "<Schedule>"}'
    assert value_text([datetime.date(2026, 1, 2)]) == '["2026-01-02"]'


def test_a_schedule_that_is_left_switched_off_is_named_without_its_parameters() -> None:
    schedule = Schedule({"cron": "0 1 * * *"}, True, {"p": "LIT"}, None, "1")
    live = replace(EMPTY, schedules=(replace(schedule, active=False),))
    wanted = replace(EMPTY, schedules=(replace(schedule, active=None),))
    (change,) = plan.drift(wanted, live)
    assert change.field == 'schedules[cron "0 1 * * *" UTC].active'
