"""Which statements of a file run when it is imported, and what its names then are."""

from __future__ import annotations

import ast
import builtins
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.flows import binding, libraries
from gitops_flow.flows.binding import NOT_KNOWN, Bound, Either, Imported
from gitops_flow.flows.truth import truth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.flows.binding import Binding, Place

    # Names at the end of a branch, unless it raises, and where that is.
    End = tuple["Names | None", Place]

_BUILTIN = frozenset(dir(builtins))
_EXITS = ("sys.exit", "exit", "quit", "os._exit")
# There wherever Prefect is, in every version.
_ALWAYS = {"prefect": ("flow", "task", "Flow"), "__future__": ("annotations",)}
_NEAR = frozenset((*sys.stdlib_module_names, "prefect", "pydantic", "typing_extensions"))
_SOMETIMES = frozenset(("tomllib", "_zoneinfo", "distutils", "imp", "asyncore", "asynchat"))


class Names(dict[str, "Bound"]):
    """Of each name what it was bound to last; stars are under "*".

    A branch's hold only what it binds, over those of what is around it.
    """

    def __init__(self, around: Names | None = None) -> None:
        super().__init__()
        self.around = around

    def last(self, name: str) -> Bound | None:
        """What a name was bound to last."""
        names: Names | None = self
        while names is not None and name not in names:
            names = names.around
        return None if names is None else names[name]


class Run:
    """What importing a file, or making a class, does to its names."""

    def __init__(self, body: list[ast.stmt]) -> None:
        self.hidden: set[str] = set()
        self.altered: dict[str, set[str]] = {}
        self._globals = binding.globals_of(body)
        self.names = Names()
        self._body(body, self.names)

    def _body(self, body: list[ast.stmt], names: Names) -> bool:
        """Run statements; False if what is below them does not run."""
        goes_on = True
        for statement in body:
            # What raises always at the top of a file is not looked at: no flow is behind it.
            goes_on = self._statement(statement, names)
            if not goes_on and names is not self.names:
                return False
        return goes_on

    def _statement(self, statement: ast.stmt, names: Names) -> bool:
        match statement:
            case ast.If():
                return self._if(statement, names)
            case ast.Try() | ast.TryStar():
                return self._try(statement, names)
            case ast.Match():
                return self._match(statement, names)
            case ast.For() | ast.While():
                return self._loop(statement, names)
            case ast.With():
                return self._with(statement, names)
        self._simple(statement, names)
        return not (
            isinstance(statement, ast.Raise)
            or (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Call)
                and ast.unparse(statement.value.func) in _EXITS
            )
        )

    def _simple(self, node: ast.stmt | ast.expr, names: Names) -> None:
        at = binding.place(node)
        if isinstance(node, ast.stmt):
            for name, bound in binding.bound_by(node):
                _bind(names, name, at, bound)
            for name, how in binding.altered_by(node):
                self.altered.setdefault(name, set()).add(how)
        for name in binding.bound_inside(node, self._globals):
            _bind(names, name, at, NOT_KNOWN)

    def _if(self, node: ast.If, names: Names) -> bool:
        bodies: list[list[ast.stmt]] = []
        rest: list[ast.stmt] = [node]
        while len(rest) == 1 and isinstance(one := rest[0], ast.If):
            self._simple(one.test, names)
            holds = truth(one.test, names.last)
            if holds is False:
                self._never(one.body)
            else:
                bodies.append(one.body)
            if holds:
                self._never(one.orelse)
                break
            rest = one.orelse
        else:
            bodies.append(rest)
        if len(bodies) == 1:
            return self._body(bodies[0], names)
        return self._either(node, names, bodies)

    def _never(self, body: list[ast.stmt]) -> None:
        unused = Names()
        self._aside(body, unused)
        self.hidden |= unused.keys()

    def _aside(self, body: list[ast.stmt], names: Names) -> None:
        altered = {name: set(how) for name, how in self.altered.items()}
        self._body(body, names)
        self.altered = altered

    def _try(self, node: ast.Try | ast.TryStar, names: Names) -> bool:
        tried = Names(names)
        goes_on = self._body(node.body, tried) and self._body(node.orelse, tried)
        ends: list[End] = [_ended(goes_on, tried, [*node.body, *node.orelse])]
        if not all(map(_cannot_fail, node.body)):
            # What stands in for a module that is missing is not what the flow will use.
            kept = set(_imported(node.body))
            for handler in node.handlers:
                caught = Names(names)
                goes_on = self._body(handler.body, caught)
                if handler.name:
                    _bind(caught, handler.name, binding.end(handler), None)
                caught.update({name: tried[name] for name in kept & tried.keys()})
                ends.append(_ended(goes_on, caught, handler.body))
        goes_on = self._merge(node, names, ends)
        return self._body(node.finalbody, names) and goes_on

    def _with(self, node: ast.With, names: Names) -> bool:
        for item in node.items:
            self._simple(item.context_expr, names)
            for name in binding.targets(item.optional_vars):
                _bind(names, name, binding.place(node), NOT_KNOWN)
        if not any("suppress" in ast.unparse(item.context_expr) for item in node.items):
            return self._body(node.body, names)
        tried, failed = Names(names), Names(names)
        goes_on = self._body(node.body, tried)
        failed.update({name: tried[name] for name in set(_imported(node.body)) & tried.keys()})
        ends = [_ended(goes_on, tried, node.body), _ended(True, failed, [node])]
        return self._merge(node, names, ends)

    def _loop(self, node: ast.For | ast.While, names: Names) -> bool:
        looped, holds = Names(names), None
        if isinstance(node, ast.For):
            self._simple(node.iter, names)
            for name in binding.targets(node.target):
                _bind(looped, name, binding.place(node), NOT_KNOWN)
        else:
            self._simple(node.test, names)
            holds = truth(node.test, names.last)
        if holds is False:
            return self._body(node.orelse, names)
        if holds:
            return self._body(node.body, names)
        ends = [_ended(self._body(node.body, looped), looped, node.body)]
        self._merge(node, names, [*ends, _ended(True, Names(names), [node])])
        return self._either(node, names, [node.orelse, []])

    def _match(self, node: ast.Match, names: Names) -> bool:
        self._simple(node.subject, names)
        bodies = [case.body for case in node.cases]
        last = node.cases[-1]
        if last.guard or not isinstance(last.pattern, ast.MatchAs) or last.pattern.pattern:
            bodies.append([])
        for name in binding.captured(node):
            _bind(names, name, binding.place(node), NOT_KNOWN)
        return self._either(node, names, bodies)

    def _either(self, node: ast.stmt, names: Names, bodies: list[list[ast.stmt]]) -> bool:
        """Run one of several, which one is not known."""
        ends: list[End] = []
        for body in bodies:
            end = Names(names)
            ends.append(_ended(self._body(body, end), end, body or [node]))
        return self._merge(node, names, ends)

    def _merge(self, node: ast.stmt, names: Names, ends: list[End]) -> bool:
        """Let ``names`` be what they are after any of ``ends``."""
        left = [(end, where) for end, where in ends if end is not None]
        changed = {name for end, _ in left for name in end}
        joined = {
            name: _joined(name, names, [(end.last(name), where) for end, where in left], node)
            for name in changed
        }
        names.update(joined)
        return bool(left)


