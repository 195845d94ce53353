"""Values that the command line gives in place of a manifest's: checked in the same way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow.errors import ManifestError, UsageError
from gitops_flow.manifest.load import parse
from gitops_flow.manifest.schema import DeploymentSection, WorkPoolSection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitops_flow.manifest.config import DeploymentConfig
    from gitops_flow.model import Json

    Path = tuple[str | int, ...]

# The least that a deployment has, in which the options stand for the check.
_FRAME = ["deployments:", "- name: x", "  entrypoint: x.py:x"]
_PLACE = re.compile(r"option:(\d+):\d+: (?:warning: )?(?:deployments\[0\] 'x': )?")


@dataclass(frozen=True, slots=True)
class Override:
    """One value: its path below the deployment, and the option that gave it.

    ``("work_pool", "job_variables", "cpu")`` has a value of its own; an item that
    ``("schedules",)`` gets is added to those of the manifest.
    """

    path: tuple[str, ...]
    value: Json
    option: str


def check_overrides(overrides: Sequence[Override]) -> DeploymentSection:
    """The overrides as a section of a manifest that has nothing else.

    Raises:
        UsageError: with all that is wrong, by option.
    """
    lines = list(_FRAME)
    options: dict[int, str] = {}
    for text, option in _written(overrides):
        lines.append(text)
        options[len(lines)] = option
    try:
        (config,) = parse("\n".join(lines).encode(), "option", strict=True).deployments
    except ManifestError as error:
        raise UsageError("; ".join(_told(each, options) for each in error.lines)) from None
    return config.spec


def _written(overrides: Sequence[Override]) -> Iterator[tuple[str, str]]:
    """A line of YAML for each value, those of one mapping together, with the option it is from."""
    above: tuple[str, ...] = ()
    for each in sorted(overrides, key=lambda each: _order(each.path)):
        for depth, key in enumerate(each.path[:-1]):
            if above[: depth + 1] != each.path[: depth + 1]:
                yield f"{'  ' * (depth + 1)}{key}:", each.option
        indent, value = "  " * len(each.path), json.dumps(each.value)
        if each.path == ("schedules",):
            if above != each.path:
                yield f"{indent}schedules:", each.option
            yield f"{indent}- {value}", each.option
        else:
            yield f"{indent}{json.dumps(each.path[-1])}: {value}", each.option
        above = each.path


def _order(path: tuple[str, ...]) -> tuple[str, int, tuple[str, ...]]:
    # What is a value comes before what is a mapping.
    return path[0], len(path), path


def _told(problem: str, options: dict[int, str]) -> str:
    place = _PLACE.match(problem)
    if place is None:
        return problem
    return f"{options.get(int(place[1]), 'options')}: {problem[place.end() :]}"


def override(
    config: DeploymentConfig, overrides: Sequence[Override], section: DeploymentSection
) -> DeploymentConfig:
    """``config`` with the values of ``section``, which :func:`check_overrides` made of ``overrides``."""
    spec, pool = config.spec, config.spec.work_pool or WorkPoolSection()
    changed: dict[str, Json] = {
        name: getattr(section, name)
        for name in section.model_fields_set & {"version", "description", "tags"}
    }
    if section.parameters:
        changed["parameters"] = {**spec.parameters, **section.parameters}
    if section.work_pool is not None:
        of_pool = {name: getattr(section.work_pool, name) for name in ("name", "work_queue_name")}
        named = {name: value for name, value in of_pool.items() if value is not None}
        merged = {**pool.job_variables, **section.work_pool.job_variables}
        changed["work_pool"] = pool.model_copy(update={**named, "job_variables": merged})
    before = [spec.schedule] if spec.schedule else list(spec.schedules or [])
    if section.schedules:
        changed["schedules"] = [*before, *section.schedules]
        changed["schedule"] = None
    number = len(before)
    places: list[tuple[Path, str]] = []
    for each in overrides:
        place: Path = each.path
        if each.path == ("schedules",):
            place, number = ("schedules", number), number + 1
        places.append((place, each.option))
    return replace(config, spec=spec.model_copy(update=changed), overridden=tuple(places))
