"""Equality of JSON values, as the server would see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitops_flow.model import Json

# PostgreSQL's jsonb gives back larger floats as whole numbers.
_EXACT = 1e15


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values are equal; unlike ``==`` it tells true, 1 and 1.0 apart."""
    if isinstance(one, str) or one is None:
        return bool(one == other)  # Most values; a thousand deployments have a lot of them.
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other and (
            isinstance(one, float) == isinstance(other, float) or abs(one) > _EXACT
        )
    return bool(one == other)
