"""What Prefect's own model of a prefect.yaml accepts and refuses, and what we do."""

from __future__ import annotations

import asyncio
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gitops_flow import manifest
from gitops_flow.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "name: a\nentrypoint: f.py:g\n"
# Fields of one deployment; the verdict is Prefect's, asked in the test.
FIELDS = [
    "version: '1'", "version: 1", "version: 1.5", "version:", "version: true",
    "version_type: prefect:simple", "version_type: 1",
    "tags: [a, b]", "tags: a", "tags: [1, 2.5]", "tags:", "tags: {a: b}", "tags: 5", "tags: []",
    "description: x", "description:", "description: 5", "description: |\n  a\n  b",
    "paused: true", "paused: 'yes'", "paused: 1", "paused: 2", "paused: maybe", "paused:",
    "flow_name: x", "flow_name: 1", "flow_name:",
    "parameters: {a: 1}", "parameters:", "parameters: []", "parameters: {}", "parameters: x",
    "parameters: {1: a}", "parameters: {a: {1: b}}", "parameters: {a: 2024-01-01}",
    "enforce_parameter_schema: false", "enforce_parameter_schema: 'no'",
    "enforce_parameter_schema: x", "enforce_parameter_schema:",
    "concurrency_limit: 1", "concurrency_limit: '5'", "concurrency_limit: x", "concurrency_limit:",
    "concurrency_limit: 1.0", "concurrency_limit: 1.5", "concurrency_limit: [1]",
    "concurrency_limit: {limit: 1}", "concurrency_limit: {limit: x}",
    "concurrency_limit: {limit: 1, other: 2}", "concurrency_limit: {limit: '3'}",
    "concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW, grace_period_seconds: 60}",
    "work_pool: {name: p}", "work_pool:", "work_pool: p", "work_pool: {}", "work_pool: {other: 1}",
    "work_pool: {name: 1}", "work_pool: {job_variables: null}", "work_pool: {job_variables: []}",
    "work_pool: {job_variables: {a: {b: [1]}}}", "work_pool: {work_queue_name: 5}",
    "schedule: {cron: 0 0 * * *}", "schedule: {}", "schedule:", "schedule: 0 0 * * *",
    "schedule: []", "schedule: {interval: 60}", "schedule: {rrule: FREQ=DAILY}",
    "schedules:", "schedules: []", "schedules: {}", "schedules: [x]", "schedules: [{x: 1}]",
    "schedules: [{cron: 0 0 * * *, timezone: UTC, day_or: false, active: true}]",
    "schedules: [{cron: 0 0 * * *, active: '{{ $X }}'}]",
    "schedules: [{cron: 0 0 * * *, max_active_runs: 1}]",
    "schedules: [{cron: 5}]",
    "schedules: [{interval: 60, anchor_date: '2024-01-01T00:00:00Z'}]",
    "schedules: [{interval: 60, anchor_date: 2024-01-01T00:00:00Z}]",
    "schedules: [{interval: 60, anchor_date: 2024-01-01}]",
    "schedules: [{interval: 60, anchor_date: 2024-01-01T00:00:00Z, slug: a}]",
    "schedules: [{interval: '00:30:00'}]", "schedules: [{interval: PT1H}]",
    "schedules: [{interval: 1.5}]", "schedules: [{interval: x}]", "schedules: [{interval: [1]}]",
    "schedules: [{cron: 0 0 * * *, interval: 60}]",
    "schedules: [{cron: 0 0 * * *, parameters: {a: 1}, slug: s, replaces: t}]",
    "schedules: [{cron: 0 0 * * *, parameters: null}]",
    "schedules: [{cron: 0 0 * * *, slug: 5}]",
    "schedules: [{cron: 0 0 * * *, replaces: 5}]",
    "version_type:", "version_type: '{{ $KIND }}'",
    "triggers: [{expect: [x]}]", "triggers: [{}]", "triggers: {expect: [x]}",
    "triggers: [{enabled: '{{ $ON }}', within: '{{ $SECONDS }}'}]",
    "concurrency_limit: {limit: null}", "concurrency_limit: {}",
    "schedules: [{cron: 0 0 * * *, timezone: 5}]",
    "schedules: [{cron: null, interval: 60}]",
    "pull:", "pull: []", "pull: {}", "pull: [{a.b: {c: 1}}]", "pull: {a.b: {c: 1}}", "pull: x",
    "pull: [x]", "pull: [{}]", "pull: [{a.b: null}]", "pull: 5",
    "build:", "build: []", "build: {}", "build: x", "push:", "push: []", "push: x", "push: [1]",
    "triggers:", "triggers: []", "triggers: x", "triggers: [x]", "sla: []", "sla:", "sla: x",
    "labels: {a: b}", "job_variables: {a: b}", "is_paused: true", "anything: 5",
    "name: 5", "entrypoint: 5",
]  # fmt: skip
# The rest of a file.
FILES = [
    "deployments: []", "deployments:", "deployments: {}", "deployments: x", "deployments: [x]",
    "name: x", "name: 5", "name:", "prefect-version: 3.0.0", "prefect-version: 3.0",
    "prefect-version: 3", "prefect-version:", "pull:", "pull: []", "pull: x", "pull: [x]",
    "pull: {a.b: {c: 1}}", "build:", "build: x", "push: {}", "push: 5",
    "definitions: {a: &x [1]}", "other: 1", "gitflow: {}", "{}",
]  # fmt: skip


