"""How code comes by Prefect's ``flow``, under its own name or another, and with which options."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gitops_flow.flows.binding import NOT_KNOWN
from gitops_flow.flows.program import Symbol

if TYPE_CHECKING:
    from gitops_flow.flows.binding import Place
    from gitops_flow.flows.module import Module
    from gitops_flow.flows.program import Program

    Options = dict[str, ast.expr]

_FLOW = ("prefect.flow", "prefect.flows.flow")
_FLOW_CLASS = ("prefect.Flow", "prefect.flows.Flow")
# What is read of a flow's options.
_READ = ("name", "description", "version")
_LONGEST_CHAIN = 10


def maker(
    program: Program,
    module: Module,
    node: ast.expr,
    at: Place | None = None,
    depth: int = 0,
) -> Options | None:
    """The options that calling ``node`` with a function makes a flow with.

    Args:
        program: for a ``flow`` that other files of the repository hand on.
        module: where ``node`` stands.
        node: ``flow``, ``flow(name=...)``, ``functools.partial(flow, ...)`` or a name for one.
        at: the place from where names are seen.
        depth: how many names led here.

    Returns:
        None when it is not Prefect's ``flow``.
    """
    if depth > _LONGEST_CHAIN:
        return None
    if isinstance(node, ast.Call):
        function, arguments = node.func, node.args
        if is_partial(program, module, function, at) and arguments:
            function, *arguments = arguments
        options = maker(program, module, function, at, depth + 1)
        return None if options is None or arguments else options | keywords(module, node, at)
    found = program.expression(module, node, at)
    if isinstance(found, str):
        return {} if found in (*_FLOW, *_FLOW_CLASS) else None
    if not isinstance(found, Symbol) or not isinstance(found.binding, ast.expr):
        return None
    options = maker(program, found.module, found.binding, found.at, depth + 1)
    if options is None or found.module is module:
        return options
    # Their values are written in the other file's names.
    return dict.fromkeys(options, NOT_KNOWN)


def is_partial(program: Program, module: Module, node: ast.expr, at: Place | None = None) -> bool:
    """Whether ``node`` is ``functools.partial``."""
    return program.expression(module, node, at) == "functools.partial"


def keywords(module: Module, call: ast.Call, at: Place | None = None) -> Options:
    """The keyword arguments of a call; those that ``**`` may hide are not known."""
    options: Options = {}
    for each in call.keywords:
        if each.arg is None:
            options |= _spread(module, each.value, at)
        else:
            options[each.arg] = each.value
    return options


def _spread(module: Module, node: ast.expr, at: Place | None) -> Options:
    if isinstance(node, ast.Name):
        found = module.latest(node.id, at)
        if found and isinstance(found.binding, ast.expr) and node.id not in module.altered:
            node = found.binding
    if isinstance(node, ast.Dict):
        names = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        if all(isinstance(name, str) for name in names):
            return dict(zip(map(str, names), node.values, strict=True))
    return dict.fromkeys(_READ, NOT_KNOWN)
