"""Classes as Pydantic sees them, made from their syntax: fields, members, defaults.

Methods are left out. What a method could change about the schema makes the
class Unknown.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import types
from typing import TYPE_CHECKING, Any

import pydantic

from gitops_flow.flows.evaluate import Evaluator, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

# In no way importable, so that Pydantic finds no namespace of ours by it.
_MODULE = "<read from source>"
_TELLING = (
    "__get_pydantic_core_schema__",
    "__get_pydantic_json_schema__",
    "__modify_schema__",
    "__new__",
    "_generate_next_value_",
    "__init_subclass__",
    "__pydantic_init_subclass__",
)


def make(node: ast.ClassDef, evaluator: Evaluator) -> Any:
    """The class that ``node`` describes.

    Raises:
        Unknown: when running the code could make it another.
    """
    bases = tuple(evaluator.value(base) for base in node.bases)
    if node.keywords:
        raise Unknown
    decorator = _decorator(node, evaluator)
    namespace: dict[str, Any] = {"__module__": _MODULE, "__qualname__": node.name}
    document = ast.get_docstring(node, clean=False)
    if document is not None:
        namespace["__doc__"] = document
    if any(isinstance(base, type) and issubclass(base, enum.Enum) for base in bases):
        members = dict(_members(node, evaluator))
        return types.new_class(node.name, bases, {}, lambda ns: _fill(ns, namespace, members))
    if bases and not all(_is_plain_data(base) for base in bases):
        raise Unknown
    fields, annotations = _fields(node, evaluator)
    namespace["__annotations__"] = annotations
    made = types.new_class(node.name, bases, {}, lambda ns: _fill(ns, namespace, fields))
    return decorator(made) if decorator else made


def _fill(into: Any, *parts: dict[str, Any]) -> None:
    # One by one: an enumeration's namespace looks at each assignment.
    for part in parts:
        for name, value in part.items():
            into[name] = value


def _is_plain_data(base: Any) -> bool:
    if base is pydantic.BaseModel or base is object:
        return True
    return isinstance(base, type) and base.__module__ == _MODULE


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
    if found is not dataclasses.dataclass:
        raise Unknown
    return dataclasses.dataclass(**options)


def _members(node: ast.ClassDef, evaluator: Evaluator) -> Iterator[tuple[str, Any]]:
    for statement in _statements(node):
        if isinstance(statement, ast.AnnAssign) and statement.value is None:
            continue
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            raise Unknown
        [target] = statement.targets
        if not isinstance(target, ast.Name):
            raise Unknown
        yield target.id, evaluator.value(statement.value)


def _fields(node: ast.ClassDef, evaluator: Evaluator) -> tuple[dict[str, Any], dict[str, Any]]:
    values: dict[str, Any] = {}
    annotations: dict[str, Any] = {}
    for statement in _statements(node):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            if name.startswith("_"):
                continue
            annotations[name] = evaluator.annotation(statement.annotation)
            if statement.value is not None:
                values[name] = evaluator.value(statement.value)
        elif (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
        ):
            if not statement.targets[0].id.startswith("_"):
                values[statement.targets[0].id] = evaluator.value(statement.value)
        else:
            raise Unknown
    return values, annotations


def _statements(node: ast.ClassDef) -> Iterator[ast.stmt]:
    """The body without docstrings, ``pass`` and the methods that do not matter."""
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if statement.name in _TELLING or any(map(_reshapes, statement.decorator_list)):
                raise Unknown
        elif not isinstance(statement, ast.Pass) and not (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ):
            yield statement


def _reshapes(decorator: ast.expr) -> bool:
    """Whether a validator may change what the field takes."""
    if not isinstance(decorator, ast.Call):
        return False
    return any(
        each.arg == "json_schema_input_type"
        or (each.arg == "mode" and getattr(each.value, "value", None) == "plain")
        for each in decorator.keywords
    )


def document_of(docstring: str | None) -> str | None:
    """A docstring as ``inspect.getdoc`` gives it."""
    return inspect.cleandoc(docstring) if docstring is not None else None
