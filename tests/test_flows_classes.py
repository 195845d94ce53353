"""Classes, types and defaults as sources write them, against the schema that Prefect computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.flows import ours, prefects, read, write

IMPORTS = """
import datetime as dt
import enum, logging, math
from abc import ABC
from dataclasses import dataclass, field, KW_ONLY
from functools import cached_property
from pathlib import Path
from typing import *
from uuid import UUID
import annotated_types as at
import typing_extensions as te
from pydantic import *
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as checked
from pydantic_settings import BaseSettings, SettingsConfigDict
from prefect import flow
T = TypeVar("T")
"""

# Classes of which one parameter is an M.
MODELS = {
    "forbid": "class M(BaseModel):\n  model_config = ConfigDict(extra='forbid')\n  x: int",
    "allow": "class M(BaseModel):\n  model_config = {'extra': 'allow'}\n  x: int",
    "title": "class M(BaseModel):\n  model_config = ConfigDict(title='T')\n  x: int",
    "config by keyword": "class M(BaseModel, extra='forbid', title='T'):\n  x: int",
    "config class": "class M(BaseModel):\n  class Config:\n    title = 'T'\n    extra = 'forbid'\n  x: int",
    "schema extra": "class M(BaseModel):\n  model_config = ConfigDict(json_schema_extra={'examples': [{'x': 1}]})\n  x: int",
    "alias": "class M(BaseModel):\n  x: int = Field(alias='X')\n  y: int = Field(1, validation_alias='Y')",
    "alias choices": "class M(BaseModel):\n  x: int = Field(validation_alias=AliasChoices('p', 'q'))",
    "alias generator": "class M(BaseModel):\n  model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)\n  some_name: int",
    "serialization alias": "class M(BaseModel):\n  x: int = Field(serialization_alias='X')",
    "field options": "class M(BaseModel):\n  x: int = Field(3, ge=1, lt=9, multiple_of=3, title='Ex', description='d', examples=[3])\n  y: str = Field(min_length=1, max_length=3, pattern='^a')",
    "deprecated field": "class M(BaseModel):\n  x: int = Field(3, deprecated=True)",
    "excluded field": "class M(BaseModel):\n  x: int = Field(3, exclude=True)",
    "frozen": "class M(BaseModel):\n  model_config = ConfigDict(frozen=True)\n  x: int = Field(frozen=True)",
    "texts below fields": "class M(BaseModel):\n  model_config = ConfigDict(use_attribute_docstrings=True)\n  x: int\n  '''the ex'''\n  y: int = Field(1, description='own')\n  '''not this'''\n  z: str = 'z'\n  '''the\n  zed'''",
    "texts below fields, inherited": "class B(BaseModel):\n  model_config = ConfigDict(use_attribute_docstrings=True)\n  x: int\n  '''the ex'''\nclass M(B):\n  y: int\n  '''the why'''",
    "texts that are not asked for": "class M(BaseModel):\n  x: int\n  '''the ex'''",
    "nested models": "class A(BaseModel):\n  x: int\nclass B(BaseModel):\n  a: A\n  many: dict[str, list[A]] = {}\nclass M(BaseModel):\n  b: B | None = None",
    "field of a field": "class M(BaseModel):\n  x: int = 3\n  y: int = x",
    "names in a class are its own": "x = 7\nclass M(BaseModel):\n  y: int = x\n  x: int = 1",
    "refers to itself": "class M(BaseModel):\n  x: int\n  below: list['M'] = []\n  above: Optional['M'] = None",
    "inherited": "class A(BaseModel):\n  x: int\n  y: int = 1\nclass M(A):\n  y: str = 'y'\n  z: bool = True",
    "inherited twice": "class A(BaseModel):\n  x: int\nclass B(BaseModel):\n  y: int\nclass M(A, B):\n  z: int",
    "abstract": "class A(BaseModel, ABC):\n  x: int\nclass M(A):\n  y: int",
    "mixin": "class Mixin:\n  def m(self): ...\nclass M(Mixin, BaseModel):\n  x: int",
    "class variable": "class M(BaseModel):\n  K: ClassVar[int] = 3\n  x: int = K",
    "private": "class M(BaseModel):\n  _x: int = PrivateAttr(1)\n  _y = 3\n  z: int",
    "validators": "class M(BaseModel):\n  x: int\n  @field_validator('x')\n  @classmethod\n  def v(cls, v): return v\n  @model_validator(mode='before')\n  @classmethod\n  def w(cls, v): return v\n  @model_validator(mode='after')\n  def u(self): return self",
    "computed field": "class M(BaseModel):\n  x: int\n  @computed_field\n  @property\n  def y(self) -> int: return 1",
    "serializer": "class M(BaseModel):\n  x: int\n  @field_serializer('x')\n  def s(self, x): return str(x)",
    "factory by lambda": "class M(BaseModel):\n  x: list[int] = Field(default_factory=lambda: [1])",
    "factory by function": "def make(): ...\nclass M(BaseModel):\n  x: dt.datetime = Field(default_factory=dt.datetime.now)\n  y: int = Field(default_factory=make)",
    "annotated field": "Name = Annotated[str, StringConstraints(min_length=1)]\nclass M(BaseModel):\n  x: Annotated[int, Field(gt=0)] = 1\n  y: Name\n  z: Annotated[int, at.Ge(1), at.Le(4)]",
    "annotated default": "class M(BaseModel):\n  x: Annotated[int, Field(default=3)]",
    "required and optional fields": "class M(BaseModel):\n  a: Optional[int]\n  b: int | None = None\n  c: Any\n  d: Any = None\n  e: object = 1",
}
# Each: the classes, and the parameters that use them.
CLASSES: dict[str, tuple[str, str]] = {
    **{case: (classes, "a: M") for case, classes in MODELS.items()},
    "class in a class": (
        "class M(BaseModel):\n  class Kind(enum.Enum):\n    A = 'a'\n  kind: Kind = Kind.A",
        "a: M, b: M.Kind = M.Kind.A",
    ),
    "refer to each other": (
        "class A(BaseModel):\n  b: Optional['B'] = None\nclass B(BaseModel):\n  a: Optional[A] = None",
        "a: A, b: B",
    ),
    "refer to each other, three": (
        "class A(BaseModel):\n  b: list['B'] = []\nclass B(BaseModel):\n  c: 'C'\nclass C(BaseModel):\n  a: Optional['A'] = None\n  b: Optional['B'] = None",
        "a: C",
    ),
    "dataclass refers to itself": (
        "@dataclass\nclass D:\n  below: list['D'] = field(default_factory=list)",
        "a: D",
    ),
    "later class": ("class A(BaseModel):\n  b: 'B'\nclass B(BaseModel):\n  x: int", "a: A"),
    "methods": (
        "class M(BaseModel):\n  x: int\n  @property\n  def p(self): ...\n  @cached_property\n  def c(self): ...\n  @classmethod\n  def make(cls): ...\n  def __str__(self): return ''",
        "a: M = M(x=1)",
    ),
    "root model": ("class Tags(RootModel[list[str]]): ...", "a: Tags"),
    "root model, field": ("class Tags(RootModel):\n  root: dict[str, int] = {}", "a: Tags"),
    "generic": (
        "class Box(BaseModel, Generic[T]):\n  x: T\n  y: list[T] = []",
        "a: Box[int], b: Box[str], c: Box",
    ),
    "generic, inherited": (
        "class Box(BaseModel, Generic[T]):\n  x: T\nclass Ints(Box[int]):\n  y: int",
        "a: Ints",
    ),
    "generic of two": (
        "K = TypeVar('K')\nclass P(BaseModel, Generic[K, T]):\n  k: K\n  v: Optional[T] = None",
        "a: P[str, int]",
    ),
    "bound variable": (
        "N = TypeVar('N', bound=int)\nclass Box(BaseModel, Generic[N]):\n  x: N",
        "a: Box",
    ),
    "discriminated": (
        "class Cat(BaseModel):\n  kind: Literal['cat']\nclass Dog(BaseModel):\n  kind: Literal['dog'] = 'dog'\nclass M(BaseModel):\n  pet: Union[Cat, Dog] = Field(discriminator='kind')",
        "a: M, b: Annotated[Cat | Dog, Field(discriminator='kind')]",
    ),
    "annotated validators": (
        "def check(v): return v\nclass M(BaseModel):\n  x: Annotated[int, AfterValidator(check)]\n  y: Annotated[str, BeforeValidator(str.strip)] = 'y'",
        "a: M, b: Annotated[int, AfterValidator(check)] = 1",
    ),
    "with a schema": (
        "Money = Annotated[str, WithJsonSchema({'type': 'string', 'format': 'money'})]",
        "a: Money",
    ),
    "constrained": (
        "",
        "b: constr(pattern='x'), c: conlist(int, min_length=1), d: conset(str, max_length=2), a: conint(ge=1) = 1",
    ),
    "special types": (
        "",
        "a: PositiveInt, b: NonNegativeFloat = 0.5, c: FilePath = None, d: HttpUrl = None, e: Json = None, f: ByteSize = 1, g: AwareDatetime = None",
    ),
    "strict types": (
        "",
        "a: StrictInt, b: StrictStr = 'x', c: FiniteFloat = 1.0, d: UUID4 = None, e: ImportString = None",
    ),
    "url default": (
        "",
        "a: HttpUrl = HttpUrl('https://example.com/x'), b: AnyUrl = AnyUrl('s3://bucket/key')",
    ),
    "secret default": ("", "a: SecretStr = SecretStr('x')"),
    "settings": ("class S(BaseSettings):\n  x: int = 1\n  y: str", "a: S"),
    "settings with a prefix": (
        "class S(BaseSettings):\n  model_config = SettingsConfigDict(extra='ignore')\n  x: int = 1",
        "a: S",
    ),
    "checked dataclass": (
        "@checked\nclass D:\n  x: int\n  y: int = Field(1, ge=0, description='d')",
        "a: D",
    ),
    "checked dataclass with options": (
        "@checked(config=ConfigDict(title='T'), frozen=True)\nclass D:\n  x: int",
        "a: D, b: D = D(x=1)",
    ),
    "dataclass options": (
        "@dataclass(frozen=True, slots=True, kw_only=True)\nclass D:\n  x: int = 0\n  y: str",
        "a: D, b: D = D(y='z')",
    ),
    "dataclass keywords": ("@dataclass\nclass D:\n  x: int\n  _: KW_ONLY\n  y: int = 1", "a: D"),
    "dataclass inherited": (
        "@dataclass\nclass A:\n  x: int\n@dataclass\nclass D(A):\n  y: int = 2",
        "a: D = D(1)",
    ),
    "dataclass with underscore": ("@dataclass\nclass D:\n  x: int\n  _y: int = 1", "a: D"),
    "dataclass of models": (
        "class M(BaseModel):\n  x: int\n@dataclass\nclass D:\n  m: M\n  n: Optional[M] = None",
        "a: D",
    ),
    "dataclass field options": (
        "@dataclass\nclass D:\n  x: int = field(default=3, repr=False)\n  y: list[int] = field(default_factory=lambda: [1])\n  z: int = field(init=False, default=1)",
        "a: D",
    ),
    "dataclass docstring": ("@dataclass\nclass D:\n  '''What it is.'''\n  x: int", "a: D"),
    "typed dictionary": (
        "class D(te.TypedDict):\n  '''What.'''\n  x: int\n  y: te.NotRequired[str]",
        "a: D",
    ),
    "typed dictionary, optional": (
        "class D(te.TypedDict, total=False):\n  x: te.Required[int]\n  y: str",
        "a: D = {'x': 1}",
    ),
    "typed dictionary, inherited": (
        "class A(te.TypedDict):\n  x: int\nclass D(A):\n  y: str",
        "a: D",
    ),
    "named tuple": ("class P(NamedTuple):\n  x: int\n  y: str = 'y'", "a: P, b: P = P(1, 'z')"),
    "enum with methods": (
        "class E(enum.Enum):\n  '''What.'''\n  A = 1\n  B = 'b'\n  def m(self): ...\n  @property\n  def p(self): ...",
        "a: E, b: E = E.B, c: E = E('b'), d: E = E['A']",
    ),
    "enum of tuples": ("class E(enum.Enum):\n  A = (1, 2)\n  B = (3, 4)", "a: E = E.A"),
    "enum with an alias": ("class E(enum.Enum):\n  A = 1\n  B = 1\n  C = A", "a: E = E.C"),
    "enum with annotations": ("class E(str, enum.Enum):\n  x: str\n  A: str = 'a'", "a: E = E.A"),
    "string enum": (
        "class E(enum.StrEnum):\n  A = enum.auto()\n  BIG = enum.auto()",
        "a: E = E.BIG, b: list[E] = [E.A], c: dict[E, int] = {}",
    ),
    "flag": ("class P(enum.Flag):\n  R = enum.auto()\n  W = enum.auto()", "a: P = P.R"),
    "int flag": ("class P(enum.IntFlag):\n  R = 1\n  W = 2", "a: P = P.W"),
    "enum by a call": (
        "E = enum.Enum('E', 'A B')\nF = enum.Enum('F', {'X': 'x', 'Y': 'y'})\nG = enum.IntEnum('G', ['P', 'Q'])",
        "a: E = E.A, b: F = F.Y, c: E = E.B, d: G = G.Q",
    ),
    "enum name": (
        "class E(enum.Enum):\n  A = 'a'",
        "a: str = E.A.name, b: str = E.A.value, c: Literal[E.A] = E.A",
    ),
    "unique enum": ("@enum.unique\nclass E(enum.Enum):\n  A = 'a'", "a: E"),
    "list of an enum": ("class E(enum.Enum):\n  A = 'a'\n  B = 'b'", "a: list[E] = list(E)"),
    "new type": (
        "U = NewType('U', int)\nV = NewType('V', list[U])",
        "a: U, b: V = [1], c: dict[str, U] = {}",
    ),
    "type alias type": ("U = te.TypeAliasType('U', list[int])", "a: U, b: dict[str, U] = {}"),
    "type alias": ("A: TypeAlias = 'int'\nB: te.TypeAlias = dict[str, int]", "b: B"),
    "plain class": (
        "class C:\n  x: int = 1\n  def m(self): ...",
        "a: C, b: list[C] = [], c: Optional[C] = None",
    ),
    "model beside plain": (
        "class C: ...\nclass M(BaseModel):\n  model_config = ConfigDict(arbitrary_types_allowed=True)\n  c: C\n  n: int",
        "a: int, m: M = None",
    ),
    "default instances": (
        "class A(BaseModel):\n  x: int = 1\nclass M(BaseModel):\n  a: A = A(x=2)\n  b: A = Field(default=A())\n  at: dt.timedelta = dt.timedelta(hours=1)\n  p: Path = Path('x')",
        "a: M = M(), b: list[M] = [M(a=A(x=3))], c: Optional[A] = A()",
    ),
    "numbers": (
        "",
        "a: int = 10**6, b: int = 2**10, c: int = 1 << 4, d: float = 1e-3, e: int = +1, f: int = 7 % 4, g: int = 0xff, h: int = 1_000, i: float = -math.pi, j: bool = not True",
    ),
    "durations": (
        "WEEK = dt.timedelta(weeks=1)",
        "a: dt.timedelta = 2 * WEEK, b: dt.timedelta = -WEEK, c: dt.date = dt.date(2024, 1, 1) + dt.timedelta(days=3)",
    ),
    "collections": (
        "A = {'x': 1}\nB = ['p']",
        "a: dict = {**A, 'y': 2}, b: list = [*B, 'q'], c: list = B + ['r'], d: tuple = (1,) + (2,), e=A['x'], f=B[0], g: dict = A | {'z': 3}",
    ),
    "makers": (
        "",
        "a: list = list(), b: dict = dict(x=1), c: set = set(), d: tuple = tuple([1]), e: float = float('1.5'), f: str = str(3)",
    ),
    "log level": ("", "a: int = logging.INFO"),
    "nested literals": (
        "L = Literal['a', 'b']\nM = Literal[L, 'c']",
        "a: M = 'c', b: list[L] = ['a'], c: Optional[L] = None, d: Literal[True, 1, None] = None",
    ),
    "special forms": (
        "",
        "a: type = int, b: Type[int] = int, c: Callable = None, d: Iterable[int] = (), e: Deque[int] = None, f: DefaultDict[str, int] = None, g: Hashable = None, h: AnyStr = 'x', i: NoReturn = None",
    ),
    "more forms": (
        "",
        "a: Final[int] = 1, b: Iterator[int] = None, c: Pattern = None, d: FrozenSet[str] = frozenset({'x'}), e: tuple[()] = (), f: Tuple = (), g: Collection[int] = []",
    ),
    "protected names": (
        "class M(BaseModel):\n  model_name: str = 'x'\n  schema_: int = 1",
        "a: M , dict: bool = True",
    ),
    "unset default": (
        "class M(BaseModel):\n  x: int = ...\n  y: int = Field(...)",
        "a: M, b: int = ...",
    ),
    "no numbers": (
        "class M(BaseModel):\n  x: float = float('nan')",
        "a: float = float('nan'), b: float = -math.inf, c: list = [1e999, {'x': 1e999}], d: M = M()",
    ),
    "one name in a class and beside it": (
        "class A:\n  class B:\n    class M(BaseModel):\n      x: int\n  class M(BaseModel):\n    y: int\nclass M(BaseModel):\n  z: int",
        "a: A.B.M, b: A.M, c: M",
    ),
    "one name in two classes": (
        "class A(BaseModel):\n  class K(enum.Enum):\n    X = 1\n  k: K\nclass B(BaseModel):\n  class K(enum.Enum):\n    Y = 1\n  k: K",
        "a: A, b: B",
    ),
    "one name for dataclasses and tuples": (
        "class A:\n  @dataclass\n  class D:\n    x: int\n  class P(NamedTuple):\n    x: int\n@dataclass\nclass D:\n  y: int\nclass P(NamedTuple):\n  y: int",
        "a: A.D, b: D, c: A.P, d: P",
    ),
    "one name twice": (
        "class M(BaseModel):\n  x: int\nOld = M\nclass M(M):\n  y: int",
        "a: M, b: Old",
    ),
    "lists of unions": (
        "class A(BaseModel):\n  x: int\nclass B(BaseModel):\n  y: int",
        "a: list[A | B], b: dict[str, A | list[B] | None] = {}, c: tuple[A, B] = None, d: tuple[A, ...] = ()",
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("case", CLASSES)
def test_schema_is_what_prefect_computes(case: str, tmp_path: Path) -> None:
    classes, parameters = CLASSES[case]
    text = f"{IMPORTS}\n{classes}\n\n@flow\ndef f({parameters}): ...\n"
    root = write(tmp_path, {"shape.py": text})
    info = read(root, "shape.py:f")
    assert ours(info) == prefects(root, "shape.py:f")
    assert info.notes == ()


# Where Prefect itself can say no more than "anything" of a parameter.
VAGUE = {
    "text inside a type": "class M(BaseModel): ...\n@flow\ndef f(a: Optional['M'] = None, b: list['int'] = []): ...",
    "text inside a type, of typing": "@flow\ndef f(a: Optional['t.Any'], b: list['typing.Optional[int]']): ...",
    "name for a type checker": "if TYPE_CHECKING:\n    from library import Frame\n@flow\ndef f(a: 'Frame', b: int, c: 'Optional[int]' = None, d: 'list[str]' = []): ...",
    "text in a method does not see its class": "class M(BaseModel):\n  x: int\nclass Jobs:\n  class M(BaseModel):\n    y: int\n  @flow\n  def g(a: 'M', b: 'int'): ...\nf = Jobs.g",
    "text in a method sees no name of its class": "class Jobs:\n  class N(BaseModel): ...\n  @flow\n  def h(a: 'N', b: 'int'): ...\nf = Jobs.h",
    "lambda as a default": "@flow\ndef f(a=lambda: 1, b: int = 2): ...",
    "type as a default": "class M(BaseModel): ...\n@flow\ndef f(a: type = M): ...",
}


@pytest.mark.real
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"], ids=["", "future"])
@pytest.mark.parametrize("case", VAGUE)
def test_schema_is_as_vague_as_prefects(case: str, future: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"shape.py": f"{future}{IMPORTS}\n{VAGUE[case]}\n"})
    assert ours(read(root, "shape.py:f")) == prefects(root, "shape.py:f")


OPTIONS = {
    "bare": "@flow\ndef some_flow(): ...",
    "called": "@flow()\ndef some_flow(): ...",
    "name": "@flow(name='a name: it')\ndef some_flow(): ...",
    "empty name": "@flow(name='')\ndef some_flow(): ...",
    "version": "@flow(version='1.2')\ndef some_flow(): ...",
    "description": "@flow(description='d')\ndef some_flow():\n    'text'",
    "empty description": "@flow(description='')\ndef some_flow():\n    'text'",
    "docstring": "@flow\ndef some_flow():\n    '''First.\n\n      Deeper.\n    Last.\n    '''",
    "tabs in a docstring": "@flow\ndef some_flow():\n    '''First.\n\tSecond.\n\t\tThird.\n    '''",
    "blank docstring": "@flow\ndef some_flow():\n    '''  '''",
    "formatted text is no docstring": "@flow\ndef some_flow():\n    f'''text'''",
    "of an async flow": "@flow(name='n')\nasync def some_flow(a: int):\n    '''Does.'''",
    "of a generator": "@flow\ndef some_flow(a: int):\n    yield a",
    "by name": "NAME = 'x'\nOPTIONS = dict(name=NAME)\n@flow(name=f'{NAME}-y', version=NAME + '1')\ndef some_flow(): ...",
    "made twice": "@flow(name='a')\ndef one(): ...\nsome_flow = one.with_options(name='b').with_options(version='2')",
    "options kept": "@flow(name='a', version='1', description='d')\ndef one(): ...\nsome_flow = one.with_options(retries=2)",
    "class of flows": "import prefect\ndef one(): 'text'\nsome_flow = prefect.Flow(one, name='n')",
    "by keyword": "def one(): ...\nsome_flow = flow(name='n')(one)",
    "lambda": "some_flow = flow(lambda a, *, b=1: a, name='n')",
    "another name of the decorator": "import prefect as p\nwith_retries = p.flow(retries=3, name='n')\n@with_retries\ndef some_flow(): ...",
}


@pytest.mark.real
@pytest.mark.parametrize("case", OPTIONS)
def test_name_description_and_version_are_the_flows(case: str, tmp_path: Path) -> None:
    root = write(tmp_path, {"named.py": f"from prefect import flow\n{OPTIONS[case]}\n"})
    info = read(root, "named.py:some_flow")
    assert ours(info) == prefects(root, "named.py:some_flow")
    assert info.notes == ()
