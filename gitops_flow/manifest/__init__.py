"""``prefect.yaml``: every problem at its place, or what it asks for."""

from __future__ import annotations

from gitops_flow.manifest.answers import Answers, Lookups, lookups
from gitops_flow.manifest.config import DeploymentConfig, GitflowConfig, Manifest
from gitops_flow.manifest.filling import secret_fields
from gitops_flow.manifest.load import load, parse
from gitops_flow.manifest.overrides import Override, check_overrides, override
from gitops_flow.manifest.pull import in_directory, other_code, wants_submodules
from gitops_flow.manifest.resolve import entrypoints, resolve
from gitops_flow.manifest.sections import StepSections, step_position, steps
from gitops_flow.manifest.stepfilling import fill_step

__all__ = [
    "Answers",
    "DeploymentConfig",
    "GitflowConfig",
    "Lookups",
    "Manifest",
    "Override",
    "StepSections",
    "check_overrides",
    "entrypoints",
    "fill_step",
    "in_directory",
    "load",
    "lookups",
    "other_code",
    "override",
    "parse",
    "resolve",
    "secret_fields",
    "step_position",
    "steps",
    "wants_submodules",
]
