"""Deployments that somebody holds as they are: deploys pass them by until the hold is released.

The hold is a tag on the deployment: the whole team sees it, in Prefect's UI as
well, and it is read with the deployment anyway.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.plan.actions import Conflict, Create, Delete, Held, Plan, Update
from gitops_flow.plan.fields import FieldChange
from gitops_flow.plan.schedules import ScheduleDiff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.model import Deployment
    from gitops_flow.plan.actions import Action

HOLD_TAG = "gitflow-hold"


def is_held(live: Deployment) -> bool:
    """Whether somebody holds the deployment."""
    return HOLD_TAG in live.tags


def respect(planned: Plan) -> Plan:
    """``planned`` without what would change held deployments."""
    orphans = tuple(item for item in planned.orphans if not is_held(item))
    return replace(planned, actions=tuple(map(_respected, planned.actions)), orphans=orphans)


def _respected(action: Action) -> Action:
    if isinstance(action, Create | Conflict | Held) or not is_held(action.live):
        return action
    return Held(action.live, None if isinstance(action, Delete) else action.desired)


def keep(
    desired: Iterable[Deployment], live: Iterable[Deployment], *, hold: bool
) -> list[Deployment]:
    """``desired`` with the hold that is there already; with ``hold``, on all of them."""
    held = {(item.flow_name, item.name) for item in live if is_held(item)}
    return [
        replace(item, tags=(*item.tags, HOLD_TAG))
        if (hold or (item.flow_name, item.name) in held) and not is_held(item)
        else item
        for item in desired
    ]


def switch(live: Iterable[Deployment], *, hold: bool) -> Plan:
    """Set the hold on these deployments, or release it; nothing else of them changes."""
    actions: list[Action] = []
    for item in live:
        if is_held(item) == hold:
            continue
        others = tuple(tag for tag in item.tags if tag != HOLD_TAG)
        tags = (*others, HOLD_TAG) if hold else others
        change = FieldChange("tags", list(item.tags), list(tags))
        actions.append(Update(replace(item, tags=tags), item, (change,), ScheduleDiff()))
    return Plan(actions=tuple(actions))
