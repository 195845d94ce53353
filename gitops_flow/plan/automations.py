"""Which automations are added, rewritten or removed, so that an equal one is never touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.plan import ownership
from gitops_flow.plan.actions import AutomationChange, AutomationDiff
from gitops_flow.plan.equality import same, take_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.model import Automation, Json

# What the server fills into each kind of trigger.
_DEFAULTS: dict[str, dict[str, Json]] = {
    "event": {
        "match": {},
        "match_related": {},
        "after": [],
        "expect": [],
        "for_each": [],
        "posture": "Reactive",
        "threshold": 1,
        "within": 0.0,
    },
    "compound": {"within": None},
    "sequence": {"within": None},
    "metric": {"match": {}, "match_related": {}, "posture": "Metric"},
}
_SETS = ("after", "expect", "for_each")
_LEAST_PROACTIVE = 10.0


def diff_automations(
    desired: Sequence[Automation],
    live: Sequence[Automation],
    *,
    mark: str,
    own_marks: Sequence[str],
    adopts: bool,
) -> AutomationDiff:
    """Pair automations by name, then by equal trigger.

    Args:
        desired: the manifest's.
        live: those that run the deployment, whoever made them.
        mark: the tag that ours carry.
        own_marks: the marks that make one ours.
        adopts: the deployment has not been this source's so far.
    """
    ours = [item for item in live if ownership.owned(item.tags, own_marks)]
    others = [item for item in live if item not in ours]
    if adopts and others:
        # Those that we made before go as well: the deployment owns them too.
        left = list(desired)
        known = [_as_enabled_as(one, other) for one, other in pair_automations(left, list(live))]
        return AutomationDiff(add=(*known, *left), replaces_owned=True, suspects=tuple(others))
    wanted_left, there = list(desired), ours
    pairs = pair_automations(wanted_left, there)
    changes = (
        AutomationChange(_as_enabled_as(one, other), other)
        for one, other in pairs
        if mark not in other.tags or not equal(one, other)
    )
    return AutomationDiff(add=tuple(wanted_left), change=tuple(changes), remove=tuple(there))


def pair_automations(
    desired: list[Automation], live: list[Automation]
) -> list[tuple[Automation, Automation]]:
    """Take the automations that belong together out of both lists."""
    return [
        *take_pairs(desired, live, lambda one, other: one.name == other.name and equal(one, other)),
        *take_pairs(desired, live, lambda one, other: one.name == other.name),
        *take_pairs(
            desired, live, lambda one, other: same(normal(one.trigger), normal(other.trigger))
        ),
    ]


def equal(desired: Automation, live: Automation) -> bool:
    """Whether ``live`` is as asked for; a switched-off one is, unless the manifest says on."""
    return (
        desired.name == live.name
        and desired.description == live.description
        and desired.enabled in (None, live.enabled)
        and same(desired.parameters, live.parameters)
        and same(desired.job_variables, live.job_variables)
        and float(desired.schedule_after) == float(live.schedule_after)
        and same(normal(desired.trigger), normal(live.trigger))
    )


def normal(trigger: Mapping[str, Json]) -> dict[str, Json]:
    """A trigger as the server would give it back, with its sets in one order."""
    kind = str(trigger.get("type") or "event")
    full = {**_DEFAULTS.get(kind, {}), "type": kind, **trigger}
    full.pop("id", None)
    for name in _SETS:
        if isinstance(full.get(name), list | tuple):
            full[name] = sorted({str(item) for item in full[name]})
    if isinstance(full.get("within"), int | float):
        full["within"] = float(full["within"])
    if full.get("posture") == "Proactive" and not full.get("within"):
        full["within"] = _LEAST_PROACTIVE
    if isinstance(full.get("triggers"), list | tuple):
        full["triggers"] = [normal(inner) for inner in full["triggers"]]
    return full


def _as_enabled_as(desired: Automation, live: Automation) -> Automation:
    """``desired``, off where the manifest does not say and its counterpart is off."""
    if desired.enabled is not None:
        return desired
    return replace(desired, enabled=live.enabled is not False)
