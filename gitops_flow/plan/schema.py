"""JSON schemas as the server prepares them, each made into a validator once."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.model import Json


class Schemas:
    """Validators by schema; a manifest has many deployments and few schemas."""

    def __init__(self) -> None:
        self._pools: dict[tuple[str, bool], Any] = {}
        self._flows: dict[tuple[str, bool], Any] = {}
        self._texts: dict[int, tuple[Mapping[str, Json], str]] = {}
        self._passed: set[tuple[int, str]] = set()

    def job_variables(self, pool: str, schema: Mapping[str, Json], *, strict: bool) -> Any:
        """For the variables of ``pool``; ``strict`` as an update is checked."""
        key = pool, strict
        if key not in self._pools:
            self._pools[key] = _validator(prepared(schema, none_with_default=not strict))
        return self._pools[key]

    def parameters(self, schema: Mapping[str, Json], *, processed: bool) -> Any:
        """For a flow's parameters; ``processed`` as an update is checked."""
        key = self._text(schema), processed
        if key not in self._flows:
            ready = prepared(schema) if processed else _not_required(schema)
            self._flows[key] = _validator(ready)
        return self._flows[key]

    def errors(self, validator: Any, given: Json) -> list[Any]:
        """Every way in which ``given`` breaks a schema; none when the schema itself is broken."""
        key = id(validator), json.dumps(given, default=lambda _: "?")
        # Deployments of one manifest often have the same job variables.
        if key in self._passed:
            return []
        try:
            found = list(validator.iter_errors(_plain(given)))
        except Exception:  # noqa: BLE001 - what nobody can follow is the server's to refuse
            return []
        if not found:
            self._passed.add(key)
        return found

    def _text(self, schema: Mapping[str, Json]) -> str:
        # The schema is kept, so that its id is not given to another.
        known = self._texts.get(id(schema))
        if known is None:
            known = schema, json.dumps(schema, sort_keys=True, default=str)
            self._texts[id(schema)] = known
        return known[1]


def prepared(schema: Mapping[str, Json], *, none_with_default: bool = False) -> dict[str, Json]:
    """``schema`` as the server reads it: mended where old pydantic wrote it, nothing required."""
    mended = deepcopy(dict(schema))
    _mend(mended, none_with_default)
    definitions = mended.get("definitions")
    for definition in list(definitions.values()) if isinstance(definitions, dict) else ():
        _mend(definition, none_with_default)
        if "block_type_slug" in definition and isinstance(definitions, dict):
            definitions[definition.get("title", "")] = {"oneOf": [definition, _BLOCK_REFERENCE]}
    ready: dict[str, Json] = _not_required(mended)
    return ready


def _plain(value: Json) -> Json:
    # Tuples are lists to the server, but not to its validator.
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


_BLOCK_REFERENCE: dict[str, Json] = {
    "type": "object",
    "properties": {
        "$ref": {
            "oneOf": [
                {"type": "string", "format": "uuid"},
                {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "minProperties": 1,
                },
            ]
        }
    },
    "required": ["$ref"],
}


def _mend(schema: Json, none_with_default: bool) -> None:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return
    required = schema.get("required") or ()
    for name, part in properties.items():
        if not isinstance(part, dict):
            continue
        optional = name not in required and ("default" not in part or none_with_default)
        if optional and part.get("type", "null") != "null":
            part["anyOf"] = [{"type": part.pop("type")}, {"type": "null"}]
        if isinstance(part.get("items"), list) and part["items"] and not part.get("prefixItems"):
            part["prefixItems"] = part.pop("items")
        _mend(part, none_with_default)


def _not_required(schema: Json) -> Any:
    # Like the server's own, this does not look into lists.
    if not isinstance(schema, dict):
        return schema
    return {key: _not_required(value) for key, value in schema.items() if key != "required"}


def _validator(schema: dict[str, Json]) -> Any:
    # Loaded only when something is to be checked: it costs as much as a small deploy.
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from referencing import Registry

    # An empty registry: nothing is ever fetched.
    return Draft202012Validator(schema, registry=Registry())
