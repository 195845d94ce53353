"""Names that branches bind: what can be Prefect's is; what depends on the branch is not guessed."""

from __future__ import annotations

import builtins
import contextlib
import itertools
import types
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitops_flow import flows
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
    "the main program": "X = 1\nif __name__ == '__main__':\n    X = 2\n" + DEFAULT,
    "the same value": either("os.getpid()", "X = 1", "X = 1") + DEFAULT,
    "the same type": either(
        "sys.version_info >= (3, 11)",
        "from typing import Annotated as An",
        "from typing_extensions import Annotated as An",
    )
    + "@flow\ndef f(a: An[int, Field(ge=1)]): ...",
    "in one branch only": "if os.getpid():\n    X = 1\n" + DEFAULT,
    "the other raises": either("os.getpid()", "X = 1", "raise ValueError") + DEFAULT,
    "a stand-in for a library": "try:\n    from enum import Enum as E\nexcept ImportError:\n    class E: ...\n"
    "class C(E):\n    A = 1\n@flow\ndef f(a: C = C.A): ...",
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
    "a class, decided": "class C(BaseModel):\n"
    + "\n".join(indented(either("TYPE_CHECKING", "x: int", "y: int")))
    + "\n@flow\ndef f(a: C): ...",
    "a class of constants, decided": "class C:\n    X = 1\n    if TYPE_CHECKING:\n        X = 2\n"
    "@flow\ndef f(a: int = C.X): ...",
    "bound again later": "X = 1\n" + DEFAULT + "\nX = 2",
    "bound again before": "X = 1\nX = X + 1\n" + DEFAULT,
    "imported in two ways": "import datetime\nfrom datetime import datetime\n@flow\ndef f(a: datetime): ...",
    "deleted and bound": "X = 1\ndel X\nX = 2\n" + DEFAULT,
    "a star above": "from other import *\n@flow\ndef f(a: int = X): ...",
    "a star below": "@flow\ndef f(a: int): ...\nfrom other import *",
}


@pytest.mark.real
@pytest.mark.parametrize("case", DECIDED)
def test_what_no_branch_changes_is_what_prefect_imports(case: str, tmp_path: Path) -> None:
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
    "a constant of the file": "DEBUG = False\n" + either("DEBUG", "X = 1", "X = 2"),
    "every Python that Prefect needs": either("sys.version_info >= (3, 8)", "X = 1", "X = 2"),
    "what ends the import": "X = 1\nif not os.getpid():\n    X = 2\n    sys.exit()\n",
    "beside Prefect": "try:\n    from prefect import flow as g\n    X = 1\nexcept ImportError:\n    X = 2\n",
    "global, called later": "def setup():\n    global X\n    X = 2\nX = 1\nsetup()\n",
    "global, never called": "X = 1\ndef setup():\n    global X\n    X = 2\n",
    "what a library gives by a star": "from library import *\nif os.getpid():\n    X = 1\n",
    "twenty ways": "".join(f"if os.getpid() == {n}:\n    X = {n}\n" for n in range(40)),
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
        "L = 0\n" + either("os.getpid()", "L = 1\nclass C(BaseModel):\n    x: int = L\n", "L = 2"),
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
    "every Python that Prefect needs": either("sys.version_info >= (3, 8)", NEW, OLD),
    "flows that look the same": either("os.getpid()", f"{NEW}\n#", NEW.replace("...", "return 1")),
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


