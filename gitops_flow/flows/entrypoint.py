"""From an entrypoint to the function that it names, and the options that make it a flow."""

from __future__ import annotations

import ast
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.errors import FlowError
from gitops_flow.flows import module as source
from gitops_flow.flows.module import NOT_KNOWN, Function, Imported, place
from gitops_flow.flows.program import Either, Program, Symbol
from gitops_flow.model import Entrypoint
from gitops_flow.names import did_you_mean

if TYPE_CHECKING:
    from gitops_flow.flows.module import Binding, Module, Place, ReadFile

    Options = dict[str, ast.expr]

_FLOW = ("prefect.flow", "prefect.flows.flow")
_FLOW_CLASS = ("prefect.Flow", "prefect.flows.Flow")
# What is read of a flow's options.
_READ = ("name", "description", "version")
_ENDS = ("/__init__.py", ".py")
SET_NAME = "set flow_name: in the manifest"
_TRANSPARENT = ("staticmethod", "classmethod")
_LONGEST_CHAIN = 10
# Attributes of a flow that say what is read here.
_TOLD = {"name", "description", "version", "fn", "parameters"}


class ComputedError(FlowError):
    """What the flow is, or what it is called, is made by code that would have to be run."""


@dataclass(slots=True)
class FlowFunction:
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


