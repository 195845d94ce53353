"""``prefect.yaml``: every problem at its place, or what it asks for."""

from __future__ import annotations

from gitops_flow.manifest.config import (
    DeploymentConfig,
    GitflowConfig,
    Manifest,
    StepSections,
    step_position,
    step_sections,
)
from gitops_flow.manifest.load import content, load, parse, unread
from gitops_flow.manifest.overrides import Override, check_overrides, override
from gitops_flow.manifest.placeholders import Answers, Lookups, lookups
from gitops_flow.manifest.pull_steps import in_directory, other_code, wants_submodules
from gitops_flow.manifest.resolve import entrypoints, resolve
from gitops_flow.manifest.steps import fill_step
from gitops_flow.manifest.substitution import secret_fields

__all__ = [
    "Answers",
    "DeploymentConfig",
    "GitflowConfig",
    "Lookups",
    "Manifest",
    "Override",
    "StepSections",
    "check_overrides",
    "content",
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
    "step_sections",
    "unread",
    "wants_submodules",
]
