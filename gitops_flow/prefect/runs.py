"""Automatic runs that have not started: reading them, and putting them back.

The server makes runs ahead of time from a deployment's schedules and deletes
them on almost every write. It knows each one by schedule and time, so asking
for a time again never makes a second run of what is still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitops_flow.prefect import shape
from gitops_flow.prefect.pages import batches, read_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.model import Json
    from gitops_flow.prefect.client import Client


@dataclass(frozen=True, slots=True)
class Run:
    """An automatic run that has not started. ``start`` is aware; ``schedule_id`` made it."""

    deployment_id: str
    schedule_id: str
    start: datetime


def server_now(client: Client) -> datetime:
    """The server's clock at its last answer, rounded down to a second."""
    return client.server_time or datetime.now(UTC) - timedelta(seconds=1)


def upcoming(client: Client, deployment_id: str, schedule_ids: Sequence[str]) -> int:
    """How many automatic runs of these schedules are still to come."""
    runs = _not_started([deployment_id])
    runs["next_scheduled_start_time"] = {"after_": datetime.now(UTC).isoformat()}
    if client.can("runs by schedule"):
        runs["created_by"] = {"id_": list(schedule_ids)}
        return int(client.post("/flow_runs/count", {"flow_runs": runs}, int))
    body = {"flow_runs": runs}
    listed = read_all(client, "/flow_runs/filter", body, shape.RUN, sort="ID_DESC")
    return sum(_maker(run) in schedule_ids for run in listed)


def late_runs(client: Client, deployment_ids: Iterable[str]) -> list[Run]:
    """Automatic runs whose time has come and that nobody has taken yet."""
    found = []
    for batch in batches(sorted(deployment_ids)):
        runs = _not_started(list(batch))
        runs["next_scheduled_start_time"] = {"before_": server_now(client).isoformat()}
        body = {"flow_runs": runs}
        for item in read_all(
            client, "/flow_runs/filter", body, shape.RUN, sort="NEXT_SCHEDULED_START_TIME_ASC"
        ):
            # Started before, or waiting for a concurrency slot: the server keeps those.
            if item.get("run_count") or (
                item.get("state_name") == "AwaitingConcurrencySlot"
                and client.can("late runs survive writes")
            ):
                continue
            maker = _maker(item)
            start = item.get("next_scheduled_start_time")
            owner = item.get("deployment_id")
            if item.get("auto_scheduled") and maker and start and owner:
                found.append(Run(owner, maker, shape.instant(start)))
    return found


def labels_of_begun(client: Client) -> list[Json]:
    """The labels of all runs that have begun and may be tried again before they end."""
    state = {
        "type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]},
        "name": {"not_any_": ["Scheduled", "Late"]},
    }
    body = {"flow_runs": {"state": state}}
    listed = read_all(client, "/flow_runs/filter", body, shape.RUN, sort="ID_DESC")
    return [run.get("labels") for run in listed]


def put_back(
    client: Client,
    deployment_id: str,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
) -> None:
    """Have the server make the runs of every active schedule from ``start`` on.

    ``start`` None is the server's now. Without ``end`` it makes as many as its
    own scheduler would; with it, those at or before ``end``. Runs that are
    there already are left alone.
    """
    body = {
        key: value.isoformat()
        for key, value in (("start_time", start), ("end_time", end))
        if value is not None
    }
    client.post(f"/deployments/{deployment_id}/schedule", body)


def cancel_waiting(client: Client, deployment_id: str, reason: str) -> int:
    """Cancel what has been asked of a deployment and has not started; how many runs that were.

    These are runs that somebody made, that are late, or that a worker is
    preparing. An automatic run whose time has not come is only a forecast.
    """
    waiting = {
        "deployment_id": {"any_": [deployment_id]},
        "state": {"type": {"any_": ["SCHEDULED", "PENDING"]}},
    }
    state = {"type": "CANCELLED", "message": reason}
    now = server_now(client)
    count = 0
    body = {"flow_runs": waiting}
    for item in list(read_all(client, "/flow_runs/filter", body, shape.RUN, sort="ID_DESC")):
        start = item.get("next_scheduled_start_time")
        forecast = item.get("auto_scheduled") and item.get("state_type") == "SCHEDULED"
        if forecast and start and shape.instant(start) > now:
            continue
        path = f"/flow_runs/{item['id']}/set_state"
        count += client.post(path, {"state": state}, {"status": str})["status"] == "ACCEPT"
    return count


def _not_started(deployment_ids: list[str]) -> dict[str, Json]:
    return {
        "deployment_id": {"any_": deployment_ids},
        "state": {"type": {"any_": ["SCHEDULED"]}},
        "tags": {"all_": ["auto-scheduled"]},
    }


def _maker(run: dict[str, Json]) -> str | None:
    """The id of the schedule that made a run."""
    maker: str | None = (run.get("created_by") or {}).get("id")
    return maker
