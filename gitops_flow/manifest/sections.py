"""Which build and push steps a deployment consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow.pin import inputs_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.model import Json, Position

    Step = dict[str, Json]

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


def steps(manifest: Manifest, config: DeploymentConfig) -> StepSections:
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
