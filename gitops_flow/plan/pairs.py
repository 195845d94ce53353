"""Finding which of the things asked for are which of those that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def take_pairs(
    wanted: list[_T], there: list[_T], fits: Callable[[_T, _T], bool]
) -> list[tuple[_T, _T]]:
    """Take the pairs that fit out of both lists, each item once."""
    pairs = []
    for one in tuple(wanted):
        at = next((number for number, item in enumerate(there) if fits(one, item)), None)
        if at is not None:
            pairs.append((one, there.pop(at)))
            # By identity: an equal one further on is another's.
            del wanted[next(number for number, item in enumerate(wanted) if item is one)]
    return pairs
