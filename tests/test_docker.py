"""A real Docker worker runs pinned code, and our own image of the controller deploys it.

Needs GITFLOW_TESTS_DOCKER (tests/support/docker.py says what for); CI does without.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gitops_flow import local
from gitops_flow.errors import ApiError
from tests.support import gitservers
from tests.support.controller import Pushed
from tests.support.docker import BASE, OURS, STOCK, Docker, docker
from tests.support.prefect import SharedServer
from tests.support.project import Project

pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]

MANIFEST = """\
name: {name}
{head}deployments:
  - name: main
    entrypoint: flow.py:hello
    work_pool:
      name: {pool}
      job_variables:
        image: {image}
        image_pull_policy: Never
        network_mode: host
        networks: []
        auto_remove: true
"""
FLOW = """\
from prefect import flow
from helper import greeting

@flow(name="{name}", log_prints=True)
def hello():
    print(greeting())
"""
BUILD = """\
build:
  - prefect_docker.deployments.steps.build_docker_image:
      id: build
      image_name: gitflow-shop
      tag: "{{ gitflow.snapshot }}"
      path: "{{ gitflow.directory }}"
      pull: false
      labels:
        org.gitops-flow.snapshot: "{{ gitflow.snapshot }}"
        org.opencontainers.image.revision: "{{ gitflow.commit }}"
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Docker]:
    with docker() as made:
        yield made


