"""Which fields of a deployment differ. The manifest is the truth; what it cannot say is left alone."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.plan.hydrate import same_parameters
from gitops_flow.plan.values import same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.model import Deployment, Json

_PLAIN = ("entrypoint", "path", "description")
# What a deployment gets that names a queue and no pool.
_AGENT_POOL = "default-agent-pool"
_DEFAULT_QUEUE = "default"
# A source commit, the same with a snapshot, or a snapshot: the versions that are ours.
_OURS = re.compile(r"[0-9a-f]{8}(-dirty-[0-9a-f]{8})?|snapshot-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs: its name in :class:`~gitops_flow.model.Deployment`, and both values.

    The values are plain JSON, parts of a deployment as mappings; they may hold
    secrets of the user's (job variables, parameters).
    ``unknown``: steps that have not run yet complete ``after``, so that it is
    not known whether the field differs.
    """

    field: str
    before: Json
    after: Json
    unknown: bool = False


def differences(
    desired: Deployment, live: Deployment, variables: Mapping[str, Json] | None = None
) -> tuple[FieldChange, ...]:
    """What a write has to change so that ``live`` is as ``desired``, apart from its parts.

    The parts are schedules and automations. ``variables`` are the Prefect
    variables that parameters refer to.
    """
    names = [name for name in _PLAIN if getattr(desired, name) != getattr(live, name)]
    if not same_parameters(desired.parameters, live.parameters, variables or {}):
        names.append("parameters")
    if not same(desired.job_variables, live.job_variables):
        names.append("job_variables")
    if set(desired.tags) != set(live.tags):
        names.append("tags")
    # No schema means that the flow could not be read, not that it takes no parameters.
    if desired.parameter_schema is not None and not same(
        desired.parameter_schema, live.parameter_schema
    ):
        names.append("parameter_schema")
    if desired.enforce_parameter_schema != live.enforce_parameter_schema:
        names.append("enforce_parameter_schema")
    if _paused_differs(desired, live):
        names.append("paused")
    names += _place(desired, live)
    names += _concurrency(desired, live)
    if not same(pin.comparable(desired.pull_steps), pin.comparable(live.pull_steps)):
        names.append("pull_steps")
    if _other_version(desired, live, names):
        names.append("version")
    known = [name for name in names if name not in desired.unknown]
    return tuple(
        FieldChange(name, _plain(getattr(live, name)), _plain(getattr(desired, name)), unknown)
        for group, unknown in ((known, False), (desired.unknown, True))
        for name in group
    )


def _plain(value: Json) -> Json:
    """``value`` with schedules and automations as mappings, whose keys tell what is secret."""
    if isinstance(value, tuple) and any(map(is_dataclass, value)):
        return tuple(asdict(each) for each in value)
    return value


def _paused_differs(desired: Deployment, live: Deployment) -> bool:
    if desired.paused is None or "paused" in desired.ignored:
        return False
    return desired.paused != live.paused


def _other_version(desired: Deployment, live: Deployment, names: Sequence[str]) -> bool:
    if desired.version == live.version:
        return False
    # Our own version says which commit the code is from. The same code from a later
    # commit is no difference: writing it would cost the deployment its upcoming runs.
    # One that a manifest or somebody else gave has to go, though.
    new_code = "pull_steps" in names or "job_variables" in names
    return new_code or not desired.version_is_ours or not _OURS.fullmatch(live.version or "")


def _place(desired: Deployment, live: Deployment) -> list[str]:
    pool = desired.work_pool or (_AGENT_POOL if desired.work_queue else None)
    names = [] if pool == live.work_pool else ["work_pool"]
    if pool is not None and (desired.work_queue or _DEFAULT_QUEUE) != live.work_queue:
        names.append("work_queue")
    return names


def _concurrency(desired: Deployment, live: Deployment) -> list[str]:
    names = [] if desired.concurrency_limit == live.concurrency_limit else ["concurrency_limit"]
    if not same(_given(desired.concurrency_options), _given(live.concurrency_options)):
        names.append("concurrency_options")
    return names


def _given(options: dict[str, Json] | None) -> dict[str, Json]:
    # The server fills in null for what was not given.
    return {key: value for key, value in (options or {}).items() if value is not None}


def is_our_version(text: str | None) -> bool:
    """Whether a version only says which code it is."""
    return bool(_OURS.fullmatch(text or ""))
