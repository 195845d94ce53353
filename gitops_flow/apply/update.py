"""Writes what differs of one deployment, and puts back the runs that the writing deletes.

Or deletes one with what belongs to it, and nothing that others share.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gitops_flow import prefect
from gitops_flow.errors import ApiError, GitflowError
from gitops_flow.prefect import shape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitops_flow.plan import Delete, Update
    from gitops_flow.prefect import Client, Run

_REASON = "its deployment was deleted by gitflow"


def update(client: Client, action: Update, late: Sequence[Run], done: list[str]) -> int:
    """Write the differences and put back the runs that this deletes; how many were upcoming.

    ``done`` gets the name of each field once it is written, ``schedules`` and
    ``triggers`` once for each of them.

    First what deletes runs that are late already, while the schedules that
    made them are as they were, or have just been made again; new schedules last,
    so that they get no runs for a time before they existed.
    """
    live_id = action.live.id or ""
    known = [schedule.id or "" for schedule in action.live.schedules]
    if not _runs(action):
        _write(client, action, [], known, done)
        _add(client, action, known, done)
        return 0
    if action.schedules.remove or action.schedules.renew or _loses_late(client, action):
        late = prefect.late_runs(client, [live_id])
    kept = _kept(action) if _deletes_runs(action) else []
    upcoming = prefect.upcoming(client, live_id, kept) if kept else 0
    since = prefect.server_now(client)
    try:
        _write(client, action, late, known, done)
    except BaseException:
        # Also when interrupted: what was deleted so far is still due.
        with contextlib.suppress(GitflowError):
            prefect.put_back(client, live_id, start=since)
        raise
    if _deletes_runs(action):
        _put_back(client, action, since)
    _add(client, action, known, done)
    if action.schedules.add:
        # The server's scheduler would look at a new schedule only after a minute.
        prefect.put_back(client, live_id)
    return upcoming


def _write(
    client: Client, action: Update, late: Sequence[Run], known: list[str], done: list[str]
) -> None:
    live_id = action.live.id or ""
    for schedule in action.schedules.remove:
        prefect.delete_schedule(client, live_id, schedule.id or "")
        done.append("schedules")
    for renewed in action.schedules.renew:
        prefect.delete_schedule(client, live_id, renewed.live.id or "")
        known += prefect.add_schedules(client, live_id, [renewed.desired], known)
        done.append("schedules")
    if action.written:
        _patch(client, action, done)
    else:
        _automations(client, action, done)
    if late:
        _restore_late(client, action, late)
    for change in action.schedules.change:
        fields = shape.schedule_change(change.desired, spec=change.spec)
        prefect.change_schedule(client, live_id, change.live.id or "", fields)
        done.append("schedules")
    if late and action.schedules.change and _loses_late(client, action):
        _restore_late(client, action, late)


def _patch(client: Client, action: Update, done: list[str]) -> None:
    live_id = action.live.id or ""
    if not action.claims or "tags" not in action.fields:
        _patch_fields(client, action, [change.field for change in action.written], done)
        _automations(client, action, done)
        return
    # The mark comes last: while the deployment is not ours, the next deploy looks
    # again at whose automations run it.
    others = [change.field for change in action.written if change.field != "tags"]
    if others:
        _patch_fields(client, action, others, done)
    _automations(client, action, done)
    prefect.patch(client, live_id, shape.changes(action.desired, ["tags"]))
    done.append("tags")


def _patch_fields(client: Client, action: Update, fields: Sequence[str], done: list[str]) -> None:
    live_id = action.live.id or ""
    body = shape.changes(action.desired, fields)
    if action.live.limit_is_shared and "concurrency_limit" in body:
        # Written over, the limit would change or vanish for everybody who shares it.
        detach = {"global_concurrency_limit_id": None}
        if body["concurrency_limit"] is None:
            del body["concurrency_limit"]
            body.update(detach)
        else:
            # A limit of its own may be left from before it shared one; the server
            # refuses to make a second of that name.
            own = prefect.own_limit(client, live_id)
            prefect.patch(client, live_id, {"global_concurrency_limit_id": own})
    prefect.patch(client, live_id, body)
    done.extend(fields)


def _automations(client: Client, action: Update, done: list[str]) -> None:
    live_id, diff = action.live.id or "", action.automations
    if diff.replaces_owned:
        prefect.delete_owned_automations(client, live_id)
        done.append("triggers")
    for gone in diff.remove:
        prefect.delete_automation(client, gone.id or "")
        done.append("triggers")
    for change in diff.change:
        prefect.replace_automation(
            client, live_id, change.live.id or "", change.desired, (action.mark,)
        )
        done.append("triggers")
    known = [item.id or "" for item in action.live.automations]
    for new in diff.add:
        known.append(prefect.create_automation(client, live_id, new, (action.mark,), known))
        done.append("triggers")


def _add(client: Client, action: Update, known: Sequence[str], done: list[str]) -> None:
    if action.schedules.add:
        prefect.add_schedules(client, action.live.id or "", action.schedules.add, known)
        done += ["schedules"] * len(action.schedules.add)


def standing(action: Update, done: Sequence[str]) -> tuple[str, ...]:
    """What an update that failed has changed; ``done`` is that of :func:`update`."""
    times, events = action.schedules, action.automations
    whole = {
        "schedules": len((*times.remove, *times.change, *times.add, *times.renew)),
        "triggers": len((*events.remove, *events.change, *events.add)) + events.replaces_owned,
    }
    return tuple(
        name if done.count(name) >= whole.get(name, 1) else f"part of {name}"
        for name in action.fields
        if name in done
    )


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
    left_alone = action.desired.paused is None or "paused" in action.desired.ignored
    paused = action.live.paused if left_alone else action.desired.paused
    schedules = (*action.live.schedules, *action.desired.schedules)
    return (
        not paused
        and bool(action.desired.schedules)
        and any(schedule.active is not False for schedule in schedules)
    )


def _loses_late(client: Client, action: Update) -> bool:
    """Whether writing fields or schedules deletes late runs too, as old servers do."""
    return _deletes_runs(action) and not client.can("late runs survive writes")


def _deletes_runs(action: Update) -> bool:
    diff = action.schedules
    return bool(action.written or diff.change or diff.remove or diff.renew)


def _kept(action: Update) -> list[str]:
    touched = {schedule.id for schedule in action.schedules.remove}
    touched |= {each.live.id for each in (*action.schedules.change, *action.schedules.renew)}
    schedules = action.live.schedules
    return [item.id for item in schedules if item.id and item.active and item.id not in touched]


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
