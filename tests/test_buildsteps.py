"""Build and push steps: their order, outputs and failures, and the steps that run in place."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.buildsteps import Job, interpreter, process, run
from gitops_flow.buildsteps.console import Console, Lines
from gitops_flow.errors import GitflowError, StepError
from gitops_flow.manifest import placeholders as template
from gitops_flow.model import StepPolicy

SHELL = "prefect.deployments.steps.run_shell_script"
CHDIR = "prefect.deployments.steps.set_working_directory"
PIP = "prefect.deployments.steps.pip_install_requirements"


def filler(environ: dict[str, str]) -> Any:
    """Fills in environment variables and outputs, as deploy does."""

    def fill(_job: int, _section: str, _number: int, step: Any, outputs: Any) -> Any:
        def answer(found: template.Placeholder) -> Any:
            if found.kind == "env":
                return environ[found.name]
            value = outputs
            for part in found.name.split("."):
                value = value[part]
            return value

        return template.fill(step, answer)

    return fill


class Runner:
    """Runs steps in a directory and keeps what they print."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.printed: list[str] = []

    def __call__(self, *jobs: Job, **more: Any) -> tuple[Any, ...]:
        environ = dict(more.pop("environ", os.environ))
        return run(
            jobs,
            more.pop("fill", filler(environ)),
            cwd=self.cwd,
            policy=StepPolicy(more.pop("functions", None), environ),
            out=self.printed.append,
            python=sys.executable,
            **more,
        )

    def one(self, *steps: Any, **more: Any) -> Any:
        """The outputs of one deployment's build steps."""
        return self(Job("dep", steps), **more)[0]

    def fails(self, *steps: Any, **more: Any) -> StepError:
        """The error of one deployment's build steps."""
        with pytest.raises(StepError) as caught:
            self.one(*steps, **more)
        assert caught.value.__cause__ is None
        return caught.value


@pytest.fixture
def steps(tmp_path: Path) -> Runner:
    (tmp_path / "here").mkdir()
    return Runner(tmp_path / "here")


def sh(script: str, **more: Any) -> dict[str, Any]:
    return {SHELL: {"script": script, **more}}


def test_outputs_are_kept_under_the_id_and_under_their_own_names(steps: Runner) -> None:
    assert steps.one(sh("echo one", id="a"), sh("echo two", id="b")) == {
        "a": {"stdout": "one", "stderr": ""},
        "b": {"stdout": "two", "stderr": ""},
        "stdout": "two",
        "stderr": "",
    }


def test_push_steps_see_the_outputs_of_build_steps(steps: Runner) -> None:
    job = Job("dep", (sh("echo 7", id="a"),), (sh("echo {{ a.stdout }}{{ stdout }}", id="b"),))
    assert steps(job)[0]["b"]["stdout"] == "77"


def test_fill_is_asked_right_before_each_step(steps: Runner) -> None:
    asked: list[Any] = []

    def fill(*given: Any) -> Any:
        asked.append((*given[:3], dict(given[4]), len(steps.printed)))
        return given[3]

    job = Job("dep", (sh("echo 1", id="x"), {}, sh("echo 2")), (sh("echo 3"),))
    steps(Job("empty"), job, fill=fill)
    assert [item[:3] for item in asked] == [(1, "build", 0), (1, "build", 2), (1, "push", 0)]
    assert [item[3].get("stdout") for item in asked] == [None, "1", "2"]
    assert [item[4] for item in asked] == [0, 2, 4]


def test_every_job_starts_where_it_should_with_no_outputs_of_another(steps: Runner) -> None:
    (steps.cwd / "sub").mkdir()
    first = Job("a", ({CHDIR: {"directory": "sub"}}, sh("pwd")))
    one, two = steps(first, Job("b", (sh("pwd"),)))
    assert (one["stdout"], two["stdout"]) == (str(steps.cwd / "sub"), str(steps.cwd))
    assert "directory" not in two


def test_a_step_that_jobs_share_runs_once(steps: Runner) -> None:
    count = sh("sh -c 'echo x >> count; wc -l < count'", id="n")
    one, two, three = steps(
        Job("a", (count,)), Job("b", (count, sh("echo b"))), Job("c", (sh("echo c"), count))
    )
    assert one["n"]["stdout"] == two["n"]["stdout"] == "1"
    assert three["n"]["stdout"] == "2"


