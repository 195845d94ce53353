"""A commit of a source to its server: each of its manifests by :func:`gitops_flow.deploy.run`."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import deploy
from gitops_flow.controller import access, drift
from gitops_flow.deploy import Commit, DeployRequest, Options, Which, source
from gitops_flow.errors import GitflowError, StoppedError, UsageError
from gitops_flow.git.repository import Author
from gitops_flow.model import StepPolicy, digest_of
from gitops_flow.plan import Delete

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitops_flow.apply import Result
    from gitops_flow.controller.config import SourceSection
    from gitops_flow.controller.repository import Repository
    from gitops_flow.deploy import Event
    from gitops_flow.errors import Heals
    from gitops_flow.model import PrefectConnection, Source
    from gitops_flow.prefect import Clients
    from gitops_flow.settings import Settings
    from gitops_flow.stop import Stop

_AUTHOR = Author("gitflow controller")
_WRITTEN = ("created", "updated", "deleted")
# What is tried again later.
SOON_HEALED: tuple[Heals, ...] = ("time", "server")


@dataclass(frozen=True, slots=True)
class Job:
    """What is deployed or compared, and with what.

    Args:
        name: the source or preview.
        section: its configuration.
        repository: whose mirror has the commit.
        settings: where the server, the cache and the code store are.
        commit: 40 hex digits.
        ref: the full name of the branch or tag that it is from.
        suffix: for a preview, what its names end in.
        identity: which repository this is, where its address does not say so.
    """

    name: str
    section: SourceSection
    repository: Repository
    settings: Settings
    commit: str
    ref: str
    suffix: str | None = None
    identity: str | None = None

    def manifests(self) -> list[str]:
        """The paths of its manifests.

        Raises:
            UsageError: a glob that no file of the commit matches.
        """
        listed = self.section.manifest
        if not any(set(each) & set("*?[") for each in listed):
            return listed
        files = self.repository.files(self.commit)
        found = [each for each in files if any(fnmatch.fnmatchcase(each, one) for one in listed)]
        if not found:
            raise UsageError(
                f"the commit {self.commit[:12]} has no file {' or '.join(listed)}",
                hint="what was deployed is left as it is",
                heals="new commit",
            )
        return found

    def source(self, path: str) -> Commit:
        """What is deployed of one manifest."""
        heads = "refs/heads/"
        branch = self.ref.removeprefix(heads) if self.ref.startswith(heads) else None
        mirror = self.repository.mirror
        environment = self.section.environment
        return Commit(mirror, self.commit, path, branch, self.identity, self.suffix, environment)

    def request(self, path: str) -> DeployRequest:
        """The deploy of one manifest."""
        options = Options(prune=self.section.prune)
        return DeployRequest(self.source(path), Which(everything=True), options)


@dataclass(frozen=True, slots=True)
class Done:
    """What a deploy of all manifests did.

    Args:
        sources: what the manifests say they are.
        ids: those of the deployments on the server.
        snapshots: the snapshot of each manifest, by its path.
        deployments: how many there are.
        wrote: whether any of them was written.
        error: what is wrong, of all of them.
    """

    sources: tuple[Source, ...]
    ids: frozenset[str]
    snapshots: tuple[tuple[str, str], ...]
    deployments: int
    wrote: bool
    error: GitflowError | None


class Deployer:
    """Deploys, compares and deletes, with all that is the same for every source.

    Args:
        environ: the controller's own environment; sources see next to nothing of it.
        clients: connections to Prefect servers.
    """

    def __init__(self, environ: Mapping[str, str], clients: Clients) -> None:
        self._environ = access.harmless(environ)
        self.clients = clients
        # Who deploys what has a mark, by its digest, on a server.
        self._owners: dict[tuple[PrefectConnection, str], str] = {}

    def deploy(self, job: Job, stop: Stop, tell: Callable[[Event], None]) -> Done:
        """Deploy every manifest; one that fails keeps no other from it.

        Raises:
            GitflowError: there is no manifest.
            StoppedError: ``stop`` was set.
        """
        errors: list[GitflowError] = []
        reports = {}
        for path in job.manifests():
            try:
                self._claim(job, path)
                reports[path] = deploy.run(
                    job.request(path),
                    job.settings,
                    self._environ,
                    author=_AUTHOR,
                    policy=self._policy(job),
                    clients=self.clients,
                    on_event=tell,
                    stop=stop,
                )
            except StoppedError:
                raise
            except GitflowError as error:
                errors.append(error)
        results = [each for report in reports.values() for each in report.results]
        errors += [_of_deployment(each, each.error) for each in results if each.error]
        actions = [each for report in reports.values() for each in report.plan.actions]
        return Done(
            sources=tuple(report.source for report in reports.values()),
            ids=frozenset(each.id for each in results if each.id),
            snapshots=tuple((path, report.snapshot.commit) for path, report in reports.items()),
            deployments=sum(not isinstance(each, Delete) for each in actions),
            wrote=any(each.status in _WRITTEN for each in results),
            error=_joined(errors),
        )

    def compare(
        self, job: Job, stop: Stop
    ) -> tuple[tuple[Source, ...], tuple[str, ...], tuple[str, ...]]:
        """The sources, what differs on the server, and what was switched there on purpose.

        Raises:
            GitflowError: that cannot be found out.
        """
        previews = [
            deploy.preview(
                job.request(path),
                job.settings,
                self._environ,
                author=_AUTHOR,
                policy=self._policy(job),
                clients=self.clients,
                stop=stop,
            )
            for path in job.manifests()
        ]
        different = tuple(line for each in previews for line in drift.differences(each))
        switched = tuple(line for each in previews for line in drift.switched(each))
        return tuple(each.source for each in previews), different, switched

    def delete(self, job: Job, stop: Stop) -> None:
        """Delete what the preview ``job`` has on the server, and nothing else.

        Raises:
            GitflowError: not all of it could be deleted.
        """
        if job.suffix is None:
            raise ValueError("only previews are deleted")
        for path in job.manifests():
            self._claim(job, path)
            done = deploy.destroy(
                job.source(path),
                job.settings,
                confirm=lambda _source, _plan: True,
                clients=self.clients,
                stop=stop,
            )
            error = _joined(
                [_of_deployment(each, each.error) for each in done.results if each.error]
            )
            if error is not None:
                raise error

    def release(self, name: str) -> None:
        """Leave what the source or preview ``name`` deploys to others."""
        for key, owner in list(self._owners.items()):
            if owner == name:
                self._owners.pop(key, None)

    def _claim(self, job: Job, path: str) -> None:
        """Have nobody else deploy what this manifest does.

        Whoever can push may write what he likes into a manifest.

        Raises:
            GitflowError: another source deploys it.
        """
        project = source.find(job.source(path), job.settings, may_be_gone=job.suffix is not None)
        server, mine = job.settings.require_prefect(), project.source
        marks = map(digest_of, (mine.mark, *mine.former_marks))
        owners = [self._owners.setdefault((server, mark), job.name) for mark in marks]
        if owner := next((each for each in owners if each != job.name), None):
            raise UsageError(
                f"the source {owner} deploys the same manifest of the same repository to the same "
                "server: each would undo what the other does",
                where=path,
                hint="give one of them another environment or server in gitflow.yaml, or take it out",
                heals="server",
            )

    def _policy(self, job: Job) -> StepPolicy:
        return StepPolicy(frozenset(job.section.steps), self._environ)


def _of_deployment(result: Result, error: GitflowError) -> GitflowError:
    return GitflowError(f"{result.full_name}: {error}", heals=error.heals)


def _joined(errors: list[GitflowError]) -> GitflowError | None:
    """One error of several; what is tried again later decides when all are."""
    if len(errors) < 2:
        return errors[0] if errors else None
    heals = next((each.heals for each in errors if each.heals in SOON_HEALED), errors[0].heals)
    return GitflowError("\n".join(map(str, errors)), heals=heals)
