"""Arithmetic and text of constants, within bounds: a short source can ask for a value without end."""

from __future__ import annotations

import ast
import datetime
import operator
import pathlib
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_flow.flows.libraries import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
# Methods of text that make text of about the same length.
_SAME_LENGTH = frozenset(
    (
        *("capitalize", "casefold", "lower", "swapcase", "title", "upper"),
        *("strip", "lstrip", "rstrip", "removeprefix", "removesuffix"),
    )
)
_METHODS = _SAME_LENGTH | {"format", "join", "replace"}
# How a value may be formatted: no more than three digits of width or precision.
_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?\d{0,3}[_,]?(?:\.\d{1,3})?[sdbcoxXnfFeEgG%]?")
_PERCENT = re.compile(
    r"%(?:%|(?:\((?P<key>\w+)\))?(?P<spec>[-+ #0]*\d{0,3}(?:\.\d{1,3})?[sdioxXfFeEgGr]))"
)


@dataclass(frozen=True, slots=True)
class TextMethod:
    """A method of a text that only makes another text."""

    text: str
    name: str

    def __call__(self, *arguments: Any, **named: Any) -> str:
        """The text that the method makes.

        Raises:
            Unknown: when it takes other arguments, or what it makes is out of bounds.
        """
        if self.name == "format":
            return _formatted(self.text, arguments, named)
        if named or not all(isinstance(each, str | list | tuple | int) for each in arguments):
            raise Unknown
        if self.name == "join":
            (parts,) = arguments
            _fits(sum(map(len, parts)) + len(self.text) * len(parts))
        elif self.name == "replace":
            _fits((len(self.text) + 1) * (len(arguments[1]) + 1) if arguments[0] == "" else 0)
            _fits(len(self.text) + self.text.count(arguments[0]) * len(arguments[1]))
        made = getattr(self.text, self.name)(*arguments)
        return str(modest(made))


def method(text: str, name: str) -> TextMethod:
    """The method of that name.

    Raises:
        Unknown: when it does more than make another text.
    """
    if type(text) is not str or name not in _METHODS:
        raise Unknown
    return TextMethod(text, name)


def formatted(value: Any, conversion: str | None = None, spec: str = "") -> str:
    """What ``{value!conversion:spec}`` is in a formatted text.

    Raises:
        Unknown: when the value is not a plain one, or the format out of bounds.
    """
    if type(value) not in (str, int, float, bool) or not _SPEC.fullmatch(spec):
        raise Unknown
    if conversion in ("r", "a"):
        value = repr(value) if conversion == "r" else ascii(value)
    elif conversion:
        value = str(value)
    return str(modest(format(value, spec)))


def _formatted(template: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> str:
    """``template.format(...)`` with fields that are only numbers and names."""
    made, length, numbers = [], 0, iter(range(len(arguments)))
    for literal, field, spec, conversion in string.Formatter().parse(template):
        piece = literal
        if field is not None:
            piece += formatted(_argument(field, arguments, named, numbers), conversion, spec or "")
        length += len(piece)
        _fits(length)
        made.append(piece)
    return "".join(made)


def _argument(
    field: str, arguments: Sequence[Any], named: Mapping[str, Any], numbers: Iterator[int]
) -> Any:
    if field == "":
        return arguments[next(numbers)]
    return arguments[int(field)] if field.isdecimal() else named[field]


def _percent(template: str, values: Any) -> str:
    """``template % values``."""
    given = values if isinstance(values, tuple) else (values,)
    parts = list(values.values()) if isinstance(values, dict) else list(given)
    if "%" in _PERCENT.sub("", template):
        raise Unknown
    if not all(type(each) in (str, int, float, bool) for each in parts):
        raise Unknown
    longest = max((len(str(each)) for each in parts), default=0)
    # A text with quotes doubles at the most, and three digits of width add 999.
    _fits(len(template) + template.count("%") * (1000 + 2 * longest))
    return str(template % values)


def _fits(length: int) -> None:
    if length > _LONGEST:
        raise Unknown


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
    if type(left) is str and isinstance(operation, ast.Mod):
        return _percent(left, right)
    if isinstance(operation, ast.Mult) and {type(left), type(right)} == {str, int}:
        text, times = (left, right) if type(left) is str else (right, left)
        _fits(len(text) * times)
        return text * times
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
