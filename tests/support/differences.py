"""The differences from ``prefect deploy`` that are meant: docs/differences.md lists exactly these."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gitops_flow.model import MARK_PREFIX
from gitops_flow.pin import PULL_CODE
from tests.support.differential import Difference, State, differences

_CODE = ("git_clone", "git_clone_project", "set_working_directory")
_PLACEHOLDER = re.compile(r"\{\{\s*prefect\.(blocks|variables)\.")
_VERSION = re.compile(r"(COMMIT|[0-9a-f]{8})(-dirty-[0-9a-f]{8})?|snapshot-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Known:
    """A difference with a reason; ``explains`` gets it, and both deployments as a whole."""

    id: str
    explains: Callable[[Difference, dict[str, Any], dict[str, Any]], bool]


def _mark(found: Difference, _theirs: Any, _ours: Any) -> bool:
    """Ours have one tag more, deployments and automations alike."""
    if found.path == "automations":
        return found.theirs == _unmarked(found.ours) != found.ours
    if found.path != "tags":
        return False
    marks = [tag for tag in found.ours if tag.startswith(MARK_PREFIX)]
    return len(marks) == 1 and found.ours == [*found.theirs, *marks]


def _unmarked(automations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**item, "tags": [tag for tag in item["tags"] if not tag.startswith(MARK_PREFIX)]}
        for item in automations
    ]


def _pin(found: Difference, _theirs: Any, _ours: Any) -> bool:
    """Our step is in the place of one that brings the code; the other steps are the same."""
    if found.path != "pull_steps" or not found.ours:
        return False
    ours = [{"CODE": None} if PULL_CODE in step else step for step in found.ours]
    theirs = found.theirs or []
    if {"CODE": None} not in ours:
        return False
    if ours == [{"CODE": None}, *theirs]:
        return True
    replaced = [{"CODE": None} if _brings_code(step) else step for step in theirs]
    at = ours.index({"CODE": None})
    return len(ours) == len(theirs) and replaced[at] == ours[at] and _same_but(at, ours, theirs)


def _same_but(at: int, ours: list[Any], theirs: list[Any]) -> bool:
    return all(
        one == other
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True))
        if number != at
    )


def _brings_code(step: dict[str, Any]) -> bool:
    return str(next(iter(step), "")).rpartition(".")[2] in _CODE


def _version(found: Difference, _theirs: Any, _ours: Any) -> bool:
    return found.path == "version" and bool(_VERSION.fullmatch(str(found.ours)))


def _description(found: Difference, _theirs: Any, _ours: Any) -> bool:
    return found.path == "description" and (found.theirs, found.ours) == ("None", None)


def _secrets(found: Difference, _theirs: Any, _ours: Any) -> bool:
    return found.path.startswith("job_variables.") and bool(_PLACEHOLDER.search(str(found.ours)))


def _letters(found: Difference, _theirs: Any, _ours: Any) -> bool:
    """Ours are the whole text and the mark, theirs the letters of that text."""
    return found.path == "tags" and len(found.ours) == 2 and list(found.ours[0]) == found.theirs


def _list_items(found: Difference, _theirs: Any, _ours: Any) -> bool:
    """Theirs is our list, in our order, with items missing."""
    if not isinstance(found.ours, list) or not isinstance(found.theirs, list):
        return False
    if found.path != "tags" and not found.path.startswith("parameters."):
        return False
    ours = iter(found.ours)
    there = all(any(item == own for own in ours) for item in found.theirs)
    kept = [item for item in found.ours if not str(item).startswith(MARK_PREFIX)]
    return there and len(found.theirs) < len(kept)


def _removed_schedules(found: Difference, _theirs: Any, _ours: Any) -> bool:
    return found.path == "schedules" and all(item in found.theirs for item in found.ours)


def _switched_off(found: Difference, _theirs: Any, _ours: Any) -> bool:
    """They are the same but for those that somebody switched off, which ours leaves off."""
    if found.path != "schedules" or len(found.theirs) != len(found.ours):
        return False
    pairs = [
        (one, other)
        for one in found.theirs
        for other in found.ours
        if one["schedule"] == other["schedule"]
    ]
    return len(pairs) == len(found.ours) and all(
        one == other or (one["active"], other["active"]) == (True, False) for one, other in pairs
    )


def _paused(found: Difference, _theirs: Any, _ours: Any) -> bool:
    return found.path == "paused" and (found.theirs, found.ours) == (False, True)


def _triggers_off(found: Difference, _theirs: Any, _ours: Any) -> bool:
    if found.path != "automations":
        return False
    ours = _unmarked(found.ours)
    return found.theirs == [{**item, "enabled": True} for item in ours] != ours


def _enforced(found: Difference, _theirs: Any, _ours: Any) -> bool:
    return found.path == "enforce_parameter_schema" and (found.theirs, found.ours) == (False, True)


# What the server has after a first deploy.
STORED = (
    Known("mark", _mark),
    Known("tags-text", _letters),
    Known("list-items", _list_items),
    Known("pin", _pin),
    Known("version", _version),
    Known("description", _description),
    Known("secrets", _secrets),
)

# What it has after a second one, when the manifest or somebody in the UI changed something.
REDEPLOYED = (
    Known("removed-schedules", _removed_schedules),
    Known("switched-off-schedules", _switched_off),
    Known("switched-off-triggers", _triggers_off),
    Known("paused", _paused),
    Known("enforce", _enforced),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Prefect deploys and we refuse: ``pattern`` finds it in what we say."""

    id: str
    pattern: str


ONLY_WE_REFUSE = (
    Refusal("placeholder", r"nothing fills in|is not set|there is no (block|variable)"),
    Refusal("unnamed", r"'name' is missing"),
    Refusal("twice", r"the same name and entrypoint as|is also deployments\["),
    Refusal("repeated-key", r"is written twice|duplicate key"),
    Refusal("step-shape", r"a step is one key"),
    Refusal("reserved-tag", r"is a mark of ownership|reserved"),
    Refusal("never-runs", r"never comes|is not between|is below 1"),
    Refusal("other-code", r"pull steps name other code than what is deployed"),
    Refusal("stored-secret", r"would be stored on the server in clear"),
    Refusal("secret-files", r"look like secrets|looks like"),
)


def explained(
    theirs: State, ours: State, known: Sequence[Known] = STORED
) -> tuple[set[str], list[Difference]]:
    """The ids of the known differences between two states, and the differences that none explains."""
    used: set[str] = set()
    left: list[Difference] = []
    for found in differences(theirs, ours):
        both = theirs.get(found.deployment, {}), ours.get(found.deployment, {})
        fits = (item.id for item in known if found.path and item.explains(found, *both))
        if reason := next(fits, None):
            used.add(reason)
        else:
            left.append(found)
    return used, left
