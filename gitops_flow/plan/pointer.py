"""The release pointer: which deployments get their code from it, and which name a commit. Pure.

One write of the pointer gives every deployment that names it other code at once, with no
write to any of them. But the server checks the parameters of a run against the deployment's
schema when the run is created, and the code comes from the pointer when it starts. So what
changes together with its code names the new commit itself, from before the pointer moves
until it changes again. What is new, or names a commit already, begins to name the pointer
after that has moved. Stopped anywhere between, no deployment has one version's schema and
another one's code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.model import is_our_version
from gitops_flow.pin import Pin
from gitops_flow.plan.actions import (
    Create,
    Delete,
    FieldChange,
    Held,
    Plan,
    Pointer,
    ScheduleDiff,
    Unchanged,
    Update,
)
from gitops_flow.plan.ownership import is_held

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.model import Deployment
    from gitops_flow.plan.actions import Action

_CHANGED = "changed together with its code, names the pointer again from its next change on"
_ALONE = "deployed without the others"
_SINCE = "unchanged since it was given a commit of its own"
_HELD = "held"
_GONE = "not in the manifest any more"


def names(item: Deployment, pointer: str) -> bool:
    """Whether a deployment names the release pointer ``pointer``."""
    return pin.pointer_of(item.pull_steps) == pointer


def follow(
    desired: Iterable[Deployment], live: Iterable[Deployment], pointer: str
) -> list[Deployment]:
    """``desired``, naming the release pointer where the server's deployment does.

    So that a plan compares the code that runs. Our versions stay as they are: writing one
    would cost a deployment its scheduled runs.
    """
    there = {(item.flow_name, item.name): item for item in live}
    return [_followed(item, there.get((item.flow_name, item.name)), pointer) for item in desired]


def _followed(desired: Deployment, live: Deployment | None, pointer: str) -> Deployment:
    if live is None:
        return desired
    named = names(live, pointer)
    steps = pin.point(desired.pull_steps, pointer) if named else desired.pull_steps
    # One without a version named the pointer before it got a commit of its own.
    left = live.version is None or (named and is_our_version(live.version))
    version = live.version if desired.version_is_ours and left else desired.version
    return replace(desired, pull_steps=steps, version=version)


def settle(planned: Plan, pointer: Pointer, *, whole: bool) -> Plan:
    """``planned`` with the release pointer, and who names it decided.

    Args:
        planned: of deployments that :func:`follow` was given.
        pointer: where it is and where this deploy would move it.
        whole: all deployments of the source are deployed; else the pointer stays.
    """
    there = pin.is_at(pointer.before, pointer.after)
    moves = whole and not there
    literal: list[tuple[str, str]] = []
    early: list[Action] = []
    late: list[Action] = []
    for action in planned.actions:
        settled, reason = _settled(
            action,
            pointer,
            moves=moves,
            ready=whole or there,
            adopts=whole and not pointer.exists,
        )
        if reason:
            literal.append((action.full_name, reason))
        (early if moves and precedes(settled, pointer) else late).append(settled)
    for item in planned.orphans:
        if moves and names(item, pointer.name) and Pin.of(item.pull_steps):
            early.append(_frozen(item))
            literal.append((item.full_name, _HELD if is_held(item) else _GONE))
    return replace(
        planned,
        actions=(*early, *late),
        pointer=pointer if moves else None,
        literal=tuple(literal),
    )


def leave(planned: Plan, pointer: Pointer) -> Plan:
    """``planned`` without the release pointer, if there is one and nothing names it after that."""
    written = [
        action.live for action in planned.actions if isinstance(action, Update | Unchanged | Delete)
    ]
    kept = [action.live for action in planned.actions if isinstance(action, Held)]
    there = pointer.exists or any(names(item, pointer.name) for item in written)
    if not there or any(names(item, pointer.name) for item in (*kept, *planned.orphans)):
        return planned
    return replace(planned, pointer=pointer)


def precedes(action: Action, pointer: Pointer) -> bool:
    """Whether ``action`` has to be carried out before the pointer moves."""
    return (
        isinstance(action, Update)
        and names(action.live, pointer.name)
        and not names(action.desired, pointer.name)
    )


def needs(action: Action, pointer: Pointer) -> bool:
    """Whether ``action`` is right only once the pointer has moved."""
    if isinstance(action, Create):
        return names(action.desired, pointer.name)
    return isinstance(action, Update) and names(action.desired, pointer.name)


def _settled(
    action: Action, pointer: Pointer, *, moves: bool, ready: bool, adopts: bool
) -> tuple[Action, str | None]:
    """``action``, and why its deployment names a commit itself; None for one that does not.

    ``ready``: after this deploy the pointer is at the new code; ``adopts``: there is none yet.
    """
    if isinstance(action, Held):
        if not names(action.live, pointer.name):
            return action, _HELD if Pin.of(action.live.pull_steps) else None
        known = Pin.of(action.live.pull_steps) is not None
        return (_frozen(action.live), _HELD) if moves and known else (action, None)
    if not isinstance(action, Create | Update | Unchanged):
        return action, None
    wanted = Pin.of(action.desired.pull_steps)
    if wanted is None or "pull_steps" in action.desired.unknown:
        return action, None
    reason = _reason(action.desired, wanted, pointer, ready=ready)
    if isinstance(action, Create):
        return (action, reason) if reason else (_created(action, pointer.name), None)
    if names(action.live, pointer.name):
        if isinstance(action, Unchanged):
            return action, None
        if reason is None and moves and action.written:
            reason = _CHANGED
        return (_repointed(action, None), reason) if reason else (action, None)
    if reason:
        return action, reason
    if adopts or (isinstance(action, Update) and action.changes):
        return _repointed(action, pointer.name), None
    return action, _SINCE


def _reason(desired: Deployment, wanted: Pin, pointer: Pointer, *, ready: bool) -> str | None:
    """Why a deployment cannot name the pointer after this deploy."""
    if wanted.stock:
        return "checkout: stock"
    if is_held(desired):
        return _HELD
    if desired.keeps_code:
        return "the code differs only outside its paths"
    if not isinstance(pointer.after, dict) or wanted.commit != pointer.after.get("commit"):
        return "its pull step names other code"
    return None if ready else _ALONE


def _created(action: Create, name: str) -> Create:
    desired = action.desired
    version = None if desired.version_is_ours else desired.version
    steps = pin.point(desired.pull_steps, name)
    return replace(action, desired=replace(desired, pull_steps=steps, version=version))


def _repointed(action: Update | Unchanged, name: str | None) -> Update:
    """``action`` with a write that makes the deployment name the pointer, or with None the commit.

    A version that says which commit it is would be wrong after the pointer moved.
    """
    desired, live = action.desired, action.live
    steps = pin.point(desired.pull_steps, name)
    drops = name is not None and desired.version_is_ours
    desired = replace(desired, pull_steps=steps, version=None if drops else desired.version)
    moved = [FieldChange("pull_steps", live.pull_steps, steps)]
    if drops and live.version is not None:
        moved.append(FieldChange("version", live.version, None))
    given = action.changes if isinstance(action, Update) else ()
    gone = {"pull_steps", "version"} if drops else {"pull_steps"}
    changes = (*(each for each in given if each.field not in gone), *moved)
    if isinstance(action, Update):
        return replace(action, desired=desired, changes=changes)
    return Update(desired, live, changes, ScheduleDiff())


def _frozen(live: Deployment) -> Update:
    """A write that makes a deployment name the commit that it runs now, and changes nothing else."""
    steps = pin.point(live.pull_steps, None)
    change = FieldChange("pull_steps", live.pull_steps, steps)
    return Update(replace(live, pull_steps=steps), live, (change,), ScheduleDiff())
