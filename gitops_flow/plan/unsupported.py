"""What a manifest asks for and an older server does not have, told before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.plan.actions import Create, Update
from gitops_flow.plan.check import problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_flow.model import Deployment, Json, Problem
    from gitops_flow.plan.actions import Action

_OLD = "upgrade the server, or leave it out"
# Prefect's own step gets the inputs that it is given, and fails on one it does not know.
_CLONE_INPUTS = ("commit_sha", "clone_directory_name")


def unsupported(actions: Iterable[Action], lacking: Mapping[str, str]) -> Iterator[Problem]:
    """What the server cannot do of what would be written.

    Args:
        actions: a plan's.
        lacking: the features that the server lacks, each with the words that say
            so (:func:`gitops_flow.prefect.lacking`).
    """
    if not lacking:
        return
    for action in actions:
        if isinstance(action, Create | Update):
            yield from _fields(action.desired, lacking)
            yield from _steps(action.desired, lacking)
        if isinstance(action, Update):
            yield from _removals(action, lacking)


def _fields(item: Deployment, lacking: Mapping[str, str]) -> Iterator[Problem]:
    grace = "grace_period_seconds"
    if grace in lacking and (item.concurrency_options or {}).get(grace) is not None:
        yield problem(item, f"{grace} {lacking[grace]}", _OLD, path=("concurrency_limit", grace))
    after, several = "schedule_after", "several match_related"
    for number, automation in enumerate(item.automations):
        if several in lacking and _matches_several(automation.trigger):
            message = f"a list in match_related {lacking[several]}"
            yield problem(item, message, "write one mapping", path=("triggers", number))
        if after in lacking and automation.schedule_after:
            yield problem(item, f"{after} {lacking[after]}", _OLD, path=("triggers", number, after))


def _matches_several(trigger: Mapping[str, Json]) -> bool:
    inner = trigger.get("triggers") or ()
    return isinstance(trigger.get("match_related"), list) or any(map(_matches_several, inner))


def _steps(item: Deployment, lacking: Mapping[str, str]) -> Iterator[Problem]:
    for step in item.pull_steps or ():
        if pin.name_of(step) != pin.GIT_CLONE:
            continue
        for name in _CLONE_INPUTS:
            reason = lacking.get(f"git_clone {name}")
            if reason and pin.inputs_of(step).get(name) is not None:
                yield problem(
                    item,
                    f"the input {name} of git_clone {reason}: on workers of that version "
                    "every run fails",
                    "leave `checkout: stock` out: the step of gitops-flow runs on all of them",
                    severity="warning",
                )


def _removals(action: Update, lacking: Mapping[str, str]) -> Iterator[Problem]:
    item, changed = (
        action.desired,
        {change.field for change in action.changes if not change.unknown},
    )
    reason = lacking.get("emptying job_variables")
    if reason and "job_variables" in changed and not item.job_variables:
        yield problem(
            item,
            f"removing every job variable {reason}",
            "keep one that changes nothing, such as `env: {}`",
            path=("work_pool", "job_variables"),
        )
    reason = lacking.get("leaving a work pool")
    if reason and "work_pool" in changed and item.work_pool is None and item.work_queue is None:
        yield problem(
            item,
            f"taking a deployment out of its work pool {reason}",
            "name a pool, or delete the deployment first",
            path=("work_pool",),
        )
