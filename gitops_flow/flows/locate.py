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
from gitops_flow.flows.binding import NOT_KNOWN, Either, Imported, function_of, place
from gitops_flow.flows.program import Program, Symbol
from gitops_flow.model import Entrypoint

if TYPE_CHECKING:
    from gitops_flow.flows.binding import Binding, Function, Place
    from gitops_flow.flows.module import Module, ReadFile

_ENDS = ("/__init__.py", ".py")
_SET_NAME = "set flow_name: in the manifest"
_TRANSPARENT = ("staticmethod", "classmethod")
_LONGEST_CHAIN = 10
# Attributes of a flow that say what is read here.
_TOLD = {"name", "description", "version", "fn", "parameters"}


class ComputedError(FlowError):
    """The flow is made by code that would have to be run."""


class SeveralError(ComputedError):
    """The flow is one of ``count``; which one depends on where the code runs."""

    count = 0


@dataclass(slots=True)
class Found:
    """A flow: its function, and the options it is made with, still as syntax.

    ``is_flow`` is False when only a decorator we do not know could make it one;
    ``same_signature`` is False when one may have changed its parameters.
    """

    program: Program
    module: Module
    function: Function
    owner: ast.ClassDef | None = None
    options: dict[str, ast.expr] = field(default_factory=dict)
    is_flow: bool = False
    same_signature: bool = True
    # Where the function is made.
    at: Place | None = None

    @property
    def where(self) -> str:
        """``file:line`` of the function."""
        return f"{self.module.path}:{self.function.lineno}"


def locate(read_file: ReadFile, entrypoint: str, choice: int | None = None) -> Found:
    """Find the flow; nothing is imported or run.

    Args:
        read_file: as for :func:`gitops_flow.flows.read`.
        entrypoint: the same.
        choice: which one to take of several that branches define.

    Raises:
        SeveralError: when there is such a choice, and it is not made.
        ComputedError: when there is something of that name, which only running
            the code would tell.
        FlowError: when the file, or the function in it, is not there.
    """
    try:
        parsed = Entrypoint.parse(entrypoint)
    except ValueError as error:
        raise FlowError(
            f"entrypoint {entrypoint!r} {error}", hint="write path/to/file.py:flow_function"
        ) from None
    found = None
    candidates = [posixpath.normpath(parsed.location)]
    script = parsed.kind == "file"
    if not script:
        name = parsed.location.replace(".", "/")
        candidates = [f"{top}{name}{end}" for top in ("", "src/") for end in _ENDS]
    for path in candidates:
        data = None if path.startswith(("../", "/")) else read_file(path)
        if data is not None:
            found = (path, data)
            break
    if found is None:
        what = "file" if parsed.kind == "file" else "module"
        raise FlowError(
            f"the {what} {parsed.location!r} does not exist",
            where=entrypoint,
            hint="the path is relative to the manifest, the repository's root or the current directory",
        )
    path, data = found
    name = posixpath.basename(path).removesuffix(".py") if script else parsed.location
    module = source.parse(data, path, name)
    return _Search(Program(read_file, path, script), choice).qualified(module, parsed.qualname)


