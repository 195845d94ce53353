"""Sources that are broken, huge or hostile: an answer or one clear error, in bounded time."""

from __future__ import annotations

import codecs

import pytest

from gitops_flow import flows
from gitops_flow.errors import FlowError
from gitops_flow.model import FlowInfo

HEAD = "from prefect import flow\n"
FLOW = "@flow\ndef f(a=1): ...\n"


def read(source: str | bytes, **files: str | bytes) -> FlowInfo:
    contents = {"f.py": source, **{f"{name}.py": text for name, text in files.items()}}
    return flows.read(
        {k: v.encode() if isinstance(v, str) else v for k, v in contents.items()}.get, "f.py:f"
    )


def doubling(default: str) -> str:
    lines = ["from pydantic import BaseModel, Field", "class A0(BaseModel):\n  x: int = 1"]
    for n in range(1, 40):
        value = default.format(f"A{n - 1}")
        lines.append(f"class A{n}(BaseModel):\n  x: A{n - 1} = {value}\n  y: A{n - 1} = {value}")
    return "\n".join([HEAD, *lines, "@flow\ndef f(a: A39 = A39()): ...\n"])


def names(first: str, following: str, parameter: str, count: int = 40) -> str:
    lines = [f"A0 = {first}"]
    lines += [f"A{n} = {following.replace('%', f'A{n - 1}')}" for n in range(1, count)]
    return "\n".join([HEAD, "from typing import *", *lines, f"@flow\ndef f({parameter}): ...\n"])


