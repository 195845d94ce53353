"""The same steps give the same outputs as Prefect's own ``run_steps``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.buildsteps import Job, run
from gitops_flow.errors import StepError
from gitops_flow.model import StepPolicy
from tests.test_buildsteps import filler

SHELL = "prefect.deployments.steps.run_shell_script"
CHDIR = "prefect.deployments.steps.set_working_directory"

MODULE = """
import os, pathlib

def give(**inputs):
    return inputs

async def later(x, y="default"):
    return {"x": x, "y": y}

def nothing():
    return None

def text():
    return "text"

def where(variable="X"):
    return {"cwd": pathlib.Path(os.getcwd()).name, "value": os.environ.get(variable)}

def export(**variables):
    os.environ.update(variables)

def fail():
    raise ValueError("no")
"""


def sh(script: str, **more: Any) -> dict[str, Any]:
    return {SHELL: {"script": script, **more}}


CASES: dict[str, list[Any]] = {
    "one word": [sh("pwd -P")],
    "quotes": [sh("""echo "a  b" 'c "d"' e\\ f ''""")],
    "several lines": [sh("echo a\n\n   \necho b\n")],
    "blank around": [sh("\n  echo '  x  '  \n")],
    "no expansion": [sh("echo $X ~ * `x` {a,b}")],
    "expansion": [sh("echo $X ${X}y $$ $MISSING ${MISSING} $", expand_env_vars=True)],
    "expansion with env": [sh("echo $X $Y", expand_env_vars=True, env={"Y": "own", "X": "over"})],
    "expansion brings quotes": [sh("echo $Q", expand_env_vars=True, env={"Q": "'a  b' c"})],
    "env reaches the program": [sh("sh -c 'echo $X-$Y'", env={"Y": "own"})],
    "env decides which program": [sh("tool", env={"PATH": "bin"})],
    "stderr": [sh("sh -c 'echo out; echo err >&2'\nsh -c 'echo more >&2'")],
    "quiet": [sh("echo out", stream_output=False)],
    "directory": [sh("ls", directory="sub")],
    "relative program": [sh("./run.sh a", directory="bin")],
    "shell": [sh("echo a | tr a b && echo c > made; cat made", shell=True)],
    "shell lines are apart": [sh("A=1\necho [$A]\n\n", shell=True)],
    "shell expansion": [sh("echo $X $Y", shell=True, env={"Y": "own"}, expand_env_vars=True)],
    "comment in a line": [sh("echo a # b")],
    "operators": [sh("echo a && echo b")],
    "unicode": [sh("echo 'äöü \N{SNOWMAN}'")],
    "not utf-8": [sh("printf '\\\\377x'")],
    "carriage returns": [sh("printf 'a\\\\rb\\\\n'")],
    "form feed splits": [sh("echo a\fecho b\u2028echo c")],
    "much": [sh("seq 3000")],
    "nothing": [sh("")],
    "fails": [sh("false")],
    "fails in the middle": [sh("touch a\nfalse\ntouch b")],
    "no program": [sh("no-such-program")],
    "unclosed quote": [sh("echo 'a")],
    "comment": [sh("# a")],
    "no directory": [sh("ls", directory="none")],
    "no script": [{SHELL: {}}],
    "null script": [sh(None)],  # type: ignore[arg-type]
    "unknown input": [sh("echo", x=1)],
    "number in env": [sh("echo", env={"A": 1})],
    "ids": [sh("echo 1", id="a"), sh("echo 2", id="b"), sh("echo 3")],
    "id again": [sh("echo 1", id="a"), sh("echo 2", id="a")],
    "id like an output": [sh("echo 1", id="stdout"), {"own.give": {"x": 1}}],
    "outputs": [sh("echo 1", id="a"), sh("echo {{ a.stdout }} {{ stdout }}", id="b")],
    "typed outputs": [
        {"own.give": {"id": "a", "n": 5, "l": [1, "x"], "d": {"k": None}, "f": 1.5, "t": True}},
        {"own.give": {"n": "{{ a.n }}", "l": "{{ a.l }}", "d": "{{ d }}", "s": "{{ f }}-{{ t }}"}},
    ],
    "environment": [{"own.give": {"x": "{{ $X }}", "y": "<{{ $X }}>"}}, sh("echo {{ $X }}")],
    "working directory": [{CHDIR: {"directory": "sub"}}, sh("pwd -P"), {"near.where": {}}],
    "working directory twice": [{CHDIR: {"directory": "sub"}}, {CHDIR: {"directory": ".."}}],
    "working directory by link": [{CHDIR: {"directory": "link"}}],
    "no working directory": [{CHDIR: {"directory": "none"}}],
    "working directory from an output": [
        sh("echo sub", id="a"),
        {CHDIR: {"directory": "{{ a.stdout }}"}},
        sh("ls"),
    ],
    "home is a name": [{CHDIR: {"directory": "~"}}],
    "function": [{"own.give": {"a": None, "b": [], "id": "x"}}],
    "async function": [{"own.later": {"x": 1}}],
    "colon": [{"own:later": {"x": 1, "y": 2}}],
    "in a package": [{"package.inner.f": {}}],
    "alias": [{"alias.again": {"script": "echo x"}}],
    "returns nothing": [sh("echo 1"), {"own.nothing": {"id": "n"}}, {"own.text": {"id": "t"}}],
    "variables stay": [{"own.export": {"X": "new"}}, {"own.where": {}}, sh("sh -c 'echo $X'")],
    "raises": [{"own.fail": {}}],
    "missing argument": [{"own.later": {}}],
    "unexpected argument": [{"own.later": {"x": 1, "z": 2}}],
    "no function": [{"own.none": {}}],
    "no module": [{"nowhere.none": {}}],
    "required and there": [{"own.give": {"requires": ["json", "own"], "x": 1}}],
    "two in one": [{"own.give": {}, "own.later": {}}],
    "empty step": [{}, sh("echo 1")],
    "inputs in a list": [{"own.give": [{"x": 1}]}],
}

ORACLE = """
import asyncio, json, os, sys
from pathlib import Path
from prefect.deployments.steps.core import run_steps

