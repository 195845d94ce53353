"""Schedules: what is surely wrong in one, and the server's shape of it.

Cron is judged by croniter and recurrence rules (RFC 5545) by dateutil, as Prefect does it.
Refused as well is what Prefect lets through and its scheduler then looks for without end.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import zoneinfo
from typing import TYPE_CHECKING, Any

from gitops_flow.manifest.wording import quoted, shortened
from gitops_flow.model import Schedule
from gitops_flow.names import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.manifest.schema import ScheduleSection

    # What is wrong, and what to do.
    Complaint = tuple[str, str | None]

_KINDS = ("cron", "interval", "rrule")
_CRON_ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_CRON_FIELDS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, or L for the last"),
    ("month", "1 to 12, or jan to dec"),
    ("day of week", "0 to 7, or sun to sat"),
    ("second", "0 to 59"),
    ("year", "1970 to 2099"),
)
_CRON_SEVERAL = "; several as 1-5, 1,5 or */2"
# Cron itself has no longer ones, and reading one takes time that grows with its square.
_LONGEST_CRON = 1000
_LONGEST_RRULE = 6500
# Any start does: which days there are does not depend on it.
_START = datetime.datetime(2024, 1, 1)
# The smallest and largest number of a key of a rule, beyond what dateutil checks.
_RRULE_NUMBERS: dict[str, tuple[int, int | None]] = {
    "INTERVAL": (1, None),
    "BYMONTH": (1, 12),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYWEEKNO": (-53, 53),
    "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59),
    "BYSECOND": (0, 59),
}
_RRULE_KEYS = ("FREQ", "COUNT", "UNTIL", "WKST", "BYDAY", "BYSETPOS", "BYEASTER", *_RRULE_NUMBERS)
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_RRULE_EXAMPLE = "write for example FREQ=DAILY;INTERVAL=1"
_RRULE_HINTS = {
    "BYDAY": "write some of MO TU WE TH FR SA SU",
    "BYWEEKDAY": "write some of MO TU WE TH FR SA SU",
    "WKST": "write one of MO TU WE TH FR SA SU",
    "UNTIL": "write for example 20300131T090000",
}
_TRUE = ("true", "1", "yes", "on", "y", "t")
_FALSE = ("false", "0", "no", "off", "n", "f")


def check(section: ScheduleSection) -> Iterator[tuple[str, str, str | None]]:
    """What is surely wrong in a schedule; fields with a placeholder are not judged.

    Yields a field of the schedule ("" for the whole), what is wrong with it, and what to do.
    """
    kinds = [kind for kind in _KINDS if getattr(section, kind) is not None]
    if len(kinds) != 1:
        got = " and ".join(kinds) or "none of them"
        yield "", f"expected exactly one of cron, interval and rrule, got {got}", None
    if (
        section.cron is not None
        and "{{" not in section.cron
        and (bad := _cron(section.cron, flag(section.day_or) is not False))
    ):
        yield "cron", *bad
    if section.interval is not None and section.interval <= datetime.timedelta(0):
        yield "interval", "expected a duration above 0", None
    if section.rrule is not None and "{{" not in section.rrule and (bad := _rrule(section.rrule)):
        yield "rrule", *bad
    if section.timezone and "{{" not in section.timezone and (bad := _timezone(section.timezone)):
        yield "timezone", *bad
    yield from _check_values(section)


def _check_values(section: ScheduleSection) -> Iterator[tuple[str, str, str | None]]:
    anchor = section.anchor_date
    if isinstance(anchor, str):
        if "{{" not in anchor and _instant(anchor) is None:
            hint = "write it as '2024-01-31T09:00:00Z'"
            yield "anchor_date", f"{quoted(anchor)} is not a date and time", hint
    elif anchor is not None and (
        section.active is not None or section.parameters or section.slug or section.replaces
    ):
        # Prefect takes a YAML date only in a schedule that has nothing but a rhythm.
        yield "anchor_date", "expected text, got a date", "put it in quotes"
    for name in ("active", "day_or"):
        value = getattr(section, name)
        if isinstance(value, str) and "{{" not in value and flag(value) is None:
            yield name, f"expected true or false, got {quoted(value)}", None


def flag(value: Any) -> bool | None:
    """The truth that ``value`` spells, None if it spells none."""
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    return value if isinstance(value, bool) else None


def to_model(section: ScheduleSection) -> Schedule:
    """The schedule in the server's shape; it must have passed :func:`check`."""
    spec: dict[str, Any] = {}
    if section.cron is not None:
        spec["cron"] = section.cron
        if section.day_or is not None:
            spec["day_or"] = flag(section.day_or)
    elif section.interval is not None:
        spec["interval"] = section.interval.total_seconds()
        if section.anchor_date is not None:
            anchor = _instant(section.anchor_date)
            spec["anchor_date"] = anchor.isoformat() if anchor else section.anchor_date
    elif section.rrule is not None:
        spec.update(_rrule_of_json(section.rrule) or {"rrule": section.rrule})
    if section.timezone:
        spec["timezone"] = section.timezone
    return Schedule(
        spec=spec,
        active=flag(section.active),
        parameters=section.parameters,
        slug=section.slug or None,
        replaces=section.replaces or None,
    )