def test_a_step_whose_placeholders_come_out_differently_is_not_shared(steps: Runner) -> None:
    number = iter("12")

    def fill(_job: int, _section: str, _number: int, step: Any, _outputs: Any) -> Any:
        return template.fill(step, lambda _found: next(number))

    job = Job("a", (sh("echo {{ x }}"),))
    one, two = steps(job, job, fill=fill)
    assert (one["stdout"], two["stdout"]) == ("1", "2")


def test_a_shared_change_of_directory_holds_for_every_job(steps: Runner) -> None:
    (steps.cwd / "sub").mkdir()
    move = {CHDIR: {"directory": "sub"}}
    one, two = steps(Job("a", (move, sh("pwd"))), Job("b", (move, sh("pwd -P"))))
    assert one["stdout"] == two["stdout"] == one["directory"] == str(steps.cwd / "sub")


def test_a_step_known_to_the_caller_is_told_the_working_directory(steps: Runner) -> None:
    (steps.cwd / "sub").mkdir()
    before = Path.cwd()

    def push(inputs: Any, directory: Path) -> Any:
        return {"commit": inputs["x"], "at": str(directory), "process": str(Path.cwd())}

    outputs = steps.one(
        {CHDIR: {"directory": "sub"}},
        {"our.push": {"x": "c", "id": "code", "requires": "gitops-flow"}},
        known={"our.push": push},
    )
    at = str(steps.cwd / "sub")
    assert outputs["code"] == {"commit": "c", "at": at, "process": str(before)}


def test_an_error_of_a_known_step_names_the_step_and_keeps_its_hint(steps: Runner) -> None:
    def push(_inputs: Any, _directory: Path) -> Any:
        raise GitflowError("no remote", hint="add one", retry=True)

    error = steps.fails({"our.push": None}, known={"our.push": push})
    assert error.message == "dep: build step 1 (our.push): no remote"
    assert (error.hint, error.retry) == ("add one", True)


def test_inputs_that_a_known_step_does_not_take_are_an_error(steps: Runner) -> None:
    error = steps.fails(
        {"our.push": {"x": 1}}, known={"our.push": lambda inputs, _: dict(*inputs, 2)}
    )
    assert "its inputs do not fit" in error.message


def test_pull_code_before_a_deploy_is_refused_with_the_reason(steps: Runner) -> None:
    error = steps.fails({"gitops_flow.steps.pull_code": {"repository": "x"}})
    assert "pull_code is what a worker runs" in error.message
    assert "pull section" in (error.hint or "")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({SHELL: {}, "x": 1}, "holds 2 steps"),
        ({SHELL: [{"script": "echo"}]}, "its inputs are a list, not a mapping"),
        ({SHELL: "echo"}, "its inputs are a text, not a mapping"),
        ({SHELL: {1: 2}}, "not a mapping of names"),
        ({SHELL: {"script": "echo", "requires": {"a": 1}}}, "requires is neither"),
    ],
)
def test_a_step_of_the_wrong_shape_is_told_before_any_step_runs(
    steps: Runner, step: Any, message: str
) -> None:
    error = steps.fails(sh("touch made"), step)
    assert message in error.message
    assert "build step 2" in error.message
    assert not (steps.cwd / "made").exists()


@pytest.mark.parametrize(
    ("step", "message", "hint"),
    [
        ({SHELL: None}, "the input 'script' is missing", None),
        ({SHELL: {"scripts": "x"}}, "takes no input 'scripts'", "did you mean 'script'?"),
        ({SHELL: {"script": "x", "zzz": 1}}, "takes no input 'zzz'", "it takes script, directory"),
        ({SHELL: {"script": None}}, "'script' is null, not a text", None),
        ({SHELL: {"script": 5}}, "'script' is a number, not a text", "write it in quotes"),
        ({SHELL: {"script": "x", "env": {"A": 1}}}, "'env.A' is a number", "in quotes"),
        ({SHELL: {"script": "x", "env": "A=1"}}, "'env' is not a mapping", None),
        ({SHELL: {"script": "x", "directory": "no"}}, "there is no directory 'no'", None),
        ({CHDIR: {"directory": "no"}}, "there is no directory 'no'", None),
        ({PIP: {"requirements_file": "no.txt"}}, "there is no file 'no.txt'", None),
        (sh("no-such-program x"), "there is no program 'no-such-program'", "shell: true"),
        (sh("# a comment"), "there is no program '#'", "comments"),
        (sh("echo 'a"), "cannot be split into words", "each line"),
        (sh("./plain"), "'./plain' is not executable", "chmod +x ./plain"),
        (sh("ls none | wc"), "failed with exit status 2", "'|' was handed to the program"),
    ],
)
def test_what_is_wrong_with_an_own_step_is_told(
    steps: Runner, step: Any, message: str, hint: str | None
) -> None:
    (steps.cwd / "plain").write_text("echo")
    error = steps.fails(step)
    assert message in error.message
    assert (hint is None and error.hint is None) or str(hint) in str(error.hint)


