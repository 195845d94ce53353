"""Lines without secrets: those of keys that are named so, and those that placeholders filled in."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow.plan.actions import Delete, Update
from gitops_flow.plan.wording import shortened, whole_text
from gitops_flow.redact import MASK, is_secret_key, redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gitops_flow.model import Deployment, Json
    from gitops_flow.plan.actions import Action

# How a line's path begins, where it is not the field's name.
LABELS = {"automations": "triggers"}


@dataclass(frozen=True, slots=True)
class Line:
    """One value that differs: a dotted path, and its texts; None where there is no value.

    No secrets are in it, and each text is one printable line; :func:`hidden`
    sees to the secrets, and shortens what is long after that.
    """

    path: str
    before: str | None
    after: str | None


def hidden(lines: Iterable[Line], *sides: Deployment) -> tuple[Line, ...]:
    """``lines`` about a deployment, before and after, without what is known to be secret.

    A secret that a placeholder filled in masks the whole value, whatever was
    there before; one that stands under a key like ``password`` is masked
    wherever else it appears.
    """
    fields = [LABELS.get(each, each) for side in sides for each in side.secret_fields]
    known = {text for side in sides for text in (*side.secrets, *_named(side))}
    texts = tuple({form for text in known for form in _forms(text)})
    return tuple(_hidden(line, fields, texts) for line in lines)


def told_before(action: Action, fields: tuple[str, ...]) -> Action:
    """``action`` on a live deployment in whose ``fields`` an earlier manifest put secrets."""
    if not fields or not isinstance(action, Update | Delete):
        return action
    return replace(action, live=replace(action.live, secret_fields=fields))


def _hidden(line: Line, fields: Iterable[str], texts: tuple[str, ...]) -> Line:
    whole = any(_within(line.path, each) or _within(each, line.path) for each in fields)

    def shown(text: str | None) -> str | None:
        if text is None:
            return None
        return MASK if whole else shortened(redact(text, texts))

    return replace(line, before=shown(line.before), after=shown(line.after))


def _within(path: str, field: str) -> bool:
    """Whether ``path`` is ``field`` or something in it."""
    return path.startswith(field) and path[len(field) : len(field) + 1] in ("", ".", "[", " ")


def _named(side: Deployment) -> Iterator[str]:
    """Texts below keys that are named like secrets, in whatever part of the deployment."""
    # Of a schema the keys are names of parameters, and the texts below say what they may be.
    yield from _below(replace(side, parameter_schema=None, secret_fields=()), named=False)


def _forms(text: str) -> tuple[str, ...]:
    """``text`` as it may stand in a line: as it is, made printable, and within JSON."""
    return text, whole_text(text), whole_text([text])[2:-2]


def _below(value: Json, *, named: bool) -> Iterator[str]:
    if is_dataclass(value):
        for each in fields(value):
            yield from _below(getattr(value, each.name), named=named)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _below(inner, named=named or is_secret_key(str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _below(inner, named=named)
    elif named and isinstance(value, str) and "{{" not in value:
        yield value
