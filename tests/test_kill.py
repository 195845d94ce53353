"""kill -9 in each phase of a deploy: the next one converges, and no pin was ever unpublished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitops_flow.deploy import Phase
from tests.support.prefect import SharedServer
from tests.support.project import NearProject, Project
from tests.support.proxy import Action, Proxy
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


def wait_for(place: Path) -> None:
    until = time.monotonic() + 60
    while not place.exists():
        assert time.monotonic() < until, f"{place.name} was not reached"
        time.sleep(0.01)


# A deploy that stays where a phase begins, once it has said so.
_HELD = """
import os, sys, time
from pathlib import Path
from gitops_flow import deploy, settings
from gitops_flow.git.repository import Author

def hold(event):
    if event is deploy.Phase[sys.argv[1]]:
        print("reached", flush=True)
        time.sleep(120)

found = settings.load(os.environ, Path.cwd())
request = deploy.DeployRequest(deploy.working_tree(Path.cwd()), deploy.Which(everything=True))
policy = deploy.every_step(found, os.environ)
deploy.run(request, found, os.environ, author=Author(), policy=policy, on_event=hold)
"""


@pytest.mark.parametrize(
    ("phase", "releases", "pinned"),
    [
        (Phase.SNAPSHOT, 1, "old"),
        (Phase.COMPARE, 1, "old"),
        (Phase.PUBLISH, 1, "old"),
        (Phase.APPLY, 2, "old"),
        (Phase.CONFIRM, 2, "new"),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Phase) else "",
)
def test_killed_where_a_phase_begins(
    project: Project, origin: Repo, namespace: str, phase: Phase, releases: int, pinned: str
) -> None:
    old = set(pins(project, namespace))
    process = subprocess.Popen(
        [sys.executable, "-c", _HELD, phase.name],
        cwd=project.repo.path,
        env={**os.environ, "PREFECT_API_URL": project.api_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reached\n"
    kill(process)
    # The root of the ledger has no parent either.
    assert len(published(origin)) == 1 + releases
    now = set(pins(project, namespace))
    assert now <= published(origin)
    assert (now == old) is (pinned == "old")
    converges(project, origin, namespace)


def test_killed_in_the_middle_of_the_snapshot(
    project: Project, origin: Repo, namespace: str, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    hold = f"touch {tmp_path}/reached; until [ -e {release} ]; do sleep 0.02; done; cat"
    project.repo.git("config", "filter.held.clean", f"sh -c '{hold}'")
    project.repo.write(".gitattributes", "*.txt filter=held\n").write("held.txt", "text\n")
    old = pins(project, namespace)
    process = project.start("deploy", "--all")
    wait_for(tmp_path / "reached")
    kill(process)
    release.touch()
    assert pins(project, namespace) == old
    converges(project, origin, namespace)


@pytest.mark.parametrize(
    ("hook", "releases"), [("pre-receive", 1), ("post-receive", 2)], ids=["before", "after"]
)
def test_killed_around_the_acceptance_of_the_push(
    project: Project, origin: Repo, namespace: str, tmp_path: Path, hook: str, releases: int
) -> None:
    release, path = tmp_path / "release", origin.path / "hooks" / hook
    path.parent.mkdir(exist_ok=True)
    wait = f"until [ -e {release} ]; do sleep 0.02; done"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/reached\n{wait}\nexit 1\n")
    path.chmod(0o755)
    old = pins(project, namespace)
    process = project.start("deploy", "--all")
    wait_for(tmp_path / "reached")
    kill(process)
    assert pins(project, namespace) == old
    assert len(published(origin)) == 1 + releases
    path.unlink()
    release.touch()
    converges(project, origin, namespace)


@pytest.mark.parametrize(
    ("action", "nth", "written"),
    [("hold", COUNT // 2, COUNT // 2 - 1), ("hold-after", COUNT, COUNT)],
    ids=["between two writes", "before the last answer"],
)
def test_killed_in_the_middle_of_apply(
    project: Project,
    origin: Repo,
    namespace: str,
    prefect_server: SharedServer,
    action: Action,
    nth: int,
    written: int,
) -> None:
    old = pins(project, namespace)
    with Proxy(prefect_server.api_url) as proxy:
        project.api_url = proxy.api_url
        rule = proxy.rule(action, "PATCH", "/deployments/", nth=nth)
        process = project.start("deploy", "--all")
        assert rule.reached.wait(60)
        kill(process)
        now = pins(project, namespace)
    assert sum(a != b for a, b in zip(old, now, strict=True)) == written
    assert set(now) <= published(origin)
    project.api_url = prefect_server.api_url
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
