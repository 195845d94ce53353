"""The one use case: make the Prefect server equal to a manifest, with the code that is on disk."""

from __future__ import annotations

from gitops_flow.deploy.destroy import destroy
from gitops_flow.deploy.holding import Switched, switch
from gitops_flow.deploy.preview import preview
from gitops_flow.deploy.request import (
    DeployRequest,
    Destroyed,
    Preview,
    Published,
    Report,
    Rollback,
)
from gitops_flow.deploy.run import run

__all__ = [
    "DeployRequest",
    "Destroyed",
    "Preview",
    "Published",
    "Report",
    "Rollback",
    "Switched",
    "destroy",
    "preview",
    "run",
    "switch",
]
