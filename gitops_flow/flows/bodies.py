"""The body of a class: which fields or members it has, of which types, with which defaults."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import sys
import typing
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from gitops_flow.flows.evaluate import unknown_value
from gitops_flow.flows.libraries import Ignored, Unknown
from gitops_flow.flows.module import NOT_KNOWN, decided, run
from gitops_flow.flows.scope import module_name

if TYPE_CHECKING:
    from gitops_flow.flows.evaluate import Evaluator

    Kind = Literal["model", "data", "plain", "enumeration", "typed dictionary", "named tuple"]


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
    evaluator.locals.append(body.written)
    try:
        for statement in _statements(node):
            if isinstance(statement, ast.Expr) or getattr(statement, "value", None) is None:
                continue
            name, value = _assigned(statement)
            body.values[name] = body.written[name] = evaluator.value(value)
    finally:
        evaluator.locals.pop()
    return body


def fields(node: ast.ClassDef, evaluator: Evaluator, kind: Kind) -> Body:
    """The fields of any other class.

    Raises:
        Unknown: when the body does more than declare them.
    """
    body = Body()
    reader = _Fields(body, evaluator, kind, evaluator.scope.qualname(node))
    evaluator.locals.append(body.written)
    try:
        previous = None
        for statement in _statements(node):
            if isinstance(statement, ast.Expr):
                text = getattr(statement.value, "value", None)
                if previous and isinstance(text, str):
                    body.documents[previous] = text
                previous = None
            else:
                previous = reader.read(statement)
    finally:
        evaluator.locals.pop()
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
            return
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
            if self._kind not in ("model", "data") or not _is_plain_value(
                statement.value, self._evaluator
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


def _is_plain_value(node: ast.expr, evaluator: Evaluator) -> bool:
    """Whether an expression gives a default, and surely nothing that describes a field.

    That is so for what the standard library computes.
    """
    if isinstance(node, ast.Call):
        found = evaluator.scope.program.expression(evaluator.module, node.func)
        if isinstance(found, str):
            return found.partition(".")[0] in sys.stdlib_module_names - {"dataclasses"}
        inner = node.func
        return isinstance(inner, ast.Attribute) and _is_plain_value(inner.value, evaluator)
    if isinstance(node, ast.Attribute | ast.Subscript):
        found = evaluator.scope.program.expression(evaluator.module, node)
        if isinstance(found, str):
            return found.partition(".")[0] in sys.stdlib_module_names
        return isinstance(node.value, ast.Attribute | ast.Call) and _is_plain_value(
            node.value, evaluator
        )
    computed = ast.BinOp | ast.JoinedStr | ast.ListComp | ast.DictComp | ast.SetComp | ast.Compare
    return isinstance(node, computed)


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
