"""Plans carried out on a real Prefect server."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gitops_flow import apply, plan, prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import Deployment, PrefectConnection, Schedule
from gitops_flow.pin import PULL_CODE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.prefect import SharedServer

pytestmark = pytest.mark.real

# Anchored in the past: one that is anchored now can fall due between two lines of a test.
HOURLY = {"interval": 3600, "anchor_date": "2026-01-01T00:30:00Z"}
EVERY_MINUTE = {"cron": "* * * * *"}
SCHEMA = {
    "title": "Parameters",
    "type": "object",
    "properties": {"n": {"title": "n", "position": 0, "type": "integer", "default": 1}},
}


class Case:
    """One test's corner of the shared server: its flow, its mark, its pool."""

    def __init__(self, server: SharedServer, namespace: str) -> None:
        self.server = server
        self.flow = namespace
        self.mark = f"gitflow:{namespace}-0123abcd"
        self.client = prefect.Client(PrefectConnection(server.api_url))
        self.sent: list[tuple[str, str]] = []

    def desired(self, name: str = "d", **changes: Any) -> Deployment:
        base = Deployment(
            flow_name=self.flow,
            name=name,
            entrypoint="flows.py:f",
            tags=(self.mark,),
            parameter_schema=SCHEMA,
        )
        return replace(base, **changes)

    def live(self, desired: Sequence[Deployment]) -> list[Deployment]:
        names = [(item.flow_name, item.name) for item in desired]
        return prefect.live(self.client, names=names, mark=self.mark)

    def plan(self, *desired: Deployment, adopt: bool = False) -> plan.Plan:
        return plan.make(desired, self.live(desired), source_mark=self.mark, adopt=adopt)

    def deploy(self, *desired: Deployment, **options: Any) -> list[apply.Result]:
        """Apply, and prove that the server then has exactly what was asked for."""
        results = apply.execute(self.client, self.plan(*desired), **options)
        assert [result.error for result in results] == [None] * len(results)
        again = self.plan(*desired)
        assert not again.writes, list(again.writes)
        return results

    def raw(self, name: str = "d") -> dict[str, Any]:
        found = self.server.call("GET", f"/deployments/name/{self.flow}/{name}")
        assert isinstance(found, dict)
        return found

    def runs(self, deployment_id: str) -> list[dict[str, Any]]:
        body = {"flow_runs": {"deployment_id": {"any_": [deployment_id]}}, "limit": 200}
        found = self.server.call("POST", "/flow_runs/filter", body)
        assert isinstance(found, list)
        return found

    def starts(self, deployment_id: str) -> list[str]:
        return sorted(run["expected_start_time"] for run in self.runs(deployment_id))

    def schedule(self, deployment_id: str, **body: Any) -> None:
        self.server.call("POST", f"/deployments/{deployment_id}/schedule", body)


@pytest.fixture
def case(prefect_server: SharedServer, namespace: str) -> Iterator[Case]:
    made = Case(prefect_server, namespace)
    with made.client:
        yield made


@pytest.fixture
def pool(case: Case) -> str:
    name = f"{case.flow}-pool"
    prefect.create_work_pool(case.client, name)
    return name


