"""Evaluates annotations and defaults from their syntax.

Only names of an allow-list of libraries stand for real objects, only
constructors known to do nothing else are called, and text is never evaluated:
whatever the user's own code would have to be run for is Unknown.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import enum
import sys
import typing
from typing import TYPE_CHECKING, Any

import typing_extensions

from gitops_flow.flows import constants, libraries
from gitops_flow.flows.libraries import Unbound, Unknown
from gitops_flow.flows.module import Bound, Imported, Module
from gitops_flow.flows.program import Either, Symbol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.flows.module import Place
    from gitops_flow.flows.scope import Scope

_LITERAL = (typing.Literal, typing_extensions.Literal)
_ANNOTATED = (typing.Annotated, typing_extensions.Annotated)
# Types that are only equal to themselves: the same name must give the same one.
_IDENTITY = (type, typing.TypeVar, typing.NewType, typing_extensions.TypeAliasType)
# What methods and items can change.
_CHANGEABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.Call)
# What Prefect's own module, in which text inside types ends up, happens to call things.
_BARE = Module(
    "",
    {
        name: [Bound((0, 0), Imported(module, None))]
        for name, module in (("typing", "typing"), ("t", "typing"), ("pydantic", "pydantic"))
    },
)


class Evaluator:
    """Values of expressions in one module; ``scope`` holds what all modules share."""

    def __init__(self, module: Module, scope: Scope) -> None:
        self.module = module
        self.scope = scope
        # Names of the class bodies that are being read.
        self.locals: list[dict[str, Any]] = []
        # The place in the module from which its names are seen; None is its end.
        self.at: Place | None = None
        # Names of the class that the flow is in.
        self.owned: dict[str, Any] = {}

    def annotation(self, node: ast.expr) -> Any:
        """The type that an annotation stands for.

        Raises:
            Unknown: when only running the code would tell.
        """
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if text and self.module.future and not self.scope.in_class:
            return self._bare(node)  # text in text
        if (text or self.module.future) and not self.scope.in_class:
            # Text is evaluated when all of the file has run, and outside the flow's class.
            with self._seen_from(None, []):
                return no_text(self.guarded(_parsed(node), annotation=True))
        return no_text(self.guarded(_parsed(node) if text else node, annotation=True))

    @contextlib.contextmanager
    def within(self, names: dict[str, Any]) -> Iterator[None]:
        """Let expressions see the names of a class's body."""
        self.locals.append(names)
        try:
            yield
        finally:
            self.locals.pop()

    @contextlib.contextmanager
    def _seen_from(self, at: Place | None, names: list[dict[str, Any]]) -> Iterator[None]:
        outer = self.at, self.locals
        self.at, self.locals = at, names
        try:
            yield
        finally:
            self.at, self.locals = outer

    def bare_annotation(self, node: ast.expr) -> Any:
        """What Pydantic makes of an annotation that could not be evaluated where it stands.

        Raises:
            Unknown: when it is more than builtin types.
        """
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        return self._bare(node) if text or self.module.future else self.annotation(node)

    def value(self, node: ast.expr) -> Any:
        """The value of a default or an argument.

        Raises:
            Unknown: when only running the code would tell.
        """
        return self.guarded(node, annotation=False)

    def guarded(self, node: ast.expr, *, annotation: bool) -> Any:
        """The value of an expression, in bounded time and depth."""
        value = self._owner(node, annotation=annotation)
        if isinstance(value, Module | constants.TextMethod):
            raise Unknown
        return value

    def _owner(self, node: ast.expr, *, annotation: bool) -> Any:
        """As :meth:`guarded`, but it may be a module, or a method of a text."""
        with self.scope.step():
            try:
                return self._evaluate(node, annotation)
            except Unknown:
                raise
            except Exception:  # noqa: BLE001 - whatever a constructor objects to, we do not know it
                raise Unknown from None

    def _bare(self, node: ast.expr) -> Any:
        bare = self.scope.evaluator(_BARE)
        return no_text(bare.guarded(_parsed(node), annotation=True))

    def _evaluate(self, node: ast.expr, annotation: bool) -> Any:
        match node:
            case ast.Constant():
                if annotation and isinstance(node.value, str):
                    return self.annotation(node) if self.scope.in_class else self._bare(node)
                return constants.modest(node.value)
            case ast.Name():
                return self.name(node.id, annotation)
            case ast.Attribute():
                return self._attribute(node, annotation)
            case ast.Subscript():
                return self._subscript(node, annotation)
            case ast.BinOp():
                left = self.guarded(node.left, annotation=annotation)
                right = self.guarded(node.right, annotation=annotation)
                if isinstance(node.op, ast.BitOr) and annotation:
                    return no_text(left) | no_text(right)
                return constants.binary(node.op, left, right)
            case ast.UnaryOp():
                return constants.unary(node.op, self.value(node.operand))
            case ast.Call():
                return self._call(node)
            case _:
                return self._display(node, annotation)

    def _display(self, node: ast.expr, annotation: bool) -> Any:
        match node:
            case ast.List() | ast.Tuple() | ast.Set():
                kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
                return kind(self._elements(node.elts, annotation))
            case ast.Dict():
                merged: dict[Any, Any] = {}
                for key, each in zip(node.keys, node.values, strict=True):
                    if key is None:
                        merged |= self.value(each)
                    else:
                        merged[self.value(key)] = self.value(each)
                return merged
            case ast.JoinedStr():
                return constants.modest("".join(self._piece(piece) for piece in node.values))
        raise Unknown

    def _elements(self, nodes: list[ast.expr], annotation: bool) -> Iterator[Any]:
        for node in nodes:
            if isinstance(node, ast.Starred):
                several = self.value(node.value)
                if not isinstance(several, list | tuple):
                    raise Unknown
                self.scope.spend(len(several))
                yield from several
            else:
                yield self.guarded(node, annotation=annotation)

    def name(self, name: str, annotation: bool) -> Any:
        """What a name stands for; possibly a module."""
        for local in reversed(self.locals):
            if name in local:
                return self.scope.met(local[name])
        symbol = self.scope.program.resolve(self.module, name, self.at)
        if symbol is None:
            if name in self.module.hidden or (not self.locals and name in self.owned):
                raise Unbound
            if name in libraries.BUILTINS and not self.module.bindings.get(name):
                return libraries.BUILTINS[name]
            raise Unknown
        return self._symbol(symbol, annotation)

    def _symbol(self, symbol: Symbol | str, annotation: bool) -> Any:
        if isinstance(symbol, str):
            return libraries.get(symbol)
        if symbol.binding is None:
            return symbol.module
        return self.scope.evaluator(symbol.module).bound(symbol, annotation)

    def bound(self, symbol: Symbol, annotation: bool) -> Any:
        """The value of what this module binds a name to.

        Raises:
            Unknown: when only running the code would tell.
        """
        binding = symbol.binding
        if isinstance(binding, Either):
            return self._same(binding, annotation)
        if symbol.changed and isinstance(binding, _CHANGEABLE):
            raise Unknown
        if isinstance(binding, ast.ClassDef):
            if symbol.changed - {""}:
                raise Unknown
            with self._seen_from(symbol.at, self.locals):
                return self.scope.class_of(binding, self, annotation)
        if type(binding).__name__ == "TypeAlias":
            alias: Any = binding
            return self.scope.kept(alias, lambda: self._alias(alias))
        if not isinstance(binding, ast.expr):
            raise Unknown
        with self.scope.outside_class(), self._seen_from(symbol.at, []):
            if isinstance(binding, ast.Call):
                return self.scope.kept(binding, lambda: self.value(binding), _IDENTITY)
            return self.guarded(binding, annotation=annotation)

    def _same(self, either: Either, annotation: bool) -> Any:
        """The value that a name has whatever runs."""
        first, *others = [self._symbol(each, annotation) for each in either.alternatives]
        for each in others:
            plain = type(each) is type(first) and isinstance(each, str | int | float | None)
            if each is not first and not (plain and each == first):
                raise Unknown
        return first

    def _alias(self, statement: Any) -> Any:
        if statement.type_params:
            raise Unknown
        value = no_text(self.guarded(statement.value, annotation=True))
        return typing_extensions.TypeAliasType(statement.name.id, value)

    def _attribute(self, node: ast.Attribute, annotation: bool) -> Any:
        if not self.locals or not any(_root(node) in local for local in self.locals):
            symbol = self.scope.program.expression(self.module, node, self.at)
            if isinstance(symbol, str) and libraries.known(symbol):
                return libraries.get(symbol)
            if isinstance(symbol, Symbol):
                return self._symbol(symbol, annotation)
        owner = self._owner(node.value, annotation=annotation)
        if isinstance(owner, Module):
            symbol = self.scope.program.member(self.module, Symbol(owner), node.attr)
            if symbol is None:
                raise Unknown
            return self._symbol(symbol, annotation)
        if owner is datetime.timezone and node.attr == "utc":
            return datetime.timezone.utc  # noqa: UP017 - the attribute that the source names
        if isinstance(owner, str) and not isinstance(owner, enum.Enum):
            return constants.method(owner, node.attr)
        return self.scope.member(owner, node.attr)

    def _subscript(self, node: ast.Subscript, annotation: bool) -> Any:
        generic = self.guarded(node.value, annotation=annotation)
        if isinstance(generic, (dict, list, tuple, enum.EnumType)):
            return generic[self.value(node.slice)]
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if generic in _LITERAL:
            arguments = list(self._elements(parts, annotation=False))
        elif generic in _ANNOTATED:
            arguments = [no_text(self.guarded(parts[0], annotation=True))]
            arguments += self._elements(parts[1:], annotation=False)
        else:
            arguments = [no_text(each) for each in self._elements(parts, annotation=True)]
        return generic[tuple(arguments) if isinstance(node.slice, ast.Tuple) else arguments[0]]

    def _piece(self, piece: ast.expr) -> str:
        if isinstance(piece, ast.FormattedValue):
            spec = str(self.value(piece.format_spec)) if piece.format_spec else ""
            conversion = chr(piece.conversion) if piece.conversion != -1 else None
            return constants.formatted(self.value(piece.value), conversion, spec)
        return str(self.value(piece))

    def _call(self, node: ast.Call) -> Any:
        called = self._owner(node.func, annotation=False)
        if isinstance(called, Module):
            raise Unknown
        if isinstance(called, constants.TextMethod):
            arguments = list(self._elements(node.args, annotation=False))
            return called(*arguments, **dict(self._keyword(each) for each in node.keywords))
        if called in libraries.VALIDATORS:
            if any(each.arg == "json_schema_input_type" for each in node.keywords):
                raise Unknown
            self.scope.tainted += 1
            return libraries.Ignored()
        ours = self.scope.is_made(called)
        if not ours and called not in libraries.MAKERS | libraries.ENUMS:
            raise Unknown
        arguments = list(self._elements(node.args, annotation=False))
        named = dict(self._keyword(each) for each in node.keywords)
        if called in libraries.ENUMS:
            return self.scope.functional_enum(called, self.module, arguments, named)
        if called in libraries.TYPE_TAKERS:
            no_text(arguments[libraries.TYPE_TAKERS[called]])
            no_text([each for key, each in named.items() if key in ("item_type", "bound")])
        if ours:
            self.scope.about_to_make(called)
        elif called in (list, tuple, set, frozenset) and arguments:
            self.scope.spend(len(arguments[0]))
        return called(*arguments, **named)

    def computes_value(self, node: ast.expr) -> bool:
        """Whether an expression gives a default, and surely nothing that describes a field.

        That is so for what the standard library computes.
        """
        if isinstance(node, ast.Call):
            symbol = self.scope.program.expression(self.module, node.func)
            if isinstance(symbol, str):
                return symbol.partition(".")[0] in sys.stdlib_module_names - {"dataclasses"}
            inner = node.func
            return isinstance(inner, ast.Attribute) and self.computes_value(inner.value)
        if isinstance(node, ast.Attribute | ast.Subscript):
            symbol = self.scope.program.expression(self.module, node)
            if isinstance(symbol, str):
                return symbol.partition(".")[0] in sys.stdlib_module_names
            return isinstance(node.value, ast.Attribute | ast.Call) and self.computes_value(
                node.value
            )
        computed = (
            ast.BinOp | ast.JoinedStr | ast.ListComp | ast.DictComp | ast.SetComp | ast.Compare
        )
        return isinstance(node, computed)

    def _keyword(self, each: ast.keyword) -> tuple[str, Any]:
        if each.arg is None:
            raise Unknown
        if each.arg != "default_factory":
            return each.arg, self.value(each.value)
        try:
            return each.arg, self.value(each.value)
        except Unknown:
            # A schema never shows what a factory makes; making a value with it is what fails.
            return each.arg, unknown_value


def unknown_value() -> Any:
    """Stand in for a default that only running the code would tell."""
    raise Unknown


def no_text(value: Any) -> Any:
    """Text in a type is evaluated later, by others; none may get there."""
    if isinstance(value, str) or (
        isinstance(value, list | tuple) and any(isinstance(each, str) for each in value)
    ):
        raise Unknown
    return value


def _parsed(node: ast.expr) -> ast.expr:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return node
    try:
        return ast.parse(node.value.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Unknown from None


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