@functools.lru_cache(maxsize=1024)
def _cron(text: str, day_or: bool) -> Complaint | None:
    from croniter import CroniterError, croniter

    if text.strip().startswith("@"):
        alias = text.strip().lower()
        if alias in _CRON_ALIASES:
            return None
        return f"{quoted(text)} is not a cron alias", did_you_mean(alias, _CRON_ALIASES)
    fields = text.split()
    if len(text) > _LONGEST_CRON:
        return f"{len(text)} characters long; the limit is {_LONGEST_CRON}", None
    if not 5 <= len(fields) <= len(_CRON_FIELDS):
        count = f"{len(fields)} field{'s' * (len(fields) != 1)}"
        hint = "minute hour day-of-month month day-of-week"
        return f"{quoted(text)} has {count}, cron takes 5 or 6", hint
    for place, (value, (name, range_)) in enumerate(zip(fields, _CRON_FIELDS, strict=False)):
        alone = ["*"] * len(fields)
        alone[place] = value
        # A letter for a time at random, which Prefect does not take.
        if value in ("h", "H", "r", "R") or not croniter.is_valid(" ".join(alone)):
            return f"{name} {quoted(value)} is not valid", f"write {range_}{_CRON_SEVERAL}"
    try:
        # The year of a schedule that runs once may be over.
        croniter(" ".join(fields[:6]), _START, day_or=day_or).get_next()
    except CroniterError:
        hint = "the last day of a month is written L"
        return f"{quoted(text)} never comes: no such month has that day", hint
    return None


def _rrule(text: str) -> Complaint | None:
    """What is wrong with a rule, or with the one in its JSON form."""
    rule = _rrule_of_json(text)
    if rule is None and text.lstrip().startswith("{"):
        return "expected JSON with a key 'rrule'", None
    return _rrule_text(str(rule["rrule"]) if rule else text)


@functools.lru_cache(maxsize=1024)
def _rrule_text(text: str) -> Complaint | None:
    from dateutil import rrule

    if len(text) > _LONGEST_RRULE:
        return f"{len(text)} characters long; the limit is {_LONGEST_RRULE}", None
    try:
        rrule.rrulestr(text)
    # For some texts it has no message of its own.
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        return _rrule_complaint(text, str(error))
    for key, values in re.findall(r"(\w+)=([-+\d,]+)", text.upper()):
        if key not in _RRULE_NUMBERS:
            continue
        low, high = _RRULE_NUMBERS[key]
        for number in map(int, values.split(",")):
            if high is None and number < low:
                return f"{key} {number} is below {low}", None
            if high is not None and not low <= number <= high:
                return f"{key} {number} is not between {low} and {high}", None
    return None


def _rrule_complaint(text: str, told: str) -> Complaint:
    """What dateutil has told of a rule, in plain words."""
    if unknown := re.fullmatch(r"(?s)unknown parameter '(.*)'", told):
        hint = did_you_mean(unknown[1], _RRULE_KEYS)
        return f"{quoted(unknown[1])} is not a key of a rule", hint
    if invalid := re.fullmatch(r"(?s)invalid '(.*?)': (.*)", told):
        key, value = invalid[1], invalid[2]
        hint = _RRULE_HINTS.get(key)
        if key == "FREQ":
            hint = did_you_mean(value, _FREQUENCIES) or _RRULE_EXAMPLE
        return f"{key} {quoted(value)} is not valid", hint
    if "FREQ=" not in text.upper():
        return "FREQ is missing", _RRULE_EXAMPLE
    if "values to unpack" in told or not told:
        return f"{quoted(text)} is not a rule", _RRULE_EXAMPLE
    return f"{quoted(text)} is not a rule: {shortened(told, 200)}", None


def _rrule_of_json(text: str) -> dict[str, Any] | None:
    """The JSON form of a rule, which Prefect takes as well."""
    try:
        rule = json.loads(text)
    except ValueError:
        return None
    if not isinstance(rule, dict) or not isinstance(rule.get("rrule"), str):
        return None
    return {key: rule[key] for key in ("rrule", "timezone") if rule.get(key) is not None}


@functools.lru_cache(256)
def _timezone(name: str) -> Complaint | None:
    if name in _timezones() or not _timezones():
        return None
    hint = "write an IANA name such as Europe/Berlin"
    if close := nearest(name, _timezones()):
        hint = f"did you mean {close!r}?"
    return f"{quoted(name)} is not a time zone", hint


@functools.cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _instant(value: Any) -> datetime.datetime | None:
    """A point in time; one without an offset is in UTC, as the server has it."""
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(re.sub(r"^(\d{4})/(\d\d)/", r"\1-\2-", value))
        except ValueError:
            return None
    elif not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    moment: datetime.datetime = value
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
