"""What the server would refuse of a plan, told before anything is written.

The server validates a creation and an update differently; so does this. An older server
lacks features that a manifest may ask for.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from gitops_flow import pin
from gitops_flow.model import Deployment, Problem
from gitops_flow.names import did_you_mean
from gitops_flow.plan.actions import Create, Update
from gitops_flow.plan.equality import UNKNOWN, has_kinds, hydrated, workspace_variables
from gitops_flow.plan.schema import Schemas, complaint, place
from gitops_flow.plan.show import Line, hidden
from gitops_flow.redact import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gitops_flow.model import Json
    from gitops_flow.plan.actions import Action

_PLACE = ("work_pool", "work_queue")
_DEFAULT_QUEUE = "default"  # every pool has it
# Where the fields stand in a manifest.
_SECTIONS = {"job_variables": ("work_pool", "job_variables"), "parameters": ("parameters",)}
_OLD = "upgrade the server, or leave it out"
# Prefect's own step gets the inputs that it is given, and fails on one it does not know.
_CLONE_INPUTS = ("commit_sha", "clone_directory_name")


def check(
    items: Iterable[Deployment | Action],
    templates: Mapping[str, Mapping[str, Json]],
    *,
    variables: Mapping[str, Json] | None = None,
) -> list[Problem]:
    """What the server would refuse of ``items``, and likely slips (as warnings).

    Only what would be written is looked at; a deployment by itself counts as a
    creation. Fields that steps have yet to complete are left out.

    Args:
        items: deployments, or a plan's actions.
        templates: each work pool's schema of job variables; pools that are
            missing are nobody's problem here.
        variables: Prefect variables that parameters refer to; None when they
            were not looked up.
    """
    schemas = Schemas()
    problems: list[Problem] = []
    for item in items:
        if isinstance(item, Deployment):
            problems += _creation(item, templates, variables, schemas)
        elif isinstance(item, Create):
            problems += _creation(item.desired, templates, variables, schemas)
        elif isinstance(item, Update):
            problems += _update(item, templates, variables, schemas)
    return problems


def in_named_queues(actions: Iterable[Action]) -> Iterator[Deployment]:
    """The deployments that are about to be put into a queue that may not exist."""
    for action in actions:
        if not isinstance(action, Create | Update):
            continue
        item = action.desired
        moves = isinstance(action, Create) or not set(_PLACE).isdisjoint(action.fields)
        named = item.work_queue not in (None, _DEFAULT_QUEUE) and item.work_pool is not None
        if moves and named and set(_PLACE).isdisjoint(item.unknown):
            yield item


def new_queues(actions: Iterable[Action], queues: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    """A note for each queue that the server will make, a warning where it looks like a slip.

    ``queues`` are the names of those that each work pool has; a pool that is not in it is
    yet to be made.
    """
    for item in in_named_queues(actions):
        queue, pool = item.work_queue or "", item.work_pool or ""
        if queue in queues.get(pool, ()):
            continue
        hint = did_you_mean(queue, queues.get(pool, ()), 0.7)
        yield problem(
            item,
            f"work queue {queue!r} will be created in work pool {pool!r}",
            hint,
            severity="warning" if hint else "note",
            path=("work_pool", "work_queue_name"),
        )


def _creation(
    item: Deployment,
    templates: Mapping[str, Mapping[str, Json]],
    variables: Mapping[str, Json] | None,
    schemas: Schemas,
) -> Iterator[Problem]:
    yield from _job_variables(item, templates, schemas, strict=False)
    # What has to be computed is sent as an update, right after the creation.
    processed = has_kinds(item.parameters)
    yield from _parameters(item, variables, schemas, processed=processed)


def _update(
    action: Update,
    templates: Mapping[str, Mapping[str, Json]],
    variables: Mapping[str, Json] | None,
    schemas: Schemas,
) -> Iterator[Problem]:
    fields = {change.field for change in action.changes}
    if "job_variables" in fields:
        yield from _job_variables(action.desired, templates, schemas, strict=True)
    elif not fields.isdisjoint(_PLACE):
        # Not checked by the server now, but by the first run.
        yield from _job_variables(action.desired, templates, schemas, strict=False)
    if fields:
        yield from _parameters(action.desired, variables, schemas, processed=True)


def _job_variables(
    item: Deployment,
    templates: Mapping[str, Mapping[str, Json]],
    schemas: Schemas,
    *,
    strict: bool,
) -> Iterator[Problem]:
    schema = templates.get(item.work_pool or "")
    given = item.job_variables
    if not schema or not given or {"job_variables", "work_pool"} & set(item.unknown):
        return
    validator = schemas.job_variables(item.work_pool or "", schema, strict=strict)
    pool = f"work pool {item.work_pool!r}"
    yield from _complaints(item, "job_variables", schemas, validator, given, pool)
    known = schema.get("properties")
    if isinstance(known, dict) and known:
        for name in given:
            hint = did_you_mean(str(name), map(str, known), 0.7) if name not in known else None
            if hint is not None:
                yield problem(
                    item,
                    f"job variable {name!r} means nothing to {pool}",
                    hint,
                    severity="warning",
                    path=(*_SECTIONS["job_variables"], name),
                )


def _parameters(
    item: Deployment,
    variables: Mapping[str, Json] | None,
    schemas: Schemas,
    *,
    processed: bool,
) -> Iterator[Problem]:
    if not item.parameters or "parameters" in item.unknown:
        return
    if variables is not None and has_kinds(item.parameters):
        for name in workspace_variables([item]):
            if name not in variables:
                yield problem(
                    item,
                    f"parameters use the Prefect variable {name!r}, which does not exist",
                    f"prefect variable set {name} VALUE",
                    path=("parameters",),
                )
    if not item.enforce_parameter_schema or not item.parameter_schema:
        return
    validator = schemas.parameters(item.parameter_schema, processed=processed)
    given = hydrated(item.parameters, variables or {}) if processed else item.parameters
    yield from _complaints(item, "parameters", schemas, validator, given, "the flow")


def _complaints(
    item: Deployment, field: str, schemas: Schemas, validator: Any, given: Json, owner: str
) -> Iterator[Problem]:
    for error in schemas.errors(validator, given):
        if error.instance is UNKNOWN:
            continue
        message, hint = complaint(error, field, owner, partial(_shown, item))
        yield problem(item, message, hint, path=(*_SECTIONS[field], *place(error)))


def _shown(item: Deployment, path: str, text: str) -> str | None:
    """``text`` of the value at ``path``, None where it holds a secret."""
    keys = re.split(r"[.\[]", path)
    (line,) = hidden([Line(path, None, text)], item)
    return None if line.after != text or any(map(is_secret_key, keys)) else text


def problem(
    item: Deployment,
    message: str,
    hint: str | None = None,
    *,
    severity: Literal["error", "warning", "note"] = "error",
    path: tuple[str | int, ...] = (),
) -> Problem:
    """What is wrong with a deployment; ``path`` is relative to its place in the manifest."""
    return Problem(
        f"{item.full_name}: {message}",
        where=item.where,
        hint=hint,
        severity=severity,
        path=path,
        subject=item.full_name,
    )


def unsupported(actions: Iterable[Action], lacking: Mapping[str, str]) -> Iterator[Problem]:
    """What the server cannot do of what would be written.

    Args:
        actions: a plan's.
        lacking: the features that the server lacks, each with the words that say
            so (:func:`gitops_flow.prefect.lacking`).
    """
    if not lacking:
        return
    for action in actions:
        if isinstance(action, Create | Update):
            yield from _fields(action.desired, lacking)
            yield from _steps(action.desired, lacking)
        if isinstance(action, Update):
            yield from _removals(action, lacking)


def _fields(item: Deployment, lacking: Mapping[str, str]) -> Iterator[Problem]:
    grace = "grace_period_seconds"
    if grace in lacking and (item.concurrency_options or {}).get(grace) is not None:
        yield problem(item, f"{grace} {lacking[grace]}", _OLD, path=("concurrency_limit", grace))
    after, several = "schedule_after", "several match_related"
    for number, automation in enumerate(item.automations):
        if several in lacking and _matches_several(automation.trigger):
            message = f"a list in match_related {lacking[several]}"
            yield problem(item, message, "write one mapping", path=("triggers", number))
        if after in lacking and automation.schedule_after:
            yield problem(item, f"{after} {lacking[after]}", _OLD, path=("triggers", number, after))


def _matches_several(trigger: Mapping[str, Json]) -> bool:
    inner = trigger.get("triggers") or ()
    return isinstance(trigger.get("match_related"), list) or any(map(_matches_several, inner))


def _steps(item: Deployment, lacking: Mapping[str, str]) -> Iterator[Problem]:
    for step in item.pull_steps or ():
        if pin.name_of(step) != pin.GIT_CLONE:
            continue
        for name in _CLONE_INPUTS:
            reason = lacking.get(f"git_clone {name}")
            if reason and pin.inputs_of(step).get(name) is not None:
                yield problem(
                    item,
                    f"the input {name} of git_clone {reason}: on workers of that version "
                    "every run fails",
                    "leave `checkout: stock` out: the step of gitops-flow runs on all of them",
                    severity="warning",
                )


def _removals(action: Update, lacking: Mapping[str, str]) -> Iterator[Problem]:
    item, changed = (
        action.desired,
        {change.field for change in action.changes if not change.unknown},
    )
    reason = lacking.get("emptying job_variables")
    if reason and "job_variables" in changed and not item.job_variables:
        yield problem(
            item,
            f"removing every job variable {reason}",
            "keep one that changes nothing, such as `env: {}`",
            path=("work_pool", "job_variables"),
        )
    reason = lacking.get("leaving a work pool")
    if reason and "work_pool" in changed and item.work_pool is None and item.work_queue is None:
        yield problem(
            item,
            f"taking a deployment out of its work pool {reason}",
            "name a pool, or delete the deployment first",
            path=("work_pool",),
        )
