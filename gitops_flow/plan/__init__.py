"""Desired and live deployments to a plan: data that says what is to be written, and why. Pure."""

from __future__ import annotations

from gitops_flow.plan.actions import (
    Action,
    AutomationDiff,
    Conflict,
    Create,
    Delete,
    FieldChange,
    Held,
    Plan,
    Pointer,
    ScheduleDiff,
    Unchanged,
    Update,
)
from gitops_flow.plan.check import check, in_named_queues, new_queues, unsupported
from gitops_flow.plan.diff import attach, drift, make
from gitops_flow.plan.equality import workspace_variables
from gitops_flow.plan.ownership import (
    destroy,
    prune_refusal,
)
from gitops_flow.plan.show import Line, lines, told_before

__all__ = [
    "Action",
    "AutomationDiff",
    "Conflict",
    "Create",
    "Delete",
    "FieldChange",
    "Held",
    "Line",
    "Plan",
    "Pointer",
    "ScheduleDiff",
    "Unchanged",
    "Update",
    "attach",
    "check",
    "destroy",
    "drift",
    "in_named_queues",
    "lines",
    "make",
    "new_queues",
    "prune_refusal",
    "told_before",
    "unsupported",
    "workspace_variables",
]
