"""The options that put values in place of the manifest's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.manifest import Override


def read(given: Mapping[str, Any]) -> tuple[Override, ...]:
    """The overrides that a command's parameters ask for.

    Raises:
        UsageError: an option that has no key, or is no JSON.
    """
    from gitops_flow.manifest import Override

    params, timezone = given.get("params"), given.get("timezone")
    if params is not None and given.get("param"):
        raise UsageError("--param and --params exclude each other", hint="write all in --params")
    variables: dict[str, Any] = {}
    for text in given.get("job_variable") or ():
        key, equals, value = text.partition("=")
        # Prefect looks for "=" first, but a JSON object may hold one.
        whole = text.lstrip().startswith("{") or not equals
        variables |= _mapping("--job-variable", text) if whole else {key: value}
    parameters = _mapping("--params", params) if params is not None else {}
    for text in given.get("param") or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--param: {text!r} is not KEY=VALUE", hint="write --param day=1")
        parameters[key] = _json(value)
    schedules = [
        (kind, value) for kind in ("cron", "interval", "rrule") for value in given.get(kind) or ()
    ]
    if timezone and not schedules:
        raise UsageError("--timezone needs --cron, --interval or --rrule")
    zone = {"timezone": timezone} if timezone else {}
    plain = (
        (("work_pool", "name"), given.get("pool"), "--pool"),
        (("work_pool", "work_queue_name"), given.get("work_queue"), "--work-queue"),
        (("version",), given.get("version"), "--version"),
        (("description",), given.get("description"), "--description"),
        (("tags",), given.get("set_tag") or None, "--set-tag"),
    )
    param = "--params" if params is not None else "--param"
    return (
        *(Override(path, value, option) for path, value, option in plain if value is not None),
        *(Override(("parameters", key), value, param) for key, value in parameters.items()),
        *(
            Override(("work_pool", "job_variables", key), value, "--job-variable")
            for key, value in variables.items()
        ),
        *(
            Override(("schedules",), {kind: value, **zone}, f"--{kind}")
            for kind, value in schedules
        ),
    )


def _json(text: str) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _mapping(option: str, text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        hint = "write KEY=VALUE or a JSON object" if option == "--job-variable" else None
        raise UsageError(f"{option}: {_beginning(text)} is not a JSON object", hint=hint)
    return value


def _beginning(text: str) -> str:
    """The beginning of what was given, in quotes."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
