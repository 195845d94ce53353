"""How each source is: one word, the whole error, what is deployed. What pages and metrics read."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gitops_flow.errors import Heals

Word = Literal["synced", "progressing", "out-of-sync", "degraded", "suspended"]


@dataclass(frozen=True, slots=True)
class Suspension:
    """That a source is left alone: why, since and until when, and who says so.

    ``configured`` means that ``gitflow.yaml`` says so: then nothing else takes it back.
    """

    reason: str = ""
    author: str = ""
    since: datetime | None = None
    until: datetime | None = None
    configured: bool = False

    def is_over(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.until is not None and self.until <= now


@dataclass(frozen=True, slots=True)
class SourceState:
    """One source, or one branch of a source with previews (``name@branch``), at one moment.

    Args:
        name: what it is called.
        repository: its address, without secrets.
        ref: the branch or tag; "" until it is known.
        condition: how it is, unless it is suspended; see :attr:`word`.
        error: the whole of what is wrong, its first line first; "" when nothing is.
        heals: what has to happen before another try can succeed.
        phase: what a deploy does right now.
        commit: what git has at the ref, 40 hex digits.
        deployed: the commit whose code is deployed.
        snapshots: the snapshot of each manifest, by its path.
        differences: what the server has that git has not: a line each.
        switched: what somebody switched on purpose, and is left so: a line each.
        looked_at: when git and the server were last asked, and answered.
        deployed_at: when something was last deployed.
        failing_since: when the first of the failures was that no success has ended.
        interval: seconds between looks.
        deployments: how many there are.
        deploys: deploys that wrote something, since the controller began.
        repairs: those of them that took back what somebody had changed.
        failures: tries that failed one after the other.
        suspension: set while it is suspended.
    """

    name: str
    repository: str = ""
    ref: str = ""
    condition: Word = "progressing"
    error: str = ""
    heals: Heals | None = None
    phase: str = ""
    commit: str | None = None
    deployed: str | None = None
    snapshots: tuple[tuple[str, str], ...] = ()
    differences: tuple[str, ...] = ()
    switched: tuple[str, ...] = ()
    looked_at: datetime | None = None
    deployed_at: datetime | None = None
    failing_since: datetime | None = None
    interval: float = 0.0
    deployments: int = 0
    deploys: int = 0
    repairs: int = 0
    failures: int = 0
    suspension: Suspension | None = None

    @property
    def word(self) -> Word:
        """How it is, in one word."""
        return "suspended" if self.suspension else self.condition

    @property
    def source(self) -> str:
        """The source in ``gitflow.yaml``."""
        return self.name.partition("@")[0]

    @property
    def branch(self) -> str | None:
        """The branch, of one that is a preview."""
        return self.name.partition("@")[2] or None

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        fields = asdict(self) | {"word": self.word, "snapshots": dict(self.snapshots)}
        del fields["condition"]
        return json.loads(json.dumps(fields, default=datetime.isoformat))  # type: ignore[no-any-return]


class State:
    """The states of all sources. Any thread may read and write; what is read never changes.

    Args:
        now: the time, aware.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._states: dict[str, SourceState] = {}
        self._listeners: tuple[Callable[[SourceState | None, SourceState | None], None], ...] = ()

    def get(self, name: str) -> SourceState | None:
        """One of them, or None."""
        return self._states.get(name)

    def all(self) -> tuple[SourceState, ...]:
        """Every one, by name."""
        with self._lock:
            return tuple(sorted(self._states.values(), key=lambda each: each.name))

    def update(self, name: str, **changes: Any) -> SourceState:
        """Change one, or make it; the new state."""
        with self._lock:
            old = self._states.get(name)
            new = replace(old or SourceState(name), **changes)
            self._states[name] = new
        if new != old:
            self._tell(old, new)
        return new

    def remove(self, name: str) -> None:
        """Forget one that is no longer configured."""
        with self._lock:
            old = self._states.pop(name, None)
        if old is not None:
            self._tell(old, None)

    def listen(self, listener: Callable[[SourceState | None, SourceState | None], None]) -> None:
        """Have ``listener(before, after)`` called after each change, by who makes it.

        It must be quick and raise nothing; None stands for a state that is not there.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def _tell(self, old: SourceState | None, new: SourceState | None) -> None:
        for listener in self._listeners:
            listener(old, new)


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    suspended: dict[str, Suspension] = {}
    previews: dict[str, tuple[str, ...]] = {}


class Kept:
    """What must survive a restart, in a file: who suspended what, and which previews there are.

    Args:
        path: the file; it need not exist.

    Raises:
        UsageError: it cannot be read, or is not what was written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._content = _Content.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            self._content = _Content()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None
        except ValidationError:
            raise self._unusable("it is not what gitflow wrote") from None

    def suspension(self, name: str) -> Suspension | None:
        """That of a source."""
        return self._content.suspended.get(name)

    def suspend(self, name: str, suspension: Suspension | None) -> None:
        """Suspend a source, or take that back.

        Raises:
            UsageError: it cannot be kept.
        """
        self._keep("suspended", name, suspension)

    def previews(self, name: str) -> tuple[str, ...]:
        """The branches of a source of which there may be deployments."""
        return self._content.previews.get(name, ())

    def keep_previews(self, name: str, branches: Iterable[str]) -> None:
        """Say which those are.

        Raises:
            UsageError: it cannot be kept.
        """
        self._keep("previews", name, tuple(sorted(branches)) or None)

    def _keep(self, section: str, name: str, value: object) -> None:
        with self._lock:
            entries = dict(getattr(self._content, section))
            if entries.get(name) == value:
                return
            entries.pop(name, None)
            if value is not None:
                entries[name] = value
            content = self._content.model_copy(update={section: entries})
            self._write(content.model_dump_json(indent=1, exclude_defaults=True))
            self._content = content

    def _write(self, text: str) -> None:
        aside = self._path.with_name(f".{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None

    def _unusable(self, reason: str) -> UsageError:
        return UsageError(
            f"the list of suspended sources and previews cannot be used: {reason}",
            where=str(self._path),
            hint="it is in the directory that data: in gitflow.yaml names",
        )
