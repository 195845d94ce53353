"""Rollback and hold, on a real server and worker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.prefect import SharedServer, SharedWorker
from tests.support.project import Project
from tests.support.repo import Repo

pytestmark = pytest.mark.real

MANIFEST = """\
name: {name}
deployments:
  - name: main
    entrypoint: flow.py:hello
    work_pool: {{name: gitflow-tests}}
    parameters: {{who: {who}}}
    schedules:
      - {{cron: "0 3 * * *"}}
"""
SECOND = """\
  - name: other
    entrypoint: flow.py:hello
    work_pool: {name: gitflow-tests}
"""
FLOW = """\
from prefect import flow

@flow(name="{name}", log_prints=True)
def hello(who: str = "nobody"):
    print(f"version {version} for {{who}}")
"""


class Shop(Project):
    """A project whose versions are deployed one after the other."""

    name = ""

    def version(self, number: int, *args: str, second: bool = False) -> dict[str, object]:
        text = MANIFEST.format(name=self.name, who=f"who{number}") + (SECOND if second else "")
        self.repo.write("prefect.yaml", text)
        self.repo.write("flow.py", FLOW.format(name=self.name, version=number))
        return self.deploy("--all", *args)

    def parameters(self, name: str = "main") -> dict[str, object]:
        return dict(self.live(self.name, name)["parameters"])

    def pinned(self, name: str = "main") -> str:
        return self.pin(self.name, name)

    def tags(self, name: str = "main") -> list[str]:
        return list(self.live(self.name, name)["tags"])

    def history(self) -> list[dict[str, object]]:
        return list(json.loads(self.gitflow("history", "--json").stdout)["releases"])

    def report(self, *args: str, code: int = 0) -> dict[str, object]:
        return dict(json.loads(self.gitflow(*args, "--json", code=code).stdout))

    def upcoming(self) -> int:
        body = {
            "deployments": {"id": {"any_": [self.live(self.name, "main")["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        }
        return int(self.server.call("POST", "/flow_runs/count", body))


@pytest.fixture
def shop(
    tmp_path: Path,
    prefect_server: SharedServer,
    prefect_worker: Callable[[], SharedWorker],
    namespace: str,
) -> Shop:
    prefect_worker()
    made = Shop(tmp_path / "project", prefect_server)
    made.name = namespace
    bare = Repo(tmp_path / "origin.git", bare=True)
    bare.git("config", "receive.fsckObjects", "true")
    made.repo.write("README", "").commit()
    made.repo.git("remote", "add", "origin", str(bare.path))
    return made


def test_a_rollback_brings_back_code_and_configuration_and_a_worker_runs_them(shop: Shop) -> None:
    shop.version(1)
    first = shop.pinned()
    shop.version(2)
    report = shop.report("rollback")
    assert [each["status"] for each in report["deployments"]] == ["updated"]  # type: ignore[attr-defined]
    assert shop.pinned() == first
    assert shop.parameters() == {"who": "who1"}
    assert "version 1 for who1" in shop.run(shop.name, "main")


def test_a_rollback_is_a_release_of_its_own(shop: Shop) -> None:
    shop.version(1)
    shop.version(2)
    shop.gitflow("rollback")
    newest, second, first = shop.history()
    assert newest["rollback"] == first["id"]
    assert newest["snapshot"] == first["snapshot"] != second["snapshot"]
    assert newest["deployments"] == [f"{shop.name}/main"]


def test_rolling_back_twice_leads_further_back_and_then_ends(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.version(number)
    shop.gitflow("rollback")
    assert shop.parameters() == {"who": "who2"}
    shop.gitflow("rollback")
    assert shop.parameters() == {"who": "who1"}
    told = shop.gitflow("rollback", code=2)
    assert "there is no release before" in told.stderr


def test_a_release_can_be_named_and_a_dry_run_changes_nothing(shop: Shop) -> None:
    for number in (1, 2, 3):
        shop.version(number)
    pin, releases = shop.pinned(), len(shop.history())
    shown = shop.gitflow("rollback", "--to", "@3", "--dry-run").stdout
    assert "who3 -> who1" in shown.replace('"', "")
    assert (shop.pinned(), len(shop.history())) == (pin, releases)
    shop.gitflow("rollback", "--to", "@3")
    assert shop.parameters() == {"who": "who1"}


def test_code_only_leaves_the_configuration_as_it_is(shop: Shop) -> None:
    shop.version(1)
    first = shop.pinned()
    shop.version(2)
    before = shop.live(shop.name, "main")
    report = shop.report("rollback", "--code-only")
    after = shop.live(shop.name, "main")
    assert shop.pinned() == first
    assert set(report["deployments"][0]["fields"]) <= {"pull_steps", "version"}  # type: ignore[index]
    changing = {"pull_steps", "version", "updated", "last_polled", "status"}
    assert {key: before[key] for key in before.keys() - changing} == {
        key: after[key] for key in after.keys() - changing
    }
    assert "version 1 for who2" in shop.run(shop.name, "main")


def test_only_the_named_deployments_go_back(shop: Shop) -> None:
    shop.version(1, second=True)
    first = shop.pinned("other")
    shop.version(2, second=True)
    second = shop.pinned()
    shop.gitflow("rollback", "other")
    assert (shop.pinned(), shop.pinned("other")) == (second, first)


def test_a_held_deployment_is_neither_updated_nor_pruned_until_it_is_released(shop: Shop) -> None:
    shop.version(1, second=True)
    first = shop.pinned("other")
    runs = shop.upcoming()
    shop.gitflow("hold", "--all")
    assert "gitflow-hold" in shop.tags()
    assert shop.upcoming() == runs
    report = shop.version(2, "--prune")
    assert {each["name"]: each["status"] for each in report["deployments"]} == {  # type: ignore[attr-defined]
        f"{shop.name}/main": "held",
        f"{shop.name}/other": "held",
    }
    assert (shop.pinned(), shop.pinned("other")) == (first, first)
    assert "2 held" in shop.gitflow("plan", "--prune").stdout
    shop.gitflow("release-hold", "other")
    report = shop.version(2, "--prune", "--force-prune")
    assert [each["status"] for each in report["deployments"]] == ["held", "deleted"]  # type: ignore[attr-defined]


def test_the_next_deploy_does_not_undo_a_rollback_that_holds(shop: Shop) -> None:
    shop.version(1)
    first = shop.pinned()
    shop.version(2)
    shop.gitflow("rollback", "--hold")
    shop.version(3)
    assert shop.pinned() == first
    assert "gitflow-hold" in shop.tags()
    shop.gitflow("release-hold")
    shop.version(3)
    assert shop.pinned() != first
    assert "gitflow-hold" not in shop.tags()


def test_a_rollback_of_what_is_held_keeps_the_hold(shop: Shop) -> None:
    shop.version(1)
    first = shop.pinned()
    shop.version(2)
    shop.gitflow("hold")
    shop.gitflow("rollback")
    assert shop.pinned() == first
    assert "gitflow-hold" in shop.tags()


def test_a_hold_of_a_name_that_is_not_there_changes_nothing(shop: Shop) -> None:
    shop.version(1)
    told = shop.gitflow("hold", "main", "mian", code=2).stderr
    assert "no deployment 'mian'" in told
    assert "gitflow-hold" not in shop.tags()


def test_configuration_that_needs_build_steps_is_refused_and_the_code_alone_goes_back(
    shop: Shop,
) -> None:
    steps = "    build: [{prefect.deployments.steps.run_shell_script: {id: s, script: echo 1}}]\n"
    steps += '    description: "{{ s.stdout }}"\n'
    for number in (1, 2):
        text = MANIFEST.format(name=shop.name, who=f"who{number}") + steps
        shop.repo.write("prefect.yaml", text)
        shop.repo.write("flow.py", FLOW.format(name=shop.name, version=number))
        shop.deploy("--all")
    told = shop.gitflow("rollback", code=2).stderr
    assert "needs the outputs of build steps" in told
    shop.gitflow("rollback", "--code-only")
    assert "version 1 for who2" in shop.run(shop.name, "main")
