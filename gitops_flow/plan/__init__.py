"""Desired and live deployments to a plan: data that says what is to be written, and why. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow.plan.fields import FieldChange, differences
from gitops_flow.plan.schedules import ScheduleChange, ScheduleDiff, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.model import Deployment

__all__ = [
    "Action",
    "Conflict",
    "Create",
    "FieldChange",
    "Plan",
    "ScheduleChange",
    "ScheduleDiff",
    "Unchanged",
    "Update",
    "make",
]

_DIGEST = re.compile(r"-([0-9a-f]{8})$")


@dataclass(frozen=True, slots=True)
class Create:
    """The server has no deployment of this name."""

    desired: Deployment


@dataclass(frozen=True, slots=True)
class Update:
    """The server's deployment differs.

    ``adopts`` says that it was nobody's, or another source's, until now.
    """

    desired: Deployment
    live: Deployment
    changes: tuple[FieldChange, ...]
    schedules: ScheduleDiff
    adopts: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of what differs, ``schedules`` last."""
        names = tuple(change.field for change in self.changes)
        return (*names, "schedules") if self.schedules else names


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing differs; nothing is written."""

    desired: Deployment
    live: Deployment


@dataclass(frozen=True, slots=True)
class Conflict:
    """The deployment is another source's; it is not touched."""

    desired: Deployment
    live: Deployment
    reason: str


Action = Create | Update | Unchanged | Conflict


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in the order of the manifest.

    ``orphans`` are live deployments of this source that nothing desires any
    more; this plan leaves them alone.
    """

    actions: tuple[Action, ...]
    orphans: tuple[Deployment, ...] = ()

    @property
    def writes(self) -> tuple[Create | Update, ...]:
        """The actions that change something on the server."""
        return tuple(action for action in self.actions if isinstance(action, Create | Update))

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The actions that are refused."""
        return tuple(action for action in self.actions if isinstance(action, Conflict))


def make(
    desired: Sequence[Deployment],
    live: Iterable[Deployment],
    *,
    source_mark: str,
    adopt: bool,
    former_mark: str | None = None,
) -> Plan:
    """Pair what is desired with what is there.

    Args:
        desired: the manifest's deployments; ``source_mark`` is added to their
            tags where it is missing.
        live: the server's deployments of these names, and of this source.
        source_mark: the ownership tag of the source that is deployed.
        adopt: take over deployments that carry another source's mark.
        former_mark: a mark that this source had before; it owns those too.
    """
    marks = (source_mark, former_mark) if former_mark else (source_mark,)
    there = {(item.flow_name, item.name): item for item in live}
    actions = []
    for item in desired:
        found = there.pop((item.flow_name, item.name), None)
        actions.append(_action(_marked(item, source_mark), found, marks, adopt))
    orphans = tuple(item for item in there.values() if _owned(item, marks))
    return Plan(actions=tuple(actions), orphans=orphans)


def _action(
    desired: Deployment, live: Deployment | None, marks: Sequence[str], adopt: bool
) -> Action:
    if live is None:
        return Create(desired)
    owned = _owned(live, marks)
    if live.marks and not owned and not adopt:
        return Conflict(
            desired,
            live,
            f"{desired.full_name} belongs to another source ({', '.join(live.marks)})",
        )
    changes = differences(desired, live)
    schedules = compare(desired.schedules, live.schedules)
    if not changes and not schedules:
        return Unchanged(desired, live)
    return Update(desired, live, changes, schedules, adopts=not owned)


def _marked(item: Deployment, mark: str) -> Deployment:
    return item if mark in item.tags else replace(item, tags=(*item.tags, mark))


def _owned(live: Deployment, marks: Sequence[str]) -> bool:
    # By digest: a source keeps what it owns when it is given another name.
    return not {_digest(mark) for mark in marks}.isdisjoint(_digest(tag) for tag in live.marks)


def _digest(mark: str) -> str:
    found = _DIGEST.search(mark)
    return found[1] if found else mark
