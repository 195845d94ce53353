"""One look at one source: what git has, what is deployed, and what has to be done about it."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any

from gitops_flow import stop
from gitops_flow.controller import access, drift, policy
from gitops_flow.controller.config import Config
from gitops_flow.controller.deployer import SOON_HEALED, Deployer, Job
from gitops_flow.controller.lease import Lease
from gitops_flow.controller.look import Look, Memory
from gitops_flow.controller.queue import Outcome, Queue
from gitops_flow.controller.repository import Login, Repository, patterns
from gitops_flow.controller.state import SourceState, Suspension
from gitops_flow.deploy import Phase, paths
from gitops_flow.errors import GitflowError, StoppedError
from gitops_flow.git import environment
from gitops_flow.prefect import Clients
from gitops_flow.redact import get_logger, redact
from gitops_flow.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping
    from pathlib import Path

    from gitops_flow.controller.config import SourceSection
    from gitops_flow.controller.queue import Turn
    from gitops_flow.controller.repository import Refs
    from gitops_flow.controller.state import Kept, State
    from gitops_flow.deploy import Event
    from gitops_flow.model import PrefectConnection

# What the server has is compared with the manifest at least as often as this, also where its
# listings show no change: a block or a variable that the manifest names may have another value.
_LOOKS_UNTIL_COMPARED = 48
# Seconds in which the server tells of all that belongs together.
_ECHO = 0.5
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
_log = get_logger("controller")


class Reconciler:
    """Makes the servers equal to git, one look at a time.

    Args:
        environ: the controller's own environment.
        data: where what may not be lost is kept.
        cache: where the rest is.
        state: where it is told how each source is.
        kept: who is to be left alone, and which previews there are.
        workers: how many looks are taken at once.
        clock: seconds, which only go forward.
        lease: the ref by which controllers of one configuration keep out of each other's way;
            None where there is one alone.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str],
        data: Path,
        cache: Path,
        state: State,
        kept: Kept,
        workers: int,
        clock: Callable[[], float],
        lease: str | None = None,
    ) -> None:
        self.queue = Queue(self.look, workers=workers, clock=clock)
        self.stop = Stop()
        self.clients = Clients()
        # When the last look at each source ended, or it was configured.
        self.looked: dict[str, float] = {}
        self.servers: dict[PrefectConnection, drift.Server] = {}
        self._environ = environ
        self._data, self._cache = data, cache
        self._state = state
        self._kept = kept
        self._clock = clock
        self._lease = lease
        self._deployer = Deployer(environ, self.clients)
        self._config = Config()
        self._memories: dict[str, Memory] = {}
        self._repositories: dict[str, Repository] = {}
        self._leases: dict[Hashable, Lease] = {}
        self._rung: dict[str, float] = {}

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
            lease = (self._lease,) if self._lease else ()
            # A branch that another glob named before is not gone.
            known_branches = [f"refs/heads/{each}" for each in self._kept.previews(name)]
            wanted.setdefault(key, {})[name] = (*patterns(section.ref), *known_branches, *lease)
            self.looked.setdefault(name, self._clock())
        for repository in repositories.values():
            repository.wanted = wanted[repository.login_key]
        self._config, self._repositories = config, repositories
        for state in self._state.all():
            now = config.sources.get(state.source)
            if now is None or (state.branch and now.previews is None):
                self._forget(state.name)

    def _forget(self, name: str) -> None:
        self._memories.pop(name, None)
        self.looked.pop(name, None)
        self._rung.pop(name, None)
        self._deployer.release(name)
        self.queue.remove(name)
        self._state.remove(name)
        self._forget_servers(name)

    def _forget_servers(self, name: str) -> None:
        for connection, server in list(self.servers.items()):
            server.wanted.pop(name, None)
            if not server.wanted:
                self.servers.pop(connection, None)

    def ring(self, deployment: str) -> None:
        """Have the source looked at that a deployment, by its id, belongs to: it was changed."""
        for name, memory in list(self._memories.items()):
            if deployment in memory.ids:
                self._rung[name] = self._clock()
                # A deploy, which may be ours, rings for each of its writes.
                self.queue.add(name, after=_ECHO)

    def suspension(self, name: str) -> Suspension | None:
        """Why a source, or a preview, is to be left alone now; None when it is not."""
        source = name.partition("@")[0]
        section = self._config.sources.get(source)
        if section is not None and (own := section.suspend) is not None:
            found: Suspension | None = Suspension(own.reason, own.author, None, own.until, True)
        else:
            found = self._kept.suspension(name) or self._kept.suspension(source)
        return None if found is None or found.is_over(self._state.now()) else found

    def look(self, turn: Turn) -> Outcome:
        """Take one look at the source ``turn.key``; whatever is wrong with it is in its state."""
        name, config = turn.key, self._config
        source, _, branch = name.partition("@")
        section, repository = config.sources.get(source), self._repositories.get(source)
        if section is None or repository is None or (branch and section.previews is None):
            self._forget(name)
            return Outcome.DONE
        self.queue.add(name, after=self._until_next(section, repository))
        suspension = self.suspension(name)
        self._state.update(name, suspension=suspension, interval=section.interval)
        memory = self._memories.get(name)
        if memory is None or memory.section != section:
            memory = self._memories[name] = Memory(section)

        def again() -> None:
            self.queue.add(name, asked=turn.asked, forced=turn.forced)

        look = Look(turn, name, config, section, memory, repository, again)
        try:
            with stop.using(self.stop):
                if suspension is not None:
                    return Outcome.DONE
                return self._previews(look) if section.previews and not branch else self._look(look)
        except StoppedError:
            # Whoever looks at it next begins where this one ended.
            self._state.update(name, phase="")
            return Outcome.UNTRIED
        except GitflowError as error:
            return self._failed(look, error)
        except Exception as error:  # noqa: BLE001 - one source's trouble is not the others'
            _log.error("%s: %s", name, "".join(traceback.format_exception(error)))
            hint = "the controller's log has the details; please report it"
            bug = GitflowError(f"bug: {type(error).__name__}: {error}", hint=hint, retry=True)
            return self._failed(look, bug)
        finally:
            if source not in self._config.sources:
                self._forget(name)
            elif name in self._memories:
                self.looked[name] = self._clock()

    def _until_next(self, section: SourceSection, repository: Repository) -> float:
        """Seconds until the next look: at its own part of each interval, with all of a repository."""
        phase = access.spread(repository.login.address) * section.interval
        return section.interval - (self._clock() - phase) % section.interval

    def _failed(self, look: Look, error: GitflowError) -> Outcome:
        name, memory = look.name, look.memory
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
        if error.heals not in SOON_HEALED:
            return Outcome.WAITING
        return Outcome.FAILED_AFRESH if afresh else Outcome.FAILED

    def _refs(self, look: Look) -> Refs | None:
        login = access.login(look.source, look.section, look.config, self._environ, self._data)
        look.repository.login = login
        self._state.update(look.name, repository=redact(login.address))
        refs = look.repository.refs(look.turn.asked, look.again)
        if refs is not None and refs.error is not None:
            raise refs.error
        return refs

    def _previews(self, look: Look) -> Outcome:
        """Have each branch that the glob names looked at, and each that it named before."""
        previews, name = look.section.previews, look.name
        refs = self._refs(look)
        if refs is None or previews is None:
            return Outcome.UNTRIED
        there = refs.branches(look.section.ref or "*")
        known = set(self._kept.previews(name))
        # Those that are deployed already keep their place.
        chosen = sorted(there, key=lambda branch: (branch not in known, branch))[: previews.limit]
        self._kept.keep_previews(name, known | set(chosen))
        for branch in sorted(known | set(chosen)):
            key = f"{name}@{branch}"
            state = self._state.get(key)
            if state is None or state.commit != there.get(branch) or look.turn.forced:
                self._state.update(key, interval=look.section.interval)
                self.queue.add(key, asked=look.turn.asked, forced=look.turn.forced)
        if left := sorted(set(there) - set(chosen)):
            raise GitflowError(
                f"there are {len(there)} branches, and previews of {previews.limit} at most: "
                f"none of {', '.join(left)}",
                hint="delete branches that are no longer needed, or raise previews: {limit: N}",
            )
        self._state.update(name, **_WELL, ref=look.section.ref, looked_at=self._state.now())
        return Outcome.DONE

    def _look(self, look: Look) -> Outcome:
        memory, turn, name = look.memory, look.turn, look.name
        refs = self._refs(look)
        if refs is None:
            return Outcome.UNTRIED
        ref = f"refs/heads/{look.branch}" if look.branch else look.section.ref
        found = refs.find(ref)
        if found is None and look.branch:
            return self._gone(look, refs)
        if found is None:
            raise GitflowError(
                f"the repository has no {ref or 'HEAD'}; what was deployed from it is left as it is",
                where=redact(look.repository.login.address),
                hint="push it again; or take the source out of gitflow.yaml",
            )
        memory.gone = None
        ref, commit = found
        self._state.update(name, ref=ref, commit=commit, looked_at=self._state.now())
        if self._lease:
            self._lease_of(look).seen(refs.commits.get(self._lease), refs.asked)
        with environment.using(look.repository.login.git):
            if turn.forced or commit not in (memory.settled, memory.failed):
                return self._deploy(look, ref, commit)
            if commit == memory.failed and memory.heals != "new commit":
                return self._deploy(look, ref, commit) if turn.retry else Outcome.UNTRIED
            # What is deployed is looked after also while the newest commit cannot be.
            return self._watch(look, ref, commit)

    def _job(self, look: Look, commit: str, ref: str) -> Job:
        arguments = (look.source, look.section, look.config)
        suffix = None
        if look.section.previews is not None and look.branch:
            suffix = look.section.previews.suffix.replace("{branch}", look.branch)
        settings = access.of_source(*arguments, self._environ, self._data)
        identity = access.identity(*arguments)
        return Job(
            look.name, look.section, look.repository, settings, commit, ref, suffix, identity
        )

    def _deploy(self, look: Look, ref: str, commit: str) -> Outcome:
        repository, memory = look.repository, look.memory
        got = repository.fetch(ref, commit, look.again)
        if got is None:
            return Outcome.UNTRIED
        self._state.update(look.name, commit=got)
        begun, has_freezes = look.own_ref("begun"), bool(look.section.freeze)
        # What was begun before a freeze is carried on: half of it is worse than all of it.
        if has_freezes and repository.read(begun) != got and (frozen := self._frozen(look)):
            told = f"{got[:12]} is not deployed: {frozen}"
            self._state.update(look.name, condition="out-of-sync", differences=(told,), error="")
            return Outcome.DONE
        try:
            target = self._target(look, got)
            policy.check_signed(repository.mirror, target, look.section.signers)
            with self._working(look) as working:
                if working is None:
                    return Outcome.UNTRIED
                if has_freezes:
                    repository.remember(begun, got)
                self._run(look, self._job(look, target, ref), working)
        except StoppedError:
            raise
        except GitflowError as error:
            memory.afresh, memory.failed, memory.error = memory.failed != got, got, error
            raise
        repository.remember(look.own_ref("deployed"), target)
        if has_freezes:
            repository.remember(begun, None)
        memory.settled, memory.deployed, memory.failed, memory.error = got, target, None, None
        self._state.update(look.name, **_WELL, deployed=target)
        return Outcome.DONE

    def _frozen(self, look: Look) -> str:
        """Why no deploy may begin now, "" where one may; the source is looked at again then."""
        now = self._state.now()
        if (found := policy.frozen(look.section.freeze, now)) is None:
            return ""
        end, reason = found
        self.queue.add(look.name, after=max(1.0, (end - now).total_seconds()))
        return f"frozen until {end:%Y-%m-%d %H:%M %Z}{reason and f' ({reason})'}"

    def _target(self, look: Look, commit: str) -> str:
        """The commit to deploy: the one before, if no path that matters differs from it."""
        section, repository = look.section, look.repository
        if not section.paths or look.turn.forced:
            return commit
        before = repository.read(look.own_ref("deployed"))
        if before is None or before == commit:
            return commit
        globs = [*section.paths, *section.manifest]
        return commit if paths.needed(repository.changed(before, commit), globs, ()) else before

    def _lease_of(self, look: Look) -> Lease:
        key, repository = look.repository.login_key, look.repository
        if key not in self._leases:
            ref = self._lease or ""
            self._leases[key] = Lease(
                repository.mirror, lambda: repository.login, ref, clock=self._clock
            )
        return self._leases[key]

    @contextlib.contextmanager
    def _working(self, look: Look) -> Iterator[Stop | None]:
        """What ends the work in the block; None while another controller works on the repository."""
        if self._lease is None:
            yield self.stop
            return
        lease = self._lease_of(look)
        with lease.held() as held:
            if held is None:
                self.queue.add(look.name, after=lease.seconds / 3)
                yield None
                return
            with self.stop.calling(lambda: held.set("the controller ends")):
                yield held

    def _run(self, look: Look, job: Job, working: Stop, *, repair: bool = False) -> None:
        name, memory = look.name, look.memory

        def tell(event: Event) -> None:
            if isinstance(event, Phase):
                self._state.update(name, phase=event.value)

        before = self._state.update(name, condition="progressing", error="", heals=None)
        done = self._deployer.deploy(job, working, tell)
        memory.sources, memory.ids, memory.fingerprint = done.sources, done.ids, ""
        self._server(look, job)
        if done.wrote:
            self._state.update(
                name,
                deploys=before.deploys + 1,
                repairs=before.repairs + repair,
                deployed_at=self._state.now(),
            )
        if done.error is not None:
            raise done.error
        self._state.update(name, snapshots=done.snapshots, deployments=done.deployments)

    def _watch(self, look: Look, ref: str, commit: str) -> Outcome:
        """Compare what is deployed with what the server has; repair it, or tell of it."""
        memory, name, heal = look.memory, look.name, look.section.heal
        if memory.deployed is None:
            return Outcome.WAITING
        job = self._job(look, memory.deployed, ref)
        fingerprint = self._fingerprint(look, job)
        if fingerprint is None:
            return Outcome.UNTRIED
        same = fingerprint == memory.fingerprint != ""
        memory.looks = memory.looks + 1 if same else 0
        before = self._state.get(name) or SourceState(name)
        different, switched = before.differences, before.switched
        if not same or memory.looks >= _LOOKS_UNTIL_COMPARED or (different and heal):
            if look.repository.read(look.own_ref("deployed")) != memory.deployed:
                return self._deploy(look, ref, commit)  # somebody has deleted the mirror
            memory.sources, different, switched = self._deployer.compare(job, self.stop)
            memory.fingerprint, memory.looks = fingerprint, 0
            if different and heal and not self._frozen(look):
                with self._working(look) as working:
                    if working is None:
                        return Outcome.UNTRIED
                    self._run(look, job, working, repair=True)
                different = ()
        condition = {"condition": "out-of-sync"} if different else {}
        self._state.update(
            name, **_WELL | condition | {"differences": different, "switched": switched}
        )
        return Outcome.DONE if memory.error is None else self._failed(look, memory.error)

    def _fingerprint(self, look: Look, job: Job) -> str | None:
        """That of the source's server; "" where it is not known, None while another asks for it."""
        if not look.memory.sources:
            return ""
        # What is asked for many sources need not be asked for each of them anew.
        since = look.turn.asked - look.section.interval / 4
        since = max(since, self._rung.get(look.name, 0))
        return self._server(look, job).fingerprint(look.name, since, look.again)

    def _server(self, look: Look, job: Job) -> drift.Server:
        """Where the source is deployed to, which knows of it from then on."""
        connection = job.settings.require_prefect()
        server = self.servers.get(connection)
        if server is None:
            self._forget_servers(look.name)
            server = drift.Server(connection, self.clients, self._clock)
            self.servers[connection] = server
        server.wanted[look.name] = look.memory.sources
        return server

    def _gone(self, look: Look, refs: Refs) -> Outcome:
        """Delete the deployments of a branch that is gone, once it has been so for long enough."""
        head, memory, previews = refs.find(None), look.memory, look.section.previews
        if head is None or previews is None:
            raise GitflowError(
                f"the branch {look.branch} is gone, and so is all else of the repository; "
                "what was deployed from it is left as it is",
                where=redact(look.repository.login.address),
            )
        memory.gone = self._clock() if memory.gone is None else memory.gone
        left = memory.gone + previews.grace - self._clock()
        if left > 0:
            told = f"the branch is gone; what is deployed of it goes in {left:.0f} s"
            self._state.update(look.name, condition="out-of-sync", differences=(told,), error="")
            self.queue.add(look.name, after=left)
            return Outcome.DONE
        with environment.using(look.repository.login.git), self._working(look) as working:
            if working is None:
                return Outcome.UNTRIED
            # What its manifest was is in the mirror; or what the others' is must do.
            commit = look.repository.read(look.own_ref("deployed"))
            commit = commit or look.repository.fetch(*head, look.again)
            if commit is None:
                return Outcome.UNTRIED
            self._deployer.delete(self._job(look, commit, f"refs/heads/{look.branch}"), working)
            for what in ("deployed", "begun"):
                look.repository.remember(look.own_ref(what), None)
        left_over = set(self._kept.previews(look.source)) - {look.branch}
        self._kept.keep_previews(look.source, left_over)
        self._forget(look.name)
        return Outcome.DONE
