"""A look at a source while it is taken, and what is known from one look to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.controller import repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.controller.config import Config, SourceSection
    from gitops_flow.controller.queue import Turn
    from gitops_flow.controller.repository import Repository
    from gitops_flow.errors import GitflowError, Heals
    from gitops_flow.model import Source


@dataclass(slots=True)
class Memory:
    """What is known of a source from one look to the next; all of it can be found out again.

    Args:
        section: its configuration when the rest was found out.
        settled: the commit at the ref with which there is nothing more to do.
        deployed: the commit whose code is deployed; an older one if a push touched no path that
            matters.
        failed: the commit that could not be deployed, ``error`` is why not.
        afresh: that it was its first try.
        sources: what the manifests say they are; ``ids`` are those of their deployments.
        fingerprint: of what the server had when it was compared with the manifest; "" for one
            that has to be compared.
        looks: how many there were since then.
        gone: since when the branch is, of a preview.
    """

    section: SourceSection
    settled: str | None = None
    deployed: str | None = None
    failed: str | None = None
    error: GitflowError | None = None
    afresh: bool = False
    sources: tuple[Source, ...] = ()
    ids: frozenset[str] = frozenset()
    fingerprint: str = ""
    looks: int = 0
    gone: float | None = None

    @property
    def heals(self) -> Heals | None:
        """What has to happen before the failed commit can be deployed."""
        return self.error.heals if self.error else None


@dataclass(frozen=True, slots=True)
class Look:
    """A look that is being taken, at the source or preview ``name``."""

    turn: Turn
    name: str
    config: Config
    section: SourceSection
    memory: Memory
    repository: Repository
    again: Callable[[], None]

    @property
    def source(self) -> str:
        """The source in the configuration."""
        return self.name.partition("@")[0]

    @property
    def branch(self) -> str:
        """The branch of a preview, else ""."""
        return self.name.partition("@")[2]

    def own_ref(self, what: str) -> str:
        """A ref of ours in the mirror."""
        return repository.own_ref(what, self.name)
