"""The labels of a flow run, and the commit that a second attempt gets."""

from __future__ import annotations

import http.server
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from gitops_flow.errors import CheckoutError
from gitops_flow.steps import pull_code
from tests.support.project import Project
from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.prefect import SharedServer, SharedWorker

SOURCE = {"name": "shop", "commit": "c" * 40, "dirty": False, "author": "A <a@example.org>"}


class Api(http.server.BaseHTTPRequestHandler):
    """The two endpoints of one flow run."""

    labels: ClassVar[dict[str, str]] = {}
    seen: ClassVar[list[tuple[str, str, str | None]]] = []
    status: ClassVar[int] = 200
    # What the next requests are answered instead.
    busy: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self._answer(json.dumps({"labels": self.labels}).encode())

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.status == 200 and not self.busy:
            self.labels.update(body)
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.seen.append((self.command, self.path, self.headers["Authorization"]))
        self.send_response(self.busy.pop() if self.busy else self.status)
        if self.status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Api]]:
    class Own(Api):
        labels: ClassVar[dict[str, str]] = {}
        seen: ClassVar[list[tuple[str, str, str | None]]] = []
        busy: ClassVar[list[int]] = []

    monkeypatch.setattr("gitops_flow.worker.labels.PATIENCE", 2.0)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "run-1")
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    yield Own
    server.shutdown()
    thread.join()
    server.server_close()


def text(made: dict[str, str]) -> str:
    return (Path(made["directory"]) / "flow.py").read_text()


def test_a_run_is_labelled_with_its_code(repo: Repo, api: type[Api]) -> None:
    commit = repo.write("flow.py").commit()
    pull_code(str(repo.path), commit, source=SOURCE)
    assert api.labels == {
        "gitflow.repository": str(repo.path),
        "gitflow.commit": commit,
        "gitflow.source": "shop",
        "gitflow.source-commit": "c" * 40,
        "gitflow.author": "A <a@example.org>",
        "gitflow.state": "clean",
    }
    assert {path for _, path, _ in api.seen} == {
        "/api/flow_runs/run-1",
        "/api/flow_runs/run-1/labels",
    }


def test_the_second_attempt_gets_the_commit_of_the_first(
    repo: Repo, api: type[Api], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = repo.write("flow.py", "first").commit()
    assert text(pull_code(str(repo.path), first)) == "first"
    second = repo.write("flow.py", "second").commit()
    assert text(pull_code(str(repo.path), second)) == "first"
    assert f"keeps the commit of its first attempt, {first[:12]}" in caplog.text
    assert api.labels["gitflow.commit"] == first


def test_labels_are_read_and_written_again_when_the_server_is_busy(
    repo: Repo, api: type[Api]
) -> None:
    first = repo.write("flow.py", "first").commit()
    api.busy[:] = [503, 429]
    pull_code(str(repo.path), first)
    second = repo.write("flow.py", "second").commit()
    api.busy[:] = [503, 502]
    assert text(pull_code(str(repo.path), second)) == "first"
    assert api.labels["gitflow.commit"] == first


def test_what_a_release_pointer_says_is_pulled_and_is_what_a_retry_gets(
    repo: Repo, api: type[Api]
) -> None:
    first = repo.write("flow.py", "first").commit()
    second = repo.write("flow.py", "second").commit()
    value = {"commit": first, "source": SOURCE, "added-later": 1}
    assert text(pull_code(str(repo.path), pin=value)) == "first"
    assert api.labels["gitflow.source-commit"] == "c" * 40
    assert text(pull_code(str(repo.path), pin={"commit": second})) == "first"
    assert api.labels["gitflow.commit"] == first


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "is missing on the server"),
        (None, "names a release pointer that is empty"),
        ([], "holds no JSON object"),
        ('{"commit": 1}', "holds no JSON object"),
        ({}, "names no commit"),
        ({"commit": "main"}, "names no commit"),
        ({"commit": "A" * 40}, "names no commit"),
        ({"commit": "a" * 40, "release": 1}, "has a release that is no text"),
        ("{{ prefect.variables.gitflow_x }}", "still holds a placeholder"),
    ],
)
def test_a_release_pointer_that_is_missing_or_malformed_is_an_error_that_says_so(
    repo: Repo, value: object, why: str
) -> None:
    repo.write("flow.py").commit()
    with pytest.raises(CheckoutError, match=why):
        pull_code(str(repo.path), pin=value)


