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
NOT_KNOWN: ast.expr = ast.Yield()


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
    stars: list[Imported] = field(default_factory=list)
    # Names of which an attribute or an item is set.
    altered: set[str] = field(default_factory=set)

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

    def dotted(self, node: ast.expr, before: Binding | None = None) -> str | None:
        """The full name that an expression such as ``prefect.flow`` stands for."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        found = self.latest(node.id, before)
        if isinstance(found, Imported) and not found.level:
            return ".".join([found.dotted, *attributes])
        if not self.bindings.get(node.id) and not attributes:
            stars = [star.module for star in self.stars if not star.level]
            return f"{stars[-1]}.{node.id}" if stars else None
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


def follow(read_file: ReadFile, module: Module, imported: Imported) -> Module | None:
    """The file of the repository that a name is imported from; None when it is from elsewhere."""
    here = posixpath.dirname(module.path)
    # Which directory above is on the path depends on the layout (src/) and on what is installed.
    roots: tuple[str, ...] = (*_upwards(here), "")
    if imported.level:
        roots = (posixpath.normpath(posixpath.join(here, *[".."] * (imported.level - 1))),)
    roots = tuple("" if root == "." else root for root in roots)
    found = find(read_file, imported.module, roots) if imported.module else None
    if found is None and imported.level and not imported.module:
        path = posixpath.join(roots[0], "__init__.py")
        data = read_file(path)
        found = (path, data) if data is not None else None
    return parse(found[1], found[0]) if found else None


def _upwards(directory: str) -> Iterator[str]:
    while directory not in ("", "/", "..") and not directory.endswith("/.."):
        yield directory
        directory = posixpath.dirname(directory)


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
