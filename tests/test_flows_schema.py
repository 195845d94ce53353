"""The parameter schema against the one that Prefect computes by importing the code."""

from __future__ import annotations

import importlib.util
import json
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from gitops_flow import flows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMPORTS = """
import datetime
import datetime as dt
import decimal
import enum
import typing
import typing as t
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, IntEnum, auto
from pathlib import Path
from typing import Annotated, Any, Callable, Dict, List, Literal, Optional, Set, Tuple, Union
from uuid import UUID
from pydantic import BaseModel, ConfigDict, Field, SecretStr, conint, constr, field_validator
from prefect import flow
"""

CLASSES = """
class Color(Enum):
    '''What it looks like.'''
    RED = "red"
    BLUE = "blue"

class Level(IntEnum):
    LOW = 1
    HIGH = 2

class Size(str, Enum):
    S = "s"
    L = "l"

class Turn(Enum):
    LEFT = auto()
    RIGHT = auto()

class Inner(BaseModel):
    n: int = 3
    tags: list[str] = Field(default_factory=list, description="labels")

class Config(BaseModel):
    '''How to run.'''
    model_config = ConfigDict(title="Settings", extra="forbid")
    path: Path
    inner: Inner = Inner(n=4)
    color: Color = Color.RED
    ratio: float = Field(0.5, ge=0, le=1)
    other: Optional["int"] = None
    _private: int = 1

    @field_validator("ratio")
    @classmethod
    def check(cls, value):
        return value

    @property
    def half(self):
        return self.ratio / 2

class Child(Config):
    extra: bool = False

@dataclass
class Point:
    x: int
    y: int = 0
    names: list[str] = field(default_factory=list)

class Plain:
    def __init__(self):
        self.x = 1
"""

