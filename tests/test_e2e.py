"""The main job with nothing faked: real git, a real server, a real worker's run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import gitservers
from tests.support.prefect import PYTHON, SharedServer, SharedWorker
from tests.support.project import Project
from tests.support.proxy import Proxy
from tests.support.repo import Repo, fingerprint

pytestmark = pytest.mark.real

MANIFEST = """\
name: {name}
deployments:
  - name: main
    entrypoint: flow.py:hello
    work_pool: {{name: {pool}}}
    parameters: {{who: world}}
    schedules:
      - {{cron: "0 3 * * *", timezone: Europe/Berlin}}
"""
FLOW = """\
from prefect import flow

@flow(name="{name}", log_prints=True)
def hello(who: str = "nobody"):
    print(f"committed line for {{who}}")
"""
EDITED = """\
from prefect import flow
from helper import greeting

@flow(name="{name}", log_prints=True)
def hello(who: str = "nobody"):
    print(greeting(who))
"""


@pytest.fixture
def project(tmp_path: Path, prefect_server: SharedServer, namespace: str) -> Project:
    """A committed flow and manifest, with a bare repository as origin."""
    made = Project(tmp_path / "project", prefect_server)
    bare = Repo(tmp_path / "origin.git", bare=True)
    bare.git("config", "receive.fsckObjects", "true")
    made.repo.write("prefect.yaml", MANIFEST.format(name=namespace, pool="gitflow-tests"))
    made.repo.write("flow.py", FLOW.format(name=namespace))
    made.repo.commit()
    made.repo.git("remote", "add", "origin", str(bare.path))
    made.repo.git("push", "-q", "origin", "main")
    return made


@pytest.fixture
def pool(prefect_worker: Callable[[], SharedWorker]) -> SharedWorker:
    """The work pool of the manifest, with a worker on it."""
    return prefect_worker()


def test_a_worker_runs_the_uncommitted_code(
    project: Project, pool: SharedWorker, namespace: str
) -> None:
    project.repo.write("flow.py", EDITED.format(name=namespace))
    project.repo.write("helper.py", 'def greeting(who):\n    return f"uncommitted for {who}"\n')
    before = fingerprint(project.repo.path)
    report = project.deploy()
    assert fingerprint(project.repo.path) == before
    assert report["source"]["dirty"]
    assert [c["path"] for c in report["snapshot"]["changes"]] == ["flow.py", "helper.py"]
    assert project.pin(namespace, "main") == report["snapshot"]["commit"]
    log = project.run(namespace, "main")
    assert "uncommitted for world" in log
    assert report["snapshot"]["commit"][:12] in log

    # An edit is another pin, and the next run has it.
    schedules = [item["id"] for item in project.live(namespace, "main")["schedules"]]
    project.repo.write("helper.py", 'def greeting(who):\n    return f"second edit for {who}"\n')
    again = project.deploy()
    assert again["deployments"][0]["status"] == "updated"
    assert again["snapshot"]["commit"] != report["snapshot"]["commit"]
    assert "second edit for world" in project.run(namespace, "main")
    assert [item["id"] for item in project.live(namespace, "main")["schedules"]] == schedules


def test_what_ran_is_byte_for_byte_what_was_on_disk(
    project: Project, pool: SharedWorker, namespace: str
) -> None:
    source = (
        FLOW.format(name=namespace)
        + """\
    import hashlib, json, pathlib
    found = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(pathlib.Path(__file__).parent.rglob("*"))
        if path.is_file() and "__pycache__" not in str(path)
    }
    root = str(pathlib.Path(__file__).parent)
    print("FOUND" + json.dumps({k[len(root) + 1:]: v for k, v in found.items()}))
