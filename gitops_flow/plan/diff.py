"""What is desired against what is there: the plan, and what differs of each deployment.

The manifest is the truth; what it cannot say is left alone.
"""

from __future__ import annotations

from dataclasses import asdict, is_dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.model import is_our_version
from gitops_flow.plan import ownership
from gitops_flow.plan.actions import (
    Action,
    Conflict,
    Create,
    Delete,
    FieldChange,
    Plan,
    ScheduleDiff,
    Unchanged,
    Update,
)
from gitops_flow.plan.attached import (
    diff_automations,
    diff_schedules,
    pair_automations,
    pair_schedules,
)
from gitops_flow.plan.equality import same, same_parameters
from gitops_flow.plan.words import schedule_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gitops_flow.model import Automation, Deployment, Json

_PLAIN = ("entrypoint", "path", "description")
# What a deployment gets that names a queue and no pool.
_AGENT_POOL = "default-agent-pool"
_DEFAULT_QUEUE = "default"


def attach(
    live: Iterable[Deployment], automations: Mapping[str, tuple[Automation, ...]]
) -> list[Deployment]:
    """``live`` with the automations that were found for each id."""
    return [replace(item, automations=automations.get(item.id or "", ())) for item in live]


def make(
    desired: Sequence[Deployment],
    live: Iterable[Deployment],
    *,
    source_mark: str,
    adopt: bool,
    former_marks: Sequence[str] = (),
    prune: bool = False,
    spared: Collection[tuple[str, str]] = (),
    automations: Mapping[str, tuple[Automation, ...]] | None = None,
    variables: Mapping[str, Json] | None = None,
) -> Plan:
    """Pair what is desired with what is there.

    Args:
        desired: the manifest's deployments; ``source_mark`` is added to their
            tags where it is missing.
        live: the server's deployments of these names, and of this source.
        source_mark: the ownership tag of the source that is deployed.
        adopt: take over deployments that carry another source's mark.
        former_marks: marks that this source had before; it owns those too.
        prune: delete what this source owns and nothing desires any more.
        spared: ``(flow, deployment)`` names of the manifest that are not being
            deployed now: neither orphans nor deleted.
        automations: those that run the live deployments, by their ids; None
            when they were not read: then they are left alone.
        variables: values of :func:`workspace_variables`.
    """
    marks = (source_mark, *former_marks)
    known = list(live) if automations is None else attach(live, automations)
    there = {(item.flow_name, item.name): item for item in known}
    owned = sum(ownership.owned(item.tags, marks) for item in there.values())
    actions: list[Action] = []
    for item in desired:
        current = there.pop((item.flow_name, item.name), None)
        wanted = _marked(item, source_mark)
        if current is None:
            actions.append(Create(wanted, mark=source_mark))
            continue
        action = _compared(wanted, current, marks, adopt, variables or {})
        if automations is not None and not isinstance(action, Conflict):
            action = _with_automations(action, marks)
        actions.append(action)
    left = [
        item
        for name, item in there.items()
        if name not in spared and ownership.owned(item.tags, marks)
    ]
    if prune:
        actions += [Delete(item) for item in left]
        left = []
    return Plan(actions=tuple(actions), orphans=tuple(left), owned=owned)


def _compared(
    desired: Deployment,
    live: Deployment,
    marks: Sequence[str],
    adopt: bool,
    variables: Mapping[str, Json],
) -> Update | Unchanged | Conflict:
    owned = ownership.owned(live.tags, marks)
    if live.marks and not owned and not adopt:
        reason = f"{desired.full_name} belongs to another source ({', '.join(live.marks)})"
        if ownership.same_repository(desired, live):
            reason += (
                ", whose code is in the same repository: if it is this source under another "
                "address, ‹adopt› takes it over"
            )
        return Conflict(desired, live, reason)
    if desired.dormant and not owned and not adopt:
        reason = f"{desired.full_name} is there already, and was not made under this suffix"
        return Conflict(desired, live, reason)
    changes = differences(desired, live, variables)
    schedules = ScheduleDiff()
    if "schedules" not in desired.unknown:
        left = "schedules.active" in desired.ignored
        woken = desired.dormant and owned
        schedules = diff_schedules(
            desired.schedules, live.schedules, ignore_active=left, may_be_on=woken
        )
    if not changes and not schedules:
        return Unchanged(desired, live)
    return Update(desired, live, changes, schedules, adopts=not owned, mark=marks[0])


