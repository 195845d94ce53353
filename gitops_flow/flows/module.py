"""A Python file as its syntax says it: what each of its names may be, and from where on.

Statements are read from the top down. One inside an ``if``, a ``try`` or a loop may run or
not, so it adds to what a name may be; any other says what the name is.
"""

from __future__ import annotations

import ast
import bisect
import contextlib
import hashlib
import re
import sys
import threading
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gitops_flow.errors import FlowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    ReadFile = Callable[[str], bytes | None]
    # Line and column of a statement.
    Place = tuple[int, int]

Function = ast.FunctionDef | ast.AsyncFunctionDef
# The value of a name that loops, unpacking or += give one.
NOT_KNOWN: ast.expr = ast.Yield()
# Parsing takes fifty times the file's size in memory, and so does keeping what was parsed.
_LARGEST = 2_000_000
_KEPT = 256_000
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


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A name's value from a place on; None when it has none there.

    ``sure`` is False for a statement that may not run. ``stand_in`` is True for
    what takes the place of something that could not be imported.
    """

    at: Place
    binding: Binding | None
    sure: bool = True
    stand_in: bool = False


@dataclass(slots=True, eq=False)
class Module:
    """The names that running the top level of a file, or the body of a class, would bind.

    ``name`` is what Python would call the module that imports the file.
    """

    path: str
    # Of each name its values, in the order of their places.
    bindings: dict[str, list[Bound]] = field(default_factory=dict)
    stars: list[Bound] = field(default_factory=list)
    # Names whose values are changed, by the attribute that is set; "" for more.
    altered: dict[str, set[str]] = field(default_factory=dict)
    # Names that functions may bind again.
    rebound: set[str] = field(default_factory=set)
    # Names that only code which never runs would bind.
    hidden: set[str] = field(default_factory=set)
    # Whether annotations are text when the code runs.
    future: bool = False
    name: str = ""
    # The MD5 of the file, which Prefect takes for a flow's version.
    digest: str = ""

    def values(self, name: str, at: Place | None = None) -> list[Bound]:
        """The values of ``name`` above a place, by default in the whole file, and star imports."""
        values = self.bindings.get(name, [])
        if self.stars:
            values = sorted([*values, *self.stars], key=_place)
        return values[: bisect.bisect_left(values, at, key=_place)] if at else values

    def latest(self, name: str, at: Place | None = None) -> Bound | None:
        """What ``name`` is at a place, NOT_KNOWN where it may be several things.

        Star imports are not looked at. What is bound only below counts where it
        is used before, as in text.
        """
        every = self.bindings.get(name, [])
        above = bisect.bisect_left(every, at, key=_place) if at else 0
        values = possible(every[:above]) or possible(every)
        values = [each for each in values if not each.stand_in] or values
        if len(values) > 1 or (values and name in self.rebound):
            return Bound(values[0].at, NOT_KNOWN)
        return values[0] if values else None


def possible(values: Sequence[Bound]) -> list[Bound]:
    """The last of ``values`` that may count, the very last one first."""
    counting: list[Bound] = []
    for each in reversed(values):
        if each.binding is not None:
            counting.append(each)
        if each.sure:
            break
    return counting


def place(node: ast.stmt | ast.expr) -> Place:
    """Where a node begins."""
    return node.lineno, node.col_offset


def _place(bound: Bound) -> Place:
    return bound.at


def run(body: Sequence[ast.stmt], path: str) -> Module:
    """The names that the statements of a file, or of a class, bind."""
    module = Module(path)
    _Reader(module).read(body, sure=True)
    module.hidden -= module.bindings.keys()
    return module


class _Reader:
    """Puts what statements bind into a module."""

    def __init__(self, module: Module) -> None:
        self._module = module
        # Names that the statements in hand only stand in for.
        self._missing: frozenset[str] = frozenset()

    def read(self, body: Iterable[ast.stmt], *, sure: bool) -> None:
        for statement in body:
            self._statement(statement, sure)

    def _statement(self, node: ast.stmt, sure: bool) -> None:
        match node:
            case ast.If():
                self._walrus(node.test)
                self._if(node, sure)
            case ast.Try() | ast.TryStar():
                self._try(node, sure)
            case ast.For():
                self._inside([node.iter], targets(node.target), [node.body, node.orelse])
            case ast.While():
                self._inside([node.test], [], [node.body, node.orelse])
            case ast.With():
                names = (name for item in node.items for name in targets(item.optional_vars))
                self._inside([item.context_expr for item in node.items], names, [node.body])
            case ast.Match():
                self._inside([node.subject], _captured(node), [case.body for case in node.cases])
            case _:
                self._simple(node, sure)

    def _simple(self, node: ast.stmt, sure: bool) -> None:
        for name, binding in bound_by(node):
            self._bind(name, place(node), binding, sure)
        for name, attribute in _altered_by(node):
            self._module.altered.setdefault(name, set()).add(attribute)
        if not isinstance(node, ast.ClassDef):
            self._walrus(node)

    def _bind(self, name: str, at: Place, binding: Binding | None, sure: bool) -> None:
        bound = Bound(at, binding, sure, name in self._missing)
        if name == "*":
            self._module.stars.append(bound)
        else:
            self._module.bindings.setdefault(name, []).append(bound)

    def _walrus(self, node: ast.AST) -> None:
        for each in _executed(node):
            if isinstance(each, ast.NamedExpr):
                self._bind(each.target.id, place(each), NOT_KNOWN, sure=False)

    def _if(self, node: ast.If, sure: bool) -> None:
        holds = truth(node.test)
        for body, runs in (
            (node.body, holds),
            (node.orelse, holds if holds is None else not holds),
        ):
            if runs is False:
                self._module.hidden |= run(body, self._module.path).bindings.keys()
            else:
                self.read(body, sure=sure and runs is True)

    def _inside(
        self, heads: Iterable[ast.expr], names: Iterable[str], bodies: Iterable[list[ast.stmt]]
    ) -> None:
        """Read a statement that runs ``bodies`` or not, and binds ``names`` itself."""
        for head in heads:
            self._walrus(head)
            for name in names:
                self._bind(name, place(head), NOT_KNOWN, sure=False)
        for body in bodies:
            self.read(body, sure=False)

    def _try(self, node: ast.Try | ast.TryStar, sure: bool) -> None:
        first = node.body[0]
        imported = isinstance(first, ast.Import | ast.ImportFrom)
        self._statement(first, sure and imported)
        self.read(node.body[1:], sure=False)
        outer = self._missing
        if imported:
            # What stands in for a library that is missing is not what the flow will use.
            self._missing |= {name for name, _ in bound_by(first)}
        for handler in node.handlers:
            self.read(handler.body, sure=False)
        self._missing = outer
        self.read(node.orelse, sure=False)
        self.read(node.finalbody, sure=sure)


def truth(test: ast.expr) -> bool | None:
    """Whether a condition holds wherever Prefect imports the file; None when that depends."""
    match test:
        case ast.Constant():
            return bool(test.value)
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return False
        case ast.UnaryOp(op=ast.Not()):
            inner = truth(test.operand)
            return None if inner is None else not inner
        case ast.BoolOp():
            decisive = isinstance(test.op, ast.Or)
            return decisive if decisive in map(truth, test.values) else None
        case ast.Compare(
            left=ast.Name(id="__name__"),
            ops=[ast.Eq()],
            comparators=[ast.Constant(value="__main__")],
        ):
            # Prefect never runs a file as the main program.
            return False
    return None


def decided(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a class, with those of conditions that are known in their place."""
    for statement in body:
        known = truth(statement.test) if isinstance(statement, ast.If) else None
        if isinstance(statement, ast.If) and known is not None:
            yield from decided(statement.body if known else statement.orelse)
        else:
            yield statement