"""
    )
    project.repo.write(
        ".gitattributes", "*.bat text eol=crlf\n*.u16 working-tree-encoding=UTF-16\n"
    )
    project.repo.write("run.bat", b"one\r\ntwo\r\n").write("a.u16", "häh".encode("utf-16"))
    project.repo.write("data/ünï cöde.bin", bytes(range(256))).write("flow.py", source)
    import hashlib

    on_disk = {
        str(path.relative_to(project.repo.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in project.repo.path.rglob("*")
        if path.is_file() and ".git/" not in str(path)
    }
    project.deploy()
    log = project.run(namespace, "main")
    (line,) = [line for line in log.splitlines() if line.startswith("FOUND")]
    assert json.loads(line.removeprefix("FOUND")) == on_disk


def test_a_deploy_that_changes_nothing_writes_nothing(
    project: Project, pool: SharedWorker, namespace: str, prefect_server: SharedServer
) -> None:
    project.deploy()
    with Proxy(prefect_server.api_url) as proxy:
        project.api_url = proxy.api_url
        report = project.deploy()
        assert [item["status"] for item in report["deployments"]] == ["unchanged"]
        assert [request for request in proxy.requests if request.writes] == []
        # The version is one of them: what is asked of a server depends on it.
        assert len(proxy.requests) <= 5


def test_a_commit_of_what_was_deployed_already_writes_nothing(
    project: Project, pool: SharedWorker, namespace: str, prefect_server: SharedServer
) -> None:
    project.repo.write("helper.py", "x = 1\n")
    project.deploy()
    project.repo.commit("what was deployed")
    with Proxy(prefect_server.api_url) as proxy:
        project.api_url = proxy.api_url
        assert project.deploy()["deployments"][0]["status"] == "unchanged"
        assert [request for request in proxy.requests if request.writes] == []


def test_a_deployment_that_nobody_owns_is_adopted_and_the_report_says_so(
    project: Project, pool: SharedWorker, namespace: str, prefect_server: SharedServer
) -> None:
    flow = prefect_server.call("POST", "/flows/", {"name": namespace})["id"]
    body = {"name": "main", "flow_id": flow, "work_pool_name": "gitflow-tests"}
    made = prefect_server.call("POST", "/deployments/", body)
    shown = project.gitflow("deploy", "--all").stdout
    assert "adopted: it is owned by this source from now on" in shown
    assert project.live(namespace, "main")["id"] == made["id"]
    # It is ours now, so it is not adopted once more.
    project.repo.write("flow.py", EDITED.format(name=namespace).replace("from helper", "#"))
    (again,) = project.deploy()["deployments"]
    assert (again["status"], again["adopted"]) == ("updated", False)


def test_scheduled_runs_survive_a_deploy(
    project: Project, pool: SharedWorker, namespace: str, prefect_server: SharedServer
) -> None:
    project.deploy()
    deployment = project.live(namespace, "main")["id"]
    prefect_server.call("POST", f"/deployments/{deployment}/schedule", {"min_runs": 3})

    def upcoming() -> list[str]:
        runs = prefect_server.call(
            "POST",
            "/flow_runs/filter",
            {
                "flow_runs": {
                    "deployment_id": {"any_": [deployment]},
                    "state": {"type": {"any_": ["SCHEDULED"]}},
                },
                "limit": 100,
            },
        )
        return sorted(run["expected_start_time"] for run in runs)

    before = upcoming()
    assert before
    project.repo.write("flow.py", FLOW.format(name=namespace) + "# edited\n")
    assert project.deploy()["deployments"][0]["status"] == "updated"
    assert set(before) <= set(upcoming())


def test_a_manifest_in_a_subdirectory_with_both_kinds_of_entrypoint(
    project: Project, pool: SharedWorker, namespace: str
) -> None:
    project.repo.write(
        "etl/prefect.yaml",
        f"""\
name: {namespace}-sub
deployments:
  - name: near
    entrypoint: near.py:hello
    work_pool: {{name: gitflow-tests}}
  - name: far
    entrypoint: flows/far.py:hello
    work_pool: {{name: gitflow-tests}}
