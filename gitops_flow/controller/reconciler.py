"""One look at one source: what git has, what is deployed, and what has to be done about it."""

from __future__ import annotations

import fnmatch
import traceback
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from gitops_flow import deploy, log, stop
from gitops_flow.controller import access, policy
from gitops_flow.controller.config import Config
from gitops_flow.controller.queue import Outcome
from gitops_flow.controller.repository import Login, Repository, patterns
from gitops_flow.controller.state import SourceState, Suspension
from gitops_flow.deploy import Commit, DeployRequest, Options, Phase, Which, paths
from gitops_flow.errors import GitflowError, StoppedError, UsageError
from gitops_flow.git import environment
from gitops_flow.git.repository import Author
from gitops_flow.model import StepPolicy
from gitops_flow.plan import Conflict, Create, Delete, Update
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from gitops_flow.apply import Result
    from gitops_flow.controller.config import SourceSection
    from gitops_flow.controller.queue import Turn
    from gitops_flow.controller.state import State, Suspensions
    from gitops_flow.deploy import Event, Preview
    from gitops_flow.errors import Heals
    from gitops_flow.settings import Settings

_AUTHOR = Author("gitflow controller")
# These cost too much for every look: what the server has is compared with the manifest at
# least as often as this, also where a listing shows no change.
_LOOKS_UNTIL_PREVIEW = 12
_SOON_HEALED: tuple[Heals, ...] = ("time", "server")
_log = log.get("controller")


@dataclass(slots=True)
class _Memory:
    """What is known of a source from one look to the next; all of it can be found out again.

    Args:
        section: its configuration when the rest was found out.
        settled: the commit at the ref with which there is nothing more to do.
        deployed: the commit whose code is deployed; an older one if a push touched no path that
            matters.
        failed: the commit that could not be deployed, ``error`` is why not.
        afresh: that it was its first try.
        looks: how many there were since the server was compared with the manifest.
    """

    section: SourceSection
    settled: str | None = None
    deployed: str | None = None
    failed: str | None = None
    error: GitflowError | None = None
    afresh: bool = False
    looks: int = _LOOKS_UNTIL_PREVIEW

    @property
    def heals(self) -> Heals | None:
        """What has to happen before the failed commit can be deployed."""
        return self.error.heals if self.error else None


@dataclass(frozen=True, slots=True)
class _Look:
    """A look that is being taken."""

    turn: Turn
    section: SourceSection
    memory: _Memory
    repository: Repository
    settings: Settings
    again: Callable[[], None]

    @property
    def name(self) -> str:
        """The source."""
        return self.turn.key


