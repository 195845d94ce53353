"""The release pointer on a real server and worker: one write switches a source."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitops_flow import prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import PrefectConnection
from gitops_flow.pin import PULL_CODE, pointer_of
from tests.support.prefect import SharedServer, SharedWorker
from tests.support.project import NearProject, Project
from tests.support.proxy import Proxy
from tests.support.repo import Repo

pytestmark = pytest.mark.real

FLOW = """\
from prefect import flow

@flow(name="{name}", log_prints=True)
def hello({parameters}):
    print("version {version}")
"""


class Shop(NearProject):
    """A source with a release pointer."""

    name = ""
    count = 3
    tags = ""

    def version(self, number: int, *args: str, parameters: str = "") -> dict[str, Any]:
        self.write(number, parameters=parameters)
        return self.deploy("--all", *args)

    def write(self, number: int, *, parameters: str = "", atomic: bool = True) -> None:
        lines = [f"name: {self.name}"]
        lines += ["gitflow: {release: atomic}"] if atomic else []
        lines.append("deployments:")
        for at in range(self.count):
            lines += [
                f"  - name: d{at}",
                "    entrypoint: flow.py:hello",
                "    work_pool: {name: gitflow-tests}",
                "    schedules: [{cron: '0 3 * * *'}]",
            ]
            lines += [f"    tags: [{self.tags}]"] if at == 0 and self.tags else []
        self.repo.write("prefect.yaml", "\n".join(lines) + "\n")
        flow = FLOW.format(name=self.name, version=number, parameters=parameters)
        self.repo.write("flow.py", flow)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Proxy]:
        """Have commands go through a proxy that tells what they write."""
        with Proxy(self.server.api_url) as proxy:
            self.api_url = proxy.api_url
            try:
                yield proxy
            finally:
                self.api_url = self.server.api_url

    def steps(self, name: str = "d0") -> dict[str, Any]:
        """The inputs of the deployment's pull step, as the server keeps them."""
        return dict(self.live(self.name, name)["pull_steps"][0][PULL_CODE])

    def literal(self) -> dict[str, str]:
        """The deployments that name a commit themselves, with it."""
        found = {f"d{at}": self.steps(f"d{at}") for at in range(self.count)}
        return {name: inputs["commit"] for name, inputs in found.items() if "commit" in inputs}

    @property
    def variable(self) -> str:
        every = [self.live(self.name, f"d{at}")["pull_steps"] for at in range(self.count)]
        return next(name for steps in every if (name := pointer_of(steps)))

    def pointer(self) -> str:
        """The commit that the release pointer names."""
        return str(self.server.call("GET", f"/variables/name/{self.variable}")["value"]["commit"])

    def code(self) -> set[str]:
        """The commits that runs of this source get now."""
        literal = self.literal()
        return {*literal.values(), *([self.pointer()] if len(literal) < self.count else [])}

    def upcoming(self) -> set[str]:
        """The ids of the runs that the schedules have made."""
        ids = [self.live(self.name, f"d{at}")["id"] for at in range(self.count)]
        found: set[str] = set()
        for each in ids:
            body = {
                "deployments": {"id": {"any_": [each]}},
                "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
                "limit": 200,
            }
            found |= {run["id"] for run in self.server.call("POST", "/flow_runs/filter", body)}
        return found


def statuses(report: dict[str, Any]) -> set[tuple[str, bool]]:
    return {(each["status"], each["by_pointer"]) for each in report["deployments"]}


@pytest.fixture
def shop(tmp_path: Path, prefect_server: SharedServer, namespace: str) -> Shop:
    made = Shop(tmp_path / "project", prefect_server)
    made.name = namespace
    bare = Repo(tmp_path / "origin.git", bare=True)
    made.repo.write("README", "").commit()
    made.repo.git("remote", "add", "origin", str(bare.path))
    return made


def test_a_deploy_of_new_code_is_one_write_and_every_scheduled_run_keeps_its_id(
    shop: Shop,
) -> None:
    shop.count = 20
    shop.version(1, "--create-pools")
    for at in range(shop.count):
        # The server's scheduler would take its time.
        live = shop.live(shop.name, f"d{at}")
        shop.server.call("POST", f"/deployments/{live['id']}/schedule", {})
    before = shop.upcoming()
    assert len(before) >= shop.count
    with shop.watched() as proxy:
        report = shop.version(2)
        assert proxy.writes == [f"PATCH /variables/name/{shop.variable}"]
    assert statuses(report) == {("updated", True)}
    assert report["release_pointer"]["after"] == shop.pointer() == report["snapshot"]["commit"]
    assert before <= shop.upcoming()
    assert shop.literal() == {}
    assert statuses(shop.deploy("--all")) == {("unchanged", False)}


