"""What Prefect calls by name: ``gitops_flow.steps.pull_code`` and ``gitops_flow.steps.push_code``.

Each is loaded when it is asked for: a worker that pulls needs nothing of what
publishing needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitops_flow.steps.pull import pull_code
    from gitops_flow.steps.push import push_code

__all__ = ["pull_code", "push_code"]

_PLACES = {"pull_code": "gitops_flow.steps.pull", "push_code": "gitops_flow.steps.push"}


def __getattr__(name: str) -> Any:
    """Load the step ``name``."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
