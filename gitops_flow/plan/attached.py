"""Which schedules and automations are added, changed or removed, so that as many as possible stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitops_flow.plan import ownership
from gitops_flow.plan.actions import AutomationChange, AutomationDiff, ScheduleChange, ScheduleDiff
from gitops_flow.plan.equality import same, take_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.model import Automation, Json, Schedule


def diff_schedules(
    desired: Sequence[Schedule],
    live: Sequence[Schedule],
    *,
    ignore_active: bool = False,
    may_be_on: bool = False,
) -> ScheduleDiff:
    """What makes ``live`` as ``desired``.

    ``ignore_active`` leaves being on or off to the server, ``may_be_on`` only what should be off.
    """
    wanted, there = list(desired), list(live)
    changes = (
        _change(
            replace(one, active=None)
            if ignore_active or (may_be_on and one.active is False)
            else one,
            other,
        )
        for one, other in pair_schedules(wanted, there)
    )
    differing = [change for change in changes if change is not None]
    return ScheduleDiff(
        change=tuple(each for each in differing if not _loses_slug(each)),
        add=tuple(wanted),
        remove=tuple(there),
        renew=tuple(_complete(each) for each in differing if _loses_slug(each)),
    )


def pair_schedules(
    wanted: list[Schedule], there: list[Schedule]
) -> list[tuple[Schedule, Schedule]]:
    """Take out of both lists what is paired: by slug, by former slug, by times, then by kind."""
    return [
        *take_pairs(
            wanted, there, lambda one, other: one.slug is not None and one.slug == other.slug
        ),
        *take_pairs(
            wanted,
            there,
            lambda one, other: one.replaces is not None and one.replaces == other.slug,
        ),
        # One that may be on or off would take the place of one that has to be.
        *take_pairs(
            wanted,
            there,
            lambda one, other: (
                one.active == other.active and one.slug == other.slug and _alike(one, other)
            ),
        ),
        *take_pairs(
            wanted, there, lambda one, other: one.slug == other.slug and _alike(one, other)
        ),
        *take_pairs(wanted, there, _alike),
        *take_pairs(wanted, there, lambda one, other: same_times(one.spec, other.spec)),
        *take_pairs(wanted, there, lambda one, other: kind(one.spec) == kind(other.spec)),
    ]


def _alike(one: Schedule, other: Schedule) -> bool:
    return (
        same_times(one.spec, other.spec)
        and same(one.parameters, other.parameters)
        and one.active in (None, other.active)
    )


def _change(desired: Schedule, live: Schedule) -> ScheduleChange | None:
    times = same_times(desired.spec, live.spec)
    if (
        times
        and same(desired.parameters, live.parameters)
        and desired.active in (None, live.active)
        and desired.slug == live.slug
    ):
        return None
    return ScheduleChange(desired, live, None if times else _new_times(desired.spec, live.spec))


def _loses_slug(change: ScheduleChange) -> bool:
    return change.desired.slug is None and change.live.slug is not None


def _complete(change: ScheduleChange) -> ScheduleChange:
    """``change`` with what a schedule that is made anew would not have of itself."""
    desired, live = change.desired, change.live
    active = live.active if desired.active is None else desired.active
    spec = _new_times(desired.spec, live.spec)
    return ScheduleChange(replace(desired, active=active, spec=spec), live, spec)


def _new_times(desired: dict[str, Json], live: dict[str, Json]) -> dict[str, Json]:
    if kind(desired) == kind(live) == "interval" and desired.get("anchor_date") is None:
        # Left out, the server would start counting at the time of the write.
        return {**desired, "anchor_date": live.get("anchor_date")}
    return desired


def kind(spec: dict[str, Json]) -> str:
    """``cron``, ``interval`` or ``rrule``."""
    return next((name for name in ("cron", "interval", "rrule") if spec.get(name) is not None), "")


def same_times(desired: dict[str, Json], live: dict[str, Json]) -> bool:
    """Whether two specs mean the same moments, once what the server fills in is set aside."""
    which = kind(desired)
    if which != kind(live) or _zone(desired) != _zone(live):
        return False
    if which == "cron":
        days = desired.get("day_or") is not False, live.get("day_or") is not False
        return bool(desired["cron"] == live["cron"]) and days[0] == days[1]
    if which == "interval":
        anchor = desired.get("anchor_date")
        return float(desired["interval"]) == float(live["interval"]) and (
            anchor is None or _instant(anchor) == _instant(live.get("anchor_date"))
        )
    return _rule(desired, desired) == _rule(live, desired)


def _zone(spec: dict[str, Json]) -> str:
    return spec.get("timezone") or "UTC"


def _instant(value: Json) -> Json:
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return value
    return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)


def _rule(spec: dict[str, Json], asked: dict[str, Json]) -> list[str]:
    lines = [line.strip() for line in str(spec.get("rrule")).splitlines() if line.strip()]
    if "DTSTART" in str(asked.get("rrule")).upper():
        return lines
    return [line for line in lines if not line.upper().startswith("DTSTART")]


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
    dormant: bool = False,
) -> AutomationDiff:
    """Pair automations by name, then by equal trigger.

    Args:
        desired: the manifest's.
        live: those that run the deployment, whoever made them.
        mark: the tag that ours carry.
        own_marks: the marks that make one ours.
        adopts: the deployment has not been this source's so far.
        dormant: whether one is switched on is left to the server, once it is there.
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
    if dormant and not adopts:
        pairs = [(replace(one, enabled=None), other) for one, other in pairs]
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