def test_a_rollback_of_the_source_is_one_write_and_leads_to_the_code_before(
    shop: Shop,
) -> None:
    first = shop.version(1, "--create-pools")["snapshot"]["commit"]
    shop.version(2)
    with shop.watched() as proxy:
        shown = shop.gitflow("rollback", "--all", "--dry-run").stdout
        assert "3 deployments: new code by the release pointer" in shown
        assert proxy.writes == []
        shop.gitflow("rollback", "--all", "--yes")
        assert proxy.writes == [f"PATCH /variables/name/{shop.variable}"]
    assert shop.pointer() == first
    listed = json.loads(shop.gitflow("history", "--json").stdout)["releases"]
    assert [len(each["pinned_now"]) for each in listed] == [3, 0, 0]


def test_what_changes_with_its_code_names_the_commit_until_it_changes_again(shop: Shop) -> None:
    shop.version(1, "--create-pools")
    shop.tags = "daily"
    report = shop.version(2)
    second = report["snapshot"]["commit"]
    assert shop.literal() == {"d0": second}
    assert shop.pointer() == second
    assert [each["name"] for each in report["literal"]] == [f"{shop.name}/d0"]
    assert statuses(shop.deploy("--all")) == {("unchanged", False)}
    report = shop.version(3)
    assert shop.literal() == {}
    assert report["literal"] == []
    assert shop.pointer() == report["snapshot"]["commit"]
    assert statuses(shop.deploy("--all")) == {("unchanged", False)}


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "/deployments/"), ("PATCH", "/variables/name/")],
    ids=["between publishing and the first write", "between the writes and the pointer"],
)
def test_a_deploy_that_is_killed_leaves_schema_and_code_together_and_the_next_one_converges(
    shop: Shop, prefect_server: SharedServer, method: str, path: str
) -> None:
    first = shop.version(1, "--create-pools")["snapshot"]["commit"]
    shop.write(2, parameters="day: int = 1")
    with Proxy(prefect_server.api_url) as proxy:
        project = Project(shop.repo.path, prefect_server, proxy.api_url)
        held = proxy.rule("hold", method, path)
        process = project.start("deploy", "--all")
        assert held.reached.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        # What is held is let go with the proxy.
        literal = shop.literal()
        for at in range(shop.count):
            schema = shop.live(shop.name, f"d{at}")["parameter_openapi_schema"]
            has_day = "day" in schema["properties"]
            assert has_day == (literal.get(f"d{at}", first) != first)
        if "variables" in path:
            assert len(literal) == shop.count
    report = shop.deploy("--all")
    assert shop.code() == {report["snapshot"]["commit"]}
    assert statuses(shop.deploy("--all")) == {("unchanged", False)}
    # Where every one names a commit, the pointer is there for the next change all the same.
    report = shop.version(3, parameters="day: int = 1")
    assert shop.literal() == {}
    assert shop.code() == {report["snapshot"]["commit"]}


def another_deployer(shop: Shop) -> Shop:
    """The same source in a clone of its own."""
    other = Shop(shop.repo.path.parent / "clone", shop.server)
    other.name = shop.name
    other.repo.write("README", "").commit()
    other.repo.git("remote", "add", "origin", shop.repo.git("remote", "get-url", "origin"))
    return other


