"""Flows whose source does not say it all, imported by the user's Python when that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import buildsteps, flows
from gitops_flow.errors import FlowError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.model import FlowInfo

    Key = tuple[str, str | None]

_TIMEOUT = 120.0  # seconds, for all flows of a directory


def answers(
    prepared: Prepared,
    environ: Mapping[str, str],
    known: Mapping[Key, FlowInfo | FlowError],
    directories: Mapping[str, str],
) -> dict[Key, FlowInfo | FlowError]:
    """What Prefect makes of those of ``known`` that could not be read, or not in full.

    One process for each directory imports them from the working tree. Where
    that fails, what was read stands, with the reason beside it.
    """
    unsure = [key for key, info in known.items() if isinstance(info, FlowError) or info.notes]
    if not unsure:
        return {}
    python = prepared.request.python or buildsteps.find_python(environ)
    found: dict[Key, FlowInfo | FlowError] = {}
    for directory in sorted({directories[entrypoint] for entrypoint, _ in unsure}):
        here = [key for key in unsure if directories[key[0]] == directory]
        told = flows.ask(
            python,
            prepared.repository.root / directory,
            sorted({entrypoint for entrypoint, _ in here}),
            environ=environ,
            timeout=_TIMEOUT,
        )
        found |= {key: _better(known[key], told[key[0]]) for key in here}
    return found


def _better(read: FlowInfo | FlowError, told: FlowInfo | FlowError) -> FlowInfo | FlowError:
    if not isinstance(told, FlowError):
        return told
    reason = f"not imported: {told.message}"
    if isinstance(read, FlowError):
        return FlowError(f"{read.message}; {reason}", where=read.where, hint=told.hint or read.hint)
    return replace(read, notes=(*read.notes, f"{told.where}: {reason}" if told.where else reason))
