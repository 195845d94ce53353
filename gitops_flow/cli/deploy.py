"""``gitflow deploy``: a request to the one use case, and its report as text or JSON."""

from __future__ import annotations

import json
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from gitops_flow import deploy
from gitops_flow.cli import options, streams
from gitops_flow.cli.errors import BUG, error_document, how_it_ended
from gitops_flow.cli.parts import (
    Talk,
    change_lines,
    count,
    kept_lines,
    left_out_lines,
    next_lines,
    orphan_lines,
    pointer_document,
    pointer_lines,
    problem_lines,
    restored_lines,
    server,
    server_line,
    snapshot_document,
    snapshot_text,
    source_document,
)
from gitops_flow.cli.progress import elapsed
from gitops_flow.cli.streams import printable
from gitops_flow.errors import GitflowError, StoppedError, UsageError
from gitops_flow.git.repository import Author
from gitops_flow.plan import Create, Unchanged, Update
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.apply import Result
    from gitops_flow.cli.options import Again
    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy import DeployRequest, Report
    from gitops_flow.model import CodeStoreSettings
    from gitops_flow.plan import Action, Plan

_DEPLOYED = ("created", "updated", "unchanged")


def run(
    request: DeployRequest,
    environ: Mapping[str, str],
    *,
    profile: str | None,
    code_store: CodeStoreSettings,
    again: Again,
    yes: bool,
    as_json: bool,
) -> int:
    """Deploy and report; the exit code is 1 when a deployment could not be written."""
    started = time.monotonic()
    found = options.settings(request.source, environ, profile=profile, code_store=code_store)
    with Written() as written, Talk(quiet=as_json) as talk:

        def confirm(planned: Plan, release: Entry) -> None:
            if not yes:
                talk.clear()
                _ask(planned, release, as_json)

        def show(event: deploy.Event) -> None:
            talk.event(event)
            if isinstance(event, deploy.Deployed):
                written.append(event.result)

        report = deploy.run(
            request,
            found,
            environ,
            author=Author.of(environ),
            policy=deploy.every_step(found, environ),
            confirm=confirm,
            on_event=show,
        )
    seconds = elapsed(started)
    if as_json:
        streams.out(json.dumps({**document(report, seconds), "server": server(found)}) + "\n")
    else:
        told = text(report, seconds, again=again, profile=profile)
        streams.show([server_line(found), *told])
    return 0 if report.ok else 1


def _ask(planned: Plan, release: Entry, as_json: bool) -> None:
    """Have a person say yes to going back.

    Raises:
        UsageError: nobody is there to be asked.
        GitflowError: the answer is another one.
    """
    what = count(len(planned.writes), "deployment")
    whither = f"release {release.id[:12]} of {release.origin.author}"
    if as_json or not sys.stdin.isatty():
        raise UsageError(
            f"this would take {what} back to {whither}",
            hint="there is nobody to ask here: add --yes (--dry-run shows what would change)",
        )
    lines = [f"~ {action.full_name}" for action in planned.writes]
    sys.stderr.write("\n".join(map(printable, lines)) + "\n")
    sys.stderr.write(printable(f"Take {what} back to {whither}? [y/N] "))
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise GitflowError("nothing was changed: the answer was not yes")


class Written(list["Result"]):
    """What became of each deployment so far; told when something ends the writing.

    Raises:
        StoppedError: in the place of the signal or error that ended it.
    """

    def __enter__(self) -> Written:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or not self:
            return
        width = min(max(len(result.full_name) for result in self), 60)
        lines = [line for result in self for line in result_lines(result, width)]
        document: dict[str, object] = {"deployments": [result_document(each) for each in self]}
        message, code = how_it_ended(error)
        if code == BUG:
            # Whoever reads the log of a bug learns this beside it.
            streams.err("\n".join(map(printable, lines)) + "\n")
            return
        hint = "run the same command again: it converges"
        if isinstance(error, GitflowError) and error.hint:
            hint = f"{error.hint}; then {hint}"
        raise StoppedError(
            message, exit_code=code, lines=tuple(lines), document=document, hint=hint
        ) from error


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
        "error": error_document(result.error) if result.error else None,
    }


def text(report: Report, seconds: float, *, again: Again, profile: str | None = None) -> list[str]:
    """The report for people: what is shipped, what happened to each, what to type next."""
    snap = report.snapshot
    lines = problem_lines(report.warnings)
    place = f"{redact(report.published.url)} branch {report.published.branch}"
    if report.published.created:
        lines.append(f"created the code store: {place}")
    lines += restored_lines(report.restored)
    what = "published" if report.published.pushed else "already published"
    what += " and signed" if report.published.signed else ""
    lines.append(f"{snapshot_text(snap)} {what}")
    lines += change_lines(snap.changes if snap.provenance.commit else ())
    lines += left_out_lines(snap.left_out)
    lines += [f"created work pool {pool} (type process)" for pool in report.pools_created]
    width = max((len(result.full_name) for result in report.results), default=0)
    for result in report.results:
        lines += result_lines(result, min(width, 60))
    # Of a failure, each deployment tells whether it waits for the pointer.
    lines += pointer_lines(report.plan) if report.ok else []
    lines += kept_lines(report.plan)
    lines += orphan_lines(report.plan.orphans, again)
    lines.append(_summary(report, seconds))
    lines += _next(report, profile)
    return [printable(line) for line in lines]


def result_lines(result: Result, width: int) -> list[str]:
    """What became of one deployment, its name padded to ``width``."""
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
    lines = [f"{result.full_name:<{width}}  {result.status}{detail}"]
    if result.error is not None:
        lines += [f"    {line}" for line in redact(str(result.error)).splitlines()]
    return lines


def _summary(report: Report, seconds: float) -> str:
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
