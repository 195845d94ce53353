"""Whether pinned code loads: each snapshot checked out once, its flows imported by the user's Python."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow import files, flows
from gitops_flow.errors import CheckoutError, FlowError, GitflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gitops_flow.model import Deployment
    from gitops_flow.pin import Pin

    # Makes the files of a pin in a new directory below the given one; where they are.
    Make = Callable[[Pin, Path], Path]

_TIMEOUT = 120.0  # seconds, for all flows of a directory
_INSTEAD = "name the Python that your workers have with --python"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one deployment; ``error`` says why it is broken.

    ``not_run`` names the pull steps beside the pinned one, which do not run here.
    """

    name: str
    status: Literal["ok", "broken", "not pinned"]
    commit: str | None = None
    error: GitflowError | None = None
    not_run: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Python:
    """Which Python imports the flows, and its whole environment."""

    path: str
    environ: Mapping[str, str]


def look(
    pinned: Sequence[tuple[Deployment, Pin | None]], make: Make, python: Python
) -> tuple[Finding, ...]:
    """Load the flow of each deployment, in an empty temporary directory that is removed.

    One checkout for each snapshot, one process for each directory in it.
    """
    errors: dict[str, GitflowError] = {}
    groups: dict[str, list[tuple[Deployment, Pin]]] = {}
    for item, pin in pinned:
        if pin is not None:
            groups.setdefault(_checkout_of(pin), []).append((item, pin))
    with files.temporary("gitflow-verify-") as top:
        for number, group in enumerate(groups.values()):
            parent = top / str(number)
            parent.mkdir()
            errors |= _group(group, make, parent, python)
            files.remove(parent)
    return tuple(_finding(item, pin, errors.get(item.full_name)) for item, pin in pinned)


def _checkout_of(pin: Pin) -> str:
    """The same for pins that one checkout serves."""
    directories = sorted({*pin.directories, pin.directory}) if pin.directories else []
    asked = [pin.addresses, pin.commit, pin.credentials, pin.signature, pin.signers, directories]
    return json.dumps(asked, default=str)


def _finding(item: Deployment, pin: Pin | None, error: GitflowError | None) -> Finding:
    if pin is None:
        return Finding(item.full_name, "not pinned")
    status: Literal["ok", "broken"] = "ok" if error is None else "broken"
    return Finding(item.full_name, status, pin.commit, error, pin.others)


def _group(
    group: Sequence[tuple[Deployment, Pin]], make: Make, parent: Path, python: Python
) -> dict[str, GitflowError]:
    """Why deployments of one checkout do not load, by full name."""
    try:
        root = make(group[0][1], parent)
    except GitflowError as error:
        return {item.full_name: error for item, _ in group}
    errors: dict[str, GitflowError] = {}
    directories: dict[str, list[Deployment]] = {}
    for item, pin in group:
        directories.setdefault(pin.directory.strip("/"), []).append(item)
    for directory, items in directories.items():
        errors |= _directory(root, directory, items, python)
    return errors


def _directory(
    root: Path, directory: str, items: Iterable[Deployment], python: Python
) -> dict[str, GitflowError]:
    errors: dict[str, GitflowError] = {}
    wanted: dict[str, list[str]] = {}
    for item in items:
        if item.entrypoint:
            wanted.setdefault(item.entrypoint, []).append(item.full_name)
        else:
            errors[item.full_name] = FlowError("the deployment has no entrypoint")
    place = root / directory
    if not place.is_dir() or not place.resolve().is_relative_to(root.resolve()):
        gone = CheckoutError(
            f"the pinned commit has no directory {directory!r}", hint="deploy again"
        )
        return errors | {name: gone for names in wanted.values() for name in names}
    for entrypoint, error in _loaded(place, list(wanted), python).items():
        if error is not None:
            errors |= dict.fromkeys(wanted[entrypoint], _placed(error, directory, entrypoint))
    return errors


def _loaded(place: Path, entrypoints: list[str], python: Python) -> dict[str, FlowError | None]:
    """Why entrypoints do not load; one that ends its process does not take the next ones with it."""
    results: dict[str, FlowError | None] = {}
    while left := [each for each in entrypoints if each not in results]:
        told = flows.load(
            python.path, place, left, environ=python.environ, timeout=_TIMEOUT, instead=_INSTEAD
        )
        for entrypoint, error in told.items():
            if isinstance(error, flows.NotReachedError):
                break
            results[entrypoint] = error
    return results


def _placed(error: FlowError, directory: str, entrypoint: str) -> FlowError:
    """The same error, with its file named from the root of the code."""
    where = error.where or entrypoint
    return FlowError(
        error.message,
        where=f"{directory}/{where}" if directory else where,
        hint=error.hint,
        retry=error.retry,
    )
