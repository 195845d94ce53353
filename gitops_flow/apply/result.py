"""What became of an action, also where the server's answer was lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gitops_flow import plan, prefect
from gitops_flow.plan import Create, Delete, Unchanged, Update

if TYPE_CHECKING:
    from gitops_flow.errors import GitflowError
    from gitops_flow.prefect import Client

Status = Literal["created", "updated", "unchanged", "deleted", "held", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one action.

    ``changed`` names the fields that were written, empty for a creation; of what
    failed, those that are as desired nevertheless (``part of schedules``), or
    ``deployment`` when the creation was not completed. ``id`` is the
    deployment's on the server, None when it was not created.
    ``runs_restored`` counts upcoming runs that the write deleted and that were
    put back, ``runs_cancelled`` those that waited for a deleted deployment. ``by_pointer``:
    its new code came with the release pointer.
    """

    status: Status
    full_name: str
    id: str | None = None
    changed: tuple[str, ...] = ()
    error: GitflowError | None = None
    adopted: bool = False
    runs_restored: int = 0
    runs_cancelled: int = 0
    by_pointer: bool = False


def updated(action: Update, restored: int = 0) -> Result:
    """The result of an update of which everything is written."""
    return Result(
        "updated",
        action.full_name,
        id=action.live.id,
        changed=action.fields,
        adopted=action.adopts,
        runs_restored=restored,
        by_pointer=action.by_pointer,
    )


def read_back(client: Client, action: Create | Update | Delete, failed: Result) -> Result:
    """``failed``, or what really became of an action whose last answer was lost.

    The deployment is compared with what is desired once more: where nothing differs, the
    action was carried out.

    Raises:
        ApiError: the server cannot be asked.
    """
    wanted = action.live if isinstance(action, Delete) else action.desired
    live = prefect.live(client, names=[(wanted.flow_name, wanted.name)], mark=None)
    if isinstance(action, Delete):
        return failed if live else Result("deleted", action.full_name, id=action.live.id)
    names = plan.workspace_variables([wanted])
    known = action.desired.automations if isinstance(action, Create) else action.automations
    # Only its own tags change where a deployment is held.
    mark = action.mark or wanted.marks[0]
    (left,) = plan.make(
        [wanted],
        live,
        source_mark=mark,
        adopt=True,
        automations=prefect.live_automations(client, mark) if known else None,
        variables=prefect.variables(client, names) if names else {},
    ).actions
    if isinstance(action, Create):
        if isinstance(left, Create):
            return failed
        live_id = live[0].id
        if isinstance(left, Unchanged):
            return Result("created", action.full_name, id=live_id)
        return replace(failed, id=live_id, changed=("deployment",))
    missing = set(left.fields) & set(action.fields) if isinstance(left, Update) else set()
    if isinstance(left, Create):  # Somebody deleted it.
        return failed
    if not missing:
        return updated(action)
    parts = {name for name in failed.changed if name.removeprefix("part of ") in missing}
    stands = [name for name in action.fields if name not in missing]
    return replace(failed, changed=(*stands, *sorted(parts)))