def locate(read_file: ReadFile, entrypoint: str) -> FlowFunction:
    """Find the flow; nothing is imported or run.

    Args:
        read_file: as for :func:`gitops_flow.flows.read`.
        entrypoint: the same.

    Raises:
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
    candidates = [posixpath.normpath(parsed.location)]
    script = parsed.kind == "file"
    if not script:
        name = parsed.location.replace(".", "/")
        candidates = [f"{top}{name}{end}" for top in ("", "src/") for end in _ENDS]
    inside = (path for path in candidates if not path.startswith(("../", "/")))
    readable = ((path, data) for path in inside if (data := read_file(path)) is not None)
    path, data = next(readable, ("", None))
    if data is None:
        what = "file" if parsed.kind == "file" else "module"
        raise FlowError(
            f"the {what} {parsed.location!r} does not exist",
            where=entrypoint,
            hint="the path is relative to the manifest, the repository's root or the current directory",
        )
    name = posixpath.basename(path).removesuffix(".py") if script else parsed.location
    module = source.parse(data, path, name)
    return _Search(Program(read_file, path, script)).qualified(module, parsed.qualname)


class _Search:
    """Follows names until they end at a function."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._steps = 0
        self._owner: ast.ClassDef | None = None
        # The names of the class in whose body the value that is followed stands.
        self._beside: Module | None = None

    def qualified(self, module: Module, qualname: str, at: Place | None = None) -> FlowFunction:
        """The flow called ``func`` or ``Class.method`` in a module."""
        self._steps += 1
        self._beside = None
        name, _, rest = qualname.partition(".")
        symbol = self._program.resolve(module, name, at)
        while rest and (isinstance(symbol, str) or (symbol and symbol.binding is None)):
            name, _, rest = rest.partition(".")
            symbol = self._program.member(module, symbol, name)
        if symbol is None:
            raise self._nothing(module, qualname)
        if isinstance(symbol, str):
            raise ComputedError(
                f"{qualname!r} is imported from {symbol!r}, which is not in the repository",
                where=module.path,
                hint=f"name the file that defines the flow, or {SET_NAME}",
            )
        while rest and isinstance(symbol.binding, ast.ClassDef):
            name, _, rest = rest.partition(".")
            symbol = self._inherited(symbol, name, set()) or _no_member(symbol, qualname, name)
        if isinstance(symbol.binding, ast.expr | Either) and rest:
            message = f"{qualname!r} is computed when the code runs"
            raise ComputedError(message, where=symbol.module.path, hint=SET_NAME)
        if rest or symbol.binding is None or isinstance(symbol.binding, ast.ClassDef):
            raise FlowError(f"{qualname!r} is not a flow", where=symbol.module.path)
        if symbol.changed & _TOLD:
            message = f"{qualname!r} is changed when the code runs"
            raise ComputedError(message, where=symbol.module.path, hint=SET_NAME)
        flow = self._flow(symbol.module, symbol.binding, qualname, symbol.at)
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
                bound = members.latest(bound.binding.id, bound.at) or bound
            self._owner, self._beside = node, members
            return Symbol(owner.module, bound.binding, bound.at)
        for base in node.bases:
            base = base.value if isinstance(base, ast.Subscript) else base
            symbol = self._program.expression(owner.module, base, owner.at)
            if isinstance(symbol, Symbol) and (member := self._inherited(symbol, name, seen)):
                return member
        return None

    def _flow(
        self, module: Module, binding: Binding | Either, qualname: str, at: Place | None
    ) -> FlowFunction:
        self._steps += 1
        if self._steps > 2 * _LONGEST_CHAIN:
            raise FlowError(f"{qualname!r} cannot be followed to a function", where=module.path)
        match binding:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return self._decorated(module, binding)
            case ast.Lambda():
                return FlowFunction(self._program, module, _function_of(binding), at=at)
            case ast.Name() | ast.Attribute() if beside := self._in_class(module, binding, at):
                return self._flow(module, beside[0], qualname, beside[1])
            case ast.Name() | ast.Attribute():
                return self.qualified(module, ast.unparse(binding), at)
            case ast.Call():
                return self._made(module, binding, qualname, at)
            case Either():
                return self._one_of(module, binding, qualname)
        if binding is NOT_KNOWN:
            message = f"{qualname!r} is computed when the code runs"
            raise ComputedError(message, where=module.path, hint=SET_NAME)
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
            return bound.binding, bound.at
        message = f"{ast.unparse(node)!r} is computed when the class's body runs"
        raise ComputedError(message, where=f"{module.path}:{node.lineno}", hint=SET_NAME)

    def _one_of(self, module: Module, either: Either, qualname: str) -> FlowFunction:
        """The only one of several that can be a flow."""
        flows = [each for each in either.alternatives if not _is_no_flow(each)]
        if len(flows) == 1 and isinstance(flows[0], Symbol) and flows[0].binding is not None:
            return self._flow(flows[0].module, flows[0].binding, qualname, flows[0].at)
        raise ComputedError(
            f"{qualname!r} is given several values in this file; "
            "which one is the flow is only known when the code runs",
            where=module.path,
            hint=f"give the flow a name of its own, or {SET_NAME}",
        )

    def _made(
        self, module: Module, call: ast.Call, qualname: str, at: Place | None
    ) -> FlowFunction:
        """``flow(f, name=...)``, ``flow(name=...)(f)`` or ``other.with_options(...)``."""
        named = _keywords(module, call, at)
        function = call.func
        if isinstance(function, ast.Attribute) and function.attr == "with_options":
            flow = self._flow(module, function.value, qualname, at)
            flow.options |= named
            return flow
        if _is_partial(self._program, module, function, at) and call.args:
            flow = self._flow(module, call.args[0], qualname, at)
            # Neither what is left of the parameters nor a name of its own is certain.
            flow.same_signature = False
            flow.options = {"name": NOT_KNOWN}
            return flow
        inner: ast.expr | None = named.pop("fn", None) or (call.args[0] if call.args else None)
        options = _maker(self._program, module, function, at)
        if inner is None or options is None:
            raise ComputedError(
                f"{qualname!r} is computed when the code runs",
                where=f"{module.path}:{call.lineno}",
                hint=f"define it with @flow, or as flow(function), or {SET_NAME}",
            )
        flow = self._flow(module, inner, qualname, at)
        unnamed = {"name": NOT_KNOWN} if not flow.same_signature else {}
        flow.options = unnamed | options | named
        flow.is_flow = True
        return flow

    def _decorated(self, module: Module, function: Function) -> FlowFunction:
        flow = FlowFunction(self._program, module, function, at=place(function))
        makers = [_maker(self._program, module, each, flow.at) for each in function.decorator_list]
        for decorator, options in zip(function.decorator_list, makers, strict=True):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if options is not None:
                flow.is_flow = True
                flow.options = options
            elif named := self._named(module, decorator, flow.at):
                # It may be Prefect's, or a wrapper that changes more than it is told.
                flow.is_flow, flow.same_signature = True, False
                flow.options = dict.fromkeys(_READ, NOT_KNOWN) | named
            elif not (isinstance(called, ast.Name) and called.id in _TRANSPARENT) and (
                flow.is_flow or all(each is None for each in makers)
            ):
                flow.same_signature = False
        return flow

    def _named(self, module: Module, decorator: ast.expr, at: Place | None) -> Options | None:
        """The options of ``@flow(name=...)`` where ``flow`` is something outside the repository."""
        if not isinstance(decorator, ast.Call):
            return None
        called = ast.unparse(decorator.func).rpartition(".")[2]
        options = _keywords(module, decorator, at)
        if called != "flow" or "name" not in options:
            return None
        flow = self._program.expression(module, decorator.func, at)
        outside = isinstance(flow, str) or (flow is None and module.stars)
        computed = isinstance(flow, Symbol) and isinstance(flow.binding, ast.expr)
        return options if outside or computed else None


