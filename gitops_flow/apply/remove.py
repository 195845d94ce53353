"""Deletes one deployment with what belongs to it, and nothing that others share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow import prefect
from gitops_flow.errors import ApiError

if TYPE_CHECKING:
    from gitops_flow.plan import Delete
    from gitops_flow.prefect import Client

_REASON = "its deployment was deleted by gitflow"


def remove(client: Client, action: Delete) -> int:
    """Delete the deployment; how many runs that waited were cancelled.

    They are cancelled, and not deleted with it, so that whoever asked for one
    sees what became of it. Runs that have started go on.
    """
    live = action.live
    live_id = live.id or ""
    prefect.delete_owned_automations(client, live_id)
    for automation in live.automations:
        if not set(automation.tags).isdisjoint(live.marks):
            prefect.delete_automation(client, automation.id or "")
    cancelled = prefect.cancel_waiting(client, live_id, _REASON)
    if live.limit_is_shared:
        _detach_limit(client, live_id)
    prefect.delete(client, live_id)
    return cancelled


def _detach_limit(client: Client, deployment_id: str) -> None:
    # Deleted with the deployment otherwise, for everybody who shares it.
    try:
        prefect.patch(client, deployment_id, {"global_concurrency_limit_id": None})
    except ApiError as error:
        if error.status != 404:
            raise
