"""What the evaluators of all modules share while one flow is read: classes made, and a budget."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import sys
import typing
from typing import TYPE_CHECKING, Any

from gitops_flow.flows.evaluator import Evaluator
from gitops_flow.flows.libraries import Unknown
from gitops_flow.flows.module import NOT_KNOWN

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator

    from gitops_flow.flows.module import Module
    from gitops_flow.flows.program import Program

# Names that stand for names can make a small file mean a large value.
_DEEPEST = 60
_MOST_STEPS = 100_000
# Fields that making an instance fills: defaults of defaults double with each class.
_HEAVIEST = 10_000


@dataclasses.dataclass(slots=True)
class Made:
    """A class made from syntax.

    ``weight`` is how many values making an instance makes, at most; ``exact``
    is False when the class's own code takes part in making or showing one.
    """

    type: Any
    weight: int = 1
    exact: bool = True
    written: dict[str, Any] = dataclasses.field(default_factory=dict)


class Scope:
    """One reading of one flow. ``make_class`` makes a class of its syntax."""

    def __init__(
        self, program: Program, make_class: Callable[[ast.ClassDef, Evaluator], Made]
    ) -> None:
        self.program = program
        self.in_class = False
        # Counts what was met that changes values in a way that is not known.
        self.tainted = 0
        self.weight = 0
        self.notes: list[str] = []
        # Classes by the name under which others refer to them before they are made.
        self.later: dict[str, Any] = {}
        # Full names of classes in classes.
        self.qualnames: dict[ast.ClassDef, str] = {}
        self._make_class = make_class
        self._evaluators: dict[Module, Evaluator] = {}
        self._classes: dict[ast.AST, Made | None] = {}
        self._by_type: dict[int, Made] = {}
        self._kept: dict[ast.AST, Any] = {}
        self._promised: dict[ast.AST, str] = {}
        self._failed: set[ast.AST] = set()
        self._open = 0
        self._depth = 0
        self._steps = 0
        self._made = 0

    def evaluator(self, module: Module) -> Evaluator:
        """The one evaluator of a module."""
        if module not in self._evaluators:
            self._evaluators[module] = Evaluator(module, self)
        return self._evaluators[module]

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """One node of one expression.

        Raises:
            Unknown: too many, or too deep.
        """
        self.spend(1)
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise Unknown
            yield
        finally:
            self._depth -= 1

    def spend(self, steps: int) -> None:
        """Take from the budget.

        Raises:
            Unknown: nothing is left.
        """
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise Unknown

    @contextlib.contextmanager
    def outside_class(self, inside: bool = False) -> Iterator[None]:
        """Types as text inside other types work in the fields of a class, not elsewhere."""
        outer, self.in_class = self.in_class, inside
        try:
            yield
        finally:
            self.in_class = outer

    def qualname(self, node: ast.ClassDef) -> str:
        """What a class's ``__qualname__`` is."""
        return self.qualnames.get(node, node.name)

    def class_of(self, node: ast.ClassDef, evaluator: Evaluator, annotation: bool) -> Any:
        """The class of that syntax, made on first use; a stand-in while it is being made."""
        if node not in self._classes:
            self._make(node, evaluator)
        made = self._classes[node]
        if made is None:
            if annotation and self.in_class and node not in self._failed:
                return self._promise(node)
            raise Unknown
        return self.met(made.type)

    def met(self, value: Any) -> Any:
        """Count a value that the class in the making refers to."""
        if value is NOT_KNOWN:
            raise Unknown
        if made := self._made_as(value):
            self.weight += made.weight
            self.tainted += not made.exact
        return value

    def _make(self, node: ast.ClassDef, evaluator: Evaluator) -> None:
        self._classes[node] = None
        outer = (self.weight, self.tainted, self._open)
        self.weight, self._open = 1, self._open + 1
        names, evaluator.locals = evaluator.locals, []
        try:
            with self.outside_class(inside=True), self.step():
                made = self._make_class(node, evaluator)
        except Exception:
            self._failed.add(node)
            raise
        finally:
            evaluator.locals = names
            weight, changed = self.weight, self.tainted > outer[1]
            self.weight, self.tainted, self._open = outer
        self.know(made, weight, exact=made.exact and not changed)
        self._classes[node] = made
        if node in self._promised:
            self.later[self._promised[node]] = made.type
        if not self._open and self.later:
            self._settle()

    def know(self, made: Made, weight: int, *, exact: bool) -> None:
        """Remember a class."""
        made.weight, made.exact = weight, exact
        self._by_type[id(made.type)] = made

    def _promise(self, node: ast.ClassDef) -> Any:
        # A name that no source has: looking it up is all that evaluating it can do.
        name = self._promised.setdefault(node, f"_later_{len(self._promised)}_{node.name}")
        self.tainted += 1
        return typing.ForwardRef(name)

    def _settle(self) -> None:
        for made in self._by_type.values():
            rebuild = getattr(made.type, "model_rebuild", None)
            if rebuild and not made.type.__pydantic_complete__:
                rebuild(raise_errors=False, _types_namespace=self.later)

    def is_made(self, value: Any) -> bool:
        """Whether a value is a class made from the source."""
        return self._made_as(value) is not None

    def _made_as(self, value: Any) -> Made | None:
        generic = getattr(value, "__pydantic_generic_metadata__", None) or {}
        return self._by_type.get(id(generic.get("origin") or value))

    def about_to_make(self, type_: Any) -> None:
        """Count an instance of a class of the source.

        Raises:
            Unknown: when its own code would take part, or it would be too large.
        """
        made = self._made_as(type_)
        self._made += made.weight if made else 1
        if made is None or not made.exact or self._made > _HEAVIEST:
            raise Unknown

    def kept(self, node: ast.AST, make: Callable[[], Any], only: Any = object) -> Any:
        """What ``make`` gives, the same object each time if it is of the types ``only``."""
        if node not in self._kept:
            value = make()
            if not isinstance(value, only):
                return value
            self._kept[node] = value
        return self._kept[node]

    def functional_enum(
        self, kind: Any, module: Module, arguments: list[Any], named: dict[str, Any]
    ) -> Any:
        """``Enum("Name", members)``."""
        if len(arguments) != 2 or named or not isinstance(arguments[1], str | list | dict):
            raise Unknown
        return kind(*arguments, module=module_name(module))

    def member(self, owner: Any, name: str) -> Any:
        """An attribute of a class or an instance made here, if it holds just a value.

        Raises:
            Unknown: anything else.
        """
        if isinstance(owner, type) and issubclass(owner, enum.Enum):
            return owner.__members__[name]
        if isinstance(owner, enum.Enum) and name in ("value", "name"):
            return owner.value if name == "value" else owner.name
        if isinstance(owner, type):
            for each in owner.__mro__:
                if (made := self._by_type.get(id(each))) and name in made.written:
                    return self.met(made.written[name])
        elif self.is_made(type(owner)):
            fields = getattr(type(owner), "__pydantic_fields__", None) or getattr(
                type(owner), "__dataclass_fields__", {}
            )
            if name in fields:
                return getattr(owner, name)
        raise Unknown


def module_name(module: Module) -> str:
    """What a class's ``__module__`` is: it tells classes of one name apart in a schema.

    Never a module that is loaded here: Pydantic would look for names in it.
    """
    return module.name if module.name and module.name not in sys.modules else "<read from source>"
