"""Work pools: reading what they check, and making them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from gitops_flow.errors import ApiError
from gitops_flow.prefect import shape
from gitops_flow.prefect.pages import batches, read_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.model import Json
    from gitops_flow.prefect.client import Client

# Enough for a process worker; used when the server cannot show its own template.
_PROCESS_TEMPLATE: dict[str, Json] = {
    "job_configuration": {
        "command": "{{ command }}",
        "env": "{{ env }}",
        "labels": "{{ labels }}",
        "name": "{{ name }}",
        "stream_output": "{{ stream_output }}",
        "working_dir": "{{ working_dir }}",
    },
    "variables": {
        "type": "object",
        "properties": {
            "name": {"title": "Name", "anyOf": [{"type": "string"}, {"type": "null"}]},
            "env": {
                "title": "Environment Variables",
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "labels": {
                "title": "Labels",
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
            "command": {"title": "Command", "anyOf": [{"type": "string"}, {"type": "null"}]},
            "stream_output": {"title": "Stream Output", "type": "boolean", "default": True},
            "working_dir": {
                "title": "Working Directory",
                "anyOf": [{"type": "string", "format": "path"}, {"type": "null"}],
            },
        },
    },
}


def pool_variables(client: Client, names: Iterable[str]) -> dict[str, dict[str, Json]]:
    """The JSON schema of the job variables of each pool in ``names`` that the server has.

    It is empty for a pool that checks nothing.
    """
    found: dict[str, dict[str, Json]] = {}
    for batch in batches(sorted(set(names))):
        body = {"work_pools": {"name": {"any_": list(batch)}}}
        for pool in read_all(client, "/work_pools/filter", body, shape.WORK_POOL, sort=None):
            template = pool.get("base_job_template") or {}
            found[pool["name"]] = template.get("variables") or {}
    return found


def queue_names(client: Client, pool: str) -> list[str]:
    """The names of the queues of a work pool."""
    path = f"/work_pools/{quote(pool, safe='')}/queues/filter"
    return [item["name"] for item in read_all(client, path, {}, shape.NAMED, sort=None)]


def create_work_pool(client: Client, name: str, *, kind: str = "process") -> None:
    """Create a work pool with the default job template of its kind.

    One that somebody else has created meanwhile is left as it is.
    """
    body = {"name": name, "type": kind, "base_job_template": _template(client, kind)}
    try:
        client.post("/work_pools/", body)
    except ApiError as error:
        if error.status != 409:
            raise


def _template(client: Client, kind: str) -> dict[str, Json]:
    try:
        packages = client.get("/collections/views/aggregate-worker-metadata")
    except ApiError as error:
        if error.status is None:
            raise
        packages = None
    for types in packages.values() if isinstance(packages, dict) else ():
        found = types.get(kind) if isinstance(types, dict) else None
        template = found.get("default_base_job_configuration") if isinstance(found, dict) else None
        if isinstance(template, dict):
            return template
    if kind == "process":
        return _PROCESS_TEMPLATE
    raise ApiError(
        f"the Prefect server has no default job template for work pools of type {kind!r}",
        hint="create the pool with `prefect work-pool create`",
    )
