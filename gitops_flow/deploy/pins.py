"""What a deployment makes a worker check out. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.model import PULL_STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.model import Deployment, Json

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
_GO_TO = ".set_working_directory"
_BELOW = re.compile(r"\{\{\s*(?:([\w-]+)\.)?directory\s*\}\}/?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pin:
    """One checkout.

    ``addresses`` are tried in order. ``credentials`` and the other texts are as
    the server keeps them, so they may hold placeholders. ``directory`` is what
    the entrypoint is relative to, "" for the root; ``directories`` are the only
    ones that are written, if any. ``others`` names the other pull steps.
    ``release`` is the text of a signed tag, which one of ``signers``, if any,
    must have signed.
    """

    addresses: tuple[str, ...]
    commit: str
    credentials: Json = None
    directory: str = ""
    directories: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    release: str | None = None
    signers: tuple[str, ...] = ()


def of(deployment: Deployment) -> Pin | None:
    """The pin in a deployment's pull steps, ours or Prefect's own; None without one."""
    steps = [(name, given) for step in deployment.pull_steps or () for name, given in step.items()]
    for at, (name, given) in enumerate(steps):
        inputs = given if isinstance(given, dict) else {}
        if name == PULL_STEP:
            commit, directory = inputs.get("commit"), inputs.get("directory")
        elif name.endswith(".git_clone"):
            commit, directory = inputs.get("commit_sha"), None
        else:
            continue
        if not commit:
            return None
        below, used = _below(inputs.get("id"), steps[at + 1 :])
        return Pin(
            addresses=tuple(map(str, _listed(inputs.get("repository")))),
            commit=str(commit),
            credentials=inputs.get("credentials") or inputs.get("access_token"),
            directory=str(directory or below or ""),
            directories=tuple(map(str, _listed(inputs.get("directories")))),
            others=tuple(
                other for number, (other, _) in enumerate(steps) if number not in (at, used + at)
            ),
            release=inputs.get("release"),
            signers=tuple(map(str, _listed(inputs.get("verify_signers")))),
        )
    return None


def named(deployment: Deployment) -> set[str]:
    """Every commit that a deployment names, in an image's tag as well; not only snapshots."""
    places = [deployment.pull_steps, deployment.job_variables]
    return set(_ID.findall(json.dumps(places, default=str)))


def _below(identity: Json, later: Sequence[tuple[str, Json]]) -> tuple[str | None, int]:
    """Where a later step goes on from the checkout, and how many steps later (0: none does)."""
    for number, (name, given) in enumerate(later, 1):
        text = given.get("directory") if isinstance(given, dict) else None
        found = _BELOW.fullmatch(text) if isinstance(text, str) else None
        if name.endswith(_GO_TO) and found and found[1] in (None, identity):
            return found[2], number
    return None, 0


def _listed(value: Json) -> Sequence[Json]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)