@pytest.mark.parametrize(
    ("path", "code", "told"),
    [
        ("/deployments/", 1, "another deploy of this source moved the release pointer"),
        ("/variables/name/", 0, "Test Author <author@example.invalid> deployed"),
    ],
    ids=["before it looked at the pointer", "in the middle of moving the pointer"],
)
def test_of_two_deploys_at_once_the_one_that_is_overtaken_says_so_and_no_write_mixes_both(
    shop: Shop, prefect_server: SharedServer, path: str, code: int, told: str
) -> None:
    shop.version(1, "--create-pools")
    shop.tags = "daily"
    shop.write(2)
    newer = another_deployer(shop)
    with Proxy(prefect_server.api_url) as proxy:
        held = proxy.rule("hold", "PATCH", path)
        slow = Project(shop.repo.path, prefect_server, proxy.api_url).start("deploy", "--all")
        assert held.reached.wait(60)
        code_of_newer = newer.version(3, parameters="day: int = 1")["snapshot"]["commit"]
        held.release.set()
        out, err = slow.communicate(timeout=60)
    assert slow.returncode == code, err
    assert told in out + err
    assert "deploy again" in out + err
    literal = newer.literal()
    assert set(literal) >= {"d1", "d2"}
    for name, commit in literal.items():
        schema = newer.live(newer.name, name)["parameter_openapi_schema"]
        assert ("day" in schema["properties"]) == (commit == code_of_newer)
    report = newer.deploy("--all")
    assert newer.code() == {report["snapshot"]["commit"]} == {code_of_newer}


def test_a_deployment_that_cannot_be_written_keeps_the_pointer_where_it_is(
    shop: Shop,
) -> None:
    first = shop.version(1, "--create-pools")["snapshot"]["commit"]
    shop.tags = "daily"
    shop.write(2)
    with shop.watched() as proxy:
        proxy.rule("status", "PATCH", "/deployments/", status=422)
        report = json.loads(shop.gitflow("deploy", "--all", "--json", code=1).stdout)
    assert shop.code() == {first}
    messages = [each["error"]["message"] for each in report["deployments"]]
    assert ["the release pointer was not moved" in each for each in messages] == [False, True, True]
    report = shop.deploy("--all")
    assert shop.code() == {report["snapshot"]["commit"]}


def test_what_is_held_deployed_alone_or_gone_from_the_manifest_keeps_its_own_commit(
    shop: Shop,
) -> None:
    first = shop.version(1, "--create-pools")["snapshot"]["commit"]
    shop.gitflow("hold", "d0")
    assert shop.literal() == {"d0": first}
    shop.write(2)
    alone = shop.deploy("d1")["snapshot"]["commit"]
    assert shop.literal() == {"d0": first, "d1": alone}
    assert shop.pointer() == first
    shop.count = 2
    report = shop.version(3)
    shop.count = 3
    newest = report["snapshot"]["commit"]
    assert shop.literal() == {"d0": first, "d2": first}
    assert shop.pointer() == newest
    assert {each["name"].split("/")[1]: each["reason"] for each in report["literal"]} == {
        "d0": "held",
        "d2": "not in the manifest any more",
    }
    shop.gitflow("unhold", "d0")
    assert statuses(shop.version(4)) >= {("updated", False)}
    assert shop.literal() == {}


def test_a_hold_that_was_set_in_prefects_pages_keeps_the_code(shop: Shop) -> None:
    first = shop.version(1, "--create-pools")["snapshot"]["commit"]
    live = shop.live(shop.name, "d0")
    shop.server.call(
        "PATCH", f"/deployments/{live['id']}", {"tags": [*live["tags"], "gitflow-hold"]}
    )
    shop.version(2)
    assert shop.literal() == {"d0": first}


def test_the_mode_is_adopted_and_left_by_a_plan_and_destroy_takes_the_pointer_along(
    shop: Shop,
) -> None:
    shop.write(1, atomic=False)
    shop.deploy("--all", "--create-pools")
    assert len(shop.literal()) == 3
    shop.write(1)
    shown = shop.gitflow("plan").stdout
    assert "new, at" in shown
    shop.deploy("--all")
    assert shop.literal() == {}
    variable = shop.variable
    assert shop.live(shop.name, "d0")["version"] is None
    shop.write(2, atomic=False)
    assert f"release pointer {variable}: deleted" in shop.gitflow("plan").stdout
    report = shop.deploy("--all")
    assert set(shop.literal().values()) == {report["snapshot"]["commit"]}
    assert shop.live(shop.name, "d0")["version"]
    with pytest.raises(ApiError, match="404"):
        shop.server.call("GET", f"/variables/name/{variable}")
    assert statuses(shop.deploy("--all")) == {("unchanged", False)}
    shop.deploy("--all", "--atomic")
    assert shop.literal() == {}
    # One that was left by a source that had another name goes as well, where nothing names it.
    digest = variable.rpartition("_")[2]
    left, strangers = f"gitflow_former_{digest}", f"gitflow_former_{digest[::-1]}"
    for name in (left, strangers):
        shop.server.call("POST", "/variables/", {"name": name, "value": {"commit": "a" * 40}})
    shop.gitflow("destroy", "--yes")
    for name in (left, variable):
        with pytest.raises(ApiError, match="404"):
            shop.server.call("GET", f"/variables/name/{name}")
    shop.server.call("DELETE", f"/variables/name/{strangers}")