@pytest.fixture(scope="module")
def prefect_accepts() -> Callable[[Any], bool]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.cli.deploy._models import PrefectYamlModel
        from pydantic import ValidationError

    def ask(document: Any) -> bool:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                PrefectYamlModel.model_validate(document)
            except ValidationError:
                return False
        return True

    return ask


def refusal(text: str) -> str:
    try:
        manifest.parse(text.encode(), "p.yaml")
    except ManifestError as error:
        return "\n".join(error.lines)
    return ""


@pytest.mark.real
@pytest.mark.parametrize("field", FIELDS)
def test_deployment_field_is_accepted_where_prefect_accepts_it(
    field: str, prefect_accepts: Callable[[Any], bool]
) -> None:
    lines = [line for line in BASE.splitlines() if line.split(":")[0] != field.split(":")[0]]
    body = "\n".join([*lines, field]).replace("\n", "\n  ")
    text = f"deployments:\n- {body}\n"
    assert (refusal(text) == "") == prefect_accepts(yaml.safe_load(text)), refusal(text)


@pytest.mark.real
@pytest.mark.parametrize("text", FILES)
def test_file_is_accepted_where_prefect_accepts_it(
    text: str, prefect_accepts: Callable[[Any], bool]
) -> None:
    assert (refusal(text) == "") == prefect_accepts(yaml.safe_load(text)), refusal(text)


# Accepted by Prefect's model, and failing or lost later on: told at once here.
STRICTER = [
    "concurrency_limit: 0",
    "concurrency_limit: {collision_strategy: other}",
    "schedules: [{}]",
    "schedules: [{schedule: {cron: 0 0 * * *}}]",
    "schedules: [{cron: 0 0 * *}]",
    "schedules: [{cron: 0 0 * * *, timezone: Mars/Olympus}]",
    "schedules: [{interval: 0}]",
    "schedules: [{rrule: x}]",
    "pull: [{a.b: null, c: 1}]",
    "triggers: [{expect: x}]",
    "version_type: vcs:svn",
    "sla: [{name: a, duration: 5}]",
]


@pytest.mark.real
@pytest.mark.parametrize("field", STRICTER)
def test_what_fails_later_in_prefect_is_refused_at_once(
    field: str, prefect_accepts: Callable[[Any], bool]
) -> None:
    text = f"deployments:\n- name: a\n  entrypoint: f.py:g\n  {field}\n"
    assert prefect_accepts(yaml.safe_load(text))
    assert refusal(text)


