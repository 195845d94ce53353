"""Blocks and variables: what a manifest takes from the server, and release pointers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import quote

from gitops_flow.errors import ApiError
from gitops_flow.model import POINTER_PREFIX
from gitops_flow.prefect import shape
from gitops_flow.prefect.pages import batches, read_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.model import Json
    from gitops_flow.prefect.client import Client


def blocks(client: Client, names: Iterable[tuple[str, str]]) -> dict[str, Json]:
    """The data of block documents, secrets in clear, by ``slug/name``.

    ``names`` holds ``(type slug, document name)``; one that the server does
    not have is missing from the answer.
    """
    found: dict[str, Json] = {}
    for slug, name in sorted(set(names)):
        path = (
            f"/block_types/slug/{quote(slug, safe='')}/block_documents/name/{quote(name, safe='')}"
        )
        try:
            document = client.get(f"{path}?include_secrets=true", {"data?": object})
        except ApiError as error:
            if error.status != 404:
                raise
            continue
        found[f"{slug}/{name}"] = document.get("data")
    return found


def variables(client: Client, names: Iterable[str]) -> dict[str, Json]:
    """The values of Prefect variables by name; one that is not there is missing."""
    found: dict[str, Json] = {}
    for batch in batches(sorted(set(names))):
        body = {"variables": {"name": {"any_": list(batch)}}}
        for item in read_all(client, "/variables/filter", body, shape.NAMED, sort="NAME_ASC"):
            found[item["name"]] = item.get("value")
    return found


def pointers(client: Client) -> dict[str, Json]:
    """The values of all release pointers of the server by name, whoever's they are."""
    body = {"variables": {"name": {"like_": POINTER_PREFIX}}}
    listed = read_all(client, "/variables/filter", body, shape.NAMED, sort="NAME_ASC")
    return {
        item["name"]: item.get("value")
        for item in listed
        if item["name"].startswith(POINTER_PREFIX)
    }


def set_variable(client: Client, name: str, value: Json) -> None:
    """Give a variable another value with one write; it is made where there is none."""
    path = f"/variables/name/{quote(name, safe='')}"
    try:
        client.patch(path, {"value": value})
    except ApiError as error:
        if error.status != 404:
            raise
        try:
            client.post("/variables/", {"name": name, "value": value, "tags": ["gitflow"]})
        except ApiError as made:
            # Somebody else made it meanwhile, or an answer was lost.
            if made.status != 409:
                raise
            client.patch(path, {"value": value})


def delete_variable(client: Client, name: str) -> None:
    """Delete a variable; what is gone already counts as deleted."""
    client.delete(f"/variables/name/{quote(name, safe='')}")


def existing_blocks(client: Client, names: Iterable[tuple[str, str]]) -> set[str]:
    """Which of the blocks ``(type slug, document name)`` there are, as ``slug/name``.

    Nothing that is in them is read.
    """
    wanted = {f"{slug}/{name}" for slug, name in names}
    found: set[str] = set()
    for batch in batches(sorted({name.partition("/")[2] for name in wanted})):
        body = {"block_documents": {"name": {"any_": list(batch)}}}
        listed = read_all(client, "/block_documents/filter", body, shape.BLOCK, sort=None)
        found.update(map(_block_name, listed))
    return found & wanted


def _block_name(item: dict[str, Json]) -> str:
    return f"{(item.get('block_type') or {}).get('slug')}/{item.get('name')}"


def block_names(client: Client) -> list[str]:
    """What blocks there are, as ``slug/name``; no more than one answer of the server holds."""
    listed = read_all(client, "/block_documents/filter", {}, shape.BLOCK, sort=None)
    found = islice(listed, client.page_limit)
    return list(map(_block_name, found))


def variable_names(client: Client) -> list[str]:
    """What variables there are; no more than one answer of the server holds."""
    listed = read_all(client, "/variables/filter", {}, shape.NAMED, sort="NAME_ASC")
    found = islice(listed, client.page_limit)
    return [str(item.get("name")) for item in found]
