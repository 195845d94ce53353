"""A Python file as its syntax says it: what each of its names is bound to."""

from __future__ import annotations

import ast
import bisect
import functools
import hashlib
import re
import sys
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gitops_flow.errors import FlowError
from gitops_flow.flows import branches

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.flows.binding import Bound, Place

    ReadFile = Callable[[str], bytes | None]

# Parsing takes a hundred times the file's size in memory.
_LARGEST = 2_000_000
_NEWER = re.compile(r"\s*(type\s+\w+.*=|class\s+\w+\[|(async\s+)?def\s+\w+\[)")


@dataclass(slots=True, eq=False)
class Module:
    """The names that running the file's top level would bind, in order.

    ``name`` is what Python would call the module that imports the file.
    """

    path: str
    # Of each name its values, in the order of their places.
    bindings: dict[str, list[Bound]] = field(default_factory=dict)
    stars: list[Bound] = field(default_factory=list)
    # Names whose values are changed, by the attribute that is set; "" for more.
    altered: dict[str, set[str]] = field(default_factory=dict)
    # Names that only code which never runs would bind.
    hidden: set[str] = field(default_factory=set)
    # Whether annotations are text when the code runs.
    future: bool = False
    name: str = ""
    # The MD5 of the file, which Prefect takes for a flow's version.
    digest: str = ""

    def latest(self, name: str, at: Place | None = None) -> Bound | None:
        """What ``name`` is at a place, by default at the end of the file.

        What is bound only below counts where it is used before, as in text.
        """
        found = self.bindings.get(name)
        if not found:
            return None
        above = bisect.bisect_left(found, at, key=_place) if at else 0
        last = found[above - 1]
        return found[-1] if last.binding is None else last


def _place(bound: Bound) -> Place:
    return bound.at


def run(body: list[ast.stmt], path: str) -> Module:
    """The names that the statements of a file, or of a class, bind."""
    done = branches.Run(body)
    module = Module(path, altered=done.altered)
    for name, last in done.names.items():
        if name != "*":
            module.bindings[name] = _history(last)
    module.stars = _history(done.names.get("*"))
    module.hidden = done.hidden - set(module.bindings)
    return module


def _history(last: Bound | None) -> list[Bound]:
    found = []
    while last is not None:
        found.append(replace(last, previous=None))
        last = last.previous
    return found[::-1]


def parse(data: bytes, path: str, name: str = "") -> Module:
    """Read a file's syntax; nothing in it is run.

    Raises:
        FlowError: when it is not valid Python, or too large to be read in reasonable time.
    """
    return replace(_parsed(data, path), name=name)


@functools.lru_cache(maxsize=64)
def _parsed(data: bytes, path: str) -> Module:
    tree = _tree(data, path)
    try:
        module = run(tree.body, path)
    except RecursionError:
        raise FlowError("cannot be read: too deeply nested", where=path) from None
    module.digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            module.future |= any(alias.name == "annotations" for alias in statement.names)
    return module


def _tree(data: bytes, path: str) -> ast.Module:
    if len(data) > _LARGEST:
        raise FlowError(
            f"the file has {len(data):,} bytes, too many to be read as Python",
            where=path,
            hint="keep data in files of their own",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(data, filename=path)
    except SyntaxError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        hint = "correct the file, or deploy with the Python version that it is written for"
        if _NEWER.match(error.text or "") and sys.version_info < (3, 12):
            hint = "this is syntax of Python 3.12: run gitflow with 3.12 or newer"
        elif re.search(r"encoding|utf-8|codec", error.msg):
            hint = "save it as UTF-8, or name its encoding in its first line"
        raise FlowError(
            f"not valid Python {version}: {error.msg}",
            where=f"{path}:{max(1, error.lineno or 1)}:{max(1, error.offset or 1)}",
            hint=hint,
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise FlowError(f"cannot be parsed: {error or 'too deeply nested'}", where=path) from None
