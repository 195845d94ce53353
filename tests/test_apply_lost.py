"""Answers that are lost, and answers that are none, while a plan is carried out on a real server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gitops_flow import apply, plan, prefect
from gitops_flow.model import Automation, Deployment, PrefectConnection, Schedule
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.prefect import SharedServer

pytestmark = pytest.mark.real

EVENT = {"type": "event", "expect": ["a.done"], "posture": "Reactive"}
CRON = Schedule({"cron": "0 1 * * *"})
DAILY = Schedule({"interval": 86400.0, "anchor_date": "2026-01-01T00:00:00Z"})


class Case:
    """A deployment of one test, written through a proxy that loses answers."""

    def __init__(self, proxy: Proxy, namespace: str) -> None:
        self.proxy = proxy
        self.flow = namespace
        self.mark = f"gitflow:{namespace}-0123abcd"
        self.client = prefect.Client(PrefectConnection(proxy.api_url), sleep=lambda _: None)

    def desired(self, **changes: Any) -> Deployment:
        return replace(Deployment(self.flow, "d", "a.py:f", tags=(self.mark,)), **changes)

    def plan(self, *desired: Deployment) -> plan.Plan:
        live = prefect.live(self.client, names=[(self.flow, "d")], mark=self.mark)
        found = prefect.live_automations(self.client, self.mark)
        return plan.make(
            desired, live, source_mark=self.mark, adopt=False, prune=True, automations=found
        )

    def deploy(self, *desired: Deployment) -> apply.Result:
        (result,) = apply.execute(self.client, self.plan(*desired))
        return result

    def once(self, *desired: Deployment) -> apply.Result:
        """Apply with a client that repeats nothing."""
        connection = PrefectConnection(self.proxy.api_url, max_retries=0)
        planned = self.plan(*desired)
        with prefect.Client(connection) as client:
            (result,) = apply.execute(client, planned)
        return result

    def stands(self, desired: Deployment) -> bool:
        """Whether the server has exactly that, once."""
        return not self.plan(desired).writes


@pytest.fixture
def case(prefect_server: SharedServer, namespace: str) -> Iterator[Case]:
    with Proxy(prefect_server.api_url) as proxy:
        made = Case(proxy, namespace)
        with made.client:
            yield made


@pytest.mark.parametrize("action", ["drop", "drop-after"])
def test_all_that_is_made_is_made_once_when_each_first_answer_is_lost(
    case: Case, action: Any
) -> None:
    automations = (Automation("one", EVENT), Automation("two", {**EVENT, "expect": ["b"]}))
    for path in ("/flows/$", "/deployments/$", "/automations/$", "/schedules$", "/deployments/"):
        case.proxy.rule(action, "POST", path)
    case.proxy.rule(action, "PATCH")
    first = case.desired(schedules=(CRON,), automations=automations)
    assert case.deploy(first).status == "created"
    assert case.stands(first)
    second = case.desired(
        schedules=(CRON, DAILY),
        description="new",
        automations=(*automations, Automation("three", {**EVENT, "expect": ["c"]})),
    )
    assert case.deploy(second).status == "updated"
    assert case.stands(second)
    assert case.client.repeated


def test_a_creation_whose_answer_is_lost_for_good_is_no_failure_when_it_stands(
    case: Case,
) -> None:
    case.proxy.rule("drop-after", "POST", "/deployments/$")
    result = case.once(case.desired())
    assert (result.status, result.error) == ("created", None)
    assert result.id == case.plan(case.desired()).actions[0].live.id  # type: ignore[union-attr]


def test_a_change_whose_answer_is_lost_for_good_is_no_failure_when_it_stands(case: Case) -> None:
    case.deploy(case.desired())
    case.proxy.rule("drop-after", "PATCH")
    result = case.once(case.desired(description="new"))
    assert (result.status, result.changed) == ("updated", ("description",))


def test_a_deletion_whose_answer_is_lost_for_good_is_no_failure_when_it_stands(case: Case) -> None:
    case.deploy(case.desired())
    case.proxy.rule("drop-after", "DELETE", "/deployments/")
    assert case.once().status == "deleted"


def test_what_stands_of_a_lost_change_is_told_where_the_rest_does_not(case: Case) -> None:
    case.deploy(case.desired())
    case.proxy.rule("drop-after", "PATCH")
    automation = Automation("one", EVENT)
    result = case.once(case.desired(description="new", automations=(automation,)))
    assert (result.status, result.changed) == ("failed", ("description",))


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/deployments/"), ("POST", "/deployments/$")]
)
def test_a_proxy_that_confirms_what_it_does_not_pass_on_is_not_believed(
    case: Case, method: str, path: str
) -> None:
    if method == "PATCH":
        case.deploy(case.desired())
    case.proxy.rule("status", method, path, status=200)
    result = case.deploy(case.desired(description="new"))
    assert (result.status, result.changed) == ("failed", ())
    assert "not the Prefect API's" in str(result.error) or "something else" in str(result.error)
