"""The releases of a source: listed, shown, compared, checked out, and gone back to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from gitops_flow import manifest, pin
from gitops_flow.codestore import changes, history, sign
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import choice, source
from gitops_flow.deploy.code import Files, pin_of, version
from gitops_flow.errors import CodeStoreError, GitflowError, UsageError
from gitops_flow.model import digest_of, is_our_version
from gitops_flow.names import both, did_you_mean, matching
from gitops_flow.pin import Pin
from gitops_flow.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.changes import CodeChange
    from gitops_flow.codestore.history import Chain, Entry
    from gitops_flow.codestore.sign import Signer
    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.deploy.request import DeployRequest, Which
    from gitops_flow.deploy.server import Server
    from gitops_flow.deploy.source import AnySource, Project, Release
    from gitops_flow.model import Deployment, Snapshot, Source
    from gitops_flow.settings import Settings

Compared = TypeVar("Compared")
_PATIENCE = 15.0  # seconds for the Prefect server


@dataclass(frozen=True, slots=True)
class Live:
    """The deployments that are on the server now; ``problem`` is why they are not known."""

    deployments: tuple[Deployment, ...] = ()
    problem: GitflowError | None = None


@dataclass(frozen=True, slots=True)
class Releases:
    """What there is; ``entries`` are the source's (or all), newest first. ``@1`` is the first."""

    project: Project
    chain: Chain
    entries: tuple[Entry, ...]
    live: Live = Live()

    def find(self, text: str) -> Entry:
        """The release that ``text`` names; UsageError when none or several are."""
        return history.find(self.entries, text)

    def of(self, names: Sequence[str]) -> list[Entry]:
        """Those that pinned one of these deployments (a name, ``flow/name``, or a glob).

        Raises:
            UsageError: there are releases, and none of them pinned what a name asks for.
        """
        suffix = self.project.source.suffix
        known = dict.fromkeys(name for entry in self.entries for name in entry.deployments)
        for name in names if self.entries else ():
            if not any(_called(each, name, suffix) for each in known):
                own = [text for each in known for text in both(each, suffix)]
                raise UsageError(
                    f"no release pinned a deployment {name!r}", hint=did_you_mean(name, own)
                )
        return [
            entry
            for entry in self.entries
            if not names
            or any(_called(each, name, suffix) for each in entry.deployments for name in names)
        ]

    def pinned_now(self) -> dict[str, list[str]] | None:
        """Which live deployments pin a release, by its id; None when they are not known.

        Of several releases of one snapshot it is the source's newest.
        """
        if self.live.problem is not None:
            return None
        of: dict[str, list[Entry]] = {}
        for entry in self.entries:
            of.setdefault(entry.snapshot, []).append(entry)
        found: dict[str, list[str]] = {}
        for item in self.live.deployments:
            own = set(map(digest_of, item.marks))
            named = pin.commits(item.pull_steps, item.job_variables)
            for same in (of[commit] for commit in named if commit in of):
                entry = next((each for each in same if digest_of(each.mark) in own), same[0])
                found.setdefault(entry.id, []).append(item.full_name)
        return {release: sorted(names) for release, names in found.items()}

    def signer(self, entry: Entry) -> Signer | None:
        """Who signed a release, as far as git's configuration knows; None when nobody did."""
        if entry.signature is None:
            return None
        repo = self.project.repository
        return sign.check(self.chain.path, repo, entry.snapshot, entry.signature)

    def before(self, entry: Entry) -> Entry | None:
        """The release that came before."""
        at = self.entries.index(entry) + 1
        return self.entries[at] if at < len(self.entries) else None

    def compare(self, one: Entry, other: Entry) -> CodeChange:
        """What changed in the code from ``one`` to ``other``.

        Raises:
            CodeStoreError: the code store does not give one of them out.
        """
        found = changes.between(*self._place(), one.snapshot, other.snapshot)
        return self._given(found, one, other)

    def patch(self, one: Entry, other: Entry, most: int) -> bytes:
        """The first ``most`` bytes of that change as git shows it.

        Raises:
            CodeStoreError: the code store does not give one of them out.
        """
        found = changes.patch(*self._place(), one.snapshot, other.snapshot, most)
        return self._given(found, one, other)

    def _place(self) -> tuple[PrivateStore, CodeStore]:
        project, target = self.project, self.project.target
        return open_store(project.settings.cache_dir, project.repository, target.url), target

    def _given(self, compared: Compared | None, one: Entry, other: Entry) -> Compared:
        if compared is None:
            raise CodeStoreError(
                f"{one.id[:12]} and {other.id[:12]} cannot be compared: "
                "the code store does not give both out",
                where=self.project.target.url,
            )
        return compared


def _called(full_name: str, name: str, suffix: str) -> bool:
    return bool(matching({0: both(full_name, suffix)}, name))