def test_a_failing_script_stops_everything_with_its_status_and_last_lines(steps: Runner) -> None:
    job = Job(
        "etl/prod",
        (sh("echo first"), sh("sh -c 'seq 30; echo wrong >&2; exit 4'\ntouch later")),
        (sh("touch later"),),
        build_at=("prefect.yaml:3:5", "prefect.yaml:5:5"),
    )
    with pytest.raises(StepError) as caught:
        steps(job, Job("next", (sh("touch later"),)))
    error = caught.value
    assert error.status == 4
    assert error.where == "prefect.yaml:5:5"
    assert error.message.startswith(
        f"etl/prod: build step 2 ({SHELL}): failed with exit status 4: sh -c"
    )
    told = error.message.splitlines()
    assert len(told) == 21
    assert "  wrong" in told
    assert "  30" in told
    assert not (steps.cwd / "later").exists()


def test_a_program_ended_by_a_signal_is_told_with_its_name(steps: Runner) -> None:
    error = steps.fails(sh("sh -c 'kill -9 $$'"))
    assert "was ended by SIGKILL" in error.message
    assert error.status == -9


def test_output_is_shown_as_it_comes(steps: Runner) -> None:
    steps.one(sh("sh -c 'echo a; echo b >&2'"), sh("echo quiet", stream_output=False))
    assert steps.printed[0] == "> run_shell_script (dep, build)"
    assert sorted(steps.printed[1:3]) == ["a", "b"]
    assert steps.printed[3:] == ["> run_shell_script (dep, build)"]


def test_what_was_not_shown_is_told_when_the_script_fails(steps: Runner) -> None:
    error = steps.fails(sh("sh -c 'echo quiet; exit 1'", stream_output=False))
    assert error.message.endswith("last lines:\n  quiet")


def test_the_first_lines_are_shown_while_the_script_still_runs(steps: Runner) -> None:
    seen: list[bool] = []

    def out(line: str) -> None:
        if line == "early":
            seen.append((steps.cwd / "done").exists())

    run(
        [Job("a", (sh("sh -c 'echo early; sleep 0.3; touch done'"),))],
        filler({}),
        cwd=steps.cwd,
        policy=StepPolicy(None, os.environ),
        out=out,
    )
    assert seen == [False]
    assert (steps.cwd / "done").exists()


SECRET = "s3cret-tok3n"


@pytest.mark.parametrize(
    "script",
    [
        f"echo {SECRET}",
        f"sh -c 'echo {SECRET} >&2; exit 1'",
        f"nothing-here-{SECRET}",
        f"echo https://me:{SECRET}@host/x",
        f"echo '{SECRET}",
    ],
)
@pytest.mark.parametrize("given", ["hidden", "input"])
def test_a_secret_is_neither_shown_nor_in_the_error(steps: Runner, script: str, given: str) -> None:
    more = {"hidden": [SECRET]} if given == "hidden" else {}
    env = {"env": {"API_TOKEN": SECRET}} if given == "input" else {}
    told = ""
    try:
        steps.one(sh(script, **env), **more)
    except StepError as error:
        told = str(error)
    assert SECRET not in told + "\n".join(steps.printed)
    assert "****" in told + "\n".join(steps.printed)


def test_no_line_of_a_secret_with_several_is_shown() -> None:
    shown: list[str] = []
    lines = Lines(Console(shown.append, ["begin key\nAAAABBBB\nend key"]))
    lines.feed(b"here: AAAABBBB\n")
    assert shown == ["here: ****"]


def test_output_comes_in_lines_whatever_the_pieces() -> None:
    shown: list[str] = []
    lines = Lines(Console(shown.append))
    for piece in (b"on", b"e\ntw", b"o\n\n 10%\r 99%\r\n", "ä".encode()[:1], "ä".encode()[1:]):
        lines.feed(piece)
    lines.close()
    assert shown == ["one", "two", "", " 99%", "ä"]