CRONS = [
    "* * * * *", "*/5 * * * *", "0 9-17 * * mon-fri", "0 0 1,15 * *", "0 0 L * *", "0 0 * * L5",
    "0 0 * * 5#2", "0 0 * jan-mar sun", "30 2 * * 7", "@daily", "@hourly", "@yearly", "@weekly",
    "@midnight", "@annually", "@monthly", "0 0 * * * 30", "*/15 * * * * */10", "0 0 ? * MON",
    "0 22-2 * * *", "0-59/2 * * * *", "0 0 1 1 * 0 2030", "0  0 * * *", "5/10 * * * *",
    "0 0 * * fri#1", "1,2,3-5/2 * * * *",
    "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8", "* * * *",
    "", "x", "@reboot", "@never", "*/0 * * * *", "* * * foo *", "a b c d e", "-1 * * * *",
    "1- * * * *", ", * * * *", "1,,2 * * * *", "* * * * * * * *", "H * * * *", "R * * * *",
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("cron", CRONS)
def test_cron_that_prefect_accepts_is_accepted(cron: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.client.schemas.schedules import CronSchedule
        from pydantic import ValidationError

        try:
            CronSchedule(cron=cron)
            valid = True
        except ValidationError:
            valid = False
    document = {"name": "a", "entrypoint": "f.py:g", "schedules": [{"cron": cron}]}
    text = yaml.safe_dump({"deployments": [document]})
    assert (refusal(text) == "") == valid, refusal(text)


RULES = [
    "FREQ=DAILY", "RRULE:FREQ=DAILY;INTERVAL=2", "freq=daily", "FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=9",
    "DTSTART:20240101T000000\nRRULE:FREQ=DAILY;COUNT=3", "DTSTART;TZID=Europe/Berlin:20240101T000000\nFREQ=DAILY",
    "FREQ=DAILY;UNTIL=20300101T000000", "RDATE:20240101T000000",
    "FREQ=DAILY;UNTIL=20300101T000000Z", "FREQ=DAILY;UNTIL=20300101", "FREQ=DAILY;UNTIL=2030-01-01",
    "FREQ=DAILY;UNTIL=2030-01-01T09:30:00", "FREQ=DAILY;UNTIL=1/31/2030", "FREQ=DAILY;UNTIL=20300101T0930",
    "FREQ=WEEKLY;BYDAY=-1FR,+2TU", "FREQ=MONTHLY;BYDAY=TH(+1)", "FREQ=MONTHLY;BYDAY=2MO",
    "FREQ=MONTHLY;BYWEEKDAY=MO;BYSETPOS=-1", "FREQ=MONTHLY;BYMONTHDAY=-1,15", "FREQ=DAILY;BYMONTHDAY=0",
    "FREQ=YEARLY;BYMONTH=1,7", "FREQ=YEARLY;BYYEARDAY=1,-1", "FREQ=YEARLY;BYWEEKNO=20;WKST=MO",
    "FREQ=YEARLY;BYEASTER=0", "FREQ=DAILY;BYHOUR=0,23;BYMINUTE=0,59;BYSECOND=0,59", "FREQ=DAILY;COUNT=0",
    "FREQ=DAILY;FREQ=WEEKLY", "FREQ=MINUTELY;BYSECOND=30", "DTSTART:20240101T000000Z\nFREQ=DAILY",
    "DTSTART:20240101T000000Z\nRRULE:FREQ=DAILY;UNTIL=20300101T000000Z", "FREQ=DAILY;INTERVAL=+2",
    "DTSTART;VALUE=DATE:20240101\nFREQ=DAILY", "RRULE:FREQ=DAILY\nEXDATE:20240101T000000,20240102T000000",
    "RRULE:FREQ=DAILY\nEXRULE:FREQ=WEEKLY;BYDAY=SA,SU", "RRULE:FREQ=DAILY\nRRULE:FREQ=WEEKLY",
    "RDATE;VALUE=DATE-TIME:20240101T000000,20250101T000000", "FREQ=DAILY EXDATE;VALUE=DATE:20240101",
    "EXRULE:FREQ=DAILY", "EXDATE:20240101T000000", "FREQ=DAILY\n\nRDATE:20240101T000000",
    '{"rrule": "FREQ=WEEKLY;BYDAY=XX"}',
    # Refused by both.
    "INTERVAL=2", "FREQ=NEVER", "FREQ", "x", "FREQ=DAILY;FOO=1", "DTSTART:20240101T000000",
    "FREQ=WEEKLY;BYDAY=XX", "FREQ=WEEKLY;BYDAY=MONDAY", "FREQ=WEEKLY;BYDAY=", "FREQ=WEEKLY;BYDAY=0MO",
    "FREQ=WEEKLY;BYDAY=MO,,TU", "FREQ=WEEKLY;BYDAY=5", "FREQ=MONTHLY;BYDAY=TH()", "FREQ=MONTHLY;BYDAY=TH(X)",
    "FREQ=WEEKLY;BYDAY=+-1MO", "FREQ=DAILY;WKST=XX", "FREQ=DAILY;WKST=1MO", "FREQ=DAILY;COUNT=x",
    "FREQ=DAILY;COUNT=", "FREQ=DAILY;COUNT=1.5", "FREQ=DAILY;INTERVAL=x", "FREQ=DAILY;INTERVAL=1,2",
    "FREQ=DAILY;UNTIL=x", "FREQ=DAILY;UNTIL=", "FREQ=DAILY;UNTIL=20301301", "FREQ=DAILY;UNTIL=20300101T250000",
    "FREQ=DAILY;UNTIL=20300230T000000Z", "FREQ=DAILY;BYMONTH=JAN", "FREQ=DAILY;BYMONTHDAY=L",
    "FREQ=DAILY;BYYEARDAY=", "FREQ=DAILY;BYWEEKNO=x", "FREQ=DAILY;BYHOUR=9,x", "FREQ=DAILY;BYMINUTE=x",
    "FREQ=DAILY;BYSECOND=x", "FREQ=DAILY;BYSETPOS=0", "FREQ=DAILY;BYSETPOS=400", "FREQ=DAILY;BYHOUR=25",
    "FREQ=DAILY;BYMINUTE=60", "FREQ=DAILY;BYSECOND=60", "FREQ=DAILY;", ";FREQ=DAILY", "FREQ=DAILY;COUNT=1=2",
    "FREQ=DAILY; COUNT=1", "RRULE;X=1:FREQ=DAILY", "EXDATE;X=1:20240101T000000\nFREQ=DAILY",
    "RDATE;VALUE=DATE:20240101", "RDATE:x", "RDATE:", "EXDATE:20241301T000000\nFREQ=DAILY",
    "DTSTART:x\nFREQ=DAILY", "DTSTART:20240101,20240102\nFREQ=DAILY", "FOO:BAR\nFREQ=DAILY",
    "EXRULE:COUNT=1\nRRULE:FREQ=DAILY", "RRULE:RRULE:FREQ=DAILY", "", "FREQ=", "FREQ=DAILY,WEEKLY",
    "DTSTART:20240101T000000\nRRULE:FREQ=DAILY;UNTIL=20300101T000000Z",
    "DTSTART:20240101T000000Z\nRRULE:FREQ=DAILY;UNTIL=20300101T000000",
    "DTSTART;TZID=Europe/Berlin:20240101T000000\nRRULE:FREQ=DAILY;UNTIL=20300101T000000",
]  # fmt: skip


def rrule_accepts(rule: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.client.schemas.schedules import RRuleSchedule

        if rule.startswith("{"):
            rule = yaml.safe_load(rule)["rrule"]
        try:
            RRuleSchedule(rrule=rule)
        except Exception:  # noqa: BLE001 - it lets errors of its parser through
            return False
        return True


def rule_refusal(rule: str) -> str:
    document = {"name": "a", "entrypoint": "f.py:g", "schedules": [{"rrule": rule}]}
    return refusal(yaml.safe_dump({"deployments": [document]}))


@pytest.mark.real
@pytest.mark.parametrize("rule", RULES)
def test_rule_that_prefect_accepts_is_accepted(rule: str) -> None:
    assert (rule_refusal(rule) == "") == rrule_accepts(rule), rule_refusal(rule)


# Its model takes them, and its scheduler looks for such a moment without end, or fails.
NEVER = [
    "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;BYMONTH=13", "FREQ=DAILY;BYMONTH=0",
    "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=YEARLY;BYYEARDAY=400", "FREQ=YEARLY;BYWEEKNO=54",
    "FREQ=HOURLY;BYHOUR=25", "FREQ=MINUTELY;BYMINUTE=60",
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("rule", NEVER)
def test_rule_that_prefect_accepts_and_never_runs_is_refused(rule: str) -> None:
    assert rrule_accepts(rule)
    assert re.search(r"is (not|below) ", rule_refusal(rule))


FAR_DAYS = [
    "0 0 30 2 *", "0 0 31 2 1", "0 0 31 4,6,9,11 *", "0 0 30-31 feb *", "0 0 31 2-6/2 *",
    "0 0 31 apr *", "0 0 30/2 2 *", "0 0 29 2 *", "0 0 31-1 2 *", "0 0 31 4/2 *", "0 0 31 11-2 *",
    "0 0 31 */2 *", "0 0 31 2-6/3 *", "0 0 L 2 *", "0 0 1,31 2 *", "0 0 31 * *", "0 0 31 6-4 *",
    "0 0 ? 2 *", "0 0 */31 2 *",
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("cron", FAR_DAYS)
def test_cron_is_refused_exactly_when_prefects_scheduler_finds_no_such_day(cron: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.server.schemas.schedules import CronSchedule

        asked = CronSchedule(cron=cron).get_dates(n=1)
        try:
            comes = bool(asyncio.run(asked))
        except Exception:  # noqa: BLE001 - the croniter inside has errors of its own
            comes = False
    document = {"name": "a", "entrypoint": "f.py:g", "schedules": [{"cron": cron}]}
    told = refusal(yaml.safe_dump({"deployments": [document]}))
    assert ("never comes" in told) == (not comes), told
