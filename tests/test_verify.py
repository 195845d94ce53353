"""Verifying: what is pinned, or is about to be, is checked out and imported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gitops_flow import checkout
from gitops_flow.codestore import snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import verify
from gitops_flow.errors import CheckoutError
from gitops_flow.git import repository
from gitops_flow.model import Deployment
from gitops_flow.pin import Pin
from tests.support import gitservers
from tests.support.prefect import SharedServer, SharedWorker
from tests.support.project import NearProject, Project
from tests.support.repo import Repo, fingerprint

COMMIT = "1" * 40
OURS = "gitops_flow.steps.pull_code"
CLONE = "prefect.deployments.steps.git_clone"
GO_TO = "prefect.deployments.steps.set_working_directory"
PIP = "prefect.deployments.steps.pip_install_requirements"

PINS = {
    "ours": (
        [{OURS: {"repository": "/r", "commit": COMMIT, "credentials": "{{ c }}"}}],
        Pin(("/r",), COMMIT, "{{ c }}"),
    ),
    "ours with mirrors and directories": (
        [
            {
                OURS: {
                    "repository": ["/a", "/b"],
                    "commit": COMMIT,
                    "directory": "etl",
                    "directories": ["etl", "lib"],
                }
            }
        ],
        Pin(("/a", "/b"), COMMIT, directory="etl", directories=("etl", "lib")),
    ),
    "ours, and a step that goes on from it": (
        [
            {OURS: {"id": "code", "repository": "/r", "commit": COMMIT}},
            {PIP: {"directory": "{{ code.directory }}"}},
            {GO_TO: {"directory": "{{ code.directory }}/etl"}},
        ],
        Pin(("/r",), COMMIT, directory="etl", others=(PIP,)),
    ),
    "stock": (
        [
            {CLONE: {"repository": "/r", "commit_sha": COMMIT, "access_token": "{{ t }}"}},
            {GO_TO: {"directory": "{{ other.directory }}/etl"}},
        ],
        Pin(("/r",), COMMIT, "{{ t }}", others=(GO_TO,), stock=True),
    ),
    "a clone of a branch": ([{CLONE: {"repository": "/r", "branch": "main"}}], None),
    "none": ([{GO_TO: {"directory": "/srv"}}], None),
    "null": (None, None),
}


@pytest.mark.parametrize("case", PINS)
def test_the_pin_is_what_the_pull_steps_check_out(case: str) -> None:
    steps, expected = PINS[case]
    given = None if steps is None else tuple(steps)
    assert Pin.of(given) == expected


def test_a_lent_store_gives_out_what_no_server_has_yet(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "a : b").write("flow.py", "committed\n")
    repo.commit()
    repo.write("flow.py", "edited\n").write("new/x", "new\n")
    found = repository.discover(repo.path)
    store = open_store(tmp_path / "cache", found, "/store")
    snap = snapshot.take(found, store, snapshot.Options(), source="s", author="A <a@h>")
    before = fingerprint(repo.path)
    lender = store.lend(tmp_path / "lender.git")
    made = checkout.make(str(lender), snap.commit, tmp_path)
    assert (made.directory / "flow.py").read_text() == "edited\n"
    assert (made.directory / "new/x").read_text() == "new\n"
    assert fingerprint(repo.path) == before


def _item(name: str, entrypoint: str) -> Deployment:
    return Deployment("flow", name, entrypoint)


def _copy(files: dict[str, str]) -> verify.Make:
    def make(pin: Pin, top: Path) -> Path:
        for name, text in files.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        return top

    return make


@pytest.mark.real
def test_a_flow_that_ends_the_process_takes_no_other_with_it() -> None:
    good = "from prefect import flow\n\n@flow\ndef f(): ...\n"
    make = _copy({"a.py": "import os\nos._exit(7)\n", "b.py": good, "sub/c.py": "import nope\n"})
    python = verify.Python(sys.executable, {"PATH": "/usr/bin:/bin"})
    pin, below = Pin(("/r",), COMMIT), Pin(("/r",), COMMIT, directory="sub")
    findings = verify.look(
        [
            (_item("ends", "a.py:f"), pin),
            (_item("good", "b.py:f"), pin),
            (_item("below", "c.py:f"), below),
            (_item("away", "c.py:f"), Pin(("/r",), COMMIT, directory="gone")),
            (_item("free", "b.py:f"), None),
        ],
        make,
        python,
    )
    assert [each.status for each in findings] == ["broken", "ok", "broken", "broken", "not pinned"]
    told = {each.name: each.error for each in findings if each.error}
    assert "exit code 7" in told["flow/ends"].message
    assert told["flow/below"].where == "sub/c.py:1"
    assert "No module named 'nope'" in told["flow/below"].message
    assert "‹python›" in str(told["flow/below"].hint)
    assert "no directory 'gone'" in told["flow/away"].message


def test_what_cannot_be_checked_out_is_broken_and_says_why() -> None:
    def make(pin: Pin, top: Path) -> Path:
        raise CheckoutError("the disk is full")

    python = verify.Python(sys.executable, {})
    (found,) = verify.look([(_item("d", "a.py:f"), Pin(("/r",), COMMIT))], make, python)
    assert (found.status, found.commit) == ("broken", COMMIT)
    assert str(found.error) == "the disk is full"


MANIFEST = """\
name: {name}
{head}deployments:
  - {{name: good, entrypoint: "good.py:good", work_pool: {{name: {pool}}}}}
  - {{name: bad, entrypoint: "bad.py:bad", work_pool: {{name: {pool}}}}}
