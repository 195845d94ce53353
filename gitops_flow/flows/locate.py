"""Finds the flow that an entrypoint names, and how the code makes it a flow."""

from __future__ import annotations

import ast
import difflib
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.errors import FlowError
from gitops_flow.flows import making
from gitops_flow.flows import module as source
from gitops_flow.flows.module import Imported, Module
from gitops_flow.model import Entrypoint

if TYPE_CHECKING:
    from gitops_flow.flows.module import Binding, Function, ReadFile

_TRANSPARENT = ("staticmethod", "classmethod")
_LONGEST_CHAIN = 10


@dataclass(slots=True)
class Found:
    """A flow: its function, and the options it is made with, still as syntax.

    ``is_flow`` is False when only a decorator we do not know could make it one;
    ``same_signature`` is False when one may have changed its parameters.
    """

    module: Module
    function: Function
    options: dict[str, ast.expr] = field(default_factory=dict)
    is_flow: bool = False
    same_signature: bool = True

    @property
    def where(self) -> str:
        """``file:line`` of the function."""
        return f"{self.module.path}:{self.function.lineno}"


def locate(read_file: ReadFile, entrypoint: str) -> Found:
    """Find the flow; nothing is imported or run.

    Raises:
        FlowError: when the file, or the function in it, is not there.
    """
    try:
        parsed = Entrypoint.parse(entrypoint)
    except ValueError as error:
        raise FlowError(
            f"entrypoint {entrypoint!r} {error}", hint="write path/to/file.py:flow_function"
        ) from None
    if parsed.kind == "file":
        path = posixpath.normpath(parsed.location)
        data = None if path.startswith(("../", "/")) else read_file(path)
        found = (path, data) if data is not None else None
    else:
        found = source.find(read_file, parsed.location, ("", "src"))
    if found is None:
        what = "file" if parsed.kind == "file" else "module"
        raise FlowError(
            f"the {what} {parsed.location!r} does not exist",
            where=entrypoint,
            hint="the path is relative to the manifest or to the repository's root",
        )
    path, data = found
    return _Search(read_file).qualified(source.parse(data, path), parsed.qualname)


class _Search:
    """Follows names until they end at a function."""

    def __init__(self, read_file: ReadFile) -> None:
        self._read_file = read_file
        self._steps = 0

    def qualified(self, module: Module, qualname: str, before: Binding | None = None) -> Found:
        name, _, rest = qualname.partition(".")
        binding = module.latest(name, before)
        if binding is None:
            return self._by_star(module, qualname)
        while rest and isinstance(binding, ast.ClassDef):
            members = Module(module.path)
            for statement in binding.body:
                source.bind(statement, members)
            name, _, rest = rest.partition(".")
            inner = members.binding(name)
            if inner is None:
                known = [f"{binding.name}.{each}" for each in members.bindings]
                raise _missing(module, qualname, known)
            binding = inner
        if isinstance(binding, Imported):
            target = f"{binding.name}.{rest}" if rest else str(binding.name)
            return self._elsewhere(module, binding, target)
        if isinstance(binding, ast.expr) and rest:
            raise FlowError(f"{qualname!r} is computed when the code runs", where=module.path)
        if rest or isinstance(binding, ast.ClassDef):
            raise FlowError(f"{qualname!r} is not a flow", where=module.path)
        return self._flow(module, binding, qualname)

    def _flow(
        self, module: Module, binding: Binding, qualname: str, origin: Binding | None = None
    ) -> Found:
        origin = origin or binding
        self._steps += 1
        if self._steps > _LONGEST_CHAIN:
            raise FlowError(f"{qualname!r} cannot be followed to a function", where=module.path)
        if isinstance(binding, ast.FunctionDef | ast.AsyncFunctionDef):
            return self._decorated(module, binding)
        if isinstance(binding, ast.Name | ast.Attribute):
            return self.qualified(module, ast.unparse(binding), origin)
        if isinstance(binding, ast.Call):
            return self._made(module, binding, qualname, origin)
        raise FlowError(
            f"{qualname!r} is not a function", where=module.path, hint="name a @flow function"
        )

    def _made(self, module: Module, call: ast.Call, qualname: str, origin: Binding) -> Found:
        """``flow(f, name=...)``, ``flow(name=...)(f)`` or ``other.with_options(...)``."""
        named = making.keywords(module, call)
        function = call.func
        if isinstance(function, ast.Attribute) and function.attr == "with_options":
            found = self._flow(module, function.value, qualname, origin)
            found.options |= named
            return found
        inner: ast.expr | None = named.pop("fn", None) or (call.args[0] if call.args else None)
        options = making.maker(self._read_file, module, function, origin)
        if inner is None or options is None:
            raise FlowError(
                f"{qualname!r} is computed when the code runs",
                where=f"{module.path}:{call.lineno}",
                hint="define it with @flow, or as flow(function)",
            )
        found = self._flow(module, inner, qualname, origin)
        found.options = options | named
        found.is_flow = True
        return found

    def _elsewhere(self, module: Module, binding: Imported, qualname: str) -> Found:
        self._steps += 1
        found = source.follow(self._read_file, module, binding)
        if found is None or binding.name is None or self._steps > _LONGEST_CHAIN:
            raise FlowError(
                f"{qualname!r} is imported from {binding.dotted!r}, which is not in the repository",
                where=module.path,
                hint="name the file that defines the flow",
            )
        return self.qualified(found, qualname)

    def _by_star(self, module: Module, qualname: str) -> Found:
        """A name that this file does not bind, but a ``from x import *`` in it may."""
        name = qualname.partition(".")[0]
        self._steps += 1
        for star in reversed(module.stars if self._steps <= _LONGEST_CHAIN else []):
            found = source.follow(self._read_file, module, star)
            if found is not None and (found.bindings.get(name) or found.stars):
                return self.qualified(found, qualname)
        raise _missing(module, qualname, list(module.bindings))

    def _decorated(self, module: Module, function: Function) -> Found:
        found = Found(module, function)
        makers = [making.maker(self._read_file, module, each) for each in function.decorator_list]
        for decorator, options in zip(function.decorator_list, makers, strict=True):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if options is not None:
                found.is_flow = True
                found.options = options
            elif not (isinstance(called, ast.Name) and called.id in _TRANSPARENT) and (
                found.is_flow or all(each is None for each in makers)
            ):
                found.same_signature = False
        return found


def _missing(module: Module, qualname: str, known: list[str]) -> FlowError:
    if qualname in module.bindings:
        return FlowError(
            f"{qualname!r} is given several values in this file; which one is the flow is not known",
            where=module.path,
            hint="give the flow a name of its own",
        )
    close = difflib.get_close_matches(qualname, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else None
    return FlowError(f"there is no {qualname!r} in this file", where=module.path, hint=hint)
