"""The one use case: make the Prefect server equal to a manifest, with the code of a source."""

from __future__ import annotations

from gitops_flow.deploy.owned import destroy, switch
from gitops_flow.deploy.preview import preview
from gitops_flow.deploy.request import (
    Deployed,
    DeployRequest,
    Destroyed,
    Event,
    Options,
    Phase,
    Preview,
    Published,
    Report,
    StepLine,
    Switched,
    Which,
)
from gitops_flow.deploy.run import run
from gitops_flow.deploy.server import every_step
from gitops_flow.deploy.source import Commit, Release, WorkingTree, working_tree

__all__ = [
    "Commit",
    "DeployRequest",
    "Deployed",
    "Destroyed",
    "Event",
    "Options",
    "Phase",
    "Preview",
    "Published",
    "Release",
    "Report",
    "StepLine",
    "Switched",
    "Which",
    "WorkingTree",
    "destroy",
    "every_step",
    "preview",
    "run",
    "switch",
    "working_tree",
]
