"""What a server's version changes: what is asked, what is refused, and what is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitops_flow import plan, prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import Automation, Deployment, Position, PrefectConnection, Problem
from gitops_flow.pin import GIT_CLONE
from gitops_flow.plan import FieldChange, ScheduleDiff
from gitops_flow.prefect import versions

MARK = "gitflow:etl-0123abcd"
WHERE = Position("prefect.yaml", 3, 5)
NOWHERE = PrefectConnection("http://127.0.0.1:9/api")


class Answering(prefect.Client):
    """A client of a server of some version, which answers every request with ``answer``."""

    def __init__(self, version: object, answer: Any = None, **connection: Any) -> None:
        super().__init__(replace(NOWHERE, **connection))
        self.sent: list[tuple[str, str, Any]] = []
        self._told, self._answer = version, answer

    def _request(self, method: str, path: str, body: Any, *_: Any) -> Any:
        self.sent.append((method, path, body))
        answer = self._told if path == "/admin/version" else self._answer
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("3.8.8", (3, 8, 8)),
        ("3.10.0", (3, 10, 0)),
        ("3.9", (3, 9, 0)),
        ("3.6.13.dev2+5.gabc", (3, 6, 13)),
        ("4.0.0rc1", (4, 0, 0)),
        ("", None),
        ("unknown", None),
        (None, None),
        ({"version": "3.8.8"}, None),
    ],
)
def test_a_version_is_read(answer: object, version: object) -> None:
    assert versions.parse(answer) == version


@pytest.mark.parametrize("told", ["2.20.27", "3.0.11", "3.1.15"])
def test_a_server_that_is_too_old_is_refused_in_one_sentence_before_anything_else(
    told: str,
) -> None:
    with Answering(told, []) as client, pytest.raises(ApiError) as caught:
        prefect.live(client, names=None, mark=MARK)
    assert str(caught.value).count(f"this server is Prefect {told}, and gitflow needs 3.2") == 1
    assert [path for _, path, _ in client.sent] == ["/admin/version"]


def test_the_version_is_asked_for_once() -> None:
    with Answering("3.8.8", []) as client:
        prefect.live(client, names=None, mark=MARK)
        prefect.live(client, names=None, mark=MARK)
        prefect.live_automations(client, MARK)
    assert [path for _, path, _ in client.sent].count("/admin/version") == 1


def test_cloud_is_not_asked_and_can_do_everything() -> None:
    with Answering("0.0.1", [], api_url="https://api.prefect.cloud/api/accounts/a") as client:
        assert all(map(client.can, versions.SINCE))
    assert client.sent == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_proxy_that_hides_the_version_hides_no_feature(status: int) -> None:
    with Answering(ApiError("no", status=status), []) as client:
        assert client.version is None
        assert all(map(client.can, versions.SINCE))


def test_a_server_that_fails_is_not_taken_for_a_new_one() -> None:
    with Answering(ApiError("down", status=500)) as client, pytest.raises(ApiError, match="down"):
        _ = client.version


def test_without_the_filter_runs_are_told_apart_here() -> None:
    runs = [{"id": str(at), "created_by": {"id": maker}} for at, maker in enumerate("aabc")]
    runs.append({"id": "by hand", "created_by": None})
    with Answering("3.6.12", runs) as client:
        assert prefect.upcoming(client, "d", ["a", "c"]) == 3
    _, path, body = client.sent[-1]
    assert path == "/flow_runs/filter"
    assert "created_by" not in body["flow_runs"]


@pytest.mark.parametrize(("told", "count"), [("3.3.3", 1), ("3.3.4", 0)])
def test_a_run_that_waits_for_a_slot_is_late_only_where_a_write_deletes_it(
    told: str, count: int
) -> None:
    run = {
        "id": "r",
        "deployment_id": "d",
        "state_name": "AwaitingConcurrencySlot",
        "auto_scheduled": True,
        "created_by": {"id": "s"},
        "next_scheduled_start_time": "2026-01-01T00:00:00Z",
    }
    with Answering(told, [run]) as client:
        assert len(prefect.late_runs(client, ["d"])) == count


@pytest.mark.parametrize("description", ["", "one line", "two\nlines\n"])
def test_without_tags_the_mark_is_the_last_line_of_a_description(description: str) -> None:
    wanted = Automation("a", {"type": "event"}, description=description)
    with Answering("3.4.6", {"id": "1"}) as client:
        prefect.create_automation(client, "d", wanted, [MARK])
    body = client.sent[-1][2]
    assert "tags" not in body
    assert body["description"].split("\n")[-1] == MARK
    listed = [{**body, "id": "1"}, {**body, "id": "2", "description": description}]
    with Answering("3.4.6", listed) as client:
        (item,) = prefect.live_automations(client, MARK)["d"]
    assert client.sent[-1][2].keys().isdisjoint({"automations"})
    assert (item.id, item.description, item.tags) == ("1", description, (MARK,))


def desired(**changes: Any) -> Deployment:
    base = Deployment("etl", "prod", "a.py:f", tags=(MARK,), work_pool="p", where=WHERE)
    return replace(base, **changes)


def removal(field: str, **changes: Any) -> plan.Update:
    change = FieldChange(field, "something", None)
    return plan.Update(desired(**changes), desired(), (change,), ScheduleDiff())


# What a manifest may ask for, by the feature that it needs, and where it is in the manifest.
ASKED: dict[str, tuple[plan.Action, tuple[str | int, ...]]] = {
    "grace_period_seconds": (
        plan.Create(desired(concurrency_options={"grace_period_seconds": 60})),
        ("concurrency_limit", "grace_period_seconds"),
    ),
    "schedule_after": (
        plan.Create(
            desired(automations=(Automation("a", {}), Automation("b", {}, schedule_after=5.0)))
        ),
        ("triggers", 1, "schedule_after"),
    ),
    "several match_related": (
        plan.Create(
            desired(automations=(Automation("a", {"triggers": [{"match_related": [{"a": "b"}]}]}),))
        ),
        ("triggers", 0),
    ),
    "git_clone commit_sha": (
        plan.Create(desired(pull_steps=({GIT_CLONE: {"commit_sha": "a" * 40}},))),
        (),
    ),
    "git_clone clone_directory_name": (
        plan.Create(desired(pull_steps=({GIT_CLONE: {"clone_directory_name": "r"}},))),
        (),
    ),
    "emptying job_variables": (removal("job_variables"), ("work_pool", "job_variables")),
    "leaving a work pool": (removal("work_pool", work_pool=None), ("work_pool",)),
}
# Those that only our own bookkeeping needs, which does without.
OWN = {"late runs survive writes", "automation tags", "runs by schedule"}


def told(action: plan.Action, version: versions.Version) -> list[Problem]:
    return list(plan.unsupported([action], versions.lacking(version)))


def test_every_feature_is_either_ours_or_told() -> None:
    assert ASKED.keys() | OWN == versions.SINCE.keys()


@pytest.mark.parametrize("feature", ASKED)
def test_what_a_manifest_asks_for_and_the_server_lacks_is_told_with_its_place(
    feature: str,
) -> None:
    action, path = ASKED[feature]
    (problem,) = told(action, (3, 2, 0))
    assert (problem.where, problem.path) == (WHERE, path)
    since = versions.text(versions.SINCE[feature])
    assert f"needs Prefect {since} or newer, and the server is 3.2.0" in problem.message
    assert problem.hint
    # A worker may be newer than its server, though it should not be.
    assert problem.severity == ("warning" if "git_clone" in feature else "error")


@pytest.mark.parametrize("feature", ASKED)
def test_a_server_that_has_the_feature_is_asked_for_it(feature: str) -> None:
    assert told(ASKED[feature][0], versions.SINCE[feature]) == []


def test_a_manifest_that_asks_for_nothing_new_runs_on_the_oldest_server() -> None:
    plain = desired(
        job_variables={"env": {}}, concurrency_limit=1, automations=(Automation("a", {}),)
    )
    assert told(plan.Create(plain), versions.OLDEST) == []
    kept = removal("job_variables", job_variables={"env": {}})
    assert told(kept, versions.OLDEST) == []
