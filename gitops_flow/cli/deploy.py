"""``gitflow deploy``: a request to the one use case, and its report as text or JSON."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any

from gitops_flow import deploy, settings
from gitops_flow.cli import streams
from gitops_flow.cli.boundary import error_document, printable
from gitops_flow.errors import UsageError
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.apply import Result
    from gitops_flow.deploy import DeployRequest, Report
    from gitops_flow.model import CodeStoreSettings, FileChange, LeftOut

_SHOWN = 8
_UNITS = {"": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}


def run(
    request: DeployRequest,
    environ: Mapping[str, str],
    *,
    profile: str | None,
    code_store: CodeStoreSettings,
    as_json: bool,
) -> int:
    """Deploy and report; the exit code is 1 when a deployment could not be written."""
    started = time.monotonic()
    found = settings.load(environ, request.directory, profile=profile, code_store=code_store)
    with _Talk(quiet=as_json) as talk:
        report = deploy.run(request, found, environ, talk.say)
    seconds = time.monotonic() - started
    if as_json:
        streams.out(json.dumps(document(report, seconds)) + "\n")
    else:
        streams.out("\n".join(text(report, seconds)) + "\n")
    return 0 if report.ok else 1


def size(option: str, value: str | None) -> int | None:
    """Bytes from ``50MB``, ``1.5 GB`` or a plain number."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(kb|mb|gb|)", value.strip().lower())
    if not found or float(found[1]) == 0:
        raise UsageError(f"{option}: {value!r} is not a size", hint="write 50MB, 2GB or bytes")
    return int(float(found[1]) * _UNITS[found[2]])


class _Talk:
    """What is being done, as one live line on a terminal; nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._live = not quiet and sys.stderr.isatty()

    def __enter__(self) -> _Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def say(self, what: str) -> None:
        self._write(f"{what} ...")

    def _write(self, shown: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{shown}")
            sys.stderr.flush()


def document(report: Report, seconds: float) -> dict[str, Any]:
    """The report as ``--json`` prints it."""
    snap = report.snapshot
    origin = snap.provenance
    return {
        "ok": report.ok,
        "seconds": round(seconds, 3),
        "source": {
            "name": report.source.name,
            "manifest": _safe(report.source.manifest),
            "mark": report.source.mark,
            "commit": origin.commit,
            "ref": origin.ref,
            "dirty": origin.dirty,
            "author": _safe(origin.author),
        },
        "snapshot": {
            "commit": snap.commit,
            "tree": snap.tree,
            "changes": [{"path": _safe(c.path), "kind": c.kind} for c in snap.changes],
            "left_out": [{"path": _safe(o.path), "reason": o.reason} for o in snap.left_out],
        },
        "code_store": {
            "url": redact(report.published.url),
            "branch": report.published.branch,
            "entry": report.published.entry,
            "pushed": report.published.pushed,
            "created": report.published.created,
        },
        "work_pools_created": list(report.pools_created),
        "deployments": [_result_document(result) for result in report.results],
        "warnings": [redact(str(problem)) for problem in report.warnings],
    }


def _result_document(result: Result) -> dict[str, Any]:
    return {
        "name": result.full_name,
        "id": result.id,
        "status": result.status,
        "fields": list(result.changed),
        "adopted": result.adopted,
        "runs_restored": result.runs_restored,
        "error": error_document(result.error) if result.error else None,
    }


def text(report: Report, seconds: float) -> list[str]:
    """The report for people: what is shipped, what happened to each, what to type next."""
    snap = report.snapshot
    origin = snap.provenance
    lines = [f"warning: {redact(str(problem))}" for problem in report.warnings]
    place = f"{redact(report.published.url)} branch {report.published.branch}"
    if report.published.created:
        lines.append(f"created the code store: {place}")
    commit = origin.commit[:12] if origin.commit else "no commit"
    state = (
        f"{commit} + {_count(len(snap.changes), 'uncommitted file')}" if origin.dirty else commit
    )
    what = "published" if report.published.pushed else "already published"
    lines.append(f"snapshot {snap.commit[:12]} ({state}) {what}")
    lines += _changes(snap.changes if origin.commit else ())
    lines += _left_out(snap.left_out)
    lines += [f"created work pool {pool} (type process)" for pool in report.pools_created]
    width = max((len(result.full_name) for result in report.results), default=0)
    for result in report.results:
        lines += _result_lines(result, min(width, 60))
    lines.append(_summary(report, seconds))
    lines += _next(report)
    return [printable(line) for line in lines]


def _changes(changes: Sequence[FileChange]) -> list[str]:
    lines = [f"  {change.kind[0].upper()} {change.path}" for change in changes[:_SHOWN]]
    more = len(changes) - _SHOWN
    return [*lines, f"  and {more} more (--json lists all)"] if more > 0 else lines


def _left_out(left_out: Sequence[LeftOut]) -> list[str]:
    """What is not in the snapshot, by reason; things that are hardly a surprise only counted."""
    by_reason: dict[str, list[str]] = {}
    for item in left_out:
        by_reason.setdefault(item.reason, []).append(item.path)
    lines = []
    for reason, paths in by_reason.items():
        shown = ", ".join(paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        lines.append(f"left out, {reason}: {shown}{more}")
    return lines


def _result_lines(result: Result, width: int) -> list[str]:
    detail = ""
    if result.changed:
        detail = f" ({', '.join(result.changed)})"
    if result.adopted:
        detail += ", adopted: it is owned by this source from now on"
    if result.runs_restored:
        detail += f", {_count(result.runs_restored, 'scheduled run')} put back"
    lines = [f"{result.full_name:<{width}}  {result.status}{detail}"]
    if result.error is not None:
        lines += [f"    {line}" for line in redact(str(result.error)).splitlines()]
    return lines


def _summary(report: Report, seconds: float) -> str:
    counts: dict[str, int] = {}
    for result in report.results:
        counts[result.status] = counts.get(result.status, 0) + 1
    parts = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{_count(len(report.results), 'deployment')}: {parts} in {seconds:.1f} s"


def _next(report: Report) -> list[str]:
    if not report.ok:
        return ["next: mend what failed and run the same command again; it converges"]
    first = report.results[0].full_name if report.results else None
    return [f"next: prefect deployment run '{first}'"] if first else []


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _safe(value: str) -> str:
    """A path or name as JSON can carry it: bytes that are not UTF-8 are escaped."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
