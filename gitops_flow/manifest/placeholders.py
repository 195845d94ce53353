"""Placeholders: ``{{ $ENV }}``, ``{{ prefect.blocks... }}``, ``{{ id.key }}`` and their kin.

The grammar is Prefect's. A value is gone through once, so nothing that was filled in is
read as a placeholder again. Here is also what placeholders are filled in from, and which
of it the server has to be asked for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gitops_flow.manifest.config import inputs_to_fill, pull_section, step_sections
from gitops_flow.manifest.wording import shortened
from gitops_flow.pin import refs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.model import Json

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.\-\[\]$]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One ``{{ name }}``; an ``env`` placeholder's name has no ``$``.

    ``path`` leads to the text that holds it, from the value that was given.
    ``whole`` says that the text holds nothing else.
    """

    text: str
    name: str
    kind: Literal["env", "block", "variable", "context", "output"]
    path: tuple[Hashable, ...] = ()
    whole: bool = False

    @property
    def shown(self) -> str:
        """The text as messages show it."""
        return shortened(self.text, 100)


class Keep:
    """The answer for a placeholder that stays as it is written."""


class Remove:
    """The answer for a placeholder that takes its key or list item with it; in text, nothing."""


KEEP = Keep()
REMOVE = Remove()
MISSING = object()


def fill(value: Json, answer: Callable[[Placeholder], Json | Keep | Remove]) -> Json:
    """``value`` with each placeholder replaced by what ``answer`` says of it.

    A text that is one placeholder becomes the answer itself, of whatever type;
    inside longer text the answer is written out. Keys are not looked at. None
    when the value itself is removed.
    """
    filled = _fill(value, answer, ())
    return None if isinstance(filled, Remove) else filled


def placeholders(value: Json) -> tuple[Placeholder, ...]:
    """All placeholders in ``value``, in order."""
    return tuple(_walk(value, ()))


def lookup(values: Json, name: str) -> Json:
    """What ``a.b[0].c`` names in nested mappings and lists, :data:`MISSING` if nothing.

    A part that is a whole number is one, as in Prefect: it never names a key of text.
    """
    for part in name.replace("[", ".").replace("]", "").split("."):
        key: str | int = part
        with contextlib.suppress(ValueError):
            key = int(part)
        try:
            values = values[key]
        except (TypeError, KeyError, IndexError):
            return MISSING
    return values


def names(values: Mapping[str, Json]) -> list[str]:
    """The names that ``values`` can fill in: their keys, and those of mappings in them."""
    known = []
    for key, value in values.items():
        known.append(key)
        if isinstance(value, Mapping):
            known += [f"{key}.{inner}" for inner in value]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            known += [f"{key}[{number}]" for number in range(min(len(value), 10))]
    return known


