"""Flows imported by the user's Python, in a process of its own."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from gitops_flow import flows
from gitops_flow.errors import FlowError
from gitops_flow.model import FlowInfo
from tests.support.flows import ours, prefects, write

FLOW = "from prefect import flow\n@flow\ndef f(a: int = 1): ...\n"


def ask(root: Path, *entrypoints: str, timeout: float = 120) -> dict[str, FlowInfo | FlowError]:
    return flows.ask(sys.executable, root, entrypoints, environ=dict(os.environ), timeout=timeout)


@pytest.mark.real
def test_each_flow_is_answered_for_whatever_the_others_do(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "good.py": """
                import sys
                from prefect import flow
                from models import LIMIT
                print('on standard output')
                sys.stdout.flush()
                sys.stdin.read()
                @flow(name=f'n{LIMIT}', version='2')
                def f(a: int = LIMIT, b: float = float('inf')):
                    '''Does.'''
                """,
            "models.py": "LIMIT = sum([1, 2])",
            "other/good.py": "from prefect import flow\nfrom models import LIMIT\n@flow\ndef f(a=LIMIT): ...",
            "other/models.py": "LIMIT = 'its own'",
            "broken.py": "import absent_module_of_mine\n" + FLOW,
            "syntax.py": "x = 1\ndef f(:",
            "quits.py": "import sys\nsys.exit(3)\n",
            "raises.py": "def helper():\n    raise ValueError('https://user:hunter2@example.com')\nhelper()\n",
            "plain.py": "def f(): ...",
        },
    )
    found = ask(
        root,
        *("good.py:f", "broken.py:f", "syntax.py:f", "quits.py:f", "raises.py:f"),
        *("plain.py:f", "good.py:gone", "other/good.py:f"),
    )
    good, other = found["good.py:f"], found["other/good.py:f"]
    assert isinstance(good, FlowInfo)
    assert isinstance(other, FlowInfo)
    assert (good.name, good.version, good.description) == ("n3", "2", "Does.")
    assert good.parameter_schema["properties"]["a"]["default"] == 3
    assert good.parameter_schema["properties"]["b"]["default"] is None
    assert other.parameter_schema["properties"]["a"]["default"] == "its own"
    errors = {
        name: f"{each.where}: {each.message}"
        for name, each in found.items()
        if isinstance(each, FlowError)
    }
    start = "importing the flow failed:"
    assert errors == {
        "broken.py:f": (
            f"broken.py:1: {start} ModuleNotFoundError: No module named 'absent_module_of_mine'"
        ),
        "syntax.py:f": f"syntax.py:2: {start} SyntaxError: invalid syntax (syntax.py, line 2)",
        "quits.py:f": f"quits.py:2: {start} SystemExit: 3",
        "raises.py:f": f"raises.py:2: {start} ValueError: https://****@example.com",
        "plain.py:f": (
            f"plain.py:f: {start} MissingFlowError: Function with name 'f' is not a flow. "
            "Make sure that it is decorated with '@flow'."
        ),
        "good.py:gone": (
            f"good.py:gone: {start} MissingFlowError: "
            "Flow function with name 'gone' not found in 'good.py'."
        ),
    }


@pytest.mark.real
def test_answer_is_what_prefect_deploy_would_have(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "pkg/f.py": (
                "import enum\nfrom pydantic import BaseModel\nfrom prefect import flow\n"
                "class E(enum.Enum):\n    A = 1\n"
                "class M(BaseModel):\n    e: E = E.A\n"
                "@flow\ndef run_it(m: M = M(), n: E = E.A):\n    '''Does.'''\n"
            )
        },
    )
    found = ask(root, "pkg/f.py:run_it")["pkg/f.py:run_it"]
    assert isinstance(found, FlowInfo)
    assert ours(found) == prefects(root, "pkg/f.py:run_it")


@pytest.mark.real
def test_flow_that_does_not_end_is_killed_with_what_it_started_and_the_earlier_answers_count(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        {
            "good.py": FLOW,
            "slow.py": (
                "import subprocess, time, pathlib\n"
                "child = subprocess.Popen(['sleep', '1000'])\n"
                "pathlib.Path('child').write_text(str(child.pid))\ntime.sleep(1000)\n"
            ),
        },
    )
    found = ask(tmp_path, "good.py:f", "slow.py:f", "after.py:f", timeout=15)
    assert isinstance(found["good.py:f"], FlowInfo)
    slow, after = found["slow.py:f"], found["after.py:f"]
    assert isinstance(slow, FlowError)
    assert isinstance(after, FlowError)
    assert slow.message == "importing it did not end within 15 seconds"
    assert after.message.startswith("not imported: another flow came first")
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not _runs(child):
            break
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.real
def test_process_that_dies_is_said_to_have(tmp_path: Path) -> None:
    write(tmp_path, {"dies.py": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"})
    found = ask(tmp_path, "dies.py:f")["dies.py:f"]
    assert isinstance(found, FlowError)
    assert found.message == "the process that imports it ended with SIGKILL"


def test_python_that_is_not_there_is_said_once_for_each_flow(tmp_path: Path) -> None:
    found = flows.ask("/no/python", tmp_path, ["a.py:f", "b.py:f"], environ={}, timeout=5)
    assert {str(each) for each in found.values()} == {
        f"{name}: /no/python cannot be started: No such file or directory\n"
        "hint: name the Python that your flows run with"
        for name in ("a.py:f", "b.py:f")
    }


def test_python_without_prefect_is_said_to_have_none(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {Path(sys.base_prefix, "bin/python3")} -S -E "$@"\n')
    bare.chmod(0o755)
    write(tmp_path, {"a.py": FLOW})
    found = flows.ask(str(bare), tmp_path, ["a.py:f"], environ=dict(os.environ), timeout=60)
    error = found["a.py:f"]
    assert isinstance(error, FlowError)
    assert error.message == f"{bare} has no prefect"


@pytest.mark.real
def test_a_flow_loads_where_a_run_would_find_one(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "jobs.py": """
                import functools
                from prefect import flow
                def plain(function):
                    @functools.wraps(function)
                    def called(*args): return function(*args)
                    return called
                @plain
                @flow
                def behind(a: int): ...
                def function(): ...
                constant = 1
                """
        },
    )
    entrypoints = ("jobs.py:behind", "jobs.py:function", "jobs:function")
    loads = (*entrypoints, "jobs.function", "jobs.py:constant", "jobs.py:gone")
    errors = flows.load(
        sys.executable, root, loads, environ=dict(os.environ), timeout=120, instead="wait"
    )
    assert [errors[each] for each in entrypoints] == [None, None, None]
    assert {name: "" if each is None else each.message[27:] for name, each in errors.items()} == {
        **dict.fromkeys(entrypoints, ""),
        # A run takes a module's function only when it is a flow.
        "jobs.function": "MissingFlowError: Function with name 'function' is not a flow. "
        "Make sure that it is decorated with '@flow'.",
        "jobs.py:constant": "TypeError: 'fn' must be callable",
        "jobs.py:gone": "RuntimeError: Function with name 'gone' not found in 'jobs.py'.",
    }
    # A deploy asks for what the flow is called, and such a function has no name of its own.
    assert isinstance(ask(root, "jobs.py:behind")["jobs.py:behind"], FlowError)