""",
    )
    near = FLOW.format(name=f"{namespace}-near").replace("committed line", "near")
    far = FLOW.format(name=f"{namespace}-far").replace("committed line", "far")
    project.repo.write("etl/near.py", near).write("flows/far.py", far)
    project.deploy("--all", cwd="etl")
    assert "near for nobody" in project.run(f"{namespace}-near", "near")
    assert "far for nobody" in project.run(f"{namespace}-far", "far")


def test_a_plain_folder_with_an_embedded_store(
    tmp_path: Path, pool: SharedWorker, prefect_server: SharedServer, namespace: str
) -> None:
    project = Project.__new__(Project)
    folder = tmp_path / "plain"
    folder.mkdir()
    project.repo = Repo(folder, init=False)
    project.server, project.api_url = prefect_server, prefect_server.api_url
    project.repo.write("prefect.yaml", MANIFEST.format(name=namespace, pool="gitflow-tests"))
    project.repo.write("flow.py", FLOW.format(name=namespace))
    report = project.deploy()
    assert report["source"]["commit"] is None
    assert report["code_store"]["created"]
    assert "committed line for world" in project.run(namespace, "main")
    assert not (folder / ".git").exists()


def test_the_push_step_of_prefect_deploy(
    project: Project, pool: SharedWorker, namespace: str
) -> None:
    import os
    import subprocess
    import sys

    project.repo.write(
        "prefect.yaml",
        f"""\
name: {namespace}
push:
  - gitops_flow.steps.push_code:
      id: code
pull:
  - gitops_flow.steps.pull_code:
      repository: "{{{{ code.repository }}}}"
      commit: "{{{{ code.commit }}}}"
      source: "{{{{ code.source }}}}"
deployments:
  - name: main
    entrypoint: flow.py:hello
    work_pool: {{name: gitflow-tests}}
""",
    )
    project.repo.write("flow.py", FLOW.format(name=namespace).replace("committed", "pushed"))
    done = subprocess.run(
        [PYTHON or sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=project.repo.path,
        env={**os.environ, "PREFECT_API_URL": project.api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(project.pin(namespace, "main")) == 40
    assert "pushed line for nobody" in project.run(namespace, "main")


def test_a_worker_reaches_a_plain_http_store_with_a_token_from_a_block(
    project: Project,
    pool: SharedWorker,
    namespace: str,
    prefect_server: SharedServer,
    tmp_path: Path,
) -> None:
    store = gitservers.bare(tmp_path / "served" / "store.git")
    with gitservers.smart_http(tmp_path / "served", tmp_path / "http") as server:
        placeholder = prefect_server.secret(namespace, f"{server.username}:{server.password}")
        settings = f'{{remote: "{store}", pull_url: {server.url("store.git")}'
        settings += f', credentials: "{placeholder}"}}'
        manifest = MANIFEST.format(name=namespace, pool="gitflow-tests")
        project.repo.write("prefect.yaml", f"gitflow: {{code_store: {settings}}}\n{manifest}")
        report = project.deploy()
        log = project.run(namespace, "main")
        assert "committed line for world" in log
        assert report["snapshot"]["commit"][:12] in log
        assert server.log
        assert f" - {server.username} [" in server.log.read_text()
        told = log + json.dumps(project.live(namespace, "main")) + json.dumps(report)
        assert server.password not in told


def test_a_missing_work_pool_is_told_with_the_command_and_changes_nothing(
    project: Project, prefect_server: SharedServer, namespace: str
) -> None:
    project.repo.write("prefect.yaml", MANIFEST.format(name=namespace, pool=f"{namespace}-pool"))
    failed = project.gitflow("deploy", "--all", code=1)
    assert f"prefect work-pool create '{namespace}-pool' --type process" in failed.stderr
    assert "prefect.yaml:3:5: there is no work pool" in failed.stderr
    assert not Repo(project.repo.path.parent / "origin.git", bare=True).git(
        "branch", "--list", "code-store"
    )


def test_create_pools_makes_a_pool_that_a_worker_can_serve(
    project: Project,
    prefect_server: SharedServer,
    namespace: str,
    own_worker: Callable[..., object],
) -> None:
    name = f"{namespace}-pool"
    project.repo.write("prefect.yaml", MANIFEST.format(name=namespace, pool=name))
    assert project.deploy("--all", "--create-pools")["work_pools_created"] == [name]
    pool = prefect_server.call("GET", f"/work_pools/{name}")
    assert pool["type"] == "process"
    assert pool["base_job_template"]["variables"]
    own_worker(name, {"PREFECT_WORKER_QUERY_SECONDS": "0.5"})
    assert "committed line for world" in project.run(namespace, "main")
