"""``gitflow controller`` and the commands that ask one: as processes, and what they print."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.cli import boundary, controller
from gitops_flow.controller.state import SourceState, State, Suspension
from gitops_flow.errors import ApiError
from gitops_flow.report import sources
from tests.support import web
from tests.support.controller import Place, Pushed
from tests.support.prefect import SharedServer
from tests.support.script import Script
from tests.support.web import Caller

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OLD, NEW = "1" * 40, "2" * 40


# What is printed.


def _lines(*states: SourceState, config_error: str = "") -> list[str]:
    document = {"sources": [each.document() for each in states], "config_error": config_error}
    return list(sources.lines(document, NOW))


def test_the_status_tells_the_whole_error_below_its_source_and_what_is_wrong_first() -> None:
    well = SourceState(
        "a-shop",
        ref="refs/heads/main",
        condition="synced",
        commit=OLD,
        deployed=OLD,
        deployments=12,
        looked_at=NOW - timedelta(seconds=7),
    )
    wrong = SourceState(
        "till",
        ref="main",
        condition="degraded",
        error="prefect.yaml:3:1: " + "x" * 300 + "\nhint: this",
        commit=NEW,
        deployed=OLD,
        deployments=1,
        failures=3,
        failing_since=NOW - timedelta(hours=5),
        looked_at=NOW - timedelta(days=2),
        switched=("till/main: paused",),
    )
    assert _lines(well, wrong) == [
        "degraded  till    main  111111111111  1 deployment    seen 2d ago",
        "  prefect.yaml:3:1: " + "x" * 300,
        "  hint: this",
        "  failed 3 times in 5h",
        "  till/main: paused (left so: switched on purpose)",
        "  git has 222222222222",
        "synced    a-shop  main  111111111111  12 deployments  seen 7s ago",
        "2 sources: 1 degraded, 1 synced",
    ]


def test_the_status_of_a_suspended_source_says_by_whom_why_and_until_when() -> None:
    suspension = Suspension("moving", "ann", NOW, NOW + timedelta(hours=1))
    assert _lines(SourceState("shop", suspension=suspension)) == [
        "suspended  shop  HEAD  -  0 deployments  not seen yet",
        "  suspended by ann until 2026-11-28 13:00: moving",
        "1 source: 1 suspended",
    ]


def test_the_status_begins_with_a_file_that_is_not_followed() -> None:
    assert _lines(config_error="gitflow.yaml:1:1: a\nb") == [
        "degraded  gitflow.yaml as it is now is not followed",
        "  gitflow.yaml:1:1: a",
        "  b",
        "",
        "no sources",
    ]


def test_what_a_state_holds_cannot_steer_the_terminal() -> None:
    lines = _lines(SourceState("shop", error="\x1b[2J", differences=("\x07",), phase="\r"))
    assert "".join(lines).isprintable()


def test_the_log_has_a_line_for_each_thing_that_happened_and_retries_are_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    state = State()
    state.listen(controller._Journal().tell)
    state.update("shop", commit=OLD)
    for _ in range(3):
        state.update("shop", condition="progressing", error="")
        state.update("shop", condition="degraded", error="no server")
    state.update("shop", condition="degraded", error="no git")
    state.update("shop", condition="progressing", error="", phase="building")
    state.update("shop", condition="synced", deployed=OLD)
    state.update("shop", looked_at=NOW)
    state.update("shop", condition="out-of-sync", differences=("a", "b"))
    state.update("shop", suspension=Suspension("why"))
    state.update("shop", suspension=None)
    state.update("shop", condition="degraded", error="no server")
    state.remove("shop")
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("ERROR", "shop: degraded: no server"),
        ("INFO", f"shop: deploying {OLD[:12]}"),
        ("ERROR", "shop: degraded: no git"),
        ("INFO", f"shop: synced at {OLD[:12]}"),
        ("WARNING", "shop: out-of-sync: a; b"),
        ("INFO", "shop: suspended"),
        ("INFO", "shop: resumed"),
        ("ERROR", "shop: degraded: no server"),
    ]


def test_what_a_server_said_does_not_look_like_another_line_of_the_log() -> None:
    said = "no\n2026-11-28T12:00:00Z INFO till: synced\x1b[2J at http://ann:pw@h/ with ‹adopt›\n"
    record = logging.LogRecord("x", logging.ERROR, "", 0, said, (), None)
    assert controller._OneLine("%(levelname)s %(message)s").format(record) == (
        "ERROR no | 2026-11-28T12:00:00Z INFO till: synced\\x1b[2J at http://****@h/ "
        "with `gitflow deploy --adopt`"
    )


# The commands that ask.


@pytest.fixture
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    with web.edge(tmp_path) as made:
        monkeypatch.setenv("GITFLOW_CONTROLLER_URL", f"{made.address}/")
        yield made


def test_a_source_is_suspended_and_resumed_by_name(
    caller: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    assert boundary.run(["suspend", "shop", "--until", "2h", "--reason", "moving"]) == 0
    suspension = caller.controller.reconciler.suspension("shop")
    assert suspension is not None
    assert suspension.reason == "moving"
    assert suspension.author
    assert suspension.until is not None
    assert timedelta(hours=1.9) < suspension.until - datetime.now(UTC) < timedelta(hours=2.1)
    assert boundary.run(["sync", "shop"]) == 1
    assert "error: http://127.0.0.1:" in (shown := capsys.readouterr().err)
    assert ": the source shop is suspended by " in shown
    assert "hint: gitflow resume shop takes that back" in shown
    assert boundary.run(["resume", "shop"]) == 0
    assert boundary.run(["sync", "shop"]) == 0
    assert boundary.run(["controller", "status", "--json"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert [each["name"] for each in json.loads(last)["sources"]] == ["mail", "shop", "till"]


@pytest.mark.parametrize("end", ["soon", "-2h", "2026-13-01", "2020-01-01T00:00", "99999999d"])
def test_an_end_that_is_no_time_to_come_is_refused(caller: Caller, end: str) -> None:
    assert boundary.run(["suspend", "shop", f"--until={end}"]) in (1, 2)
    assert caller.controller.reconciler.suspension("shop") is None


def test_an_unknown_source_is_told_with_the_nearest_name(
    caller: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    assert boundary.run(["resume", "shpo/../x"]) == 2
    assert "there is no source 'shpo/../x'" in capsys.readouterr().err
    assert boundary.run(["sync", "shpo"]) == 2
    assert "hint: did you mean 'shop'?" in capsys.readouterr().err


def test_a_controller_that_does_not_run_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gitflow.yaml").write_text("listen: 127.0.0.1:9\n")
    assert boundary.run(["controller", "status"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: http://127.0.0.1:9: no controller answers: Connection refused",
        "hint: start it with `gitflow controller run`, or say in GITFLOW_CONTROLLER_URL where it is",
        "Trying again may help.",
    ]


@pytest.mark.parametrize("answer", [(200, b"<html>"), (502, b"bad gateway"), (200, b"[]")])
def test_an_answer_of_something_else_is_told_as_that(
    answer: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script()
    script.answers = [answer]
    monkeypatch.setenv("GITFLOW_CONTROLLER_URL", f"http://127.0.0.1:{script.http.server_port}")
    try:
        assert boundary.run(["controller", "status"]) == 1
    finally:
        script.close()
    assert "what answers there is no controller" in capsys.readouterr().err


def test_an_address_with_a_password_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITFLOW_CONTROLLER_URL", "http://ann:s3cret@127.0.0.1:9")
    assert boundary.run(["controller", "status"]) == 2
    assert "GITFLOW_CONTROLLER_URL" in (shown := capsys.readouterr().err)
    assert "s3cret" not in shown


# The check.


def test_the_check_tells_of_each_source_what_answers_and_what_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed = Pushed(tmp_path, "shop")
    commit = pushed.push()
    script = Script()
    script.answers = [lambda *request: (200, "3.8.8" if "version" in request[1] else [])]
    place = Place(tmp_path)
    place.source(pushed, prefect={"api_url": script.connection.api_url})
    place.sources["gone"] = {**place.sources["shop"], "ref": "other"}
    place.sources["away"] = {**place.sources["shop"], "prefect": {"api_url": "http://127.0.0.1:9"}}
    place.sources["locked"] = {**place.sources["shop"], "credentials": {"token": {"env": "NONE"}}}
    place.write()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    try:
        assert boundary.run(["controller", "check", "--config", str(place.path)]) == 1
    finally:
        script.close()
    out = capsys.readouterr().out
    server = f"{script.connection.api_url} (Prefect 3.8.8)"
    assert f"{place.path} is right: 4 sources\n" in out
    assert f"shop: refs/heads/main at {commit[:12]}; {server}\n" in out
    assert f"gone: {server}\n  error: {pushed.origin.path.as_uri()}: the repository has no" in out
    assert f"away: refs/heads/main at {commit[:12]}\n  error: http://127.0.0.1:9" in out
    assert "locked: nothing answers\n  error: NONE: a secret is empty or missing\n" in out
    assert len([each for each in script.seen if each[1].endswith("/admin/version")]) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_check_tells_every_problem_of_the_file_and_then_asks_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gitflow.yaml"
    path.write_text("listn: 1\nsources: {shop: {repository: /r, intervall: 3}}\n")
    assert boundary.run(["controller", "check", "--config", str(path)]) == 1
    shown = capsys.readouterr().err
    assert re.findall(r"gitflow.yaml:(\d+:\d+)", shown) == ["1:1", "2:34"]
    path.write_text("sources: {shop: {repository: 'http://127.0.0.1:9/x'}}\n")
    assert boundary.run(["controller", "check", "--offline", "--config", str(path)]) == 0


def test_no_other_command_loads_the_http_server() -> None:
    code = (
        "import sys; sys.argv = ['gitflow', '--help']; from gitops_flow import cli; "
        "cli._end = lambda code: print(code, {'starlette', 'uvicorn', 'asyncio'} & {*sys.modules}); "
        "cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


# The process.


class Process:
    """``gitflow controller run``, and the commands that ask it."""

    def __init__(self, place: Place) -> None:
        self._log = place.directory / "log"
        self.place = place
        place.write()
        command = [sys.executable, "-m", "gitops_flow", "controller", "run"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--config", str(place.path)],
                env=place.environ,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        found = self.logged(r"INFO (http://\S+): \d+ source")
        self.environ = {**place.environ, "GITFLOW_CONTROLLER_URL": found[1]}

    @property
    def log(self) -> str:
        return self._log.read_text()

    def logged(self, pattern: str) -> re.Match[str]:
        """Wait for a line of the log."""
        until = time.monotonic() + 60
        while not (found := re.search(pattern, self.log)):
            assert time.monotonic() < until, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
        return found

    def gitflow(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gitops_flow", *args],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def status(self, test: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The only source, once ``test`` says that it is so."""
        until = time.monotonic() + 60
        while True:
            told = json.loads(self.gitflow("controller", "status", "--json").stdout)["sources"][0]
            if test(told):
                return told  # type: ignore[no-any-return]
            assert time.monotonic() < until, told

    def end(self, number: signal.Signals) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def place(tmp_path: Path, prefect_server: SharedServer) -> Place:
    with contextlib.suppress(ApiError):
        prefect_server.call("POST", "/work_pools/", {"name": "gitflow-tests", "type": "process"})
    return Place(tmp_path, prefect_server.api_url)