@pytest.fixture(scope="module")
def pool(
    daemon: Docker, prefect_server: SharedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A work pool of type docker with a worker on it."""
    home = tmp_path_factory.mktemp("docker-worker")
    name = "gitflow-docker"
    with local.start_worker(
        prefect_server.api_url,
        name,
        home,
        home / "prefect",
        daemon.environment,
        environ=os.environ,
        kind="docker",
    ):
        yield name


@pytest.fixture
def project(tmp_path: Path, prefect_server: SharedServer, namespace: str) -> Iterator[Project]:
    """A flow with an uncommitted edit, whose code store is served by a git daemon."""
    gitservers.bare(tmp_path / "served" / "shop.git")
    made = Project(tmp_path / "project", prefect_server)
    made.repo.write("flow.py", FLOW.format(name=namespace))
    made.repo.write("helper.py", "def greeting():\n    return 'committed'\n").commit()
    made.repo.write("helper.py", "def greeting():\n    return 'uncommitted, in a container'\n")
    with gitservers.git_daemon(tmp_path / "served", tmp_path / "git", receive=True) as server:
        made.repo.git("remote", "add", "origin", server.url("shop.git"))
        yield made


def _deploy(project: Project, daemon: Docker, **values: str) -> str:
    project.repo.write("prefect.yaml", MANIFEST.format(**values))
    report = project.deploy("--all", "--python", sys.executable, env=daemon.environment)
    assert report["ok"], report
    return str(report["snapshot"]["commit"])


def test_a_container_runs_the_pinned_code_with_our_step(
    project: Project, daemon: Docker, pool: str, namespace: str
) -> None:
    snapshot = _deploy(project, daemon, name=namespace, pool=pool, image=OURS, head="")
    log = project.run(namespace, "main")
    assert "uncommitted, in a container" in log
    assert snapshot[:12] in log


def test_a_container_without_gitops_flow_runs_it_with_prefects_own_step(
    project: Project, daemon: Docker, pool: str, namespace: str
) -> None:
    head = "gitflow: {checkout: stock}\n"
    _deploy(project, daemon, name=namespace, pool=pool, image=STOCK, head=head)
    assert "uncommitted, in a container" in project.run(namespace, "main")


def test_an_image_holds_exactly_the_snapshot_that_its_label_names(
    project: Project, daemon: Docker, pool: str, namespace: str
) -> None:
    project.repo.write("Dockerfile", f"FROM {STOCK}\nWORKDIR /opt/shop\nCOPY . .\n")
    project.repo.write(".gitignore", "secret\n").write("secret", "not to be shipped")
    image = '"{{ build.image }}"'
    snapshot = _deploy(project, daemon, name=namespace, pool=pool, image=image, head=BUILD)
    live = project.live(namespace, "main")
    built = f"gitflow-shop:{snapshot}"
    assert (live["job_variables"]["image"], live["pull_steps"]) == (built, [])
    label = '{{index .Config.Labels "org.gitops-flow.snapshot"}}'
    assert daemon.run("inspect", "--format", label, built) == snapshot
    listed = daemon.run("run", "--rm", "--pull=never", "--network=host", built, "ls", "-A")
    assert listed.split() == [".gitignore", "Dockerfile", "flow.py", "helper.py", "prefect.yaml"]
    assert "uncommitted, in a container" in project.run(namespace, "main")


_BASE = f"""\
FROM {BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
COPY wheels /wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
"""
_ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def controller_image(daemon: Docker, tmp_path_factory: pytest.TempPathFactory) -> str:
    """``packaging/Dockerfile``, over a base that needs no registry and no index."""
    context = tmp_path_factory.mktemp("base")
    wheels = [sys.executable, "-m", "pip", "--quiet", "wheel", "--constraint=constraints.txt"]
    wheels += [f"--wheel-dir={context}/wheels", ".[controller]", "hatchling", "pip"]
    subprocess.run(wheels, cwd=_ROOT, check=True)
    (context / "Dockerfile").write_text(_BASE)
    base, made = "gitflow-python:1", "gitflow-controller:1"
    daemon.run("build", "--quiet", "--network=host", f"--tag={base}", str(context))
    file = f"--file={_ROOT}/packaging/Dockerfile"
    arguments = ["--target=controller", f"--build-arg=PYTHON={base}", f"--tag={made}"]
    daemon.run("build", "--quiet", "--network=host", file, *arguments, str(_ROOT))
    return made


def test_the_controllers_image_deploys_a_commit_as_closed_as_compose_has_it(
    daemon: Docker,
    controller_image: str,
    prefect_server: SharedServer,
    namespace: str,
    tmp_path: Path,
) -> None:
    with contextlib.suppress(ApiError):
        prefect_server.call("POST", "/work_pools/", {"name": "gitflow-tests", "type": "process"})
    pushed = Pushed(tmp_path, namespace)
    commit = pushed.push()
    for path in [pushed.origin.path, *pushed.origin.path.rglob("*")]:
        os.chown(path, 10001, 10001)
    config = tmp_path / "config"
    config.mkdir()
    source = {"repository": "/shop.git", "ref": "main", "interval": 1}
    content = {"prefect": {"api_url": prefect_server.api_url}, "sources": {"shop": source}}
    (config / "gitflow.yaml").write_text(yaml.safe_dump({"listen": "127.0.0.1:4399", **content}))
    compose = yaml.safe_load((_ROOT / "packaging/compose/compose.yaml").read_text())
    service = compose["services"]["controller"]
    options = ["--init"] * service["init"] + ["--read-only"] * service["read_only"]
    options += [f"--tmpfs={each}" for each in service["tmpfs"]]
    options += [f"--cap-drop={each}" for each in service["cap_drop"]]
    options += [f"--security-opt={each}" for each in service["security_opt"]]
    options += [f"--volume={config}:/etc/gitflow:ro", f"--volume={pushed.origin.path}:/shop.git"]
    options += ["--pull=never", "--network=host", "--detach"]
    container = daemon.run("run", *options, controller_image)
    try:
        until = time.monotonic() + 120
        while f"synced at {commit[:12]}" not in (log := _logs(daemon, container)):
            assert time.monotonic() < until, log
            time.sleep(0.5)
        ask = ["exec", container, "gitflow", "controller", "status"]
        assert daemon.run(*ask).startswith("synced  shop  main  ")
        assert daemon.run("exec", container, "id", "-u") == "10001"
        daemon.run("stop", "--time=60", container)
        assert _logs(daemon, container).endswith("INFO ended\n")
        assert daemon.run("inspect", "--format={{.State.ExitCode}}", container) == "0"
    finally:
        daemon.run("rm", "--force", "--volumes", container)
    assert prefect_server.call("GET", f"/deployments/name/{namespace}/main")["entrypoint"]


def _logs(daemon: Docker, container: str) -> str:
    environ = {**os.environ, **daemon.environment}
    logs = ["docker", "logs", container]
    return subprocess.run(logs, env=environ, capture_output=True, text=True, check=True).stderr
