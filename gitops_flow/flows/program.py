"""The repository's files as Python would find them, and what names in them stand for."""

from __future__ import annotations

import ast
import builtins
import posixpath
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitops_flow.errors import FlowError
from gitops_flow.flows import libraries
from gitops_flow.flows.module import NOT_KNOWN, Imported, Module, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitops_flow.flows.module import Binding, Place, ReadFile

# Prefect has imported these before the flow's directory is on the path.
_ELSEWHERE = frozenset(("prefect", "pydantic", "pydantic_core", "typing", "typing_extensions"))
_LONGEST_CHAIN = 30
_LARGEST_IMPORT = 1_000_000
_MOST_ALTERNATIVES = 20
_BUILTIN = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True, eq=False)
class Either:
    """One of several, which one only running the code would tell."""

    alternatives: tuple[Symbol | str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """What a name stands for: a binding of a module, or, without one, the module itself.

    ``at`` is where it was bound, ``name`` what it is called there.
    """

    module: Module
    binding: Binding | Either | None = None
    at: Place | None = None
    name: str = ""

    @property
    def changed(self) -> set[str]:
        """The attributes that the module sets of it; "" for more than attributes."""
        return self.module.altered.get(self.name, set())


class Program:
    """Modules by name, each read once.

    Args:
        read_file: the content of a file, or None; paths are relative to the
            directory in which the flow will be loaded.
        entry: the path of the file that is loaded, which need not be a module.
        script: whether it is loaded by its path, and not as a module.
    """

    def __init__(self, read_file: ReadFile, entry: str, script: bool) -> None:
        self._read_file = read_file
        self._directory = posixpath.dirname(entry)
        self._script = entry if script else None
        self._modules: dict[tuple[str, str], Module | None] = {}
        self._resolved: dict[tuple[Module, str, Place | None], Symbol | str | None] = {}
        self._depth = 0

    def find(self, dotted: str, near: Module | None = None) -> Module | None:
        """The module that ``import dotted`` in ``near`` would give, if the repository has it.

        One that cannot be parsed is as good as absent: it is not what was asked for.
        """
        if dotted.partition(".")[0] in _ELSEWHERE or libraries.has(dotted):
            return None
        here = posixpath.dirname(near.path) if near else self._directory
        if (dotted, here) not in self._modules:
            # First as Prefect sets the path; the rest is what an installed layout may have.
            roots = (self._directory, "", "src", *_upwards(here))
            self._modules[dotted, here] = self._load(dotted, dotted, dict.fromkeys(roots))
        return self._modules[dotted, here]

    def _load(self, dotted: str, name: str, roots: dict[str, None]) -> Module | None:
        relative = dotted.replace(".", "/")
        for root in roots:
            for path in (f"{relative}/__init__.py", f"{relative}.py"):
                full = posixpath.normpath(posixpath.join(root, path.lstrip("/")))
                data = None if full.startswith("../") else self._read_file(full)
                if data is not None and len(data) <= _LARGEST_IMPORT:
                    try:
                        return parse(data, full, name)
                    except FlowError:
                        return None
        return None

    def _relative(self, near: Module, imported: Imported) -> Module | None:
        """The module of ``from ..x import y``."""
        here = posixpath.dirname(near.path)
        above = posixpath.normpath(posixpath.join(here, *[".."] * (imported.level - 1)))
        roots = {above: None}
        package = near.name
        if near.path == self._script:
            # Prefect lets a script's own name stand for its directory and the current one.
            roots[""] = None
        elif posixpath.basename(near.path) != "__init__.py":
            package = near.name.rpartition(".")[0]
        for _ in range(imported.level - 1):
            package = package.rpartition(".")[0]
        name = ".".join(part for part in (package, imported.module) if part)
        key = (f"{'.' * imported.level}{imported.module}", near.path)
        if key not in self._modules:
            self._modules[key] = self._load(imported.module, name, roots)
        return self._modules[key]

    def resolve(self, module: Module, name: str, at: Place | None = None) -> Symbol | str | None:
        """What ``name`` stands for in ``module`` at a place, through all imports.

        What can come from Prefect does. Of several other things it is an
        :class:`Either`.

        Returns:
            a full dotted name when it comes from outside the repository; None
            when the module does not bind it.
        """
        key = (module, name, at)
        if key not in self._resolved and self._depth < _LONGEST_CHAIN:
            self._resolved[key] = None  # for imports that go round in circles
            self._depth += 1
            try:
                # What is bound only below counts where it is used before, as in text.
                values = self._possible(module, name, at) or self._possible(module, name, None)
            finally:
                self._depth -= 1
            self._resolved[key] = _chosen(module, name, values)
        return self._resolved.get(key)

    def _possible(
        self, module: Module, name: str, at: Place | None
    ) -> list[tuple[Symbol | str | None, bool]]:
        """What ``name`` may stand for, the last first, and whether that is only a stand-in."""
        values: list[tuple[Symbol | str | None, bool]] = []
        unknown = Symbol(module, NOT_KNOWN, at, name)
        for bound in reversed(module.values(name, at)):
            if bound in module.stars:
                given = self._given(module, bound.binding, name)
                if given is None:
                    if values and self._may_give(module, bound.binding):
                        values.append((unknown, False))
                    continue
                values.append((given, bound.stand_in))
            elif bound.binding is not None:
                value: Symbol | str | None = Symbol(module, bound.binding, bound.at, name)
                if isinstance(bound.binding, Imported):
                    value = self._imported(module, bound.binding)
                values.append((value, bound.stand_in))
            if bound.sure:
                break
        else:
            if values and name in _BUILTIN:
                values.append((unknown, False))
        if values and name in module.rebound:
            values.append((unknown, False))
        return values

    def expression(
        self, module: Module, node: ast.expr, at: Place | None = None
    ) -> Symbol | str | None:
        """As :meth:`resolve`, for ``a.b.c`` as well; None for anything else."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or len(attributes) > _LONGEST_CHAIN:
            return None
        symbol = self.resolve(module, node.id, at)
        for attribute in reversed(attributes):
            symbol = self.member(module, symbol, attribute)
        return symbol

    def member(
        self, near: Module, owner: Symbol | str | None, attribute: str
    ) -> Symbol | str | None:
        """An attribute of what a name stands for."""
        if isinstance(owner, str):
            dotted = f"{owner}.{attribute}"
            module = self.find(dotted, near)
            return Symbol(module) if module else dotted
        if owner is None or owner.binding is not None:
            return None
        return self._from(owner.module, attribute)

    def _imported(self, near: Module, imported: Imported) -> Symbol | str | None:
        relative = bool(imported.level)
        module = self._relative(near, imported) if relative else self.find(imported.module, near)
        if imported.name is None:
            return Symbol(module) if module else imported.module
        if module is not None and module.path != near.path:
            return self._from(module, imported.name)
        if not relative:
            return self.member(near, imported.module, imported.name)
        dotted = ".".join(part for part in (imported.module, imported.name) if part)
        module = self._relative(near, Imported(dotted, None, imported.level))
        return Symbol(module) if module else None

    def _from(self, module: Module, name: str) -> Symbol | str | None:
        """What ``from module import name`` gives: a name in it, or else a module below it."""
        symbol = self.resolve(module, name)
        if symbol is not None or module.bindings.get(name):
            return symbol
        if posixpath.basename(module.path) != "__init__.py":
            return None
        key = (f"/{name}", module.path)
        if key not in self._modules:
            roots = {posixpath.dirname(module.path): None}
            self._modules[key] = self._load(name, f"{module.name}.{name}", roots)
        below = self._modules[key]
        return Symbol(below) if below else None

    def _given(self, module: Module, star: Any, name: str) -> Symbol | str | None:
        """What ``from star import *`` binds ``name`` to."""
        other = self._relative(module, star) if star.level else self.find(star.module, module)
        if other is None:
            known = not star.level and _hands_on(star.module, name)
            return f"{star.module}.{name}" if known else None
        return None if name.startswith("_") else self.resolve(other, name)

    def _may_give(self, module: Module, star: Any) -> bool:
        """Whether a star import gives names that are not known."""
        if star.level or self.find(star.module, module):
            return False
        top = star.module.partition(".")[0]
        return top not in _ELSEWHERE and top not in sys.stdlib_module_names


def _chosen(
    module: Module, name: str, values: Sequence[tuple[Symbol | str | None, bool]]
) -> Symbol | str | None:
    """The one that counts of several, or all of them."""
    for each, _ in values:
        if isinstance(each, str) and each.partition(".")[0] == "prefect":
            return each
    real = [each for each, stand_in in values if not stand_in] or [each for each, _ in values]
    different: list[Symbol | str] = []
    for each in real:
        one = each or Symbol(module, NOT_KNOWN)
        alternatives: tuple[Symbol | str, ...] = (one,)
        if isinstance(one, Symbol) and isinstance(one.binding, Either):
            alternatives = one.binding.alternatives
        for alternative in alternatives:
            if not any(_same(alternative, other) for other in different):
                different.append(alternative)
        if len(different) > _MOST_ALTERNATIVES:
            return Symbol(module, NOT_KNOWN, name=name)
    if len(different) < 2:
        return real[0] if real else None
    return Symbol(module, Either(tuple(different)), name=name)


def _same(one: Symbol | str, other: Symbol | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return one.module is other.module and one.binding is other.binding is not NOT_KNOWN


def _hands_on(library: str, name: str) -> bool:
    """Whether a star import of a library that we know gives ``name``."""
    if library in ("prefect", "prefect.flows"):
        return name in ("flow", "Flow")
    return libraries.exports(library, name)


def _upwards(directory: str) -> Iterator[str]:
    while directory not in ("", "/", "..") and not directory.endswith("/.."):
        yield directory
        yield posixpath.join(directory, "src")
        directory = posixpath.dirname(directory)
