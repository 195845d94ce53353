"""Reading a flow from its source: its name, what it says of itself, and what is refused."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_flow import flows
from gitops_flow.errors import FlowError

if TYPE_CHECKING:
    from gitops_flow.model import FlowInfo


def read(source: str, name: str = "f", flow_name: str | None = None, **files: str) -> FlowInfo:
    contents = {"flows/etl.py": textwrap.dedent(source).encode()}
    contents.update(
        {path.replace("__", "/") + ".py": text.encode() for path, text in files.items()}
    )
    return flows.read(contents.get, f"flows/etl.py:{name}", flow_name=flow_name)


def refused(source: str, name: str = "f", **files: str) -> str:
    with pytest.raises(FlowError) as caught:
        read(source, name, **files)
    error = caught.value
    return f"{error.where}: {error.message}" + (f" ({error.hint})" if error.hint else "")


NAMES = {
    "bare decorator": ("from prefect import flow\n@flow\ndef f(): ...", "f"),
    "underscores": ("from prefect import flow\n@flow\ndef load_all_data(): ...", "load-all-data"),
    "given": ("from prefect import flow\n@flow(name='My Flow')\ndef f(): ...", "My Flow"),
    "given as None": ("from prefect import flow\n@flow(name=None)\ndef f_g(): ...", "f-g"),
    "module attribute": ("import prefect\n@prefect.flow\ndef f(): ...", "f"),
    "renamed module": ("import prefect as p\n@p.flow(name='x')\ndef f(): ...", "x"),
    "renamed import": ("from prefect import flow as fl\n@fl\ndef f(): ...", "f"),
    "from its own module": ("from prefect.flows import flow\n@flow\ndef f(): ...", "f"),
    "star import": ("from prefect import *\n@flow\ndef f(): ...", "f"),
    "constant": ("from prefect import flow\nN = 'n'\n@flow(name=N)\ndef f(): ...", "n"),
    "formatted constant": (
        "from prefect import flow\nN = 'n'\n@flow(name=f'{N}-1')\ndef f(): ...",
        "n-1",
    ),
    "sum of constants": (
        "from prefect import flow\nN = 'n'\n@flow(name=N + '-2')\ndef f(): ...",
        "n-2",
    ),
    "inside try": (
        (
            "try:\n    from prefect import flow\nexcept ImportError:\n    flow = None\n"
            "from prefect import flow as g\n@g\ndef f(): ..."
        ),
        "f",
    ),
    "fallback for a missing Prefect": (
        "try:\n    from prefect import flow\nexcept ImportError:\n    flow = None\n@flow\ndef f(): ...",
        "f",
    ),
    "another name for flow": (
        "from prefect import flow\nw = flow\n@w(name='n')\ndef f(): ...",
        "n",
    ),
    "options for several": (
        "from prefect import flow\nw = flow(retries=1)\n@w\ndef f(): ...",
        "f",
    ),
    "partial": (
        (
            "from functools import partial\nfrom prefect import flow\n"
            "flow = partial(flow, retries=1)\n@flow(name='n')\ndef f(): ..."
        ),
        "n",
    ),
    "attribute of the module set": (
        "import prefect\nprefect.x = 1\n@prefect.flow\ndef f(): ...",
        "f",
    ),
    "attribute of the flow set": ("from prefect import flow\n@flow\ndef f(): ...\nf.x = 1", "f"),
    "made from itself": ("from prefect import flow\ndef f(): ...\nf = flow(f, name='n')", "n"),
    "changed by itself": (
        "from prefect import flow\n@flow\ndef f(): ...\nf = f.with_options(name='n')",
        "n",
    ),
    "options by two stars": (
        "from prefect import flow\nO = {'name': 'n'}\n@flow(**O)\ndef f(): ...",
        "n",
    ),
    "member of an enumeration of texts": (
        (
            "from enum import Enum\nfrom prefect import flow\nclass N(str, Enum):\n  A = 'n'\n"
            "@flow(name=N.A)\ndef f(): ..."
        ),
        "n",
    ),
    "inside match": (
        "from prefect import flow\nmatch 1:\n  case 1:\n    @flow\n    def f(): ...",
        "f",
    ),
    "redefined": (
        "from prefect import flow\n@flow(name='old')\ndef f(): ...\n@flow(name='new')\ndef f(): ...",
        "new",
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_flow_name(case: str) -> None:
    source, expected = NAMES[case]
    function = source.rpartition("def ")[2].partition("(")[0]
    assert read(source, function).name == expected


TEXTS = (
    "T.capitalize()",
    "f'{T.capitalize()} to lake'",
    "T.upper() + T.lower() + T.title().swapcase()",
    "'  x '.strip() + ' y'.lstrip() + 'z '.rstrip('z ') + 'ab'.removeprefix('a')",
    "T.replace('_', ' ').title()",
    "T.replace('', '-')",
    "'{} and {}'.format(T, N)",
    "'{1}-{0}-{n:>4}'.format(T, N, n=N)",
    "'{!r:>30}'.format(T)",
    "'%s to %03d, %.2f' % (T, N, 1.5)",
    "'%s' % T",
    "'%(t)s' % {'t': T}",
    "'-'.join([T, 'x'])",
    "' '.join(L).upper()",
    "f'{N:03d}-{1.5:.1f}-{T!r}'",
    "f'{T:>{N}}'",
    "'-' * 5 + 2 * T",
    "f'{\"a\".upper()}'",
)


@pytest.mark.parametrize("expression", TEXTS)
def test_name_made_of_constants_by_methods_of_texts_is_what_python_makes_of_it(
    expression: str,
) -> None:
    constants = "T = 'sales_data'\nN = 14\nL = ('a', 'b')\n"
    namespace: dict[str, object] = {}
    exec(f"{constants}NAME = {expression}", namespace)
    source = f"from prefect import flow\n{constants}@flow(name={expression})\ndef f(): ..."
    assert read(source).name == namespace["NAME"]


@pytest.mark.parametrize(
    "expression",
    [
        "T.format",
        "T.encode()",
        "T.join(range(3))",
        "T.translate({})",
        "'{0.__class__}'.format(T)",
        "'{0[0]}'.format(T)",
        "'{:{}}'.format(T, 3)",
        "'%s' % [T]",
        "'%c' % 65",
        "'%s %s' % T",
        "os.getcwd().upper()",
        "f'{os.sep:>3}'",
    ],
)
def test_name_made_in_another_way_is_not_guessed(expression: str) -> None:
    source = f"import os\nfrom prefect import flow\nT = 'x'\n@flow(name={expression})\ndef f(): ..."
    assert "the name of flow 'f' is only known when the code runs" in refused(source)


def test_flow_may_come_by_way_of_another_file() -> None:
    common = "from prefect import flow\n"
    assert read("from .common import flow\n@flow\ndef f(): ...", flows__common=common).name == "f"


def test_flow_may_be_handed_on_by_a_star() -> None:
    other = "from prefect import flow\n@flow(name='g')\ndef f(): ...\n"
    assert read("from .other import *", flows__other=other).name == "g"


def test_src_layout_is_followed_from_its_top() -> None:
    files = {
        "src/pkg/a.py": b"from pkg.sub.b import f",
        "src/pkg/sub/b.py": b"from prefect import flow\n@flow\ndef f(): ...",
    }
    for entrypoint in ("src/pkg/a.py:f", "pkg.a:f", "src.pkg.a.f"):
        assert flows.read(files.get, entrypoint).name == "f"


def test_options_that_cannot_be_read_may_hold_a_name() -> None:
    source = "from prefect import flow\nfrom x import O\n@flow(**O)\ndef f(): ..."
    assert "the name of flow 'f' is only known when the code runs" in refused(source)


def test_a_decorator_from_a_file_that_cannot_be_parsed_is_only_not_known() -> None:
    source = "from prefect import flow\nfrom .broken import deco\n@flow\n@deco\ndef f(): ..."
    assert read(source, flows__broken="def (").name == "f"


def test_a_name_with_several_values_is_said_to_have_them() -> None:
    source = "from prefect import flow\n@flow\ndef f(): ...\nfor f in []: ..."
    assert "'f' is given several values in this file" in refused(source)


def test_name_option_of_an_assignment_counts() -> None:
    source = """
        from prefect import flow
        def work(): ...
        first = flow(work)
        second = flow(work, name="second")
        third = flow(name="third")(work)
        fourth = third.with_options(name="fourth", version="4")
        """
    names = [read(source, each).name for each in ("first", "second", "third", "fourth")]
    assert names == ["work", "second", "third", "fourth"]
    assert read(source, "fourth").version == "4"


def test_method_is_found_in_its_class() -> None:
    source = """
        from prefect import flow
        class Jobs:
            @flow(name="job")
            def run(self, a: int): ...
        """
    info = read(source, "Jobs.run")
    assert info.name == "job"
    assert info.parameter_schema["properties"]["a"]["position"] == 1
    assert "self" not in info.parameter_schema["properties"]


def test_flow_that_a_class_makes_of_its_own_function_is_that_of_the_class() -> None:
    source = """
        from prefect import flow
        def work(outside: int): ...
        class Jobs:
            def _impl(self, a: int): ...
            run = flow(_impl)
            named = flow(name="n", version="2")(_impl)
            again = named
            def work(self, inside: int): ...
            class Inner:
                run = flow(work)
            own = flow(work)
        class More(Jobs): ...
        """
    names = [read(source, f"Jobs.{each}").name for each in ("run", "named", "again")]
    assert names == ["-impl", "n", "n"]
    assert read(source, "More.named").version == "2"
    assert "inside" in read(source, "Jobs.own").parameter_schema["properties"]
    assert "outside" in read(source, "Jobs.Inner.run").parameter_schema["properties"]


@pytest.mark.parametrize("entrypoint", ["pkg.etl:f", "pkg.etl.f"])
@pytest.mark.parametrize("path", ["pkg/etl.py", "pkg/etl/__init__.py"])
def test_module_entrypoint_finds_module_or_package(entrypoint: str, path: str) -> None:
    files = {path: b"from prefect import flow\n@flow\ndef f(): ..."}
    assert flows.read(files.get, entrypoint).name == "f"


def test_leading_dot_slash_is_the_same_file() -> None:
    files = {"a/f.py": b"from prefect import flow\n@flow\ndef f(): ..."}
    assert flows.read(files.get, "./a/f.py:f").name == "f"


@pytest.mark.parametrize(
    "statement",
    ["from .impl import g as f", "from impl import g as f", "from flows.impl import g as f"],
)
def test_reexported_flow_is_followed_inside_the_repository(statement: str) -> None:
    source = "from prefect import flow\n@flow(name='inner')\ndef g(): ..."
    assert read(statement, flows__impl=source).name == "inner"


def test_description_is_the_decorators_before_the_docstring() -> None:
    source = """
        from prefect import flow
        @flow(description="short")
        def f():
            '''long'''
        @flow
        def g():
            '''First.

            Then.
                Indented.
            '''
        @flow
        def h(): ...
        """
    assert read(source, "f").description == "short"
    assert read(source, "g").description == "First.\n\nThen.\n    Indented."
    assert read(source, "h").description is None


def test_version_is_the_decorators_or_none() -> None:
    source = """
        from prefect import flow
        import os
        @flow(version="1.2")
        def f(): ...
        @flow(version=os.environ["V"])
        def g(): ...
        """
    assert read(source, "f").version == "1.2"
    assert read(source, "g").version is None
    assert read(source, "g").notes == (
        "flows/etl.py:7: the version is only known when the code runs",
    )


COMPUTED = """
    import os
    from prefect import flow
    @flow(name=os.environ["NAME"])
    def f(a: int = 1): ...
    """


def test_computed_name_is_taken_from_the_manifest() -> None:
    assert read(COMPUTED, flow_name="given").name == "given"


def test_name_in_the_code_wins_over_the_manifest_and_is_noted() -> None:
    info = read("from prefect import flow\n@flow\ndef f(): ...", flow_name="other")
    assert info.name == "f"
    assert info.notes == (
        "flows/etl.py:3: the code names the flow 'f', so flow_name has no effect",
    )


REFUSED = {
    "no such function": (
        "def lod(): ...\ndef other(): ...",
        "load",
        "flows/etl.py: there is no 'load' in this file (did you mean 'lod'?)",
    ),
    "no such method": (
        "class Jobs:\n    def runs(self): ...",
        "Jobs.run",
        "flows/etl.py:1: there is no 'Jobs.run' in this file (did you mean 'Jobs.runs'?)",
    ),
    "made of what a class imports": (
        "from prefect import flow\nclass Jobs:\n    from x import g\n    run = flow(g)",
        "Jobs.run",
        (
            "flows/etl.py:4: 'g' is computed when the class's body runs "
            "(set flow_name: in the manifest)"
        ),
    ),
    "made of a function of a class in a class": (
        "from prefect import flow\nclass Jobs:\n    class In: ...\n    run = flow(In.g)",
        "Jobs.run",
        (
            "flows/etl.py:4: 'In.g' is computed when the class's body runs "
            "(set flow_name: in the manifest)"
        ),
    ),
    "made of itself in a class": (
        "from prefect import flow\nclass Jobs:\n    run = flow(run)",
        "Jobs.run",
        "flows/etl.py: 'Jobs.run' cannot be followed to a function",
    ),
    "no such class": ("x = 1", "Jobs.run", "flows/etl.py: there is no 'Jobs.run' in this file"),
    "syntax": (
        "def f(:\n    pass",
        "f",
        (
            f"flows/etl.py:1:7: not valid Python {sys.version_info[0]}.{sys.version_info[1]}: "
            "invalid syntax (correct the file, or deploy with the Python version that it is written for)"
        ),
    ),
    "not decorated": (
        "def f(): ...",
        "f",
        "flows/etl.py:1: 'f' is not a flow (decorate it with @flow)",
    ),
    "a task": (
        "from prefect import task\n@task\ndef f(): ...",
        "f",
        "flows/etl.py:3: 'f' is a task, not a flow (name a function with @flow)",
    ),
    "a constant": ("f = 1", "f", "flows/etl.py: 'f' is not a function (name a @flow function)"),
    "a class": ("class f: ...", "f", "flows/etl.py: 'f' is not a flow"),
    "computed": (
        "import x\nf = x.make()",
        "f",
        (
            "flows/etl.py:2: 'f' is computed when the code runs "
            "(define it with @flow, or as flow(function), or set flow_name: in the manifest)"
        ),
    ),
    "computed name": (
        "import os\nfrom prefect import flow\n@flow(name=os.getcwd())\ndef f(): ...",
        "f",
        (
            "flows/etl.py:4: the name of flow 'f' is only known when the code runs "
            "(set flow_name: in the manifest)"
        ),
    ),
    "banned character": (
        "from prefect import flow\n@flow(name='a/b')\ndef f(): ...",
        "f",
        "flows/etl.py:3: the flow's name 'a/b' holds '/' (a name has none of / % & > <)",
    ),
    "imported from elsewhere": (
        "from library.flows import f",
        "f",
        (
            "flows/etl.py: 'f' is imported from 'library.flows.f', which is not in the repository "
            "(name the file that defines the flow, or set flow_name: in the manifest)"
        ),
    ),
    "goes round in circles": (
        "f = g\ng = f",
        "f",
        "flows/etl.py: 'f' cannot be followed to a function",
    ),
    "imports itself": (
        "from .etl import f",
        "f",
        (
            "flows/etl.py: 'f' is imported from 'etl.f', where it is not "
            "(name the file that defines the flow)"
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_says_where_and_what_to_do(case: str) -> None:
    source, name, expected = REFUSED[case]
    assert refused(source, name) == expected


@pytest.mark.parametrize(
    ("entrypoint", "expected"),
    [
        ("gone.py:f", "gone.py:f: the file 'gone.py' does not exist"),
        ("../out.py:f", "../out.py:f: the file '../out.py' does not exist"),
        ("/etc/x.py:f", "/etc/x.py:f: the file '/etc/x.py' does not exist"),
        ("gone.mod:f", "gone.mod:f: the module 'gone.mod' does not exist"),
        ("f", "None: entrypoint 'f' names no file or module"),
        ("a.py:", "None: entrypoint 'a.py:' names no flow function"),
        ("a.py:1x", "None: entrypoint 'a.py:1x' does not end in the name of a function"),
        ("a/b:f", "None: entrypoint 'a/b:f' names neither a .py file nor a module"),
    ],
)
def test_entrypoint_that_leads_nowhere_is_an_error(entrypoint: str, expected: str) -> None:
    asked: list[str] = []
    with pytest.raises(FlowError) as caught:
        flows.read(lambda path: asked.append(path), entrypoint)  # type: ignore[func-returns-value]
    assert f"{caught.value.where}: {caught.value.message}" == expected
    assert not any(path.startswith(("/", "..")) for path in asked)


def test_what_only_running_would_tell_is_permissive_and_noted() -> None:
    source = """
        import pandas as pd
        from prefect import flow
        from settings import LIMIT
        def today(): ...
        @flow
        def f(a: pd.DataFrame, b: int = LIMIT, c: list[pd.Series] = None, d=today(), e: int = 1): ...
        """
    info = read(source)
    assert info.parameter_schema == {
        "title": "Parameters",
        "type": "object",
        "properties": {
            "a": {"title": "a", "position": 0},
            "b": {"title": "b", "position": 1, "type": "integer"},
            "c": {"title": "c", "position": 2, "default": None},
            "d": {"title": "d", "position": 3},
            "e": {"title": "e", "position": 4, "type": "integer", "default": 1},
        },
        "required": ["a"],
    }
    type_, default = (
        "its type is only known when the code runs; any value is accepted",
        ("its default is only known when the code runs; it is not shown"),
    )
    assert info.notes == (
        f"flows/etl.py:7: parameter 'a': {type_}",
        f"flows/etl.py:7: parameter 'b': {default}",
        f"flows/etl.py:7: parameter 'c': {type_}",
        f"flows/etl.py:7: parameter 'd': {default}",
    )


def test_unknown_decorator_below_flow_makes_all_parameters_permissive() -> None:
    source = """
        from prefect import flow
        from lib import inject
        @flow
        @inject
        def f(a: int, b: str): ...
        """
    info = read(source)
    assert info.name == "f"
    assert info.parameter_schema["properties"] == {
        "a": {"title": "a", "position": 0},
        "b": {"title": "b", "position": 1},
    }
    assert "required" not in info.parameter_schema
    assert info.notes == (
        "flows/etl.py:6: a decorator may change the parameters; any value is accepted",
    )


def test_infinite_default_is_null_since_json_has_none() -> None:
    source = "from prefect import flow\n@flow\ndef f(a: float = 1e999): ..."
    assert read(source).parameter_schema["properties"]["a"]["default"] is None


def test_parameter_with_an_underscore_in_front_is_refused_as_prefect_does() -> None:
    source = "from prefect import flow\n@flow\ndef f(_a: int): ..."
    assert "Prefect takes no parameter whose name begins with '_', as '_a' does" in refused(source)


@pytest.mark.parametrize(
    "body",
    [
        "x: int\n    @field_validator('x', mode='plain')\n    def c(cls, v): ...",
        "x: int\n    def __get_pydantic_json_schema__(self): ...",
        "x: int = compute()",
        "for x in range(3): pass",
    ],
)
def test_class_that_running_could_change_is_permissive(body: str) -> None:
    source = (
        "from pydantic import BaseModel, field_validator\nfrom prefect import flow\n"
        f"class M(BaseModel):\n    {body}\n@flow\ndef f(a: M): ..."
    )
    info = read(source)
    assert info.parameter_schema["properties"]["a"] == {"title": "a", "position": 0}
    assert len(info.notes) == 1


def test_field_of_a_type_that_is_not_known_takes_any_value_and_is_noted() -> None:
    info = read(
        "from pydantic import BaseModel\nfrom prefect import flow\nfrom library import Frame\n"
        "class M(BaseModel):\n    x: Frame\n    y: int\n@flow\ndef f(a: M): ..."
    )
    model = info.parameter_schema["definitions"]["M"]
    assert model["properties"] == {"x": {"title": "X"}, "y": {"title": "Y", "type": "integer"}}
    assert model["required"] == ["y"]
    assert info.notes == ("flows/etl.py:5: field 'x': its type is only known when the code runs",)


def test_type_checking_imports_are_not_there_at_run_time() -> None:
    source = """
        from __future__ import annotations
        from typing import TYPE_CHECKING
        from prefect import flow
        if TYPE_CHECKING:
            from typing import Optional
        @flow
        def f(a: Optional[int]): ...
        """
    assert read(source).parameter_schema["properties"]["a"] == {"title": "a", "position": 0}


ATTACKS = [
    'a: \'__import__("os").mkdir("{made}")\'',
    'a: list[\'__import__("os").mkdir("{made}")\']',
    'a: Optional[\'__import__("os").mkdir("{made}")\']',
    'a: ForwardRef(\'__import__("os").mkdir("{made}")\')',
    'a: conlist(\'__import__("os").mkdir("{made}")\')',
    "a: EVIL",
    "a: list[EVIL]",
    "a: list[str(EVIL)]",
    "a: NewType('N', EVIL)",
    "a=__import__('os').mkdir('{made}')",
    "a=os.mkdir('{made}')",
    "a=os.environ['SECRET']",
    "a=open('{made}', 'w')",
    "a: Model",
    "a: typing.sys.modules",
    "a=Path('{made}').mkdir()",
    "a=(lambda: os.mkdir('{made}'))()",
    "a=[os.mkdir('{made}') for _ in '1']",
    "a: Annotated[int, AfterValidator(os.mkdir)]",
    "a=Field(default_factory=lambda: os.mkdir('{made}'))",
]


@pytest.mark.parametrize("signature", ATTACKS)
def test_nothing_in_the_source_is_run(signature: str, tmp_path: Path) -> None:
    made = f"{tmp_path}/made"
    evil = f"__import__('os').mkdir({made!r})"
    source = (
        "import os, typing\nfrom pathlib import Path\n"
        "from typing import Annotated, ForwardRef, NewType, Optional\n"
        "from pydantic import AfterValidator, BaseModel, Field, conlist\n"
        f"from prefect import flow\nEVIL = {evil!r}\n"
        f"class Model(BaseModel):\n    a: EVIL\n    b: list[{evil!r}]\n"
        f"@flow\ndef f({signature.replace('{made}', made)}): ...\nos.mkdir({made!r})\n"
    )
    info = read(source)
    assert not Path(made).exists()
    assert "default" not in info.parameter_schema["properties"]["a"]


def test_values_that_names_multiply_end_in_bounded_time() -> None:
    lines = ["A0 = ['x']"] + [f"A{n} = [{', '.join([f'A{n - 1}'] * 20)}]" for n in range(1, 12)]
    text = ["B0 = 'xxxxxxxxxx'"] + [f"B{n} = B{n - 1} + B{n - 1}" for n in range(1, 28)]
    source = "\n".join(
        ["from prefect import flow", *lines, *text, "@flow", "def f(a=A11, b=B27): ..."]
    )
    assert read(source).parameter_schema["properties"] == {
        "a": {"title": "a", "position": 0},
        "b": {"title": "b", "position": 1},
    }


@given(st.text() | st.text(alphabet="def f(a:=1)\n @flow[]{}'\"*,.|", max_size=80))
def test_any_text_is_read_or_refused(source: str) -> None:
    try:
        data = f"from prefect import flow\n@flow\n{source}".encode()
    except UnicodeEncodeError:
        return
    try:
        flows.read({"a.py": data}.get, "a.py:f")
    except FlowError:
        return


PARTIAL = """
    from functools import partial
    from prefect import flow
    def g(a: int, b: int): ...
    f = flow(partial(g, 1){})
    """


def test_partial_function_takes_any_parameters_and_needs_a_name() -> None:
    info = read(PARTIAL.format(", name='n'"))
    assert info.name == "n"
    assert info.parameter_schema["properties"]["a"] == {"title": "a", "position": 0}
    assert "required" not in info.parameter_schema
    assert "the name of flow 'g' is only known when the code runs" in refused(PARTIAL.format(""))


def test_lambda_is_a_flow_that_needs_a_name() -> None:
    source = "from prefect import flow\nf = flow(lambda a, b=1: a{})"
    assert read(source.format(", name='n'")).parameter_schema["required"] == ["a"]
    assert "the flow's name '<lambda>' holds '<'" in refused(source.format(""))


@pytest.mark.parametrize(
    "source",
    [
        "import x\nf = x.make()",
        "from library import f",
        "from library import g\nf = g",
        "import l\nf = l.g.h",
    ],
)
def test_flow_that_only_running_makes_is_taken_under_the_name_given(source: str) -> None:
    info = read(source, flow_name="given")
    assert info.name == "given"
    assert info.parameter_schema == {"title": "Parameters", "type": "object", "properties": {}}
    assert len(info.notes) == 1
    assert "set flow_name: in the manifest" in refused(source)


def test_instance_with_code_of_its_own_is_not_shown_as_a_default() -> None:
    source = """
        from pydantic import BaseModel, field_validator
        from prefect import flow
        class M(BaseModel):
            x: int = 1
            @field_validator('x')
            @classmethod
            def double(cls, x): return 2 * x
        class Outer(BaseModel):
            m: M | None = None
        @flow
        def f(a: M = M(x=1), b: Outer = Outer(m={'x': 1})): ...
        """
    info = read(source)
    assert "default" not in info.parameter_schema["properties"]["a"]
    assert "default" not in info.parameter_schema["properties"]["b"]
    assert info.parameter_schema["properties"]["a"]["$ref"] == "#/definitions/M"
    assert "required" not in info.parameter_schema
    assert len(info.notes) == 2


def test_default_of_a_field_that_only_running_would_tell_is_left_out_and_noted() -> None:
    source = """
        import os
        from pydantic import BaseModel
        from prefect import flow
        class M(BaseModel):
            home: str = os.environ.get("HOME", "x")
            n: int = 1
        @flow
        def f(a: M): ...
        """
    info = read(source)
    model = info.parameter_schema["definitions"]["M"]
    assert model["properties"]["home"] == {"title": "Home", "type": "string"}
    assert "required" not in model
    assert info.notes == (
        "flows/etl.py:6: field 'home': its default is only known when the code runs",
    )


def test_name_that_only_a_type_checker_sees_makes_the_others_text_as_in_prefect() -> None:
    source = """
        from __future__ import annotations
        from typing import TYPE_CHECKING, Optional
        from prefect import flow
        if TYPE_CHECKING:
            from library import Frame
        @flow
        def f(a: Frame, b: int, c: Optional[int] = None, d: list[str] = []): ...
        """
    assert read(source).parameter_schema["properties"] == {
        "a": {"title": "a", "position": 0},
        "b": {"title": "b", "position": 1, "type": "integer"},
        "c": {"title": "c", "position": 2, "default": None},
        "d": {
            "title": "d",
            "position": 3,
            "default": [],
            "type": "array",
            "items": {"type": "string"},
        },
    }


def test_types_of_a_class_are_seen_by_its_methods() -> None:
    source = """
        from typing import Literal
        from prefect import flow
        class Jobs:
            Mode = Literal['a', 'b']
            LIMIT = 3
            @flow
            def run(self, mode: Mode = 'a', n: int = LIMIT): ...
        """
    properties = read(source, "Jobs.run").parameter_schema["properties"]
    assert properties["mode"]["enum"] == ["a", "b"]
    assert properties["n"]["default"] == 3


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python reads it")
def test_syntax_of_a_newer_python_is_named() -> None:
    source = "from prefect import flow\ntype X = int\n@flow\ndef f(a: X): ..."
    assert "this is syntax of Python 3.12: run gitflow with 3.12 or newer" in refused(source)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="needs the syntax of Python 3.12")
def test_type_statement_is_read() -> None:
    source = "from prefect import flow\ntype X = list[int]\n@flow\ndef f(a: X): ..."
    assert read(source).parameter_schema["definitions"]["X"]["items"] == {"type": "integer"}
