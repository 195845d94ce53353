"""A Python file as its syntax says it: what each of its names is bound to."""

from __future__ import annotations

import ast
import functools
import re
import sys
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gitops_flow.errors import FlowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReadFile = Callable[[str], bytes | None]

Function = ast.FunctionDef | ast.AsyncFunctionDef
# The value of a name that loops, unpacking or += give one.
NOT_KNOWN: ast.expr = ast.Yield()
# Parsing takes a hundred times the file's size in memory.
_LARGEST = 2_000_000
_NEWER = re.compile(r"\s*(type\s+\w+.*=|class\s+\w+\[|(async\s+)?def\s+\w+\[)")


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that comes from elsewhere: ``module`` and, for ``from``, a name in it.

    ``level`` counts the leading dots.
    """

    module: str
    name: str | None
    level: int = 0

    @property
    def dotted(self) -> str:
        """``prefect.flow`` for ``from prefect import flow``."""
        return f"{self.module}.{self.name}" if self.name else self.module


Binding = Imported | Function | ast.ClassDef | ast.expr


@dataclass(slots=True, eq=False)
class Module:
    """The names that running the file's top level would bind, in order.

    ``name`` is what Python would call the module that imports the file.
    """

    path: str
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[Imported] = field(default_factory=list)
    # Names of which an attribute or an item is set.
    altered: set[str] = field(default_factory=set)
    # Names that only a type checker sees.
    hidden: set[str] = field(default_factory=set)
    # Whether annotations are text when the code runs.
    future: bool = False
    name: str = ""

    def binding(self, name: str) -> Binding | None:
        """What ``name`` is at the end of the file; None if that cannot be known."""
        found = self.bindings.get(name, [])
        if found and all(isinstance(each, Imported) for each in found):
            return found[0]  # try: import one, except ImportError: the other
        if found and all(isinstance(each, Imported | Function) for each in found):
            return found[-1]
        return found[0] if len(found) == 1 and name not in self.altered else None

    def latest(self, name: str, before: Binding | None = None) -> Binding | None:
        """As :meth:`binding`, but ``f = flow(f)`` counts; in it (``before``), f is the old one."""
        found = self.bindings.get(name, [])
        if any(each is before for each in found):
            found = found[: next(at for at, each in enumerate(found) if each is before)]
        last = found[-1] if found else None
        if isinstance(last, ast.expr) and any(
            isinstance(node, ast.Name) and node.id == name for node in ast.walk(last)
        ):
            return last
        return Module(self.path, {name: found}).binding(name)


def parse(data: bytes, path: str, name: str = "") -> Module:
    """Read a file's syntax; nothing in it is run.

    Raises:
        FlowError: when it is not valid Python, or too large to be read in reasonable time.
    """
    return replace(_parsed(data, path), name=name)


@functools.lru_cache(maxsize=64)
def _parsed(data: bytes, path: str) -> Module:
    tree = _tree(data, path)
    module = Module(path)
    for statement in _top_level(tree.body):
        bind(statement, module)
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            module.future |= any(alias.name == "annotations" for alias in statement.names)
    module.hidden = _hidden(tree.body) - set(module.bindings)
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


def _hidden(body: list[ast.stmt]) -> set[str]:
    tests = [each for each in body if isinstance(each, ast.If) and _is_type_checking(each.test)]
    return {name for test in tests for each in _top_level(test.body) for name in _bound(each)}


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If):
            if not _never_at_run_time(statement.test):
                yield from _top_level(statement.body)
            yield from _top_level(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _top_level(statement.body)
            imported = _imported(statement.body)
            for handler in statement.handlers:
                # What stands in for a module that is missing is not what the flow will use.
                yield from (
                    each for each in _top_level(handler.body) if not imported & _bound(each)
                )
            yield from _top_level(statement.orelse)
            yield from _top_level(statement.finalbody)
        elif isinstance(statement, ast.With | ast.While | ast.For):
            if isinstance(statement, ast.For):
                yield statement
            yield from _top_level(statement.body)
        elif isinstance(statement, ast.Match):
            for case in statement.cases:
                yield from _top_level(case.body)
        else:
            yield statement


def _imported(body: list[ast.stmt]) -> set[str]:
    imports = [each for each in body if isinstance(each, ast.Import | ast.ImportFrom)]
    return {name for each in imports for name in _bound(each)}


def _bound(statement: ast.stmt) -> set[str]:
    module = Module("")
    bind(statement, module)
    return set(module.bindings)


def _is_type_checking(test: ast.expr) -> bool:
    if isinstance(test, ast.Name | ast.Attribute):
        return (test.id if isinstance(test, ast.Name) else test.attr) == "TYPE_CHECKING"
    return False


def _never_at_run_time(test: ast.expr) -> bool:
    return _is_type_checking(test) or (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
    )


def bind(statement: ast.stmt, module: Module) -> None:
    """Note what ``statement`` binds."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            _add(module, statement.name, statement)
        case ast.Import():
            for alias in statement.names:
                top = alias.name.partition(".")[0]
                found = Imported(alias.name, None) if alias.asname else Imported(top, None)
                _add(module, alias.asname or top, found)
        case ast.ImportFrom():
            for alias in statement.names:
                if alias.name == "*":
                    star = Imported(statement.module or "", None, statement.level)
                    module.stars.append(star)
                else:
                    found = Imported(statement.module or "", alias.name, statement.level)
                    _add(module, alias.asname or alias.name, found)
        case ast.Assign():
            for target in statement.targets:
                _add_target(module, target, statement.value)
        case ast.AnnAssign(value=ast.expr() as value):
            _add_target(module, statement.target, value)
        case ast.AugAssign() | ast.For():
            _add_target(module, statement.target, NOT_KNOWN)
        case _ if type(statement).__name__ == "TypeAlias":  # which Python 3.11 does not have
            named: Any = statement
            _add(module, named.name.id, named)


def _add(module: Module, name: str, binding: Binding) -> None:
    module.bindings.setdefault(name, []).append(binding)


def _add_target(module: Module, target: ast.expr, value: ast.expr) -> None:
    for name in ast.walk(target):
        if not isinstance(name, ast.Name):
            continue
        if isinstance(name.ctx, ast.Store):
            _add(module, name.id, value if name is target else NOT_KNOWN)
        else:
            module.altered.add(name.id)
