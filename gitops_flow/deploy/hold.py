"""Holding deployments as they are, and letting them go again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow.deploy import server, source
from gitops_flow.deploy.request import Switched

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.apply import Result
    from gitops_flow.deploy.request import Which
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.settings import Settings


def switch(
    origin: AnySource,
    which: Which,
    settings: Settings,
    *,
    hold: bool,
    on_result: Callable[[Result], None] = lambda _: None,
) -> Switched:
    """Set or release the hold of those of a source's live deployments that ``which`` names.

    A deploy passes held ones by; schedules and runs go on.

    Raises:
        GitflowError: the manifest does not say the source, a name matches nothing, or
            the server does not answer.
    """
    project = source.find(origin, settings)
    with server.connected(project) as live:
        from gitops_flow import apply
        from gitops_flow.deploy import choice
        from gitops_flow.plan import ownership

        chosen = choice.choose_live(live.live(()), which)
        done = apply.execute(
            live.client, ownership.switch_hold(chosen, hold=hold), on_result=on_result
        )
        names = tuple(item.full_name for item in chosen)
        return Switched(project.source, names, tuple(done))
