"""Values as short texts that a person can compare, without the secrets in them."""

from __future__ import annotations

import datetime
import json
import re
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.redact import MASK, is_secret_key, redact

if TYPE_CHECKING:
    from gitops_flow.model import Automation, Json, Schedule

_LONGEST = 200
_PLACEHOLDER = re.compile(r"\s*\{\{[^{}]*\}\}\s*")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def masked_value(value: Json, secret: bool = False) -> Json:
    """``value`` with everything masked that is, or by its key may be, a secret.

    A placeholder is shown: it names a secret and holds none.
    """
    if isinstance(value, dict):
        return {
            str(key): masked_value(item, secret or is_secret_key(str(key)))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked_value(item, secret) for item in value]
    if isinstance(value, str):
        return MASK if secret and value and not _PLACEHOLDER.fullmatch(value) else redact(value)
    return MASK if secret and value is not None and not isinstance(value, bool) else value


def value_text(value: Json) -> str:
    """``value`` on one line of at most about 200 characters; plain text stays as it is."""
    return shortened(whole_text(value))


def shortened(text: str) -> str:
    """The first 200 characters or so."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def whole_text(value: Json) -> str:
    """``value`` on one line, of any length: in a part of it a secret could not be found."""
    if isinstance(value, str):
        text = value if value else '""'
    else:
        text = json.dumps(value, ensure_ascii=False, default=_name)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _name(value: object) -> str:
    """What JSON has no word for: a date as it is written, of anything else only what it is."""
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return str(value)
    # Its repr would show what is in it, and no key in there is looked at.
    return f"<{type(value).__name__}>"


def schedule_text(schedule: Schedule) -> str:
    """``cron "0 6 * * *" Europe/Berlin``, ``interval 1h from 2026-01-01``, ``rrule "..."``."""
    spec = schedule.spec
    if spec.get("cron") is not None:
        text = f'cron "{whole_text(spec["cron"])}"'
        if spec.get("day_or") is False:
            text += " day_or=false"
    elif spec.get("interval") is not None:
        text = f"interval {_duration(float(spec['interval']))}"
        if spec.get("anchor_date"):
            text += f" from {whole_text(str(spec['anchor_date']))}"
    else:
        text = f'rrule "{whole_text(str(spec.get("rrule")))}"'
    text += f" {spec.get('timezone') or 'UTC'}"
    if schedule.parameters:
        text += f" parameters {whole_text(masked_value(schedule.parameters))}"
    return f"{text} (off)" if schedule.active is False else text


def automation_text(automation: Automation) -> str:
    """``event etl.done``, ``sequence of 2``, with what it passes on."""
    trigger = automation.trigger
    inner = trigger.get("triggers")
    text = str(trigger.get("type") or "event")
    if isinstance(inner, list | tuple):
        text += f" of {len(inner)}"
        if "require" in trigger:
            text += f", require {trigger['require']}"
    elif trigger.get("expect"):
        text += f" {whole_text(' '.join(sorted(map(str, trigger['expect']))))}"
    if trigger.get("posture") == "Proactive":
        text += " (absent)"
    if trigger.get("within"):
        text += f" within {_duration(float(trigger['within']))}"
    if automation.parameters:
        text += f" parameters {whole_text(masked_value(automation.parameters))}"
    if automation.schedule_after:
        text += f" after {_duration(float(automation.schedule_after))}"
    return f"{text} (off)" if automation.enabled is False else text


def step_text(step: dict[str, Json]) -> str:
    """A pull step in short: its function, and the commit if it is ours or the inputs if not."""
    name, inputs = next(iter(step.items()), ("nothing", None))
    if name == pin.PULL_CODE and (commit := pin.commit_of(step)):
        return f"{name} commit {commit[:12]}"
    return f"{name} {whole_text(masked_value(inputs))}" if inputs else str(name)


def _duration(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"