@pytest.fixture
def running(place: Place) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(place))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def _pin(server: SharedServer, name: str) -> str:
    for step in server.call("GET", f"/deployments/name/{name}/main")["pull_steps"]:
        if inputs := step.get("gitops_flow.steps.pull_code"):
            return str(inputs["commit"])
    raise AssertionError("no pinned step")


@pytest.mark.real
def test_a_commit_is_deployed_and_the_commands_steer_it_also_over_a_kill(
    place: Place,
    running: Callable[[], Process],
    namespace: str,
    tmp_path: Path,
    prefect_server: SharedServer,
) -> None:
    pushed = Pushed(tmp_path, namespace)
    first = pushed.push(1)
    place.source(pushed)
    process = running()
    told = process.status(lambda told: told["deployed"] == first)
    assert (told["word"], told["error"]) == ("synced", "")
    assert told["snapshots"] == {"prefect.yaml": _pin(prefect_server, namespace)}
    shown = process.gitflow("controller", "status").stdout
    assert re.match(
        rf"synced  {namespace}  main  {first[:12]}  1 deployment  seen \ds ago\n", shown
    )

    assert process.gitflow("suspend", namespace, "--reason", "moving").returncode == 0
    pushed.push(2)
    refused = process.gitflow("sync", namespace)
    assert refused.returncode == 1
    assert f"the source {namespace} is suspended by " in refused.stderr
    # A suspension outlives the process, however that ends.
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    process = running()
    assert process.status(lambda told: True)["word"] == "suspended"
    assert _pin(prefect_server, namespace) == told["snapshots"]["prefect.yaml"]
    assert process.gitflow("resume", namespace).returncode == 0
    third = pushed.push(3)
    told = process.status(lambda told: told["deployed"] == third)
    assert told["snapshots"] == {"prefect.yaml": _pin(prefect_server, namespace)}
    assert process.end(signal.SIGINT) == 0
    assert re.search(rf"INFO {namespace}: synced at {third[:12]}\n", process.log)
    assert process.log.endswith("INFO ended\n")
    assert "Traceback" not in process.log


