"""Arithmetic on constants, within bounds: a short source can ask for a value without end."""

from __future__ import annotations

import ast
import datetime
import operator
import pathlib
from typing import Any

from gitops_flow.flows.libraries import Unknown

_ARITHMETIC: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}
_LARGEST = 10**18
_LONGEST = 100_000
_HIGHEST_POWER = 64


def binary(operation: ast.operator, left: Any, right: Any) -> Any:
    """``left operation right``.

    Raises:
        Unknown: when it is not plain arithmetic, or out of bounds.
    """
    if isinstance(left, pathlib.PurePath) and isinstance(operation, ast.Div):
        return left / str(right)
    if isinstance(operation, ast.Add):
        if isinstance(left, str) and isinstance(right, str):
            return modest(left + right)
        if isinstance(left, datetime.date) and isinstance(right, datetime.timedelta):
            return left + right
        if isinstance(left, list) and isinstance(right, list):
            return _short(left + right)
        if isinstance(left, tuple) and isinstance(right, tuple):
            return _short(left + right)
    if isinstance(operation, ast.BitOr) and isinstance(left, dict) and isinstance(right, dict):
        return left | right
    a, b = number(left), number(right)
    if isinstance(operation, ast.Pow | ast.LShift):
        if not isinstance(a, int | float) or not isinstance(b, int) or not 0 <= b <= _HIGHEST_POWER:
            raise Unknown
        return number(a**b if isinstance(operation, ast.Pow) else a << b)  # type: ignore[operator]
    return number(_ARITHMETIC[type(operation)](a, b))


def unary(operation: ast.unaryop, value: Any) -> Any:
    """``operation value``.

    Raises:
        Unknown: when it is not plain arithmetic.
    """
    if isinstance(operation, ast.Not) and isinstance(value, bool | int | str | None):
        return not value
    if isinstance(operation, ast.USub):
        return -number(value)
    if isinstance(operation, ast.UAdd):
        return +number(value)
    raise Unknown


def modest(value: Any) -> Any:
    """A constant, if it is of a size that a source would have."""
    if isinstance(value, str | bytes) and len(value) > _LONGEST:
        raise Unknown
    if isinstance(value, int) and value.bit_length() > 1024:
        raise Unknown
    return value


def number(value: Any) -> Any:
    """A number or a duration within bounds."""
    if isinstance(value, datetime.timedelta | float):
        return value
    if not isinstance(value, int) or abs(value) > _LARGEST:
        raise Unknown
    return value


def _short(value: Any) -> Any:
    if len(value) > _LONGEST:
        raise Unknown
    return value
