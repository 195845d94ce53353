"""Free-form values as the JSON that Prefect makes of them."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from gitops_flow.manifest.wording import quoted, shortened

if TYPE_CHECKING:
    from collections.abc import Hashable

    from gitops_flow.manifest.report import Report

    Path = tuple[Hashable, ...]

_STEPS = ("build", "push", "pull")
# Python writes no number of more than 4,300 digits as text.
_MOST_BITS = 10_000


def manifest(raw: dict[Any, Any], report: Report) -> dict[Any, Any]:
    """``raw`` with all that is free-form as JSON values; what has none is reported."""
    result: dict[Any, Any] = _sections(raw, _STEPS, (), report)
    listed = raw.get("deployments")
    if isinstance(listed, list):
        result["deployments"] = [
            _deployment(item, ("deployments", number), report) for number, item in enumerate(listed)
        ]
    return result


def _deployment(item: Any, path: Path, report: Report) -> Any:
    if not isinstance(item, dict):
        return item
    result = _sections(item, ("parameters", "triggers", "tags", "sla", *_STEPS), path, report)
    if isinstance(pool := item.get("work_pool"), dict):
        inner = (*path, "work_pool")
        result["work_pool"] = _sections(pool, ("job_variables",), inner, report)
    if isinstance(schedules := item.get("schedules"), list):
        result["schedules"] = [
            _sections(each, ("parameters",), (*path, "schedules", number), report)
            for number, each in enumerate(schedules)
        ]
    if "schedule" in item:
        inner = (*path, "schedule")
        result["schedule"] = _sections(item["schedule"], ("parameters",), inner, report)
    return result


def _sections(raw: Any, names: tuple[str, ...], path: Path, report: Report) -> Any:
    if not isinstance(raw, dict):
        return raw
    return {
        key: _plain(value, (*path, key), report, top=True) if key in names else value
        for key, value in raw.items()
    }


def _plain(value: Any, path: Path, report: Report, *, top: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            # At the top the models judge the key themselves.
            key if top else _key(key, (*path, key), report): _plain(inner, (*path, key), report)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_plain(inner, (*path, at), report) for at, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        report.error(path, f"{value} is not a number in JSON", "use a finite number, or text")
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        report.error(path, "the number is too large to be sent", "write it as text")
    elif isinstance(value, bytes):
        report.error(path, "binary data has no place in JSON", "write it as text")
    elif isinstance(value, datetime.date) and not top:
        return to_jsonable_python(value)
    return value


def _key(key: Any, path: Path, report: Report) -> str:
    if isinstance(key, str):
        return str(key)
    text = "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)
    hint = "put it in quotes to say so"
    report.key(
        path, f"key {shortened(text)} is not text; it is sent as {quoted(text)}", hint, "warning"
    )
    return text
