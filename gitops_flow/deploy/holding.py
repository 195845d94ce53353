"""Holding deployments as they are, and letting them go again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow.deploy.session import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitops_flow.apply import Result
    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.model import Source
    from gitops_flow.settings import Settings


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


def switch(
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    hold: bool,
    on_result: Callable[[Result], None] = lambda _: None,
) -> Switched:
    """Set or release the hold of the deployments that ``request`` names.

    A deploy passes held ones by; schedules and runs go on.

    Raises:
        GitflowError: the manifest does not say the source, a name matches nothing, or
            the server does not answer.
    """
    source = replace(request, names=(), source_only=True)
    with opened(source, settings, environ) as session:
        from gitops_flow import apply
        from gitops_flow.deploy import rollback
        from gitops_flow.plan import hold as holding

        chosen = rollback.choose(session.live(()), request)
        done = apply.execute(session.client, holding.switch(chosen, hold=hold), on_result=on_result)
        names = tuple(item.full_name for item in chosen)
        return Switched(session.prepared.source, names, tuple(done))