def bound_by(statement: ast.stmt) -> Iterator[tuple[str, Binding | None]]:
    """The names that a simple statement binds, and to what; None for ``del``."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name, statement
        case ast.Import() | ast.ImportFrom():
            yield from _imported(statement)
        case ast.Assign():
            for target in statement.targets:
                for name in targets(target):
                    yield name, statement.value if isinstance(target, ast.Name) else NOT_KNOWN
        case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
            yield target.id, value
        case ast.AugAssign(target=ast.Name() as target):
            yield target.id, NOT_KNOWN
        case ast.Delete():
            yield from ((each.id, None) for each in statement.targets if isinstance(each, ast.Name))
        case _ if type(statement).__name__ == "TypeAlias":  # which Python 3.11 does not have
            named: Any = statement
            yield named.name.id, named


def _imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Imported]]:
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            top = alias.name.partition(".")[0]
            yield alias.asname or top, Imported(alias.name if alias.asname else top, None)
        else:
            name = None if alias.name == "*" else alias.name
            imported = Imported(statement.module or "", name, statement.level)
            yield alias.asname or alias.name, imported


def targets(target: ast.expr | None) -> Iterator[str]:
    """The names in the target of an assignment."""
    for node in ast.walk(target) if target else ():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _altered_by(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """Names whose value a statement changes, and the attribute that it sets; "" for more."""
    changed: Sequence[ast.expr] = ()
    match statement:
        case ast.Assign() | ast.Delete():
            changed = statement.targets
        case ast.AnnAssign() | ast.AugAssign():
            changed = [statement.target]
        case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
            changed = [ast.Starred(method.value)]
    for target in changed:
        root, attribute = target, ""
        while isinstance(root, ast.Attribute | ast.Subscript | ast.Starred):
            attribute = root.attr if isinstance(root, ast.Attribute) else ""
            root = root.value
        if isinstance(root, ast.Name) and root is not target:
            yield root.id, attribute


def _captured(node: ast.Match) -> Iterator[str]:
    """The names that patterns give a value."""
    for case in node.cases:
        for each in ast.walk(case.pattern):
            name = getattr(each, "rest", None) or getattr(each, "name", None)
            if isinstance(name, str):
                yield name


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """A node's parts, without the bodies of functions."""
    waiting: list[ast.AST] = [node]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*each.decorator_list, *each.args.defaults]
        elif not isinstance(each, ast.Lambda):
            waiting += ast.iter_child_nodes(each)