def test_what_a_release_pointer_tells_of_its_source_is_a_part_of_one_line_of_the_log(
    repo: Repo, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    commit = repo.write("flow.py").commit()
    monkeypatch.chdir(repo.path.parent)
    source = {"name": "shop\n12:00 | ERROR" + "x" * 4000, "author": "\x1b[31m", "commit": ["\n"]}
    pull_code(str(repo.path), pin={"commit": commit, "source": source})
    (line,) = [each.getMessage() for each in caplog.records if "pulled" in each.getMessage()]
    assert line.isprintable()
    assert len(line) < 600


def test_without_its_labels_a_run_by_a_release_pointer_does_not_start(
    repo: Repo, api: type[Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.write("flow.py").commit()
    monkeypatch.setattr(api, "do_PATCH", lambda self: self.send_error(403))
    with pytest.raises(CheckoutError, match="gets no labels") as caught:
        pull_code(str(repo.path), pin={"commit": commit})
    assert caught.value.retry
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    "labels",
    [
        {"gitflow.commit": "--upload-pack=x", "gitflow.repository": "/same"},
        {"gitflow.commit": "a" * 40, "gitflow.repository": "/another"},
        {"gitflow.commit": "a" * 40},
        {"gitflow.commit": 3, "gitflow.repository": "/same"},
    ],
)
def test_labels_that_are_not_of_this_repository_or_no_commit_do_not_count(
    repo: Repo, api: type[Api], labels: dict[str, object]
) -> None:
    same = {"/same": str(repo.path)}
    api.labels.update({key: same.get(value, value) for key, value in labels.items()})  # type: ignore[call-overload,misc]
    assert text(pull_code(str(repo.path), repo.write("flow.py", "x").commit())) == "x"


@pytest.mark.parametrize("status", [302, 403, 404, 500])
def test_a_server_that_does_not_answer_only_warns(
    repo: Repo,
    api: type[Api],
    status: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_s3cret")
    monkeypatch.setattr(api, "status", status)
    assert text(pull_code(str(repo.path), repo.write("flow.py", "x").commit())) == "x"
    assert f"answered {status}" in caplog.text
    assert "s3cret" not in caplog.text
    assert not [path for _, path, _ in api.seen if "elsewhere" in path]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PREFECT_API_KEY", "pnu_1", "Bearer pnu_1"),
        ("PREFECT_API_AUTH_STRING", "admin:pass", "Basic YWRtaW46cGFzcw=="),
    ],
)
def test_the_runs_own_credentials_are_used(
    repo: Repo,
    api: type[Api],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv(name, value)
    pull_code(str(repo.path), repo.write("flow.py").commit())
    assert {header for _, _, header in api.seen} == {expected}


def test_a_login_in_the_servers_address_is_used_and_not_shown(
    repo: Repo,
    api: type[Api],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    commit, address = repo.write("flow.py").commit(), os.environ["PREFECT_API_URL"]
    monkeypatch.setenv("PREFECT_API_URL", address.replace("//", "//admin:pass@"))
    pull_code(str(repo.path), commit)
    assert {header for _, _, header in api.seen} == {"Basic YWRtaW46cGFzcw=="}
    # Without a port, the password looks like one.
    monkeypatch.setenv("PREFECT_API_URL", "http://admin:s3cret:0@127.0.0.1:port/api")
    pull_code(str(repo.path), commit)
    assert "cannot see whether this run was tried before" in caplog.text
    assert "s3cret" not in caplog.text


def test_an_answer_that_is_no_json_only_warns(
    repo: Repo, api: type[Api], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api, "do_GET", lambda self: self._answer(b"<html>"))
    assert text(pull_code(str(repo.path), repo.write("flow.py", "x").commit())) == "x"
    assert "answered what is no JSON" in caplog.text


def test_no_credentials_are_in_a_label(repo: Repo, api: type[Api]) -> None:
    from gitops_flow.checkout import Place
    from gitops_flow.worker import attempt

    place = Place("https://user:s3cret@git.example.org/x.git")
    request = attempt.Request((place,), "a" * 40, (), False, None, ())
    _, finish = attempt.resolve(logging.getLogger("x"), request, None, os.environ)
    finish()
    assert api.labels["gitflow.repository"] == "https://git.example.org/x.git"


@pytest.mark.real
def test_a_run_that_is_tried_again_after_a_deploy_has_the_code_of_its_first_attempt(
    tmp_path: Path, prefect_server: SharedServer, prefect_worker: object, namespace: str
) -> None:
    worker: SharedWorker = prefect_worker()  # type: ignore[operator]
    project = Project(tmp_path / "project", prefect_server)
    Repo(tmp_path / "origin.git", bare=True)
    project.repo.git("remote", "add", "origin", str(tmp_path / "origin.git"))
    project.repo.write(
        "prefect.yaml",
        f"deployments:\n- name: main\n  entrypoint: flow.py:f\n  work_pool: {{name: {worker.pool}}}\n",
    )

    def publish(version: str) -> str:
        flow = f'from prefect import flow\n@flow(name="{namespace}")\ndef f():\n    raise ValueError("{version}")\n'
        project.repo.write("flow.py", flow).commit()
        return str(project.deploy()["snapshot"]["commit"])

    def ended(run: str) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found: dict[str, Any] = prefect_server.call("GET", f"/flow_runs/{run}")
            if found["state_type"] in ("FAILED", "CRASHED", "COMPLETED"):
                return found
            time.sleep(0.2)
        raise AssertionError(found)

    first = publish("one")
    deployment = project.live(namespace, "main")["id"]
    run = prefect_server.call("POST", f"/deployments/{deployment}/create_flow_run", {})["id"]
    failed = ended(run)
    assert failed["state"]["message"].endswith("ValueError: one")
    assert failed["labels"]["gitflow.commit"] == first
    assert publish("two") != first
    prefect_server.call(
        "POST",
        f"/flow_runs/{run}/set_state",
        {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True},
    )
    time.sleep(1)
    failed = ended(run)
    assert failed["run_count"] == 2
    assert failed["state"]["message"].endswith("ValueError: one")
