"""The one use case: make the Prefect server equal to a manifest, with the code that is on disk."""

from __future__ import annotations

from gitops_flow.deploy.request import DeployRequest, Published, Report
from gitops_flow.deploy.run import run

__all__ = ["DeployRequest", "Published", "Report", "run"]
