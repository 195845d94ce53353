"""Evaluates annotations and defaults from their syntax.

Only names of an allow-list of libraries stand for real objects, only
constructors known to do nothing else are called, and text is never evaluated:
whatever the user's own code would have to be run for is Unknown.
"""

from __future__ import annotations

import ast
import collections
import collections.abc
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import operator
import pathlib
import re
import typing
import uuid
import zoneinfo
from typing import TYPE_CHECKING, Any

import pydantic
import typing_extensions

from gitops_flow.flows.module import Imported

if TYPE_CHECKING:
    from gitops_flow.flows.module import Module

_BUILTINS: dict[str, Any] = {
    each.__name__: each
    for each in (bool, bytes, dict, float, frozenset, int, list, object, set, str, tuple)
}
# Calling these makes a value and does nothing else; none takes a type as text.
_MAKERS: set[Any] = {
    *(bool, dict, float, frozenset, int, list, set, str, tuple),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(decimal.Decimal, pathlib.Path, pathlib.PurePath, pathlib.PurePosixPath, uuid.UUID),
    *(pydantic.Field, pydantic.ConfigDict, pydantic.SecretStr, pydantic.SecretBytes),
    *(pydantic.conint, pydantic.confloat, pydantic.constr, pydantic.conbytes),
    *(pydantic.condecimal, pydantic.condate, pydantic.StringConstraints),
    *(enum.auto, dataclasses.field, zoneinfo.ZoneInfo),
}
_NAMES: dict[str, Any] = {
    "typing": typing,
    "typing_extensions": typing_extensions,
    "collections.abc": collections.abc,
    "pydantic": pydantic,
    "pydantic.types": pydantic.types,
    "pydantic.fields": pydantic.fields,
    "collections": (collections, ("OrderedDict", "defaultdict", "deque", "Counter")),
    "datetime": (datetime, ("date", "datetime", "time", "timedelta", "timezone", "UTC")),
    "decimal": (decimal, ("Decimal",)),
    "enum": (enum, ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "auto", "unique")),
    "ipaddress": (ipaddress, ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network")),
    "dataclasses": (dataclasses, ("dataclass", "field")),
    "pathlib": (pathlib, ("Path", "PurePath", "PurePosixPath", "PosixPath")),
    "re": (re, ("Pattern",)),
    "uuid": (uuid, ("UUID",)),
    "zoneinfo": (zoneinfo, ("ZoneInfo",)),
}
_ARITHMETIC: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_LARGEST = 10**18
# Names that stand for names can make a small file mean a large value.
_DEEPEST = 30
_LONGEST = 100_000


class Unknown(Exception):  # noqa: N818 - an answer, not a failure
    """The value depends on something that only running the code would tell."""


