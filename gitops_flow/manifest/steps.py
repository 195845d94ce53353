"""Filling in the placeholders of steps: some here, some when the steps before have run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow.errors import ManifestError
from gitops_flow.manifest.config import RESERVED, Section, inputs_to_fill, place, step_sections
from gitops_flow.manifest.placeholders import KEEP, MISSING, fill, lookup, names, placeholders
from gitops_flow.manifest.substitution import USE_A_BLOCK, Substitution, is_secret, named
from gitops_flow.names import did_you_mean
from gitops_flow.pin import inputs_of, name_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.manifest.placeholders import Answers, Keep, Placeholder, Remove
    from gitops_flow.model import Json

    Path = tuple[Hashable, ...]
    Step = dict[str, Json]


# What a deploy tells every step, as if one with the id gitflow had run before.
_TOLD = {"gitflow": dict.fromkeys(("snapshot", "commit", "branch", "directory"), KEEP)}


def fill_step(
    manifest: Manifest,
    config: DeploymentConfig,
    section: Section,
    number: int,
    step: Step,
    answers: Answers,
    outputs: Mapping[str, Json],
    *,
    allow_missing: bool = False,
) -> Step:
    """A build or push step as it is to be run, right before it is.

    Args:
        manifest: from :func:`gitops_flow.manifest.load`.
        config: the deployment.
        section: ``build`` or ``push``.
        number: the step's place in it, from 0.
        step: from :func:`gitops_flow.manifest.step_sections`; its ``id`` and
            ``requires`` stay as they are.
        answers: its ``outputs`` are not looked at.
        outputs: what the steps before gave, merged, and each once more under its id.
        allow_missing: fill in nothing where nothing is known, as Prefect does.

    Raises:
        ManifestError: a placeholder that nothing fills in.
    """
    substitution = Substitution(manifest, config, answers, allow_missing)
    filled = build_step(substitution, step, place(config, section, number), outputs)
    if substitution.failed:
        count = len(substitution.problems)
        raise ManifestError(
            f"{name_of(step)} cannot be run: {count} placeholder{'s' * (count != 1)} "
            "cannot be filled in",
            tuple(named(manifest, [substitution])),
        )
    return filled


def build_step(
    substitution: Substitution, step: Step, path: Path, outputs: Mapping[str, Json] | None
) -> Step:
    """A build or push step filled in; ``outputs`` None when the steps before have not run."""
    inputs, name = inputs_of(step), name_of(step)

    def answer(mark: Placeholder) -> Json | Keep | Remove:
        if mark.kind not in ("output", "context"):
            return substitution.answer(mark, (*path, name), stored=False)
        if outputs is None:
            return KEEP
        output = lookup(outputs, mark.name)
        if output is MISSING:
            return substitution.nothing(mark, (*path, name, *mark.path), names(outputs))
        return output

    filled = fill(inputs_to_fill(step), answer)
    reserved = {key: inputs[key] for key in RESERVED if key in inputs}
    return {name: {**reserved, **filled}} if step else {}


def check(substitution: Substitution) -> None:
    """Report what can be known to be missing before the first build or push step runs."""
    first = True
    for section, number, step in step_sections(
        substitution.manifest, substitution.config
    ).numbered():
        path = place(substitution.config, section, number)
        build_step(substitution, step, path, _TOLD if first else None)
        first = first and not step


def pull_steps(substitution: Substitution, steps: Sequence[Step], path: Path) -> list[Step]:
    """Pull steps: what is not set here may be set on the worker, where they run."""
    return [_pull_step(substitution, step, (*path, number)) for number, step in enumerate(steps)]


def _pull_step(substitution: Substitution, step: Step, path: Path) -> Step:
    environ, outputs = substitution.answers.environ, substitution.outputs

    def answer(mark: Placeholder) -> Json | Keep | Remove:
        where = (*path, *mark.path)
        if mark.kind == "output" and outputs is not None:
            output = lookup(outputs, mark.name)
            if output is not MISSING and is_secret(mark):
                substitution.note_secret(mark, ("pull",), output)
                message = f"the value of {mark.shown} will be stored on the server in clear"
                substitution.warning(where, message, USE_A_BLOCK)
            return KEEP if output is MISSING else output
        if mark.kind != "env" or mark.name not in environ:
            return KEEP
        if is_secret(mark):
            message = f"{mark.shown} is left for the worker's environment to fill in"
            substitution.warning(where, message, USE_A_BLOCK)
            return KEEP
        substitution.note_environment(mark, path, environ[mark.name])
        return environ[mark.name]

    filled: Step = fill(step, answer)
    return filled


def check_pull(
    substitution: Substitution, steps: Sequence[Step], section: Sequence[Step], path: Path
) -> None:
    """Tell what no step of a pull can fill in, or wait for the steps that have not run yet.

    ``steps`` are those to be stored; those that are the same objects in
    ``section`` are at ``path`` in the manifest.
    """
    numbers = {id(step): number for number, step in enumerate(section)}
    before: list[Hashable] = []
    for step in steps:
        for mark in placeholders(step):
            if mark.kind in ("block", "variable"):
                substitution.leave(mark, _written(substitution, mark, section, path))
            first = mark.name.replace("[", ".").partition(".")[0]
            # Any step before may give a bare {{ key }}, only the one of that id an {{ id.key }}.
            bare = bool(before) and first == mark.name
            if mark.kind != "output" or first in before:
                continue
            if substitution.outputs is None:
                substitution.unknown["pull_steps"] = None
            elif not bare and id(step) in numbers:
                ids = [str(each) for each in before if each is not None]
                hint = did_you_mean(first, ids) or "give an earlier step this id"
                where = (*path, numbers[id(step)], *mark.path)
                substitution.warning(
                    where, f"nothing will fill in {mark.shown} on the worker", hint
                )
        before.append(inputs_of(step).get("id"))


def _written(
    substitution: Substitution, mark: Placeholder, section: Sequence[Step], path: Path
) -> Path:
    """Where a placeholder of a stored pull step is written, which may be elsewhere."""
    own: Path = ("", "gitflow", "code_store", "credentials")
    credentials = substitution.manifest.gitflow.code_store.credentials
    for above, value in ((path, list(section)), (own, credentials)):
        for each in placeholders(value):
            if each.text == mark.text:
                return (*above, *each.path)
    return ()
