"""What differs on the server and is left alone on purpose: switches that people use in the UI."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.plan import automations, schedules
from gitops_flow.plan.fields import FieldChange
from gitops_flow.plan.wording import schedule_text

if TYPE_CHECKING:
    from gitops_flow.model import Deployment


def drift(desired: Deployment, live: Deployment) -> tuple[FieldChange, ...]:
    """What a deploy does not change though the manifest alone would give another value.

    ``before`` is the server's value, ``after`` what a fresh deployment would
    get. Fields: ``paused``, ``schedules[<slug or times>].active``,
    ``triggers[<name>].enabled``.
    """
    found = []
    paused = desired.paused is True
    left_alone = desired.paused is None or "paused" in desired.ignored
    if left_alone and bool(live.paused) != paused:
        found.append(FieldChange("paused", live.paused, paused))
    ignored = "schedules.active" in desired.ignored
    for one, other in schedules.pair(list(desired.schedules), list(live.schedules)):
        active = one.active is not False
        if (one.active is None or ignored) and bool(other.active) != active:
            label = other.slug or schedule_text(replace(other, active=None, parameters={}))
            found.append(FieldChange(f"schedules[{label}].active", other.active, active))
    for want, have in automations.pair(list(desired.automations), list(live.automations)):
        if want.enabled is None and have.enabled is False:
            found.append(FieldChange(f"triggers[{have.name}].enabled", False, True))
    return tuple(found)
