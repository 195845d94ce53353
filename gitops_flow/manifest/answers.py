"""What placeholders are filled in from, and which of it the server has to be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.manifest import sections
from gitops_flow.manifest.template import lookup, placeholders
from gitops_flow.pin import refs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.manifest.template import Placeholder
    from gitops_flow.model import Json

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
    yield list(sections.pull_section(manifest, config)[0] or ())


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
    for step in sections.steps(manifest, config).all:
        yield sections.inputs_to_fill(step)
    for step in sections.pull_section(manifest, config)[0] or ():
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
