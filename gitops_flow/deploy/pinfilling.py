"""The placeholders in a pin, filled in as far as can be known away from the worker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import prefect
from gitops_flow.manifest.placeholders import (
    KEEP,
    MISSING,
    block_parts,
    block_value,
    fill,
    placeholders,
    variable_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.deploy.session import Session
    from gitops_flow.manifest.placeholders import Keep, Placeholder
    from gitops_flow.model import Json
    from gitops_flow.pin import Pin


def filled(session: Session, pin: Pin) -> Pin:
    """``pin`` with its placeholders filled in as far as can be known here."""
    given = [pin.credentials, pin.directory, list(pin.directories)]
    credentials, directory, directories = fill(given, _answers(session, given))
    return replace(
        pin,
        credentials=credentials,
        directory=str(directory),
        directories=tuple(map(str, directories)),
    )


def _answers(session: Session, value: Json) -> Callable[[Placeholder], Json | Keep]:
    """What the server and the environment have for the placeholders in ``value``."""
    marks = placeholders(value)
    parts = {
        mark.name: found for mark in marks if mark.kind == "block" and (found := block_parts(mark))
    }
    blocks = prefect.blocks(session.client, {(slug, name) for slug, name, _ in parts.values()})
    variables = session.variables(variable_name(m) for m in marks if m.kind == "variable")

    def answer(mark: Placeholder) -> Json | Keep:
        found: Json = MISSING
        if mark.kind == "env":
            found = session.environ.get(mark.name, MISSING)
        elif mark.kind == "variable":
            found = variables.get(variable_name(mark), MISSING)
        elif mark.name in parts:
            slug, name, path = parts[mark.name]
            if f"{slug}/{name}" in blocks:
                found = block_value(blocks[f"{slug}/{name}"], path)
        return KEEP if found is MISSING else found

    return answer
