"""What a process that never ends, and deploys in several threads, must be able to rely on."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gitops_flow
from gitops_flow import buildsteps, files, flows, plan, stop
from gitops_flow.deploy.plan import Planned
from gitops_flow.deploy.request import Refusal
from gitops_flow.errors import (
    ApiError,
    FlowError,
    GitflowError,
    LockedError,
    ManifestError,
    RefusedError,
    RemoteError,
    SnapshotError,
    StepError,
    StoppedError,
    UsageError,
)
from gitops_flow.git import command, environment
from gitops_flow.git.environment import GitEnvironment
from gitops_flow.model import Position, Problem, StepPolicy
from gitops_flow.stop import Stop
from gitops_flow.threads import Threads
from tests.support.script import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FLOW = b"""
from pydantic import BaseModel
from prefect import flow

class Order(BaseModel):
    schema: str = "shadows an attribute of models"

PATTERN = "\\d"

@flow
def f(order: Order, prices: dict[str, float] = {}): ...
"""


def at_once(number: int, work: Callable[[int], Any]) -> list[Any]:
    """What ``work`` returns in each of ``number`` threads, which begin together."""
    barrier = threading.Barrier(number)

    def one(which: int) -> Any:
        barrier.wait()
        return work(which)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def test_threads_that_read_flows_leave_the_filters_of_warnings_alone() -> None:
    before = list(warnings.filters)
    interval = sys.getswitchinterval()

    def read(which: int) -> None:
        for each in range(10):
            source = _FLOW + f"# {which} {each}".encode()
            assert flows.read({"f.py": source}.get, "f.py:f").name == "f"

    sys.setswitchinterval(1e-6)
    try:
        at_once(6, read)
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before


def test_what_a_source_is_warned_of_is_not_said_when_its_flow_is_read() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flows.read({"f.py": _FLOW}.get, "f.py:f")
    assert caught == []


def test_a_warning_of_somebody_else_is_not_lost_while_flows_are_read() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def read_file(path: str) -> bytes | None:
            warnings.warn("of another thread", UserWarning, stacklevel=1)
            return _FLOW if path == "f.py" else None

        flows.read(read_file, "f.py:f")
    assert {str(each.message) for each in caught} == {"of another thread"}


def test_sources_that_were_read_do_not_fill_the_memory() -> None:
    body = "\n".join(f"def g{n}(a, b=({n}, 'x')): return a + b[0] * {n}" for n in range(600))
    for number in range(16):
        source = _FLOW + f"{body}\n# {number}\n".encode()
        flows.read({"f.py": source}.get, "f.py:f")
    kept = sum(isinstance(each, ast.FunctionDef) for each in gc.get_objects())
    assert kept < 16 * 600 * 0.75


def test_steps_in_two_threads_are_each_told_their_own_directory(tmp_path: Path) -> None:
    met = threading.Barrier(2)

    def push(_inputs: Any, directory: Path) -> dict[str, str]:
        met.wait(10)
        (directory / "here").touch()
        met.wait(10)
        return {"at": str(directory)}

    def run(which: int) -> Any:
        own = tmp_path / str(which)
        own.mkdir()
        job = buildsteps.Job("d", push=({"our.push": {}},))
        (outputs,) = buildsteps.run(
            [job],
            lambda *a: a[3],
            cwd=own,
            policy=StepPolicy(None, {}),
            out=lambda _: None,
            known={"our.push": push},
        )
        return outputs["at"]

    assert at_once(2, run) == [str(tmp_path / "0"), str(tmp_path / "1")]
    assert (tmp_path / "0/here").exists()
    assert (tmp_path / "1/here").exists()


def test_a_lock_that_others_keep_is_given_up_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with (
        files.locked(path),
        pytest.raises(LockedError, match=r"for the 0\.05 s") as caught,
        files.locked(path, 0.05),
    ):
        pass
    assert caught.value.where == str(path)
    assert caught.value.retry


def test_a_lock_is_held_by_one_thread_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []

    def hold(which: int) -> int:
        with files.locked(tmp_path / "a.lock"):
            inside.append(which)
            time.sleep(0.01)
            alone = len(inside)
            inside.remove(which)
        return alone

    assert at_once(8, hold) == [1] * 8


def test_a_flow_is_read_although_others_keep_the_lock_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitops_flow.flows.cache._PATIENCE", 0.05)
    cache = flows.Cache(tmp_path)
    flows.read_cached(cache, {"f.py": _FLOW}.get, {"f.py": "1"}.get, "f.py:f")
    (lock,) = tmp_path.glob("*/lock")
    with files.locked(lock):
        info = flows.read_cached(cache, {"f.py": _FLOW}.get, {"f.py": "2"}.get, "f.py:f")
    assert info.name == "f"


class Tokens:
    """A server that knows of each client the last CSRF token that it gave it, as Prefect's does."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []

    def __call__(self, _method: str, path: str, headers: dict[str, str], _body: Any) -> Any:
        if path.startswith("/api/csrf-token"):
            self.given.append((path.partition("client=")[2], f"t{len(self.given)}"))
            return 200, {"token": self.given[-1][1]}
        known = dict(self.given).get(headers.get("prefect-csrf-client", ""))
        if known is None or known != headers["prefect-csrf-token"]:
            return 403, {"detail": "Invalid CSRF token or client identifier."}
        return 200, {}