SLOW = """\
name: {name}
build:
- prefect.deployments.steps.run_shell_script: {{script: "touch {began}\\nsleep {seconds}"}}
deployments:
- name: main
  entrypoint: flow.py:work
  work_pool: {{name: gitflow-tests}}
"""


@pytest.mark.real
def test_a_deploy_that_has_begun_is_finished_at_a_signal_and_given_up_at_a_second_one(
    place: Place,
    running: Callable[[], Process],
    namespace: str,
    tmp_path: Path,
    prefect_server: SharedServer,
) -> None:
    pushed = Pushed(tmp_path, namespace)
    pushed.push(1)
    began = tmp_path / "began"
    place.source(pushed, steps=["prefect.deployments.steps.run_shell_script"])

    def slow(seconds: int) -> str:
        began.unlink(missing_ok=True)
        content = SLOW.format(name=namespace, began=began, seconds=seconds)
        return pushed.push_file("prefect.yaml", content)

    def begin() -> Process:
        process = running()
        until = time.monotonic() + 60
        while not began.exists():
            assert time.monotonic() < until, process.log
            time.sleep(0.05)
        return process

    commit = slow(2)
    process = begin()
    assert process.end(signal.SIGTERM) == 0
    assert f"INFO {namespace}: synced at {commit[:12]}" in process.log
    assert process.log.endswith("INFO ended\n")
    pin = _pin(prefect_server, namespace)

    slow(50)
    process = begin()
    process.process.send_signal(signal.SIGTERM)
    process.logged("INFO SIGTERM: ")
    assert process.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert _pin(prefect_server, namespace) == pin
    commit = slow(0)
    process = begin()
    told = process.status(lambda told: told["deployed"] == commit)
    assert told["snapshots"] == {"prefect.yaml": _pin(prefect_server, namespace)}
    assert process.end(signal.SIGTERM) == 0


def test_what_keeps_it_from_starting_is_told_and_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "gitflow.yaml"
    command = [sys.executable, "-m", "gitops_flow", "controller", "run", "--config", str(path)]
    for content, code, message in (
        ("listen: nowhere\n", 1, "expected host:port"),
        ("listen: nowhere.invalid:1\n", 2, "nothing can listen at nowhere.invalid:1"),
    ):
        path.write_text(content)
        done = subprocess.run(
            command, env={**os.environ}, capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("part", ["0/2", "3/2", "2", "a/b", "-1/2", "1/0"])
def test_a_part_of_the_sources_that_there_is_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert boundary.run(["controller", "run", f"--shard={part}"]) == 2
    assert "write 2/5 for the second of five" in capsys.readouterr().err


def test_a_controller_that_is_refused_logs_nowhere_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handlers = list(logging.getLogger().handlers)
    for wrong in ("--shard=2", "--config=missing.yaml"):
        assert boundary.run(["controller", "run", wrong]) == 2
    assert logging.getLogger().handlers == handlers
