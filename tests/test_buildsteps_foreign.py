"""Steps that run in the user's Python, in a process of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.buildsteps import Job, run
from gitops_flow.errors import StepError
from gitops_flow.model import StepPolicy
from tests.test_buildsteps import SECRET, Runner, alive, sh, wait_for

MODULE = """
import asyncio, datetime, os, pathlib, subprocess, sys, uuid, warnings

def give(**inputs):
    return inputs

async def later(x):
    await asyncio.sleep(0)
    return {"x": x}

def promise(x):
    return later(x)

def none():
    print("nothing to return")

def text():
    return "not a mapping"

def odd():
    return {"path": pathlib.Path("/a"), "id": uuid.UUID(int=0), "when": datetime.date(2024, 1, 2),
            "pair": (1, {2}), 3: None, "real": 1.5}

def loud():
    print("out"); print("err", file=sys.stderr); os.write(1, b"raw\\n")
    subprocess.run(["echo", "child"])
    sys.stdout.write("no end")

def pid():
    return {"pid": os.getpid(), "parent": os.getppid()}

def move(to):
    os.chdir(to)

def export(name, value):
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value

def seen(name):
    return {"value": os.environ.get(name), "cwd": os.getcwd(), "stdin": sys.stdin.read()}

def old():
    warnings.warn("this is old", DeprecationWarning)
    warnings.warn("this is old", DeprecationWarning)

def fail(token):
    raise RuntimeError("it broke with " + token)

def command():
    subprocess.run(["sh", "-c", "echo why >&2; exit 5"], check=True)

def leave(code):
    sys.exit(code)

def die(how):
    os.write(1, b"last words\\n")
    os._exit(9) if how == "exit" else os.kill(os.getpid(), 11)

def takes(image, tag="x"):
    return {}

def loop():
    value = []
    value.append(value)
    return {"value": value}

def background(path):
    started = subprocess.Popen(["sleep", "60"])
    pathlib.Path(path).write_text(str(started.pid))

class Class:
    @staticmethod
    def method(x):
        return {"x": x}