class Evaluator:
    """Values of expressions in one module. ``make_class`` builds its classes, from syntax."""

    def __init__(self, module: Module, make_class: Any) -> None:
        self._module = module
        self._make_class = make_class
        self._classes: dict[str, Any] = {}
        self._depth = 0
        self._steps = 0
        self._in_class = False

    def annotation(self, node: ast.expr) -> Any:
        """The type that an annotation stands for.

        Raises:
            Unknown: when only running the code would tell.
        """
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value.strip(), mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                raise Unknown from None
        return _no_text(self._guarded(node, annotation=True))

    def value(self, node: ast.expr) -> Any:
        """The value of a default or an argument.

        Raises:
            Unknown: when only running the code would tell.
        """
        return self._guarded(node, annotation=False)

    def _guarded(self, node: ast.expr, *, annotation: bool) -> Any:
        self._depth += 1
        self._steps += 1
        try:
            if self._depth > _DEEPEST or self._steps > _LONGEST:
                raise Unknown
            return self._evaluate(node, annotation)
        except Unknown:
            raise
        except Exception:  # noqa: BLE001 - whatever a constructor objects to, we do not know it
            raise Unknown from None
        finally:
            self._depth -= 1

    def _evaluate(self, node: ast.expr, annotation: bool) -> Any:
        match node:
            case ast.Constant():
                if annotation and self._in_class and isinstance(node.value, str):
                    return self.annotation(node)
                return _modest(node.value)
            case ast.Name():
                return self._name(node.id, annotation)
            case ast.Attribute():
                return self._attribute(node, annotation)
            case ast.Subscript():
                return self._subscript(node)
            case ast.BinOp():
                return self._operation(node, annotation)
            case ast.UnaryOp(op=ast.USub()):
                return -_number(self.value(node.operand))
            case ast.Call():
                return self._call(node)
            case _:
                return self._display(node, annotation)

    def _display(self, node: ast.expr, annotation: bool) -> Any:
        match node:
            case ast.List() | ast.Tuple() | ast.Set():
                kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
                return kind(self._guarded(each, annotation=annotation) for each in node.elts)
            case ast.Dict():
                if any(key is None for key in node.keys):
                    raise Unknown
                keys = [self.value(key) for key in node.keys if key is not None]
                return dict(zip(keys, map(self.value, node.values), strict=True))
            case ast.JoinedStr():
                return _modest("".join(self._piece(piece) for piece in node.values))
        raise Unknown

    def _name(self, name: str, annotation: bool) -> Any:
        if not self._module.bindings.get(name):
            dotted = self._module.dotted(ast.Name(name))
            if dotted is not None:
                return _library(dotted)
            if name in _BUILTINS:
                return _BUILTINS[name]
            raise Unknown
        binding = self._module.binding(name)
        if isinstance(binding, Imported):
            return _library(binding.dotted)
        if isinstance(binding, ast.ClassDef):
            if name not in self._classes:
                self._classes[name] = None  # a class that needs itself is not known
                self._classes[name] = self._class(binding)
            if self._classes[name] is None:
                raise Unknown
            return self._classes[name]
        if isinstance(binding, ast.expr):
            return self._guarded(binding, annotation=annotation)
        raise Unknown

    def _class(self, node: ast.ClassDef) -> Any:
        # Types as text inside other types work in the fields of a class, not in parameters.
        outer, self._in_class = self._in_class, True
        try:
            return self._make_class(node, self)
        finally:
            self._in_class = outer

    def _attribute(self, node: ast.Attribute, annotation: bool) -> Any:
        dotted = self._module.dotted(node)
        if dotted is not None and dotted.rpartition(".")[0] in _NAMES:
            return _library(dotted)
        owner = self._guarded(node.value, annotation=annotation)
        if isinstance(owner, type) and issubclass(owner, enum.Enum):
            return owner.__members__[node.attr]
        if isinstance(owner, enum.Enum) and node.attr in ("value", "name"):
            return owner.value if node.attr == "value" else owner.name
        if owner is datetime.timezone and node.attr == "utc":
            return datetime.timezone.utc  # noqa: UP017 - the attribute that the source names
        raise Unknown

    def _subscript(self, node: ast.Subscript) -> Any:
        base = self._guarded(node.value, annotation=True)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base in (typing.Literal, typing_extensions.Literal):
            found = [self.value(part) for part in parts]
        elif base in (typing.Annotated, typing_extensions.Annotated):
            found = [_no_text(self._guarded(parts[0], annotation=True))]
            found += [self.value(part) for part in parts[1:]]
        else:
            found = [_no_text(self._guarded(part, annotation=True)) for part in parts]
        return base[tuple(found) if isinstance(node.slice, ast.Tuple) else found[0]]

    def _operation(self, node: ast.BinOp, annotation: bool) -> Any:
        left = self._guarded(node.left, annotation=annotation)
        right = self._guarded(node.right, annotation=annotation)
        if isinstance(node.op, ast.BitOr):
            return _no_text(left) | _no_text(right)
        if isinstance(left, pathlib.PurePath) and isinstance(node.op, ast.Div):
            return left / str(right)
        if isinstance(left, str) and isinstance(right, str) and isinstance(node.op, ast.Add):
            return _modest(left + right)
        return _number(_ARITHMETIC[type(node.op)](_number(left), _number(right)))

    def _piece(self, piece: ast.expr) -> str:
        if isinstance(piece, ast.FormattedValue):
            value = self.value(piece.value)
            if piece.format_spec or piece.conversion != -1 or not isinstance(value, str | int):
                raise Unknown
            return str(value)
        return str(self.value(piece))

    def _call(self, node: ast.Call) -> Any:
        called = self._guarded(node.func, annotation=False)
        made_here = any(called is each for each in self._classes.values() if each is not None)
        if not made_here and called not in _MAKERS:
            raise Unknown
        if any(isinstance(each, ast.Starred) for each in node.args):
            raise Unknown
        arguments = [self.value(each) for each in node.args]
        named = {each.arg: self.value(each.value) for each in node.keywords if each.arg}
        if len(named) != len(node.keywords):
            raise Unknown
        return called(*arguments, **named)


def _library(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    if module not in _NAMES or name.startswith("_"):
        raise Unknown
    found = _NAMES[module]
    if isinstance(found, tuple):
        found, allowed = found
        if name not in allowed:
            raise Unknown
    if not hasattr(found, name):
        raise Unknown
    return getattr(found, name)


def _no_text(value: Any) -> Any:
    """Text in a type is evaluated later, by others; none may get there."""
    if isinstance(value, str) or (
        isinstance(value, list | tuple) and any(isinstance(each, str) for each in value)
    ):
        raise Unknown
    return value


def _modest(value: Any) -> Any:
    if isinstance(value, str | bytes) and len(value) > 100_000:
        raise Unknown
    if isinstance(value, int) and value.bit_length() > 1024:
        raise Unknown
    return value


def _number(value: Any) -> Any:
    if isinstance(value, datetime.timedelta):
        return value
    if not isinstance(value, int | float) or abs(value) > _LARGEST:
        raise Unknown
    return value