def _ended(goes_on: bool, names: Names, body: list[ast.stmt]) -> End:
    return names if goes_on else None, binding.end(body[-1])


def _bind(names: Names, name: str, at: Place, bound: Binding | None) -> None:
    names[name] = Bound(at, bound, names.last(name))


def _joined(
    name: str, before: Names, lasts: list[tuple[Bound | None, Place]], node: ast.stmt
) -> Bound:
    """A name after one of several branches, with what it is inside each of them."""
    end, start, stars = binding.end(node), before.last(name), before.last("*")
    if len(lasts) == 1 and lasts[0][0]:
        return lasts[0][0]
    history = start
    found: list[Bound] = []
    for last, where in lasts:
        added = _since(last, start)
        for each in added:
            history = replace(each, previous=history, sure=name != "*" and each.sure)
        if added and name != "*":
            made = start.seen_from if start else None
            history = Bound(where, start.binding if start else None, history, made)
        if last is None or last.binding is None:
            missing = name in _BUILTIN or _may_give(stars, name)
            several = [Bound(end, NOT_KNOWN)] if missing else []
        else:
            either = last.binding
            several = list(either.alternatives) if isinstance(either, Either) else [last]
        found += [one for one in several if not any(_same(one, other) for other in found)]
    if name == "*" and history:
        return history
    if len(found) > 1:
        alone = tuple(replace(each, previous=None) for each in found)
        return Bound(end, Either(alone), history)
    if not found:
        return Bound(end, None, history)
    return replace(found[0], at=end, previous=history, made=found[0].seen_from)


def _may_give(star: Bound | None, name: str) -> bool:
    """Whether a name may come from a star import: of a library's, it is known what they give."""
    while star is not None:
        module = star.binding.module if isinstance(star.binding, Imported) else ""
        if module.partition(".")[0] not in _NEAR or libraries.exports(module, name):
            return True
        star = star.previous
    return False


def _since(last: Bound | None, start: Bound | None) -> list[Bound]:
    added: list[Bound] = []
    while last is not None and last is not start:
        added.append(last)
        last = last.previous
    return added[::-1]


def _same(bound: Bound, another: Bound) -> bool:
    one, other = bound.binding, another.binding
    if isinstance(one, ast.Constant) and isinstance(other, ast.Constant):
        return ast.dump(one) == ast.dump(other)
    return one is other or (isinstance(one, Imported) and one == other)


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    """Names that only the first library that may be missing gives, or what comes before it."""
    first: set[str] | None = None
    for statement in body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            if not _cannot_fail(statement):
                return
            continue
        tops = {module.partition(".")[0] for module in _modules(statement)} - _NEAR
        if first is not None and tops != first:
            return
        first = tops or None
        yield from (name for name, _ in binding.bound_by(statement))


def _modules(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    return ["." * statement.level + (statement.module or "")]


def _cannot_fail(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass():
            return True
        case ast.Import():
            return all(
                alias.name in sys.stdlib_module_names - _SOMETIMES for alias in statement.names
            )
        case ast.ImportFrom():
            known = _ALWAYS.get(statement.module or "", ())
            return not statement.level and all(alias.name in known for alias in statement.names)
        case ast.Assign() | ast.AnnAssign() | ast.Expr():
            return isinstance(statement.value, ast.Constant)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return not statement.decorator_list
    return False


def _no_name(_: str) -> None:
    """A class's own names are not looked at."""


def decided(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a class, with those of conditions that are known in their place."""
    for statement in body:
        known = truth(statement.test, _no_name) if isinstance(statement, ast.If) else None
        if isinstance(statement, ast.If) and known is not None:
            yield from decided(statement.body if known else statement.orelse)
        else:
            yield statement
