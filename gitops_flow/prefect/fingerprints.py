"""What has changed on the server, of many sources at once: a digest of all that each owns."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from gitops_flow.prefect import automations, lookups, shape
from gitops_flow.prefect.pages import batches, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitops_flow.model import Json
    from gitops_flow.prefect.client import Client

# What the server itself changes: when it was written, and whether a worker has asked for runs.
_DEPLOYMENT = tuple(key.removesuffix("?") for key in shape.DEPLOYMENT)
_AUTOMATION = tuple(key.removesuffix("?") for key in shape.AUTOMATION)


def fingerprints(client: Client, pointers: Mapping[str, str]) -> dict[str, str]:
    """A digest for each mark: of its deployments, automations and release pointer.

    Args:
        client: the server.
        pointers: the names of the release pointers, by their sources' marks.

    Returns:
        Hexadecimal digests by mark, also of marks that nothing carries.

    Raises:
        ApiError: the server cannot be asked.
    """
    found: dict[str, list[str]] = {mark: [] for mark in pointers}
    for item in _marked(client, list(pointers)):
        text = json.dumps(item, sort_keys=True)
        for tag in item["tags"] or ():
            if tag in found:
                found[tag].append(text)
    values = lookups.variables(client, pointers.values())
    for mark, name in pointers.items():
        found[mark].append(json.dumps(values.get(name), sort_keys=True))
    return {
        mark: hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
        for mark, texts in found.items()
    }


def _marked(client: Client, marks: list[str]) -> Iterator[dict[str, Json]]:
    for batch in batches(marks):
        tags = {"tags": {"any_": list(batch)}}
        listed = read_all(
            client, "/deployments/filter", {"deployments": tags}, shape.DEPLOYMENT, sort="NAME_ASC"
        )
        yield from ({key: item.get(key) for key in _DEPLOYMENT} for item in listed)
        if client.can(automations.TAGS):
            ours = automations.filtered(client, {"automations": tags})
            yield from ({key: item.get(key) for key in _AUTOMATION} for item in ours)
