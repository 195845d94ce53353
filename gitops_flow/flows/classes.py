"""Classes as Pydantic sees them, made from their syntax: fields, members, defaults.

Methods are left out. What a method could change about the schema makes the
class Unknown; what it could change about an instance makes instances so.
"""

from __future__ import annotations

import abc
import ast
import contextlib
import dataclasses
import enum
import inspect
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

import pydantic
import pydantic.dataclasses
import typing_extensions

from gitops_flow.flows.evaluator import unknown_value
from gitops_flow.flows.libraries import BaseSettings, Ignored, Unknown
from gitops_flow.flows.module import NOT_KNOWN, decided, run
from gitops_flow.flows.scope import Made, module_name

if TYPE_CHECKING:
    from gitops_flow.flows.evaluator import Evaluator

    Kind = Literal["model", "data", "plain", "enumeration", "typed dictionary", "named tuple"]

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
    body = members(node, evaluator) if is_enum else fields(node, evaluator, kind)
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


def _kind(bases: tuple[Any, ...], decorator: Any, evaluator: Evaluator) -> Kind:
    """What sort of class it is.

    Raises:
        Unknown: when a base is neither from the source nor known.
    """
    kinds: set[Kind] = set()
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


def _plain(base: Any, evaluator: Evaluator) -> Kind:
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
    maker = evaluator.value(decorator)
    if maker is enum.unique:
        return None
    if maker is dataclasses.dataclass or maker is pydantic.dataclasses.dataclass:
        return maker(**options)
    raise Unknown


def _acts(node: ast.ClassDef, kind: Kind) -> bool:
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


def _takes_docstrings(bases: tuple[Any, ...], body: Body) -> bool:
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


@dataclasses.dataclass(slots=True)
class Body:
    """What a class's namespace will hold; ``written`` are the values others may refer to."""

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    annotations: dict[str, Any] = dataclasses.field(default_factory=dict)
    documents: dict[str, str] = dataclasses.field(default_factory=dict)
    written: dict[str, Any] = dataclasses.field(default_factory=dict)


def members(node: ast.ClassDef, evaluator: Evaluator) -> Body:
    """The members of an enumeration, in order.

    Raises:
        Unknown: when they are more than values.
    """
    body = Body()
    with evaluator.within(body.written):
        for statement in _statements(node):
            if isinstance(statement, ast.Expr) or getattr(statement, "value", None) is None:
                continue
            name, value = _assigned(statement)
            body.values[name] = body.written[name] = evaluator.value(value)
    return body


def fields(node: ast.ClassDef, evaluator: Evaluator, kind: Kind) -> Body:
    """The fields of any other class.

    Raises:
        Unknown: when the body does more than declare them.
    """
    body = Body()
    reader = _Fields(body, evaluator, kind, evaluator.scope.qualname(node))
    with evaluator.within(body.written):
        previous = None
        for statement in _statements(node):
            if isinstance(statement, ast.Expr):
                text = getattr(statement.value, "value", None)
                if previous and isinstance(text, str):
                    body.documents[previous] = text
                previous = None
            else:
                previous = reader.read(statement)
    return body


class _Fields:
    def __init__(self, body: Body, evaluator: Evaluator, kind: Kind, owner: str) -> None:
        self._owner = owner
        self._body = body
        self._evaluator = evaluator
        self._kind = kind

    def read(self, statement: ast.stmt) -> str | None:
        """Take in a statement; returns the field that it declares."""
        if self._kind == "plain":
            # It has no fields: only what others use of it matters.
            for name in run([statement], "").bindings:
                self._body.written[name] = NOT_KNOWN
            with contextlib.suppress(Unknown):
                self._constant(statement)
            return None
        if isinstance(statement, ast.ClassDef):
            self._inner(statement)
            return None
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            if name.startswith("_") and self._kind == "model":
                return None
            self._declared(name, statement)
            return name
        name, value = _assigned(statement)
        if not name.startswith("_") or name == "__pydantic_config__":
            self._body.values[name] = self._body.written[name] = self._evaluator.value(value)
        return None

    def _inner(self, node: ast.ClassDef) -> None:
        if node.name == "Config" and self._kind == "model":
            # Pydantic's former way to configure a model.
            settings = dict(map(_assigned, _statements(node)))
            values = {name: self._evaluator.value(each) for name, each in settings.items()}
            # Pydantic tells it from a field by where it says it was written.
            values["__module__"] = module_name(self._evaluator.module)
            values["__qualname__"] = f"{self._owner}.Config"
            self._body.values[node.name] = type("Config", (), values)
        else:
            scope = self._evaluator.scope
            scope.qualnames[node] = f"{self._owner}.{node.name}"
            self._body.written[node.name] = scope.class_of(node, self._evaluator, annotation=False)

    def _constant(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ClassDef):
            self._inner(statement)
        else:
            name, value = _assigned(statement)
            self._body.written[name] = self._evaluator.value(value)

    def _declared(self, name: str, statement: ast.AnnAssign) -> None:
        try:
            declared = self._evaluator.annotation(statement.annotation)
        except Unknown:
            if self._kind != "model":
                raise
            self._note(name, statement, "its type is only known when the code runs")
            self._evaluator.scope.tainted += 1
            self._body.annotations[name] = typing.Any
            # It may have a default that is hidden in its type, so it is not required.
            self._body.values[name] = pydantic.Field(default_factory=unknown_value)
            return
        if isinstance(declared, Ignored):
            raise Unknown
        self._body.annotations[name] = declared
        if statement.value is None:
            return
        try:
            value = self._evaluator.value(statement.value)
        except Unknown:
            if self._kind not in ("model", "data") or not self._evaluator.computes_value(
                statement.value
            ):
                raise
            self._note(name, statement, "its default is only known when the code runs")
            value = (pydantic.Field if self._kind == "model" else dataclasses.field)(
                default_factory=unknown_value
            )
        self._body.values[name] = value
        if not isinstance(value, pydantic.fields.FieldInfo | dataclasses.Field):
            self._body.written[name] = value

    def _note(self, name: str, statement: ast.stmt, why: str) -> None:
        where = f"{self._evaluator.module.path}:{statement.lineno}"
        self._evaluator.scope.notes.append(f"{where}: field {name!r}: {why}")


def _assigned(statement: ast.stmt) -> tuple[str, ast.expr]:
    match statement:
        case ast.Assign(targets=[ast.Name() as target]):
            return target.id, statement.value
        case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
            return target.id, value
    raise Unknown


def _statements(node: ast.ClassDef) -> list[ast.stmt]:
    """The body without its docstring, ``pass`` and methods."""
    ignored = (ast.Pass, ast.FunctionDef, ast.AsyncFunctionDef)
    kept = [each for each in decided(node.body) if not isinstance(each, ignored)]
    if any(
        isinstance(each, ast.Expr) and not isinstance(each.value, ast.Constant) for each in kept
    ):
        raise Unknown
    return kept
