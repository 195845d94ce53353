"""Problems as they are found, each at its place in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gitops_flow.manifest import yamltree
from gitops_flow.manifest.wording import did_you_mean, dotted, explain, label, quoted, shortened
from gitops_flow.model import Position, Problem

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    Path = tuple[Hashable, ...]

_GONE = "remove it; Prefect 3.1 dropped it"
_SCHEDULE_KEYS = {
    "max_active_runs": _GONE,
    "catchup": _GONE,
    "schedule": "move cron, interval or rrule up to the item itself",
}


class Report:
    """Collects the problems of one manifest.

    A path is the keys and indexes that lead to a value, from the top.
    """

    def __init__(
        self,
        root: yamltree.Node,
        shown: str,
        problems: Iterable[Problem] = (),
        *,
        strict: bool = False,
    ) -> None:
        self._root = root
        self._strict = strict
        self._shown = shown
        self._problems = list(problems)

    @property
    def failed(self) -> bool:
        """Whether anything so far is an error."""
        return any(problem.severity == "error" for problem in self._problems)

    def sorted(self) -> list[Problem]:
        """All problems in the file's order, each once."""
        return sorted(
            dict.fromkeys(self._problems),
            key=lambda p: (p.where.line, p.where.column) if p.where else (0, 0),
        )

    def error(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` is wrong."""
        node, steps = yamltree.at(self._root, path)
        place = (node.line, node.column) if node else (1, 1)
        self._add(path[:steps], message, hint, place, "error")

    def warning(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` does not do what it seems to."""
        node, steps = yamltree.at(self._root, path)
        place = (node.line, node.column) if node else (1, 1)
        self._add(path[:steps], message, hint, place, "warning")

    def doubtful(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` is skipped, as Prefect does; an error when strict."""
        (self.error if self._strict else self.warning)(path, message, hint)

    def key(
        self,
        path: Path,
        message: str,
        hint: str | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """The key that ends ``path`` is wrong."""
        place = yamltree.key_place(self._root, path) or (1, 1)
        self._add(path[:-1], message, hint, place, severity)

    def ignored(self, path: Path, hint: str | None) -> None:
        """The key that ends ``path`` does nothing in Prefect; an error when strict."""
        severity: Literal["error", "warning"] = "error" if self._strict else "warning"
        self.key(path, f"Prefect ignores this key: {quoted(str(path[-1]))}", hint, severity)

    def invalid(self, path: Path, detail: ErrorDetails) -> None:
        """What a model says about the value at ``path``."""
        full: Path = (*path, *detail["loc"])
        if detail["type"] == "extra_forbidden":
            name = str(full[-1])
            hint = _SCHEDULE_KEYS.get(name) or did_you_mean(name, _words_beside(full))
            self.key(full, f"unknown key {quoted(name)}", hint)
        elif detail["type"] == "missing":
            self.error(full[:-1], f"{quoted(str(full[-1]))} is missing")
        elif detail["type"] == "invalid_key" or "[key]" in full:
            full = tuple(part for part in full if part != "[key]")
            # The loc spells a key as text or number; the document may hold another type.
            self.key(
                self._actual(full, detail["input"]),
                f"key {_spelled(detail['input'])} is not text",
                "put it in quotes",
            )
        else:
            self.error(full, *explain(detail))

    def _actual(self, path: Path, key: object) -> Path:
        parent, steps = yamltree.at(self._root, path[:-1])
        if parent is not None and steps == len(path) - 1 and path[-1] not in parent.entries:
            return next(((*path[:-1], found) for found in parent.entries if found == key), path)
        return path

    def _add(
        self,
        path: Path,
        message: str,
        hint: str | None,
        place: tuple[int, int],
        severity: Literal["error", "warning"],
    ) -> None:
        subject, context = self._context(path)
        text = ": ".join(part for part in (subject, context, message) if part)
        where = Position(self._shown, *place)
        self._problems.append(Problem(text, where, hint, severity, subject=subject))

    def _context(self, path: Path) -> tuple[str, str]:
        """The deployment that ``path`` is in, if it is in one, and the rest of it."""
        if len(path) < 2 or path[0] != "deployments" or not isinstance(path[1], int):
            return "", dotted(path)
        node, steps = yamltree.at(self._root, (*path[:2], "name"))
        name = node.value if node is not None and steps == 3 else None
        return label(path[1], name), dotted(path[2:])


def _spelled(key: object) -> str:
    if key is None:
        return "null"
    return str(key).lower() if isinstance(key, bool) else shortened(str(key))


def _words_beside(path: Path) -> list[str]:
    """The keys that are allowed where ``path`` ends."""
    # Imported late: schemas are only loaded to validate, wording never needs them.
    from gitops_flow.manifest import schema

    models: dict[object, type[BaseModel]] = {
        "gitflow": schema.GitflowSection if len(path) == 2 else schema.DeploymentGitflowSection,
        "code_store": schema.CodeStoreSection,
    }
    parent = next((part for part in reversed(path[:-1]) if isinstance(part, str)), None)
    return list(models.get(parent, schema.ScheduleSection).model_fields)
