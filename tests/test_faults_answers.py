"""Answers that are no answers of Prefect's, to every request and at any moment."""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_flow import apply, pin, plan, prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import Automation, Deployment, PrefectConnection, Schedule
from tests.support.script import Script

MARK = "gitflow:etl-0123abcd"
EVENT = {"type": "event", "expect": ["a"]}
CRON = Schedule({"cron": "0 1 * * *"}, True, {}, None, "s1")
LIVE = Deployment("etl", "d", "a.py:f", tags=(MARK,), id="d1", schedules=(CRON,))
AUTOMATION = Automation("after", EVENT)

# Every function that asks the server, and the version; see test_every_function_is_asked.
CALLS: dict[str, Callable[[prefect.Client], Any]] = {
    "add_schedules": lambda c: prefect.add_schedules(c, "d", [CRON], ["s"]),
    "block_names": prefect.block_names,
    "blocks": lambda c: prefect.blocks(c, [("secret", "x")]),
    "cancel_waiting": lambda c: prefect.cancel_waiting(c, "d", "why"),
    "change_schedule": lambda c: prefect.change_schedule(c, "d", "s", {}),
    "create": lambda c: prefect.create(c, LIVE, "f"),
    "create_automation": lambda c: prefect.create_automation(c, "d", AUTOMATION, (MARK,)),
    "create_work_pool": lambda c: prefect.create_work_pool(c, "p"),
    "delete": lambda c: prefect.delete(c, "d"),
    "delete_automation": lambda c: prefect.delete_automation(c, "a"),
    "delete_owned_automations": lambda c: prefect.delete_owned_automations(c, "d"),
    "delete_variable": lambda c: prefect.delete_variable(c, "x"),
    "delete_schedule": lambda c: prefect.delete_schedule(c, "d", "s"),
    "ensure_flow": lambda c: prefect.ensure_flow(c, "etl"),
    "existing_blocks": lambda c: prefect.existing_blocks(c, [("secret", "x")]),
    "fingerprints": lambda c: prefect.fingerprints(c, {MARK: "gitflow_x"}),
    "know_flows": lambda c: prefect.know_flows(c, ["a", "b"]),
    "labels_of_begun": prefect.labels_of_begun,
    "late_runs": lambda c: prefect.late_runs(c, ["d"]),
    "live": lambda c: plan.make([LIVE], prefect.live(c, names=None, mark=None), **OPTIONS),
    "live_automations": lambda c: plan.make(
        [replace(LIVE, automations=(AUTOMATION,))],
        [LIVE],
        automations=prefect.live_automations(c, MARK, unmarked=["d"]),
        **OPTIONS,
    ),
    "own_limit": lambda c: prefect.own_limit(c, "d"),
    "patch": lambda c: prefect.patch(c, "d", {}),
    "pointers": prefect.pointers,
    "pool_variables": lambda c: prefect.pool_variables(c, ["p"]),
    "put_back": lambda c: prefect.put_back(c, "d"),
    "queue_names": lambda c: prefect.queue_names(c, "p"),
    "replace_automation": lambda c: prefect.replace_automation(c, "d", "a", AUTOMATION, ()),
    "set_variable": lambda c: prefect.set_variable(c, "x", {}),
    "upcoming": lambda c: prefect.upcoming(c, "d", ["s"]),
    "variable_names": prefect.variable_names,
    "variables": lambda c: prefect.variables(c, ["x"]),
    "version": lambda c: c.version,
}
OPTIONS: dict[str, Any] = {"source_mark": MARK, "adopt": True}
# One object with all the keys that any answer of the server has.
VALID: dict[str, Any] = {
    "id": "d1",
    "name": "gitflow_x",
    "value": {"commit": "c" * 40, "release": "r", "source": "s"},
    "flow_id": "d1",
    "tags": [MARK],
    "schedules": [
        {"id": "s1", "schedule": {"interval": 60, "anchor_date": "2026-01-01T00:00:00Z"}},
        {"id": "s2", "schedule": {"cron": "* * * * *", "day_or": True, "timezone": None}},
    ],
    "global_concurrency_limit": {"id": "l", "limit": 1, "name": "x"},
    "pull_steps": [
        {"a": {"b": "c"}},
        {pin.PULL_CODE: {"pin": "{{ prefect.variables.gitflow_x }}"}},
    ],
    "trigger": {"type": "compound", "triggers": [EVENT], "within": 1},
    "actions": [{"type": "run-deployment", "deployment_id": "d1", "schedule_after": 0}],
    "base_job_template": {"variables": {"properties": {}}},
    "block_type": {"slug": "secret"},
    "next_scheduled_start_time": "2026-01-01T00:00:00Z",
    "created_by": {"id": "s1"},
    "auto_scheduled": True,
    "state_type": "SCHEDULED",
    "status": "ACCEPT",
}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from([*VALID, "detail", "loc", "type", "exception_detail"]), inner
        )
    ),
    max_leaves=6,
)


