"""Executes a plan, action by action, and collects what came of each.

One write after the other on purpose: two writers make a SQLite server slower,
and half of what they send comes back as 503.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow import prefect
from gitops_flow.errors import ApiError, GitflowError
from gitops_flow.plan import Action, Conflict, Create, Plan, Unchanged, Update
from gitops_flow.prefect import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from gitops_flow.model import Deployment
    from gitops_flow.prefect import Client, Run

# Each of these was retried for half a minute or more: a server that is away for two
# deployments in a row would keep a manifest of a hundred waiting for hours.
_AWAY = (None, 408, 429, 502, 503, 504)
_PATIENCE = 2

Status = Literal["created", "updated", "unchanged", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one action.

    ``changed`` names the fields that differed, empty for a creation. ``id`` is
    the deployment's on the server, None when it was not created.
    ``runs_restored`` counts upcoming runs that the write deleted and that were
    put back.
    """

    status: Status
    full_name: str
    id: str | None = None
    changed: tuple[str, ...] = ()
    error: GitflowError | None = None
    adopted: bool = False
    runs_restored: int = 0


def missing_pools(client: Client, desired: Iterable[Deployment]) -> list[str]:
    """Work pools that are named and that the server does not have, sorted; read only."""
    named = {item.work_pool for item in desired if item.work_pool}
    return sorted(named - prefect.existing_work_pools(client, named)) if named else []


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
    two of them in a row, the rest fails without being tried.
    """
    creates = [action.desired.flow_name for action in plan.actions if isinstance(action, Create)]
    prefect.know_flows(client, creates)
    updates = [action.live.id or "" for action in plan.actions if isinstance(action, Update)]
    late = prefect.late_runs(client, updates) if updates else []
    results: list[Result] = []
    away: list[ApiError] = []
    for action in plan.actions:
        if len(away) >= _PATIENCE and isinstance(action, Create | Update):
            result = _not_tried(action, away[-1])
        else:
            result = _attempt(client, action, late)
            away = _still_away(away, result)
        results.append(result)
        if on_result is not None:
            on_result(result)
        if fail_fast and result.error is not None:
            break
    return results


def _attempt(client: Client, action: Action, late: Sequence[Run]) -> Result:
    name = action.desired.full_name
    if isinstance(action, Unchanged):
        return Result("unchanged", name, id=action.live.id)
    if isinstance(action, Conflict):
        error = ApiError(action.reason, hint="deploy with --adopt to take it over")
        return Result("refused", name, id=action.live.id, error=error)
    try:
        if isinstance(action, Create):
            flow_id = prefect.ensure_flow(client, action.desired.flow_name)
            made = prefect.create(client, action.desired, flow_id)
            return Result("created", name, id=made)
        own = [run for run in late if run.deployment_id == action.live.id]
        restored = _update(client, action, own)
    except GitflowError as error:
        live_id = action.live.id if isinstance(action, Update) else None
        return Result("failed", name, id=live_id, error=error)
    return Result(
        "updated",
        name,
        id=action.live.id,
        changed=action.fields,
        adopted=action.adopts,
        runs_restored=restored,
    )


def _still_away(away: list[ApiError], result: Result) -> list[ApiError]:
    """The failures in a row that say that the server is away, with ``result``."""
    if result.status in ("unchanged", "refused"):
        return away  # Nothing was asked of the server.
    error = result.error
    if isinstance(error, ApiError) and error.retry and error.status in _AWAY:
        return [*away, error]
    return []


def _not_tried(action: Create | Update, error: ApiError) -> Result:
    told = ApiError(
        f"not tried, because the server is away: {error.message}",
        status=error.status,
        where=error.where,
        hint="deploy again when it answers",
        retry=True,
    )
    live_id = action.live.id if isinstance(action, Update) else None
    return Result("failed", action.desired.full_name, id=live_id, error=told)


def _update(client: Client, action: Update, late: Sequence[Run]) -> int:
    """Write the differences and put back the runs that this deletes; how many were upcoming.

    First what deletes runs that are late already, while the schedules that
    made them are as they were; new schedules last, so that they get no runs
    for a time before they existed.
    """
    live_id = action.live.id or ""
    if not _runs(action):
        _write(client, action, [])
        _add(client, action)
        return 0
    if action.schedules.remove:
        late = prefect.late_runs(client, [live_id])
    kept = _kept(action) if _deletes_runs(action) else []
    upcoming = prefect.upcoming(client, live_id, kept) if kept else 0
    since = prefect.server_now(client)
    try:
        _write(client, action, late)
    except BaseException:
        # Also when interrupted: what was deleted so far is still due.
        with contextlib.suppress(GitflowError):
            prefect.put_back(client, live_id, start=since)
        raise
    if _deletes_runs(action):
        _put_back(client, action, since)
    _add(client, action)
    if action.schedules.add:
        # The server's scheduler would look at a new schedule only after a minute.
        prefect.put_back(client, live_id)
    return upcoming


def _write(client: Client, action: Update, late: Sequence[Run]) -> None:
    live_id = action.live.id or ""
    for schedule in action.schedules.remove:
        prefect.delete_schedule(client, live_id, schedule.id or "")
    if action.changes:
        _patch(client, action)
    if late:
        _restore_late(client, action, late)
    for change in action.schedules.change:
        fields = shape.schedule_change(change.desired, spec=change.spec)
        prefect.change_schedule(client, live_id, change.live.id or "", fields)


def _patch(client: Client, action: Update) -> None:
    live_id = action.live.id or ""
    body = shape.changes(action.desired, (change.field for change in action.changes))
    if action.live.limit_is_shared and "concurrency_limit" in body:
        # Written over, the limit would change or vanish for everybody who shares it.
        detach = {"global_concurrency_limit_id": None}
        if body["concurrency_limit"] is None:
            del body["concurrency_limit"]
            body.update(detach)
        else:
            prefect.patch(client, live_id, detach)
    prefect.patch(client, live_id, body)


def _add(client: Client, action: Update) -> None:
    if action.schedules.add:
        prefect.add_schedules(client, action.live.id or "", action.schedules.add)


def _put_back(client: Client, action: Update, since: datetime) -> None:
    try:
        prefect.put_back(client, action.live.id or "", start=since)
    except ApiError as error:
        raise ApiError(
            f"updated, but its upcoming runs could not be put back: {error.message}",
            status=error.status,
            where=error.where,
            hint="the server makes them again within a minute; one that is due before is lost",
        ) from error


def _restore_late(client: Client, action: Update, before: Sequence[Run]) -> None:
    """Make late runs again, each at its own time: a span would invent runs that never were."""
    gone = {schedule.id for schedule in action.schedules.remove}
    there = prefect.late_runs(client, [action.live.id or ""])
    lost = {run.start for run in before if run.schedule_id not in gone and run not in there}
    for start in sorted(lost):
        prefect.put_back(client, action.live.id or "", start=start, end=start)


def _runs(action: Update) -> bool:
    paused = action.live.paused if action.desired.paused is None else action.desired.paused
    schedules = (*action.live.schedules, *action.desired.schedules)
    return (
        not paused
        and bool(action.desired.schedules)
        and any(schedule.active is not False for schedule in schedules)
    )


def _deletes_runs(action: Update) -> bool:
    return bool(action.changes or action.schedules.change or action.schedules.remove)


def _kept(action: Update) -> list[str]:
    touched = {schedule.id for schedule in action.schedules.remove}
    touched |= {change.live.id for change in action.schedules.change}
    schedules = action.live.schedules
    return [item.id for item in schedules if item.id and item.active and item.id not in touched]