# What a module of a project does so that it can be imported without Prefect.
STAND_IN = "def flow(function=None, **options):\n    return function or (lambda each: each)\n"
OURS = "from prefect import flow\n"
COMPAT = {
    "looked for": "import importlib.util\n"
    + either("importlib.util.find_spec('prefect')", OURS, STAND_IN),
    "a switch that was tried": "try:\n    import prefect\n    THERE = True\nexcept ImportError:\n"
    "    THERE = False\n" + either("THERE", OURS, STAND_IN),
    "a module or nothing": "try:\n    import prefect\nexcept ImportError:\n    prefect = None\n"
    f"{STAND_IN.replace('flow', 'none')}\nflow = prefect.flow if prefect is not None else none\n",
    "nothing or a module": "prefect = None\ntry:\n    import prefect\nexcept ImportError:\n    pass\n"
    + either("prefect is None", STAND_IN, "flow = prefect.flow\n"),
    "a module's or another": "try:\n    import prefect\nexcept ImportError:\n    prefect = None\n"
    f"{STAND_IN.replace('flow', 'none')}\nflow = getattr(prefect, 'flow', none)\n",
    "the first that is there": "try:\n    from prefect import flow as _flow\nexcept ImportError:\n"
    f"    _flow = None\n{STAND_IN.replace('flow', 'none')}\nflow = _flow or none\n",
    "overridden": STAND_IN + "try:\n    from prefect import flow\nexcept ImportError:\n    pass\n",
    "stood in for": "try:\n    from prefect import flow\nexcept Exception:\n"
    + "\n".join(indented(STAND_IN))
    + "\n",
    "tried last": "try:\n    from absent_library_of_mine import flow\nexcept ImportError:\n    from prefect import flow\n",
    "suppressed": f"import contextlib\n{STAND_IN}\nwith contextlib.suppress(ImportError):\n    from prefect import flow\n",
    "by the environment": "import os\n" + either("os.environ.get('WITHOUT')", STAND_IN, OURS),
    "handed on": "from inner import flow\n",
    "with options": "import os\n"
    + either("os.environ.get('WITHOUT')", STAND_IN, f"{OURS}flow = flow(retries=1)"),
}
USES = {
    "named": "from compat import flow\n@flow(name='Load')\ndef f(a: int = 1): ...",
    "bare": "from compat import flow\n@flow\ndef f(a: int = 1): ...",
    "by its module": "import compat\n@compat.flow(name='Load', version='2')\ndef f(a: int = 1): ...",
    "with a function for want of a flow": "import os\nfrom compat import flow\n"
    + either("os.getpid()", "@flow(name='Load')\ndef f(a: int = 1): ...", "def f(): ..."),
}


@pytest.mark.real
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("case", COMPAT)
def test_what_can_be_prefects_flow_is_taken_as_it(case: str, use: str, tmp_path: Path) -> None:
    inner = COMPAT["looked for"]
    root = write(
        tmp_path, {"use.py": f"{USES[use]}\n", "compat.py": COMPAT[case], "inner.py": inner}
    )
    info = read(root, "use.py:f")
    assert ours(info) == prefects(root, "use.py:f")
    assert info.notes == ()


@pytest.mark.parametrize(
    "binding",
    [
        "from company import flow",
        "from company.flows import flow",
        "import company",
        "flow = make()",
        "from company import *",
    ],
)
def test_a_flow_named_by_a_decorator_of_that_name_is_certain(binding: str, tmp_path: Path) -> None:
    decorator = "company.flow" if binding == "import company" else "flow"
    root = write(tmp_path, {"f.py": f"{binding}\n@{decorator}(name='Load')\ndef f(a: int): ..."})
    info = read(root, "f.py:f")
    assert info.name == "Load"
    assert info.takes_more
    assert info.parameter_schema["properties"]["a"] == {"title": "a", "position": 0}
    assert "f.py:3: a decorator may change the parameters; any value is accepted" in info.notes


@pytest.mark.parametrize(
    "source",
    [
        "from company import flow\n@flow\ndef f(): ...",
        "from company import job\n@job(name='Load')\ndef f(): ...",
        "def flow(**options): ...\n@flow(name='Load')\ndef f(): ...",
        "from prefect import flow\ndef flow(**options): ...\n@flow(name='Load')\ndef f(): ...",
    ],
)
def test_a_decorator_that_may_be_anything_makes_no_flow(source: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"f.py": source})
    with pytest.raises(FlowError, match="name of flow 'f' is only known"):
        read(root, "f.py:f")


def test_branches_of_branches_through_many_files_are_read_in_bounded_time() -> None:
    files = {
        f"m{n}.py": f"if a:\n    from m{n + 1} import X, Y\nelse:\n    from m{n + 1} import X as Y, Y as X\n"
        for n in range(200)
    }
    files["f.py"] = f"{HEAD}from m0 import X\n@flow\ndef f(a=X): ..."
    info = flows.read({name: text.encode() for name, text in files.items()}.get, "f.py:f")
    assert "its default is only known when the code runs" in info.notes[0]


