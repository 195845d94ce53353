"""Automations that run a deployment: one function per thing the server can do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from gitops_flow.model import MARK_PREFIX, Automation
from gitops_flow.prefect import shape
from gitops_flow.prefect.pages import batches, read_all

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from gitops_flow.model import Json
    from gitops_flow.prefect.client import Client

_ACTION = "run-deployment"
TAGS = "automation tags"


def live_automations(
    client: Client, mark: str, *, unmarked: Iterable[str] = (), names: Iterable[str] = ()
) -> dict[str, tuple[Automation, ...]]:
    """The automations that run deployments, by the deployment's id.

    One listing finds those that carry ``mark``. ``unmarked`` are the ids of
    deployments that are about to get it: whatever runs one of these is read as
    well, one request each, since the server cannot be asked who made it.
    ``names`` are those that are desired: one that was made while the server had
    no tags for automations is found by its name.
    """
    found: dict[str, dict[str, Automation]] = {}
    adopted = set(unmarked)
    for item in _listed(client, mark, adopted, sorted(set(names))):
        made = automation(item, tagged=client.can(TAGS))
        if made is not None and (mark in made[1].tags or made[0] in adopted):
            found.setdefault(made[0], {})[made[1].id or ""] = made[1]
    return {key: tuple(items.values()) for key, items in found.items()}


def _listed(client: Client, mark: str, unmarked: Iterable[str], names: list[str]) -> Iterator[Json]:
    if not client.can(TAGS):
        # All there are: the mark is in a description, which no filter looks at.
        yield from filtered(client, {})
        return
    # One that tells no version, as Prefect Cloud, has not just been upgraded from an old one.
    for batch in list(batches(names if client.version else [])) or [[]]:
        ours: dict[str, Json] = {"tags": {"all_": [mark]}}
        if batch:
            ours |= {"operator": "or_", "name": {"any_": list(batch)}}
        yield from filtered(client, {"automations": ours})
    for deployment_id in unmarked:
        yield from _related(client, deployment_id)


def filtered(client: Client, body: dict[str, Json]) -> Iterator[Json]:
    """The automations that ``body`` selects, as the server has them."""
    return read_all(client, "/automations/filter", body, shape.AUTOMATION, sort="NAME_ASC")


def _related(client: Client, deployment_id: str) -> Json:
    return client.get(f"/automations/related-to/{_owner(deployment_id)}", [shape.AUTOMATION])


def create_automation(
    client: Client,
    deployment_id: str,
    wanted: Automation,
    tags: Iterable[str],
    known: Collection[str] = (),
) -> str:
    """Make ``wanted`` for a deployment, which owns it from then on; the new id.

    ``known`` are the ids of those that run the deployment already.
    """
    body = _body(wanted, deployment_id, tags, tagged=client.can(TAGS))

    def stands() -> Json | None:
        new = (item for item in _related(client, deployment_id) if item["id"] not in known)
        return next((item for item in new if item["name"] == wanted.name), None)

    # Sent twice it would make two: names need not be unique.
    body["owner_resource"] = _owner(deployment_id)
    return str(client.post("/automations/", body, shape.ID, stands=stands)["id"])


def replace_automation(
    client: Client,
    deployment_id: str,
    automation_id: str,
    wanted: Automation,
    tags: Iterable[str],
) -> None:
    """Make a live automation as ``wanted``; it keeps its id and its owner."""
    client.put(
        f"/automations/{automation_id}",
        _body(wanted, deployment_id, tags, tagged=client.can(TAGS)),
    )


def delete_automation(client: Client, automation_id: str) -> None:
    """Delete one; what is gone already counts as deleted."""
    client.delete(f"/automations/{automation_id}")


def delete_owned_automations(client: Client, deployment_id: str) -> None:
    """Delete every automation that a deployment owns, ours and those of ``prefect deploy``.

    One that somebody made in the UI is nobody's property and stays.
    """
    client.delete(f"/automations/owned-by/{_owner(deployment_id)}")


def automation(data: Mapping[str, Json], *, tagged: bool) -> tuple[str, Automation] | None:
    """The server's automation and the deployment that it runs; None when it does anything else.

    ``tagged``: the server has tags for automations. One that was made while it
    had none still has its mark in the description; it is left there, so that
    the automation differs from every desired one and is written with tags.
    """
    actions = data.get("actions") or []
    if len(actions) != 1 or data.get("actions_on_trigger") or data.get("actions_on_resolve"):
        return None
    (action,) = actions
    deployment_id = action.get("deployment_id")
    if action.get("type") != _ACTION or not deployment_id:
        return None
    description, marks = _split(data.get("description") or "")
    made = Automation(
        name=data["name"],
        trigger=_without_ids(data["trigger"]),
        description=data.get("description") or "" if tagged else description,
        enabled=bool(data.get("enabled", True)),
        parameters=action.get("parameters"),
        job_variables=action.get("job_variables"),
        schedule_after=float(action.get("schedule_after") or 0.0),
        tags=(*(data.get("tags") or ()), *marks),
        id=data["id"],
    )
    return str(deployment_id), made


def _without_ids(trigger: Mapping[str, Json]) -> dict[str, Json]:
    # Made anew by every write.
    kept = {key: value for key, value in trigger.items() if key != "id"}
    if kept.get("triggers") is not None:
        kept["triggers"] = [_without_ids(inner) for inner in kept["triggers"]]
    return kept


def _split(description: str) -> tuple[str, tuple[str, ...]]:
    """A description without the marks at its end, and those marks."""
    lines = description.split("\n")
    marks: list[str] = []
    while lines and lines[-1].startswith(MARK_PREFIX):
        marks.insert(0, lines.pop())
    return "\n".join(lines), tuple(marks)


def _body(
    wanted: Automation, deployment_id: str, tags: Iterable[str], *, tagged: bool
) -> dict[str, Json]:
    action = {
        "type": _ACTION,
        "source": "selected",
        "deployment_id": deployment_id,
        "parameters": wanted.parameters,
        "job_variables": wanted.job_variables,
        "schedule_after": wanted.schedule_after,
    }
    bookkeeping: dict[str, Json] = {"description": wanted.description, "tags": list(tags)}
    if not tagged:
        # The marks are lines at the description's end instead.
        bookkeeping = {"description": "\n".join((wanted.description, *tags))}
    return {
        "name": wanted.name,
        **bookkeeping,
        "enabled": wanted.enabled is not False,
        "trigger": wanted.trigger,
        "actions": [action],
        "actions_on_trigger": [],
        "actions_on_resolve": [],
    }


def _owner(deployment_id: str) -> str:
    return quote(f"prefect.deployment.{deployment_id}", safe="")
