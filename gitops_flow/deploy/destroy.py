"""Deleting everything that a source owns on the server. The code store keeps its snapshots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.deploy.request import Destroyed
from gitops_flow.deploy.session import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitops_flow.apply import Result
    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.model import Source
    from gitops_flow.plan import Plan
    from gitops_flow.settings import Settings


def destroy(
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    confirm: Callable[[Source, Plan], bool],
    on_result: Callable[[Result], None] = lambda _: None,
) -> Destroyed:
    """Delete the deployments, schedules, automations and waiting runs of a source.

    Args:
        request: where the manifest is, which says what the source is.
        settings: where Prefect is.
        environ: as for a deploy.
        confirm: is asked with what would be deleted, unless that is nothing.
        on_result: as for a deploy.

    Raises:
        GitflowError: the manifest cannot be read, or the server does not answer.
    """
    whole = replace(request, everything=True, prune=True)
    with opened(whole, settings, environ) as session:
        from gitops_flow import apply, plan

        source = session.prepared.source
        live = plan.attach(session.live(()), session.automations(()))
        planned = plan.destroy(live, source.mark, source.former_marks)
        if not planned.actions or not confirm(source, planned):
            return Destroyed(source, planned, ())
        results = apply.execute(session.client, planned, on_result=on_result)
        return Destroyed(source, planned, tuple(results))
