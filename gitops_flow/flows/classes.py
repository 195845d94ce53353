"""Classes as Pydantic sees them, made from their syntax: fields, members, defaults.

Methods are left out. What a method could change about the schema makes the
class Unknown; what it could change about an instance makes instances so.
"""

from __future__ import annotations

import abc
import ast
import dataclasses
import enum
import inspect
import types
import typing
from typing import TYPE_CHECKING, Any

import pydantic
import pydantic.dataclasses
import typing_extensions

from gitops_flow.flows import bodies
from gitops_flow.flows.libraries import BaseSettings, Unknown
from gitops_flow.flows.module import decided
from gitops_flow.flows.scope import Made, module_name

if TYPE_CHECKING:
    from gitops_flow.flows.evaluate import Evaluator

_TYPED_DICTS = (typing.TypedDict, typing_extensions.TypedDict)
_NAMED_TUPLES = (typing.NamedTuple, typing_extensions.NamedTuple)
# Beside an enumeration: what its members are.
_MEMBER_TYPES = (str, int, float, bytes)
_TELLING = (
    "__get_pydantic_core_schema__",
    "__get_pydantic_json_schema__",
    "__get_validators__",
    "__modify_schema__",
    "__new__",
    "_generate_next_value_",
    "__init_subclass__",
    "__pydantic_init_subclass__",
    "__class_getitem__",
    "model_json_schema",
    "settings_customise_sources",
)
_ACTING = ("__init__", "__post_init__", "model_post_init", "__setattr__", "__getattribute__")
_PASSIVE = ("property", "classmethod", "staticmethod", "cached_property", "abstractmethod")


def make(node: ast.ClassDef, evaluator: Evaluator) -> Made:
    """The class that ``node`` describes.

    Raises:
        Unknown: when running the code could make it another.
    """
    bases = tuple(_base(base, evaluator) for base in node.bases)
    options = _options(node, evaluator)
    decorator = _decorator(node, evaluator)
    is_enum = any(isinstance(base, type) and issubclass(base, enum.Enum) for base in bases)
    kind = _kind(bases, decorator, evaluator)
    if options and kind not in ("model", "typed dictionary"):
        raise Unknown
    exact = _acts(node, kind)
    namespace: dict[str, Any] = {
        "__module__": module_name(evaluator.module),
        "__qualname__": evaluator.scope.qualname(node),
    }
    document = ast.get_docstring(node, clean=False)
    if document is not None:
        namespace["__doc__"] = document
    body = bodies.members(node, evaluator) if is_enum else bodies.fields(node, evaluator, kind)
    if not is_enum:
        namespace["__annotations__"] = body.annotations
    described = _takes_docstrings(bases, body)
    made = types.new_class(node.name, bases, options, lambda ns: _fill(ns, namespace, body.values))
    if described:
        _describe(made, body.documents)
    if decorator:
        made = decorator(made)
    return Made(made, exact=exact, written=body.written)


def _fill(into: Any, *parts: dict[str, Any]) -> None:
    # One by one: an enumeration's namespace looks at each assignment.
    for part in parts:
        for name, value in part.items():
            into[name] = value


def _base(node: ast.expr, evaluator: Evaluator) -> Any:
    base = evaluator.guarded(node, annotation=False)
    if isinstance(base, typing.ForwardRef):
        raise Unknown
    return base


def _options(node: ast.ClassDef, evaluator: Evaluator) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for each in node.keywords:
        if each.arg is None or each.arg == "metaclass":
            if each.arg and ast.unparse(each.value) in ("ABCMeta", "abc.ABCMeta"):
                continue
            raise Unknown
        options[each.arg] = evaluator.value(each.value)
    return options


