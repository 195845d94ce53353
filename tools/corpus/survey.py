"""What a manifest needs of the world: flows, programs, packages, pools, variables, blocks."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MARK = re.compile(r"\{\{\s*([\w.\-\[\]$]+)\s*\}\}")
_CLONES = ("git_clone", "git_clone_project")


@dataclass
class Flow:
    """A flow that an entrypoint names: where it is, its parameters, its name if one is given."""

    location: str
    qualname: str
    is_file: bool
    parameters: set[str] = field(default_factory=set)
    name: str | None = None


@dataclass
class Survey:
    """What one manifest needs. ``pools`` maps a name to the job variables that are set on it."""

    flows: dict[str, Flow] = field(default_factory=dict)
    pools: dict[str, set[str]] = field(default_factory=dict)
    steps: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=set)
    environ: dict[str, str] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)
    blocks: set[tuple[str, str, str]] = field(default_factory=set)
    repository: str | None = None
    branch: str | None = None


def survey(text: str) -> Survey:
    """Look through a manifest, which may be broken in any way."""
    found = Survey()
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return found
    for mark in _marks(data):
        _note(found, mark)
    sections = [data, *_deployments(data)] if isinstance(data, dict) else []
    for section in sections:
        for kind in ("build", "push", "pull"):
            for name, inputs in _steps(section.get(kind)):
                _note_step(found, kind, name, inputs)
    for item in sections[1:]:
        _note_flow(found, item)
        _note_pool(found, item)
    return found


def _deployments(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = data.get("deployments")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _steps(section: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for step in [section] if isinstance(section, dict) else section or []:
        if isinstance(step, dict):
            for name, inputs in step.items():
                yield str(name), inputs if isinstance(inputs, dict) else {}


def _marks(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _MARK.findall(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _marks(item)
    elif isinstance(value, list):
        for item in value:
            yield from _marks(item)


def _note(found: Survey, mark: str) -> None:
    if mark.startswith("$"):
        if mark[1:] not in os.environ:
            found.environ[mark[1:]] = f"made-up-{mark[1:].lower().replace('_', '-')}"
    elif mark.startswith("prefect.variables."):
        found.variables.add(mark.removeprefix("prefect.variables."))
    elif mark.startswith("prefect.blocks."):
        slug, _, rest = mark.removeprefix("prefect.blocks.").partition(".")
        name, _, path = rest.partition(".")
        found.blocks.add((slug, name, path))


def _note_step(found: Survey, kind: str, name: str, inputs: Mapping[str, Any]) -> None:
    if kind != "pull":
        found.steps.add(name)
        for line in str(inputs.get("script") or "").splitlines():
            try:
                words = shlex.split(line)
            except ValueError:
                continue
            found.programs |= set(words[:1])
    elif name.rpartition(".")[2] in _CLONES and not found.repository:
        address = inputs.get("repository")
        found.repository = _filled(found, address) if isinstance(address, str) else None
        branch = inputs.get("branch")
        if (
            found.repository
            and isinstance(branch, str)
            and not _MARK.search(_filled(found, branch))
        ):
            found.branch = _filled(found, branch)


def _note_flow(found: Survey, item: Mapping[str, Any]) -> None:
    entrypoint = item.get("entrypoint")
    if not isinstance(entrypoint, str):
        return
    entrypoint = _filled(found, entrypoint)
    location, _, qualname = entrypoint.rpartition(":" if ":" in entrypoint else ".")
    flow = found.flows.setdefault(
        entrypoint, Flow(location, qualname, location.endswith(".py") and ":" in entrypoint)
    )
    given = [item, item.get("schedule"), *(item.get("schedules") or [])]
    for part in [*given, *(item.get("triggers") or [])]:
        parameters = part.get("parameters") if isinstance(part, dict) else None
        if isinstance(parameters, dict):
            flow.parameters |= {str(key) for key in parameters}
    if isinstance(item.get("flow_name"), str):
        flow.name = flow.name or _filled(found, item["flow_name"])


def _note_pool(found: Survey, item: Mapping[str, Any]) -> None:
    pool = item.get("work_pool")
    if isinstance(pool, dict) and isinstance(pool.get("name"), str):
        keys = pool.get("job_variables")
        used = found.pools.setdefault(_filled(found, pool["name"]), set())
        used |= {str(key) for key in keys} if isinstance(keys, dict) else set()


def _filled(found: Survey, text: str) -> str:
    environ = {**os.environ, **found.environ}
    text = _MARK.sub(lambda m: environ.get(m[1].removeprefix("$"), m[0]), text)
    return re.sub(
        r"\{\{\s*prefect\.variables\.([\w.\-]+)\s*\}\}", lambda m: f"made-up-{m[1]}", text
    )
