"""Work pools, variables and blocks on a server, made up for one manifest and removed after it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gitops_flow.errors import ApiError

if TYPE_CHECKING:
    from tests.support.differential import Call
    from tools.corpus.survey import Survey

# In the order of preference when several fit as well.
_TYPES = ("process", "docker", "kubernetes", "ecs")


def make(ask: Call, needs: Survey) -> None:
    """Make what ``needs`` names; what the server refuses stays absent for both."""
    templates = _templates(ask)
    for name, used in needs.pools.items():
        kind = _kind(templates, name, used)
        body = {"name": name, "type": kind, "base_job_template": templates[kind]}
        with contextlib.suppress(ApiError):
            ask("POST", "/work_pools/", body)
    for name in needs.variables:
        with contextlib.suppress(ApiError):
            ask("POST", "/variables/", {"name": name, "value": f"made-up-{name}"})
    documents: dict[tuple[str, str], dict[str, Any]] = {}
    for slug, name, path in needs.blocks:
        data = documents.setdefault((slug, name), {})
        if path:
            data[path.split(".")[0].split("[")[0]] = f"made-up-{name}"
    for (slug, name), data in documents.items():
        _block(ask, slug, name, data or {"value": f"made-up-{name}"})


def clear(ask: Call) -> None:
    """Remove every deployment with what belongs to it."""
    for kind in ("automations", "flows"):
        while items := ask("POST", f"/{kind}/filter", {"limit": 200}):
            for item in items:
                _gone(ask, f"/{kind}/{item['id']}")


def remove(ask: Call) -> None:
    """Remove everything that :func:`make` made, and every deployment."""
    clear(ask)
    for pool in ask("POST", "/work_pools/filter", {"limit": 200}):
        _gone(ask, f"/work_pools/{quote(pool['name'], safe='')}")
    for kind in ("variables", "block_documents"):
        for item in ask("POST", f"/{kind}/filter", {"limit": 200}):
            _gone(ask, f"/{kind}/{item['id']}")


def _gone(ask: Call, path: str) -> None:
    try:
        ask("DELETE", path)
    except ApiError as error:
        if error.status != 404:
            raise


def _templates(ask: Call) -> dict[str, dict[str, Any]]:
    packages = ask("GET", "/collections/views/aggregate-worker-metadata")
    return {
        kind: item["default_base_job_configuration"]
        for kinds in packages.values()
        for kind, item in kinds.items()
    }


def _kind(templates: dict[str, dict[str, Any]], name: str, used: set[str]) -> str:
    """The type of pool whose variables fit best, one that the name says before others."""

    def fit(kind: str) -> tuple[int, bool, int]:
        known = templates[kind]["variables"]["properties"]
        order = _TYPES.index(kind) if kind in _TYPES else len(_TYPES)
        return len(used & known.keys()), kind in name, -order

    return max(templates, key=fit)


def _block(ask: Call, slug: str, name: str, data: dict[str, Any]) -> None:
    with contextlib.suppress(ApiError):
        ask("POST", "/block_types/", {"name": slug, "slug": slug})
    kind = ask("GET", f"/block_types/slug/{slug}")["id"]
    query = {"block_schemas": {"block_type_id": {"any_": [kind]}}, "limit": 1}
    found = ask("POST", "/block_schemas/filter", query)
    if not found:
        fields = {"title": slug, "type": "object", "properties": {key: {} for key in data}}
        found = [ask("POST", "/block_schemas/", {"fields": fields, "block_type_id": kind})]
    body = {"name": name, "data": data, "block_type_id": kind, "block_schema_id": found[0]["id"]}
    with contextlib.suppress(ApiError):
        ask("POST", "/block_documents/", body)
