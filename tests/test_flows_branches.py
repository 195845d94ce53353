"""Names that branches bind: what is decided is read, what depends on the worker is not guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.errors import FlowError
from tests.support.flows import ours, prefects, read, write

HEAD = """
import contextlib, os, sys, typing
from enum import Enum
from typing import TYPE_CHECKING
from pydantic import BaseModel, Field
from prefect import flow
"""
DEFAULT = "@flow\ndef f(a: int = X): ..."
OTHER = "from prefect import flow\nX = 9\n@flow(name='theirs')\ndef f(b: int): ..."


def either(test: str, one: str, other: str) -> str:
    """Source that runs one statement or another."""
    return "\n".join([f"if {test}:", *indented(one), "else:", *indented(other), ""])


def indented(source: str) -> list[str]:
    return [f"    {line}" for line in source.splitlines()]


NEW = "@flow(name='new')\ndef f(a: int = 1): ..."
OLD = "@flow(name='old')\ndef f(b: str = ''): ..."

DECIDED = {
    "True": either("True", "X = 1", "X = 2") + DEFAULT,
    "False and more": either("False and os.name", "X = 1", "X = 2") + DEFAULT,
    "not TYPE_CHECKING": either("not typing.TYPE_CHECKING", "X = 1", "X = 2") + DEFAULT,
    "a constant of the file": "DEBUG = False\n" + either("DEBUG", "X = 1", "X = 2") + DEFAULT,
    "the main program": "X = 1\nif __name__ == '__main__':\n    X = 2\n" + DEFAULT,
    "a Python that Prefect needs": either("sys.version_info >= (3, 8)", NEW, OLD),
    "Python 2": either("sys.version_info[0] == 2", OLD, NEW),
    "a Python that is not there yet": either("sys.version_info < (4,)", NEW, OLD),
    "the same value": either("os.getpid()", "X = 1", "X = 1") + DEFAULT,
    "the same type": either(
        "sys.version_info >= (3, 11)",
        "from typing import Annotated as An",
        "from typing_extensions import Annotated as An",
    )
    + "@flow\ndef f(a: An[int, Field(ge=1)]): ...",
    "flows that look the same": either("os.getpid()", f"{NEW}\n#", NEW.replace("...", "return 1")),
    "in one branch only": "if os.getpid():\n    X = 1\n" + DEFAULT,
    "the other raises": either("os.getpid()", "X = 1", "raise ValueError") + DEFAULT,
    "the other exits": "X = 1\nif not os.getpid():\n    X = 2\n    sys.exit()\n" + DEFAULT,
    "a stand-in for a library": "try:\n    from enum import Enum as E\nexcept ImportError:\n    class E: ...\n"
    "class C(E):\n    A = 1\n@flow\ndef f(a: C = C.A): ...",
    "a stand-in for Prefect": "try:\n    from prefect import flow as g\n    X = 1\nexcept ImportError:\n    X = 2\n"
    "@g\ndef f(a: int = X): ...",
    "finally": "try:\n    X = int('1')\nfinally:\n    X = 2\n" + DEFAULT,
    "the name of an error": "try:\n    import json\nexcept ImportError as X:\n    pass\nX = 1\n"
    + DEFAULT,
    "the body of with": "with contextlib.nullcontext():\n    X = 1\n" + DEFAULT,
    "inside a branch": either(
        "os.getpid()",
        "L = 1\nclass C(BaseModel):\n    x: int = L",
        "L = 2\nraise ValueError",
    )
    + "@flow\ndef f(a: C): ...",
    "each branch has its own": "L = 0\n"
    + either("os.getpid()", "L = 1\nclass C(BaseModel):\n    x: int = L", "L = 2")
    + "@flow\ndef f(a: C): ...",
    "a class, decided": "class C(BaseModel):\n"
    + "\n".join(indented(either("TYPE_CHECKING", "x: int", "y: int")))
    + "\n@flow\ndef f(a: C): ...",
    "a class of constants, decided": "class C:\n    X = 1\n    if TYPE_CHECKING:\n        X = 2\n"
    "@flow\ndef f(a: int = C.X): ...",
    "bound again later": "X = 1\n" + DEFAULT + "\nX = 2",
    "bound again before": "X = 1\nX = X + 1\n" + DEFAULT,
    "imported in two ways": "import datetime\nfrom datetime import datetime\n@flow\ndef f(a: datetime): ...",
    "deleted and bound": "X = 1\ndel X\nX = 2\n" + DEFAULT,
    "global, called later": "X = 1\ndef setup():\n    global X\n    X = 2\n"
    + DEFAULT
    + "\nsetup()",
    "global, never called": "X = 1\ndef setup():\n    global X\n    X = 2\n" + DEFAULT,
    "a star above": "from other import *\n@flow\ndef f(a: int = X): ...",
    "a star below": "@flow\ndef f(a: int): ...\nfrom other import *",
}


@pytest.mark.real
@pytest.mark.parametrize("case", DECIDED)
def test_what_is_decided_is_what_prefect_imports(case: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"branch.py": f"{HEAD}{DECIDED[case]}\n", "other.py": OTHER})
    info = read(root, "branch.py:f")
    assert ours(info) == prefects(root, "branch.py:f")
    assert info.notes == ()


# Each binds X in a way that depends on where the code runs.
NOT_DECIDED = {
    "the environment": either("os.environ.get('X')", "X = 1", "X = 2"),
    "the worker's Python": either("sys.version_info >= (3, 12)", "X = 1", "X = 2"),
    "the worker's platform": either("sys.platform == 'linux'", "X = 1", "X = 2"),
    "one branch over an old value": "X = 1\nif os.environ.get('X'):\n    X = 2\n",
    "a built-in otherwise": "if os.environ.get('X'):\n    list = tuple\nX = list()\n",
    "try": "try:\n    X = int(os.environ['X'])\nexcept KeyError:\n    X = 5\n",
    "a library that may be missing": "try:\n    import library\n    X = 1\nexcept ImportError:\n    X = 2\n",
    "after a library that may be missing": "try:\n    import library\n    from other import X\nexcept ImportError:\n    X = 2\n",
    "try and else": "try:\n    import library\nexcept ImportError:\n    X = 1\nelse:\n    X = 2\n",
    "suppress": "X = 1\nwith contextlib.suppress(ImportError):\n    import library\n    X = 2\n",
    "match": "match sys.platform:\n    case 'linux':\n        X = 1\n    case _:\n        X = 2\n",
    "captured": "match sys.platform:\n    case X:\n        pass\n",
    "for": "X = 1\nfor _ in os.environ:\n    X = 2\n",
    "target of for": "for X in range(3):\n    pass\n",
    "while": "X = 1\nwhile os.getpid() < X:\n    X = 2\n",
    "target of with": "with contextlib.nullcontext(1) as X:\n    pass\n",
    "walrus": "X = 1\nif (X := 5):\n    pass\n",
    "global": "X = 1\ndef setup():\n    global X\n    X = 2\ndef start():\n    setup()\nstart()\n",
    "a star that may not run": "X = 1\nif os.getpid():\n    from other import *\n",
    "changed in place": "X = [1]\nX.append(2)\n",
    "an item set": "X = {}\nX['a'] = 1\n",
    "a class": "class C:\n    X = 1\n    if os.getpid():\n        X = 2\nX = C.X\n",
    "a class that hides the file's": "X = 1\nclass C:\n    X = os.getpid()\n    Y = X\nX = C.Y\n",
    "another file": "from others import X\n",
}


@pytest.mark.parametrize("case", NOT_DECIDED)
def test_what_is_not_decided_is_not_guessed(case: str, tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "branch.py": f"{HEAD}{NOT_DECIDED[case]}{DEFAULT.replace(': int', '')}\n",
            "other.py": OTHER,
            "others.py": "import os\n" + either("os.name == 'nt'", "X = 1", "X = 2"),
        },
    )
    info = read(root, "branch.py:f")
    assert info.parameter_schema["properties"]["a"] == {"title": "a", "position": 0}
    assert "its default is only known when the code runs" in info.notes[0]


@pytest.mark.parametrize(
    "source",
    [
        either("os.name == 'nt'", "class C(BaseModel):\n    x: int", "class C(BaseModel): ..."),
        either("os.name == 'nt'", "C = int", "C = str"),
        either("os.name == 'nt'", "C = str", "C: typing.TypeAlias = int"),
        "class C(BaseModel):\n    if os.name == 'nt':\n        x: int\n",
        "class C(BaseModel): ...\nC.model_config = {}\n",
    ],
)
def test_type_that_is_not_decided_takes_any_value_and_is_noted(source: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"branch.py": f"{HEAD}{source}\n@flow\ndef f(a: C, b: int): ...\n"})
    info = read(root, "branch.py:f")
    assert info.parameter_schema["properties"]["a"] == {"title": "a", "position": 0}
    assert info.parameter_schema["properties"]["b"]["type"] == "integer"
    assert len(info.notes) == 1


FLOWS = {
    "the worker's Python": either("sys.version_info >= (3, 12)", NEW, OLD),
    "the worker's platform": either("sys.platform == 'win32'", NEW, OLD),
    "a library": f"try:\n    import library\n{chr(10).join(indented(NEW))}\nexcept ImportError:\n{chr(10).join(indented(OLD))}\n",
    "changed": f"{NEW}\nif os.getpid():\n    f = f.with_options(name='old')\n",
    "renamed": f"{NEW}\nf.name = 'old'\n",
    "global": f"{NEW}\ndef setup():\n    global f\n    f = None\nsetup()\n",
    "a star below that may not run": f"{NEW}\nif os.getpid():\n    from other import *\n",
    "its decorator": either("os.getpid()", "made = flow(name='a')", "made = flow(name='b')")
    + "@made\ndef f(a: int = 1): ...\n",
    "its name": either("os.getpid()", "N = 'a'", "N = 'b'") + "@flow(name=N)\ndef f(): ...\n",
    "in a loop": "for N in ('a', 'b'):\n    @flow(name=N)\n    def f(): ...\n",
    "a method": "class Jobs:\n"
    + "\n".join(indented(either("os.getpid()", NEW, OLD)))
    + "\nf = Jobs.f\n",
}


@pytest.mark.parametrize("case", FLOWS)
def test_flow_that_is_not_decided_needs_a_name(case: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"branch.py": f"{HEAD}{FLOWS[case]}", "other.py": OTHER})
    with pytest.raises(FlowError) as caught:
        read(root, "branch.py:f")
    assert "set flow_name: in the manifest" in (caught.value.hint or "")
    assert read(root, "branch.py:f", "given").name == "given"


def test_flow_of_one_name_with_several_signatures_takes_any_parameters(tmp_path: Path) -> None:
    root = write(tmp_path, {"branch.py": f"{HEAD}{FLOWS['the worker' + chr(39) + 's Python']}"})
    info = read(root, "branch.py:f", "given")
    assert info.parameter_schema == {"title": "Parameters", "type": "object", "properties": {}}
    assert "'f' is given several values in this file" in info.notes[0]