def releases(
    origin: AnySource,
    settings: Settings,
    *,
    everything: bool = False,
    live: bool = False,
) -> Releases:
    """Read the history.

    Args:
        origin: the source.
        settings: where the cache and the code store are.
        everything: the releases of all sources that use this code store.
        live: ask the Prefect server what it has now; else nothing is asked of it.

    Raises:
        GitflowError: the manifest cannot be read, or the code store not be reached.
    """
    project = source.find(origin, settings)
    whose = None if everything else project.source
    with Threads(1) as side:
        asked = side.submit(_live, settings, whose) if live else None
        chain = history.read(settings.cache_dir, project.repository, project.target)
    entries = [each for each in chain.entries if everything or each.of_source(project.source)]
    return Releases(project, chain, tuple(entries), asked.result() if asked else Live())


def _live(settings: Settings, whose: Source | None) -> Live:
    """What ``whose`` owns, or all; nobody waits long for what is only told beside the rest."""
    from gitops_flow import prefect
    from gitops_flow.deploy import server

    try:
        connection = settings.require_prefect()
        timeout = min(connection.timeout, _PATIENCE)
        with prefect.Client(replace(connection, timeout=timeout, max_retries=0)) as client:
            if whose is None:
                return Live(tuple(prefect.live(client, names=None, mark=None)))
            return Live(tuple(server.owned(client, whose)))
    except GitflowError as error:
        return Live(problem=error)


def check_out(releases: Releases, entry: Entry, directory: Path) -> int:
    """Make ``directory``, which must not exist, of a release's files; how many there are.

    The files are verified against the snapshot's id as on a worker.

    Raises:
        UsageError: the directory exists.
        CheckoutError: it cannot be made.
        GitflowError: the code store does not give the release out.
    """
    from gitops_flow import checkout
    from gitops_flow.checkout.write import disk_errors

    directory = directory.absolute()
    target = releases.project.target
    with disk_errors(directory.parent):
        if directory.exists() or directory.is_symlink():
            raise UsageError("the directory exists already", where=str(directory))
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = checkout.make(target.url, entry.snapshot, directory.parent, auth=target.auth)
        made.directory.rename(directory)
    return made.files


def look_up(project: Project, origin: Release, request: DeployRequest, server: Server) -> Project:
    """``project`` with the release that ``origin`` means, and the manifest in that.

    Raises:
        UsageError: no such release, or it has no manifest.
        CodeStoreError: the code store does not give it out any more.
        ManifestError: its manifest has problems for this version.
    """
    entry = _entry(project, origin, request.which, server)
    store = open_store(project.settings.cache_dir, project.repository, project.target.url)
    if not changes.have(store, project.target, entry.snapshot):
        raise CodeStoreError(
            f"the code store does not give out release {entry.id[:12]}",
            where=project.target.url,
            hint="gitflow history lists what there is",
        )
    project = replace(project, origin=replace(origin, entry=entry))
    if origin.code_only:
        return project
    path = project.source.manifest
    data = Files(store.objects(), entry.tree).read(path)
    if data is None:
        raise UsageError(
            f"release {entry.id[:12]} has no {path}",
            hint="go back with ‹code_only›, which leaves the configuration as it is",
        )
    document = manifest.parse(
        data,
        f"{path} of {entry.id[:12]}",
        strict=request.options.strict,
        directory=project.manifest.directory,
        environment=project.source.environment or None,
    )
    return replace(project, manifest=document)


def _entry(project: Project, origin: Release, which: Which, server: Server) -> Entry:
    chain = history.read(project.settings.cache_dir, project.repository, project.target)
    entries = [entry for entry in chain.entries if entry.of_source(project.source)]
    if origin.to is not None:
        return history.find(entries, origin.to)
    live = choice.choose_live(server.live(()), which, project.source.suffix)
    there = {pinned.commit for item in live if (pinned := Pin.of(item.pull_steps))}
    newest = next((entry for entry in entries if entry.snapshot in there), None)
    before = history.before(entries, newest.snapshot) if newest else None
    if before is None:
        raise UsageError(
            "there is no release before what is pinned now",
            hint="name one with ‹to›; gitflow history lists them",
        )
    return before


def repinned(
    project: Project, snap: Snapshot, which: Which, live: Iterable[Deployment]
) -> list[Deployment]:
    """The chosen live deployments as they are, but for the code that they name.

    Raises:
        UsageError: a name that matches none, or nothing that is pinned.
    """
    pinned = [
        item
        for item in choice.choose_live(live, which, project.source.suffix)
        if Pin.of(item.pull_steps)
    ]
    if not pinned:
        raise UsageError("no deployment of this source is pinned to a snapshot")
    new, label = pin_of(project, snap), version(snap)
    return [
        replace(
            item,
            pull_steps=pin.repin(item.pull_steps, new),
            version=label if is_our_version(item.version) else item.version,
            version_is_ours=is_our_version(item.version),
        )
        for item in pinned
    ]


def refuse_steps(project: Project, desired: Iterable[Deployment]) -> None:
    """Refuse configurations that only steps could complete: they would build today's code.

    Raises:
        UsageError: with the deployments.
    """
    missing = [item.full_name for item in desired if item.unknown]
    if missing:
        raise UsageError(
            f"the configuration of {', '.join(missing)} needs the outputs of build steps, "
            "which a rollback does not run",
            where=project.manifest.shown,
            hint="go back with ‹code_only›, or deploy from a checkout of that release",
        )