SIGNATURES = {
    "nothing": "",
    "untyped": "a",
    "untyped_default": "a=1",
    "untyped_none": "a=None",
    "int": "a: int",
    "int_default": "a: int = 3",
    "negative": "a: int = -3",
    "float": "a: float = 1.5",
    "str": "a: str = 'x'",
    "bool": "a: bool = True",
    "bytes": "a: bytes = b'x'",
    "object": "a: object = None",
    "any": "a: Any = None",
    "list": "a: list = [1, 2]",
    "list_int": "a: list[int]",
    "list_old": "a: List[str] = ['a']",
    "nested_lists": "a: list[list[dict[str, int]]]",
    "dict": "a: dict = {'a': 1}",
    "dict_typed": "a: dict[str, Any] = {}",
    "dict_old": "a: Dict[str, List[int]] = None",
    "set": "a: set[int]",
    "set_old": "a: Set[str] = {'x'}",
    "frozenset": "a: frozenset[int] = None",
    "tuple": "a: tuple[int, str]",
    "tuple_variadic": "a: tuple[int, ...] = (1, 2)",
    "tuple_old": "a: Tuple[int, int] = (1, 2)",
    "sequence": "a: Sequence[int]",
    "mapping": "a: Mapping[str, int]",
    "optional": "a: Optional[int] = None",
    "optional_required": "a: Optional[int]",
    "union": "a: Union[int, str]",
    "pipe": "a: int | None = None",
    "pipe_many": "a: int | str | list[int] = 1",
    "literal": "a: Literal['x', 'y'] = 'x'",
    "literal_mixed": "a: Literal[1, 'x', None]",
    "text_annotation": "a: 'int' = 1",
    "module_typing": "a: typing.Optional[typing.List[int]] = None",
    "aliased_typing": "a: t.Dict[str, t.Any] = None",
    "datetime": "a: datetime.datetime",
    "datetime_default": "a: dt.datetime = dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc)",
    "date": "a: datetime.date = datetime.date(2024, 1, 2)",
    "time": "a: dt.time = dt.time(9, 30)",
    "timedelta": "a: dt.timedelta = dt.timedelta(seconds=5)",
    "path": "a: Path = Path('x/y')",
    "path_joined": "a: Path = Path('x') / 'y'",
    "uuid": "a: UUID = UUID('12345678123456781234567812345678')",
    "decimal": "a: Decimal = Decimal('1.5')",
    "secret": "a: SecretStr",
    "callable": "a: Callable[[int], int] = None",
    "enum": "a: Color",
    "enum_default": "a: Color = Color.RED",
    "int_enum": "a: Level = Level.HIGH",
    "str_enum": "a: Size = Size.S",
    "auto_enum": "a: Turn = Turn.LEFT",
    "enum_list": "a: list[Color] = [Color.RED, Color.BLUE]",
    "enum_value": "a: str = Color.BLUE.value",
    "model": "a: Config",
    "model_default": "a: Inner = Inner()",
    "model_default_given": "a: Inner = Inner(n=7, tags=['x'])",
    "model_optional": "a: Optional[Config] = None",
    "model_list": "a: list[Inner] = []",
    "model_inherited": "a: Child",
    "dataclass": "a: Point",
    "dataclass_default": "a: Point = Point(1, 2)",
    "plain_class": "a: Plain = None",
    "plain_class_optional": "a: Optional[Plain] = None",
    "field_default": "a: int = Field(default=3, description='how many')",
    "field_required": "a: int = Field(..., description='how many')",
    "field_extra": "a: int = Field(3, json_schema_extra={'x': 1})",
    "field_position": "a: int = Field(3, json_schema_extra={'position': 9})",
    "field_limits_are_lost": "a: int = Field(3, ge=1)",
    "field_factory": "a: list[int] = Field(default_factory=list)",
    "annotated": "a: Annotated[int, Field(ge=1)] = 2",
    "annotated_text": "a: Annotated[str, 'a comment'] = 'x'",
    "annotated_description": "a: Annotated[int, Field(description='how many')]",
    "conint": "a: conint(gt=3) = 4",
    "constr": "a: constr(min_length=2)",
    "arguments": "*args",
    "arguments_typed": "*args: int, **kwargs: str",
    "keyword_only": "a, *, b: int = 2, c",
    "positional_only": "a: int, /, b: int = 2",
    "everything": "a, /, b: int, c=3, *args, d: str, e: bool = False, **rest",
    "many": "z: int, y: str = 'y', x: float = 1.0, w: list[int] = [1]",
    "model_attribute_names": "copy: bool = True, json: str = 'x', schema: int = 1",
    "constant": "a: int = LIMIT, b: str = NAME",
    "arithmetic": "a: int = 60 * 60, b: float = 1 / 4, c: int = LIMIT + 1",
    "alias": "a: Ids = None",
    "alias_of_alias": "a: Wide",
    "none_type": "a: None = None",
    "dict_of_models": "a: dict[str, Inner] = {}",
    "nested_default": "a: dict = {'x': [1, {'y': (2, 3)}]}",
    "unicode": "naïve: str = 'é'",
}

SHAPES: dict[str, str] = {
    **{
        name: f"LIMIT = 10\nNAME = 'n'\nIds = list[int]\nWide = Optional[Ids]\n\n"
        f"@flow\ndef f({signature}):\n    pass\n"
        for name, signature in SIGNATURES.items()
    },
    "async": "@flow\nasync def f(a: int = 1): ...",
    "options": "@flow(name='x', retries=2, log_prints=True)\ndef f(a: int): ...",
    "google": '''
        @flow
        def f(a: int, b: str = "x", *, c=None):
            """Do it.

            Args:
                a: the first
                b (str, optional): the second,
                    on two lines
                c: see http://example.com: there

            Returns:
                Nothing.
            """
        ''',
    "google_titles": '''
        @flow
        def f(a, b):
            """Do it.

            Parameters:
                a: first

                  with a paragraph
              b: not in the section

            Note:
                b: nor this
            """
        ''',
    "google_no_blank_line": '''
        @flow
        def f(a):
            """Do it.
            Args:
                a: first
            """
        ''',
    "google_blank_below": '''
        @flow
        def f(a):
            """Do it.

            Args:

                a: first
            """
        ''',
    "google_first_line": '''
        @flow
        def f(a):
            """Args:
                a: first
            """
        ''',
    "google_twice": '''
        @flow
        def f(a, b):
            """Do it.

            Args:
                a: first

            Keyword Args:
                a: other

            Arguments:
                b: second
            """
        ''',
    "google_code": '''
        @flow
        def f(a):
            """Do it.

            ```

            Args:
                a: in code
            ```
            """
        ''',
    "google_beats_field_only_without_description": '''
        @flow
        def f(a: int = Field(1), b: int = Field(2, description="own")):
            """Do it.

            Args:
                a: from the text
                b: from the text
            """
        ''',
}


