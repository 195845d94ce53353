"""A plan and what differs on the server, as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gitops_flow import plan
from gitops_flow.redact import redact
from gitops_flow.report.facts import (
    change_lines,
    code_document,
    code_text,
    kept_lines,
    left_out_lines,
    orphan_lines,
    pointer_document,
    pointer_lines,
    problem_lines,
    restored_lines,
    snapshot_document,
    snapshot_text,
    source_document,
)
from gitops_flow.report.words import count, names_within, next_lines, printable, short_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gitops_flow.deploy import Preview
    from gitops_flow.deploy.environments import Difference
    from gitops_flow.model import FileChange
    from gitops_flow.report.facts import Again

# Columns for the names in a list of them.
_ROOM = 76
_SIGNS = {"create": "+", "update": "~", "delete": "-", "refuse": "!", "held": "=", "unchanged": " "}
_WORDS = {
    plan.Create: "missing",
    plan.Update: "differs",
    plan.Conflict: "another source's",
    plan.Held: "held",
}


def kind(action: plan.Action) -> str:
    """``create``, ``update``, ``delete``, ``refuse``, ``held`` or ``unchanged``."""
    names = {
        plan.Create: "create",
        plan.Update: "update",
        plan.Delete: "delete",
        plan.Conflict: "refuse",
        plan.Held: "held",
    }
    return names.get(type(action), "unchanged")


def document(preview: Preview) -> dict[str, Any]:
    """The plan as ``--json`` prints it."""
    return {
        "ok": not preview.blocked,
        "pending": preview.pending,
        "source": source_document(preview.source, preview.snapshot),
        "snapshot": snapshot_document(preview.snapshot),
        "code_store": {"url": redact(preview.url), "branch": preview.branch},
        "code": [code_document(change) for change in preview.code],
        "code_unavailable": list(preview.lost),
        "deployments_with_steps": preview.steps,
        "missing_work_pools": list(preview.missing_pools),
        "actions": [_action_document(action) for action in preview.plan.actions],
        **pointer_document(preview.plan),
        "orphans": [item.full_name for item in preview.plan.orphans],
        "left_alone": {
            name: [{"path": c.field, "live": c.before, "manifest": c.after} for c in changes]
            for name, changes in preview.drift.items()
        },
        "restored": preview.restored.id if preview.restored else None,
        "blocked": [
            {
                "message": redact(each.message),
                "details": [redact(str(detail)) for detail in each.details],
                "hint": redact(each.hint) if each.hint else None,
            }
            for each in preview.blocked
        ],
        "warnings": [redact(str(problem)) for problem in preview.warnings],
        "notes": [redact(str(problem)) for problem in preview.notes],
    }


def _action_document(action: plan.Action) -> dict[str, Any]:
    return {
        "name": action.full_name,
        "action": kind(action),
        "by_pointer": isinstance(action, plan.Update) and action.by_pointer,
        "adopted": isinstance(action, plan.Update) and action.adopts,
        "keeps_code": not isinstance(action, plan.Delete)
        and action.desired is not None
        and action.desired.keeps_code,
        "known_after_build": isinstance(action, plan.Update) and action.maybe,
        "fields": list(action.fields) if isinstance(action, plan.Update) else [],
        "changes": [
            {
                "path": line.path,
                "before": line.before,
                "after": line.after,
                "option": _option_of(action, line),
            }
            for line in plan.lines(action)
        ],
        "reason": action.reason if isinstance(action, plan.Conflict) else None,
    }


def text(preview: Preview, again: Again | None = None, *, verbose: bool = False) -> list[str]:
    """The plan for people.

    ``again`` makes the commands that it names next, if any; with ``verbose`` it shows
    every value of a deployment that only gets other code, too.
    """
    lines = problem_lines([*preview.warnings, *preview.notes])
    lines += code_lines(preview, change_lines)
    actions = preview.plan.actions
    if not verbose:
        lines += _moved_lines(actions)
        actions = tuple(action for action in actions if new_code(action) is None)
    for action in actions:
        lines += action_lines(action)
    lines += pointer_lines(preview.plan)
    lines += kept_lines(preview.plan)
    lines += left_alone_lines(preview)
    lines += orphan_lines(preview.plan.orphans, again)
    for refusal in preview.blocked:
        lines.append(f"refused: {redact(refusal.message)}")
        lines += [f"    {redact(str(detail))}" for detail in refusal.details]
        lines += [f"    hint: {redact(refusal.hint)}"] if refusal.hint else []
    lines.append(summary(preview))
    lines += _next(preview, again)
    return [printable(line) for line in lines if line]


def code_lines(
    preview: Preview, files: Callable[[Sequence[FileChange]], list[str]] = lambda _: []
) -> list[str]:
    """What code is shipped, with the ``files`` that change, and what is done before."""
    lines = restored_lines(preview.restored)
    lines.append(snapshot_text(preview.snapshot))
    lines += left_out_lines(preview.snapshot.left_out)
    for change in preview.code:
        lines += [code_text(change), *files(change.files)]
    lines += [f"code: {pin[:12]} is not in the code store any more" for pin in preview.lost]
    if preview.steps:
        steps = count(preview.steps, "deployment")
        lines.append(f"build and push steps of {steps} run first; their outputs are not known yet")
    if not preview.blocked:
        lines += [f"+ work pool {pool} (type process)" for pool in preview.missing_pools]
    return lines


def new_code(action: plan.Action) -> tuple[str, str] | None:
    """The commits before and after, where an action changes nothing else."""
    return action.new_code if isinstance(action, plan.Update) else None


def moved(actions: Sequence[plan.Action]) -> Iterator[tuple[str, list[str], str]]:
    """What gets other code and nothing else, by the commits: who in short, the names, the code."""
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for action in actions:
        if commits := new_code(action):
            by_pointer = isinstance(action, plan.Update) and action.by_pointer
            groups.setdefault((*commits, by_pointer), []).append(action.full_name)
    for (before, after, by_pointer), names in groups.items():
        who = names[0] if len(names) == 1 else count(len(names), "deployment")
        how = " by the release pointer" if by_pointer else ""
        yield who, names, f"new code{how} ({before[:12]} -> {after[:12]})"


def _moved_lines(actions: Sequence[plan.Action]) -> Iterator[str]:
    for who, names, code in moved(actions):
        yield f"~ update {who}: {code}"
        if len(names) > 1:
            yield f"    {names_within(names, _ROOM)}"


def action_lines(action: plan.Action) -> list[str]:
    """One action: its name, and every value that it changes; nothing for what stays."""
    if isinstance(action, plan.Unchanged):
        return []
    more = "".join(f" ({word})" for word in words(action))
    head = f"{_SIGNS[kind(action)]} {kind(action)} {action.full_name}{more}"
    return [head, *(f"    {line}" for line in value_lines(action))]


def words(action: plan.Action) -> Iterator[str]:
    """What is to be known of an action besides its values."""
    if isinstance(action, plan.Update) and action.maybe:
        yield "perhaps: known after build"
    if isinstance(action, plan.Update) and action.adopts:
        yield "adopted"
    if isinstance(action, plan.Held):
        yield "gitflow unhold lets deploys change it"


def value_lines(action: plan.Action) -> Iterator[str]:
    """``path: before -> after`` for each value; why an action is refused."""
    if isinstance(action, plan.Conflict):
        yield action.reason
    for line in plan.lines(action):
        option = _option_of(action, line)
        yield short_ids(_told(line)) + (f" (from {option})" if option else "")


def _told(line: plan.Line) -> str:
    if line.before is None:
        return f"{line.path}: {line.after}"
    return f"{line.path}: {line.before} -> {'removed' if line.after is None else line.after}"


def _option_of(action: plan.Action, line: plan.Line) -> str | None:
    """The option that a value is from, where it is not the manifest's."""
    if line.after is None or not isinstance(action, plan.Create | plan.Update):
        return None
    for field, option in action.desired.overridden:
        # Schedules are added to those that there are.
        if field == "schedules" and line.before is not None:
            continue
        if line.path.startswith(field) and line.path[len(field) :][:1] in ("", ".", "["):
            return option
    return None


