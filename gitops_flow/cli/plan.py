"""``gitflow plan``: what a deploy would do, as text, JSON or Markdown."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from gitops_flow import deploy, plan
from gitops_flow.cli import options, streams
from gitops_flow.cli.parts import (
    Talk,
    change_lines,
    count,
    kept_lines,
    left_out_lines,
    names_within,
    next_lines,
    orphan_lines,
    pointer_document,
    pointer_lines,
    problem_lines,
    restored_lines,
    safe,
    server,
    server_line,
    short_ids,
    snapshot_document,
    snapshot_text,
    source_document,
)
from gitops_flow.cli.streams import printable
from gitops_flow.git.repository import Author
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gitops_flow.cli.options import Again
    from gitops_flow.codestore.changes import CodeChange
    from gitops_flow.deploy import DeployRequest, Preview
    from gitops_flow.model import CodeStoreSettings

PENDING = 4
# Columns for the names in a list of them.
_ROOM = 76
_SIGNS = {"create": "+", "update": "~", "delete": "-", "refuse": "!", "held": "=", "unchanged": " "}


def run(
    request: DeployRequest,
    environ: Mapping[str, str],
    *,
    profile: str | None,
    code_store: CodeStoreSettings,
    again: Again,
    as_json: bool = False,
    markdown: bool = False,
    exit_code: bool = False,
    verbose: bool = False,
) -> int:
    """Print the plan; nothing is changed.

    The exit code is 4 when there is something to do and ``exit_code`` asks for
    it, 1 when the deploy would be refused.
    """
    found = options.settings(request.source, environ, profile=profile, code_store=code_store)
    with Talk(quiet=as_json or markdown) as talk:
        author = Author.of(environ)
        policy = deploy.every_step(found, environ)
        preview = deploy.preview(
            request, found, environ, author=author, policy=policy, on_event=talk.event
        )
    if as_json:
        streams.out(json.dumps({**document(preview), "server": server(found)}) + "\n")
    elif markdown:
        told = [*markdown_text(preview, verbose=verbose), "", f"`{_plain(server_line(found))}`"]
        streams.out("\n".join(told) + "\n")
    else:
        streams.show([server_line(found), *text(preview, again, verbose=verbose)])
    if preview.blocked:
        return 1
    return PENDING if exit_code and preview.pending else 0


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


def code_document(change: CodeChange) -> dict[str, Any]:
    """What lies between two snapshots, as ``--json`` prints it."""
    return {
        "before": change.before,
        "after": change.after,
        "files": [{"path": safe(file.path), "kind": file.kind} for file in change.files],
        "insertions": change.insertions,
        "deletions": change.deletions,
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


def text(preview: Preview, again: Again, *, verbose: bool = False) -> list[str]:
    """The plan for people.

    ``again`` is the command line that asked for it; with ``verbose`` it shows every
    value of a deployment that only gets other code, too.
    """
    snap = preview.snapshot
    lines = problem_lines([*preview.warnings, *preview.notes])
    lines += restored_lines(preview.restored)
    lines.append(snapshot_text(snap))
    lines += left_out_lines(snap.left_out)
    for change in preview.code:
        lines.append(code_text(change))
        lines += change_lines(change.files)
    lines += [f"code: {pin[:12]} is not in the code store any more" for pin in preview.lost]
    if preview.steps:
        steps = count(preview.steps, "deployment")
        lines.append(f"build and push steps of {steps} run first; their outputs are not known yet")
    if not preview.blocked:
        lines += [f"+ work pool {pool} (type process)" for pool in preview.missing_pools]
    actions = preview.plan.actions
    if not verbose:
        lines += _moved_lines(actions)
        actions = tuple(action for action in actions if _new_code(action) is None)
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


def _new_code(action: plan.Action) -> tuple[str, str] | None:
    return action.new_code if isinstance(action, plan.Update) else None


def _moved(actions: Sequence[plan.Action]) -> Iterator[tuple[str, list[str], str]]:
    """What gets other code and nothing else, by the commits: who in short, the names, the code."""
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for action in actions:
        if commits := _new_code(action):
            by_pointer = isinstance(action, plan.Update) and action.by_pointer
            groups.setdefault((*commits, by_pointer), []).append(action.full_name)
    for (before, after, by_pointer), names in groups.items():
        who = names[0] if len(names) == 1 else count(len(names), "deployment")
        how = " by the release pointer" if by_pointer else ""
        yield who, names, f"new code{how} ({before[:12]} -> {after[:12]})"


def _moved_lines(actions: Sequence[plan.Action]) -> Iterator[str]:
    for who, names, code in _moved(actions):
        yield f"~ update {who}: {code}"
        if len(names) > 1:
            yield f"    {names_within(names, _ROOM)}"


def code_text(change: CodeChange) -> str:
    """``code: 1a2b3c4d5e6f -> 6f5e4d3c2b1a, 2 files, 10 lines added, 3 removed``."""
    return (
        f"code: {change.before[:12]} -> {change.after[:12]}, "
        f"{count(len(change.files), 'file')}, "
        f"{count(change.insertions, 'line')} added, {change.deletions} removed"
    )


def action_lines(action: plan.Action) -> list[str]:
    """One action: its name, and every value that it changes; nothing for what stays."""
    if isinstance(action, plan.Unchanged):
        return []
    told = kind(action)
    more = ""
    if isinstance(action, plan.Update):
        more = " (perhaps: known after build)" if action.maybe else ""
        more += " (adopted)" if action.adopts else ""
    lines = [f"{_SIGNS[told]} {told} {action.full_name}{more}"]
    if isinstance(action, plan.Conflict):
        return [*lines, f"    {action.reason}"]
    if isinstance(action, plan.Held):
        return [f"{_SIGNS[told]} {told} {action.full_name} (gitflow unhold lets deploys change it)"]
    return lines + [f"    {line}" for line in value_lines(action)]


def value_lines(action: plan.Action) -> Iterator[str]:
    """``path: before -> after`` for each value."""
    for line in plan.lines(action):
        if line.before is None:
            told = f"{line.path}: {line.after}"
        elif line.after is None:
            told = f"{line.path}: {line.before} -> removed"
        else:
            told = f"{line.path}: {line.before} -> {line.after}"
        option = _option_of(action, line)
        yield short_ids(told) + (f" (from {option})" if option else "")


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
    words = [
        f"{number} {told}" if told in ("unchanged", "held") else f"{number} to {told}"
        for told, number in counts.items()
    ]
    return f"{', '.join(words) or 'nothing to do'}; nothing was changed"


def _next(preview: Preview, again: Again) -> list[str]:
    if preview.blocked or not preview.pending:
        return []
    if preview.plan.deletes:
        return ["gitflow deploy with the same options does this, deletions included"]
    verb = "deploy" if preview.restored is None else "rollback"
    # Where nobody can be asked, only this works.
    yes = not sys.stdin.isatty()
    return next_lines(again(verb, prune=False, force_prune=False, yes=yes))


def markdown_text(preview: Preview, *, verbose: bool = False) -> list[str]:
    """The plan as a comment on a pull request; ``verbose`` as in :func:`text`."""
    lines = [f"### gitflow plan: {_cell(preview.source.name)}", "", f"`{_plain(summary(preview))}`"]
    lines += ["", f"- {_plain(snapshot_text(preview.snapshot))}"]
    lines += [f"- {_plain(code_text(change))}" for change in preview.code]
    for refusal in preview.blocked:
        lines.append(f"- **refused**: {_cell(redact(refusal.message))}")
        lines += [f"  - {_cell(redact(str(detail)))}" for detail in refusal.details]
    lines += [f"- {_plain(line)}" for line in pointer_lines(preview.plan)]
    told = (line.partition(": ") for line in problem_lines(preview.warnings))
    lines += [f"- {kind}: {_cell(text)}" for kind, _, text in told]
    actions = preview.plan.actions
    rows = [] if verbose else [_moved_row(*each) for each in _moved(actions)]
    rows += [
        _row(action)
        for action in actions
        if not isinstance(action, plan.Unchanged) and (verbose or _new_code(action) is None)
    ]
    if rows:
        lines += ["", "| | deployment | changes |", "|---|---|---|", *rows]
    for change in preview.code:
        lines += ["", "<details><summary>files</summary>", "", "```"]
        lines += [_plain(f"{file.kind[0].upper()} {file.path}") for file in change.files[:200]]
        more = len(change.files) - 200
        lines += [f"and {more} more"] if more > 0 else []
        lines += ["```", "", "</details>"]
    return lines


def _moved_row(who: str, names: Sequence[str], code: str) -> str:
    listed = f"<br>{_cell(names_within(names, _ROOM))}" if len(names) > 1 else ""
    return f"| update | {_cell(who)}{listed} | {_cell(code)} |"


def _row(action: plan.Action) -> str:
    told = [_cell(line) for line in value_lines(action)]
    if isinstance(action, plan.Conflict):
        told = [_cell(action.reason)]
    return f"| {kind(action)} | {_cell(action.full_name)} | {'<br>'.join(told)} |"


def _plain(text: str) -> str:
    """Text inside a code span or block: no backtick ends it."""
    return printable(text).replace("`", "'")


def _cell(text: str) -> str:
    """Text in a table: a code span, in which a bar would still end the cell."""
    return "`" + _plain(text).replace("|", "\\|") + "`"