constant = 3
"""


@pytest.fixture
def steps(tmp_path: Path) -> Runner:
    here = tmp_path / "here"
    here.mkdir()
    (here / "mine.py").write_text(MODULE)
    return Runner(here)


def test_a_function_gets_the_inputs_without_the_reserved_ones(steps: Runner) -> None:
    inputs = {"a": [1, None, {"b": 2.5}], "ü": True}
    outputs = steps.one({"mine.give": {**inputs, "id": "x", "requires": ["mine", "json"]}})
    assert outputs == {"x": inputs, **inputs}
    assert not any("installing" in line for line in steps.printed)


@pytest.mark.parametrize("name", ["mine.later", "mine.promise", "mine:later", "mine:Class.method"])
def test_functions_of_all_kinds_are_called(steps: Runner, name: str) -> None:
    assert steps.one({name: {"x": 1}}) == {"x": 1}


def test_a_function_in_a_file_is_called(steps: Runner) -> None:
    (steps.cwd / "sub").mkdir()
    (steps.cwd / "sub/near.py").write_text("value = 4")
    (steps.cwd / "sub/json.py").write_text("import near\ndef f(): return {'v': near.value}")
    assert steps.one({"sub/json.py:f": None}) == {"v": 4}


@pytest.mark.parametrize("name", ["none", "text"])
def test_what_is_not_a_mapping_is_no_output(steps: Runner, name: str) -> None:
    assert steps.one({f"mine.{name}": {"id": "x"}}) == {}


def test_what_json_cannot_hold_becomes_text(steps: Runner) -> None:
    assert steps.one({"mine.odd": None}) == {
        "path": "/a",
        "id": "00000000-0000-0000-0000-000000000000",
        "when": "2024-01-02",
        "pair": [1, "{2}"],
        "3": None,
        "real": 1.5,
    }


def test_everything_that_is_printed_is_shown_before_the_next_step(steps: Runner) -> None:
    steps.one({"mine.loud": None}, sh("echo next"))
    assert steps.printed == [
        "> loud (dep, build)",
        "out",
        "err",
        "raw",
        "child",
        "no end",
        "> run_shell_script (dep, build)",
        "next",
    ]


def test_one_process_serves_all_steps_of_all_deployments(steps: Runner) -> None:
    step = {"mine.pid": {"id": "p"}}
    one, two = steps(Job("a", (step,)), Job("b", (sh("echo"), step)))
    assert one["pid"] == two["pid"] != os.getpid()
    assert one["parent"] == os.getpid()
    assert not alive(one["pid"])


def test_no_process_is_started_when_no_step_needs_it(steps: Runner) -> None:
    run(
        [Job("a", (sh("echo x"),))],
        lambda *given: given[3],
        cwd=steps.cwd,
        policy=StepPolicy(None, os.environ),
        out=steps.printed.append,
        python="/no/such/python",
    )


def test_a_process_that_died_between_steps_is_started_again(steps: Runner) -> None:
    # Dead to us is what the system has made a zombie of, a moment after the signal.
    zombie = "grep -q State:.Z /proc/{{ pid }}/status"
    alone = "[ $(ls /proc/{{ pid }}/task | wc -l) = 1 ]"
    gone = f"until {zombie} && {alone}; do sleep 0.01; done"
    kill = sh(f"sh -c 'kill -9 {{{{ pid }}}}; {gone}'")
    outputs = steps.one({"mine.pid": {"id": "first"}}, kill, {"mine.pid": {"id": "second"}})
    assert outputs["first"]["pid"] != outputs["second"]["pid"]


def test_directory_and_variables_that_a_step_changes_hold_for_later_ones(steps: Runner) -> None:
    (steps.cwd / "sub").mkdir()
    outputs = steps.one(
        {"mine.export": {"name": "MADE", "value": "1"}},
        {"mine.export": {"name": "GIVEN", "value": None}},
        {"mine.move": {"to": "sub"}},
        sh("sh -c 'echo $MADE${GIVEN-gone}; pwd'", id="shell"),
        {"mine.seen": {"name": "MADE", "id": "seen"}},
        environ={**os.environ, "GIVEN": "x"},
    )
    assert outputs["shell"]["stdout"] == f"1gone\n{steps.cwd}/sub"
    assert outputs["seen"] == {"value": "1", "cwd": f"{steps.cwd}/sub", "stdin": ""}
    assert "MADE" not in os.environ


def test_a_deprecation_warning_is_shown_once(steps: Runner) -> None:
    steps.one({"mine.old": None})
    assert steps.printed[1:] == ["this is old"]


@pytest.mark.parametrize(
    ("step", "message", "status"),
    [
        (
            {"mine.fail": {"token": SECRET}},
            "RuntimeError: it broke with **** (at mine.py:49)",
            None,
        ),
        ({"mine.command": None}, "CalledProcessError: Command ", 5),
        ({"mine.leave": {"code": 3}}, "by sys.exit (exit status 3)", 3),
        ({"mine.leave": {"code": 0}}, "by sys.exit (exit status 0)", 0),
        ({"mine.leave": {"code": "bye"}}, "by sys.exit (exit status 1)", 1),
        ({"mine.die": {"how": "exit"}}, "its process failed with exit status 9", 9),
        ({"mine.die": {"how": "crash"}}, "its process was ended by SIGSEGV", -11),
        ({"mine.takes": {"imagee": 1}}, "unexpected 'imagee'; did you mean 'image'?", None),
        ({"mine.takes": {"image": 1, "q": 1}}, "unexpected keyword argument 'q'; it takes", None),
        ({"mine.loop": None}, "RecursionError", None),
        ({"mine.takse": None}, "has no function 'takse', did you mean 'takes'?", None),
        ({"mine.constant": None}, "mine.constant is a int, not a function", None),
        ({"nowhere.to.be": None}, "has no module 'nowhere'", None),
        ({"alone": None}, "'alone' is not the dotted name of a function", None),
        ({"gone.py:f": None}, "FileNotFoundError", None),
        ({"broken.f": None}, "SyntaxError", None),
        ({"lacking.f": None}, "has no module 'not_there_at_all' (at lacking.py:1)", None),
    ],
)
def test_what_goes_wrong_in_a_function_is_told(
    steps: Runner, step: Any, message: str, status: int | None
) -> None:
    (steps.cwd / "broken.py").write_text("x = 1\ndef f(:\n")
    (steps.cwd / "lacking.py").write_text("import not_there_at_all\n")
    error = steps.fails(step)
    assert message in error.message
    assert error.message.startswith("dep: build step 1 (")
    assert error.status == status
    assert SECRET not in str(error)
    assert "Traceback" not in str(error)


def test_a_missing_module_says_where_it_was_looked_for_and_how_to_get_it(steps: Runner) -> None:
    error = steps.fails({"prefect_moon.deploy.launch": None})
    assert error.message.startswith(
        f"dep: build step 1 (prefect_moon.deploy.launch): {sys.executable} has no module"
    )
    assert f"{sys.executable} -m pip install prefect-moon" in (error.hint or "")
    assert "requires: prefect-moon" in (error.hint or "")


def test_a_step_of_prefect_2_is_told_its_new_name(steps: Runner) -> None:
    error = steps.fails({"prefect.projects.steps.git_clone": {"repository": "x"}})
    assert "write prefect.deployments.steps.git_clone" in (error.hint or "")


def test_the_last_lines_of_a_process_that_died_are_told(steps: Runner) -> None:
    assert steps.fails({"mine.die": {"how": "exit"}}).message.endswith("\n  last words")


def test_a_python_that_cannot_be_started_is_told(steps: Runner) -> None:
    with pytest.raises(StepError, match="the Python /no/such could not be started"):
        run(
            [Job("a", ({"mine.none": {}},))],
            lambda *given: given[3],
            cwd=steps.cwd,
            policy=StepPolicy(None, os.environ),
            out=steps.printed.append,
            python="/no/such",
        )


def test_the_users_modules_hide_ours_and_not_the_other_way_round(steps: Runner) -> None:
    for name in ("console", "process", "step", "clone", "gitops_flow"):
        (steps.cwd / f"{name}.py").write_text(f"def f(): return {{'who': 'user {name}'}}")
        assert steps.one({f"{name}.f": None}) == {"who": f"user {name}"}


def test_a_program_that_a_step_leaves_running_goes_on_after_success(steps: Runner) -> None:
    steps.one({"mine.background": {"path": "pid"}})
    pid = int((steps.cwd / "pid").read_text())
    try:
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


ALLOWED = frozenset({"mine:give", "prefect.deployments.steps.run_shell_script"})


@pytest.mark.parametrize(
    "step", [{"mine.none": {}}, {"make.py:give": {}}, {"prefect.deployments.steps.git_clone": {}}]
)
def test_where_one_function_is_not_allowed_no_step_is_started(steps: Runner, step: Any) -> None:
    shutil.copy(steps.cwd / "mine.py", steps.cwd / "make.py")
    error = steps.fails(sh("touch started"), step, functions=ALLOWED | {"make.give"})
    assert error.message.endswith("it may not run here")
    assert not (steps.cwd / "started").exists()
    assert steps.printed == []


def test_an_allowed_function_is_that_of_an_installed_module_and_not_of_the_repository(
    steps: Runner, tmp_path: Path
) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(installed)}
    error = steps.fails({"mine.give": {}}, functions=ALLOWED, environ=environ)
    assert "has no module 'mine'" in error.message
    assert error.hint == f"{sys.executable} -m pip install mine"
    (installed / "mine.py").write_text("def give(): return {'who': 'installed'}\n")
    outputs = steps.one({"mine.give": {}}, functions=ALLOWED, environ=environ)
    assert outputs == {"who": "installed"}


def test_what_an_allowed_function_requires_is_not_installed(steps: Runner) -> None:
    step = {"mine.give": {"requires": "no-such-package"}}
    error = steps.fails(step, functions=ALLOWED)
    assert "has no module 'mine'" in error.message
    assert not any("installing" in line for line in steps.printed)


@pytest.mark.real
def test_what_a_step_requires_is_installed_when_it_is_missing(
    steps: Runner, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=True, system_site_packages=True)
    python = str(environment / "bin/python")
    asked = subprocess.run([python, "-c", "import pip"], capture_output=True)
    if asked.returncode:
        pytest.skip("the base Python has no pip")
    _wheel(tmp_path / "wheels", "moon_steps", "def f(x): return {'x': x}\n")
    environ = {
        **{k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")},
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": "/usr/bin:/bin",
    }

    def once(requires: Any) -> Any:
        step = {"moon_steps.f": {"x": 5, "requires": requires}}
        return run(
            [Job("a", (step,))],
            lambda *given: given[3],
            cwd=steps.cwd,
            policy=StepPolicy(None, environ),
            out=steps.printed.append,
            python=python,
        )

    with pytest.raises(StepError, match="installing dark-side failed with exit status 1"):
        once("dark-side")
    assert any("No matching distribution found for dark-side" in line for line in steps.printed)
    steps.printed.clear()
    assert once(["moon-steps[far]>=1.0"]) == ({"x": 5},)
    assert "installing moon-steps[far]>=1.0" in steps.printed
    steps.printed.clear()
    assert once("moon-steps>=1.0") == ({"x": 5},)
    assert steps.printed == ["> f (a, build)"]


def _wheel(folder: Path, name: str, code: str) -> None:
    folder.mkdir()
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


# -- endings --------------------------------------------------------------------

HANGING = """
import os, signal, subprocess, time
def hang(stubborn):
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"])
    with open("pids.new", "w") as file:
        print(os.getpid(), child.pid, file=file)
    os.rename("pids.new", "pids")
    try:
        time.sleep(60)
    finally:
        open("cleaned", "w").close()
"""
SCRIPT = """
import os, sys
from pathlib import Path
from gitops_flow.buildsteps import Job, process, run
from gitops_flow.model import StepPolicy
process.GRACE = 1.0
step = {"hanging.hang": {"stubborn": sys.argv[1] == "True"}}
try:
    run([Job("a", (step,))], lambda *given: given[3], cwd=Path.cwd(),
        policy=StepPolicy(None, os.environ), out=print, python=sys.executable)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("number", "stubborn"),
    [
        (signal.SIGINT, False),
        (signal.SIGINT, True),
        (signal.SIGKILL, False),
        (signal.SIGKILL, True),
    ],
)
def test_nothing_is_left_running_when_we_are_interrupted_or_killed(
    tmp_path: Path, number: int, stubborn: bool
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)
    running = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(stubborn)], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    wait_for((tmp_path / "pids").exists)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert all(map(alive, pids))
    running.send_signal(number)
    assert running.wait(20) == (130 if number == signal.SIGINT else -9)
    if number == signal.SIGKILL:
        wait_for(lambda: not any(map(alive, pids)))
    assert not any(map(alive, pids))
    assert (tmp_path / "cleaned").exists() is not stubborn