def quiet(*args, **kwargs): pass

clean = dict(os.environ)
answers = {}
for name, (place, steps) in json.load(open(sys.argv[1])).items():
    os.environ.clear(); os.environ.update(clean)
    os.chdir(place)
    try:
        answers[name] = asyncio.run(run_steps(steps, print_function=quiet))
    except BaseException as error:
        answers[name] = f"{type(error).__name__}: {error} / {error.__cause__!r}"
json.dump(answers, open(sys.argv[2], "w"))
"""


def make(place: Path) -> Path:
    for directory in ("sub", "bin", "package"):
        (place / directory).mkdir(parents=True)
    (place / "link").symlink_to("sub")
    (place / "own.py").write_text(MODULE)
    (place / "sub/near.py").write_text(MODULE)
    # Apart, because loading Prefect takes seconds.
    (place / "alias.py").write_text(
        "from prefect.deployments.steps.utility import run_shell_script as again\n"
    )
    (place / "package/inner.py").write_text("def f(): return {'inner': True}\n")
    for name, said in (("run.sh", "run $1"), ("tool", "tool")):
        (place / "bin" / name).write_text(f"#!/bin/sh\necho {said}\n")
        (place / "bin" / name).chmod(0o755)
    return place


@pytest.fixture(scope="module")
def prefects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Prefect makes of every case."""
    base = tmp_path_factory.mktemp("prefect")
    cases = {}
    for number, (name, steps) in enumerate(CASES.items()):
        # One path of one length and name, since outputs show it.
        cases[name] = [str(make(base / f"{number:03}/here")), steps]
    (base / "cases.json").write_text(json.dumps(cases))
    (base / "oracle.py").write_text(ORACLE)
    environ = {
        **os.environ,
        "X": "ex",
        "HOME": str(base),
        "PREFECT_HOME": str(base / "home"),
        # Nobody listens there: no step may need the server.
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
    }
    done = subprocess.run(
        [sys.executable, str(base / "oracle.py"), str(base / "cases.json"), str(base / "out.json")],
        env=environ,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((base / "out.json").read_text().replace(str(base), "BASE"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What we make of every case: alone, as a deploy would."""
    base = tmp_path_factory.mktemp("ours")
    environ = {**os.environ, "X": "ex", "HOME": str(base)}
    answers: dict[str, Any] = {}
    for number, (name, steps) in enumerate(CASES.items()):
        place = make(base / f"{number:03}/here")
        try:
            (answers[name],) = run(
                [Job("d", tuple(steps[:1]), tuple(steps[1:]))],
                filler(environ),
                cwd=place,
                policy=StepPolicy(None, environ),
                out=lambda _line: None,
                python=sys.executable,
            )
        except StepError as error:
            answers[name] = f"StepError: {error}"
    return json.loads(json.dumps(answers).replace(str(base), "BASE"))


@pytest.mark.real
@pytest.mark.parametrize("name", CASES)
def test_it_is_what_prefect_makes_of_it(
    name: str, prefects: dict[str, Any], ours: dict[str, Any]
) -> None:
    if isinstance(prefects[name], str) or isinstance(ours[name], str):
        assert isinstance(ours[name], type(prefects[name])), (ours[name], prefects[name])
    else:
        assert ours[name] == prefects[name]


@pytest.mark.real
def test_the_cases_are_told_apart_by_prefect(prefects: dict[str, Any]) -> None:
    failed = {name for name, answer in prefects.items() if isinstance(answer, str)}
    assert 15 < len(failed) < len(CASES) / 2
    assert not [name for name in failed if "onnect" in prefects[name]]
