"""Pull steps: the one that fetches this repository becomes ours, the others stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow.manifest.template import placeholders
from gitops_flow.manifest.wording import quoted
from gitops_flow.model import PULL_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_flow.model import Json

    Step = dict[str, Json]
    Role = Literal["own", "other", "here", "plain"]

_CLONE = ("git_clone", "git_clone_project")
_FETCH = (*_CLONE, "pull_with_block")
_CODE_INPUTS = {
    "directories": "the whole snapshot is checked out",
    "include_submodules": "write gitflow: {submodules: include} instead",
}


@dataclass(frozen=True, slots=True)
class Pinned:
    """The pull steps to store, and what there is to say about them.

    A note is the index of the step it is about, or None, and a sentence.
    """

    steps: tuple[Step, ...]
    notes: tuple[tuple[int | None, str], ...] = ()


def pin(
    section: Iterable[Step] | None, pull_step: Step, is_own_repository: Callable[[str], bool]
) -> Pinned:
    """Put ``pull_step`` in the place of what fetches this repository's code.

    Args:
        section: the manifest's pull steps; None without any, empty for ``[]``.
        pull_step: ``{"gitops_flow.steps.pull_code": {inputs}}``.
        is_own_repository: whether an address is this repository's.
    """
    if section is None:
        return Pinned((pull_step,))
    steps = list(section)
    if not steps:
        return Pinned((), ((None, "no pull steps: the code is not pinned"),))
    roles: list[Role] = [_role(step, is_own_repository) for step in steps]
    if "own" not in roles and "other" in roles:
        at = roles.index("other")
        note = f"kept {_name(steps[at])}: it decides which code runs, so the code is not pinned"
        return Pinned(tuple(steps), ((at, note),))
    if "own" not in roles and "here" in roles:
        roles[roles.index("here")] = "own"
    notes: list[tuple[int | None, str]] = []
    result: list[Step] = [] if "own" in roles else [pull_step]
    for at, (step, role) in enumerate(zip(steps, roles, strict=True)):
        if role == "own":
            result.append(_in_place_of(step, pull_step))
            notes += [(at, note) for note in _lost(step)]
            continue
        result.append(step)
        if role in ("other", "here"):
            notes.append((at, f"kept {_name(step)}: it may lead away from the pinned code"))
    return Pinned(tuple(result), tuple(notes))


def _role(step: Step, is_own_repository: Callable[[str], bool]) -> Role:
    """What a step is to the code: ours to replace, another source of code, a place, or neither."""
    name, inputs = _name(step), _inputs(step)
    last = name.rpartition(".")[2]
    if name == PULL_STEP:
        return "own"
    if last in _CLONE:
        return "own" if is_own_repository(str(inputs.get("repository", ""))) else "other"
    if last in _FETCH or last.startswith(("pull_from_", "pull_project_from_")):
        return "other"
    if last != "set_working_directory":
        return "plain"
    # Below the output of another step is where that step put it, wherever that is.
    marks = placeholders(str(inputs.get("directory", "")))
    return "plain" if any(mark.kind == "output" for mark in marks) else "here"


def _in_place_of(step: Step, pull_step: Step) -> Step:
    identity = _inputs(step).get("id")
    if identity is None:
        return pull_step
    # Later steps name its output {{ id.directory }}.
    return {name: {"id": identity, **(inputs or {})} for name, inputs in pull_step.items()}


def _lost(step: Step) -> list[str]:
    inputs = _inputs(step)
    return [
        f"{quoted(name)} of {_name(step)} is not carried over: {why}"
        for name, why in _CODE_INPUTS.items()
        if inputs.get(name)
    ]


def _name(step: Step) -> str:
    return str(next(iter(step), ""))


def _inputs(step: Step) -> dict[str, Json]:
    inputs = next(iter(step.values()), None)
    return inputs if isinstance(inputs, dict) else {}