def left_alone_lines(preview: Preview) -> list[str]:
    """What differs on the server and is left to those who switched it there."""
    return [
        f"left alone: {name}: {change.field} is {_word(change.before)} on the server"
        for name, changes in preview.drift.items()
        for change in changes
    ]


def _word(value: Any) -> str:
    return {True: "true", False: "false", None: "not set"}.get(value, str(value))


def summary(preview: Preview) -> str:
    """``1 to create, 2 to update, 97 unchanged; nothing was changed``."""
    counts: dict[str, int] = {}
    for action in preview.plan.actions:
        counts[kind(action)] = counts.get(kind(action), 0) + 1
    parts = [
        f"{number} {told}" if told in ("unchanged", "held") else f"{number} to {told}"
        for told, number in counts.items()
    ]
    return f"{', '.join(parts) or 'nothing to do'}; nothing was changed"


def _next(preview: Preview, again: Again | None) -> list[str]:
    if again is None or preview.blocked or not preview.pending:
        return []
    if preview.plan.deletes:
        return ["gitflow deploy with the same options does this, deletions included"]
    verb = "deploy" if preview.restored is None else "rollback"
    return next_lines(again(verb, prune=False, force_prune=False))


def diff_document(preview: Preview) -> dict[str, Any]:
    """What differs as ``gitflow diff --json`` prints it."""
    whole = document(preview)
    return {
        "ok": True,
        "differences": [each for each in whole["actions"] if each["action"] != "unchanged"],
        "orphans": whole["orphans"],
        "left_alone": whole["left_alone"],
        "warnings": whole["warnings"],
    }