def test_flow_of_one_name_with_several_signatures_takes_any_parameters(tmp_path: Path) -> None:
    root = write(tmp_path, {"branch.py": f"{HEAD}{FLOWS['the worker' + chr(39) + 's Python']}"})
    info = read(root, "branch.py:f", "given")
    assert info.parameter_schema == {"title": "Parameters", "type": "object", "properties": {}}
    assert "'f' is given several values in this file" in info.notes[0]


# Statements on two names, among them what may fail and what may not run.
_NAMES = st.sampled_from(["X", "Y"])
_GLOBAL = "def set_x():\n    global X\n    X = 9"
_SIMPLE = st.one_of(
    st.builds("{} = {}".format, _NAMES, st.integers(0, 3)),
    st.builds("{} = {}".format, _NAMES, _NAMES),
    st.builds("{} += 1".format, _NAMES),
    st.builds("del {}".format, _NAMES),
    st.builds("from here import {}".format, _NAMES),
    st.builds("from gone import {}".format, _NAMES),
    st.builds("({} := 3)".format, _NAMES),
    st.sampled_from(["from here import *", "set_x()", "fails()", "pass", _GLOBAL]),
)
_CONDITIONS = st.sampled_from(
    ["maybe()", "True", "False", "TYPE_CHECKING", "not maybe()", "X == 1"]
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map("\n".join)

    def made(head: str, *heads: str) -> st.SearchStrategy[str]:
        parts = st.tuples(*[body] * (1 + len(heads)))
        return parts.map(
            lambda texts: "\n".join(
                line
                for start, text in zip((head, *heads), texts, strict=True)
                for line in (start, *indented(text))
            )
        )

    return st.one_of(
        _CONDITIONS.flatmap(lambda test: made(f"if {test}:")),
        _CONDITIONS.flatmap(lambda test: made(f"if {test}:", "else:")),
        made("try:", "except Exception:"),
        made("try:", "except Exception:", "else:", "finally:"),
        made("for X in maybes():", "else:"),
        made("with suppress(Exception):"),
        body.map(
            lambda text: "\n".join(
                ["match maybe():", *indented("\n".join(["case Y:", *indented(text)]))]
            )
        ),
    )


@settings(max_examples=50)
@given(st.lists(st.recursive(_SIMPLE, _compound, max_leaves=6), min_size=1, max_size=6))
def test_what_is_read_is_so_whatever_the_branches_do(statements: list[str]) -> None:
    source = "\n".join(["X = 0", *statements, "@flow\ndef f(a=X): ..."])
    head = "from contextlib import suppress\nfrom typing import TYPE_CHECKING\nfrom elsewhere import maybe, maybes, fails\n"
    files = {"f.py": f"{HEAD}{head}{source}", "here.py": "X = 5\nY = 6\n"}
    info = flows.read({name: text.encode() for name, text in files.items()}.get, "f.py:f")
    shown = info.parameter_schema["properties"]["a"]
    if "default" in shown:
        for choices in range(8):
            values = _imported(source, choices)
            assert values in (None, shown["default"]), source


def _imported(source: str, choices: int) -> int | None:
    """The default of ``f`` when conditions come out as the bits of ``choices``; None if it fails."""
    bits = itertools.cycle([bool(choices >> n & 1) for n in range(3)])

    def imported(name: str, *_: object) -> types.SimpleNamespace:
        if name != "here":
            raise ImportError(name)
        return types.SimpleNamespace(X=5, Y=6, __all__=["X", "Y"])

    def fails() -> None:
        raise ValueError

    namespace = {
        "__builtins__": {**vars(builtins), "__import__": imported},
        "maybe": lambda: next(bits),
        "maybes": lambda: range(next(bits)),
        "fails": fails,
        "suppress": contextlib.suppress,
        "TYPE_CHECKING": False,
        "flow": lambda function: function,
    }
    try:
        exec(source, namespace)
    except Exception:  # noqa: BLE001 - whatever the statements do, no flow comes of it
        return None
    default: int = namespace["f"].__defaults__[0]  # type: ignore[attr-defined]
    return default