def test_an_endless_line_is_cut_after_secrets_were_masked() -> None:
    shown: list[str] = []
    lines = Lines(Console(shown.append, [SECRET]))
    for _ in range(40):
        lines.feed(SECRET.encode() * 200)
    lines.feed(b"\nnext\n")
    assert len(shown[0]) < 64 << 10
    assert shown[1] == "next"
    assert SECRET not in shown[0]


def test_a_script_has_no_standard_input(steps: Runner) -> None:
    assert steps.one(sh("cat"))["stdout"] == ""


def test_requirements_are_installed_by_the_users_python(steps: Runner) -> None:
    (steps.cwd / "sub").mkdir()
    (steps.cwd / "sub/requirements.txt").write_text("# nothing\n")
    outputs = steps.one({PIP: {"directory": "sub", "stream_output": False, "id": "pip"}})
    assert set(outputs["pip"]) == {"stdout", "stderr"}
    error = steps.fails({PIP: {"directory": "sub", "requirements_file": "../../x/bad.txt"}})
    assert "there is no file" in error.message


def test_pip_that_fails_is_told_with_what_it_said(steps: Runner) -> None:
    (steps.cwd / "requirements.txt").write_text("not a requirement\n")
    error = steps.fails({PIP: {}})
    assert "-m pip install -r requirements.txt" in error.message
    assert "Invalid requirement" in error.message
    assert error.status == 1


@pytest.mark.parametrize(
    "name",
    [
        "prefect.deployments.steps.utility.run_shell_script",
        "prefect.deployments.steps:run_shell_script",
    ],
)
def test_other_names_of_a_step_are_the_same_step(steps: Runner, name: str) -> None:
    assert steps.one({name: {"script": "echo x"}})["stdout"] == "x"


# -- which Python ---------------------------------------------------------------


def program(path: Path, status: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return str(path)


def test_the_activated_environments_python_comes_first(tmp_path: Path) -> None:
    own = program(tmp_path / "venv/bin/python", 1)
    program(tmp_path / "bin/python3", 0)
    environ = {"VIRTUAL_ENV": str(tmp_path / "venv"), "PATH": str(tmp_path / "bin")}
    assert interpreter.find(environ) == own


def test_without_one_it_is_the_first_on_path_that_has_prefect(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3", 1)
    with_prefect = program(tmp_path / "bin/python", 0)
    environ = {"VIRTUAL_ENV": str(tmp_path / "gone"), "PATH": str(tmp_path / "bin")}
    assert interpreter.find(environ) == with_prefect


def test_otherwise_it_is_our_own(tmp_path: Path) -> None:
    program(tmp_path / "bin/python3", 1)
    assert interpreter.find({"PATH": str(tmp_path / "bin")}) == sys.executable
    assert interpreter.find({}) == sys.executable


def test_whether_a_python_has_prefect_is_asked_of_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(sys.executable)
    environ = {"PATH": str(tmp_path / "bin"), "PYTHONPATH": os.pathsep.join(sys.path)}
    assert interpreter.find(environ) == str(tmp_path / "bin/python3")


# -- endings --------------------------------------------------------------------

_SCRIPT = """
import os, sys
from pathlib import Path
from gitops_flow.buildsteps import Job, process, run
from gitops_flow.model import StepPolicy
process.GRACE = 1.0
step = {%r: {"script": sys.argv[1]}}
try:
    run([Job("a", (step,))], lambda *given: given[3], cwd=Path.cwd(),
        policy=StepPolicy(None, os.environ), out=print)
except KeyboardInterrupt:
    sys.exit(130)
"""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not re.match(r"Z|$", done.stdout.strip())


def wait_for(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_interrupt_ends_a_script_and_all_that_it_started(tmp_path: Path, stubborn: bool) -> None:
    trap = "trap '' TERM; " if stubborn else ""
    inner = f"{trap}sleep 60 & echo $! $$ > pids.new; mv pids.new pids; wait; sleep 60"
    running = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT % SHELL, f"sh -c {shlex.quote(inner)}"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    wait_for((tmp_path / "pids").exists)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert all(map(alive, pids))
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 130
    assert not any(map(alive, pids))


def test_how_a_program_ended_is_put_in_words() -> None:
    assert process.describe(3) == "failed with exit status 3"
    assert process.describe(-15) == "was ended by SIGTERM"
    assert process.describe(-99) == "was ended by signal 99"