def _states(same: int, other: int) -> str:
    parts = [f"{same} as the manifest says"] if same or not other else []
    parts += [f"{other} {'differs' if other == 1 else 'differ'}"] if other else []
    return ", ".join(parts)


def diff_text(preview: Preview) -> list[str]:
    """The differences for people, a block for each deployment."""
    lines = problem_lines(preview.warnings)
    same = 0
    for action in preview.plan.actions:
        word = _WORDS.get(type(action))
        if word is None:
            same += 1
            continue
        if isinstance(action, plan.Update) and action.maybe:
            word = "may differ: known after build"
        lines += [f"{action.full_name}: {word}", *action_lines(action)[1:]]
    lines += [f"{item.full_name}: not in the manifest any more" for item in preview.plan.orphans]
    lines += left_alone_lines(preview)
    total = len(preview.plan.actions)
    told = f"{count(total, 'deployment')}: {_states(same, total - same)}"
    if preview.drift:
        told += f"; {count(len(preview.drift), 'deployment')} switched by hand"
    lines.append(told)
    return [printable(line) for line in lines]


def difference_document(found: Difference) -> dict[str, Any]:
    """How two environments differ, as ``--json`` prints it."""
    return {
        "environment": found.after,
        "against": found.before,
        "server": [asdict(line) for line in found.server],
        "deployments": [
            {"name": name, "changes": [asdict(line) for line in lines]}
            for name, lines in found.deployments
        ],
    }


def difference_text(found: Difference) -> list[str]:
    """How two environments differ, for people."""
    told = [f"{found.before} -> {found.after or 'the manifest without an environment'}"]
    told += map(_told, found.server)
    for name, lines in found.deployments:
        told += [f"~ {name}"] if lines else []
        told += [f"    {_told(line)}" for line in lines]
    same = sum(not lines for _, lines in found.deployments)
    told.append(f"{len(found.deployments) - same} differ, {same} are the same")
    return [printable(line) for line in told]
