"""``plan``, ``diff``, ``--prune`` and ``destroy`` on a real server."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.report import plan as report
from tests.support.prefect import SharedServer, make_block
from tests.support.project import NearProject, Project
from tests.support.proxy import Proxy
from tests.support.repo import Repo, fingerprint

pytestmark = pytest.mark.real

FLOW = """\
from prefect import flow

@flow(name="{name}")
def hello(who: str = "nobody", times: int = 1):
    pass
"""
ITEM = """\
  - name: {name}
    entrypoint: flow.py:hello
    tags: [{tag}]
    work_pool: {{name: {pool}}}
"""


def manifest(source: str, *items: str, pool: str, head: str = "") -> str:
    listed = "".join(ITEM.format(name=name, tag=f"t-{name}", pool=pool) for name in items)
    return f"name: {source}\n{head}deployments:\n{listed}"


@pytest.fixture
def pool(prefect_server: SharedServer, namespace: str) -> str:
    template = {
        "job_configuration": {"env": "{{ env }}", "cpu": "{{ cpu }}"},
        "variables": {
            "type": "object",
            "properties": {"env": {"type": "object"}, "cpu": {"type": "integer"}},
        },
    }
    body = {"name": namespace, "type": "process", "base_job_template": template}
    prefect_server.call("POST", "/work_pools/", body)
    return namespace


@pytest.fixture
def project(tmp_path: Path, prefect_server: SharedServer, namespace: str, pool: str) -> Project:
    made = NearProject(tmp_path / "project", prefect_server)
    bare = Repo(tmp_path / "origin.git", bare=True)
    made.repo.write("prefect.yaml", manifest(namespace, "one", "two", "three", pool=pool))
    made.repo.write("flow.py", FLOW.format(name=namespace))
    made.repo.commit()
    made.repo.git("remote", "add", "origin", str(bare.path))
    return made


def planned(project: Project, *args: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.gitflow("plan", *args, "--json", code=code).stdout)
    return found


def actions(document: dict[str, Any]) -> dict[str, str]:
    return {each["name"].split("/")[1]: each["action"] for each in document["actions"]}


def test_a_plan_writes_nothing_anywhere(
    project: Project, namespace: str, prefect_server: SharedServer, tmp_path: Path
) -> None:
    project.deploy()
    refs = Repo(tmp_path / "origin.git", bare=True).git("for-each-ref")
    project.repo.write("flow.py", FLOW.format(name=namespace) + "\nx = 1\n")
    before = fingerprint(project.repo.path)
    with Proxy(prefect_server.api_url) as proxy:
        project.api_url = proxy.api_url
        document = planned(project)
        assert [request for request in proxy.requests if request.writes] == []
    assert set(actions(document).values()) == {"update"}
    assert fingerprint(project.repo.path) == before
    assert Repo(tmp_path / "origin.git", bare=True).git("for-each-ref") == refs


def follow(project: Project, *args: str) -> str:
    """Run a command, then the one that it prints as the next, as it is printed; its name."""
    lines = project.gitflow(*args).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("next: ")]
    program, *words = shlex.split(line.removeprefix("next: "))
    if program == "gitflow":
        project.gitflow(*words)
    else:
        environment = {**os.environ, "PREFECT_API_URL": project.api_url}
        command = [sys.executable, "-m", program, *words]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    return " ".join((program, words[0]))


def test_every_next_step_works_as_it_is_printed(
    project: Project, namespace: str, pool: str
) -> None:
    assert follow(project, "plan") == "gitflow deploy"
    # One to update, one to create, one that is not in the manifest any more.
    project.repo.write("prefect.yaml", manifest(namespace, "two", "four", "three", pool=pool))
    project.repo.write("flow.py", FLOW.format(name=namespace) + "\nx = 1\n")
    assert follow(project, "plan", "two", "four") == "gitflow deploy"
    assert follow(project, "deploy", "--all") == "prefect deployment"
    project.gitflow("hold", "two")
    assert follow(project, "unhold", "--all") == "gitflow plan"
    assert follow(project, "rollback", "--all", "--dry-run") == "gitflow rollback"


def test_the_sample_of_the_plan_page_is_what_a_plan_prints(
    project: Project, namespace: str, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text(tag: str, hour: int) -> str:
        item = f"    schedules: [{{slug: nightly, cron: '0 {hour} * * *'}}]\n"
        return manifest(namespace, "main", pool=pool).replace("t-main", tag) + item + others

    others = "".join(ITEM.format(name=name, tag="x", pool=pool) for name in ("hourly", "weekly"))
    project.repo.write("prefect.yaml", text("b", 3))
    project.repo.commit()
    project.deploy()
    project.repo.write("prefect.yaml", text("", 4))
    flow = FLOW.format(name=namespace)
    project.repo.write("flow.py", flow + "x = 1\n")
    page = (Path(__file__).parent.parent / "docs/plan.md").read_text()
    (sample,) = re.findall(r"```\n(server .*?)```", page, re.DOTALL)
    monkeypatch.setattr(report, "_ROOM", 200)  # the real names are longer
    shown = project.gitflow("plan").stdout.replace(namespace, "hello")
    shown = shown.replace(project.api_url, "http://127.0.0.1:4200/api")
    assert anonymous(shown) == anonymous(sample)


def anonymous(text: str) -> str:
    """``text`` with its ids numbered in the order in which they come."""
    known: dict[str, str] = {}
    number = lambda match: known.setdefault(match[0][:8], f"id{len(known)}")  # noqa: E731
    return re.sub(r"\b[0-9a-f]{8}(?:[0-9a-f]{4})?\b", number, text)


def test_an_override_is_told_written_recorded_and_gone_with_the_next_deploy(
    project: Project, namespace: str, prefect_server: SharedServer, pool: str
) -> None:
    project.deploy()
    template = prefect_server.call("GET", f"/work_pools/{pool}")["base_job_template"]
    other = {"name": f"{namespace}-b", "type": "process", "base_job_template": template}
    prefect_server.call("POST", "/work_pools/", other)
    over = ("one", "--pool", f"{namespace}-b", "--param", "times=3", "--job-variable", "env=x")
    shown = project.gitflow("plan", *over, code=1).stdout
    assert f"work_pool: {pool} -> {namespace}-b (from --pool)" in shown
    assert "parameters.times: 3 (from --param)" in shown
    assert "--job-variable: " in shown  # the pool's schema takes a mapping
    shown = project.gitflow("plan", *over[:5]).stdout
    assert f"next: gitflow deploy --pool {namespace}-b --param times=3 one\n" in shown
    changed = {
        each["path"]: each["option"]
        for each in planned(project, *over[:5])["actions"][0]["changes"]
    }
    assert changed == {"work_pool": "--pool", "parameters.times": "--param"}
    project.gitflow("deploy", *over[:5])
    assert project.live(namespace, "one")["work_pool_name"] == f"{namespace}-b"
    assert project.live(namespace, "two")["work_pool_name"] == pool
    shown = project.gitflow("show", "@1").stdout
    assert f'with       --pool "{namespace}-b"\n' in shown
    assert "with       --param times\n" in shown
    project.deploy()
    assert project.live(namespace, "one")["work_pool_name"] == pool
    assert project.live(namespace, "one")["parameters"] == {}


def test_deployments_that_only_get_other_code_are_one_row_unless_all_is_asked_for(
    project: Project, namespace: str
) -> None:
    project.deploy()
    project.repo.write("flow.py", FLOW.format(name=namespace) + "\nx = 1\n")
    shown = project.gitflow("plan", "--markdown").stdout
    assert "| update | `3 deployments`<br>" in shown
    assert "next:" not in shown
    whole = project.gitflow("plan", "--markdown", "--verbose").stdout
    assert [f"| `{namespace}/{name}` |" in whole for name in ("one", "two", "three")] == [True] * 3


def test_no_next_step_deletes_anything(project: Project, namespace: str, pool: str) -> None:
    project.deploy()
    project.repo.write("prefect.yaml", manifest(namespace, "one", "two", "new", pool=pool))
    shown = project.gitflow("plan").stdout
    assert f"not in the manifest any more: {namespace}/three\n" in shown
    assert "next: gitflow deploy --all\n" in shown
    shown = project.gitflow("plan", "--all", "--prune").stdout
    assert f"- delete {namespace}/three" in shown
    assert "next:" not in shown


def test_a_deploy_says_what_is_not_in_the_manifest_any_more(
    project: Project, namespace: str, pool: str
) -> None:
    project.deploy()
    project.repo.write("prefect.yaml", manifest(namespace, "one", "two", pool=pool))
    assert (
        f"not in the manifest any more: {namespace}/three"
        in project.gitflow("deploy", "--all").stdout
    )
    assert project.deploy()["orphans"] == [f"{namespace}/three"]
    assert project.deploy("one")["orphans"] == []


def test_a_plan_says_that_the_code_store_cannot_be_used(project: Project, tmp_path: Path) -> None:
    project.repo.git("remote", "set-url", "origin", str(tmp_path / "gone.git"))
    shown = project.gitflow("plan")
    assert f"the code store {tmp_path}/gone.git cannot be used now" in shown.stdout + shown.stderr


def test_a_plan_tells_the_files_and_lines_that_change(project: Project, namespace: str) -> None:
    project.deploy()
    project.repo.write("flow.py", FLOW.format(name=namespace) + "\nx = 1\n").write("new.py", "1\n")
    (change,) = planned(project)["code"]
    assert change["files"] == [
        {"path": "flow.py", "kind": "modified"},
        {"path": "new.py", "kind": "added"},
    ]
    assert (change["insertions"], change["deletions"]) == (3, 0)


def test_a_plan_shows_each_value_before_and_after_with_secrets_masked(
    project: Project, namespace: str, pool: str
) -> None:
    text = manifest(namespace, "one", pool=pool)
    project.repo.write("prefect.yaml", text + "    parameters: {who: me}\n    description: first\n")
    project.deploy()
    job = "{env: {API_TOKEN: secret-value-1, MODE: fast}}"
    text = text.replace(f"{{name: {pool}}}", f"{{name: {pool}, job_variables: {job}}}")
    project.repo.write("prefect.yaml", text + "    parameters: {who: you}\n")
    shown = project.gitflow("plan").stdout
    assert "    parameters.who: me -> you\n" in shown
    assert "    description: first -> removed\n" in shown
    assert "    job_variables.env.MODE: fast\n" in shown
    assert "job_variables.env.API_TOKEN" in shown
    assert "secret-value-1" not in shown


def test_a_plan_shows_every_value_of_what_it_creates(
    project: Project, namespace: str, pool: str
) -> None:
    text = manifest(namespace, "one", pool=pool)
    text = text.replace(f"{{name: {pool}}}", f"{{name: {pool}, job_variables: {{env: {{A: b}}}}}}")
    more = "    parameters: {who: me}\n    description: d\n    concurrency_limit: 3\n"
    project.repo.write("prefect.yaml", text + more + "    paused: true\n")
    shown = project.gitflow("plan").stdout
    for line in (
        "parameters.who: me",
        "job_variables.env.A: b",
        "description: d",
        "concurrency_limit: 3",
        "paused: true",
        "tags: t-one",
    ):
        assert f"    {line}\n" in shown


def test_the_exit_code_says_that_something_is_to_be_done_only_when_asked(project: Project) -> None:
    project.gitflow("plan")
    project.gitflow("plan", "--exit-code", code=4)
    project.deploy()
    project.gitflow("plan", "--exit-code")
    project.gitflow("diff", "--exit-code")


def test_a_dry_run_is_the_plan(project: Project) -> None:
    assert project.gitflow("deploy", "--all", "--dry-run").stdout == project.gitflow("plan").stdout


def test_markdown_has_a_row_for_each_deployment_that_changes(project: Project) -> None:
    shown = project.gitflow("plan", "one", "--markdown").stdout
    assert "| create | `" in shown
    assert shown.count("| create |") == 1


def test_deployments_are_chosen_by_tag_and_glob(project: Project) -> None:
    assert set(actions(planned(project, "--tag", "t-two"))) == {"two"}
    assert set(actions(planned(project, "t*"))) == {"two", "three"}
    assert set(actions(planned(project, "t*", "--tag", "t-two"))) == {"two"}


def test_a_deployment_answers_to_the_name_that_the_server_has(
    project: Project, namespace: str
) -> None:
    assert set(actions(planned(project, f"{namespace}/two"))) == {"two"}
    project.deploy(f"{namespace}/t*")
    shown = project.gitflow("plan", f"{namespace}/twu", code=2).stderr
    assert f"did you mean '{namespace}/two'?" in shown


def test_changed_leaves_out_what_is_the_same(project: Project, namespace: str, pool: str) -> None:
    project.deploy()
    text = manifest(namespace, "one", "two", "three", pool=pool).replace("t-two", "other")
    project.repo.write("prefect.yaml", text)
    report = project.deploy("--all", "--changed")
    assert [item["name"].split("/")[1] for item in report["deployments"]] == ["one", "two", "three"]
    project.repo.write("prefect.yaml", text.replace("other", "again"))
    project.repo.git("add", "-A")
    assert "two" in actions(planned(project, "--changed"))
    project.deploy("--changed")
    assert project.live(namespace, "two")["tags"][0] == "again"


def test_a_deployment_that_is_gone_from_the_manifest_is_deleted_only_with_prune(
    project: Project, namespace: str, pool: str
) -> None:
    project.repo.write(
        "prefect.yaml", manifest(namespace, "one", "two", "three", "four", pool=pool)
    )
    project.deploy()
    project.repo.write("prefect.yaml", manifest(namespace, "one", "two", "three", pool=pool))
    document = planned(project)
    assert document["orphans"] == [f"{namespace}/four"]
    project.deploy()
    assert project.live(namespace, "four")
    assert actions(planned(project, "--prune"))["four"] == "delete"
    report = project.deploy("--all", "--prune")
    assert {item["name"]: item["status"] for item in report["deployments"]}[
        f"{namespace}/four"
    ] == "deleted"
    names = [item["name"] for item in everything(project, namespace)]
    assert sorted(names) == ["one", "three", "two"]


def everything(project: Project, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.server.call(
        "POST", "/deployments/filter", {"flows": {"name": {"any_": [namespace]}}, "limit": 50}
    )
    return found


def test_more_than_a_third_is_not_pruned_without_force(
    project: Project, namespace: str, pool: str
) -> None:
    project.deploy()
    project.repo.write("prefect.yaml", manifest(namespace, "one", pool=pool))
    failed = project.gitflow("deploy", "--all", "--prune", code=1)
    assert "would delete 2 of the source's 3 deployments" in failed.stderr
    assert "--force-prune" in failed.stderr
    assert len(everything(project, namespace)) == 3
    project.gitflow("deploy", "--all", "--force-prune")
    assert [item["name"] for item in everything(project, namespace)] == ["one"]


@pytest.mark.parametrize("choice", [["one"], ["--all", "--tag", "t-one"]])
def test_prune_wants_the_whole_manifest(project: Project, choice: list[str]) -> None:
    assert "--prune needs --all" in project.gitflow("deploy", *choice, "--prune", code=2).stderr


def test_names_and_all_exclude_each_other(project: Project) -> None:
    assert "exclude each other" in project.gitflow("deploy", "one", "--all", code=2).stderr


def test_what_was_not_chosen_is_not_called_gone(project: Project) -> None:
    project.deploy()
    assert planned(project, "--tag", "t-one")["orphans"] == []


def test_a_stranger_of_the_same_flow_is_never_pruned_or_destroyed(
    project: Project, namespace: str
) -> None:
    project.deploy()
    flow = project.live(namespace, "one")["flow_id"]
    project.server.call("POST", "/deployments/", {"name": "stranger", "flow_id": flow})
    project.gitflow("deploy", "--all", "--prune")
    project.gitflow("destroy", "--yes")
    assert [item["name"] for item in everything(project, namespace)] == ["stranger"]


def test_destroy_asks_and_takes_only_the_name_for_a_yes(project: Project, namespace: str) -> None:
    project.deploy()
    assert "add --yes" in project.gitflow("destroy", code=2).stderr
    assert project.answered("yes\n", "destroy") == 1
    assert len(everything(project, namespace)) == 3
    assert project.answered(f"{namespace}\n", "destroy") == 0
    assert everything(project, namespace) == []


def test_diff_shows_what_was_switched_in_the_ui_and_a_deploy_leaves_it(
    project: Project, namespace: str, pool: str
) -> None:
    text = manifest(namespace, "one", pool=pool) + '    schedules: [{cron: "0 3 * * *"}]\n'
    project.repo.write("prefect.yaml", text)
    project.deploy()
    live = project.live(namespace, "one")
    schedule = live["schedules"][0]["id"]
    path = f"/deployments/{live['id']}/schedules/{schedule}"
    project.server.call("PATCH", path, {"active": False})
    project.server.call("PATCH", f"/deployments/{live['id']}", {"paused": True, "tags": ["x"]})
    shown = project.gitflow("diff", "--exit-code", code=4).stdout
    assert "1 deployment switched by hand" in shown
    assert f"left alone: {namespace}/one: paused is true on the server" in shown
    assert "].active is false on the server" in shown
    assert "tags: x -> t-one" in shown
    project.deploy()
    live = project.live(namespace, "one")
    assert (live["paused"], live["schedules"][0]["active"]) == (True, False)
    assert "t-one" in live["tags"]


def test_what_the_manifest_leaves_to_the_ui_is_left_there(
    project: Project, namespace: str, pool: str
) -> None:
    head = "gitflow: {ignore: [paused]}\n"
    text = manifest(namespace, "one", pool=pool, head=head) + "    paused: false\n"
    project.repo.write("prefect.yaml", text)
    project.deploy()
    live = project.live(namespace, "one")
    project.server.call("PATCH", f"/deployments/{live['id']}", {"paused": True})
    assert project.deploy()["deployments"][0]["status"] == "unchanged"
    assert project.live(namespace, "one")["paused"]


def test_what_the_server_would_refuse_is_told_before_a_build_step_runs(
    project: Project, namespace: str, pool: str
) -> None:
    steps = "build: [{prefect.deployments.steps.run_shell_script: {script: touch ran}}]\n"
    text = manifest(namespace, "one", pool=pool, head=steps)
    bad = text.replace(f"{{name: {pool}}}", f"{{name: {pool}, job_variables: {{cpu: many}}}}")
    project.repo.write("prefect.yaml", bad + "    parameters: {times: often}\n")
    failed = project.gitflow("deploy", "--all", code=1)
    assert re.search(r"prefect\.yaml:7:\d+: .*job_variables\.cpu", failed.stderr)
    assert re.search(r"prefect\.yaml:8:\d+: .*parameters\.times", failed.stderr)
    assert not (project.repo.path / "ran").exists()
    assert everything(project, namespace) == []


def test_a_build_step_that_writes_a_file_ships_it_and_its_output_counts(
    project: Project, namespace: str, pool: str
) -> None:
    steps = (
        "build: [{prefect.deployments.steps.run_shell_script: "
        "{id: made, script: 'cp flow.py built.py'}},\n"
        "        {prefect.deployments.steps.run_shell_script: {id: tag, script: echo v7}}]\n"
    )
    text = manifest(namespace, "one", "two", pool=pool, head=steps)
    project.repo.write("prefect.yaml", text + '    version: "{{ tag.stdout }}"\n')
    report = project.deploy()
    assert "built.py" in [change["path"] for change in report["snapshot"]["changes"]]
    assert project.live(namespace, "two")["version"] == "v7"
    assert project.pin(namespace, "two") == report["snapshot"]["commit"]


def test_what_is_known_after_build_counts_as_something_to_do(
    project: Project, namespace: str, pool: str
) -> None:
    steps = "build: [{prefect.deployments.steps.run_shell_script: {id: tag, script: echo v7}}]\n"
    text = manifest(namespace, "one", "two", pool=pool, head=steps)
    project.repo.write("prefect.yaml", text + '    version: "{{ tag.stdout }}"\n')
    project.deploy()
    document = planned(project, "--exit-code", code=4)
    assert actions(document) == {"one": "unchanged", "two": "update"}
    (waits,) = (each for each in document["actions"] if each["action"] != "unchanged")
    assert (waits["known_after_build"], waits["fields"]) == (True, ["version"])
    project.gitflow("diff", "--exit-code", code=4)
    project.repo.write(
        "prefect.yaml", text.replace("t-two", "t-2") + "    version: v{{ tag.stdout }}\n"
    )
    certain = planned(project, "two", "--exit-code", code=4)["actions"]
    assert [each["known_after_build"] for each in certain] == [False]


def test_a_build_step_that_fails_stops_the_deploy_with_its_last_lines(
    project: Project, namespace: str, pool: str
) -> None:
    steps = "build: [{prefect.deployments.steps.run_shell_script: {script: ls nowhere-at-all}}]\n"
    project.repo.write("prefect.yaml", manifest(namespace, "one", pool=pool, head=steps))
    failed = project.gitflow("deploy", "--all", code=1)
    assert "run_shell_script" in failed.stderr
    assert "nowhere-at-all" in failed.stderr
    assert everything(project, namespace) == []


def test_checkout_stock_writes_prefects_own_step(
    project: Project, namespace: str, pool: str, tmp_path: Path
) -> None:
    head = "gitflow: {checkout: stock}\n"
    project.repo.write("prefect.yaml", manifest(namespace, "one", pool=pool, head=head))
    commit = project.deploy()["snapshot"]["commit"]
    (step,) = project.live(namespace, "one")["pull_steps"]
    assert step == {
        "prefect.deployments.steps.git_clone": {
            "repository": str(tmp_path / "origin.git"),
            "commit_sha": commit,
            "clone_directory_name": f"origin-{commit[:12]}",
        }
    }
    assert project.deploy()["deployments"][0]["status"] == "unchanged"


def test_deployments_of_one_computed_flow_have_the_names_that_the_manifest_gives(
    project: Project, namespace: str, pool: str
) -> None:
    project.repo.write("flow.py", "import os\n" + FLOW.replace('"{name}"', "os.environ['N']"))
    text = manifest(namespace, "one", "two", pool=pool)
    one, two = f"{namespace}-a", f"{namespace}-b"
    text = text.replace("    tags: [t-one]", f"    flow_name: {one}\n    tags: [t-one]")
    text = text.replace("    tags: [t-two]", f"    flow_name: {two}\n    tags: [t-two]")
    project.repo.write("prefect.yaml", text)
    document = planned(project)
    assert [each["name"] for each in document["actions"]] == [f"{one}/one", f"{two}/two"]


def test_import_flows_asks_python_where_the_source_does_not_say_it_all(
    project: Project, namespace: str, pool: str
) -> None:
    project.repo.write("prefect.yaml", manifest(namespace, "one", pool=pool))
    source = "import os\nfrom prefect import flow\n\n@flow(name=str(os.sep))\ndef hello(): ...\n"
    project.repo.write("flow.py", source)
    refused = project.gitflow("plan", code=1).stderr
    assert "(set flow_name: in the manifest, or use --import-flows)" in refused
    project.repo.write(
        "flow.py",
        "from prefect import flow\n\n"
        "def kinds():\n    return 'one' + 'two'\n\n"
        f"@flow(name={namespace!r})\n"
        "def hello(kind: str = kinds()):\n    pass\n",
    )
    project.deploy("--all", "--import-flows", "--python", sys.executable)
    schema = project.live(namespace, "one")["parameter_openapi_schema"]
    assert schema["properties"]["kind"]["default"] == "onetwo"


@pytest.mark.parametrize("copy", [False, True])
def test_a_secret_whose_placeholder_is_taken_out_is_not_shown(
    project: Project, namespace: str, pool: str, copy: bool
) -> None:
    allow = "gitflow: {allow_stored_secrets: [DB_PASSWORD], environments: {e: %s}}\n"
    text = manifest(namespace, "one", pool=pool, head=allow)
    value = "{parameters: {who: 'x{{ $DB_PASSWORD }}'}}"
    options = ("--env", "e", "--suffix", "kim") if copy else ()
    said = text % value if copy else text % "" + f"    {value[1:-1]}\n"
    project.repo.write("prefect.yaml", said)
    project.deploy("--all", *options, env={"DB_PASSWORD": "hunter-22"})
    project.repo.write("prefect.yaml", text % "")
    for form in ("--json", "--markdown"):
        shown = project.gitflow("plan", form, *options).stdout
        assert "parameters.who" in shown
        assert "hunter-22" not in shown


def test_secrets_beside_an_output_that_is_known_after_build_are_masked(
    project: Project, namespace: str, pool: str
) -> None:
    steps = "build: [{prefect.deployments.steps.run_shell_script: {id: at, script: echo 7}}]\n"
    held = "{password: hunter-22, d: {api_key: hunter-33}}"
    item = (
        f"    schedules: [{{cron: '0 {{{{ at.stdout }}}} * * *', parameters: {held}}}]\n"
        "    triggers:\n"
        f"    - {{expect: ['x.{{{{ at.stdout }}}}'], parameters: {held}}}\n"
    )
    text = manifest(namespace, "one", pool=pool, head=steps) + item
    project.repo.write("prefect.yaml", text + "    enforce_parameter_schema: false\n")
    project.deploy()
    masked = '{"password": "****", "d": {"api_key": "****"}}'
    for command in (("plan",), ("plan", "--json"), ("plan", "--markdown"), ("diff",)):
        shown = project.gitflow(*command).stdout
        assert "hunter" not in shown
        shown = shown.replace("\\", "")
        assert f'cron "0 7 * * *" UTC parameters {masked}' in shown
        assert f"event x.7 parameters {masked}" in shown


def test_the_nearest_variable_and_block_that_the_server_has_are_named(
    project: Project, namespace: str, pool: str
) -> None:
    name = namespace.replace("-", "_")
    project.server.call("POST", "/variables/", {"name": f"{name}_num", "value": 1})
    make_block(project.server.call, "secret", f"{namespace}-tok", {"value": "hunter-22"})
    values = (
        f"who: '{{{{ prefect.variables.{name}_nums }}}}', "
        f"times: '{{{{ prefect.blocks.secret.{namespace}-tik }}}}'"
    )
    text = manifest(namespace, "one", pool=pool) + f"    parameters: {{{values}}}\n"
    project.repo.write("prefect.yaml", text)
    failed = project.gitflow("plan", code=1)
    assert f"did you mean '{name}_num'?" in failed.stderr
    assert f"did you mean 'secret/{namespace}-tok'?" in failed.stderr
    assert "hunter" not in failed.stderr


def test_a_clone_in_a_directory_of_another_name_is_the_same_source(
    project: Project, namespace: str, pool: str, tmp_path: Path
) -> None:
    text = manifest(namespace, "one", "two", "three", pool=pool)
    text = text.replace(f"name: {namespace}\n", "", 1)
    project.repo.write("prefect.yaml", text)
    project.repo.commit("no name")
    project.repo.git("push", "-q", "origin", "main")
    project.deploy()
    clone = tmp_path / "another-name"
    project.repo.git(
        "clone", "-q", "-b", "main", str(tmp_path / "project" / ".." / "origin.git"), str(clone)
    )
    again = NearProject(clone, project.server)
    assert set(actions(planned(again)).values()) == {"unchanged"}
    again.gitflow("destroy", "--yes")
    assert everything(project, namespace) == []


def test_a_source_that_is_named_anew_still_prunes_what_it_owns(
    project: Project, namespace: str, pool: str
) -> None:
    project.repo.write(
        "prefect.yaml", manifest(namespace, "one", "two", "three", "four", pool=pool)
    )
    project.deploy()
    text = manifest(f"{namespace}-renamed", "one", "two", "three", pool=pool)
    project.repo.write("prefect.yaml", text)
    project.deploy("--all", "--prune")
    assert len(everything(project, namespace)) == 3


def test_a_working_directory_elsewhere_is_kept_and_warned_of(
    project: Project, namespace: str, pool: str
) -> None:
    step = {"prefect.deployments.steps.set_working_directory": {"directory": "/opt/elsewhere"}}
    head = f"pull: [{json.dumps(step)}]\n"
    project.repo.write("prefect.yaml", manifest(namespace, "one", pool=pool, head=head))
    shown = project.gitflow("deploy", "--all").stdout
    assert "it decides which code runs, so the code is not pinned" in shown
    assert project.live(namespace, "one")["pull_steps"] == [step]


def test_another_branch_than_the_one_on_disk_is_planned_and_not_deployed(
    project: Project, namespace: str, pool: str, tmp_path: Path
) -> None:
    origin = tmp_path / "origin.git"
    clone = (
        f"pull: [{{prefect.deployments.steps.git_clone: {{repository: {origin}, branch: main}}}}]\n"
    )
    project.repo.write("prefect.yaml", manifest(namespace, "one", pool=pool, head=clone))
    project.repo.git("checkout", "-q", "-b", "develop")
    document = planned(project, code=1)
    assert actions(document) == {"one": "create"}
    [refusal] = document["blocked"]
    assert refusal["details"][0].startswith("prefect.yaml:2:")
    told = project.gitflow("deploy", "--all", code=1).stderr
    assert "pull steps name other code than what is deployed; nothing was changed" in told
    assert Repo(origin, bare=True).git("for-each-ref") == ""
    project.repo.git("checkout", "-q", "main")
    assert project.deploy()["deployments"][0]["status"] == "created"


def test_what_workers_would_miss_is_told_with_its_place_and_the_nearest_name(
    project: Project, prefect_server: SharedServer, namespace: str, pool: str
) -> None:
    prefect_server.secret(f"{namespace}-token", "s")
    queue = {"name": f"{namespace}-high"}
    prefect_server.call("POST", f"/work_pools/{pool}/queues", queue)
    text = manifest(namespace, "one", pool=pool)
    place = f"{{{{name: {pool}, work_queue_name: {namespace}-hihg, job_variables: {{{{env: "
    for name, code in (("tokn", 1), ("token", 0)):
        block = f"{{{{{{{{ prefect.blocks.secret.{namespace}-{name} }}}}}}}}"
        line = f"{place}{{{{A: '{block}'}}}}}}}}}}}}".format()
        project.repo.write("prefect.yaml", text.replace(f"{{name: {pool}}}", line))
        done = project.gitflow("plan", code=code)
        at = "prefect.yaml:6:"
        if code:
            assert at in done.stderr
            assert f"did you mean 'secret/{namespace}-token'?" in done.stderr
        else:
            assert f"warning: {at}" in done.stdout
            assert f"did you mean '{namespace}-high'?" in done.stdout


def test_every_report_names_the_server_and_who_named_it(project: Project, namespace: str) -> None:
    line = f"server {project.api_url} (PREFECT_API_URL)"
    for command in (
        ["plan"],
        ["deploy", "--all"],
        ["diff"],
        ["history"],
        ["hold", "one"],
        ["unhold", "one"],
        ["destroy", "--yes"],
    ):
        assert project.gitflow(*command).stdout.startswith(f"{line}\n"), command
        found = json.loads(project.gitflow(*command, "--json").stdout)
        assert found["server"] == project.api_url, command
    assert line in project.gitflow("plan", "--markdown").stdout
    assert line in project.gitflow("deploy", "--all", "--markdown").stdout
    assert project.gitflow("verify").stdout.startswith(f"{line}\n")


def test_a_source_that_is_named_keeps_its_deployments_and_one_that_is_not_is_offered_them(
    project: Project, namespace: str, pool: str
) -> None:
    project.deploy()
    head = f"gitflow: {{source: acme/{namespace}}}\n"
    names = ("one", "two", "three")
    project.repo.write("prefect.yaml", manifest(namespace, *names, pool=pool, head=head))
    found = planned(project)
    assert not any(each["adopted"] for each in found["actions"])
    assert {change["path"] for each in found["actions"] for change in each["changes"]} == {
        "tags",
        "pull_steps[0] gitops_flow.steps.pull_code.commit",
        "version",
    }
    assert len(json.loads(project.gitflow("hold", "--all", "--json").stdout)["deployments"]) == 3
    project.gitflow("unhold", "--all")
    project.deploy()
    assert set(actions(planned(project)).values()) == {"unchanged"}
    project.repo.write("prefect.yaml", manifest(namespace, *names, pool=pool))
    refused = planned(project, code=1)
    assert set(actions(refused).values()) == {"refuse"}
    assert "--adopt takes it over" in refused["actions"][0]["reason"]
    assert {each["status"] for each in project.deploy("--all", "--adopt")["deployments"]} == {
        "updated"
    }
