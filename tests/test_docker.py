"""A real Docker worker runs pinned code: with our step, with Prefect's own, and out of an image.

Needs GITFLOW_TESTS_DOCKER (tests/support/docker.py says what for); CI does without.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops_flow import local
from tests.support import gitservers
from tests.support.docker import OURS, STOCK, Docker, docker
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
