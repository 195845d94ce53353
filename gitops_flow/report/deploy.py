"""What a deploy did, and what verify found, as text and as JSON."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from gitops_flow.plan import Create, Unchanged, Update
from gitops_flow.redact import redact
from gitops_flow.report import errors
from gitops_flow.report.facts import (
    change_lines,
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
from gitops_flow.report.words import count, next_lines, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops_flow.apply import Result
    from gitops_flow.deploy import Report
    from gitops_flow.deploy.verify import Finding, Verified
    from gitops_flow.model import FileChange
    from gitops_flow.plan import Action
    from gitops_flow.report.facts import Again

_DEPLOYED = ("created", "updated", "unchanged")
# Columns for the names of deployments.
_WIDEST = 60


def document(report: Report, seconds: float) -> dict[str, Any]:
    """The report as ``--json`` prints it."""
    return {
        "ok": report.ok,
        "seconds": round(seconds, 3),
        "source": source_document(report.source, report.snapshot),
        "snapshot": snapshot_document(report.snapshot),
        "code_store": {
            "url": redact(report.published.url),
            "branch": report.published.branch,
            "entry": report.published.entry,
            "pushed": report.published.pushed,
            "created": report.published.created,
            "signed": report.published.signed,
        },
        "restored": report.restored.id if report.restored else None,
        "work_pools_created": list(report.pools_created),
        "deployments": [result_document(result) for result in report.results],
        **pointer_document(report.plan),
        "orphans": [item.full_name for item in report.plan.orphans],
        "requests_repeated": report.repeated,
        "warnings": [redact(str(problem)) for problem in report.warnings],
    }


def result_document(result: Result) -> dict[str, Any]:
    """What became of one deployment, as ``--json`` prints it."""
    return {
        "name": result.full_name,
        "id": result.id,
        "status": result.status,
        "fields": list(result.changed),
        "adopted": result.adopted,
        "runs_restored": result.runs_restored,
        "runs_cancelled": result.runs_cancelled,
        "by_pointer": result.by_pointer,
        "error": errors.document(result.error) if result.error else None,
    }


def text(
    report: Report, seconds: float, *, again: Again | None = None, profile: str | None = None
) -> list[str]:
    """The report for people: what is shipped, what happened to each, what to type next.

    ``again`` makes the commands that it names, if any; they use ``profile``.
    """
    lines = [*problem_lines(report.warnings), *code_lines(report, change_lines)]
    lines += results_text(report.results)
    # Of a failure, each deployment tells whether it waits for the pointer.
    lines += pointer_lines(report.plan) if report.ok else []
    lines += kept_lines(report.plan)
    lines += orphan_lines(report.plan.orphans, again)
    lines.append(summary(report, seconds))
    lines += _next(report, profile) if again else []
    return [printable(line) for line in lines]


def code_lines(
    report: Report, files: Callable[[Sequence[FileChange]], list[str]] = lambda _: []
) -> list[str]:
    """What code is shipped, with the ``files`` that were not committed, and what was made for it."""
    snapshot, published = report.snapshot, report.published
    lines = []
    if published.created:
        place = f"{redact(published.url)} branch {published.branch}"
        lines.append(f"created the code store: {place}")
    lines += restored_lines(report.restored)
    what = "published" if published.pushed else "already published"
    what += " and signed" if published.signed else ""
    lines.append(f"{snapshot_text(snapshot)} {what}")
    lines += files(snapshot.changes if snapshot.provenance.commit else ())
    lines += left_out_lines(snapshot.left_out)
    return lines + [f"created work pool {pool} (type process)" for pool in report.pools_created]


def results_text(results: Sequence[Result]) -> list[str]:
    """What became of each deployment."""
    width = min(max((len(result.full_name) for result in results), default=0), _WIDEST)
    return [line for result in results for line in _result_lines(result, width)]


def _result_lines(result: Result, width: int) -> list[str]:
    detail, *more = outcome(result)
    lines = [f"{result.full_name:<{width}}  {result.status}{detail}"]
    return lines + [f"    {line}" for line in more]


def outcome(result: Result) -> list[str]:
    """What was written, to stand behind the status; then the lines of what went wrong."""
    detail = ""
    if result.changed:
        told = [
            "new code by the release pointer"
            if result.by_pointer and name == "pull_steps"
            else name
            for name in result.changed
        ]
        words = ", ".join(told)
        detail = f" (already written: {words})" if result.status == "failed" else f" ({words})"
    if result.adopted:
        detail += ", adopted: it is owned by this source from now on"
    if result.runs_restored:
        detail += f", {count(result.runs_restored, 'scheduled run')} put back"
    if result.runs_cancelled:
        detail += f", {count(result.runs_cancelled, 'waiting run')} cancelled"
    if result.status == "held":
        detail = " (left as it is; gitflow unhold lets deploys change it)"
    return [detail, *redact(str(result.error)).splitlines()] if result.error else [detail]


def summary(report: Report, seconds: float) -> str:
    """``2 deployments: 1 created, 1 unchanged in 1.2 s``."""
    counts: dict[str, int] = {}
    for result in report.results:
        counts[result.status] = counts.get(result.status, 0) + 1
    parts = ", ".join(f"{number} {status}" for status, number in counts.items())
    told = f"{count(len(report.results), 'deployment')}: {parts}" if parts else "nothing differs"
    busy = f", {count(report.repeated, 'request')} repeated" if report.repeated else ""
    return f"{told} in {seconds:.1f} s{busy}"


def _next(report: Report, profile: str | None) -> list[str]:
    if not report.ok:
        return ["mend what failed and run the same command again: it goes on from there"]
    there = {each.full_name for each in report.results if each.status in _DEPLOYED}
    for action in report.plan.actions:
        if action.full_name in there and _runs_as_it_is(action):
            run = ["prefect", *(["--profile", profile] if profile else []), "deployment", "run"]
            return next_lines(shlex.join([*run, action.full_name]))
    return []


def _runs_as_it_is(action: Action) -> bool:
    """Whether its flow has a value for every parameter."""
    if not isinstance(action, Create | Update | Unchanged) or action.full_name.startswith("-"):
        return False
    schema = action.desired.parameter_schema or {}
    return set(schema.get("required") or ()) <= action.desired.parameters.keys()


def verified_document(report: Verified) -> dict[str, Any]:
    """What verify found, as ``--json`` prints it."""
    return {
        "ok": report.ok,
        "source": {"name": report.source.name, "mark": report.source.mark},
        "python": report.python,
        "deployments": [_finding(each) for each in report.findings],
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "name": found.name,
        "status": found.status,
        "commit": found.commit,
        "error": errors.document(found.error) if found.error else None,
        "not_run": list(found.not_run),
    }


def verified_text(report: Verified) -> list[str]:
    """What verify found, for people."""
    if not report.findings:
        return [printable(f"the server has nothing of {report.source.name}")]
    lines = []
    width = min(max(len(each.name) for each in report.findings), _WIDEST)
    for found in report.findings:
        pin = f" {found.commit[:12]}" if found.commit else ""
        more = f" (did not run: {', '.join(found.not_run)})" if found.not_run else ""
        lines.append(f"{found.name:<{width}}  {found.status}{pin}{more}")
        if found.error is not None:
            lines += [f"    {line}" for line in redact(str(found.error)).splitlines()]
    counts: dict[str, int] = {}
    for found in report.findings:
        counts[found.status] = counts.get(found.status, 0) + 1
    told = ", ".join(f"{number} {status}" for status, number in counts.items())
    lines.append(f"{count(len(report.findings), 'deployment')}: {told}; with {report.python}")
    return [printable(line) for line in lines]
