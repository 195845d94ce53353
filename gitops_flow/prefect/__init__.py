"""The REST client: endpoints in, our values out, errors mapped. httpx lives here and only here."""

from __future__ import annotations

from gitops_flow.prefect.client import Client
from gitops_flow.prefect.deployments import (
    add_schedules,
    change_schedule,
    create,
    delete_schedule,
    ensure_flow,
    know_flows,
    live,
    patch,
)
from gitops_flow.prefect.runs import Run, late_runs, put_back, server_now, upcoming
from gitops_flow.prefect.work_pools import create_work_pool, existing_work_pools, version

__all__ = [
    "Client",
    "Run",
    "add_schedules",
    "change_schedule",
    "create",
    "create_work_pool",
    "delete_schedule",
    "ensure_flow",
    "existing_work_pools",
    "know_flows",
    "late_runs",
    "live",
    "patch",
    "put_back",
    "server_now",
    "upcoming",
    "version",
]