@pytest.fixture(scope="module")
def oracle() -> Callable[..., Any]:
    """Prefect's own schema of the flow ``f`` in a file, which it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.utilities.callables import parameter_schema

    def ask(path: Path, name: str = "f") -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spec = importlib.util.spec_from_file_location(f"shape_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            try:
                spec.loader.exec_module(module)
                found = module
                for part in name.split("."):
                    found = getattr(found, part)
                schema = parameter_schema(found)
            finally:
                del sys.modules[spec.name]
            return json.loads(json.dumps(schema.model_dump(exclude_unset=True, mode="json")))

    return ask


def described(path: Path, entrypoint: str = "f") -> Any:
    info = flows.read(
        lambda name: path.read_bytes() if name == path.name else None, f"{path.name}:{entrypoint}"
    )
    return json.loads(json.dumps(info.parameter_schema)), info.notes


@pytest.mark.real
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"], ids=["", "future"])
@pytest.mark.parametrize("shape", SHAPES)
def test_schema_is_the_one_that_prefect_computes(
    shape: str, future: str, tmp_path: Path, oracle: Callable[..., Any]
) -> None:
    path = tmp_path / f"{shape}.py"
    path.write_text(future + IMPORTS + CLASSES + textwrap.dedent(SHAPES[shape]))
    schema, notes = described(path)
    assert schema == oracle(path)
    if shape not in ("plain_class", "plain_class_optional"):
        assert notes == ()


METHOD = """
class Jobs:
    @flow
    def run(self, a: int, b: Color = Color.RED):
        pass

    @staticmethod
    @flow
    def still(a: int):
        pass

    def plain(self, c: Color = Color.RED):
        pass

    made = flow(plain)
    named = flow(name="n")(plain)
    renamed = made.with_options(name="r")

def plain(a: int = 1, b: Optional[Config] = None):
    '''Do it.

    Args:
        a: how many
    '''

made = flow(plain)
named = flow(plain, name="x")
twice = flow(name="y")(plain)
renamed = made.with_options(name="z")
again = renamed
"""


@pytest.mark.real
def test_type_given_as_text_is_read_as_a_type(tmp_path: Path, oracle: Callable[..., Any]) -> None:
    path = tmp_path / "text.py"
    path.write_text(IMPORTS + CLASSES + "@flow\ndef f(a: 'Config', b: 'list[Color]'): ...")
    assert described(path)[0] == oracle(path)


@pytest.mark.real
@pytest.mark.parametrize(
    "name",
    [
        *("Jobs.run", "Jobs.still", "Jobs.made", "Jobs.named", "Jobs.renamed"),
        *("made", "named", "twice", "renamed", "again"),
    ],
)
def test_schema_of_what_is_made_a_flow_in_another_way(
    name: str, tmp_path: Path, oracle: Callable[..., Any]
) -> None:
    path = tmp_path / "made.py"
    path.write_text(IMPORTS + CLASSES + METHOD)
    schema, notes = described(path, name)
    assert schema == oracle(path, name)
    assert notes == ()
