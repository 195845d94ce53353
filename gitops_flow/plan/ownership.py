"""Whose a deployment or an automation is, and what a plan may do with it.

Ownership marks are tags, and so is a hold, by which somebody keeps a deployment as it is:
the whole team sees it, in Prefect's UI as well, and it is read with the deployment anyway.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.git import identity
from gitops_flow.model import MARK_PREFIX, digest_of
from gitops_flow.pin import Pin
from gitops_flow.plan.actions import (
    Conflict,
    Create,
    Delete,
    FieldChange,
    Held,
    Plan,
    ScheduleDiff,
    Update,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.model import Deployment
    from gitops_flow.plan.actions import Action

HOLD_TAG = "gitflow-hold"


def owned(tags: Iterable[str], marks: Iterable[str]) -> bool:
    """Whether one of ``marks`` is among ``tags``, also under the source's former name."""
    # By digest: a source keeps what it owns when it is given another name.
    there = {digest_of(tag) for tag in tags if tag.startswith(MARK_PREFIX)}
    return not there.isdisjoint(map(digest_of, marks))


def same_repository(desired: Deployment, live: Deployment) -> bool:
    """Whether both get their code from one repository, by whatever addresses.

    The names of the sources are the same as well: several may use one code store.
    """
    pins = Pin.of(desired.pull_steps), Pin.of(live.pull_steps)
    ours, theirs = ({identity.of(each) for each in pin.addresses} if pin else () for pin in pins)
    names = [{mark.rpartition("-")[0] for mark in side.marks} for side in (desired, live)]
    return not set(ours).isdisjoint(theirs) and not names[0].isdisjoint(names[1])


def is_held(live: Deployment) -> bool:
    """Whether somebody holds the deployment."""
    return HOLD_TAG in live.tags


def without_held(planned: Plan) -> Plan:
    """``planned`` without what would change held deployments."""
    return replace(planned, actions=tuple(map(_unless_held, planned.actions)))


def _unless_held(action: Action) -> Action:
    if isinstance(action, Create | Conflict | Held) or not is_held(action.live):
        return action
    return Held(action.live, None if isinstance(action, Delete) else action.desired)


def with_holds(
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


def switch_hold(live: Iterable[Deployment], *, hold: bool) -> Plan:
    """Set the hold on these deployments, or release it; nothing else of them changes.

    One that gets its code from a release pointer names its commit itself once it is held.
    """
    actions: list[Action] = []
    for item in live:
        if is_held(item) == hold:
            continue
        others = tuple(tag for tag in item.tags if tag != HOLD_TAG)
        tags = (*others, HOLD_TAG) if hold else others
        changes = [FieldChange("tags", list(item.tags), list(tags))]
        steps = pin.point(item.pull_steps, None) if hold else item.pull_steps
        if steps != item.pull_steps:
            changes.append(FieldChange("pull_steps", item.pull_steps, steps))
        held = replace(item, tags=tags, pull_steps=steps)
        actions.append(Update(held, item, tuple(changes), ScheduleDiff()))
    return Plan(actions=tuple(actions))


def prune_refusal(planned: Plan) -> str | None:
    """Why so much is not deleted without being told twice, or None.

    More than a third of a source, or all of it, is rather a wrong manifest
    than a wish.
    """
    gone, owned = len(planned.deletes), planned.owned
    if not gone:
        return None
    if gone >= owned:
        return f"this would delete every deployment of the source ({gone})"
    if gone * 3 > owned:
        return f"this would delete {gone} of the source's {owned} deployments, more than a third"
    return None


def destroy(live: Iterable[Deployment], source_mark: str, former_marks: Sequence[str] = ()) -> Plan:
    """Delete every deployment of a source.

    Args:
        live: what the server has; what is another's, or nobody's, stays.
        source_mark: the source's ownership tag.
        former_marks: marks that it had before.
    """
    own = (source_mark, *former_marks)
    gone = tuple(Delete(item) for item in live if owned(item.tags, own))
    return Plan(actions=gone, owned=len(gone))
