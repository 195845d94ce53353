"""Flows whose types, defaults or functions are in other files, against what Prefect imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.flows import ours, prefects, read, write

PYDANTIC = """
from __future__ import annotations
from enum import Enum
from pydantic import BaseModel, ConfigDict, Field

class Mode(str, Enum):
    FAST = "fast"
    SLOW = "slow"

class Base(BaseModel):
    '''What all have.'''
    model_config = ConfigDict(extra="forbid")
    id: int = Field(gt=0, description="which one")

class Config(Base):
    mode: Mode = Mode.FAST
    parts: list[Part] = []

class Part(BaseModel):
    name: str = Field("x", alias="partName")

LIMIT = 5
NAMES = ["a", "b"]
DEFAULT = Mode.SLOW
"""
FLOW = "from prefect import flow\n"


def flow(signature: str, *lines: str) -> str:
    return "\n".join((FLOW, *lines, "", "@flow", f"def f({signature}): ...", ""))


# Files of which f.py holds the flow f; these name it in another way.
ENTRYPOINTS = {
    "parent package": "pkg.sub.f:f",
    "module entrypoint, absolute": "pkg.f.f",
    "inherited": "f.py:B.run",
    "inherited from another file": "f.py:Job.run",
    "inherited from two, in order": "f.py:Job.run",
    "method of an imported class": "f.py:Jobs.run",
}
TREES: dict[str, dict[str, str]] = {
    "sibling": {"f.py": flow("a: Config", "from models import Config"), "models.py": PYDANTIC},
    "sibling of a file in a directory": {
        "d/f.py": flow("a: Config", "from models import Config"),
        "d/models.py": PYDANTIC,
    },
    "from the current directory": {
        "d/f.py": flow("a: Config", "from models import Config"),
        "models.py": PYDANTIC,
    },
    "the file's directory comes first": {
        "d/f.py": flow("a: int = LIMIT", "from models import LIMIT"),
        "d/models.py": "LIMIT = 1",
        "models.py": PYDANTIC,
    },
    "a package comes before a module": {
        "f.py": flow("a: int = LIMIT", "from models import LIMIT"),
        "models/__init__.py": "LIMIT = 1",
        "models.py": "LIMIT = 2",
    },
    "namespace package": {
        "f.py": flow("a: Config", "from lib.models import Config"),
        "lib/models.py": PYDANTIC,
    },
    "module of a namespace package": {
        "f.py": flow("a: models.Config", "from lib import models"),
        "lib/models.py": PYDANTIC,
    },
    "relative to a script": {
        "d/f.py": flow("a: Config", "from .models import Config"),
        "d/models.py": PYDANTIC,
    },
    "relative to a script, module": {
        "d/f.py": flow("a: models.Config", "from . import models"),
        "d/models.py": PYDANTIC,
    },
    "import as": {
        "f.py": flow("a: m.Config, b: m.Mode = m.DEFAULT", "import pkg.models as m"),
        "pkg/__init__.py": "",
        "pkg/models.py": PYDANTIC,
    },
    "import dotted": {
        "f.py": flow("a: pkg.models.Config, b=pkg.models.LIMIT", "import pkg.models"),
        "pkg/__init__.py": "",
        "pkg/models.py": PYDANTIC,
    },
    "import dotted without packages": {
        "f.py": flow("a: pkg.models.Config", "import pkg.models"),
        "pkg/models.py": PYDANTIC,
    },
    "renamed": {
        "f.py": flow("a: C, b: M = M.FAST", "from models import Config as C, Mode as M"),
        "models.py": PYDANTIC,
    },
    "star": {
        "f.py": flow("a: Config, b: int = LIMIT", "from models import *"),
        "models.py": PYDANTIC,
    },
    "star behind a star": {
        "f.py": flow("a: Config", "from pkg import *"),
        "pkg/__init__.py": "from .models import *",
        "pkg/models.py": PYDANTIC,
    },
    "re-export by a package": {
        "f.py": flow("a: Config, b: Mode = Mode.SLOW", "from pkg import Config, Mode"),
        "pkg/__init__.py": "from .models import Config, Mode\nfrom . import models",
        "pkg/models.py": PYDANTIC,
    },
    "re-export through three files": {
        "f.py": flow("a: Settings", "from one import Settings"),
        "one.py": "from two import Settings",
        "two.py": "from three import Config as Settings",
        "three.py": PYDANTIC,
    },
    "module re-exported": {
        "f.py": flow("a: models.Config", "from pkg import models"),
        "pkg/__init__.py": "from . import models",
        "pkg/models.py": PYDANTIC,
    },
    "parent package": {
        "pkg/__init__.py": "",
        "pkg/models.py": PYDANTIC,
        "pkg/sub/__init__.py": "",
        "pkg/sub/f.py": flow(
            "a: Config, b: int = models.LIMIT",
            "from ..models import Config",
            "from .. import models",
        ),
    },
    "module entrypoint, absolute": {
        "pkg/__init__.py": "",
        "pkg/models.py": PYDANTIC,
        "pkg/f.py": flow("a: Config", "from pkg.models import Config"),
    },
    "constants": {
        "f.py": flow(
            "a: int = LIMIT, b: list[str] = NAMES, c: Mode = DEFAULT, d=LIMIT * 2, e=NAMES[1]",
            "from models import *",
        ),
        "models.py": PYDANTIC,
    },
    "constants of constants": {
        "f.py": flow(
            "a: int = TIMEOUT, b: str = config.URL",
            "import config",
            "from config import TIMEOUT",
        ),
        "config.py": "from base import MINUTE, HOST\nTIMEOUT = 5 * MINUTE\nURL = f'http://{HOST}/x'",
        "base.py": "MINUTE = 60\nHOST = 'h' + '.example'",
    },
    "constant of a class": {
        "f.py": flow(
            "a: int = Defaults.LIMIT, b: str = Defaults.Names.FIRST",
            "from models import Defaults",
        ),
        "models.py": "class Defaults:\n    LIMIT = 3\n    class Names:\n        FIRST = 'x'\n    def m(self): ...",
    },
    "constant of an instance": {
        "f.py": flow("a: int = DEFAULTS.n, b: str = CONFIG['x']", "from models import *"),
        "models.py": "from dataclasses import dataclass\n@dataclass\nclass D:\n    n: int = 4\nDEFAULTS = D(n=5)\nCONFIG = {'x': 'y'}",
    },
    "literal of constants": {
        "f.py": flow(
            "a: Literal[FAST, 'slow'] = FAST",
            "from typing import Literal",
            "from models import FAST",
        ),
        "models.py": "FAST = 'fast'",
    },
    "type alias": {
        "f.py": flow(
            "a: Ids, b: Table = {}, c: Maybe = None", "from models import Ids, Table, Maybe"
        ),
        "models.py": "from typing import *\nIds: TypeAlias = list[int]\nTable = Dict[str, Ids]\nMaybe = Optional[Table]",
    },
    "new type": {
        "f.py": flow("a: UserId, b: list[UserId] = []", "from models import UserId"),
        "models.py": "from typing import NewType\nUserId = NewType('UserId', int)",
    },
    "annotated alias": {
        "f.py": flow("a: Positive = 1", "from models import Positive"),
        "models.py": "from typing import Annotated\nfrom pydantic import Field\nPositive = Annotated[int, Field(gt=0, description='how many')]",
    },
    "base in another file": {
        "f.py": flow("a: Child", "from child import Child"),
        "child.py": "from lib.base import Base\nclass Child(Base):\n    extra: bool = False",
        "lib/base.py": PYDANTIC,
    },
    "base as an attribute": {
        "f.py": flow("a: Child", "import base", "class Child(base.Base):\n    extra: bool = False"),
        "base.py": PYDANTIC,
    },
    "field types in another file": {
        "f.py": flow("a: Job", "from job import Job"),
        "job.py": "from pydantic import BaseModel\nimport models\nclass Job(BaseModel):\n    config: models.Config\n    modes: dict[models.Mode, int] = {models.DEFAULT: 1}",
        "models.py": PYDANTIC,
    },
    "two classes of one name": {
        "f.py": flow("a: one.Config, b: two.Config", "import one, two"),
        "one.py": "from pydantic import BaseModel\nclass Config(BaseModel):\n    x: int",
        "two.py": "from pydantic import BaseModel\nclass Config(BaseModel):\n    y: str",
    },
    "two classes of one name, in packages": {
        "d/f.py": flow(
            "a: Config, b: C2", "from pkg.one import Config", "from .two import Config as C2"
        ),
        "d/two.py": "from pydantic import BaseModel\nclass Config(BaseModel):\n    y: str",
        "pkg/one.py": "from pydantic import BaseModel\nclass Config(BaseModel):\n    x: int",
    },
    "dataclasses": {
        "f.py": flow("a: Job, b: Job = Job(Point(1))", "from job import Job, Point"),
        "job.py": "from dataclasses import dataclass, field\nfrom point import Point\n@dataclass\nclass Job:\n    at: Point\n    tags: list[str] = field(default_factory=list)",
        "point.py": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Point:\n    x: int\n    y: int = 0",
    },
    "typed dictionary": {
        "f.py": flow("a: Options = {}", "from options import Options"),
        "options.py": "from typing_extensions import TypedDict, NotRequired\nclass Options(TypedDict):\n    x: int\n    y: NotRequired[str]",
    },
    "named tuple": {
        "f.py": flow("a: Pair", "from options import Pair"),
        "options.py": "from typing import NamedTuple\nclass Pair(NamedTuple):\n    x: int\n    y: str = 'y'",
    },
    "generic model": {
        "f.py": flow("a: Box[int], b: Box[Item]", "from box import Box, Item"),
        "box.py": "from typing import Generic, TypeVar\nfrom pydantic import BaseModel\nT = TypeVar('T')\nclass Item(BaseModel):\n    n: int\nclass Box(BaseModel, Generic[T]):\n    of: T\n    more: list[T] = []",
    },
    "cycle of imports": {
        "f.py": flow("a: A", "from one import A"),
        "one.py": "from pydantic import BaseModel\nimport two\nclass A(BaseModel):\n    n: int = 1",
        "two.py": "import one\nLIMIT = 1",
    },
    "docstring and options": {
        "f.py": "from prefect import flow\nfrom names import NAME, VERSION, TEXT\n@flow(name=NAME, version=VERSION, description=TEXT)\ndef f(a: int):\n    '''Do.\n\n    Args:\n        a: which\n    '''\n",
        "names.py": "NAME = 'my flow'\nVERSION = '3'\nTEXT = 'What it does.'",
    },
    "flow re-exported": {
        "f.py": "from flows.impl import g as f",
        "flows/impl.py": "from prefect import flow\nfrom flows.types import Mode\n@flow(name='g')\ndef g(a: Mode = Mode.FAST):\n    '''Does.'''",
        "flows/types.py": PYDANTIC,
    },
    "flow as an attribute": {
        "f.py": "from pkg import other\nf = other.g",
        "pkg/other.py": "from prefect import flow\n@flow\ndef g(a: int = 1): ...",
    },
    "flow by the package's own import": {
        "f.py": "import pkg.other\nf = pkg.other.g",
        "pkg/other.py": "from prefect import flow\n@flow\ndef g(a: int = 1): ...",
    },
    "flow made of an imported function": {
        "f.py": "from prefect import flow\nfrom work import run\nf = flow(run, name='r')",
        "work.py": "from models import Mode\ndef run(a: Mode):\n    '''Runs.\n\n    Args:\n        a: how\n    '''",
        "models.py": PYDANTIC,
    },
    "flow by a helper": {
        "f.py": "from helpers import flow\n@flow\ndef f(a: int): ...",
        "helpers.py": "import prefect as p\nflow = p.flow",
    },
    "options of an imported flow": {
        "f.py": "from work import run\nf = run.with_options(name='other', description='d')",
        "work.py": "from prefect import flow\n@flow(version='1')\ndef run(a: int = 1): ...",
    },
    "inherited": {
        "f.py": "from prefect import flow\nclass A:\n    @staticmethod\n    @flow\n    def run(a: int): ...\nclass B(A): ...",
    },
    "inherited from another file": {
        "f.py": "from base import Base\nclass Job(Base): ...",
        "base.py": "from prefect import flow\nfrom models import Config\nclass Root:\n    @flow(name='job')\n    def run(self, a: Config): ...\nclass Base(Root): ...",
        "models.py": PYDANTIC,
    },
    "inherited from two, in order": {
        "f.py": "import base\nclass Job(base.A, base.B): ...",
        "base.py": "from prefect import flow\nclass A: ...\nclass B:\n    @flow\n    def run(self, b: int): ...",
    },
    "method of an imported class": {
        "f.py": "from jobs import Jobs",
        "jobs.py": "from prefect import flow\nclass Jobs:\n    @classmethod\n    @flow\n    def run(cls, a: int = 2): ...",
    },
    "try and except": {
        "f.py": flow(
            "a: Config",
            "try:\n    from models import Config\nexcept ImportError:\n    Config = None",
        ),
        "models.py": PYDANTIC,
    },
    "a module called as one of the library": {
        "f.py": flow("a: Kind", "from kinds.enum import Kind"),
        "kinds/enum.py": "import enum\nclass Kind(enum.Enum):\n    A = 1",
    },
}


@pytest.mark.real
@pytest.mark.parametrize("case", TREES)
def test_flow_is_what_prefect_imports(case: str, tmp_path: Path) -> None:
    tree = TREES[case]
    (path,) = (each for each in tree if each.split("/")[-1] == "f.py")
    entrypoint = ENTRYPOINTS.get(case, f"{path}:f")
    root = write(tmp_path, tree)
    info = read(root, entrypoint)
    assert ours(info) == prefects(root, entrypoint)
    assert info.notes == ()
