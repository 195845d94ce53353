"""The REST client: endpoints in, our values out, errors mapped. httpx lives here and only here."""

from __future__ import annotations

from gitops_flow.prefect.automations import (
    create_automation,
    delete_automation,
    delete_owned_automations,
    live_automations,
    replace_automation,
)
from gitops_flow.prefect.client import Client
from gitops_flow.prefect.clients import Clients
from gitops_flow.prefect.deployments import (
    add_schedules,
    change_schedule,
    create,
    delete,
    delete_schedule,
    ensure_flow,
    know_flows,
    live,
    own_limit,
    patch,
)
from gitops_flow.prefect.fingerprints import fingerprints
from gitops_flow.prefect.lookups import (
    block_names,
    blocks,
    delete_variable,
    existing_blocks,
    pointers,
    set_variable,
    variable_names,
    variables,
)
from gitops_flow.prefect.runs import (
    Run,
    cancel_waiting,
    labels_of_begun,
    late_runs,
    put_back,
    server_now,
    upcoming,
)
from gitops_flow.prefect.work_pools import (
    create_work_pool,
    pool_variables,
    queue_names,
)

__all__ = [
    "Client",
    "Clients",
    "Run",
    "add_schedules",
    "block_names",
    "blocks",
    "cancel_waiting",
    "change_schedule",
    "create",
    "create_automation",
    "create_work_pool",
    "delete",
    "delete_automation",
    "delete_owned_automations",
    "delete_schedule",
    "delete_variable",
    "ensure_flow",
    "existing_blocks",
    "fingerprints",
    "know_flows",
    "labels_of_begun",
    "late_runs",
    "live",
    "live_automations",
    "own_limit",
    "patch",
    "pointers",
    "pool_variables",
    "put_back",
    "queue_names",
    "replace_automation",
    "server_now",
    "set_variable",
    "upcoming",
    "variable_names",
    "variables",
]
