"""Recurrence rules (RFC 5545) as Prefect reads them, which is dateutil's way.

Apart from dates that are not written as in the RFC, what passes here passes
Prefect's own check. Numbers out of range are refused even where that lets them
through: its server would look for such a day without end.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import TYPE_CHECKING, Any

from gitops_flow.manifest.wording import quoted
from gitops_flow.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    # What is wrong, and what to do.
    Bad = tuple[str, str | None]

_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
# One number, and its smallest and largest value.
_NUMBER = {"INTERVAL": (1, None), "COUNT": (None, None)}
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "BYSETPOS": (-366, 366),
    "BYMONTH": (1, 12),
    "BYMONTHDAY": (-31, 31),
    "BYYEARDAY": (-366, 366),
    "BYEASTER": (None, None),
    "BYWEEKNO": (-53, 53),
    "BYHOUR": (0, 23),
    "BYMINUTE": (0, 59),
    "BYSECOND": (0, 59),
}
_KEYS = ("FREQ", *_NUMBER, "WKST", "UNTIL", *_NUMBERS, "BYWEEKDAY", "BYDAY")
_LINES = ("RRULE", "DTSTART", "RDATE", "EXRULE", "EXDATE")
_DAY = re.compile(r"[-+]?\d*")
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d):?(\d\d)(?::?(\d\d))?)?(Z?)")
_EXAMPLE = "write for example FREQ=DAILY;INTERVAL=1"
_DATE_EXAMPLE = "write for example 20300131T090000"
_LONGEST = 6500


def check(text: str) -> Bad | None:
    """What is wrong with a rule, or with the one in its JSON form."""
    rule = of_json(text)
    if rule is None and text.lstrip().startswith("{"):
        return "expected JSON with a key 'rrule'", None
    text = str(rule["rrule"]) if rule else text
    if len(text) > _LONGEST:
        return f"{len(text)} characters long; the limit is {_LONGEST}", None
    # Prefect splits at any white space, also within a line.
    found = [_split(line) for line in text.upper().split()]
    heads = [head.partition(";")[0] for head, _ in found]
    if not {"RRULE", "RDATE", "EXRULE", "EXDATE"}.intersection(heads) and all(
        head in _LINES for head in heads
    ):
        return "FREQ is missing", _EXAMPLE
    starts = [_zoned(head, body) for head, body in found if head.startswith("DTSTART")]
    aware = starts[-1] if starts else None
    for head, body in found:
        if bad := _line(head, body, aware):
            return bad
    return None


def of_json(text: str) -> dict[str, Any] | None:
    """The JSON form of a rule, which Prefect takes as well."""
    try:
        rule = json.loads(text)
    except ValueError:
        return None
    if not isinstance(rule, dict) or not isinstance(rule.get("rrule"), str):
        return None
    return {key: rule[key] for key in ("rrule", "timezone") if rule.get(key) is not None}


def _split(line: str) -> tuple[str, str]:
    head, colon, body = line.partition(":")
    return (head, body) if colon else ("RRULE", line)


def _line(head: str, body: str, aware: bool | None) -> Bad | None:
    name, *settings = head.split(";")
    if name not in _LINES:
        return f"{quoted(name)} is not a part of a rule", did_you_mean(name, _LINES)
    if name in ("RRULE", "EXRULE"):
        return _unknown_setting(name, settings, ()) or _rule(body, aware)
    values = ("VALUE=DATE-TIME",) if name == "RDATE" else ("VALUE=DATE-TIME", "VALUE=DATE")
    if name != "RDATE":
        settings = [each for each in settings if not each.startswith("TZID=")]
    if bad := _unknown_setting(name, settings, values):
        return bad
    dates = body.split(",")
    if name == "DTSTART" and len(dates) > 1:
        return "DTSTART holds several dates", "write one"
    return next((bad for each in dates if (bad := _date(name, each))), None)


def _unknown_setting(name: str, settings: Sequence[str], known: Sequence[str]) -> Bad | None:
    for setting in settings:
        if setting not in known:
            return f"{quoted(setting)} cannot stand after {name}", None
    return (f"{name} says VALUE twice", None) if name != "RDATE" and len(settings) > 1 else None


def _rule(body: str, aware: bool | None) -> Bad | None:
    given: dict[str, str] = {}
    for pair in body.split(";"):
        key, equals, value = pair.partition("=")
        if not equals:
            return f"{quoted(pair)} is not KEY=value", _EXAMPLE
        if key not in _KEYS:
            return f"{quoted(key)} is not a key of a rule", did_you_mean(key, _KEYS)
        if bad := _value(key, value):
            return bad
        given[key] = value
    if "FREQ" not in given:
        return "FREQ is missing", _EXAMPLE
    zoned = _zoned("", given["UNTIL"]) if "UNTIL" in given else None
    if aware is not None and zoned is not None and aware != zoned:
        hint = "end both in Z, or neither of them"
        return "of DTSTART and UNTIL one is in a time zone and the other is not", hint
    return None


def _value(key: str, value: str) -> Bad | None:
    if key == "FREQ" and value not in _FREQUENCIES:
        return f"{quoted(value)} is not a frequency", did_you_mean(value, _FREQUENCIES)
    if key == "WKST" and value not in _DAYS:
        return f"WKST {quoted(value)} is not a day", f"write one of {' '.join(_DAYS)}"
    if key == "UNTIL":
        return _date(key, value)
    if key in ("BYDAY", "BYWEEKDAY"):
        return next((bad for each in value.split(",") if (bad := _day(key, each))), None)
    if key in _NUMBER:
        return _number(key, value, *_NUMBER[key])
    if key in _NUMBERS:
        low, high = _NUMBERS[key]
        return next(
            (bad for each in value.split(",") if (bad := _number(key, each, low, high))), None
        )
    return None


def _number(key: str, text: str, low: int | None, high: int | None) -> Bad | None:
    try:
        number = int(text)
    except ValueError:
        return f"{key} {quoted(text)} is not a number", None
    if high is None and low is not None and number < low:
        return f"{key} {number} is below {low}", None
    if low is not None and high is not None and not low <= number <= high:
        return f"{key} {number} is not between {low} and {high}", None
    return (f"{key} cannot be 0", None) if key == "BYSETPOS" and number == 0 else None


def _day(key: str, text: str) -> Bad | None:
    """``MO``, ``-1FR``, ``+2TU`` or ``TH(+1)``."""
    day, bracket, place = text.partition("(")
    if bracket:
        place = place[:-1]
    else:
        # It looks for the first letter; where there is none, at the last sign.
        place = _DAY.match(text)[0] if text else ""  # type: ignore[index]
        day = text[len(place) :]
    if day not in _DAYS:
        return f"{key} {quoted(text)} is not a day", f"write one of {' '.join(_DAYS)}"
    try:
        wrong = int(place) == 0 if place or bracket else False
    except ValueError:
        wrong = True
    return (
        (f"{key} {quoted(text)}: {quoted(place)} is not a number other than 0", None)
        if wrong
        else None
    )


def _date(key: str, text: str) -> Bad | None:
    found = _DATE.fullmatch(text)
    if found is None:
        # Prefect guesses at much more than the RFC has; without a digit it is none.
        wrong = not any(each.isdigit() for each in text)
    else:
        try:
            datetime.datetime(*(int(part or 0) for part in found.groups()[:6]))  # type: ignore[arg-type]
            wrong = False
        except ValueError:
            wrong = True
    return (f"{key} {quoted(text)} is not a date", _DATE_EXAMPLE) if wrong else None


def _zoned(head: str, text: str) -> bool | None:
    """Whether a date is in a time zone; None where it is not written as in the RFC."""
    found = _DATE.fullmatch(text)
    return None if found is None else bool(found[7]) or "TZID=" in head
