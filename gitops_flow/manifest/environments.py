"""``gitflow: {environments: ...}``: what is checked of them, and one laid over the deployments.

As a JSON merge patch (RFC 7386): mappings merge, null removes, anything else replaces. It is
done with the nodes of the file, so that every value keeps the place where it is written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gitops_flow.manifest import checks, yaml
from gitops_flow.manifest.wording import quoted
from gitops_flow.model import Position, Problem
from gitops_flow.names import did_you_mean, matching

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from gitops_flow.manifest.checks import Report

    Keys = tuple[Hashable, ...]

PATH: Keys = ("gitflow", "environments")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SERVER = ("profile", "api_url")
# Comparisons of names with globs, of one manifest; and names among which a wrong one is looked for.
_MOST_LOOKS = 1_000_000
_NEAREST_OF = 200
# What an environment says of itself; the rest of it is about deployments.
_OWN = (*_SERVER, "suffix", "deployments")


def check(root: yaml.Node, asked: str | None, report: Report) -> None:
    """Report what is wrong in the environments, but for what the models see."""
    known = _known(root)
    if asked is not None and asked not in known:
        names = ", ".join(map(str, known))
        hint = did_you_mean(asked, map(str, known)) or (f"it has {names}" if known else None)
        report.error(PATH, f"the manifest has no environment {quoted(asked)}", hint)
    for name, section in known.items():
        if isinstance(name, str) and not _NAME.fullmatch(name):
            told = "an environment's name has letters, digits, '.', '_' and '-'"
            report.key((*PATH, name), told)
        if isinstance(section, dict) and all(section.get(each) is not None for each in _SERVER):
            told = "'profile' and 'api_url' exclude each other"
            report.key((*PATH, name, "api_url"), told, "name the server once")
    for where, overlay in overlays(root):
        checks.read_schedules(overlay, where, report)
        checks.tags(overlay.get("tags"), (*where, "tags"), report)


def overlays(root: yaml.Node) -> Iterator[tuple[Keys, dict[Any, Any]]]:
    """Whatever an environment says of deployments, of all or of some, and its place."""
    for name, section in _known(root).items():
        if isinstance(section, dict):
            path = (*PATH, name)
            yield path, section
            parts = section.get("deployments")
            for pattern, part in parts.items() if isinstance(parts, dict) else ():
                if isinstance(part, dict):
                    yield (*path, "deployments", pattern), part


def check_names(root: yaml.Node, report: Report) -> None:
    """Report the names and globs of environments that mean none of the deployments."""
    names = _Names(root)
    for path, _ in overlays(root):
        pattern = str(path[-1])
        if path[-2] != "deployments" or names.meant(pattern):
            continue
        if names.looked_at > _MOST_LOOKS:
            report.key(path, "more globs than can be looked at", "name the deployments")
            return
        told = f"no deployment of the manifest is called {quoted(pattern)}"
        report.key(path, told, did_you_mean(pattern, [*names.at][:_NEAREST_OF]))


def lay_over(root: yaml.Node, name: str, shown: str) -> tuple[yaml.Node, set[int]]:
    """The manifest with an environment, which has been checked, laid over its deployments.

    Returns:
        The new root, and the numbers of the deployments whose schedules are the environment's.

    Raises:
        yaml.Fatal: it would be too large.
    """
    _, _, section = root.entries["gitflow"][2].entries["environments"][2].entries[name]
    if "deployments" not in root.entries:
        return root, set()
    line, column, listed = root.entries["deployments"]
    items, scheduled, size = list(listed.items), set(), root.size
    for patch, numbers in _patches(section, _Names(root)):
        size += patch.size * len(numbers)
        if size > yaml.MAX_NODES:
            told = f"more than {yaml.MAX_NODES:,} values once the environment is laid over"
            raise yaml.Fatal(Problem(told, Position(shown, section.line, section.column)))
        for at in numbers:
            if "schedules" in patch.entries:
                scheduled.add(at)
                items[at] = _without(items[at], ("schedule",))
            items[at] = merged(items[at], patch)
    new = yaml.Node([each.value for each in items], listed.line, listed.column, items=items)
    return _mapping(root, {**root.entries, "deployments": (line, column, new)}), scheduled


def merged(base: yaml.Node | None, patch: yaml.Node) -> yaml.Node:
    """``base`` with ``patch`` laid over it."""
    if not isinstance(patch.value, dict):
        return patch
    at = base if base is not None and isinstance(base.value, dict) else patch
    entries = dict(at.entries) if at is base else {}
    for key, (line, column, node) in patch.entries.items():
        before = entries.pop(key, None)
        if node.value is not None:
            entries[key] = (line, column, merged(before and before[2], node))
    return _mapping(at, entries)


def _known(root: yaml.Node) -> dict[Any, Any]:
    node, steps = yaml.at(root, PATH)
    known = node.value if node is not None and steps == len(PATH) else None
    return known if isinstance(known, dict) else {}


class _Names:
    """The names of the deployments, each with their numbers in ``at``."""

    def __init__(self, root: yaml.Node) -> None:
        self.at: dict[str, list[int]] = {}
        self.looked_at = 0
        listed = root.entries.get("deployments")
        for number, item in enumerate(listed[2].items if listed else ()):
            if isinstance(item.value, dict) and isinstance(name := item.value.get("name"), str):
                self.at.setdefault(name, []).append(number)

    def meant(self, pattern: str) -> list[int]:
        """The numbers of those that a name or glob means; of very many globs none."""
        if pattern in self.at:
            return self.at[pattern]
        self.looked_at += len(self.at)
        if self.looked_at > _MOST_LOOKS:
            return []
        names = matching({name: (name,) for name in self.at}, pattern)
        return [number for name in names for number in self.at[name]]


def _patches(section: yaml.Node, names: _Names) -> Iterator[tuple[yaml.Node, list[int]]]:
    """The parts of an environment in the order in which they count, and the deployments of each."""
    yield _without(section, _OWN), [number for each in names.at.values() for number in each]
    _, _, parts = section.entries.get("deployments", (0, 0, None))
    for pattern, (_, _, patch) in parts.entries.items() if parts else ():
        if patch.entries:
            yield patch, names.meant(str(pattern))


def _without(node: yaml.Node, keys: Sequence[str]) -> yaml.Node:
    return _mapping(node, {key: each for key, each in node.entries.items() if key not in keys})


def _mapping(place: yaml.Node, entries: dict[Hashable, tuple[int, int, yaml.Node]]) -> yaml.Node:
    value = {key: each[2].value for key, each in entries.items()}
    size = 1 + sum(each[2].size for each in entries.values())
    return yaml.Node(value, place.line, place.column, entries, size=size)
