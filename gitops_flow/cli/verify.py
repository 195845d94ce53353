"""``gitflow verify``: whether what is pinned on the server loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gitops_flow.cli import options, streams
from gitops_flow.cli.errors import error_document
from gitops_flow.cli.parts import Talk, count, server, server_line
from gitops_flow.cli.streams import printable
from gitops_flow.deploy import verify
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy import Which
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.deploy.verify import Finding, Verified
    from gitops_flow.model import CodeStoreSettings

_WIDEST = 60


def run(
    origin: AnySource,
    which: Which,
    environ: Mapping[str, str],
    *,
    python: str | None,
    profile: str | None,
    code_store: CodeStoreSettings,
    as_json: bool,
) -> int:
    """Look and report; the exit code is 1 when something is broken."""
    found = options.settings(origin, environ, profile=profile, code_store=code_store)
    with Talk(quiet=as_json) as talk:
        report = verify.run(origin, which, found, environ, python=python, tell=talk.say)
    if as_json:
        streams.out(json.dumps({**document(report), "server": server(found)}) + "\n")
    else:
        streams.out("\n".join([server_line(found), *text(report)]) + "\n")
    return 0 if report.ok else 1


def document(report: Verified) -> dict[str, Any]:
    """The report as ``--json`` prints it."""
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
        "error": error_document(found.error) if found.error else None,
        "not_run": list(found.not_run),
    }


def text(report: Verified) -> list[str]:
    """The report for people."""
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