# What the functions do depends on the version: one that is not understood would hide the rest.
VERSION = "/admin/version"
TOLD = 200, "3.9.1"
GONE = object()
SPOILT: list[Any] = [GONE, None, [1], [None], {}, {"id": 1}, "x", "", 7, -1.5, True]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in ``value``, itself included."""
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from places(inner, (*path, key))


def spoilt(path: tuple[Any, ...], junk: Any) -> Any:
    """``VALID`` with ``junk`` at ``path``, or without what is there."""
    whole = [copy.deepcopy(VALID)]
    at: Any = whole
    for key in (0, *path)[:-1]:
        at = at[key]
    last = (0, *path)[-1]
    if junk is GONE:
        del at[last]
    else:
        at[last] = junk
    return whole[0] if whole else {}


def forget(client: prefect.Client) -> None:
    """Have ``client`` ask again for what it knows of the server."""
    client.flow_ids.clear()
    client.__dict__.pop("version", None)


class InProcess(httpx.BaseTransport):
    """A server without a socket; ``answer`` gives status and JSON for method and path."""

    answer: Callable[[str, str], tuple[int, Any]]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        status, data = self.answer(request.method, request.url.path)
        return httpx.Response(204) if status == 204 else httpx.Response(status, json=data)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[prefect.Client, InProcess]]:
    transport = InProcess()
    server = PrefectConnection("http://server.invalid/api", max_retries=0)
    with prefect.Client(server) as client, httpx.Client(transport=transport) as http:
        monkeypatch.setattr(client, "_http", http)
        yield client, transport


@pytest.mark.parametrize("name", CALLS)
def test_one_wrong_value_in_an_answer_is_understood_or_an_understood_error(
    near: tuple[prefect.Client, InProcess], name: str
) -> None:
    client, server = near
    wrong: Any = None

    def answer(method: str, path: str) -> tuple[int, Any]:
        if path.endswith(VERSION) and name != "version":
            return TOLD
        if method in ("PATCH", "PUT", "DELETE"):
            return 204, None
        listed = re.search(r"/filter$|/related-to/|/schedules$", path)
        return 200, [wrong] if listed else wrong

    server.answer = answer
    for path, junk in itertools.product(places(VALID), SPOILT):
        wrong = spoilt(path, junk)
        forget(client)
        with contextlib.suppress(ApiError):
            CALLS[name](client)


@pytest.fixture(scope="module")
def script() -> Iterator[Script]:
    server = Script()
    yield server
    server.close()


@pytest.fixture(scope="module")
def client(script: Script) -> Iterator[prefect.Client]:
    with script.client(max_retries=0) as made:
        yield made


def test_every_function_is_asked() -> None:
    asking = {
        name
        for name in prefect.__all__
        if "client" in inspect.signature(getattr(prefect, name)).parameters
    }
    assert asking - {"server_now"} == CALLS.keys() - {"version"}


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=15, deadline=None)
@given(answer=JUNK, status=st.sampled_from([200, 200, 200, 201, 204, 404, 409, 422]))
def test_any_answer_is_understood_or_an_understood_error(
    script: Script, client: prefect.Client, name: str, answer: Any, status: int
) -> None:
    junk = status, b"" if status == 204 else answer
    spared = name != "version"
    script.answers = [lambda _, path, *__: TOLD if spared and path.endswith(VERSION) else junk]
    forget(client)
    where = "http"
    try:
        CALLS[name](client)
    except ApiError as error:
        where = str(error.where)
    assert where.startswith(("http", "/"))


class Server:
    """Just enough of Prefect for a creation, an update and a deletion; one answer is junk."""

    def __init__(self, nth: int, junk: Any) -> None:
        self.nth, self.junk = nth, junk
        self.writes: list[str] = []
        self.count = 0

    def __call__(self, method: str, path: str) -> tuple[int, Any]:
        self.count += 1
        if self.count == self.nth:
            return 200, self.junk
        if path.endswith(VERSION):
            return TOLD
        if path.endswith("/filter") or "/related-to/" in path:
            return 200, []
        if path.endswith("/count"):
            return 200, 0
        if method in ("PATCH", "PUT", "DELETE"):
            return 204, None
        return 201, [{"id": "new"}] if path.endswith("/schedules") else {"id": "new"}


def actions() -> plan.Plan:
    old = replace(LIVE, name="old", id="d2")
    new = replace(LIVE, name="new", id=None, schedules=(), automations=(AUTOMATION,))
    other = Schedule({"interval": 60.0})
    changed = replace(LIVE, description="new", schedules=(CRON, other), automations=(AUTOMATION,))
    return plan.make([changed, new], [LIVE, old], prune=True, automations={}, **OPTIONS)


@pytest.mark.parametrize("junk", [[1], {}, None, "x", [{}], {"id": 1}])
def test_junk_at_any_moment_of_applying_leaves_a_report_of_all_actions(
    near: tuple[prefect.Client, InProcess], junk: Any
) -> None:
    client, transport = near

    def execute(server: Server) -> list[apply.Result]:
        transport.answer = server
        forget(client)
        return apply.execute(client, actions())

    whole = Server(0, None)
    assert {each.status for each in execute(whole)} == {"created", "updated", "deleted"}
    failures = 0
    for nth in range(1, whole.count + 1):
        results = execute(Server(nth, junk))
        assert [each.full_name for each in results] == ["etl/d", "etl/new", "etl/old"]
        failures += any(each.error for each in results)
    assert failures > 5


def test_a_listing_that_never_ends_is_an_understood_error(script: Script) -> None:
    page = [{"id": str(number), "name": "x"} for number in range(200)]
    script.answers = [(200, page)]
    with script.client() as client, pytest.raises(ApiError, match="repeats the page before"):
        prefect.variables(client, ["x"])


def test_what_is_wrong_with_an_answer_is_told_by_its_place_without_its_value(
    script: Script,
) -> None:
    spoilt_one = {**VALID, "schedules": [{"id": "s", "schedule": {"interval": "hunter22"}}]}
    script.answers = [TOLD, (200, [VALID, spoilt_one])]
    with script.client() as client, pytest.raises(ApiError) as caught:
        prefect.live(client, names=None, mark=None)
    assert "[1].schedules[0].schedule.interval is not a number" in str(caught.value)
    assert "hunter22" not in str(caught.value)
