"""What single statements bind names to."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    # Line and column of a statement.
    Place = tuple[int, int]

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


@dataclass(frozen=True, slots=True, eq=False)
class Either:
    """One of several, which one depends on where the code runs."""

    alternatives: tuple[Bound, ...]


Binding = Imported | Function | ast.ClassDef | ast.expr | Either


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A name's value from a place on, after its ``previous`` one; None when it has none.

    ``made`` is where the value was made, when that is inside a branch that ends at ``at``.
    ``sure`` is False for a star import that may not run.
    """

    at: Place
    binding: Binding | None
    previous: Bound | None = None
    made: Place | None = None
    sure: bool = True

    @property
    def seen_from(self) -> Place:
        """The place from which the value sees other names."""
        return self.made or self.at


def place(node: ast.stmt | ast.expr) -> Place:
    """Where a node begins."""
    return node.lineno, node.col_offset


def end(node: Any) -> Place:
    """Where a node ends."""
    return node.end_lineno, node.end_col_offset


def function_of(node: ast.Lambda) -> ast.FunctionDef:
    """A lambda as the function that Python makes of it."""
    made = ast.FunctionDef(name="<lambda>", args=node.args, body=[], decorator_list=[])
    return ast.copy_location(made, node)


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
            found = Imported(statement.module or "", name, statement.level)
            yield alias.asname or alias.name, found


def targets(target: ast.expr | None) -> Iterator[str]:
    """The names in the target of an assignment."""
    for node in ast.walk(target) if target else ():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def altered_by(statement: ast.stmt) -> Iterator[tuple[str, str]]:
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
        root, how = target, ""
        while isinstance(root, ast.Attribute | ast.Subscript | ast.Starred):
            how = root.attr if isinstance(root, ast.Attribute) else ""
            root = root.value
        if isinstance(root, ast.Name) and root is not target:
            yield root.id, how


def captured(node: ast.Match) -> Iterator[str]:
    """The names that patterns give a value."""
    for case in node.cases:
        for each in ast.walk(case.pattern):
            name = getattr(each, "rest", None) or getattr(each, "name", None)
            if isinstance(name, str):
                yield name


def bound_inside(node: ast.AST, globals_: Mapping[str, set[str]]) -> Iterator[str]:
    """Names that running a node may bind besides: by ``:=``, or ``global`` in what it calls."""
    for each in _executed(node):
        if isinstance(each, ast.NamedExpr) and not isinstance(node, ast.ClassDef):
            yield each.target.id
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load):
            yield from globals_.get(each.id, ())


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


def globals_of(body: list[ast.stmt]) -> dict[str, set[str]]:
    """For each function that may be called, what it and those it calls declare ``global``."""
    functions: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = list(ast.walk(node))
                declared = {n for each in inner if isinstance(each, ast.Global) for n in each.names}
                functions.setdefault(node.name, set()).update(declared)
                called = {each.id for each in inner if isinstance(each, ast.Name)}
                names.setdefault(node.name, set()).update(called)
    found = {name: declared for name, declared in functions.items() if declared}
    changed = bool(found)
    while changed:
        changed = False
        for name, called in names.items():
            reached = set().union(*(found.get(each, ()) for each in called)) - found.get(
                name, set()
            )
            if reached:
                found.setdefault(name, set()).update(reached)
                changed = True
    return found