def _fill(
    value: Json, answer: Callable[[Placeholder], Json | Keep | Remove], path: tuple[Hashable, ...]
) -> Json:
    if isinstance(value, dict):
        pairs = {key: _fill(inner, answer, (*path, key)) for key, inner in value.items()}
        return {key: inner for key, inner in pairs.items() if not isinstance(inner, Remove)}
    if isinstance(value, list):
        items = [_fill(inner, answer, (*path, at)) for at, inner in enumerate(value)]
        return [inner for inner in items if not isinstance(inner, Remove)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    if whole := _PLACEHOLDER.fullmatch(value):
        replacement = answer(_placeholder(whole, path))
        return value if isinstance(replacement, Keep) else replacement

    def written(match: re.Match[str]) -> str:
        replacement = answer(_placeholder(match, path))
        if isinstance(replacement, Remove):
            return ""
        return match.group() if isinstance(replacement, Keep) else str(replacement)

    return _PLACEHOLDER.sub(written, value)


def _walk(value: Json, path: tuple[Hashable, ...]) -> Iterator[Placeholder]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _walk(inner, (*path, at))
    elif isinstance(value, str) and "{{" in value:
        for match in _PLACEHOLDER.finditer(value):
            yield _placeholder(match, path)


def _placeholder(match: re.Match[str], path: tuple[Hashable, ...]) -> Placeholder:
    text, name = match.group(), match[1]
    whole = len(text) == len(match.string)
    if name.startswith("$"):
        return Placeholder(text, name.lstrip("$"), "env", path, whole)
    if name.startswith("prefect.blocks."):
        return Placeholder(text, name, "block", path, whole)
    if name.startswith("prefect.variables."):
        return Placeholder(text, name, "variable", path, whole)
    if name.startswith("ctx."):
        return Placeholder(text, name, "context", path, whole)
    return Placeholder(text, name, "output", path, whole)


_BLOCK, _VARIABLE = "prefect.blocks.", "prefect.variables."


@dataclass(frozen=True, slots=True)
class Answers:
    """All that placeholders may be filled in from; not shown, for it holds secrets.

    ``blocks`` holds the data of block documents by ``slug/name``, as the API's
    ``.data``; ``variables`` values by name. ``outputs`` holds what the build and
    push steps of a deployment gave, by :attr:`DeploymentConfig.index`: their
    outputs merged, and each step's once more under its id. Where a deployment is
    missing, or with None, its steps have not run. ``names`` holds what else there is
    on the server, for a hint: variables, and blocks as ``slug/name``. ``left`` holds what
    exists of that which is left for workers to fill in, in the same form; None when the
    server was not asked.
    """

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    blocks: Mapping[str, Json] = field(default_factory=dict, repr=False)
    variables: Mapping[str, Json] = field(default_factory=dict, repr=False)
    outputs: Mapping[int, Mapping[str, Json]] | None = field(default=None, repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)
    left: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Lookups:
    """What has to be read from the server: blocks as (slug, name), variables by name.

    Of what is ``left`` for workers to fill in, only whether it exists.
    """

    blocks: tuple[tuple[str, str], ...] = ()
    variables: tuple[str, ...] = ()
    left_blocks: tuple[tuple[str, str], ...] = ()
    left_variables: tuple[str, ...] = ()


def lookups(
    manifest: Manifest,
    chosen: Sequence[DeploymentConfig] | None = None,
    credentials: Json = None,
) -> Lookups:
    """What :func:`resolve` and :func:`fill_step` need of the server for these deployments.

    ``credentials`` holds the placeholders that are put into pull steps.
    """
    here: list[Placeholder] = []
    left = list(placeholders(credentials))
    for config in manifest.deployments if chosen is None else chosen:
        here += placeholders(list(_values(manifest, config)))
        left += placeholders(list(_left(manifest, config)))
    return Lookups(_blocks(here), _variables(here), _blocks(left), _variables(left))


def _blocks(marks: Iterable[Placeholder]) -> tuple[tuple[str, str], ...]:
    parts = (block_parts(mark) for mark in marks if mark.kind == "block")
    return tuple(dict.fromkeys((each[0], each[1]) for each in parts if each))


def _variables(marks: Iterable[Placeholder]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(variable_name(mark) for mark in marks if mark.kind == "variable"))


def _left(manifest: Manifest, config: DeploymentConfig) -> Iterator[Json]:
    """All values of a deployment in which workers fill in blocks and variables."""
    if config.spec.work_pool is not None:
        yield config.spec.work_pool.job_variables
    for trigger in config.spec.triggers or []:
        yield trigger.get("job_variables")
    yield list(pull_section(manifest, config)[0] or ())


def _values(manifest: Manifest, config: DeploymentConfig) -> Iterator[Json]:
    """All values of a deployment that are filled in before it is written."""
    spec = config.spec
    yield from (spec.name, spec.entrypoint, spec.version, spec.version_type, spec.tags)
    yield from (spec.description, spec.parameters)
    if spec.work_pool is not None:
        yield from (spec.work_pool.name, spec.work_pool.work_queue_name)
    for schedule in [spec.schedule, *(spec.schedules or [])]:
        if schedule is not None:
            yield schedule.model_dump(exclude_unset=True)
    for trigger in spec.triggers or []:
        yield {key: value for key, value in trigger.items() if key != "job_variables"}
    for step in step_sections(manifest, config).all:
        yield inputs_to_fill(step)
    for step in pull_section(manifest, config)[0] or ():
        # Which code is meant has to be known now; the rest is left for workers.
        yield refs_of(step)


def variable_name(mark: Placeholder) -> str:
    """The name of the variable in a ``{{ prefect.variables.name }}``."""
    return mark.name.removeprefix(_VARIABLE)


def block_parts(mark: Placeholder) -> tuple[str, str, str] | None:
    """Slug, name and path in a ``{{ prefect.blocks.slug.name.path }}``; None when incomplete."""
    slug, _, rest = mark.name.removeprefix(_BLOCK).partition(".")
    name, _, path = rest.partition(".")
    return (slug, name, path) if slug and name else None


def block_value(data: Json, path: str) -> Json:
    """The part of a block's ``data`` that ``path`` names, :data:`MISSING` if none.

    Data whose only key is ``value`` stands for that value.
    """
    if (
        isinstance(data, Mapping)
        and list(data) == ["value"]
        and not (path == "value" or path.startswith(("value.", "value[")))
    ):
        data = data["value"]
    return lookup(data, path) if path else data
