"""When what is asked for and what is there are the same, as the server would see it.

Parameters with ``__prefect_kind`` are computed by the server: an update stores what they
come to, so that is what a live value is compared with. The rules are those of the server's
own hydration.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gitops_flow.model import Deployment, Json

# PostgreSQL's jsonb gives back larger floats as whole numbers.
_EXACT = 1e15
Item = TypeVar("Item")
_KIND = "__prefect_kind"


class _Nothing:
    """Stands for a value that is left out, and for one that only the server knows."""


_LEFT_OUT = _Nothing()
UNKNOWN = _Nothing()


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


def take_pairs(
    wanted: list[Item], there: list[Item], fits: Callable[[Item, Item], bool]
) -> list[tuple[Item, Item]]:
    """Take the pairs that fit out of both lists, each item once."""
    pairs = []
    for one in tuple(wanted):
        at = next((number for number, item in enumerate(there) if fits(one, item)), None)
        if at is not None:
            pairs.append((one, there.pop(at)))
            # By identity: an equal one further on is another's.
            del wanted[next(number for number, item in enumerate(wanted) if item is one)]
    return pairs


def has_kinds(value: Json) -> bool:
    """Whether the server computes any part of ``value``."""
    if isinstance(value, dict):
        return _KIND in value or any(has_kinds(item) for item in value.values())
    return isinstance(value, list | tuple) and any(has_kinds(item) for item in value)


def workspace_variables(desired: Iterable[Deployment]) -> tuple[str, ...]:
    """Names of the Prefect variables that parameters refer to by ``__prefect_kind``, sorted."""
    return tuple(sorted({name for item in desired for name in _names(item.parameters)}))


def hydrated(value: Json, variables: Mapping[str, Json]) -> Json:
    """``value`` as the server stores it on an update; UNKNOWN where only the server can say."""
    result = _hydrate(value, variables)
    return {} if result is _LEFT_OUT else result


def same_parameters(desired: Json, live: Json, variables: Mapping[str, Json]) -> bool:
    """Whether ``live`` is ``desired``, as written or as the server has computed it."""
    if same(desired, live):
        return True
    return has_kinds(desired) and _agrees(hydrated(desired, variables), live)


def _agrees(value: Json, live: Json) -> bool:
    """Equality in which UNKNOWN agrees with anything that has been computed."""
    if value is UNKNOWN:
        return not (isinstance(live, dict) and _KIND in live)
    if isinstance(value, dict) and isinstance(live, dict):
        return value.keys() == live.keys() and all(_agrees(value[key], live[key]) for key in value)
    if isinstance(value, list | tuple) and isinstance(live, list | tuple):
        return len(value) == len(live) and all(map(_agrees, value, live))
    return same(value, live)


def _names(value: Json) -> Iterator[str]:
    if isinstance(value, dict):
        if value.get(_KIND) == "workspace_variable" and isinstance(value.get("variable_name"), str):
            yield value["variable_name"]
        for item in value.values():
            yield from _names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _names(item)


def _hydrate(value: Json, variables: Mapping[str, Json]) -> Json:
    if isinstance(value, dict):
        if _KIND in value:
            return _of_kind(value, variables)
        filled = {key: _hydrate(item, variables) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not _LEFT_OUT}
    if isinstance(value, list | tuple):
        items = (_hydrate(item, variables) for item in value)
        return [item for item in items if item is not _LEFT_OUT]
    return value


def _of_kind(value: Mapping[str, Json], variables: Mapping[str, Json]) -> Json:
    kind = value[_KIND]
    if kind == "none":
        return _hydrate(value["value"], variables) if "value" in value else UNKNOWN
    if kind == "json":
        return _json(value, variables)
    if kind == "jinja":
        return _jinja(_inner(value.get("template"), variables))
    if kind == "workspace_variable":
        if "variable_name" not in value:
            return _LEFT_OUT
        name = _inner(value["variable_name"], variables)
        return variables.get(name, UNKNOWN) if isinstance(name, str) else UNKNOWN
    return value.get("value")


def _json(value: Mapping[str, Json], variables: Mapping[str, Json]) -> Json:
    if "value" not in value:
        return _LEFT_OUT
    text = _inner(value["value"], variables)
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return UNKNOWN


def _inner(value: Json, variables: Mapping[str, Json]) -> Json:
    return _hydrate(value, variables) if isinstance(value, dict) else value


def _jinja(template: Json) -> Json:
    if not isinstance(template, str):
        return UNKNOWN
    if "{{" not in template and "{%" not in template:
        return template
    import jinja2  # Few manifests need it, and it is slow to load.
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        room = ImmutableSandboxedEnvironment(undefined=jinja2.ChainableUndefined)
        return room.from_string(template).render()
    except Exception:  # noqa: BLE001 - whatever a template of the user's raises, the server decides
        return UNKNOWN
