"""What a flow says about itself: name, description, version and parameters.

The code is parsed, never imported or run; only :func:`ask` and :func:`load` have it imported, by
the user's own Python. Loading this module loads neither Pydantic nor a parser.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitops_flow.flows.cache import Cache, read_cached
    from gitops_flow.flows.entrypoint import ComputedError
    from gitops_flow.flows.importer import NotReachedError, ask, load
    from gitops_flow.flows.reading import read

__all__ = ["Cache", "ComputedError", "NotReachedError", "ask", "load", "read", "read_cached"]

_MODULES = {
    "Cache": "cache",
    "ComputedError": "entrypoint",
    "NotReachedError": "importer",
    "ask": "importer",
    "load": "importer",
    "read": "reading",
    "read_cached": "cache",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
