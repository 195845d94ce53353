"""Rollback and hold, on a real server and worker."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.prefect import SharedServer, SharedWorker
from tests.support.project import NearProject, Project
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


class Shop(NearProject):
    """A project whose versions are deployed one after the other."""

    name = ""

    def version(self, number: int, *args: str, second: bool = False) -> dict[str, Any]:
        text = MANIFEST.format(name=self.name, who=f"who{number}") + (SECOND if second else "")
        self.repo.write("prefect.yaml", text)
        self.repo.write("flow.py", FLOW.format(name=self.name, version=number))
        return self.deploy("--all", *args)

    def parameters(self, name: str = "main") -> dict[str, Any]:
        return dict(self.live(self.name, name)["parameters"])

    def pinned(self, name: str = "main") -> str:
        return self.pin(self.name, name)

    def tags(self, name: str = "main") -> list[str]:
        return list(self.live(self.name, name)["tags"])

    def history(self) -> list[dict[str, Any]]:
        return list(json.loads(self.gitflow("history", "--json").stdout)["releases"])

    def report(self, *args: str, code: int = 0) -> dict[str, Any]:
        return dict(json.loads(self.gitflow(*args, "--json", code=code).stdout))

    def upcoming(self) -> set[str]:
        """The times of the runs that the schedule has made."""
        body = {
            "deployments": {"id": {"any_": [self.live(self.name, "main")["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "limit": 200,
        }
        found = self.server.call("POST", "/flow_runs/filter", body)
        return {str(run["next_scheduled_start_time"]) for run in found}


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


def test_a_rollback_brings_back_code_and_configuration_as_a_release_and_leads_further_back(
    shop: Shop,
) -> None:
    shop.version(1)
    first = shop.pinned()
    for number in (2, 3):
        shop.version(number)
    pin = shop.pinned()
    shown = shop.gitflow("rollback", "--dry-run").stdout
    assert "who3 -> who2" in shown.replace('"', "")
    assert (shop.pinned(), len(shop.history())) == (pin, 3)
    report = shop.report("rollback", "--yes")
    assert [each["status"] for each in report["deployments"]] == ["updated"]
    newest, _, second, oldest = shop.history()
    assert (newest["rollback"], newest["snapshot"]) == (second["id"], second["snapshot"])
    assert newest["deployments"] == [f"{shop.name}/main"]
    shop.gitflow("rollback", "--yes")
    assert (shop.pinned(), oldest["snapshot"]) == (first, first)
    assert "version 1 for who1" in shop.run(shop.name, "main")
    assert "there is no release before" in shop.gitflow("rollback", code=2).stderr


def test_a_rollback_of_several_deployments_wants_names_or_all(shop: Shop) -> None:
    for number in (1, 2):
        shop.version(number, second=True)
    for how in ([], ["--code-only"]):
        told = shop.gitflow("rollback", "--yes", *how, code=2).stderr
        assert "which deployment?" in told
        assert "--all" in told
    pin = shop.pinned()
    shop.gitflow("rollback", "other", "--yes")
    assert (shop.pinned(), shop.pinned("other") == pin) == (pin, False)


def test_a_rollback_asks_before_it_writes(shop: Shop) -> None:
    shop.version(1)
    first = shop.pinned()
    shop.version(2)
    second = shop.pinned()
    told = shop.gitflow("rollback", code=2).stderr
    assert "this would take 1 deployment back to release" in told
    assert "--yes" in told
    assert shop.answered("\n", "rollback") == 1
    assert shop.pinned() == second
    assert shop.answered("y\n", "rollback") == 0
    assert shop.pinned() == first


def test_an_edit_that_was_undone_is_a_release_and_what_it_replaced_is_gone_back_to(
    shop: Shop,
) -> None:
    for number in (1, 2, 1):
        shop.version(number)
    newest, second, first = shop.history()
    assert (newest["snapshot"], first["snapshot"]) == (shop.pinned(), shop.pinned())
    shown = shop.gitflow("rollback", "--dry-run").stdout
    assert f"back to release {second['id'][:12]}" in shown
    shop.version(1)
    assert len(shop.history()) == 3


@pytest.mark.parametrize("how", ["", "--code-only"])
def test_a_broken_manifest_is_no_obstacle_on_the_way_back(shop: Shop, how: str) -> None:
    shop.version(1)
    first = shop.pinned()
    shop.version(2)
    text = (shop.repo.path / "prefect.yaml").read_text()
    shop.repo.write("prefect.yaml", text.replace("cron:", "corn:").replace("entrypoint", "entry"))
    assert "prefect.yaml:4:5: " in shop.gitflow("deploy", "--all", code=1).stderr
    shop.gitflow("hold", "main")
    shop.gitflow("rollback", "--yes", *filter(None, [how]))
    assert shop.pinned() == first
    assert shop.parameters() == {"who": "who2" if how else "who1"}


def test_code_only_leaves_the_configuration_as_it_is_even_where_steps_make_it(shop: Shop) -> None:
    steps = "    build: [{prefect.deployments.steps.run_shell_script: {id: s, script: echo 1}}]\n"
    steps += '    description: "{{ s.stdout }}"\n'
    for number in (1, 2):
        text = MANIFEST.format(name=shop.name, who=f"who{number}") + steps
        shop.repo.write("prefect.yaml", text)
        shop.repo.write("flow.py", FLOW.format(name=shop.name, version=number))
        shop.deploy("--all")
    before = shop.live(shop.name, "main")
    told = shop.gitflow("rollback", code=2).stderr
    assert "needs the outputs of build steps" in told
    report = shop.report("rollback", "--code-only", "--yes")
    after = shop.live(shop.name, "main")
    assert set(report["deployments"][0]["fields"]) == {"pull_steps", "version"}
    changing = {"pull_steps", "version", "updated", "last_polled", "status"}
    assert {key: before[key] for key in before.keys() - changing} == {
        key: after[key] for key in after.keys() - changing
    }
    assert "version 1 for who2" in shop.run(shop.name, "main")


def test_a_held_deployment_is_neither_updated_nor_pruned_until_it_is_released(shop: Shop) -> None:
    shop.version(1, second=True)
    first = shop.pinned("other")
    # The server's scheduler would get to it within a minute.
    shop.server.call("POST", f"/deployments/{shop.live(shop.name, 'main')['id']}/schedule", {})
    runs = shop.upcoming()
    assert "no deployment 'mian'" in shop.gitflow("hold", "main", "mian", code=2).stderr
    assert "which deployment?" in shop.gitflow("hold", code=2).stderr
    assert "gitflow-hold" not in shop.tags()
    shop.gitflow("hold", "--all")
    assert "gitflow-hold" in shop.tags()
    assert runs
    assert runs <= shop.upcoming()
    report = shop.version(2, "--prune")
    assert {each["name"]: each["status"] for each in report["deployments"]} == {
        f"{shop.name}/main": "held",
        f"{shop.name}/other": "held",
    }
    assert (shop.pinned(), shop.pinned("other")) == (first, first)
    assert "2 held" in shop.gitflow("plan", "--prune").stdout
    shop.gitflow("unhold", "other")
    report = shop.version(2, "--prune", "--force-prune")
    assert [each["status"] for each in report["deployments"]] == ["held", "deleted"]


def test_steps_run_for_no_deployment_that_is_held(shop: Shop, tmp_path: Path) -> None:
    def step(word: str) -> str:
        script = f"bash -c 'echo {word} | tee -a {tmp_path}/ran'"
        step = f'prefect.deployments.steps.run_shell_script: {{id: word, script: "{script}"}}'
        return f"build: [{{{step}}}]\n"

    def ran(*args: str) -> tuple[list[str], dict[str, str]]:
        (tmp_path / "ran").write_text("")
        report = shop.deploy("--all", *args)
        status = {each["name"].split("/")[1]: each["status"] for each in report["deployments"]}
        return (tmp_path / "ran").read_text().split(), status

    text = MANIFEST.format(name=shop.name, who="'{{ word.stdout }}'") + "    " + step("own")
    text = step("shared") + text + SECOND + "    description: '{{ word.stdout }}'\n"
    shop.repo.write("prefect.yaml", text + SECOND.replace("other", "third"))
    shop.repo.write("flow.py", FLOW.format(name=shop.name, version=1))
    assert ran()[0] == ["own", "shared"]
    assert shop.parameters() == {"who": "own"}
    shop.gitflow("hold", "main", "other")
    assert ran("--verify") == (
        ["shared"],
        {"main": "held", "other": "held", "third": "unchanged"},
    )
    assert shop.report("plan", "--all")["deployments_with_steps"] == 1
    shop.gitflow("hold", "third")
    assert ran() == ([], {"main": "held", "other": "held", "third": "held"})
    shop.gitflow("unhold", "other")
    shop.repo.write("flow.py", FLOW.format(name=shop.name, version=2))
    assert ran() == (["shared"], {"main": "held", "other": "updated", "third": "held"})
    assert shop.live(shop.name, "other")["description"] == "shared"


def test_the_next_deploy_does_not_undo_a_rollback_that_holds(shop: Shop) -> None:
    shop.version(1, second=True)
    first = shop.pinned()
    shop.version(2, second=True)
    second = shop.pinned()
    shop.gitflow("rollback", "main", "--hold", "--yes")
    shop.version(3, second=True)
    assert shop.pinned() == first
    assert shop.pinned("other") not in (first, second)
    shop.gitflow("rollback", "main", "--to", second[:12], "--yes")
    assert shop.pinned() == second
    assert "gitflow-hold" in shop.tags()
    shop.gitflow("unhold", "main")
    shop.version(3, second=True)
    assert shop.pinned() == shop.pinned("other")
    assert "gitflow-hold" not in shop.tags()


def test_every_command_of_the_releases_page_works_in_its_order(shop: Shop, tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs/releases.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(commands) > 15
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shop.repo.git("config", "gpg.format", "ssh")
    shop.repo.git("config", "user.signingkey", f"{key}.pub")
    for number in (1, 2, 3):
        shop.version(number)
    user = Project(shop.repo.path, shop.server)
    for program, *args in commands:
        assert program == "gitflow"
        # There is nobody to ask here.
        yes = ["--yes"] if args[0] == "rollback" else []
        user.gitflow(*args, *yes)
    assert "version 2" in (tmp_path / "shop-before/flow.py").read_text()
    (step,) = shop.live(shop.name, "main")["pull_steps"]
    assert "SSH SIGNATURE" in step["gitops_flow.steps.pull_code"]["release"]
