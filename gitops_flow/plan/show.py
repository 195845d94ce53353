"""A plan's actions as lines to print: what differs, reduced to the parts that do, without secrets.

Secret is what stands under a key that is named so, and what a placeholder filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.plan.actions import Create, Delete, Update
from gitops_flow.plan.attached import normal
from gitops_flow.plan.equality import same
from gitops_flow.plan.words import (
    automation_text,
    masked_value,
    schedule_text,
    shortened,
    step_text,
    whole_text,
)
from gitops_flow.redact import MASK, is_secret_key, redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gitops_flow.model import Automation, Deployment, Json
    from gitops_flow.plan.actions import Action, FieldChange

# How a line's path begins, where it is not the field's name.
LABELS = {"automations": "triggers"}
_KNOWN_LATER = "known after build"
_MISSING = object()
_MAPPINGS = ("parameters", "job_variables", "concurrency_options", "parameter_schema")


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


def lines(action: Action) -> tuple[Line, ...]:
    """What ``action`` changes; a few telling values of what is created or deleted."""
    if isinstance(action, Update):
        return hidden(_update(action), action.desired, action.live)
    if isinstance(action, Create):
        outline = (Line(path, None, text) for path, text in _outline(action.desired))
        return hidden(outline, action.desired)
    if isinstance(action, Delete):
        outline = (Line(path, text, None) for path, text in _outline(action.live))
        return hidden(outline, action.live)
    return ()


def _update(action: Update) -> Iterator[Line]:
    for change in action.changes:
        yield from _unknown(action.live, change.field) if change.unknown else _change(change)
    for added in action.schedules.add:
        yield Line(_label("schedules", added.slug), None, schedule_text(added))
    for pair in (*action.schedules.change, *action.schedules.renew):
        # What the manifest does not say stays as it is.
        active = pair.live.active if pair.desired.active is None else pair.desired.active
        spec = pair.live.spec if pair.spec is None else pair.spec
        after = replace(pair.desired, active=active, spec=spec)
        if pair.desired.slug != pair.live.slug:
            yield Line("schedules.slug", pair.live.slug, pair.desired.slug)
        before_text, after_text = schedule_text(pair.live), schedule_text(after)
        if before_text != after_text:
            yield Line(_label("schedules", pair.live.slug), before_text, after_text)
    for gone in action.schedules.remove:
        yield Line(_label("schedules", gone.slug), schedule_text(gone), None)
    yield from _triggers(action)


def _triggers(action: Update) -> Iterator[Line]:
    diff = action.automations
    for suspect in diff.suspects:
        yield Line(
            _label("triggers", suspect.name),
            automation_text(suspect),
            "deleted if prefect deploy made it",
        )
    for added in diff.add:
        yield Line(_label("triggers", added.name), None, automation_text(added))
    for pair in diff.change:
        before, after = automation_text(pair.live), automation_text(pair.desired)
        path = _label("triggers", pair.desired.name)
        one, other = _values(pair.live), _values(pair.desired)
        if before != after:
            yield Line(path, before, after)
            # The rest of what differs.
            one, other = _beyond_words(one), _beyond_words(other)
        values = list(_tree(path, one, other, secret=False))
        yield from values
        if before == after and not values:
            yield Line(path, f"{before}, not marked as this source's", f"{after}, marked")
    for gone in diff.remove:
        yield Line(_label("triggers", gone.name), automation_text(gone), None)


def _values(automation: Automation) -> dict[str, Json]:
    """What is compared of an automation, with the parts of a trigger by their numbers."""

    def numbered(trigger: dict[str, Json]) -> dict[str, Json]:
        parts = {str(at): numbered(each) for at, each in enumerate(trigger.get("triggers", ()))}
        return {**trigger, "triggers": parts} if parts else trigger

    return {
        "name": automation.name,
        "description": automation.description,
        "parameters": automation.parameters or {},
        "job_variables": automation.job_variables or {},
        "trigger": numbered(normal(automation.trigger)),
    }


def _beyond_words(values: dict[str, Json]) -> dict[str, Json]:
    """Those of :func:`_values` that the words for an automation do not tell."""
    told = ("type", "expect", "posture", "within", "require")
    trigger = {key: value for key, value in values["trigger"].items() if key not in told}
    return {**values, "trigger": trigger, "parameters": {}}


def _label(part: str, name: str | None) -> str:
    return part if name is None else f"{part}[{whole_text(name)}]"


def _unknown(live: Deployment, field: str) -> Iterator[Line]:
    """What is there of a field that only steps not yet run will complete."""
    before = list(_said(live, field))
    for path, text in before:
        yield Line(path, text, _KNOWN_LATER)
    if not before:
        yield Line(LABELS.get(field, field), None, _KNOWN_LATER)


def _change(change: FieldChange) -> Iterator[Line]:
    if change.field == "tags":
        gone = [tag for tag in change.before if tag not in change.after]
        new = [tag for tag in change.after if tag not in change.before]
        yield Line("tags", _joined(gone), _joined(new))
    elif change.field == "pull_steps":
        yield from _steps(change.before or (), change.after or ())
    elif change.field in _MAPPINGS:
        yield from _tree(change.field, change.before, change.after, secret=False)
    else:
        yield Line(change.field, _text(change.before), _text(change.after))


def _joined(tags: Sequence[str]) -> str | None:
    return ", ".join(whole_text(tag) for tag in tags) or None


def _text(value: Json) -> str | None:
    return None if value is None else whole_text(masked_value(value))


def _tree(path: str, before: Json, after: Json, *, secret: bool) -> Iterator[Line]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}, key=str):
            one, other = before.get(key, _MISSING), after.get(key, _MISSING)
            if same(one, other):
                continue
            hidden = secret or is_secret_key(str(key))
            yield from _tree(f"{path}.{whole_text(str(key))}", one, other, secret=hidden)
    elif isinstance(before, dict) and before and after is _MISSING:
        yield from _tree(path, before, {}, secret=secret)
    elif isinstance(after, dict) and after and before is _MISSING:
        yield from _tree(path, {}, after, secret=secret)
    else:
        texts = (
            None if value is _MISSING else whole_text(masked_value(value, secret))
            for value in (before, after)
        )
        yield Line(path, *texts)


def _steps(before: Sequence[dict[str, Json]], after: Sequence[dict[str, Json]]) -> Iterator[Line]:
    for number in range(max(len(before), len(after))):
        one = before[number] if number < len(before) else None
        other = after[number] if number < len(after) else None
        if one == other:
            continue
        path = f"pull_steps[{number}]"
        name = next(iter(one), None) if one else None
        if one and other and list(one) == list(other) == [name]:
            yield from _inputs(f"{path} {name}", one, other, str(name))
        else:
            texts = (None if step is None else step_text(step) for step in (one, other))
            yield Line(path, *texts)


def _inputs(
    path: str, before: dict[str, Json], after: dict[str, Json], name: str
) -> Iterator[Line]:
    one, other = before[name], after[name]
    if name == pin.PULL_CODE:
        # Where the code came from is told by the commit.
        one, other = (pin.without_origin(step)[name] for step in (before, after))
    yield from _tree(path, one, other, secret=False)


def _outline(item: Deployment) -> Iterator[tuple[str, str]]:
    """Every value of a deployment that is not what the server gives without it."""
    for name in ("entrypoint", "description", "version"):
        if getattr(item, name):
            yield from _said(item, name)
    yield from _said(item, "tags")
    if item.work_pool:
        queue = f"/{item.work_queue}" if item.work_queue else ""
        yield "work_pool", whole_text(f"{item.work_pool}{queue}")
    for name in ("parameters", "job_variables", "concurrency_options"):
        for line in _tree(name, {}, getattr(item, name) or {}, secret=False):
            yield line.path, line.after or ""
    if item.concurrency_limit is not None:
        yield "concurrency_limit", str(item.concurrency_limit)
    if not item.enforce_parameter_schema:
        yield "enforce_parameter_schema", "false"
    for name in ("pull_steps", "schedules", "automations"):
        yield from _said(item, name)
    if item.paused:
        yield "paused", "true"
    for field in item.unknown:
        yield LABELS.get(field, field), _KNOWN_LATER


def _said(item: Deployment, field: str) -> Iterator[tuple[str, str]]:
    """One field in short texts, each with its path; nothing where there is no value."""
    if field == "pull_steps":
        for number, step in enumerate(item.pull_steps or ()):
            yield f"pull_steps[{number}]", step_text(step)
    elif field == "schedules":
        for schedule in item.schedules:
            yield _label("schedules", schedule.slug), schedule_text(schedule)
    elif field == "automations":
        for automation in item.automations:
            yield _label("triggers", automation.name), automation_text(automation)
    elif field == "tags":
        if tags := [tag for tag in item.tags if tag not in item.marks]:
            yield "tags", _joined(tags) or ""
    elif (value := getattr(item, field)) not in (None, {}):
        yield field, whole_text(masked_value(value, is_secret_key(field)))