"""
FLOW = """\
from prefect import flow
{line}

@flow(name="{name}")
def {function}(): ...
"""


@pytest.fixture
def pool(prefect_worker: object) -> str:
    worker = prefect_worker()  # type: ignore[operator]
    assert isinstance(worker, SharedWorker)
    return worker.pool


@pytest.fixture
def project(tmp_path: Path, prefect_server: SharedServer, namespace: str, pool: str) -> Project:
    """A flow that loads, and one that imports what nobody has; deployed nowhere yet."""
    made = NearProject(tmp_path / "project", prefect_server)
    Repo(tmp_path / "origin.git", bare=True)
    made.repo.write("prefect.yaml", MANIFEST.format(name=namespace, pool=pool, head=""))
    made.repo.write("good.py", FLOW.format(name=namespace, function="good", line="import helper"))
    made.repo.write("helper.py", "")
    made.repo.write("bad.py", FLOW.format(name=namespace, function="bad", line="import nowhere"))
    made.repo.commit()
    made.repo.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    return made


def _statuses(document: dict[str, object]) -> dict[str, str]:
    found = document["deployments"]
    assert isinstance(found, list)
    return {each["name"].rpartition("/")[2]: each["status"] for each in found}


@pytest.mark.real
def test_verify_finds_the_broken_import_of_what_is_pinned_and_not_of_what_is_on_disk(
    project: Project, namespace: str
) -> None:
    project.deploy()
    # On disk it is mended, and something else is broken; the server has neither.
    project.repo.write("bad.py", FLOW.format(name=namespace, function="bad", line=""))
    project.repo.remove("helper.py")
    report = json.loads(project.gitflow("verify", "--json", code=1).stdout)
    assert _statuses(report) == {"good": "ok", "bad": "broken"}
    (broken,) = [each for each in report["deployments"] if each["error"]]
    assert broken["error"]["where"] == "bad.py:2"
    assert "ModuleNotFoundError: No module named 'nowhere'" in broken["error"]["message"]
    assert broken["commit"] == project.pin(namespace, "bad")

    shown = project.gitflow("verify", "good").stdout
    assert f"{namespace}/good  ok" in shown
    assert "1 deployment: 1 ok" in shown
    # Nobody makes it run other code here by writing its address to the server.
    live = project.live(namespace, "good")
    elsewhere = [{OURS: {**live["pull_steps"][0][OURS], "repository": str(project.repo.path)}}]
    project.server.call("PATCH", f"/deployments/{live['id']}", {"pull_steps": elsewhere})
    moved = project.gitflow("verify", "good").stdout
    assert f"{namespace}/good  not pinned" in moved
    assert "is not this source's code store" in moved
    project.server.call("PATCH", f"/deployments/{live['id']}", {"pull_steps": live["pull_steps"]})

    unknown = project.gitflow("verify", "goood", code=2).stderr
    assert "did you mean 'good'?" in unknown

    # A pin that the code store lost is as broken as its code.
    Repo(Path(project.repo.git("remote", "get-url", "origin"))).git(
        "update-ref", "-d", "refs/heads/code-store"
    )
    Repo(Path(project.repo.git("remote", "get-url", "origin"))).git("gc", "-q", "--prune=now")
    lost = json.loads(project.gitflow("verify", "good", "--json", code=1).stdout)
    assert _statuses(lost) == {"good": "broken"}


@pytest.mark.real
def test_deploy_verify_refuses_before_anything_is_published(
    project: Project, namespace: str, prefect_server: SharedServer
) -> None:
    refused = project.gitflow("deploy", "--all", "--verify", code=1).stderr
    assert (
        f"bad.py:2: {namespace}/bad: importing the flow failed: "
        "ModuleNotFoundError: No module named 'nowhere'" in refused
    )
    assert f"{namespace}/good" not in refused
    assert "nothing was pinned" in refused
    assert project.repo.git("ls-remote", "origin") == ""
    query = {
        "deployments": {"name": {"any_": ["good", "bad"]}},
        "flows": {"name": {"any_": [namespace]}},
    }
    assert prefect_server.call("POST", "/deployments/filter", query) == []

    # The mended file is not committed: it is the snapshot that is looked at.
    project.repo.write("bad.py", FLOW.format(name=namespace, function="bad", line="import new"))
    project.repo.write("new.py", "x = 1\n")
    before = fingerprint(project.repo.path)
    report = project.deploy("--all", "--verify")
    assert report["ok"]
    assert fingerprint(project.repo.path) == before
    assert project.pin(namespace, "bad") == report["snapshot"]["commit"]


@pytest.mark.real
def test_deploy_verify_says_what_it_did_not_look_at(project: Project, namespace: str) -> None:
    text = (project.repo.path / "prefect.yaml").read_text()
    project.repo.write("prefect.yaml", text.replace('"bad.py:bad"', '"bad.py:bad", pull: []'))
    report = project.deploy("--all", "--verify")
    assert any(f"{namespace}/bad was not verified" in line for line in report["warnings"])
    found = json.loads(project.gitflow("verify", "--all", "--json").stdout)
    assert _statuses(found) == {"good": "ok", "bad": "not pinned"}


@pytest.mark.real
def test_verify_fetches_as_a_worker_with_its_mirrors_and_its_block(
    project: Project, namespace: str, pool: str, tmp_path: Path, prefect_server: SharedServer
) -> None:
    placeholder = prefect_server.secret(namespace, "worker:s3cret-passw0rd")
    gitservers.bare(tmp_path / "served" / "shop.git")
    with gitservers.smart_http(tmp_path / "served", tmp_path / "http") as server:
        gone, there = "http://127.0.0.1:9/shop.git", server.url("shop.git")
        head = f'gitflow: {{code_store: {{pull_url: [{gone}, {there}], credentials: "{placeholder}"}}}}\n'
        text = MANIFEST.format(name=namespace, pool=pool, head=head)
        project.repo.write("prefect.yaml", text)
        project.repo.git("remote", "set-url", "origin", str(tmp_path / "served" / "shop.git"))
        project.deploy("good")
        (step,) = project.live(namespace, "good")["pull_steps"]
        assert step[OURS]["repository"] == [gone, there]
        found = json.loads(project.gitflow("verify", "--json").stdout)
        assert _statuses(found) == {"good": "ok"}

        # Prefect's own step takes one of them, and the plan says so.
        stock = text.replace("gitflow: {", "gitflow: {checkout: stock, ")
        project.repo.write("prefect.yaml", stock.replace(f', credentials: "{placeholder}"', ""))
        warned = project.gitflow("plan").stdout
        assert f"workers are told {gone} alone" in warned
