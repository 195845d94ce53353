"""JSON schemas as the server prepares them, and in plain words what breaks one.

A complaint shows no value that is secret.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from gitops_flow.names import did_you_mean
from gitops_flow.plan.words import value_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gitops_flow.model import Json

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
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_MOST = 8
# Of a wrong kind it helps to know the kind, of a wrong size the size, of all else the value.
_KINDS = ("type", "anyOf", "oneOf")
_SIZES = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")


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
            errors = list(validator.iter_errors(_plain(given)))
        except Exception:  # noqa: BLE001 - what nobody can follow is the server's to refuse
            return []
        if not errors:
            self._passed.add(key)
        return errors

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


def place(error: Any) -> tuple[str | int, ...]:
    """Keys and indexes that lead to what a ``jsonschema`` error is about."""
    return tuple(_deepest(error).absolute_path)


def complaint(
    error: Any, field: str, owner: str, shown: Callable[[str, str], str | None]
) -> tuple[str, str | None]:
    """What a ``jsonschema`` error says, as message and hint.

    Args:
        error: its ValidationError.
        field: the deployment's field, with which the path starts.
        owner: who wants it so, such as ``work pool 'p'``.
        shown: the text of a value at a path without what is secret in it; None when all is.
    """
    inner = _deepest(error)
    path = _path(field, inner.absolute_path)
    if inner.validator == "additionalProperties" and isinstance(inner.schema, dict):
        known = list(inner.schema.get("properties") or {})
        extra = [name for name in inner.instance if name not in known]
        hint = did_you_mean(str(extra[0]), map(str, known), 0.7) if extra else None
        names = ", ".join(repr(name) for name in extra[:_MOST])
        return f"{path}: unknown to {owner}: {names}", hint
    expected = _expected(inner.validator, inner.validator_value)
    if inner.validator == "uniqueItems":
        return f"{path}: {owner} expects {expected}", None
    return f"{path}: {owner} expects {expected}, not {_there(inner, path, shown)}", _hint(inner)


def _there(error: Any, path: str, shown: Callable[[str, str], str | None]) -> str:
    """What stands there, in the terms of what was expected: its kind, its size, or itself."""
    value, validator = error.instance, error.validator
    if validator in _SIZES:
        return str(len(value))
    if validator in _KINDS or isinstance(value, dict | list | tuple) or value is None:
        return kind_of(value)
    if isinstance(value, str) and "{{" in value:
        return kind_of(value)
    return shown(path, repr(value) if isinstance(value, str) else value_text(value)) or "this value"


def kind_of(value: Json) -> str:
    """What sort of value it is; never the value."""
    if isinstance(value, str) and "{{" in value:
        return "a placeholder, which is text"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (str, "text"),
        (int, "a whole number"),
        (float, "a number"),
        (dict, "a mapping"),
        ((list, tuple), "a list"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), type(value).__name__)


def _deepest(error: Any) -> Any:
    """The error inside a choice that lies deepest, if there is one below the choice itself."""
    while error.context:
        below = max(error.context, key=lambda each: len(each.absolute_path))
        if len(below.absolute_path) <= len(error.absolute_path):
            break
        error = below
    return error


def _path(field: str, parts: Iterable[str | int]) -> str:
    text = field
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text


def _expected(validator: str, wanted: Json) -> str:
    if validator == "type":
        return _either(_TYPES.get(each) or str(each) for each in _listed(wanted))
    if validator == "enum":
        return f"one of {_values(wanted)}"
    if validator == "const":
        return value_text(wanted)
    if validator in ("anyOf", "oneOf"):
        return _either(_described(each) for each in wanted)
    limits = {
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMinimum": "more than",
        "exclusiveMaximum": "less than",
        "minLength": "a length of at least",
        "maxLength": "a length of at most",
        "minItems": "a number of items of at least",
        "maxItems": "a number of items of at most",
        "minProperties": "a number of keys of at least",
        "maxProperties": "a number of keys of at most",
        "pattern": "text that matches",
        "multipleOf": "a multiple of",
    }
    if validator == "uniqueItems":
        return "each item only once"
    return f"{limits.get(validator, f'what its schema says of {validator}:')} {value_text(wanted)}"


def _described(schema: Json) -> str:
    if not isinstance(schema, dict):
        return "another value"
    if "type" in schema:
        return _either(_TYPES.get(each) or str(each) for each in _listed(schema["type"]))
    if "enum" in schema:
        return f"one of {_values(schema['enum'])}"
    if "const" in schema:
        return value_text(schema["const"])
    if "$ref" in schema:
        return f"a {str(schema['$ref']).rpartition('/')[2]}"
    return "what its schema says"


def _hint(error: Any) -> str | None:
    if isinstance(error.instance, str) and "{{" in error.instance:
        return "the server checks the text as it stands; write the value, or make it part of a text"
    if error.validator == "enum" and isinstance(error.instance, str):
        words = [str(each) for each in error.validator_value if each]
        return did_you_mean(error.instance, words, 0.7)
    return None


def _either(words: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(words))


def _values(values: Json) -> str:
    shown = ", ".join(value_text(each) for each in values[:_MOST])
    return f"{shown}, ..." if len(values) > _MOST else shown


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
