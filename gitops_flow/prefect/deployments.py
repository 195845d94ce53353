"""Deployments, their flows and their schedules: one function per thing the server can do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.errors import ApiError
from gitops_flow.prefect import lookups, shape
from gitops_flow.prefect.pages import batches, read_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gitops_flow.model import Deployment, Json, Schedule
    from gitops_flow.prefect.client import Client


def live(
    client: Client, *, names: Iterable[tuple[str, str]] | None, mark: str | None
) -> list[Deployment]:
    """What the server has: everything that carries ``mark``, and everything named.

    ``names`` holds ``(flow name, deployment name)``. With neither, all of it.
    Listing is the server's most expensive read, so nothing is listed twice:
    names are only asked for when the mark did not bring them. Where pull steps name
    release pointers, those are read, too: the deployments have both, the name and the code.

    Raises:
        ApiError: also when the server is older than those that are supported.
    """
    # Every command reads before it writes, so that none gets any further.
    _ = client.version
    if names is None and mark is None:
        return _named(
            client, read_all(client, "/deployments/filter", {}, shape.DEPLOYMENT, sort="NAME_ASC")
        )
    found: dict[str, Deployment] = {}
    if mark is not None:
        body = {"deployments": {"tags": {"all_": [mark]}}}
        owned = read_all(client, "/deployments/filter", body, shape.DEPLOYMENT, sort="NAME_ASC")
        found = {item.id or "": item for item in _named(client, owned)}
    have = {(item.flow_name, item.name) for item in found.values()}
    missing = sorted(set(names or ()) - have)
    for batch in batches(missing):
        body = {
            "flows": {"name": {"any_": sorted({flow for flow, _ in batch})}},
            "deployments": {"name": {"any_": sorted({name for _, name in batch})}},
        }
        # Flow names times deployment names is more than was asked for.
        crossed = _named(
            client, read_all(client, "/deployments/filter", body, shape.DEPLOYMENT, sort="NAME_ASC")
        )
        wanted = set(batch)
        found.update(
            (item.id or "", item) for item in crossed if (item.flow_name, item.name) in wanted
        )
    return list(found.values())


def _named(client: Client, items: Iterable[dict[str, Json]]) -> list[Deployment]:
    raw = list(items)
    by_id = {flow_id: name for name, flow_id in client.flow_ids.items()}
    unknown = sorted({item["flow_id"] for item in raw} - by_id.keys())
    for batch in batches(unknown):
        body = {"flows": {"id": {"any_": list(batch)}}}
        for flow in read_all(client, "/flows/filter", body, shape.NAMED, sort="NAME_ASC"):
            by_id[flow["id"]] = flow["name"]
            client.flow_ids[flow["name"]] = flow["id"]
    # A flow that was deleted in between took its deployments along.
    return _followed(
        client,
        [
            shape.deployment(item, by_id[item["flow_id"]])
            for item in raw
            if item["flow_id"] in by_id
        ],
    )


def _followed(client: Client, items: list[Deployment]) -> list[Deployment]:
    pointers = {name for item in items if (name := pin.pointer_of(item.pull_steps))}
    if not pointers:
        return items
    values = lookups.variables(client, pointers)
    return [replace(item, pull_steps=pin.follow(item.pull_steps, values)) for item in items]


def know_flows(client: Client, names: Iterable[str]) -> None:
    """Look the ids of flows up together, which is cheaper than creating them one by one."""
    unknown = sorted(set(names) - client.flow_ids.keys())
    if len(unknown) < 2:
        return
    for batch in batches(unknown):
        body = {"flows": {"name": {"any_": list(batch)}}}
        for flow in read_all(client, "/flows/filter", body, shape.NAMED, sort="NAME_ASC"):
            client.flow_ids[flow["name"]] = flow["id"]


def ensure_flow(client: Client, name: str) -> str:
    """The id of the flow called ``name``, created if there is none."""
    known = client.flow_ids.get(name)
    if known is None:
        known = str(client.post("/flows/", {"name": name}, shape.ID)["id"])
        client.flow_ids[name] = known
    return known


def create(client: Client, wanted: Deployment, flow_id: str) -> str:
    """Create ``wanted`` and return its id. Sent twice it still makes one deployment."""
    try:
        made = client.post("/deployments/", shape.new_deployment(wanted, flow_id), shape.ID)
    except ApiError as error:
        if error.status == 409:
            # The flow may have been deleted since its id was read.
            client.flow_ids.pop(wanted.flow_name, None)
        raise
    return str(made["id"])


def patch(client: Client, deployment_id: str, fields: Mapping[str, Json]) -> None:
    """Change ``fields``, which are the server's keys. It deletes the upcoming runs."""
    client.patch(f"/deployments/{deployment_id}", fields)


def own_limit(client: Client, deployment_id: str) -> str | None:
    """The id of the concurrency limit that the server made for this deployment alone, if any."""
    try:
        limit = client.get(f"/v2/concurrency_limits/deployment:{deployment_id}", shape.ID)
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    return str(limit["id"])


def add_schedules(
    client: Client, deployment_id: str, schedules: Sequence[Schedule], known: Collection[str]
) -> list[str]:
    """Add schedules beside those that are there, whose ids are ``known``; the new ids.

    No run is deleted.
    """
    path = f"/deployments/{deployment_id}/schedules"

    def stands() -> Json | None:
        there = client.get(path, [shape.ID])
        new = [item for item in there if item["id"] not in known]
        return new if len(new) >= len(schedules) else None

    body = [shape.new_schedule(item) for item in schedules]
    # Sent twice it would add two of each.
    return [item["id"] for item in client.post(path, body, [shape.ID], stands=stands)]


def change_schedule(
    client: Client, deployment_id: str, schedule_id: str, fields: Mapping[str, Json]
) -> None:
    """Change one schedule, which keeps its id. It deletes the deployment's upcoming runs."""
    client.patch(f"/deployments/{deployment_id}/schedules/{schedule_id}", fields)


def delete_schedule(client: Client, deployment_id: str, schedule_id: str) -> None:
    """Delete one schedule. It deletes every automatic run that has not started, late ones too."""
    client.delete(f"/deployments/{deployment_id}/schedules/{schedule_id}")


def delete(client: Client, deployment_id: str) -> None:
    """Delete a deployment, its schedules, its scheduled runs and its concurrency limit.

    Automations stay, and a limit that others share goes with it: see to both
    first. What is gone already counts as deleted.
    """
    client.delete(f"/deployments/{deployment_id}")
