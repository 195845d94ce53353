"""A manifest that has been read: what it says, where, and which steps a deployment consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gitops_flow.manifest import wording, yaml
from gitops_flow.model import CodeStoreSettings, Position, Problem
from gitops_flow.pin import inputs_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from gitops_flow.manifest.schema import DeploymentSection
    from gitops_flow.model import Json

    Step = dict[str, Json]

Steps = tuple["dict[str, Json]", ...]


@dataclass(frozen=True, slots=True)
class DeploymentConfig:
    """One item of ``deployments:`` with its placeholders as written.

    ``index`` is its place there, from 0. ``name`` and ``entrypoint`` may hold placeholders.
    ``overridden`` says which values are not the file's: paths, and the options they are from.
    ``own_schedules``: an environment gave it its schedules.
    """

    index: int
    name: str
    entrypoint: str
    where: Position
    spec: DeploymentSection
    overridden: tuple[tuple[tuple[str | int, ...], str], ...] = ()
    own_schedules: bool = False

    def option_of(self, path: Sequence[Hashable]) -> str | None:
        """The option that gave the value at ``path`` below the deployment, if one did."""
        asked = tuple(path)
        return next(
            (option for place, option in self.overridden if asked[: len(place)] == place), None
        )

    @property
    def label(self) -> str:
        """How messages name it: ``deployments[0] 'etl'``."""
        return wording.label(self.index, self.name)


@dataclass(frozen=True, slots=True)
class GitflowConfig:
    """The ``gitflow:`` section. Sizes are in bytes, None for the default.

    ``source`` says which repository this is, whatever its addresses.
    ``allow_stored_secrets`` are globs of environment variables that may be stored in clear.
    ``paths`` are globs of what deployments need, for those that have none of their own.
    ``release`` says whether deployments name a commit, or the source's release pointer.
    ``ignore`` names what is left to the server, ``paused`` or ``schedules.active``.
    ``suffix`` is what the names of deployments end in, as :func:`gitops_flow.names.suffix`.
    """

    source: str | None = None
    code_store: CodeStoreSettings = field(default_factory=CodeStoreSettings)
    allow_secrets: tuple[str, ...] = ()
    allow_stored_secrets: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    max_file_size: int | None = None
    max_total_size: int | None = None
    submodules: Literal["refuse", "include", "ignore"] = "refuse"
    ignore_submodules: tuple[str, ...] = ()
    lfs: bool = False
    ci_files: bool = False
    checkout: Literal["pinned", "stock"] = "pinned"
    release: Literal["literal", "atomic"] = "literal"
    requires: str | None = None
    ignore: tuple[str, ...] = ()
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """One of ``gitflow: environments:``, and the Prefect server that it names, if it does.

    ``profile`` or ``api_url`` is None, or both. ``where`` is the place of what names the server.
    """

    name: str
    where: Position
    profile: str | None = None
    api_url: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A ``prefect.yaml`` without errors.

    The step sections are None when absent or null, and empty when written as
    ``[]``. ``problems`` are warnings, in the file's order. ``directory`` is the
    name of the folder that holds the file, "" when it has none. ``environment`` is the one that
    was laid over the deployments.
    """

    shown: str
    name: str | None
    deployments: tuple[DeploymentConfig, ...]
    gitflow: GitflowConfig
    build: Steps | None = None
    push: Steps | None = None
    pull: Steps | None = None
    problems: tuple[Problem, ...] = ()
    directory: str = ""
    environment: Environment | None = None
    root: yaml.Node | None = field(default=None, repr=False, compare=False)

    def position(self, *path: Hashable) -> Position:
        """Where the value at ``path`` is, or else the nearest thing around it."""
        return position(self.root, self.shown, path)


def position(root: yaml.Node | None, shown: str, path: tuple[Hashable, ...]) -> Position:
    """Where the value at ``path`` starts, or else the nearest thing around it."""
    node, _ = yaml.at(root, path)
    return Position(shown, node.line, node.column) if node else Position(shown, 1, 1)


Section = Literal["build", "push"]
# Inputs that say how a step is run; Prefect takes them as they are written.
RESERVED = ("id", "requires")


@dataclass(frozen=True, slots=True)
class StepSections:
    """The steps of one deployment in the order in which they run, with their placeholders.

    A step is one name with its inputs, ``{"package.function": {input: value}}``;
    an empty mapping does nothing.
    """

    build: tuple[dict[str, Json], ...] = ()
    push: tuple[dict[str, Json], ...] = ()

    @property
    def all(self) -> tuple[dict[str, Json], ...]:
        """Build steps, then push steps."""
        return (*self.build, *self.push)

    def numbered(self) -> Iterator[tuple[Section, int, dict[str, Json]]]:
        """Each step with its section and its number in that, from 0."""
        for number, step in enumerate(self.build):
            yield "build", number, step
        for number, step in enumerate(self.push):
            yield "push", number, step


def step_sections(manifest: Manifest, config: DeploymentConfig) -> StepSections:
    """The build and push steps of one deployment.

    Its own section takes the place of the file's. As in Prefect, an empty or
    null ``build:`` does without the file's build steps, while an empty or null
    ``push:`` does not do without its push steps.
    """
    spec = config.spec
    build = spec.build if "build" in spec.model_fields_set else manifest.build
    return StepSections(tuple(build or ()), tuple(spec.push or manifest.push or ()))


def pull_section(
    manifest: Manifest, config: DeploymentConfig
) -> tuple[tuple[Step, ...] | None, bool]:
    """A deployment's pull steps as written, and whether they are its own."""
    spec = config.spec
    if spec.pull is not None:
        return tuple(spec.pull), True
    if "pull" in spec.model_fields_set and manifest.pull == ():
        return None, False  # an explicit null undoes the manifest's []
    return manifest.pull, False


def place(config: DeploymentConfig, section: Section, number: int) -> tuple[Hashable, ...]:
    """Where a step is written: below the deployment, or after "" below the file."""
    spec = config.spec
    own = "build" in spec.model_fields_set if section == "build" else bool(spec.push)
    return (section, number) if own else ("", section, number)


def step_position(
    manifest: Manifest, config: DeploymentConfig, section: Section, number: int
) -> Position:
    """Where the step with this number, from 0, is written."""
    path = place(config, section, number)
    full = path[1:] if path[0] == "" else ("deployments", config.index, *path)
    return manifest.position(*full)


def inputs_to_fill(step: Step) -> dict[str, Json]:
    """Those of a step's inputs in which placeholders are filled in."""
    return {key: value for key, value in inputs_of(step).items() if key not in RESERVED}
