"""Plans, deploys and errors as Markdown: a pull request's comment, a step's summary.

Whatever a name, a path or a message holds stands in code spans and blocks, where it
can neither end the cell that it is in nor be a link, a mention, an image or HTML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow import plan as plans
from gitops_flow.errors import ProblemsError, SnapshotError, StoppedError
from gitops_flow.report import deploy as deploys
from gitops_flow.report import facts
from gitops_flow.report import plan as previews
from gitops_flow.report.words import names_within, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.deploy import Preview, Report
    from gitops_flow.errors import GitflowError
    from gitops_flow.model import FileChange

# Columns for the names in a list of them.
_ROOM = 76
# Characters; a comment on GitHub has 65,536 at most.
_LIST, _TABLE, _CELL, _FILES, _SPAN = 8_000, 40_000, 4_000, 10_000, 600


def plan(preview: Preview, server: str, *, verbose: bool = False) -> list[str]:
    """What a deploy to ``server`` would do; ``verbose`` as in :func:`gitops_flow.report.plan.text`."""
    actions = preview.plan.actions
    items = []
    for refusal in preview.blocked:
        items.append(f"- **refused**: {code(refusal.message)}")
        items += [f"  - {code(str(each))}" for each in refusal.details]
        items += [f"  - hint: {code(refusal.hint)}"] if refusal.hint else []
    items += _items(*facts.problem_lines(preview.warnings))
    beside = _items(
        *facts.problem_lines(preview.notes),
        *previews.code_lines(preview),
        *facts.pointer_lines(preview.plan),
        *facts.kept_lines(preview.plan),
        *previews.left_alone_lines(preview),
        *facts.orphan_lines(preview.plan.orphans, None),
    )
    rows = [] if verbose else [_moved_row(*each) for each in previews.moved(actions)]
    rows += [
        _row(
            previews.kind(action),
            action.full_name,
            (*previews.words(action), *previews.value_lines(action)),
        )
        for action in actions
        if not isinstance(action, plans.Unchanged)
        and (verbose or previews.new_code(action) is None)
    ]
    lines = _head("plan", preview.source.name, previews.summary(preview))
    lines += [*_some(items, _LIST, "- "), *_table("action", rows), "", *_some(beside, _LIST, "- ")]
    changes = preview.code[:10]
    for change in changes:
        lines += _files("files", change.files, _FILES // len(changes))
    return [*lines, "", code(server)]


def deploy(report: Report, seconds: float, server: str) -> list[str]:
    """What a deploy to ``server`` did; what stayed as it was is only counted."""
    beside = _items(
        *deploys.code_lines(report),
        *facts.pointer_lines(report.plan if report.ok else plans.Plan(())),
        *facts.kept_lines(report.plan),
        *facts.orphan_lines(report.plan.orphans, None),
    )
    rows = [
        _row(each.status, each.full_name, deploys.outcome(each))
        for each in report.results
        if each.status != "unchanged"
    ]
    lines = _head("deploy", report.source.name, deploys.summary(report, seconds))
    lines += _some(_items(*facts.problem_lines(report.warnings)), _LIST, "- ")
    lines += [*_table("status", rows), "", *_some(beside, _LIST, "- ")]
    if report.snapshot.provenance.commit:
        lines += _files("uncommitted files", report.snapshot.changes, _FILES)
    return [*lines, "", code(server)]


def error(failure: GitflowError, verb: str) -> list[str]:
    """Why a command failed: what happened, each problem with its place, what to do."""
    where = f"{failure.where}: " if failure.where else ""
    lines = [f"### gitflow {verb}: failed", "", code(f"{where}{failure.message}"), ""]
    if isinstance(failure, ProblemsError):
        rows = [
            _row(each.severity, str(each.where or ""), (each.message, each.hint or ""))
            for each in failure.problems
        ]
        lines += [*_table("", rows, "where", "what"), ""]
    elif isinstance(failure, SnapshotError):
        lines += [*_some(_items(*failure.paths), _LIST, "- "), ""]
    elif isinstance(failure, StoppedError):
        lines += [*_some(_items(*failure.lines), _LIST, "- "), ""]
    lines += [f"hint: {code(failure.hint)}", ""] if failure.hint else []
    lines += ["Trying again may help.", ""] if failure.retry else []
    return lines


def code(text: str) -> str:
    """Text as a code span, which nothing in it ends; nor does a bar end the cell of a table."""
    plain = _plain(text).replace("|", "\\|")
    return f"`{plain}`" if plain.strip() else ""


def _plain(text: str) -> str:
    plain = shown(text).replace("`", "'")
    return plain if len(plain) <= _SPAN else f"{plain[:_SPAN]}..."


def _head(verb: str, source: str, summary: str) -> list[str]:
    return [f"### gitflow {verb}: {code(source)}", "", code(summary), ""]


def _items(*lines: str) -> list[str]:
    """Lines as a list, in which a first word and colon stand out of the code."""
    told = []
    for line in map(str.strip, lines):
        kind, colon, rest = line.partition(": ")
        plain = colon and kind in ("warning", "note", "code")
        told.append(f"- {kind}: {code(rest)}" if plain else f"- {code(line)}")
    return told


def _some(lines: Sequence[str], room: int, start: str = "") -> list[str]:
    """As many lines as fit into ``room`` characters, and how many there are beside them."""
    taken = 0
    for number, line in enumerate(lines):
        taken += len(line) + 1
        if taken > room:
            return [*lines[:number], f"{start}and {len(lines) - number} more"]
    return list(lines)


def _table(first: str, rows: Sequence[str], *others: str) -> list[str]:
    if not rows:
        return []
    second, third = others or ("deployment", "changes")
    some = _some(rows, _TABLE)
    more = ["", some.pop()] if len(some) != len(rows) or some[-1] != rows[-1] else []
    return ["", f"| {first} | {second} | {third} |", "|---|---|---|", *some, *more]


def _moved_row(who: str, names: Sequence[str], change: str) -> str:
    listed = f"<br>{code(names_within(names, _ROOM))}" if len(names) > 1 else ""
    return f"| update | {code(who)}{listed} | {code(change)} |"


def _row(kind: str, name: str, details: Iterable[str]) -> str:
    cell = "<br>".join(_some([told for each in details if (told := code(each.strip()))], _CELL))
    return f"| {kind} | {code(name)} | {cell} |"


def _files(title: str, files: Sequence[FileChange], room: int) -> list[str]:
    if not files:
        return []
    listed = [_plain(f"{file.kind[0].upper()} {file.path}") for file in files]
    block = ["```", *_some(listed, room), "```"]
    return ["", f"<details><summary>{title}</summary>", "", *block, "", "</details>"]
