"""Whether a condition holds when the file is imported by any worker, as far as that is certain."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.flows.binding import Bound

# No Prefect 3 runs on an older one; which newer one a worker has is not known.
_OLDEST_PYTHON = (3, 9)
_NEXT_MAJOR = (4,)


def truth(test: ast.expr, last: Callable[[str], Bound | None]) -> bool | None:
    """Whether ``test`` holds; None if that depends on more than the file.

    ``last`` says what a name was bound to.
    """
    match test:
        case ast.Constant():
            return bool(test.value)
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return False
        case ast.Name():
            bound = last(test.id)
            value = bound.binding if bound else None
            return bool(value.value) if isinstance(value, ast.Constant) else None
        case ast.UnaryOp(op=ast.Not()):
            inner = truth(test.operand, last)
            return None if inner is None else not inner
        case ast.BoolOp():
            found = [truth(each, last) for each in test.values]
            decisive = isinstance(test.op, ast.Or)
            if decisive in found:
                return decisive
            return None if None in found else not decisive
        case ast.Compare(ops=[operator], comparators=[right]):
            return _compared(test.left, operator, right)
    return None


def _compared(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> bool | None:
    if isinstance(left, ast.Constant):
        left, right = right, left
        if not isinstance(operator, ast.Eq | ast.NotEq):
            return None
    if isinstance(left, ast.Name) and left.id == "__name__":
        # Prefect never runs a file as the main program.
        if isinstance(right, ast.Constant) and right.value == "__main__":
            return {ast.Eq: False, ast.NotEq: True}.get(type(operator))
        return None
    return _version(ast.unparse(left), operator, right)


def _version(left: str, operator: ast.cmpop, right: ast.expr) -> bool | None:
    try:
        asked = ast.literal_eval(right)
    except ValueError:
        return None
    if left in ("sys.version_info[0]", "sys.version_info.major") and isinstance(asked, int):
        major = _OLDEST_PYTHON[0]
        if isinstance(operator, ast.Eq | ast.NotEq):
            return (asked == major) is isinstance(operator, ast.Eq)
        asked = (asked + isinstance(operator, ast.Gt | ast.LtE),)
    elif left not in ("sys.version_info", "version_info", "sys.version_info[:2]"):
        return None
    if not isinstance(asked, tuple) or not all(isinstance(each, int) for each in asked):
        return None
    newer = isinstance(operator, ast.Gt | ast.GtE)
    if not newer and not isinstance(operator, ast.Lt | ast.LtE):
        return None
    if asked < _OLDEST_PYTHON or (
        asked == _OLDEST_PYTHON and isinstance(operator, ast.GtE | ast.Lt)
    ):
        return newer
    return not newer if asked >= _NEXT_MAJOR else None
