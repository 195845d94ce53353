"""What a deploy is asked for, what it says on the way, and what it reports."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import stop
from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from gitops_flow.apply import Result
    from gitops_flow.codestore.changes import CodeChange
    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.errors import Heals
    from gitops_flow.manifest import Override
    from gitops_flow.model import Problem, Snapshot, Source
    from gitops_flow.plan import FieldChange, Plan


@dataclass(frozen=True, slots=True)
class Which:
    """The deployments that are meant.

    Args:
        names: ``name``, ``flow/name`` or a glob of either; empty with ``everything``.
        tags: only deployments that have one of these tags in the manifest.
        everything: all deployments of the manifest.
        changed: tell only of deployments that differ.
    """

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    everything: bool = False
    changed: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is about the whole manifest, which alone says what is no longer in it."""
        return self.everything and not self.names and not self.tags


@dataclass(frozen=True, slots=True)
class Options:
    """How a deploy goes about it.

    Args:
        submodules: include their files; None leaves it to the manifest.
        ignore_submodules: globs of submodules that are left out.
        lfs: include the content of Git LFS files; None leaves it to the manifest.
        ci_files: include what a forge starts its CI by; None leaves it to the manifest.
        adopt: take over deployments that another source owns.
        prune: delete what this source owns and the manifest no longer has.
        force_prune: also when that is more than a third of it.
        create_pools: make missing work pools, of type process.
        fail_fast: stop at the first write that fails.
        strict: keys that Prefect ignores are errors.
        allow_missing: placeholders that nothing fills in are left out, as Prefect does.
        import_flows: ask the user's Python about flows whose source does not say it all.
        verify: have the user's Python import every flow before anything is pinned.
        python: the user's Python; None finds it.
        allow_secrets: globs of files that may look like secrets.
        max_file_size, max_total_size: bytes; None leaves them to the manifest.
        atomic: name the source's release pointer; None leaves it to the manifest.
        overrides: values in place of the manifest's, for the chosen deployments.
    """

    submodules: bool | None = None
    ignore_submodules: tuple[str, ...] = ()
    lfs: bool | None = None
    ci_files: bool | None = None
    adopt: bool = False
    prune: bool = False
    force_prune: bool = False
    create_pools: bool = False
    fail_fast: bool = False
    strict: bool = False
    allow_missing: bool = False
    import_flows: bool = False
    verify: bool = False
    python: str | None = None
    allow_secrets: tuple[str, ...] = ()
    max_file_size: int | None = None
    max_total_size: int | None = None
    atomic: bool | None = None
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """One deploy: of what, which deployments of it, and how.

    Raises:
        UsageError: the parts exclude each other.
    """

    source: AnySource
    which: Which = Which()
    options: Options = Options()

    def __post_init__(self) -> None:
        if self.which.names and self.which.everything:
            raise UsageError(
                "names and ‹everything› exclude each other", hint="leave one of them out"
            )
        if self.options.prune and not self.which.whole:
            raise UsageError(
                "‹prune› needs ‹everything› and no ‹tags›: "
                "only the whole manifest says what is no longer in it",
                hint="deploy all of it, or leave ‹prune› out",
            )


@dataclass(frozen=True, slots=True)
class Published:
    """Where the snapshot is. ``entry`` is the newest ledger entry seen there.

    ``signed`` says that the release was signed just now.
    """

    url: str
    branch: str
    entry: str
    pushed: bool
    created: bool
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a deploy did.

    ``plan`` is what it carried out, with the orphans that it left alone.
    ``restored`` is the release that it went back to, if it did. ``repeated`` counts the
    requests that the server was sent once more, since it was busy or slow.
    """

    source: Source
    snapshot: Snapshot
    published: Published
    plan: Plan
    results: tuple[Result, ...]
    warnings: tuple[Problem, ...] = ()
    pools_created: tuple[str, ...] = ()
    restored: Entry | None = None
    repeated: int = 0

    @property
    def ok(self) -> bool:
        """Whether every deployment is as the manifest says."""
        return all(result.error is None for result in self.results)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason not to carry a plan out: in a few words, in detail, what to do, what heals it."""

    message: str
    details: tuple[Problem, ...]
    hint: str | None = None
    heals: Heals = "server"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a deploy would do.

    ``code`` compares what is pinned with the snapshot, once for each snapshot
    that is pinned now; ``lost`` are pins whose snapshot the code store no
    longer gives out. ``steps`` says that build or push steps would run first,
    ``blocked`` why the deploy would be refused, ``drift`` what differs on the
    server and is left alone, by full name.
    """

    source: Source
    snapshot: Snapshot
    url: str
    branch: str
    plan: Plan
    missing_pools: tuple[str, ...]
    steps: int
    code: tuple[CodeChange, ...]
    lost: tuple[str, ...]
    blocked: tuple[Refusal, ...]
    drift: dict[str, tuple[FieldChange, ...]]
    warnings: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    restored: Entry | None = None

    @property
    def pending(self) -> bool:
        """Whether there is something to do."""
        return bool(self.plan.pending or self.plan.conflicts or self.missing_pools)


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What was to be deleted, and what came of it; no results when it was not confirmed."""

    source: Source
    plan: Plan
    results: tuple[Result, ...]
    warnings: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all of it is gone."""
        return len(self.results) == len(self.plan.actions) and all(
            result.error is None for result in self.results
        )


@dataclass(frozen=True, slots=True)
class Switched:
    """Which deployments were chosen, and what came of those that were not so already."""

    source: Source
    chosen: tuple[str, ...]
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether all of it was written."""
        return all(result.error is None for result in self.results)


class Phase(enum.Enum):
    """What begins now; the value says it in a few words."""

    HISTORY = "reading the history"
    SNAPSHOT = "taking the snapshot"
    COMPARE = "comparing with the server"
    BUILD = "running build steps"
    VERIFY = "verifying"
    PUBLISH = "publishing the snapshot"
    APPLY = "applying"
    CONFIRM = "confirming the release"


@dataclass(frozen=True, slots=True)
class StepLine:
    """A line that a build or push step printed, masked."""

    text: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """What became of one deployment; of each that the plan writes there is one."""

    result: Result


Event = Phase | StepLine | Deployed
OnEvent = Callable[[Event], None]


def ignore(_: Event) -> None:
    """For who does not want to know."""


def asking(on_event: OnEvent) -> OnEvent:
    """Tell of each event, and let no phase begin once the work was stopped.

    Raises:
        StoppedError: by the function that is returned.
    """

    def tell(event: Event) -> None:
        if isinstance(event, Phase):
            stop.current().check()
        on_event(event)

    return tell