@pytest.fixture
def script() -> Iterator[Script]:
    with contextlib.closing(Script()) as made:
        yield made


def test_two_clients_do_not_take_each_others_csrf_token(script: Script) -> None:
    script.answers = [tokens := Tokens()]
    with script.client() as one, script.client() as other:
        for client in (one, other, one, other):
            assert client.post("/x", {}) == {}
    assert len(tokens.given) == 2


def test_threads_that_share_a_client_fetch_one_csrf_token(script: Script) -> None:
    script.answers = [tokens := Tokens()]
    with script.client() as client:
        assert at_once(6, lambda _: client.post("/x", {})) == [{}] * 6
    assert len(tokens.given) == 1


_GLOBAL = re.compile(
    r"os\.(environ|getenv|putenv|getcwd|chdir)\b|Path\.(cwd|home)\b|contextlib\.chdir\b"
    r"|expand(user|vars)\b"
)
# The two lower ones are programs of their own, which the user's Python runs.
_EDGES = ("cli/", "steps/", "buildsteps/child.py", "flows/import_script.py")


def test_only_the_edges_look_at_the_processs_environment_and_directory() -> None:
    root = Path(gitops_flow.__file__).parent
    sources = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}
    assert [
        f"{name}: {line.strip()}"
        for name, text in sorted(sources.items())
        if not name.startswith(_EDGES)
        for line in text.splitlines()
        if _GLOBAL.search(line)
    ] == []


def test_git_is_not_started_where_nobody_gave_it_an_environment() -> None:
    def start() -> str:
        with pytest.raises(RuntimeError, match=r"outside of git\.environment\.using") as caught:
            command.run(["--version"])
        return str(caught.value)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(start).result()


def test_git_in_two_threads_inherits_what_each_was_given() -> None:
    def ask(which: int) -> str:
        given = {"PATH": os.environ["PATH"], "GIT_AUTHOR_NAME": "not ours", "OWN": str(which)}
        with environment.using(GitEnvironment(given)), Threads(1) as side:
            told = side.submit(command.run, ["-c", "alias.x=!env", "x"]).result().stdout.decode()
        assert "GIT_AUTHOR_NAME" not in told
        return next(line for line in told.splitlines() if line.startswith("OWN="))

    assert at_once(4, ask) == [f"OWN={number}" for number in range(4)]


