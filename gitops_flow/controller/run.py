"""The daemon: a configuration that is followed, a queue that is worked off, an orderly end."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitops_flow import settings
from gitops_flow.controller import access
from gitops_flow.controller import config as configuration
from gitops_flow.controller.config import Config
from gitops_flow.controller.reconciler import Reconciler
from gitops_flow.controller.state import Kept, State, Suspension
from gitops_flow.controller.triggers import Doorbell
from gitops_flow.errors import GitflowError, UsageError
from gitops_flow.names import did_you_mean
from gitops_flow.redact import get_logger, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gitops_flow.controller.state import SourceState
    from gitops_flow.model import PrefectConnection

WORKERS = 4
# Seconds that a deploy has to end by itself, before it is ended between two of its phases.
GRACE = 30.0
_TICK = 1.0
# Seconds of its own for each source that is looked at after a start, as far as there are.
_SPREAD = 0.05
_LEAST_WATCH = 60.0
_log = get_logger("controller")


class Controller:
    """One process that keeps the sources of ``gitflow.yaml`` equal to git.

    ``config_error`` says why the file as it is now is not what is followed, "" where it is.

    Args:
        path: the file; None for no sources.
        environ: the process's environment.
        directory: what relative paths in the environment begin at.
        workers: how many sources are looked at at once.
        shard: (2, 5) for the second fifth of the sources, by the hashes of their names.
        lease: keep out of the way of other controllers with the same configuration.
        clock: seconds, which only go forward.
        now: the time, aware.

    Raises:
        GitflowError: the configuration has problems, or ``data`` cannot be used.
    """

    def __init__(
        self,
        path: Path | None,
        environ: Mapping[str, str],
        directory: Path,
        *,
        workers: int = WORKERS,
        shard: tuple[int, int] | None = None,
        lease: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._shard = shard
        self._content = b""
        self._seen: bytes | None = None
        self._clock = clock
        self.config_error = ""
        self.config = self._load() if path else Config().at(directory)
        places = settings.load(environ, directory, directory=directory)
        named = self.config.data
        self.data = self.config.base / named if named else places.data_dir / "controller"
        self.state = State(now)
        self._kept = Kept(self.data / "controller.json")
        self.reconciler = Reconciler(
            environ=environ,
            data=self.data,
            cache=places.cache_dir,
            state=self.state,
            kept=self._kept,
            workers=workers,
            clock=clock,
            lease=f"refs/gitflow/lease{f'-{shard[0]}-of-{shard[1]}' if shard else ''}"
            if lease
            else None,
        )
        self.queue = self.reconciler.queue
        self._doorbells: dict[PrefectConnection, Doorbell] = {}
        self._ended = threading.Event()
        self._ticking = threading.Thread(target=self._tick, name="controller-tick", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._follow(self.config)
        self.queue.start()
        self._ticking.start()

    def stop(self, grace: float = GRACE) -> bool:
        """End. What is in work has ``grace`` seconds to end by itself, then it is given back.

        Returns:
            Whether all has ended.
        """
        self._ended.set()
        self.queue.close()
        if not self.queue.join(grace):
            self.reconciler.stop.set("the controller ends")
        if self._ticking.is_alive():
            self._ticking.join(_TICK * 2)
        for doorbell in self._doorbells.values():
            doorbell.close()
        for doorbell in self._doorbells.values():
            doorbell.join(_TICK * 2)
        ended = self.queue.join(grace)
        self.reconciler.clients.close()
        return ended

    def sync(self, name: str) -> None:
        """Have a source looked at now, and deployed whatever became of it before.

        Raises:
            UsageError: there is no such source, or it is suspended.
        """
        self._known(name)
        if (found := self.reconciler.suspension(name)) is not None:
            by = f" by {found.author}" if found.author else ""
            until = f" until {found.until:%Y-%m-%d %H:%M %Z}" if found.until else ""
            reason = f": {found.reason}" if found.reason else ""
            raise UsageError(
                f"the source {name} is suspended{by}{until}{reason}",
                hint="take it out of gitflow.yaml"
                if found.configured
                else f"gitflow resume {name} takes that back",
            )
        self.queue.add(name, forced=True)

    def suspend(
        self, name: str, *, reason: str, author: str, until: datetime | None = None
    ) -> SourceState:
        """Leave a source alone until ``until``, or until it is resumed; also after a restart.

        A deploy of it that has begun is carried out.

        Raises:
            UsageError: there is no such source, or that cannot be kept.
        """
        self._known(name)
        if until is not None and until <= self.state.now():
            raise UsageError("the end of the suspension is in the past")
        found = Suspension(reason, author, self.state.now(), until)
        self._kept.suspend(name, found)
        if until is not None:
            self.queue.add(name, after=(until - self.state.now()).total_seconds())
        return self.state.update(name, suspension=self.reconciler.suspension(name))

    def resume(self, name: str) -> SourceState:
        """Take a suspension back, and look at the source now.

        Raises:
            UsageError: there is no such source, or ``gitflow.yaml`` is what suspends it.
        """
        self._known(name)
        found = self.reconciler.suspension(name)
        if found is not None and found.configured:
            raise UsageError(
                f"the source {name} is suspended in gitflow.yaml",
                hint="take suspend: out there; the file is read again when it changes",
            )
        self._kept.suspend(name, None)
        self.queue.add(name, forced=True)
        return self.state.update(name, suspension=None)

    def _known(self, name: str) -> None:
        if self.state.get(name) is None:
            raise UsageError(
                f"there is no source {name!r}",
                hint=did_you_mean(name, [each.name for each in self.state.all()]),
            )

    def _load(self) -> Config:
        path = self._path
        assert path is not None  # noqa: S101
        try:
            self._content = path.read_bytes()
        except OSError:
            self._content = b""
        found = configuration.load(path)
        if self._shard is None:
            return found
        number, of = self._shard
        mine = {
            name: each
            for name, each in found.sources.items()
            if int(access.spread(name) * of) == number - 1
        }
        return found.model_copy(update={"sources": mine}).at(found.base)

    def _follow(self, config: Config) -> None:
        """Look at the sources of ``config`` and at no others; at those that are new, now."""
        before = self.config.sources if self._ticking.is_alive() else {}
        self.config = config
        self.reconciler.configure(config)
        fresh = [name for name, each in config.sources.items() if before.get(name) != each]
        for name in fresh:
            section = config.sources[name]
            where = access.address(name, section, config, self.data)
            self.state.update(
                name,
                repository=redact(where),
                ref=section.ref or "",
                interval=section.interval,
                suspension=self.reconciler.suspension(name),
            )
            # All of them at once would be too much for whoever is asked.
            self.queue.add(
                name, after=access.spread(name) * min(section.interval, _SPREAD * len(fresh))
            )

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            for each in (self._read_again, self._watch, self._listen):
                try:
                    each()
                except Exception:  # noqa: BLE001 - the file would never be read again
                    _log.exception("this is a bug of gitflow")

    def _listen(self) -> None:
        """Have a doorbell at each server that something was deployed to, and at no other."""
        servers = list(self.reconciler.servers)
        for connection in self._doorbells.keys() - servers:
            self._doorbells.pop(connection).close()
        for connection in servers:
            if connection not in self._doorbells:
                self._doorbells[connection] = Doorbell(connection, self.reconciler.ring)

    def _read_again(self) -> None:
        """Follow a file that is as it was a tick ago: one that is being written is not whole."""
        try:
            content = self._path.read_bytes() if self._path else None
        except OSError:
            content = None
        if content == self._seen:
            self._reload()
        self._seen = content

    def _reload(self) -> None:
        """Follow the file if it has changed; one that has problems is told of, and not followed."""
        if self._path is None:
            return
        before = self._content
        try:
            if self._path.read_bytes() == before:
                return
            found = self._load()
        except OSError:
            return  # being replaced, or gone: what is followed is good until there is another one
        except GitflowError as error:
            self.config_error = redact(str(error))
            _log.error("gitflow.yaml is not followed: %s", self.config_error)
            return
        self.config_error = ""
        self._follow(found)

    def overdue(self) -> dict[str, float]:
        """The sources that nobody has looked at for three intervals; for how many seconds."""
        now, found = self._clock(), {}
        for name, looked in list(self.reconciler.looked.items()):
            section = self.config.sources.get(name.partition("@")[0])
            if section is None or self.reconciler.suspension(name) is not None:
                continue
            if now - looked >= max(3 * section.interval, _LEAST_WATCH):
                found[name] = now - looked
        return found

    def _watch(self) -> None:
        """Say of each source that nobody has looked at for three intervals that it is so."""
        for name, seconds in self.overdue().items():
            state = self.state.get(name)
            told = f"nobody has looked at it for {seconds:.0f} s, which is three intervals"
            if state is not None and not state.error.startswith("nobody has looked"):
                doing = f": it is still {state.phase}" if state.phase else ""
                self.state.update(name, condition="degraded", error=told + doing)
