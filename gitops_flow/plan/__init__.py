"""Desired and live deployments to a plan: data that says what is to be written, and why. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.plan import automations as _automations
from gitops_flow.plan import marks as _marks
from gitops_flow.plan.actions import Action, Conflict, Create, Delete, Held, Plan, Unchanged, Update
from gitops_flow.plan.automations import AutomationChange, AutomationDiff
from gitops_flow.plan.check import check, in_named_queues, new_queues
from gitops_flow.plan.drift import drift
from gitops_flow.plan.fields import FieldChange, differences
from gitops_flow.plan.hold import HOLD_TAG, is_held
from gitops_flow.plan.hydrate import workspace_variables
from gitops_flow.plan.prune import destroy, prune_refusal
from gitops_flow.plan.schedules import ScheduleChange, ScheduleDiff, compare
from gitops_flow.plan.secrets import Line, told_before
from gitops_flow.plan.show import lines, masked
from gitops_flow.plan.unsupported import unsupported

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gitops_flow.model import Automation, Deployment, Json

__all__ = [
    "HOLD_TAG",
    "Action",
    "AutomationChange",
    "AutomationDiff",
    "Conflict",
    "Create",
    "Delete",
    "FieldChange",
    "Held",
    "Line",
    "Plan",
    "ScheduleChange",
    "ScheduleDiff",
    "Unchanged",
    "Update",
    "attach",
    "check",
    "destroy",
    "drift",
    "in_named_queues",
    "is_held",
    "lines",
    "make",
    "masked",
    "new_queues",
    "prune_refusal",
    "told_before",
    "unsupported",
    "workspace_variables",
]


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
    owned = sum(_marks.owned(item.tags, marks) for item in there.values())
    actions: list[Action] = []
    for item in desired:
        found = there.pop((item.flow_name, item.name), None)
        wanted = _marked(item, source_mark)
        if found is None:
            actions.append(Create(wanted, mark=source_mark))
            continue
        action = _compared(wanted, found, marks, adopt, variables or {})
        if automations is not None and not isinstance(action, Conflict):
            action = _with_automations(action, marks)
        actions.append(action)
    left = [
        item
        for name, item in there.items()
        if name not in spared and _marks.owned(item.tags, marks)
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
    owned = _marks.owned(live.tags, marks)
    if live.marks and not owned and not adopt:
        reason = f"{desired.full_name} belongs to another source ({', '.join(live.marks)})"
        if _marks.same_repository(desired, live):
            reason += (
                ", whose code is in the same repository: if it is this source under another "
                "address, --adopt takes it over"
            )
        return Conflict(desired, live, reason)
    changes = differences(desired, live, variables)
    schedules = ScheduleDiff()
    if "schedules" not in desired.unknown:
        off = "schedules.active" in desired.ignored
        schedules = compare(desired.schedules, live.schedules, ignore_active=off)
    if not changes and not schedules:
        return Unchanged(desired, live)
    return Update(desired, live, changes, schedules, adopts=not owned, mark=marks[0])


def _with_automations(action: Update | Unchanged, marks: Sequence[str]) -> Update | Unchanged:
    desired, live = action.desired, action.live
    if "automations" in desired.unknown:
        return action
    found = _automations.compare(
        desired.automations,
        live.automations,
        mark=marks[0],
        own_marks=marks,
        adopts=not _marks.owned(live.tags, marks),
    )
    if not found:
        return action
    if isinstance(action, Update):
        return replace(action, automations=found)
    return Update(desired, live, (), ScheduleDiff(), automations=found, mark=marks[0])


def _marked(item: Deployment, mark: str) -> Deployment:
    return item if mark in item.tags else replace(item, tags=(*item.tags, mark))