def test_a_deploy_or_destroy_takes_a_pointer_along_that_nothing_names_any_more(
    shop: Shop,
) -> None:
    shop.version(1, "--create-pools")
    variable = shop.variable
    shop.write(1, atomic=False)
    for at in range(shop.count):
        shop.deploy(f"d{at}")
    report = shop.deploy("--all")
    assert statuses(report) == {("unchanged", False)}
    gone = report["release_pointer"]
    assert (gone["name"], gone["after"]) == (variable, None)
    with pytest.raises(ApiError, match="404"):
        shop.server.call("GET", f"/variables/name/{variable}")
    shop.deploy("--all", "--atomic")
    for at in range(shop.count):
        shop.server.call("DELETE", f"/deployments/{shop.live(shop.name, f'd{at}')['id']}")
    shop.gitflow("destroy", "--yes")
    with pytest.raises(ApiError, match="404"):
        shop.server.call("GET", f"/variables/name/{variable}")


def test_gc_keeps_what_a_pointer_names_and_verify_follows_it(shop: Shop) -> None:
    shop.version(1, "--create-pools")
    shop.version(2)
    shop.gitflow("rollback", "--all", "--yes")
    verified = json.loads(shop.gitflow("verify", "--json").stdout)
    assert {each["commit"] for each in verified["deployments"]} == {shop.pointer()}
    # The deployments alone no longer tell.
    variable = shop.variable
    gone = [shop.live(shop.name, f"d{at}")["id"] for at in range(shop.count)]
    kept = shop.pointer()
    for each in gone:
        shop.server.call("DELETE", f"/deployments/{each}")
    assert shop.server.call("GET", f"/variables/name/{variable}")["value"]["commit"] == kept
    with prefect.Client(PrefectConnection(shop.api_url)) as client:
        values = prefect.pointers(client).values()
    assert kept in {value["commit"] for value in values if isinstance(value, dict)}
    shop.server.call("DELETE", f"/variables/name/{variable}")


def ended(server: SharedServer, run: str) -> dict[str, Any]:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found: dict[str, Any] = server.call("GET", f"/flow_runs/{run}")
        if found["state_type"] in ("FAILED", "CRASHED", "COMPLETED"):
            return found
        time.sleep(0.2)
    raise AssertionError(found)


def test_runs_follow_the_pointer_a_retry_keeps_its_commit_and_without_one_the_log_says_so(
    shop: Shop, prefect_server: SharedServer, prefect_worker: Callable[[], SharedWorker]
) -> None:
    prefect_worker()
    shop.count = 1
    first = shop.version(1)["snapshot"]["commit"]
    assert shop.steps().keys() >= {"pin"}
    assert "version 1" in shop.run(shop.name, "d0")
    deployment = shop.live(shop.name, "d0")["id"]
    run = prefect_server.call("POST", f"/deployments/{deployment}/create_flow_run", {})["id"]
    assert ended(prefect_server, run)["labels"]["gitflow.commit"] == first
    shop.version(2)
    assert shop.literal() == {}
    prefect_server.call(
        "POST",
        f"/flow_runs/{run}/set_state",
        {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True},
    )
    again = ended(prefect_server, run)
    assert (again["run_count"], again["labels"]["gitflow.commit"]) == (2, first)
    log = shop._log(run, lambda text: text.count("version 1") == 2)
    assert log.count("version 1") == 2
    assert "version 2" in shop.run(shop.name, "d0")
    prefect_server.call("DELETE", f"/variables/name/{shop.variable}")
    run = prefect_server.call("POST", f"/deployments/{deployment}/create_flow_run", {})["id"]
    assert ended(prefect_server, run)["state_type"] in ("FAILED", "CRASHED")
    log = shop._log(run, lambda text: "release pointer" in text)
    assert "the release pointer is missing on the server" in log
    broken = json.loads(shop.gitflow("verify", "--json", code=1).stdout)
    assert "is missing on the server" in broken["deployments"][0]["error"]["message"]
    shop.deploy("--all")
    assert "version 2" in shop.run(shop.name, "d0")
