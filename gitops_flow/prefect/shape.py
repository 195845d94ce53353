"""The server's JSON to our values and back, and what that JSON must look like. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gitops_flow import pin
from gitops_flow.model import Deployment, Json, Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What an answer must look like: a type; a list whose only item is each item's shape;
# a mapping with a shape for each key, where "key?" may be missing; a tuple of shapes of
# which one must fit; None for null. Keys that are not named may hold anything.
Shape = Any
TEXT = (str, None)
OBJECT = (dict, None)
ID = {"id": str}
INSTANT = "a date"
NAMED = {**ID, "name": str}
_SCHEDULE = {
    **ID,
    "schedule?": (
        {
            "cron?": TEXT,
            "interval?": (float, None),
            "anchor_date?": TEXT,
            "rrule?": TEXT,
            "timezone?": TEXT,
            "day_or?": (bool, None),
        },
        None,
    ),
    "active?": (bool, None),
    "parameters?": OBJECT,
    "slug?": TEXT,
}
DEPLOYMENT = {
    **NAMED,
    "flow_id": str,
    **{f"{key}?": TEXT for key in ("entrypoint", "path", "description", "version")},
    **{f"{key}?": TEXT for key in ("work_pool_name", "work_queue_name")},
    **{f"{key}?": OBJECT for key in ("parameters", "job_variables", "concurrency_options")},
    "parameter_openapi_schema?": OBJECT,
    "enforce_parameter_schema?": (bool, None),
    "paused?": (bool, None),
    "tags?": ([str], None),
    "schedules?": ([_SCHEDULE], None),
    "global_concurrency_limit?": ({"limit?": (int, None), "name?": TEXT}, None),
    "pull_steps?": ([dict], None),
}
_TRIGGER: dict[str, Shape] = {"type?": TEXT}
_TRIGGER["triggers?"] = ([_TRIGGER], None)
AUTOMATION = {
    **NAMED,
    "trigger": _TRIGGER,
    "actions?": (
        [
            {
                "type?": TEXT,
                "deployment_id?": TEXT,
                "parameters?": OBJECT,
                "job_variables?": OBJECT,
                "schedule_after?": (float, None),
            }
        ],
        None,
    ),
    "description?": TEXT,
    "enabled?": (bool, None),
    "tags?": ([str], None),
}
RUN = {
    **ID,
    "deployment_id?": TEXT,
    "state_type?": TEXT,
    "state_name?": TEXT,
    "run_count?": (int, None),
    "auto_scheduled?": (bool, None),
    "created_by?": ({"id?": TEXT}, None),
    "next_scheduled_start_time?": (INSTANT, None),
}
WORK_POOL = {**NAMED, "base_job_template?": ({"variables?": OBJECT}, None)}
BLOCK = {**ID, "name?": TEXT, "block_type?": ({"slug?": TEXT}, None)}
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}

# Our attribute names to the keys of the server's PATCH, where a plain value is sent.
_KEYS = {
    "description": "description",
    "version": "version",
    "entrypoint": "entrypoint",
    "path": "path",
    "parameters": "parameters",
    "parameter_schema": "parameter_openapi_schema",
    "enforce_parameter_schema": "enforce_parameter_schema",
    "job_variables": "job_variables",
    "paused": "paused",
    "concurrency_limit": "concurrency_limit",
    "concurrency_options": "concurrency_options",
}
# Every pool has this queue.
DEFAULT_QUEUE = "default"
_SPEC_KEYS = ("cron", "day_or", "interval", "anchor_date", "rrule", "timezone")


def mismatch(value: Json, shape: Shape, place: str = "") -> str | None:
    """What of ``value`` is not as ``shape`` says, with its place; None when all is.

    Values are not shown: they may be secrets.
    """
    if isinstance(shape, tuple):
        told = [mismatch(value, each, place) for each in shape]
        return None if None in told else told[0]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _not(place, "a list")
        inner = (mismatch(item, shape[0], f"{place}[{at}]") for at, item in enumerate(value))
        return next((each for each in inner if each), None)
    if isinstance(shape, dict):
        return _object_mismatch(value, shape, place)
    if shape is None:
        return _not(place, "null") if value is not None else None
    if shape == INSTANT:
        return None if _is_instant(value) else _not(place, INSTANT)
    if shape is object:
        return None
    fits = isinstance(value, int | float) if shape is float else isinstance(value, shape)
    # In Python, but not in JSON, true is a number.
    if fits and not (isinstance(value, bool) and shape in (int, float)):
        return None
    return _not(place, _KINDS.get(shape, "an object"))


def _object_mismatch(value: Json, shape: dict[str, Shape], place: str) -> str | None:
    if not isinstance(value, dict):
        return _not(place, "an object")
    for key, inner in shape.items():
        name = key.removesuffix("?")
        where = f"{place}.{name}" if place else name
        if name in value:
            if wrong := mismatch(value[name], inner, where):
                return wrong
        elif name == key:
            return f"{where} is missing"
    return None


def _not(place: str, what: str) -> str:
    return f"{place or 'it'} is not {what}"


def _is_instant(value: Json) -> bool:
    try:
        return isinstance(value, str) and bool(instant(value))
    except (ValueError, OverflowError):
        return False


def instant(text: str) -> datetime:
    """A date of the server's, aware; one without an offset is in UTC."""
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)