# What Python (of a text) and Pydantic (of the user's classes) warn of while a flow is read, by
# the module that is said to be the cause.
_WARNED_OF = r"<unknown>|types|typing|dataclasses|pydantic\b|gitops_flow\.flows\b"
_reading = threading.RLock()
_parsed: dict[tuple[str, bytes], Module] = {}


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Read flows in one thread only, and keep to ourselves what their sources are warned of.

    The filters of warnings are the process's: of two threads that set and restore them, as
    Pydantic does, too, one would restore the other's.
    """
    with _reading, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=_WARNED_OF)
        yield


def parse(data: bytes, path: str, name: str = "") -> Module:
    """Read a file's syntax, within :func:`one_at_a_time`; nothing in it is run.

    The sources read last are kept parsed, since many flows import the same ones.

    Raises:
        FlowError: when it is not valid Python, or too large to be read in reasonable time.
    """
    module = _parsed.pop((path, data), None) or _parse(data, path)
    _parsed[path, data] = module
    while sum(len(source) for _, source in _parsed) > _KEPT:
        del _parsed[next(iter(_parsed))]
    return replace(module, name=name)


def _parse(data: bytes, path: str) -> Module:
    tree = _tree(data, path)
    try:
        module = run(tree.body, path)
    except RecursionError:
        raise FlowError("cannot be read: too deeply nested", where=path) from None
    module.digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            module.rebound |= set(node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "__future__":
            module.future |= any(alias.name == "annotations" for alias in node.names)
    return module


def _tree(data: bytes, path: str) -> ast.Module:
    if len(data) > _LARGEST:
        raise FlowError(
            f"the file has {len(data):,} bytes, too many to be read as Python",
            where=path,
            hint="keep data in files of their own",
        )
    try:
        return ast.parse(data)
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
