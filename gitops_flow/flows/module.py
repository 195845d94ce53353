"""A Python file as its syntax says it: what each of its names is bound to."""

from __future__ import annotations

import ast
import posixpath
import sys
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.errors import FlowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReadFile = Callable[[str], bytes | None]

Function = ast.FunctionDef | ast.AsyncFunctionDef
# The value of a name that loops, unpacking or += give one.
_NOT_KNOWN = ast.Yield()


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
    """The names that running the file's top level would bind, in order."""

    path: str
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    def binding(self, name: str) -> Binding | None:
        """What ``name`` is at the end of the file; None if that cannot be known."""
        found = self.bindings.get(name, [])
        if found and all(isinstance(each, Imported) for each in found):
            return found[0]  # try: import one, except ImportError: the other
        if len(found) == 1 or (found and all(isinstance(each, Function) for each in found)):
            return found[-1]
        return None

    def dotted(self, node: ast.expr) -> str | None:
        """The full name that an expression such as ``prefect.flow`` stands for."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        found = self.binding(node.id)
        if isinstance(found, Imported) and not found.level:
            return ".".join([found.dotted, *attributes])
        if not self.bindings.get(node.id) and self.stars and not attributes:
            return f"{self.stars[-1]}.{node.id}"
        return None


def parse(data: bytes, path: str) -> Module:
    """Read a file's syntax; nothing in it is run.

    Raises:
        FlowError: when it is not valid Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data, filename=path)
    except SyntaxError as error:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        where = f"{path}:{error.lineno or 1}:{error.offset or 1}"
        raise FlowError(
            f"not valid Python {version}: {error.msg}",
            where=where,
            hint="correct the file, or deploy with the Python version that it is written for",
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise FlowError(f"cannot be parsed: {error or 'too deeply nested'}", where=path) from None
    module = Module(path)
    for statement in _top_level(tree.body):
        bind(statement, module)
    return module


def find(read_file: ReadFile, dotted: str, roots: tuple[str, ...]) -> tuple[str, bytes] | None:
    """The file of a module, below the first of ``roots`` that has it."""
    relative = dotted.replace(".", "/")
    for root in roots:
        for name in (f"{relative}.py", f"{relative}/__init__.py"):
            path = posixpath.join(root, name)
            data = read_file(path)
            if data is not None:
                return path, data
    return None


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If):
            if not _never_at_run_time(statement.test):
                yield from _top_level(statement.body)
            yield from _top_level(statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _top_level(statement.body)
            for handler in statement.handlers:
                yield from _top_level(handler.body)
            yield from _top_level(statement.orelse)
            yield from _top_level(statement.finalbody)
        elif isinstance(statement, ast.With):
            yield from _top_level(statement.body)
        else:
            yield statement


def _never_at_run_time(test: ast.expr) -> bool:
    if isinstance(test, ast.Name | ast.Attribute):
        return (test.id if isinstance(test, ast.Name) else test.attr) == "TYPE_CHECKING"
    return (
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
                    module.stars.append(statement.module or "")
                else:
                    found = Imported(statement.module or "", alias.name, statement.level)
                    _add(module, alias.asname or alias.name, found)
        case ast.Assign():
            for target in statement.targets:
                _add_target(module, target, statement.value)
        case ast.AnnAssign(value=ast.expr() as value):
            _add_target(module, statement.target, value)
        case ast.AugAssign() | ast.For():
            _add_target(module, statement.target, _NOT_KNOWN)


def _add(module: Module, name: str, binding: Binding) -> None:
    module.bindings.setdefault(name, []).append(binding)


def _add_target(module: Module, target: ast.expr, value: ast.expr) -> None:
    for name in ast.walk(target):
        if isinstance(name, ast.Name):
            _add(module, name.id, value if name is target else _NOT_KNOWN)
