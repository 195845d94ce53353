"""One step of a manifest, taken apart, and how its failure is told."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.errors import StepError
from gitops_flow.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from gitops_flow.buildsteps.console import Console
    from gitops_flow.model import Json

    Step = Mapping[str, Json]

# Inputs that say something about the step and are not for its function.
_RESERVED = ("id", "requires")


class Failed(StepError):  # noqa: N818 - who runs the step adds its name and place
    """What a step failed of, in its own words."""


@dataclass(frozen=True, slots=True)
class Call:
    """A step: ``name`` is what it calls, ``id`` what its outputs are kept under."""

    name: str
    inputs: dict[str, Json]
    id: str | None
    requires: tuple[str, ...]

    @property
    def short(self) -> str:
        """The function's own name."""
        return self.name.replace(":", ".").rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Here:
    """Where a step runs: its directory and environment, the Python to use, who is told.

    ``anything`` says that every function may run: only then modules of ``cwd`` are looked
    at, and packages installed.
    """

    cwd: Path
    environ: Mapping[str, str]
    python: Callable[[], str]
    console: Console
    anything: bool

    def inside(self, directory: Json) -> Path:
        """``directory`` seen from here; None is here.

        Raises:
            Failed: there is no such directory.
        """
        found = self.cwd if directory is None else self.cwd / text("directory", directory)
        if not found.is_dir():
            raise Failed(f"there is no directory {str(directory)!r}", where=str(self.cwd))
        return found


def parse(step: Step) -> Call:
    """Take a step apart.

    Raises:
        Failed: it is not ``name: {inputs}``.
    """
    if len(step) != 1:
        names = ", ".join(map(str, step))
        raise Failed(
            f"one item of the list holds {len(step)} steps: {names}",
            hint="begin each step with its own dash, and indent its inputs below it",
        )
    ((name, inputs),) = step.items()
    if inputs is None:
        inputs = {}
    if not isinstance(inputs, dict) or not all(isinstance(key, str) for key in inputs):
        raise Failed(
            f"its inputs are {_kind(inputs)}, not a mapping of names to values",
            hint="write 'input: value' lines below the step, without a dash",
        )
    requires = inputs.get("requires") or ()
    packages = [requires] if isinstance(requires, str) else requires
    if not isinstance(packages, list | tuple) or not all(isinstance(p, str) for p in packages):
        raise Failed("requires is neither the name of a package nor a list of names")
    given = {key: value for key, value in inputs.items() if key not in _RESERVED}
    wanted = inputs.get("id")
    return Call(str(name), given, str(wanted) if wanted else None, tuple(filter(None, packages)))


def identity(step: Step) -> str:
    """The same text for two steps that would do the same."""
    return json.dumps(step, sort_keys=True, default=repr)


def check(function: Callable[..., Json], inputs: Mapping[str, Json]) -> None:
    """Refuse ``inputs`` that ``function``, one of ours, does not take or lacks.

    Raises:
        Failed: naming them, and what they may have been meant for.
    """
    takes = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for name in inputs:
        if name not in takes:
            raise Failed(
                f"it takes no input {name!r}",
                hint=did_you_mean(name, takes) or f"it takes {', '.join(takes)}",
            )
    for name, parameter in takes.items():
        if parameter.default is parameter.empty and name not in inputs:
            raise Failed(f"the input {name!r} is missing")


def text(name: str, value: Json) -> str:
    """``value``, which has to be a text.

    Raises:
        Failed: it is not.
    """
    if not isinstance(value, str):
        hint = "write it in quotes" if isinstance(value, bool | int | float) else None
        raise Failed(f"the input {name!r} is {_kind(value)}, not a text", hint=hint)
    return value


def secrets(value: Json, is_secret: Callable[[str], bool], *, all_: bool = False) -> Iterator[str]:
    """The texts in ``value`` that stand below a key that ``is_secret``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from secrets(inner, is_secret, all_=all_ or is_secret(str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from secrets(inner, is_secret, all_=all_)
    elif all_ and isinstance(value, str):
        yield value


def told(lines: Iterable[str]) -> str:
    """The end of a message: the last lines of a step."""
    shown = "\n".join(f"  {line}" for line in lines)
    return f"; its last lines:\n{shown}" if shown else ""


def _kind(value: Json) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number"}
    names |= {str: "a text", list: "a list", dict: "a mapping"}
    return names.get(type(value), type(value).__name__)
