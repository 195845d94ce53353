"""What a flow says about itself: name, description, version and parameters.

The code is parsed, never imported or run; only :func:`ask` has it imported, by
the user's own Python. Loading this module loads neither Pydantic nor a parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.model import FlowInfo

__all__ = ["read"]


def read(
    read_file: Callable[[str], bytes | None], entrypoint: str, *, flow_name: str | None = None
) -> FlowInfo:
    """What the flow at ``entrypoint`` says about itself.

    Args:
        read_file: the content of a file of the repository, by path with "/",
            or None if there is none.
        entrypoint: ``a/b.py:func``, ``a/b.py:Class.method``, ``a.b:func`` or ``a.b.func``.
        flow_name: the manifest's; it counts when the code computes the name,
            as Prefect takes the name from the code wherever there is one.

    Raises:
        FlowError: when the flow is not there, is not a flow, or its name is
            computed and none is given.
    """
    from gitops_flow.flows import reading

    return reading.read(read_file, entrypoint, flow_name=flow_name)