def _with_automations(action: Update | Unchanged, marks: Sequence[str]) -> Update | Unchanged:
    desired, live = action.desired, action.live
    if "automations" in desired.unknown:
        return action
    changes = diff_automations(
        desired.automations,
        live.automations,
        mark=marks[0],
        own_marks=marks,
        adopts=not ownership.owned(live.tags, marks),
        dormant=desired.dormant,
    )
    if not changes:
        return action
    if isinstance(action, Update):
        return replace(action, automations=changes)
    return Update(desired, live, (), ScheduleDiff(), automations=changes, mark=marks[0])


def _marked(item: Deployment, mark: str) -> Deployment:
    return item if mark in item.tags else replace(item, tags=(*item.tags, mark))


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
    names += _work_pool(desired, live)
    names += _concurrency(desired, live)
    if not same(pin.comparable(desired.pull_steps), pin.comparable(live.pull_steps)):
        names.append("pull_steps")
    if _other_version(desired, live, names):
        names.append("version")
    known = [name for name in names if name not in desired.unknown]
    return tuple(
        FieldChange(name, _as_json(getattr(live, name)), _as_json(getattr(desired, name)), unknown)
        for group, unknown in ((known, False), (desired.unknown, True))
        for name in group
    )


def _as_json(value: Json) -> Json:
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
    return new_code or not desired.version_is_ours or not is_our_version(live.version)


def _work_pool(desired: Deployment, live: Deployment) -> list[str]:
    pool = desired.work_pool or (_AGENT_POOL if desired.work_queue else None)
    names = [] if pool == live.work_pool else ["work_pool"]
    if pool is not None and (desired.work_queue or _DEFAULT_QUEUE) != live.work_queue:
        names.append("work_queue")
    return names


def _concurrency(desired: Deployment, live: Deployment) -> list[str]:
    names = [] if desired.concurrency_limit == live.concurrency_limit else ["concurrency_limit"]
    if not same(
        _without_nulls(desired.concurrency_options), _without_nulls(live.concurrency_options)
    ):
        names.append("concurrency_options")
    return names


def _without_nulls(options: dict[str, Json] | None) -> dict[str, Json]:
    # The server fills in null for what is left out.
    return {key: value for key, value in (options or {}).items() if value is not None}


def drift(desired: Deployment, live: Deployment) -> tuple[FieldChange, ...]:
    """What a deploy does not change though the manifest alone would give another value.

    ``before`` is the server's value, ``after`` what a fresh deployment would
    get. Fields: ``paused``, ``schedules[<slug or times>].active``,
    ``triggers[<name>].enabled``.
    """
    changes = []
    paused = desired.paused is True
    left_alone = desired.paused is None or "paused" in desired.ignored
    if left_alone and bool(live.paused) != paused:
        changes.append(FieldChange("paused", live.paused, paused))
    ignored = "schedules.active" in desired.ignored
    for one, other in pair_schedules(list(desired.schedules), list(live.schedules)):
        active = one.active is not False
        left = one.active is None or ignored or (desired.dormant and not active)
        if left and bool(other.active) != active:
            label = other.slug or schedule_text(replace(other, active=None, parameters={}))
            changes.append(FieldChange(f"schedules[{label}].active", other.active, active))
    for want, have in pair_automations(list(desired.automations), list(live.automations)):
        off, wanted_off = have.enabled is False, want.enabled is False
        if (want.enabled is None or desired.dormant) and off != wanted_off:
            changes.append(FieldChange(f"triggers[{have.name}].enabled", not off, not wanted_off))
    return tuple(changes)
