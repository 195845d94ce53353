"""What a source owns on the server: held as it is, let go again, or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow.deploy import server, source
from gitops_flow.deploy.request import Destroyed, Switched
from gitops_flow.pin import pointer_of
from gitops_flow.stop import using

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.apply import Result
    from gitops_flow.deploy.request import Which
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.model import Source
    from gitops_flow.plan import Plan
    from gitops_flow.prefect import Clients
    from gitops_flow.settings import Settings
    from gitops_flow.stop import Stop


def switch(
    origin: AnySource,
    which: Which,
    settings: Settings,
    *,
    hold: bool,
    clients: Clients | None = None,
    on_result: Callable[[Result], None] = lambda _: None,
    stop: Stop | None = None,
) -> Switched:
    """Set or release the hold of those of a source's live deployments that ``which`` names.

    A deploy passes held ones by; schedules and runs go on. ``clients`` and ``stop`` are as
    for a deploy.

    Raises:
        GitflowError: the manifest does not say the source, a name matches nothing, or
            the server does not answer.
        StoppedError: ``stop`` was set.
    """
    with using(stop):
        project = source.find(origin, settings)
        with server.connected(project, clients) as live:
            from gitops_flow import apply
            from gitops_flow.deploy import choice
            from gitops_flow.plan import ownership

            chosen = choice.choose_live(live.live(()), which, project.source.suffix)
            done = apply.execute(
                live.client, ownership.switch_hold(chosen, hold=hold), on_result=on_result
            )
            names = tuple(item.full_name for item in chosen)
            return Switched(project.source, names, tuple(done))


def destroy(
    origin: AnySource,
    settings: Settings,
    *,
    confirm: Callable[[Source, Plan], bool],
    clients: Clients | None = None,
    on_result: Callable[[Result], None] = lambda _: None,
    stop: Stop | None = None,
) -> Destroyed:
    """Delete the deployments, schedules, automations and waiting runs of a source.

    Its release pointers go, too, but for one that somebody else's deployment names.

    Args:
        origin: the source.
        settings: where Prefect is.
        confirm: is asked with what would be deleted, unless that is nothing.
        clients, on_result, stop: as for a deploy.

    Raises:
        GitflowError: the manifest cannot be read, or the server does not answer. Of a copy whose
            suffix is given nothing is asked of the manifest.
        StoppedError: ``stop`` was set.
    """
    with using(stop):
        project = source.find(origin, settings, may_be_gone=True)
        with server.connected(project, clients, everything=True) as live:
            from gitops_flow import apply, plan, prefect

            mine, told = project.source, project.manifest.problems
            there = plan.attach(live.live(()), live.automations(()))
            planned = plan.destroy(there, mine.mark, mine.former_marks)
            if planned.actions and not confirm(mine, planned):
                return Destroyed(mine, planned, (), told)
            results = apply.execute(live.client, planned, on_result=on_result)
            if all(result.error is None for result in results):
                gone = {action.full_name for action in planned.actions}
                named = {
                    pointer_of(item.pull_steps) for item in there if item.full_name not in gone
                }
                for name in prefect.pointers(live.client):
                    if mine.is_own_pointer(name) and name not in named:
                        prefect.delete_variable(live.client, name)
            return Destroyed(mine, planned, tuple(results), told)
