"""The repository's files as Python would find them, and what names in them stand for."""

from __future__ import annotations

import ast
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gitops_flow.errors import FlowError
from gitops_flow.flows import libraries
from gitops_flow.flows.binding import NOT_KNOWN, Either, Imported
from gitops_flow.flows.module import Module, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.flows.binding import Binding, Place
    from gitops_flow.flows.module import ReadFile

# Prefect has imported these before the flow's directory is on the path.
_ELSEWHERE = frozenset(("prefect", "pydantic", "pydantic_core", "typing", "typing_extensions"))
_LONGEST_CHAIN = 30
_LARGEST_IMPORT = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """What a name stands for: a binding of a module, or, without one, the module itself.

    ``at`` is where it was bound, ``name`` what it is called there.
    """

    module: Module
    binding: Binding | None = None
    at: Place | None = None
    name: str = ""

    @property
    def changed(self) -> set[str]:
        """The attributes that the module sets of it; "" for more than attributes."""
        return self.module.altered.get(self.name, set())

    @property
    def alternatives(self) -> list[Symbol]:
        """What it may be, one for each branch."""
        several = self.binding.alternatives if isinstance(self.binding, Either) else ()
        return [replace(self, binding=each.binding, at=each.seen_from) for each in several]


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

        Returns:
            a full dotted name when it comes from outside the repository; None
            when the module does not bind it, or not to one thing.
        """
        self._depth += 1
        try:
            if self._depth > _LONGEST_CHAIN:
                return None
            bound = module.latest(name, at)
            found = None
            if bound is not None and bound.binding is not None:
                found = self.of(Symbol(module, bound.binding, bound.seen_from, name))
            return self._by_star(module, name, found, bound.at if bound else None, at)
        finally:
            self._depth -= 1

    def of(self, symbol: Symbol) -> Symbol | str | None:
        """What a binding stands for, through all imports."""
        binding = symbol.binding
        if isinstance(binding, Imported):
            return self._imported(symbol.module, binding)
        if isinstance(binding, Either):
            found = [self.of(each) for each in symbol.alternatives]
            if all(isinstance(each, str) and each == found[0] for each in found):
                return found[0]
        return symbol

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
        found = self.resolve(module, node.id, at)
        for attribute in reversed(attributes):
            found = self.member(module, found, attribute)
        return found

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
        found = self.resolve(module, name)
        if found is not None or module.bindings.get(name):
            return found
        if posixpath.basename(module.path) != "__init__.py":
            return None
        key = (f"/{name}", module.path)
        if key not in self._modules:
            roots = {posixpath.dirname(module.path): None}
            self._modules[key] = self._load(name, f"{module.name}.{name}", roots)
        below = self._modules[key]
        return Symbol(below) if below else None

    def _by_star(
        self,
        module: Module,
        name: str,
        found: Symbol | str | None,
        since: Place | None,
        at: Place | None,
    ) -> Symbol | str | None:
        """``found``, bound ``since`` a place, or what a star import after it gives instead."""
        for bound in reversed(module.stars):
            if (since and bound.at < since) or (since and at and bound.at > at):
                continue
            given = self._given(module, bound.binding, name)
            if given is not None and given != found:
                return given if bound.sure or found is None else Symbol(module, NOT_KNOWN, bound.at)
        return found

    def _given(self, module: Module, star: Any, name: str) -> Symbol | str | None:
        """What ``from star import *`` binds ``name`` to."""
        other = self._relative(module, star) if star.level else self.find(star.module, module)
        if other is None:
            known = not star.level and _hands_on(star.module, name)
            return f"{star.module}.{name}" if known else None
        return None if name.startswith("_") else self.resolve(other, name)


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
