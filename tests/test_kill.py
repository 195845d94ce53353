"""kill -9 at each step of a deploy: the next one converges, and no pin was ever unpublished."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.prefect import SharedServer
from tests.support.project import NearProject, Project
from tests.support.proxy import Proxy
from tests.support.repo import Repo

pytestmark = pytest.mark.real

COUNT = 6


@pytest.fixture
def origin(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "origin.git", bare=True)


@pytest.fixture
def project(tmp_path: Path, origin: Repo, prefect_server: SharedServer, namespace: str) -> Project:
    made = NearProject(tmp_path / "project", prefect_server)
    lines = [f"name: {namespace}", "deployments:"]
    for number in range(COUNT):
        lines += [
            f"  - name: d{number}",
            "    entrypoint: flow.py:hello",
            "    work_pool: {name: gitflow-kill}",
        ]
    made.repo.write("prefect.yaml", "\n".join(lines) + "\n")
    made.repo.write(
        "flow.py", f'from prefect import flow\n\n@flow(name="{namespace}")\ndef hello(): pass\n'
    )
    made.repo.commit()
    made.repo.git("remote", "add", "origin", str(origin.path))
    made.deploy("--all", "--create-pools")
    made.repo.write("flow.py", made.repo.show("flow.py") + "\n# edited\n")
    return made


def pins(project: Project, namespace: str) -> list[str]:
    return [project.pin(namespace, f"d{number}") for number in range(COUNT)]


def published(origin: Repo) -> set[str]:
    """Every snapshot that the ledger holds."""
    return set(origin.git("rev-list", "--max-parents=0", "code-store").splitlines())


def kill(process: object) -> None:
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    process.communicate()  # type: ignore[attr-defined]


def converges(project: Project, origin: Repo, namespace: str) -> None:
    report = project.deploy()
    assert set(pins(project, namespace)) == {report["snapshot"]["commit"]}
    assert report["snapshot"]["commit"] in published(origin)
    origin.git("fsck", "--strict", "--no-dangling")
    assert {item["status"] for item in project.deploy()["deployments"]} == {"unchanged"}


def test_killed_in_the_middle_of_the_push(
    project: Project, origin: Repo, namespace: str, tmp_path: Path
) -> None:
    hook = origin.path / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/reached\nsleep 3\nexit 1\n")
    hook.chmod(0o755)
    old = pins(project, namespace)
    process = project.start("deploy", "--all")
    until = time.monotonic() + 30
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    kill(process)
    assert pins(project, namespace) == old
    hook.unlink()
    converges(project, origin, namespace)


@pytest.mark.parametrize(
    ("moment", "nth"), [("between push and apply", 1), ("in the middle of apply", COUNT // 2)]
)
def test_killed_around_apply(
    project: Project,
    origin: Repo,
    namespace: str,
    prefect_server: SharedServer,
    moment: str,
    nth: int,
) -> None:
    with Proxy(prefect_server.api_url) as proxy:
        project.api_url = proxy.api_url
        rule = proxy.rule("hold", "PATCH", "/deployments/", nth=nth)
        process = project.start("deploy", "--all")
        assert rule.reached.wait(30)
        kill(process)
        assert set(pins(project, namespace)) <= published(origin)
    project.api_url = prefect_server.api_url
    converges(project, origin, namespace)


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.7])
def test_killed_at_any_moment(project: Project, origin: Repo, namespace: str, delay: float) -> None:
    process = project.start("deploy", "--all")
    time.sleep(delay)
    kill(process)
    assert set(pins(project, namespace)) <= published(origin)
    converges(project, origin, namespace)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_deploy_that_is_interrupted_says_what_was_written_and_what_was_not(
    project: Project,
    origin: Repo,
    namespace: str,
    prefect_server: SharedServer,
    number: int,
    code: int,
) -> None:
    with Proxy(prefect_server.api_url) as proxy:
        project.api_url = proxy.api_url
        rule = proxy.rule("hold", "PATCH", "/deployments/", nth=3)
        process = project.start("deploy", "--all", "--json")
        assert rule.reached.wait(30)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    project.api_url = prefect_server.api_url
    assert process.returncode == code, err
    document = json.loads(out)
    assert document["ok"] is False
    assert document["error"]["message"] == {130: "interrupted", 143: "terminated"}[code]
    told = [
        (each["status"], (each["error"] or {}).get("message")) for each in document["deployments"]
    ]
    written = [("updated", None)] * 2
    assert told[:2] == written
    assert told[2:] == [("failed", "stopped while it was being written")] + [
        ("failed", "not written")
    ] * (COUNT - 3)
    assert err.count("not written") == COUNT - 3
    assert "run the same command again: it converges" in err
    assert [pin != pins(project, namespace)[-1] for pin in pins(project, namespace)][:2] == [
        True
    ] * 2
    converges(project, origin, namespace)
