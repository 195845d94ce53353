"""What a flow says about itself: name, description, version and parameters.

The code is parsed, never imported or run; only :func:`ask` and :func:`load` have it imported, by
the user's own Python. Loading this module loads neither Pydantic nor a parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gitops_flow.errors import FlowError
    from gitops_flow.flows.asking import NotReachedError
    from gitops_flow.flows.cache import Cache
    from gitops_flow.model import FlowInfo

__all__ = ["Cache", "NotReachedError", "ask", "load", "read", "read_cached"]


def __getattr__(name: str) -> object:
    if name == "Cache":
        from gitops_flow.flows.cache import Cache

        return Cache
    if name == "NotReachedError":
        from gitops_flow.flows.asking import NotReachedError

        return NotReachedError
    raise AttributeError(name)


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


def read_cached(
    cache: Cache,
    read_file: Callable[[str], bytes | None],
    blob_id: Callable[[str], str | None],
    entrypoint: str,
    *,
    flow_name: str | None = None,
) -> FlowInfo:
    """As :func:`read`, but what is known already is not read again.

    Args:
        cache: where results are kept.
        read_file: as for :func:`read`; not called when the result is known.
        blob_id: a cheap id of a file's content, the same for the same content
            everywhere; None if there is no such file.
        entrypoint: as for :func:`read`.
        flow_name: as for :func:`read`.

    Raises:
        FlowError: as :func:`read` does.
    """
    from gitops_flow.flows import cache as caching

    return caching.read(cache, read_file, blob_id, entrypoint, flow_name)


def ask(
    python: str,
    root: Path,
    entrypoints: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout: float,
) -> dict[str, FlowInfo | FlowError]:
    """Have flows imported, and say what Prefect makes of each when it deploys them.

    One process runs ``python`` in ``root``; it is killed with all that it
    started when it is done or the time is over.

    Args:
        python: the Python that has Prefect and what the flows need.
        root: the directory that entrypoints are relative to.
        entrypoints: in the forms that Prefect takes.
        environ: the process's whole environment.
        timeout: for all of them together, in seconds.

    Returns:
        for each entrypoint what the flow says, or why it could not be imported;
        a :class:`NotReachedError` for those after one that ended the process.
    """
    from gitops_flow.flows import asking

    return asking.ask(python, root, entrypoints, environ=environ, timeout=timeout)


def load(
    python: str,
    root: Path,
    entrypoints: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout: float,
    instead: str,
) -> dict[str, FlowError | None]:
    """Have flows loaded as a run of theirs loads them; otherwise as :func:`ask`.

    A run is content with a function that is no flow, which a deploy is not.

    Args:
        python: as for :func:`ask`.
        root: the same.
        entrypoints: the same.
        environ: the same.
        timeout: the same.
        instead: what else to do about a package that ``python`` does not have.

    Returns:
        for each entrypoint why it does not load, None where it does.
    """
    from gitops_flow.flows import asking

    return asking.load(python, root, entrypoints, environ=environ, timeout=timeout, instead=instead)
