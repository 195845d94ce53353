"""``prefect.yaml``: every problem at its place, or what it asks for."""

from __future__ import annotations

from gitops_flow.manifest.config import DeploymentConfig, GitflowConfig, Manifest
from gitops_flow.manifest.load import load, parse
from gitops_flow.manifest.resolve import entrypoints, resolve

__all__ = [
    "DeploymentConfig",
    "GitflowConfig",
    "Manifest",
    "entrypoints",
    "load",
    "parse",
    "resolve",
]
