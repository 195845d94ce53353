"""What a flow's source says about it: name, description, version and parameters.

The code is parsed, never imported or run.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import re
from typing import TYPE_CHECKING, Any

from gitops_flow.errors import FlowError
from gitops_flow.flows import classes, schema
from gitops_flow.flows.entrypoint import SET_NAME, ComputedError, FlowFunction, locate
from gitops_flow.flows.libraries import Unknown
from gitops_flow.flows.module import one_at_a_time
from gitops_flow.flows.scope import Scope
from gitops_flow.model import FlowInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.flows.evaluator import Evaluator

__all__ = ["read"]

_BANNED = re.compile(r"[/%&><]")


def read(
    read_file: Callable[[str], bytes | None], entrypoint: str, *, flow_name: str | None = None
) -> FlowInfo:
    """What the flow at ``entrypoint`` says about itself.

    Args:
        read_file: the content of a file of the repository, by path with "/",
            or None if there is none.
        entrypoint: ``a/b.py:func``, ``a/b.py:Class.method``, ``a.b:func`` or ``a.b.func``.
        flow_name: the manifest's; it counts when the code computes the name,
            as Prefect takes the name from the code wherever there is one.

    Raises:
        FlowError: when the flow is not there, is not a flow, or its name is
            computed and none is given.
    """
    with one_at_a_time():
        try:
            return _describe(locate(read_file, entrypoint), flow_name)
        except ComputedError as error:
            if not flow_name:
                raise
            return _given(flow_name, error)


def _given(flow_name: str, error: FlowError) -> FlowInfo:
    """What can be said of a flow that only running the code would make."""
    checked = _checked(flow_name, error.where)
    why = f"{error.where}: {error.message}; any parameters are accepted"
    schema_: dict[str, Any] = {"title": "Parameters", "type": "object", "properties": {}}
    return FlowInfo(checked, None, None, schema_, (why,), takes_more=True)


def _describe(flow: FlowFunction, flow_name: str | None) -> FlowInfo:
    scope = Scope(flow.program, classes.make)
    evaluator = scope.evaluator(flow.module)
    evaluator.at = flow.at
    if flow.owner is not None:
        with contextlib.suppress(Unknown):
            evaluator.owned = classes.fields(flow.owner, evaluator, "plain").written
            evaluator.locals = [evaluator.owned]
    notes: list[str] = scope.notes
    name = _name(flow, evaluator, flow_name, notes)
    document = document_of(ast.get_docstring(flow.function, clean=False))
    parameters = schema.read(flow.function, evaluator, flow.module.path)
    if not flow.same_signature:
        why = f"{flow.where}: a decorator may change the parameters; any value is accepted"
        parameters = schema.unsure(parameters, why)
    described, vague = schema.schema_of(parameters, schema.descriptions(document), scope.later)
    notes += [each.note for each in parameters if each.note]
    notes += [f"{flow.where}: parameter {each!r}: any value is accepted" for each in vague]
    return FlowInfo(
        name=name,
        description=_text(flow, evaluator, "description", notes) or document,
        version=_text(flow, evaluator, "version", notes),
        # What Prefect takes for a flow's version: of the file that its function is in.
        file_digest=flow.module.digest if flow.same_signature else None,
        parameter_schema=described,
        notes=tuple(dict.fromkeys(notes)),
        takes_more=flow.function.args.kwarg is not None or not flow.same_signature,
    )


def _is_task(function: ast.AST) -> bool:
    for decorator in getattr(function, "decorator_list", ()):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if "task" in (getattr(called, "id", None), getattr(called, "attr", None)):
            return True
    return False


def _name(flow: FlowFunction, evaluator: Evaluator, given: str | None, notes: list[str]) -> str:
    option = flow.options.get("name")
    name: Any = None
    known = flow.is_flow
    if known and option is not None:
        try:
            name = evaluator.value(option)
        except Unknown:
            known = False
    if not known and _is_task(flow.function):
        message = f"{flow.function.name!r} is a task, not a flow"
        raise FlowError(message, where=flow.where, hint="name a function with @flow")
    if not known:
        if given:
            return _checked(given, flow.where)
        if not flow.is_flow and flow.same_signature:
            message = f"{flow.function.name!r} is not a flow"
            raise FlowError(message, where=flow.where, hint="decorate it with @flow")
        raise ComputedError(
            f"the name of flow {flow.function.name!r} is only known when the code runs",
            where=flow.where,
            hint=SET_NAME,
        )
    name = _plain(name) if name else flow.function.name.replace("_", "-")
    if given and given != name:
        notes.append(f"{flow.where}: the code names the flow {name!r}, so flow_name has no effect")
    return _checked(name, flow.where)


def _checked(name: str, where: str | None) -> str:
    if bad := _BANNED.search(name):
        message = f"the flow's name {name!r} holds {bad.group()!r}"
        raise FlowError(message, where=where, hint="a name has none of / % & > <")
    return name


def _text(flow: FlowFunction, evaluator: Evaluator, option: str, notes: list[str]) -> str | None:
    node = flow.options.get(option)
    if node is None:
        return None
    try:
        value = evaluator.value(node)
    except Unknown:
        notes.append(f"{flow.where}: the {option} is only known when the code runs")
        return None
    return _plain(value) if isinstance(value, str) and value else None


def _plain(value: Any) -> str:
    """Text as JSON has it: of a member of an enumeration, its value."""
    return str.__str__(value) if isinstance(value, str) else str(value)


def document_of(docstring: str | None) -> str | None:
    """A docstring as ``inspect.getdoc`` gives it."""
    return inspect.cleandoc(docstring) if docstring is not None else None
