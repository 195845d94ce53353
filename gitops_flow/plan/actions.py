"""What a plan is made of: one action for each deployment, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.model import is_our_version
from gitops_flow.pin import Pin

if TYPE_CHECKING:
    from gitops_flow.model import Automation, Deployment, Json, Schedule


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs: its name in :class:`~gitops_flow.model.Deployment`, and both values.

    The values are plain JSON, parts of a deployment as mappings; they may hold
    secrets of the user's (job variables, parameters).
    ``unknown``: steps that have not run yet complete ``after``, so that it is
    not known whether the field differs.
    """

    field: str
    before: Json
    after: Json
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """A live schedule that is changed in place.

    ``spec`` holds its new times, or None when only other things differ.
    """

    desired: Schedule
    live: Schedule
    spec: dict[str, Json] | None


@dataclass(frozen=True, slots=True)
class ScheduleDiff:
    """What happens to a deployment's schedules; falsy when nothing does.

    ``renew`` are deleted and made again as they are to be (their ``desired`` is
    complete): the server cannot take a slug away.
    """

    add: tuple[Schedule, ...] = ()
    change: tuple[ScheduleChange, ...] = ()
    remove: tuple[Schedule, ...] = ()
    renew: tuple[ScheduleChange, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.change or self.remove or self.renew)


@dataclass(frozen=True, slots=True)
class AutomationChange:
    """A live automation that is rewritten; it keeps its id."""

    desired: Automation
    live: Automation


@dataclass(frozen=True, slots=True)
class AutomationDiff:
    """What happens to a deployment's automations; falsy when nothing does.

    ``replaces_owned``: the deployment is adopted and its own automations are
    not ours. The server tells nobody which these are, so all that it owns are
    deleted and the manifest's are made. ``suspects`` are those that may go.
    """

    add: tuple[Automation, ...] = ()
    change: tuple[AutomationChange, ...] = ()
    remove: tuple[Automation, ...] = ()
    replaces_owned: bool = False
    suspects: tuple[Automation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.change or self.remove or self.replaces_owned)


@dataclass(frozen=True, slots=True)
class Create:
    """The server has no deployment of this name. Its automations are made after it."""

    desired: Deployment
    mark: str = ""

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return self.desired.full_name


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
    automations: AutomationDiff = field(default_factory=AutomationDiff)
    mark: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of what differs, ``schedules`` and ``triggers`` last."""
        names = [change.field for change in self.changes]
        names += ["schedules"] if self.schedules else []
        names += ["triggers"] if self.automations else []
        return tuple("triggers" if name == "automations" else name for name in names)

    @property
    def by_pointer(self) -> bool:
        """Whether its new code comes with the release pointer, and not with a write."""
        if "pull_steps" not in self.fields or pin.pointer_of(self.desired.pull_steps) is None:
            return False
        before, after = pin.stored(self.live.pull_steps), pin.stored(self.desired.pull_steps)
        return pin.comparable(before) == pin.comparable(after)

    @property
    def written(self) -> tuple[FieldChange, ...]:
        """The changes that a write to the deployment makes."""
        if not self.by_pointer:
            return self.changes
        return tuple(change for change in self.changes if change.field != "pull_steps")

    @property
    def claims(self) -> bool:
        """Whether automations that are not this source's yet become so."""
        diff = self.automations
        retagged = any(self.mark not in change.live.tags for change in diff.change)
        return diff.replaces_owned or retagged

    @property
    def maybe(self) -> bool:
        """Whether only steps that have not run yet can tell if anything differs at all."""
        certain = [change for change in self.changes if not change.unknown]
        return not certain and not self.schedules and not self.automations

    @property
    def new_code(self) -> tuple[str, str] | None:
        """The commits before and after, where the code is all that differs; else None."""
        before, after = Pin.of(self.live.pull_steps), Pin.of(self.desired.pull_steps)
        if before is None or after is None or before.commit == after.commit:
            return None
        if self.adopts or not set(self.fields) <= {"pull_steps", "version"}:
            return None
        if any(change.unknown for change in self.changes):
            return None
        moved = pin.comparable(pin.repin(self.live.pull_steps, after))
        same_version = self.desired.version == self.live.version
        ours = self.desired.version_is_ours and is_our_version(self.live.version)
        if moved != pin.comparable(self.desired.pull_steps) or not (same_version or ours):
            return None
        return before.commit, after.commit

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return self.desired.full_name


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing differs; nothing is written."""

    desired: Deployment
    live: Deployment

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return self.desired.full_name


@dataclass(frozen=True, slots=True)
class Conflict:
    """The deployment is another source's; it is not touched."""

    desired: Deployment
    live: Deployment
    reason: str

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return self.desired.full_name


@dataclass(frozen=True, slots=True)
class Delete:
    """The deployment is this source's, and nothing desires it any more."""

    live: Deployment

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return self.live.full_name


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody holds the deployment as it is; ``desired`` None would have deleted it."""

    live: Deployment
    desired: Deployment | None = None

    @property
    def full_name(self) -> str:
        """``flow name/deployment name``."""
        return self.live.full_name


Action = Create | Update | Unchanged | Conflict | Delete | Held


@dataclass(frozen=True, slots=True)
class Pointer:
    """The source's release pointer: the name of a Prefect variable and what becomes of its value.

    ``before`` None: there is none; ``after`` None: it is deleted.
    """

    name: str
    before: Json
    after: Json

    @property
    def exists(self) -> bool:
        """Whether the server has one that can be understood."""
        try:
            return bool(pin.read_value(self.before))
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in the order of the manifest; deletions last.

    With a release pointer that moves, first what has to be written before it does.

    ``orphans`` are live deployments of this source that nothing desires any
    more and that this plan leaves alone. ``owned`` counts the live deployments
    of this source, whatever becomes of them. ``pointer`` is the release pointer if it
    moves, ``literal`` who names a commit itself although there is one, each with the reason.
    """

    actions: tuple[Action, ...]
    orphans: tuple[Deployment, ...] = ()
    owned: int = 0
    pointer: Pointer | None = None
    literal: tuple[tuple[str, str], ...] = ()

    @property
    def pending(self) -> bool:
        """Whether anything on the server is to be changed."""
        return bool(self.writes or self.pointer)

    @property
    def writes(self) -> tuple[Create | Update | Delete, ...]:
        """The actions that change something on the server."""
        return tuple(
            action for action in self.actions if isinstance(action, Create | Update | Delete)
        )

    @property
    def deletes(self) -> tuple[Delete, ...]:
        """The deployments that are deleted."""
        return tuple(action for action in self.actions if isinstance(action, Delete))

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The actions that are refused."""
        return tuple(action for action in self.actions if isinstance(action, Conflict))