def _is_no_flow(value: Symbol | str) -> bool:
    """Whether a value is a function or constant that nothing makes a flow."""
    binding = None if isinstance(value, str) else value.binding
    plain = isinstance(binding, Function) and not binding.decorator_list
    return plain or isinstance(binding, ast.ClassDef | ast.Constant)


def _function_of(node: ast.Lambda) -> ast.FunctionDef:
    """A lambda as the function that Python makes of it."""
    made = ast.FunctionDef(name="<lambda>", args=node.args, body=[], decorator_list=[])
    return ast.copy_location(made, node)


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
    message, hint = f"there is no {qualname!r} in this file", did_you_mean(qualname, known)
    return FlowError(message, where=where, hint=hint)


def _maker(
    program: Program,
    module: Module,
    node: ast.expr,
    at: Place | None = None,
    depth: int = 0,
) -> Options | None:
    """The options that calling ``node`` with a function makes a flow with.

    ``node`` is ``flow``, ``flow(name=...)``, ``functools.partial(flow, ...)`` or
    a name for one; None when it is not Prefect's. ``depth`` names led here.
    """
    if depth > _LONGEST_CHAIN:
        return None
    match node:
        case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_]):
            node = ast.Attribute(owner, name, ast.Load())
        case ast.IfExp(body=one, orelse=other) | ast.BoolOp(values=[one, other]):
            return _either([_maker(program, module, each, at, depth + 1) for each in (one, other)])
    if isinstance(node, ast.Call):
        function, arguments = node.func, node.args
        if _is_partial(program, module, function, at) and arguments:
            function, *arguments = arguments
        options = _maker(program, module, function, at, depth + 1)
        return None if options is None or arguments else options | _keywords(module, node, at)
    return _handed_on(program, module, program.expression(module, node, at), depth)


def _handed_on(
    program: Program, module: Module, maker: Symbol | str | None, depth: int
) -> Options | None:
    """The options that what a name stands for makes a flow with."""
    if isinstance(maker, str):
        return {} if maker in (*_FLOW, *_FLOW_CLASS) else None
    if isinstance(maker, Symbol) and isinstance(maker.binding, Either):
        several = maker.binding.alternatives
        return _either([_handed_on(program, module, each, depth + 1) for each in several])
    if not isinstance(maker, Symbol) or not isinstance(maker.binding, ast.expr):
        return None
    options = _maker(program, maker.module, maker.binding, maker.at, depth + 1)
    if options is None or maker.module is module:
        return options
    # Their values are written in the other file's names.
    return dict.fromkeys(options, NOT_KNOWN)


def _either(several: list[Options | None]) -> Options | None:
    """The options that one of several makes a flow with: what is not Prefect's does not count."""
    makers = [each for each in several if each is not None]
    if not makers or all(each == makers[0] for each in makers):
        return makers[0] if makers else None
    return dict.fromkeys((name for each in makers for name in each), NOT_KNOWN)


def _is_partial(program: Program, module: Module, node: ast.expr, at: Place | None = None) -> bool:
    """Whether ``node`` is ``functools.partial``."""
    return program.expression(module, node, at) == "functools.partial"


def _keywords(module: Module, call: ast.Call, at: Place | None = None) -> Options:
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
        bound = module.latest(node.id, at)
        if bound and isinstance(bound.binding, ast.expr) and node.id not in module.altered:
            node = bound.binding
    if isinstance(node, ast.Dict):
        names = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        if all(isinstance(name, str) for name in names):
            return dict(zip(map(str, names), node.values, strict=True))
    return dict.fromkeys(_READ, NOT_KNOWN)