class Reconciler:
    """Makes the servers equal to git, one look at a time.

    Args:
        environ: the controller's own environment; sources see next to nothing of it.
        data: where what may not be lost is kept.
        state: where it is told how each source is.
        suspensions: who is to be left alone.
        add: the queue's; a look asks for the next one.
        clock: the queue's, in seconds.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        data: Path,
        cache: Path,
        state: State,
        suspensions: Suspensions,
        add: Callable[..., None],
        clock: Callable[[], float],
    ) -> None:
        self.stop = stop.Stop()
        # When the last look at each source ended, or it was configured.
        self.looked: dict[str, float] = {}
        self._environ = environ
        self._data, self._cache = data, cache
        self._state = state
        self._suspensions = suspensions
        self._add = add
        self._clock = clock
        self._config = Config()
        self._memories: dict[str, _Memory] = {}
        self._repositories: dict[str, Repository] = {}

    def configure(self, config: Config) -> None:
        """Look at the sources of ``config`` from now on, and at no others."""
        known = {each.login_key: each for each in self._repositories.values()}
        wanted: dict[Hashable, dict[str, tuple[str, ...]]] = {}
        repositories: dict[str, Repository] = {}
        for name, section in config.sources.items():
            address = access.address(name, section, config, self._data)
            key = (address, section.credentials)
            repositories[name] = known.setdefault(
                key, Repository(Login(address), self._cache / "controller", self._clock, key)
            )
            wanted.setdefault(key, {})[name] = patterns(section.ref)
            self.looked.setdefault(name, self._clock())
        for repository in repositories.values():
            repository.wanted = wanted[repository.login_key]
        self._config, self._repositories = config, repositories
        for memories in (self._memories, self.looked):
            for name in memories.keys() - config.sources.keys():
                del memories[name]

    def suspension(self, name: str) -> Suspension | None:
        """Why a source is to be left alone now; None when it is not."""
        section = self._config.sources.get(name)
        own = section.suspend if section else None
        if own is not None:
            found: Suspension | None = Suspension(own.reason, own.author, None, own.until, True)
        else:
            found = self._suspensions.get(name)
        return None if found is None or found.is_over(self._state.now()) else found

    def look(self, turn: Turn) -> Outcome:
        """Take one look at the source ``turn.key``; whatever is wrong with it is in its state."""
        name = turn.key
        section = self._config.sources.get(name)
        if section is None or name not in self._repositories:
            return Outcome.DONE
        self._add(name, after=section.interval)
        suspension = self.suspension(name)
        self._state.update(name, suspension=suspension, interval=section.interval)
        if suspension is not None:
            self.looked[name] = self._clock()
            return Outcome.DONE
        memory = self._memories.get(name)
        if memory is None or memory.section != section:
            memory = self._memories[name] = _Memory(section)
        try:
            return self._taken(turn, section, memory)
        finally:
            self.looked[name] = self._clock()

    def _taken(self, turn: Turn, section: SourceSection, memory: _Memory) -> Outcome:
        name = turn.key
        try:
            with stop.using(self.stop):
                return self._look(turn, section, memory)
        except StoppedError:
            # The next controller, or this one after its next start, begins where this one ended.
            self._state.update(name, phase="")
            return Outcome.UNTRIED
        except GitflowError as error:
            return self._failed(name, memory, error)
        except Exception as error:  # noqa: BLE001 - one source's trouble is not the others'
            _log.error("%s: %s", name, "".join(traceback.format_exception(error)))
            bug = GitflowError(
                f"bug: {type(error).__name__}: {error}",
                hint="the controller's log has the details; please report it",
                retry=True,
            )
            return self._failed(name, memory, bug)

    def _failed(self, name: str, memory: _Memory, error: GitflowError) -> Outcome:
        before = self._state.get(name) or SourceState(name)
        self._state.update(
            name,
            condition="degraded",
            error=redact(str(error)),
            heals=error.heals,
            phase="",
            failures=before.failures + 1,
            failing_since=before.failing_since or self._state.now(),
        )
        afresh, memory.afresh = memory.afresh, False
        if error.heals not in _SOON_HEALED:
            return Outcome.WAITING
        return Outcome.FAILED_AFRESH if afresh else Outcome.FAILED

    def _look(self, turn: Turn, section: SourceSection, memory: _Memory) -> Outcome:
        name = turn.key
        repository = self._repositories[name]
        login = access.login(name, section, self._config, self._environ, self._data)
        repository.login = login
        self._state.update(name, repository=redact(login.address))

        def again() -> None:
            self._add(name, asked=turn.asked)

        refs = repository.refs(turn.asked, again)
        if refs is None:
            return Outcome.UNTRIED
        if refs.error is not None:
            raise refs.error
        found = refs.find(section.ref)
        if found is None:
            raise GitflowError(
                f"the repository has no {section.ref or 'HEAD'}; what was deployed from it "
                "is left as it is",
                where=redact(login.address),
                hint="push it again; or take the source out of gitflow.yaml",
            )
        ref, commit = found
        self._state.update(name, ref=ref, commit=commit, looked_at=self._state.now())
        settings = access.of_source(name, section, self._config, self._environ, self._data)
        with environment.using(login.git):
            look = _Look(turn, section, memory, repository, settings, again)
            if turn.forced or commit not in (memory.settled, memory.failed):
                return self._deploy(look, ref, commit)
            if commit == memory.failed and memory.heals != "new commit":
                return self._deploy(look, ref, commit) if turn.retry else Outcome.UNTRIED
            # What is deployed is looked after also while the newest commit cannot be.
            return self._watch(look)

    def _deploy(self, look: _Look, ref: str, commit: str) -> Outcome:
        name, repository = look.name, look.repository
        begun = f"refs/gitflow/begun/{name}"
        got = repository.fetch(ref, commit, look.again)
        if got is None:
            return Outcome.UNTRIED
        self._state.update(name, commit=got)
        if (end := self._frozen(look, begun, got)) is not None:
            self._add(name, after=max(0.0, (end - self._state.now()).total_seconds()))
            return Outcome.DONE
        memory = look.memory
        try:
            target = self._target(look, got)
            repository.remember(begun, target)
            self._run(look, target, ref)
        except GitflowError as error:
            memory.afresh, memory.failed, memory.error = memory.failed != got, got, error
            raise
        repository.remember(f"refs/gitflow/deployed/{name}", target)
        repository.remember(begun, None)
        memory.settled, memory.deployed, memory.failed, memory.error = got, target, None, None
        memory.looks = _LOOKS_UNTIL_PREVIEW
        self._state.update(name, **_WELL, deployed=target)
        return Outcome.DONE

    def _frozen(self, look: _Look, begun: str, commit: str) -> datetime | None:
        """When the freeze ends that keeps ``commit`` from being deployed."""
        found = policy.frozen(look.section.freeze, self._state.now())
        # What was begun before is carried on: half of it is worse than all of it.
        if found is None or look.repository.read(begun) == commit:
            return None
        end, reason = found
        until = f"frozen until {end.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        told = f"{commit[:12]} is not deployed: {until}{reason and f' ({reason})'}"
        self._state.update(look.name, condition="out-of-sync", differences=(told,), error="")
        return end

    def _target(self, look: _Look, commit: str) -> str:
        """The commit to deploy: the one before, if no path that matters differs from it."""
        section, repository = look.section, look.repository
        before = repository.read(f"refs/gitflow/deployed/{look.name}")
        if not section.paths or before is None or look.turn.forced or before == commit:
            return commit
        globs = [*section.paths, *section.manifest]
        return commit if paths.needed(repository.changed(before, commit), globs, ()) else before

    def _manifests(self, look: _Look, commit: str) -> list[str]:
        listed = look.section.manifest
        if not any(set(each) & set("*?[") for each in listed):
            return listed
        files = look.repository.files(commit)
        found = [each for each in files if any(fnmatch.fnmatchcase(each, one) for one in listed)]
        if not found:
            raise UsageError(
                f"the commit {commit[:12]} has no file {' or '.join(listed)}",
                hint="what was deployed is left as it is",
                heals="new commit",
            )
        return found

    def _run(self, look: _Look, commit: str, ref: str, *, repair: bool = False) -> None:
        """Deploy every manifest of ``commit``; one that fails keeps no other from it.

        Raises:
            GitflowError: what is wrong, of all of them.
        """
        name = look.name
        errors: list[GitflowError] = []
        snapshots: dict[str, str] = {}
        wrote, count = False, 0
        self._state.update(name, condition="progressing", error="", heals=None)
        for path in self._manifests(look, commit):
            try:
                report = deploy.run(
                    self._request(look, commit, ref, path),
                    look.settings,
                    access.harmless(self._environ),
                    author=_AUTHOR,
                    policy=self._policy(look),
                    on_event=self._tell(name),
                    stop=self.stop,
                )
            except StoppedError:
                raise
            except GitflowError as error:
                errors.append(error)
                continue
            errors += [_of_deployment(each) for each in report.results if each.error]
            snapshots[path] = report.snapshot.commit
            count += sum(not isinstance(each, Delete) for each in report.plan.actions)
            wrote |= any(each.status in _WRITTEN for each in report.results)
        before = self._state.get(name)
        if before is not None and wrote:
            self._state.update(
                name,
                deploys=before.deploys + 1,
                repairs=before.repairs + repair,
                deployed_at=self._state.now(),
            )
        if errors:
            raise _joined(errors)
        self._state.update(name, snapshots=tuple(snapshots.items()), deployments=count)

    def _request(self, look: _Look, commit: str, ref: str, path: str) -> DeployRequest:
        branch = ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None
        return DeployRequest(
            Commit(look.repository.mirror, commit, path, branch),
            Which(everything=True),
            Options(prune=look.section.prune),
        )

    def _policy(self, look: _Look) -> StepPolicy:
        return StepPolicy(frozenset(look.section.steps), access.harmless(self._environ))

    def _tell(self, name: str) -> Callable[[Event], None]:
        def tell(event: Event) -> None:
            if isinstance(event, Phase):
                self._state.update(name, phase=event.value)

        return tell

    def _watch(self, look: _Look) -> Outcome:
        """Compare what is deployed with what the server has; repair it, or tell of it."""
        memory, name = look.memory, look.name
        if memory.deployed is None:
            return Outcome.WAITING
        differences: list[str] = []
        switched: list[str] = []
        ref = (self._state.get(name) or SourceState(name)).ref
        for path in self._manifests(look, memory.deployed):
            preview = deploy.preview(
                self._request(look, memory.deployed, ref, path),
                look.settings,
                access.harmless(self._environ),
                author=_AUTHOR,
                policy=self._policy(look),
                stop=self.stop,
            )
            differences += _differences(preview)
            switched += [
                f"{full_name}: {change.field}"
                for full_name, changes in preview.drift.items()
                for change in changes
            ]
        if differences and look.section.heal:
            self._run(look, memory.deployed, ref, repair=True)
            differences = []
        self._state.update(
            name,
            **_WELL
            | (
                {"condition": "out-of-sync", "differences": tuple(differences)}
                if differences
                else {}
            ),
            switched=tuple(switched),
        )
        if memory.error is None:
            return Outcome.DONE
        return self._failed(name, memory, memory.error)


_WRITTEN = ("created", "updated", "deleted")
# What a state has when all is well.
_WELL: dict[str, Any] = {
    "condition": "synced",
    "error": "",
    "heals": None,
    "phase": "",
    "failures": 0,
    "failing_since": None,
    "differences": (),
}


def _differences(preview: Preview) -> Iterator[str]:
    """A line for each deployment that a deploy would change."""
    for action in preview.plan.actions:
        match action:
            case Create():
                yield f"{action.full_name}: is missing"
            case Update() if not action.maybe:
                yield f"{action.full_name}: differs in {', '.join(action.fields)}"
            case Delete():
                yield f"{action.full_name}: is not in the manifest"
            case Conflict():
                yield f"{action.full_name}: {action.reason}"
    yield from (f"the work pool {pool} is missing" for pool in preview.missing_pools)


def _of_deployment(result: Result) -> GitflowError:
    error = result.error
    assert error is not None  # noqa: S101
    return GitflowError(f"{result.full_name}: {error}", heals=error.heals, retry=error.retry)


def _joined(errors: list[GitflowError]) -> GitflowError:
    """One error of several. What heals the first of them that anything but a commit heals, counts."""
    if len(errors) == 1:
        return errors[0]
    heals = next((each.heals for each in errors if each.heals in _SOON_HEALED), errors[0].heals)
    return GitflowError("\n".join(map(str, errors)), heals=heals)
