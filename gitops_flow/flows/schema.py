"""The JSON schema of a flow's parameters, as Prefect computes it from the function."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pydantic
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from gitops_flow.errors import FlowError
from gitops_flow.flows.libraries import Unbound, Unknown
from gitops_flow.model import finite

if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping

    from pydantic_core import core_schema

    from gitops_flow.flows.evaluator import Evaluator
    from gitops_flow.flows.module import Function
    from gitops_flow.model import Json

_REQUIRED: Any = ...
_PARAMETERS = ("args", "arguments", "params", "parameters")
_TITLE = re.compile(r"(?P<kind>\w[\s\w-]*):(?:\s+\S.*)?\s*")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as far as it is known. ``default`` is ``...`` when it has none.

    ``hidden_default`` says that there is one which could not be read.
    """

    name: str
    position: int
    type: Any = Any
    default: Any = _REQUIRED
    hidden_default: bool = False
    note: str | None = None


class _Schema(GenerateJsonSchema):
    """Prefect describes an instance of a plain class as anything at all."""

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:  # noqa: ARG002
        return {}


def read(function: Function, evaluator: Evaluator, path: str) -> list[Parameter]:
    """The parameters of a function, each as exactly as its syntax tells."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = list(zip(positional, defaults, strict=True))
    if arguments.vararg:
        pairs.append((arguments.vararg, None))
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if arguments.kwarg:
        pairs.append((arguments.kwarg, None))
    hidden = [each for each, _ in pairs if each.arg.startswith("_")]
    if hidden:
        raise FlowError(
            f"Prefect takes no parameter whose name begins with '_', as {hidden[0].arg!r} does",
            where=f"{path}:{hidden[0].lineno}",
            hint="give the parameter another name",
        )
    # One name that is not there, and Prefect leaves all annotations as the text they are.
    bare = any(_is_unbound(argument.annotation, evaluator) for argument, _ in pairs)
    return [
        _parameter(argument, default, position, evaluator, path, bare)
        for position, (argument, default) in enumerate(pairs)
    ]


def _is_unbound(annotation: ast.expr | None, evaluator: Evaluator) -> bool:
    try:
        if annotation is not None:
            evaluator.annotation(annotation)
    except Unbound:
        return True
    except Unknown:
        pass
    return False


def unsure(parameters: list[Parameter], why: str) -> list[Parameter]:
    """The same parameters, none of them required and all of any type."""
    return [
        Parameter(each.name, each.position, hidden_default=True, note=why) for each in parameters
    ]


def schema_of(
    parameters: list[Parameter],
    descriptions: dict[str, str],
    later: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[dict[str, Json], list[str]]:
    """The schema, and the names of parameters that had to be described as anything."""
    named = [_field(each, descriptions) for each in parameters if each.name not in ("self", "cls")]
    fields: dict[str, Any] = {name: (type_, field) for name, type_, field in named}
    vague: list[str] = []
    try:
        generated = _generate(fields, later)
    except Exception:  # noqa: BLE001 - one of them cannot be described; find out which
        vague = _make_describable(fields, later)
        generated = _generate(fields, later)
    schema: dict[str, Json] = {"title": "Parameters", "type": "object", "properties": {}}
    schema.update({key: generated[key] for key in ("properties", "required") if key in generated})
    if "$defs" in generated:
        schema["definitions"] = generated["$defs"]
    for each in parameters:
        shown = schema["properties"].get(each.name)
        if shown is not None and each.hidden_default:
            shown.pop("default", None)
    return finite(schema), vague


def _make_describable(fields: dict[str, Any], later: Mapping[str, Any]) -> list[str]:
    """Let fields without a schema take anything; returns those that Prefect would fail at."""
    failing: list[str] = []
    for name, (type_, field) in fields.items():
        try:
            _generate({name: (type_, field)}, later)
        except (ValueError, TypeError, pydantic.errors.PydanticInvalidForJsonSchema):
            fields[name] = (Any, field)
        except Exception:  # noqa: BLE001 - whatever it is, anything is the safe answer
            fields[name] = (Any, field)
            failing.append(str(field.title))
    return failing


def _parameter(
    argument: ast.arg,
    default: ast.expr | None,
    position: int,
    evaluator: Evaluator,
    path: str,
    bare: bool,
) -> Parameter:
    name, where = argument.arg, f"{path}:{argument.lineno}: parameter {argument.arg!r}"
    type_: Any = Any
    note = None
    if argument.annotation is not None:
        try:
            read_type = evaluator.bare_annotation if bare else evaluator.annotation
            type_ = read_type(argument.annotation)
        except Unknown:
            note = f"{where}: its type is only known when the code runs; any value is accepted"
    if default is None:
        return Parameter(name, position, type_, note=note)
    try:
        return Parameter(name, position, type_, evaluator.value(default), note=note)
    except Unknown:
        note = note or f"{where}: its default is only known when the code runs; it is not shown"
        return Parameter(name, position, type_, hidden_default=True, note=note)


def _field(each: Parameter, descriptions: dict[str, str]) -> tuple[str, Any, Any]:
    field_info = each.default if isinstance(each.default, FieldInfo) else None
    default = field_info.default if field_info else each.default
    described = (field_info.description if field_info else None) or descriptions.get(each.name)
    extra: dict[str, Any] = {}
    if field_info and isinstance(field_info.json_schema_extra, dict):
        extra.update(field_info.json_schema_extra)
    extra.setdefault("position", each.position)
    # A field cannot have the name of something that models have already.
    clashes = hasattr(pydantic.BaseModel, each.name)
    field = pydantic.Field(
        default=None if each.hidden_default else default,
        title=each.name,
        description=described,
        alias=each.name if clashes else None,
        json_schema_extra=extra,
    )
    return (f"{each.name}__" if clashes else each.name), each.type, field


def _generate(fields: dict[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    model = pydantic.create_model("Parameters", __config__=config, **fields)
    if later:
        model.model_rebuild(force=True, _types_namespace=later)
    return pydantic.TypeAdapter(model).json_schema(
        by_alias=True, ref_template="#/definitions/{model}", schema_generator=_Schema
    )


def descriptions(docstring: str | None) -> dict[str, str]:
    """What a docstring in Google's style says of each parameter; the last section of them counts.

    NumPy's and Sphinx's styles give none: Prefect does not read them either.
    """
    lines = inspect.cleandoc((docstring or "").rstrip()).split("\n")
    described: dict[str, str] = {}
    in_code = False
    at = 0
    while at < len(lines):
        line = lines[at]
        title = None
        if line.lstrip(" ").startswith("```"):
            in_code = not in_code
        elif not in_code:
            title = _TITLE.fullmatch(line)
        at += 1
        if title and _opens_section(lines, at - 1):
            # Whatever the section is, what stands in it opens no other.
            block = _block(lines, at)
            at += len(block)
            if title["kind"].lower() in _PARAMETERS:
                described = dict(_items(block)) or described
    return described


def _opens_section(lines: list[str], at: int) -> bool:
    """Whether a title stands after a blank line and directly above its text."""
    above = at == 0 or not lines[at - 1].strip()
    below, next_below = [*lines[at + 1 : at + 3], "", ""][:2]
    if not below.strip():
        return False
    return above and (below.startswith(" ") or (next_below[:1] == " " and bool(next_below.strip())))


def _block(lines: list[str], start: int) -> list[str]:
    """The lines from ``start`` that are indented at least as the first one is."""
    indent = _indent(lines[start])
    end = start
    while indent and end < len(lines):
        if lines[end].strip() and not lines[end].startswith(" " * indent):
            break
        end += 1
    return lines[start:end]


def _items(block: list[str]) -> list[tuple[str, str]]:
    indent = _indent(block[0]) if block else 0
    items: list[list[str]] = []
    for line in block:
        depth = _indent(line)
        if not line.strip():
            items[-1].append("")
        elif line.startswith(" " * (indent + 1)):
            # Continuation lines lose one more indentation of the same width.
            items[-1].append(line[min(depth, indent * 2) :])
        else:
            items.append([line[indent:]])
    described = []
    for first, *rest in items:
        name, colon, text = first.partition(":")
        if not colon:
            continue
        if "(" in name and name.endswith(")"):
            name = name.partition("(")[0].strip()
        described.append((name, "\n".join([text.lstrip(), *rest]).rstrip("\n")))
    return described


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
