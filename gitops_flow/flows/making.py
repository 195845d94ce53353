"""How code comes by Prefect's ``flow``, under its own name or another, and with which options."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gitops_flow.errors import FlowError
from gitops_flow.flows.module import NOT_KNOWN, Imported, follow

if TYPE_CHECKING:
    from gitops_flow.flows.module import Binding, Module, ReadFile

    Options = dict[str, ast.expr]

_FLOW = ("prefect.flow", "prefect.flows.flow")
_FLOW_CLASS = ("prefect.Flow", "prefect.flows.Flow")
_STARS = ("prefect", "prefect.flows")
# What is read of a flow's options.
_READ = ("name", "description", "version")
_LONGEST_CHAIN = 10


def maker(
    read_file: ReadFile,
    module: Module,
    node: ast.expr,
    before: Binding | None = None,
    depth: int = 0,
) -> Options | None:
    """The options that calling ``node`` with a function makes a flow with.

    Args:
        read_file: for a ``flow`` that other files of the repository hand on.
        module: where ``node`` stands.
        node: ``flow``, ``flow(name=...)``, ``functools.partial(flow, ...)`` or a name for one.
        before: the binding that ``node`` belongs to.
        depth: how many names led here.

    Returns:
        None when it is not Prefect's ``flow``.
    """
    if depth > _LONGEST_CHAIN:
        return None
    if isinstance(node, ast.Call):
        function, arguments = node.func, node.args
        if module.dotted(function, before) == "functools.partial" and arguments:
            function, *arguments = arguments
        options = maker(read_file, module, function, before, depth + 1)
        return None if options is None or arguments else options | keywords(module, node)
    if module.dotted(node, before) in (*_FLOW, *_FLOW_CLASS):
        return {}
    if isinstance(node, ast.Name):
        return _named(read_file, module, node.id, before, depth)
    return None


def keywords(module: Module, call: ast.Call) -> Options:
    """The keyword arguments of a call; those that ``**`` may hide are not known."""
    options: Options = {}
    for each in call.keywords:
        if each.arg is None:
            options |= _spread(module, each.value)
        else:
            options[each.arg] = each.value
    return options


def _named(
    read_file: ReadFile, module: Module, name: str, before: Binding | None, depth: int
) -> Options | None:
    if not module.bindings.get(name):
        known = name == "flow" and any(
            star.module in _STARS for star in module.stars if not star.level
        )
        return {} if known else None
    binding = module.latest(name, before)
    if isinstance(binding, Imported):
        try:
            other = follow(read_file, module, binding)
        except FlowError:  # a decorator's own file is not what was asked for
            return None
        if other is None or binding.name is None:
            return None
        options = maker(read_file, other, ast.Name(binding.name), None, depth + 1)
        # Their values are written in the other file's names.
        return None if options is None else dict.fromkeys(options, NOT_KNOWN)
    if isinstance(binding, ast.expr):
        return maker(read_file, module, binding, binding, depth + 1)
    return None


def _spread(module: Module, node: ast.expr) -> Options:
    if isinstance(node, ast.Name):
        found = module.binding(node.id)
        node = found if isinstance(found, ast.expr) else node
    if isinstance(node, ast.Dict):
        names = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        if all(isinstance(name, str) for name in names):
            return dict(zip(map(str, names), node.values, strict=True))
    return dict.fromkeys(_READ, NOT_KNOWN)
