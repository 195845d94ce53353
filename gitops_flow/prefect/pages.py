"""Reading a ``/filter`` endpoint to its end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from gitops_flow.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gitops_flow.model import Json
    from gitops_flow.prefect.client import Client
    from gitops_flow.prefect.shape import Shape

_T = TypeVar("_T")

# Keeps a filter's text and the database's variables far from their limits.
_BATCH = 200
_LIMIT = re.compile(r"less than or equal to (\d+)")


def read_all(
    client: Client, path: str, body: Mapping[str, Json], shape: Shape, *, sort: str | None
) -> Iterator[dict[str, Json]]:
    """Every object that ``body`` selects at ``path``, each id once and as ``shape`` says.

    The server's order is not unique, so a page can repeat what the one before
    it had. A server that allows only smaller pages says so, once.
    """
    seen: set[str] = set()
    offset = 0
    order = {} if sort is None else {"sort": sort}
    while True:
        limit = client.page_limit
        try:
            page = client.post(path, {**body, **order, "limit": limit, "offset": offset}, [shape])
        except ApiError as error:
            allowed = _LIMIT.search(error.message)
            if error.status == 422 and allowed and 0 < int(allowed[1]) < limit:
                client.page_limit = int(allowed[1])
                continue
            raise
        fresh = [item for item in page if item["id"] not in seen]
        seen.update(item["id"] for item in fresh)
        yield from fresh
        if len(page) < limit:
            return
        if not fresh:
            raise ApiError("the answer repeats the page before it", where=path, retry=True)
        offset += len(page)


def batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """``items`` in portions that fit one filter."""
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