class _Search:
    """Follows names until they end at a function."""

    def __init__(self, program: Program, choice: int | None) -> None:
        self._program = program
        self._choice = choice
        self._steps = 0
        self._owner: ast.ClassDef | None = None
        # The names of the class in whose body the value that is followed stands.
        self._beside: Module | None = None

    def qualified(self, module: Module, qualname: str, at: Place | None = None) -> Found:
        """The flow called ``func`` or ``Class.method`` in a module."""
        self._steps += 1
        self._beside = None
        name, _, rest = qualname.partition(".")
        found = self._program.resolve(module, name, at)
        while rest and (isinstance(found, str) or (found and found.binding is None)):
            name, _, rest = rest.partition(".")
            found = self._program.member(module, found, name)
        if found is None:
            raise self._nothing(module, qualname)
        if isinstance(found, str):
            raise ComputedError(
                f"{qualname!r} is imported from {found!r}, which is not in the repository",
                where=module.path,
                hint="name the file that defines the flow, or set flow_name: in the manifest",
            )
        while rest and isinstance(found.binding, ast.ClassDef):
            name, _, rest = rest.partition(".")
            found = self._inherited(found, name, set()) or _no_member(found, qualname, name)
        if isinstance(found.binding, ast.expr) and rest:
            message = f"{qualname!r} is computed when the code runs"
            raise ComputedError(message, where=found.module.path, hint=_SET_NAME)
        if rest or found.binding is None or isinstance(found.binding, ast.ClassDef):
            raise FlowError(f"{qualname!r} is not a flow", where=found.module.path)
        if found.changed & _TOLD:
            message = f"{qualname!r} is changed when the code runs"
            raise ComputedError(message, where=found.module.path, hint=_SET_NAME)
        flow = self._flow(found.module, found.binding, qualname, found.at)
        flow.owner = flow.owner or self._owner
        return flow

    def _nothing(self, module: Module, qualname: str) -> FlowError:
        name = qualname.partition(".")[0]
        imported = module.latest(name)
        if imported and isinstance(imported.binding, Imported):
            return FlowError(
                f"{qualname!r} is imported from {imported.binding.dotted!r}, where it is not",
                where=module.path,
                hint="name the file that defines the flow",
            )
        return _missing(module.path, qualname, list(module.bindings))

    def _inherited(self, owner: Symbol, name: str, seen: set[ast.AST]) -> Symbol | None:
        """A member of a class or of the classes it inherits from, in order."""
        node = owner.binding
        if not isinstance(node, ast.ClassDef) or node in seen:
            return None
        seen.add(node)
        members = _members(owner)
        bound = members.latest(name)
        if bound is not None:
            if isinstance(bound.binding, ast.Name):
                bound = members.latest(bound.binding.id, bound.seen_from) or bound
            self._owner, self._beside = node, members
            return Symbol(owner.module, bound.binding, bound.seen_from)
        for base in node.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            found = self._program.expression(owner.module, base, owner.at)
            if isinstance(found, Symbol) and (member := self._inherited(found, name, seen)):
                return member
        return None

    def _flow(self, module: Module, binding: Binding, qualname: str, at: Place | None) -> Found:
        self._steps += 1
        if self._steps > 2 * _LONGEST_CHAIN:
            raise FlowError(f"{qualname!r} cannot be followed to a function", where=module.path)
        match binding:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._decorated(module, binding)
            case ast.Lambda():
                return Found(self._program, module, function_of(binding), at=at)
            case ast.Name() | ast.Attribute() if beside := self._in_class(module, binding, at):
                return self._flow(module, beside[0], qualname, beside[1])
            case ast.Name() | ast.Attribute():
                return self.qualified(module, ast.unparse(binding), at)
            case ast.Call():
                return self._made(module, binding, qualname, at)
            case Either():
                return self._one_of(Symbol(module, binding), qualname)
        if binding is NOT_KNOWN:
            message = f"{qualname!r} is computed when the code runs"
            raise ComputedError(message, where=module.path, hint=_SET_NAME)
        raise FlowError(
            f"{qualname!r} is not a function", where=module.path, hint="name a @flow function"
        )

    def _in_class(
        self, module: Module, node: ast.expr, at: Place | None
    ) -> tuple[Binding, Place] | None:
        """What ``node`` is in the class whose body it stands in; None when it is not of the class."""
        root = node
        while isinstance(root, ast.Attribute):
            root = root.value
        bound = self._beside.latest(ast.unparse(root), at) if self._beside else None
        if bound is None:
            return None
        if node is root and bound.binding and not isinstance(bound.binding, Imported):
            return bound.binding, bound.seen_from
        message = f"{ast.unparse(node)!r} is computed when the class's body runs"
        raise ComputedError(message, where=f"{module.path}:{node.lineno}", hint=_SET_NAME)

    def _one_of(self, found: Symbol, qualname: str) -> Found:
        several = found.alternatives
        if self._choice is None or self._choice >= len(several):
            error = SeveralError(
                f"{qualname!r} is given several values in this file; "
                "which one is the flow is only known when the code runs",
                where=found.module.path,
                hint=f"give the flow a name of its own, or {_SET_NAME}",
            )
            error.count = len(several)
            raise error
        one = self._program.of(several[self._choice])
        if not isinstance(one, Symbol) or one.binding is None:
            message = f"{qualname!r} is imported from elsewhere"
            raise ComputedError(message, where=found.module.path, hint=_SET_NAME)
        return self._flow(one.module, one.binding, qualname, one.at)

    def _made(self, module: Module, call: ast.Call, qualname: str, at: Place | None) -> Found:
        """``flow(f, name=...)``, ``flow(name=...)(f)`` or ``other.with_options(...)``."""
        named = making.keywords(module, call, at)
        function = call.func
        if isinstance(function, ast.Attribute) and function.attr == "with_options":
            found = self._flow(module, function.value, qualname, at)
            found.options |= named
            return found
        if making.is_partial(self._program, module, function, at) and call.args:
            found = self._flow(module, call.args[0], qualname, at)
            # Neither what is left of the parameters nor a name of its own is certain.
            found.same_signature = False
            found.options = {"name": NOT_KNOWN}
            return found
        inner: ast.expr | None = named.pop("fn", None) or (call.args[0] if call.args else None)
        options = making.maker(self._program, module, function, at)
        if inner is None or options is None:
            raise ComputedError(
                f"{qualname!r} is computed when the code runs",
                where=f"{module.path}:{call.lineno}",
                hint=f"define it with @flow, or as flow(function), or {_SET_NAME}",
            )
        found = self._flow(module, inner, qualname, at)
        unnamed = {"name": NOT_KNOWN} if not found.same_signature else {}
        found.options = unnamed | options | named
        found.is_flow = True
        return found

    def _decorated(self, module: Module, function: Function) -> Found:
        found = Found(self._program, module, function, at=place(function))
        makers = [
            making.maker(self._program, module, each, found.at) for each in function.decorator_list
        ]
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


def _members(owner: Symbol) -> Module:
    return source.run(getattr(owner.binding, "body", []), owner.module.path)


def _no_member(owner: Symbol, qualname: str, name: str) -> Symbol:
    node = owner.binding
    members = _members(owner)
    prefix = qualname.rpartition(name)[0]
    known = [f"{prefix}{each}" for each in members.bindings]
    where = f"{owner.module.path}:{node.lineno}" if isinstance(node, ast.ClassDef) else None
    raise _missing(where, qualname, known)


def _missing(where: str | None, qualname: str, known: list[str]) -> FlowError:
    close = difflib.get_close_matches(qualname, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else None
    return FlowError(f"there is no {qualname!r} in this file", where=where, hint=hint)
