"""Executes a plan, action by action, and collects what came of each.

One write after the other on purpose: two writers make a SQLite server slower,
and half of what they send comes back as 503.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gitops_flow import prefect
from gitops_flow.apply.remove import remove
from gitops_flow.apply.update import standing, update
from gitops_flow.errors import ApiError, GitflowError
from gitops_flow.plan import Action, Conflict, Create, Delete, Held, Plan, Unchanged, Update
from gitops_flow.plan.hydrate import has_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops_flow.prefect import Client, Run

# Each of these was retried for half a minute or more: a server that is away for two
# deployments in a row would keep a manifest of a hundred waiting for hours.
_AWAY = (None, 408, 429, 502, 503, 504)
_PATIENCE = 2

Status = Literal["created", "updated", "unchanged", "deleted", "held", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one action.

    ``changed`` names the fields that were written, empty for a creation; of what
    failed, those that are as desired nevertheless (``part of schedules``), or
    ``deployment`` when the creation was not completed. ``id`` is the
    deployment's on the server, None when it was not created.
    ``runs_restored`` counts upcoming runs that the write deleted and that were
    put back, ``runs_cancelled`` those that waited for a deleted deployment.
    """

    status: Status
    full_name: str
    id: str | None = None
    changed: tuple[str, ...] = ()
    error: GitflowError | None = None
    adopted: bool = False
    runs_restored: int = 0
    runs_cancelled: int = 0


def execute(
    client: Client,
    plan: Plan,
    *,
    on_result: Callable[[Result], None] | None = None,
    fail_fast: bool = False,
) -> list[Result]:
    """Carry ``plan`` out and return one result per action, in its order.

    A failure does not keep the other deployments from being written, unless
    ``fail_fast``: then what follows has no result. When the server is away for
    two of them in a row, the rest fails without being tried. Nothing is
    deleted after a failure: what is missing may be what replaces it.

    Raises:
        ValueError: the plan was made before the build steps ran.
    """
    if any(isinstance(each, Create | Update) and each.desired.unknown for each in plan.writes):
        raise ValueError("a plan with unknown fields cannot be carried out")
    creates = [action.desired.flow_name for action in plan.actions if isinstance(action, Create)]
    prefect.know_flows(client, creates)
    updates = [action.live.id or "" for action in plan.actions if isinstance(action, Update)]
    late = prefect.late_runs(client, updates) if updates else []
    results: list[Result] = []
    away: list[ApiError] = []
    failed = 0
    for action in plan.actions:
        if len(away) >= _PATIENCE and isinstance(action, Create | Update | Delete):
            result = _not_tried(action, away[-1])
        elif failed and isinstance(action, Delete):
            result = _kept(action, failed)
        else:
            result = _attempt(client, action, late)
            away = _still_away(away, result)
        failed += result.error is not None and not isinstance(action, Delete)
        results.append(result)
        if on_result is not None:
            on_result(result)
        if fail_fast and result.error is not None:
            break
    return results


def _attempt(client: Client, action: Action, late: Sequence[Run]) -> Result:
    name = action.full_name
    if isinstance(action, Unchanged):
        return Result("unchanged", name, id=action.live.id)
    if isinstance(action, Held):
        return Result("held", name, id=action.live.id)
    if isinstance(action, Conflict):
        error = ApiError(action.reason, hint="deploy with --adopt to take it over")
        return Result("refused", name, id=action.live.id, error=error)
    done: list[str] = []
    try:
        if isinstance(action, Create):
            return Result("created", name, id=_create(client, action, done))
        if isinstance(action, Delete):
            cancelled = remove(client, action)
            return Result("deleted", name, id=action.live.id, runs_cancelled=cancelled)
        own = [run for run in late if run.deployment_id == action.live.id]
        restored = update(client, action, own, done)
    except GitflowError as error:
        if isinstance(action, Create):
            stands = ("deployment",) * bool(done)
            return Result("failed", name, id=next(iter(done), None), changed=stands, error=error)
        written = standing(action, done) if isinstance(action, Update) else ()
        return Result("failed", name, id=action.live.id, changed=written, error=error)
    return Result(
        "updated",
        name,
        id=action.live.id,
        changed=action.fields,
        adopted=action.adopts,
        runs_restored=restored,
    )


def _create(client: Client, action: Create, done: list[str]) -> str:
    desired = action.desired
    flow_id = prefect.ensure_flow(client, desired.flow_name)
    computed = has_kinds(desired.parameters)
    # Only an update computes them; a creation would store them as they are written,
    # or refuse them.
    first = replace(desired, parameters={}) if computed else desired
    made = prefect.create(client, first, flow_id)
    done.append(made)
    if computed:
        prefect.patch(client, made, {"parameters": desired.parameters})
    for automation in desired.automations:
        prefect.create_automation(client, made, automation, (action.mark,))
    return made


def _still_away(away: list[ApiError], result: Result) -> list[ApiError]:
    """The failures in a row that say that the server is away, with ``result``."""
    if result.status in ("unchanged", "held", "refused"):
        return away  # Nothing was asked of the server.
    error = result.error
    if isinstance(error, ApiError) and error.retry and error.status in _AWAY:
        return [*away, error]
    return []


def _not_tried(action: Create | Update | Delete, error: ApiError) -> Result:
    told = ApiError(
        f"not tried, because the server is away: {error.message}",
        status=error.status,
        where=error.where,
        hint="deploy again when it answers",
        retry=True,
    )
    live_id = None if isinstance(action, Create) else action.live.id
    return Result("failed", action.full_name, id=live_id, error=told)


def _kept(action: Delete, failed: int) -> Result:
    others = "another deployment" if failed == 1 else f"{failed} other deployments"
    error = GitflowError(
        f"not deleted, because {others} could not be written",
        hint="the next deploy deletes it",
        retry=True,
    )
    return Result("failed", action.full_name, id=action.live.id, error=error)