def test_ssh_takes_the_key_and_the_hosts_that_it_is_given_and_no_others(tmp_path: Path) -> None:
    hosts = tmp_path / "known hosts"
    (tmp_path / "a key").touch()
    given = GitEnvironment({}, ssh_key=tmp_path / "a key", known_hosts=hosts)
    command_ = shlex.split(given.variables()["GIT_SSH_COMMAND"])
    done = subprocess.run(
        [*command_, "-G", "host.invalid"], capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert f"identityfile {tmp_path}/a key" in said
    assert "identitiesonly yes" in said
    assert [line for line in said if line.startswith("userknownhostsfile")] == [
        f"userknownhostsfile {hosts}"
    ]
    assert "stricthostkeychecking true" in said


def test_git_checks_servers_with_the_certificates_that_it_is_given() -> None:
    given = GitEnvironment({"GIT_SSL_CAINFO": "/theirs"}, ca_file=Path("/ours.pem"))
    assert given.variables()["GIT_SSL_CAINFO"] == "/ours.pem"


def test_a_git_that_runs_ends_when_its_work_is_stopped() -> None:
    token = Stop()
    timer = threading.Timer(0.2, token.set, ("the source was removed",))
    timer.start()
    with stop.using(token), pytest.raises(StoppedError, match="the source was removed"):
        command.run(["-c", "alias.x=!sleep 60", "x"], timeout=50)
    timer.join()


@pytest.mark.parametrize(
    "step",
    [
        {"prefect.deployments.steps.run_shell_script": {"script": "sleep 60"}},
        {"hanging.hang": {}},
        {"prefect.deployments.steps.git_clone": {"repository": "http://SILENT/x.git"}},
    ],
    ids=["shell", "python", "clone"],
)
def test_a_step_that_runs_ends_when_its_work_is_stopped(tmp_path: Path, step: Any) -> None:
    token, text = Stop(), "import time\ndef hang(): time.sleep(60)\n"
    (tmp_path / "hanging.py").write_text(text)

    def out(line: str) -> None:
        threading.Timer(0.3, token.set, ("the source was removed",)).start()

    silent = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{silent.getsockname()[1]}"
    job = buildsteps.Job("d", (json.loads(json.dumps(step).replace("SILENT", address)),))
    with silent, stop.using(token), pytest.raises(StoppedError, match="the source was removed"):
        buildsteps.run(
            [job],
            lambda *a: a[3],
            cwd=tmp_path,
            policy=StepPolicy(None, os.environ),
            out=out,
            python=sys.executable,
        )


def test_a_wait_for_a_lock_ends_when_its_work_is_stopped(tmp_path: Path) -> None:
    token = Stop()
    timer = threading.Timer(0.1, token.set)
    timer.start()
    with files.locked(tmp_path / "a"), stop.using(token), pytest.raises(StoppedError):  # noqa: SIM117
        with files.locked(tmp_path / "a", 50):
            pass
    timer.join()


def test_work_that_was_stopped_before_starts_nothing() -> None:
    token = Stop()
    token.set()
    with stop.using(token), pytest.raises(StoppedError):
        command.run(["--version"])


@pytest.mark.parametrize(
    ("error", "heals"),
    [
        (UsageError("x"), "never"),
        (ManifestError("x", ()), "new commit"),
        (FlowError("x"), "new commit"),
        (SnapshotError("x"), "new commit"),
        (StepError("x"), "new commit"),
        (RefusedError("x", ()), "server"),
        (ApiError("x", status=503, retry=True), "server"),
        (ApiError("x", status=401), "never"),
        (RemoteError("x", kind="network", retry=True), "server"),
        (LockedError(Path("a"), 1), "time"),
        (GitflowError("the disk is full", retry=True), "time"),
        (RefusedError("x", (), heals="new commit"), "new commit"),
    ],
)
def test_an_error_says_what_heals_it(error: GitflowError, heals: str) -> None:
    assert error.heals == heals


def test_a_refusal_keeps_its_problems_and_waits_for_the_hardest_of_its_reasons() -> None:
    pool = Problem("there is no work pool 'x' on the server", Position("prefect.yaml", 3, 5))
    value = Problem("a value", None, "write another")
    planned = Planned(
        (),
        plan.Plan((), ()),
        {},
        ("x",),
        (Refusal("missing", (pool,)), Refusal("values", (value,), heals="new commit")),
        (),
        (),
    )
    with pytest.raises(RefusedError, match="missing; values; nothing was changed") as caught:
        planned.refuse()
    assert caught.value.problems == (pool, value)
    assert caught.value.heals == "new commit"


@pytest.mark.parametrize(("verb", "stays"), [("demo", True), ("deploy", False)])
def test_only_a_command_that_ends_soon_collects_little_garbage(verb: str, stays: bool) -> None:
    program = (
        "import gc, sys\n"
        "from gitops_flow import cli\n"
        "before = gc.get_threshold()\n"
        "cli._end = lambda code: print(gc.get_threshold() == before, 'h2' not in sys.modules)\n"
        f"sys.argv = ['gitflow', {verb!r}, '--help']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == f"{stays} {stays}"