def wide(case: Case, pool: str) -> list[Deployment]:
    """Deployments with every field in every shape that a manifest can ask for."""
    step = {"repository": "r", "commit": "a" * 40, "requires": "gitops-flow", "source": {"a": 1}}
    shapes: list[dict[str, Any]] = [
        {},
        {"description": "", "version": "v1", "path": "/opt/x"},
        {"description": "ünïcödé\n two", "tags": ("b", "a", case.mark)},
        {"parameters": {"n": 2}, "enforce_parameter_schema": True},
        {
            "parameters": {"x": [1, 1.0, True, None, {"ü": "ö"}], "big": 2**53 + 1, "f": 1e22},
            "enforce_parameter_schema": False,
        },
        {"parameter_schema": None},
        {"work_pool": pool},
        {"work_pool": pool, "work_queue": "hot"},
        {"work_pool": pool, "job_variables": {"env": {"A": "1"}, "working_dir": "/tmp"}},
        {"paused": True},
        {"paused": False},
        {"concurrency_limit": 3},
        {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": "CANCEL_NEW"}},
        {"pull_steps": ({PULL_CODE: step}, {"other": {"id": "x", "text": "{{ a.b }}"}})},
        {"pull_steps": ()},
    ]
    specs: list[dict[str, Any]] = [
        {"cron": "0  0 * * *"},
        {"cron": "@daily", "timezone": "Europe/Berlin", "day_or": False},
        {"interval": 3600},
        {"interval": 0.5 * 3600, "anchor_date": "2026-01-01T00:00:00", "timezone": "Asia/Tokyo"},
        {"interval": 600, "anchor_date": "2026-01-01T00:00:00-03:00"},
        {"interval": 601, "anchor_date": "2026-01-01T00:00:00.123456Z"},
        {"rrule": "FREQ=DAILY;BYHOUR=9"},
        {"rrule": "FREQ=MINUTELY;INTERVAL=7", "timezone": "America/New_York"},
        {"rrule": "DTSTART:20260101T000000\nRRULE:FREQ=WEEKLY;BYDAY=MO,FR"},
    ]
    shapes += [{"schedules": (Schedule(spec),)} for spec in specs]
    shapes.append({"schedules": tuple(Schedule(spec) for spec in specs)})
    shapes.append(
        {
            "schedules": (
                Schedule(EVERY_MINUTE, slug="a", active=False),
                Schedule(EVERY_MINUTE, slug="b", parameters={"n": 5}),
            )
        }
    )
    return [case.desired(f"d{number}", **shape) for number, shape in enumerate(shapes)]


def test_the_plan_right_after_an_apply_is_empty_for_every_shape(case: Case, pool: str) -> None:
    results = case.deploy(*wide(case, pool))
    assert {result.status for result in results} == {"created"}
    before = case.client.requests
    again = apply.execute(case.client, case.plan(*wide(case, pool)))
    assert {result.status for result in again} == {"unchanged"}
    assert case.client.requests - before == 1, "one listing, and nothing is written"


def test_any_shape_can_become_any_other(case: Case, pool: str) -> None:
    shapes = wide(case, pool)
    steps = [replace(shape, name="d") for shape in (*shapes, *shapes[::-3], *shapes[::4])]
    for step in steps:
        if list(plan.unsupported(case.plan(step).actions, case.client.lacking)):
            # A deploy refuses to ask that of an old server, and says that this helps.
            prefect.delete(case.client, case.raw()["id"])
        case.deploy(step)


def test_an_option_of_a_concurrency_limit_that_is_dropped_is_gone_from_the_server(
    case: Case,
) -> None:
    if not case.client.can("grace_period_seconds"):
        pytest.skip("this server has no grace_period_seconds")
    both = {"collision_strategy": "CANCEL_NEW", "grace_period_seconds": 90}
    case.deploy(case.desired(concurrency_limit=1, concurrency_options=both))
    one = {"collision_strategy": "CANCEL_NEW"}
    (result,) = case.deploy(case.desired(concurrency_limit=1, concurrency_options=one))
    assert result.changed == ("concurrency_options",)
    assert case.raw()["concurrency_options"] == {**one, "grace_period_seconds": None}


def test_only_what_differs_is_sent(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.deploy(case.desired(paused=True))
    sent = []
    patch = case.client.patch
    monkeypatch.setattr(
        case.client, "patch", lambda path, body: (sent.append(body), patch(path, body))
    )
    result = case.deploy(case.desired(paused=True, description="new"))[0]
    assert sent == [{"description": "new"}]
    assert (result.status, result.changed) == ("updated", ("description",))


def test_pool_and_job_variables_are_checked_by_the_server(case: Case, pool: str) -> None:
    case.deploy(case.desired(work_pool=pool))
    wrong = case.desired(work_pool=pool, job_variables={"stream_output": {"PASSWORD": "hunter22"}})
    result = apply.execute(case.client, case.plan(wrong))[0]
    assert result.status == "failed"
    assert isinstance(result.error, ApiError)
    assert case.raw()["job_variables"] == {}


def test_a_slug_that_is_dropped_is_gone_and_no_run_is_lost(case: Case) -> None:
    others = Schedule({"cron": "*/2 * * * *"}, slug="other")
    (made,) = case.deploy(case.desired(schedules=(Schedule(EVERY_MINUTE, slug="a"), others)))
    assert made.id is not None
    past = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    case.schedule(made.id, start_time=past, min_runs=6)
    before = case.starts(made.id)
    (result,) = case.deploy(case.desired(schedules=(Schedule(EVERY_MINUTE), others)))
    assert result.changed == ("schedules",)
    assert sorted(str(item["slug"]) for item in case.raw()["schedules"]) == ["None", "other"]
    assert set(before) <= set(case.starts(made.id))
    assert case.starts(made.id).count(before[0]) == before.count(before[0])


@pytest.mark.parametrize("renamed", [False, True], ids=["times", "replaces"])
def test_two_schedules_swap_their_slugs_in_one_deploy(case: Case, renamed: bool) -> None:
    one, two = {"cron": "0 1 * * *"}, {"interval": 3600.0}
    case.deploy(case.desired(schedules=(Schedule(one, slug="a"), Schedule(two, slug="b"))))
    swapped = (
        Schedule(one, slug="b", replaces="a" if renamed else None),
        Schedule(two, slug="a", replaces="b" if renamed else None),
    )
    case.deploy(case.desired(schedules=swapped))
    found = {item["slug"]: "cron" in item["schedule"] for item in case.raw()["schedules"]}
    assert found == {"a": False, "b": True}


def test_schedules_keep_their_ids_while_anything_else_changes(case: Case) -> None:
    first = case.desired(schedules=(Schedule(EVERY_MINUTE), Schedule({"interval": 3600})))
    case.deploy(first)
    before = {item["id"]: item["schedule"] for item in case.raw()["schedules"]}
    case.deploy(replace(first, description="x", tags=(case.mark, "new")))
    assert {item["id"]: item["schedule"] for item in case.raw()["schedules"]} == before


def test_a_changed_schedule_keeps_its_id_and_the_others_are_not_touched(case: Case) -> None:
    hourly = Schedule({"interval": 3600})
    case.deploy(case.desired(schedules=(Schedule(EVERY_MINUTE), hourly)))
    before = {item["id"]: item for item in case.raw()["schedules"]}
    case.deploy(case.desired(schedules=(Schedule({"cron": "5 * * * *"}), hourly)))
    after = {item["id"]: item for item in case.raw()["schedules"]}
    assert after.keys() == before.keys()
    kept = [key for key in before if "interval" in before[key]["schedule"]]
    assert after[kept[0]] == before[kept[0]]


def test_runs_that_a_write_deletes_are_back_at_once(case: Case) -> None:
    desired = case.desired(schedules=(Schedule(EVERY_MINUTE), Schedule(HOURLY)))
    made = case.deploy(desired)[0].id
    assert made is not None
    case.schedule(made)
    before = case.starts(made)
    assert len(before) > 3
    result = apply.execute(case.client, case.plan(replace(desired, description="new")))[0]
    # A run that came due in between is gone from neither list.
    assert set(before) <= set(case.starts(made))
    assert result.runs_restored >= len(before) - 1


def test_nothing_is_made_twice_by_putting_runs_back(case: Case) -> None:
    desired = case.desired(schedules=(Schedule(EVERY_MINUTE),))
    made = case.deploy(desired)[0].id
    assert made is not None
    for number in range(3):
        apply.execute(case.client, case.plan(replace(desired, description=str(number))))
    time.sleep(7)  # One round of the server's own scheduler.
    starts = case.starts(made)
    assert len(starts) == len(set(starts)) > 0


def test_a_run_that_falls_due_during_a_write_is_not_lost(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = {"interval": 1, "anchor_date": "2026-01-01T00:00:00Z"}
    made = case.deploy(case.desired(schedules=(Schedule(second),)))[0].id
    assert made is not None
    case.schedule(made, min_runs=60, max_runs=60)
    before = set(case.starts(made))
    write = prefect.patch

    def slow(*arguments: Any) -> None:
        write(*arguments)
        time.sleep(5)  # Runs fall due between being deleted and being put back.

    monkeypatch.setattr(prefect, "patch", slow)
    case.deploy(case.desired(schedules=(Schedule(second),), description="new"))
    end = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    assert {start for start in before if start < end} <= set(case.starts(made))


def late_by_hours(case: Case, deployment_id: str | None, *hours: int) -> list[datetime]:
    """Make runs for times that are past; their starts."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    starts = [hour - timedelta(hours=each) for each in sorted(hours, reverse=True)]
    for start in starts:
        case.schedule(str(deployment_id), start_time=start.isoformat(), end_time=start.isoformat())
    assert late(case, deployment_id) == starts
    return starts


def late(case: Case, deployment_id: str | None) -> list[datetime]:
    starts = [datetime.fromisoformat(start) for start in case.starts(str(deployment_id))]
    return [start for start in starts if start < datetime.now(UTC) - timedelta(hours=1)]


def test_late_runs_survive_the_removal_of_another_schedule(case: Case) -> None:
    kept = Schedule({"cron": "0 * * * *"})
    gone = Schedule({"interval": 1800, "anchor_date": "2026-01-01T00:10:00Z"})
    made = case.deploy(case.desired(schedules=(kept, gone)))[0].id
    wanted = late_by_hours(case, made, 5, 2)
    changed = Schedule({"cron": "0 */2 * * *"})
    if not case.client.can("late runs survive writes"):
        # What the times of the schedule are now is all that can be made again.
        changed = replace(kept, parameters={"n": 2})
    case.deploy(case.desired(schedules=(changed,)))
    assert late(case, made) == wanted, "neither lost nor joined by runs that never were"


def test_late_runs_survive_a_change_of_the_deployment_and_of_their_schedule(case: Case) -> None:
    made = case.deploy(case.desired(schedules=(Schedule({"cron": "0 * * * *"}),)))[0].id
    wanted = late_by_hours(case, made, 4, 3)
    again = Schedule({"cron": "0 * * * *"}, parameters={"n": 3})
    case.deploy(case.desired(description="new", schedules=(again,)))
    assert late(case, made) == wanted


def test_a_changed_schedule_gets_no_runs_for_the_past(case: Case) -> None:
    made = case.deploy(case.desired(schedules=(Schedule({"cron": "0 0 1 1 *"}),)))[0].id
    assert made is not None
    written = datetime.now(UTC)
    every_second = {"interval": 1, "anchor_date": "2026-01-01T00:00:00Z"}
    case.deploy(case.desired(schedules=(Schedule(every_second), Schedule({"cron": "0 0 1 1 *"}))))
    starts = [datetime.fromisoformat(start) for start in case.starts(made)]
    assert min(starts) >= written - timedelta(seconds=1)
    assert len([start for start in starts if start < written + timedelta(minutes=1)]) > 3


def test_a_paused_deployment_gets_no_runs_back(case: Case) -> None:
    desired = case.desired(schedules=(Schedule(EVERY_MINUTE),))
    made = case.deploy(desired)[0].id
    assert made is not None
    case.schedule(made)
    case.deploy(replace(desired, paused=True))
    assert case.starts(made) == []
    case.deploy(replace(desired, description="still paused"))
    assert case.raw()["paused"]
    assert case.starts(made) == []


def test_runs_are_put_back_even_when_a_later_write_fails(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = case.desired(schedules=(Schedule(EVERY_MINUTE), Schedule(HOURLY)))
    made = case.deploy(desired)[0].id
    assert made is not None
    case.schedule(made)
    before = set(case.starts(made))

    def fails(*_: Any) -> None:
        raise ApiError("no")

    monkeypatch.setattr(prefect, "change_schedule", fails)
    changed = replace(
        desired, description="x", schedules=(Schedule(EVERY_MINUTE), Schedule({"interval": 60}))
    )
    result = apply.execute(case.client, case.plan(changed))[0]
    assert (result.status, str(result.error)) == ("failed", "no")
    assert before <= set(case.starts(made))


def test_one_failure_leaves_the_others_and_the_order_as_they_are(case: Case) -> None:
    bad = case.desired("b", parameters={"n": "no number"})
    wanted = [case.desired("c"), bad, case.desired("a")]
    told: list[apply.Result] = []
    results = apply.execute(case.client, case.plan(*wanted), on_result=told.append)
    assert [result.status for result in results] == ["created", "failed", "created"]
    assert told == results
    assert results[1].full_name == f"{case.flow}/b"


def test_fail_fast_ends_at_the_first_failure(case: Case) -> None:
    wanted = [case.desired("b", parameters={"n": "no"}), case.desired("a")]
    results = apply.execute(case.client, case.plan(*wanted), fail_fast=True)
    assert [result.status for result in results] == ["failed"]


def test_another_sources_deployment_is_refused_and_not_written(case: Case) -> None:
    other = f"gitflow:{case.flow}-ffffffff"
    case.deploy(case.desired())
    stolen = replace(case.desired(description="mine"), tags=(other,))
    made = plan.make([stolen], case.live([stolen]), source_mark=other, adopt=False)
    before = case.client.requests
    result = apply.execute(case.client, made)[0]
    assert result.status == "refused"
    assert "‹adopt›" in str(result.error)
    assert case.client.requests == before


def test_what_prefect_deployed_before_is_adopted_with_its_id(case: Case) -> None:
    flow_id = prefect.ensure_flow(case.client, case.flow)
    unmarked = replace(case.desired(), tags=("by-hand",))
    made = prefect.create(case.client, unmarked, flow_id)
    result = case.deploy(case.desired())[0]
    assert (result.adopted, result.id, result.status) == (True, made, "updated")
    assert case.raw()["tags"] == [case.mark]


def shared_limit(case: Case, *names: str) -> str:
    if case.client.version and case.client.version < (3, 3, 6):
        pytest.skip("on this server no limit can be shared")
    limit = case.server.call(
        "POST", "/v2/concurrency_limits/", {"name": f"{case.flow}-shared", "limit": 5}
    )
    for name in names:
        path = f"/deployments/{case.raw(name)['id']}"
        case.client.patch(path, {"global_concurrency_limit_id": limit["id"]})
    return str(limit["id"])


@pytest.mark.parametrize("wanted", [None, 2])
def test_a_shared_limit_is_left_and_not_destroyed(case: Case, wanted: int | None) -> None:
    case.deploy(case.desired("a"), case.desired("b"))
    limit = shared_limit(case, "a", "b")
    case.deploy(case.desired("a", concurrency_limit=wanted))
    assert case.server.call("GET", f"/v2/concurrency_limits/{limit}")["limit"] == 5
    own = case.raw("a")["global_concurrency_limit"]
    assert (own and own["limit"]) == wanted
    assert case.raw("b")["global_concurrency_limit"]["id"] == limit


def test_a_limit_of_its_own_that_is_left_over_is_taken_again(case: Case) -> None:
    case.deploy(case.desired("a", concurrency_limit=2))
    own = case.raw("a")["global_concurrency_limit"]["id"]
    limit = shared_limit(case, "a")
    (result,) = case.deploy(case.desired("a", concurrency_limit=3))
    assert result.error is None
    found = case.raw("a")["global_concurrency_limit"]
    assert (found["id"], found["limit"]) == (own, 3)
    assert case.server.call("GET", f"/v2/concurrency_limits/{limit}")["limit"] == 5
    assert case.deploy(case.desired("a", concurrency_limit=3))[0].status == "unchanged"


def test_many_new_deployments_cost_one_request_each_and_little_more(case: Case) -> None:
    wanted = [case.desired(f"d{number}") for number in range(12)]
    made = case.plan(*wanted)
    before = case.client.requests
    statuses = {result.status for result in apply.execute(case.client, made)}
    assert statuses == {"created"}
    # One for the flow; a busy SQLite may cost some repeats.
    assert case.client.requests - before >= 13
    assert case.client.requests - before <= 13 + 6