BOUNDED = {
    "powers": f"{HEAD}@flow\ndef f(a=2**10**10): ...",
    "powers of powers": f"{HEAD}@flow\ndef f(a=9**9**9**9): ...",
    "shift": f"{HEAD}@flow\ndef f(a=1 << 10**10): ...",
    "repeated text": f"{HEAD}@flow\ndef f(a='x' * 10**10): ...",
    "repeated list": f"{HEAD}@flow\ndef f(a=[0] * 10**10): ...",
    "defaults of defaults": doubling("{}()"),
    "factories of factories": doubling("Field(default_factory={})"),
    "lists of lists": names("['x']", "[%, %]", "a=A39"),
    "spread lists": names("['x']", "[*%, *%]", "a=A39"),
    "added lists": names("['x']", "% + %", "a=A39"),
    "merged mappings": names("{'x': 1}", "{**%, **%}", "a=A39"),
    "formatted text": names("'x'", "f'{%}{%}'", "a=A39"),
    "joined text": names("'x'", "'%'.join([%, %])".replace("'%'", "','"), "a=A39"),
    "text by format": names("'x'", "'{0}{0}'.format(%)", "a=A39"),
    "text with many fields": f"{HEAD}L = 'x' * 90_000\n@flow\ndef f(a={'{0}' * 5_000!r}.format(L)): ...",
    "text replaced by text": f"{HEAD}L = 'x' * 90_000\n@flow\ndef f(a=L.replace('x', L)): ...",
    "text between letters": f"{HEAD}L = 'x' * 90_000\n@flow\ndef f(a=L.replace('', L)): ...",
    "wide field": f"{HEAD}@flow\ndef f(a='{{:1000000000}}'.format('x')): ...",
    "wide f-string": f"{HEAD}@flow\ndef f(a=f'{{1:1000000000}}'): ...",
    "wide percent": f"{HEAD}@flow\ndef f(a='%1000000000d' % 1): ...",
    "width from a value": f"{HEAD}@flow\ndef f(a='%*d' % (10**9, 1)): ...",
    "percent of one mapping": f"{HEAD}L = 'x' * 90_000\n@flow\ndef f(a={'%(k)s' * 5_000!r} % {{'k': L}}): ...",
    "types of types": names("int", "tuple[%, %]", "a: A39 = 1"),
    "unions of types": names("int", "Union[%, list[%]]", "a: A39 = 1"),
    "names of names": names("1", "%", "a=A2999", 3000),
    "deep display": f"{HEAD}@flow\ndef f(a={'[' * 90}{']' * 90}): ...",
    "deep attribute": f"{HEAD}x = 1\n@flow\ndef f(a=x{'.a' * 300}): ...",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", BOUNDED)
def test_value_without_end_is_only_not_known(case: str) -> None:
    info = read(BOUNDED[case])
    assert "required" not in info.parameter_schema
    assert len(str(info.parameter_schema["properties"]["a"].get("default"))) < 100_000
    if case != "deep display":
        assert info.notes


REFUSED = {
    "NUL": (f"{HEAD}\0{FLOW}", "null bytes"),
    "parentheses": (f"{HEAD}x = {'(' * 5000}{')' * 5000}\n", "too many nested parentheses"),
    "sum": (f"{HEAD}x = {'+'.join(['1'] * 50_000)}\n", "recursion"),
    "too large": (f"{HEAD}{FLOW}x = '''{'x' * 5_000_000}'''", "too many to be read as Python"),
    "wrong encoding": (HEAD.encode() + "x = 'é'\n".encode("latin-1"), "utf-8"),
    "unknown encoding": (f"# coding: klingon\n{HEAD}{FLOW}", "klingon"),
    "UTF-16": (f"{HEAD}{FLOW}".encode("utf-16"), "f.py"),
    "two encodings": (
        codecs.BOM_UTF8 + f"# coding: latin-1\n{HEAD}{FLOW}".encode(),
        "save it as UTF-8",
    ),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", REFUSED)
def test_source_that_cannot_be_parsed_is_one_error(case: str) -> None:
    source, expected = REFUSED[case]
    with pytest.raises(FlowError) as caught:
        read(source)
    assert expected in str(caught.value)
    assert str(caught.value.where).startswith("f.py")


@pytest.mark.parametrize(
    "source",
    [
        codecs.BOM_UTF8 + f"{HEAD}@flow(name='é')\ndef f(): ...".encode(),
        f"# -*- coding: latin-1 -*-\n{HEAD}@flow(name='é')\ndef f(): ...".encode("latin-1"),
        f"#!/usr/bin/python\n# coding: cp1252\n{HEAD}@flow(name='é')\ndef f(): ...".encode(
            "cp1252"
        ),
        f"{HEAD}@flow(name='é')\ndef f(): ...".replace("\n", "\r\n").encode(),
    ],
    ids=["byte order mark", "latin-1", "second line", "line ends"],
)
def test_encoding_that_the_source_names_is_used(source: bytes) -> None:
    assert read(source).name == "é"


@pytest.mark.parametrize(
    "broken", ["def (", "\0", "type X = int\ntype Y[T] = list[T]", "x" * 1_100_000]
)
def test_import_of_a_file_that_cannot_be_parsed_is_only_not_known(broken: str) -> None:
    if broken.startswith("type"):
        broken += "\nNOT VALID"  # which newer Pythons would otherwise read
    info = read(f"{HEAD}from models import X\n@flow\ndef f(a: X, b: int = 1): ...", models=broken)
    assert info.parameter_schema["properties"]["a"] == {"title": "a", "position": 0}
    assert info.parameter_schema["properties"]["b"]["type"] == "integer"
    assert info.notes == (
        "f.py:4: parameter 'a': its type is only known when the code runs; any value is accepted",
    )


@pytest.mark.parametrize(
    "files",
    [
        {"a": "from b import X", "b": "from a import X"},
        {"a": "from a import X"},
        {"a": "from b import *", "b": "from a import *"},
        {"a": "from .a import X"},
        {"a": "import a\nX = a.X"},
        {"a": "X = Y\nY = X"},
        {"a": "class X(X): ..."},
        {"a": "from b import Y\nclass X(Y): ...", "b": "from a import X\nclass Y(X): ..."},
    ],
    ids=str,
)
def test_definitions_that_go_round_in_circles_are_not_known(files: dict[str, str]) -> None:
    info = read(f"{HEAD}from a import X\n@flow\ndef f(a: X): ...", **files)
    assert info.parameter_schema["properties"]["a"] == {"title": "a", "position": 0}
    assert info.notes


def test_imports_leave_the_repository_nowhere() -> None:
    asked: list[str] = []
    source = f"{HEAD}from ....up import X\nfrom ..y import *\nimport z\n@flow\ndef f(a: X, b: z.Y, c: Q): ..."

    def content(path: str) -> bytes | None:
        asked.append(path)
        return source.encode() if path == "d/f.py" else None

    flows.read(content, "d/f.py:f")
    assert "z.py" in asked
    assert not [path for path in asked if path.startswith(("/", "..")) or "//" in path]