def deployment(data: Mapping[str, Json], flow_name: str) -> Deployment:
    """A ``DeploymentResponse`` as a live deployment."""
    limit = data.get("global_concurrency_limit") or {}
    steps = data.get("pull_steps")
    return Deployment(
        flow_name=flow_name,
        name=data["name"],
        entrypoint=data.get("entrypoint"),
        path=data.get("path"),
        description=data.get("description"),
        version=data.get("version"),
        tags=tuple(data.get("tags") or ()),
        parameters=data.get("parameters") or {},
        parameter_schema=data.get("parameter_openapi_schema"),
        enforce_parameter_schema=bool(data.get("enforce_parameter_schema", True)),
        work_pool=data.get("work_pool_name"),
        work_queue=data.get("work_queue_name"),
        job_variables=data.get("job_variables") or {},
        schedules=tuple(schedule(item) for item in data.get("schedules") or ()),
        paused=bool(data.get("paused", False)),
        # The plain field is always null on read; the value is in the limit's own object.
        concurrency_limit=limit.get("limit"),
        concurrency_options=data.get("concurrency_options"),
        limit_is_shared=bool(limit) and limit.get("name") != f"deployment:{data['id']}",
        pull_steps=None if steps is None else tuple(steps),
        id=data["id"],
        flow_id=data["flow_id"],
    )


def schedule(data: Mapping[str, Json]) -> Schedule:
    """A ``DeploymentSchedule`` as a live schedule."""
    spec = data.get("schedule") or {}
    return Schedule(
        spec={key: spec[key] for key in _SPEC_KEYS if spec.get(key) is not None},
        active=bool(data.get("active", True)),
        parameters=data.get("parameters") or {},
        slug=data.get("slug"),
        id=data["id"],
    )


def new_schedule(wanted: Schedule) -> dict[str, Json]:
    """The item that creates a schedule."""
    item: dict[str, Json] = {
        "schedule": wanted.spec,
        "active": wanted.active is not False,
        "parameters": wanted.parameters,
    }
    if wanted.slug is not None:
        item["slug"] = wanted.slug
    return item


def schedule_change(wanted: Schedule, *, spec: Mapping[str, Json] | None) -> dict[str, Json]:
    """The body that changes a schedule in place; ``spec`` None leaves its times as they are.

    Parameters are always sent: the server resets absent ones.
    """
    item: dict[str, Json] = {"parameters": wanted.parameters}
    if spec is not None:
        item["schedule"] = dict(spec)
    if wanted.active is not None:
        item["active"] = wanted.active
    if wanted.slug is not None:
        item["slug"] = wanted.slug
    return item


def new_deployment(wanted: Deployment, flow_id: str) -> dict[str, Json]:
    """The body that creates ``wanted``.

    ``enforce_parameter_schema`` is always in it: without it the server stores
    true and checks nothing. So is a schema: servers before 3.4 store none of
    themselves, and then refuse every change.
    """
    fields = ["enforce_parameter_schema", "parameters", "job_variables"]
    optional = ("description", "version", "entrypoint", "path")
    fields += [name for name in optional if getattr(wanted, name) is not None]
    if wanted.concurrency_limit is not None:
        fields.append("concurrency_limit")
    if wanted.concurrency_options is not None:
        fields.append("concurrency_options")
    body: dict[str, Json] = {
        "name": wanted.name,
        "flow_id": flow_id,
        **{_KEYS[name]: getattr(wanted, name) for name in fields},
        "parameter_openapi_schema": _schema(wanted),
        "tags": list(wanted.tags),
        "paused": wanted.paused is True,
        "schedules": [new_schedule(item) for item in wanted.schedules],
    }
    if wanted.pull_steps is not None:
        body["pull_steps"] = pin.stored(wanted.pull_steps)
    if wanted.work_pool is not None or wanted.work_queue is not None:
        body.update(_place(wanted))
    return body


def _schema(wanted: Deployment) -> dict[str, Json]:
    if wanted.parameter_schema is None:
        return {"type": "object", "properties": {}}  # What newer servers fill in.
    return wanted.parameter_schema


def changes(wanted: Deployment, fields: Iterable[str]) -> dict[str, Json]:
    """The PATCH body that makes ``fields`` (our attribute names) as ``wanted`` has them.

    Pool and queue always go together, since either alone moves the deployment
    to a default; job variables take the pool along, since only then are they
    checked against its template. Pull steps take along what has to fit the code, so
    that of two that deploy at once no write mixes both.
    """
    names = set(fields)
    if "pull_steps" in names:
        fitting = {"entrypoint", "parameter_schema"} - {*wanted.ignored, *wanted.unknown}
        names |= {name for name in fitting if getattr(wanted, name) is not None}
    body = {key: getattr(wanted, name) for name, key in _KEYS.items() if name in names}
    if "tags" in names:
        body["tags"] = list(wanted.tags)
    if "pull_steps" in names:
        body["pull_steps"] = pin.stored(wanted.pull_steps)
    if names & {"work_pool", "work_queue", "job_variables"}:
        body.update(_place(wanted))
    return body


def _place(wanted: Deployment) -> dict[str, Json]:
    if wanted.work_pool is not None:
        return {
            "work_pool_name": wanted.work_pool,
            "work_queue_name": wanted.work_queue or DEFAULT_QUEUE,
        }
    if wanted.work_queue is not None:
        return {"work_queue_name": wanted.work_queue}
    return {"work_pool_name": None}