def _kind(bases: tuple[Any, ...], decorator: Any, evaluator: Evaluator) -> bodies.Kind:
    """What sort of class it is.

    Raises:
        Unknown: when a base is neither from the source nor known.
    """
    kinds: set[bodies.Kind] = set()
    for base in bases:
        if base in _TYPED_DICTS or typing_extensions.is_typeddict(base):
            kinds.add("typed dictionary")
        elif base in _NAMED_TUPLES:
            kinds.add("named tuple")
        elif isinstance(base, type) and issubclass(base, enum.Enum):
            kinds.add("enumeration")
        elif _is_model(base, evaluator):
            kinds.add("model")
        elif typing.get_origin(base) is not typing.Generic:
            kinds.add(_plain(base, evaluator))
    kinds.discard("plain")
    if any(base in _MEMBER_TYPES for base in bases) and kinds != {"enumeration"}:
        raise Unknown
    if len(kinds) > 1:
        raise Unknown
    kind = kinds.pop() if kinds else "plain"
    return "data" if kind == "plain" and decorator else kind


def _is_model(base: Any, evaluator: Evaluator) -> bool:
    if not isinstance(base, type) or not issubclass(base, pydantic.BaseModel):
        return False
    origin = getattr(base, "__pydantic_generic_metadata__", {}).get("origin") or base
    known = (pydantic.BaseModel, pydantic.RootModel, BaseSettings)
    if origin not in known and not evaluator.scope.is_made(origin):
        raise Unknown
    return True


def _plain(base: Any, evaluator: Evaluator) -> bodies.Kind:
    if base in (object, abc.ABC, *_MEMBER_TYPES):
        return "plain"
    if not evaluator.scope.is_made(base):
        raise Unknown
    return "data" if dataclasses.is_dataclass(base) else "plain"


def _decorator(node: ast.ClassDef, evaluator: Evaluator) -> Any:
    if not node.decorator_list:
        return None
    if len(node.decorator_list) > 1:
        raise Unknown
    [decorator] = node.decorator_list
    options: dict[str, Any] = {}
    if isinstance(decorator, ast.Call):
        options = {each.arg or "": evaluator.value(each.value) for each in decorator.keywords}
        if decorator.args or "" in options:
            raise Unknown
        decorator = decorator.func
    found = evaluator.value(decorator)
    if found is enum.unique:
        return None
    if found is dataclasses.dataclass or found is pydantic.dataclasses.dataclass:
        return found(**options)
    raise Unknown


def _acts(node: ast.ClassDef, kind: bodies.Kind) -> bool:
    """Whether instances are what fields alone make them.

    Raises:
        Unknown: when a method may change the schema.
    """
    exact = True
    for each in decided(node.body):
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if each.name in _TELLING or any(map(_reshapes, each.decorator_list)):
            raise Unknown
        if kind == "enumeration" and any(
            isinstance(inner, ast.Attribute) and inner.attr == "_value_" for inner in ast.walk(each)
        ):
            raise Unknown
        passive = all(_last_name(decorator) in _PASSIVE for decorator in each.decorator_list)
        exact = exact and passive and each.name not in _ACTING
    return exact


def _reshapes(decorator: ast.expr) -> bool:
    """Whether a validator may change what the field takes."""
    if not isinstance(decorator, ast.Call):
        return False
    return any(
        each.arg == "json_schema_input_type"
        or (each.arg == "mode" and getattr(each.value, "value", None) == "plain")
        for each in decorator.keywords
    )


def _last_name(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _takes_docstrings(bases: tuple[Any, ...], body: bodies.Body) -> bool:
    """Whether texts below fields describe them; Pydantic itself would look for a source."""
    said = False
    for base in reversed(bases):
        said = getattr(base, "__reads_texts__", said)
    config = body.values.get("model_config")
    if isinstance(config, dict) and "use_attribute_docstrings" in config:
        config = dict(config)
        said = bool(config.pop("use_attribute_docstrings"))
        body.values["model_config"] = config
        body.values["__reads_texts__"] = said
        body.annotations["__reads_texts__"] = typing.ClassVar[bool]
    return said


def _describe(model: Any, documents: dict[str, str]) -> None:
    for name, field in model.model_fields.items():
        if field.description is None and name in documents:
            field.description = inspect.cleandoc(documents[name])
    model.model_rebuild(force=True, raise_errors=False)


def document_of(docstring: str | None) -> str | None:
    """A docstring as ``inspect.getdoc`` gives it."""
    return inspect.cleandoc(docstring) if docstring is not None else None
