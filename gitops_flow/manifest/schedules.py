"""Schedules: what is surely wrong in one, and the server's shape of it.

Cron is judged by grammar and range, and by whether there is such a day at all.
What passes here can still be refused by the server; what fails here is refused
there, or would stop its scheduler.
"""

from __future__ import annotations

import datetime
import functools
import re
import zoneinfo
from typing import TYPE_CHECKING, Any

from gitops_flow.manifest import rules
from gitops_flow.manifest.wording import quoted
from gitops_flow.model import Schedule
from gitops_flow.names import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.manifest.schema import ScheduleSection

    # A field of the schedule, what is wrong with it, and what to do.
    Complaint = tuple[str, str, str | None]

_KINDS = ("cron", "interval", "rrule")
_ALIASES = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# Name, smallest and largest number, and the words allowed in their place.
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, ["l"]),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
    ("second", 0, 59, []),
    ("year", 1970, 2099, []),
)
_TRUE = ("true", "1", "yes", "on", "y", "t")
_FALSE = ("false", "0", "no", "off", "n", "f")


def check(section: ScheduleSection) -> Iterator[Complaint]:
    """What is surely wrong in a schedule; fields with a placeholder are not judged."""
    given = [kind for kind in _KINDS if getattr(section, kind) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        yield "", f"expected exactly one of cron, interval and rrule, got {got}", None
    if section.cron is not None and "{{" not in section.cron and (bad := _cron(section.cron)):
        yield "cron", *bad
    if section.interval is not None and section.interval <= datetime.timedelta(0):
        yield "interval", "expected a duration above 0", None
    if (
        section.rrule is not None
        and "{{" not in section.rrule
        and (bad := rules.check(section.rrule))
    ):
        yield "rrule", *bad
    if section.timezone and "{{" not in section.timezone and (bad := _timezone(section.timezone)):
        yield "timezone", *bad
    yield from _check_values(section)


def _check_values(section: ScheduleSection) -> Iterator[Complaint]:
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
        spec.update(rules.of_json(section.rrule) or {"rrule": section.rrule})
    if section.timezone:
        spec["timezone"] = section.timezone
    return Schedule(
        spec=spec,
        active=flag(section.active),
        parameters=section.parameters,
        slug=section.slug or None,
        replaces=section.replaces or None,
    )


def _cron(text: str) -> tuple[str, str | None] | None:
    if text.strip().startswith("@"):
        if text.strip().lower() in _ALIASES:
            return None
        return f"{quoted(text)} is not a cron alias", did_you_mean(text.strip().lower(), _ALIASES)
    fields = text.split()
    if not 5 <= len(fields) <= 7:
        return (
            f"{quoted(text)} has {len(fields)} field{'s' * (len(fields) != 1)}, cron takes 5 or 6",
            "minute hour day-of-month month day-of-week",
        )
    for value, (name, low, high, words) in zip(fields, _FIELDS, strict=False):
        for part in value.lower().split(","):
            if bad := _cron_part(part, low, high, words):
                return f"{name} {quoted(value)}: {bad}", None
    if _first_day(fields[2]) > _longest_month(fields[3]):
        hint = "the last day of a month is written L"
        return f"{quoted(text)} never comes: no such month has that day", hint
    return None


def _first_day(field: str) -> int:
    """The first day of a month that a cron field names; ``L`` is in every month."""
    days = [part.partition("/")[0].split("-") for part in field.lower().split(",")]
    # A range that ends before it begins goes round.
    return min(
        int(day[0]) if day[0].isdecimal() and int(day[-1]) >= int(day[0]) else 1 for day in days
    )


def _longest_month(field: str) -> int:
    """The number of days in the longest month that a cron field names."""
    longest = 0
    for part in field.lower().split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            low, high = 1, 12
        else:
            low = _month(first)
            high = _month(last) if dash else 12 if slash else low
        months = range(low, high + 1, int(step or 1)) if low <= high else range(1, 13)
        longest = max(longest, *(_MONTH_DAYS[month - 1] for month in months))
    return longest


def _month(text: str) -> int:
    text = text.partition("#")[0]
    return int(text) if text.isdecimal() else _MONTHS.index(text) + 1


def _cron_part(part: str, low: int, high: int, words: list[str]) -> str | None:
    span, slash, step = part.partition("/")
    if slash and (not step.isdecimal() or int(step) == 0):
        return f"{quoted(step)} is not a step above 0"
    span = span.partition("#")[0]
    if span in ("*", "?"):
        return None
    for end in span.split("-", 1):
        if end in words or (end.startswith("l") and high == 7):
            continue
        if not end.isdecimal():
            return f"{quoted(end)} is neither a number nor a name"
        if not low <= int(end) <= high:
            return f"{end} is not between {low} and {high}"
    return None


@functools.lru_cache(256)
def _timezone(name: str) -> tuple[str, str | None] | None:
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
