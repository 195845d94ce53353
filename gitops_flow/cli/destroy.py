"""``gitflow destroy``: delete what a source owns, after asking."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from gitops_flow import deploy
from gitops_flow.cli import options, streams
from gitops_flow.cli.deploy import Written, result_document, result_lines
from gitops_flow.cli.parts import count, problem_lines, server, server_line
from gitops_flow.cli.streams import printable
from gitops_flow.errors import UsageError
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy.source import AnySource
    from gitops_flow.model import Source
    from gitops_flow.plan import Plan


def run(
    origin: AnySource,
    environ: Mapping[str, str],
    *,
    profile: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Ask, delete and report; the exit code is 1 when something is left."""
    found = options.settings(origin, environ, profile=profile)

    def confirm(source: Source, planned: Plan) -> bool:
        return yes or _asked(source, planned, as_json, server_line(found))

    with Written() as written:
        done = deploy.destroy(origin, found, confirm=confirm, on_result=written.append)
    if as_json:
        told = {
            "ok": done.ok,
            "server": server(found),
            "source": {"name": done.source.name, "mark": done.source.mark},
            "deployments": [result_document(result) for result in done.results],
            "warnings": [redact(str(problem)) for problem in done.warnings],
        }
        streams.out(json.dumps(told) + "\n")
        return 0 if done.ok else 1
    width = max((len(result.full_name) for result in done.results), default=0)
    lines = [server_line(found), *problem_lines(done.warnings)]
    lines += [line for result in done.results for line in result_lines(result, min(width, 60))]
    if not done.plan.actions:
        lines.append(f"the server has nothing of {done.source.name}")
    elif not done.results:
        lines.append("nothing was deleted")
    streams.out("\n".join(map(printable, lines)) + "\n")
    return 0 if done.ok else 1


def _asked(source: Source, planned: Plan, as_json: bool, server: str) -> bool:
    names = [action.full_name for action in planned.actions]
    if as_json or not sys.stdin.isatty():
        raise UsageError(
            f"this would delete {count(len(names), 'deployment')} of {source.name}",
            hint="there is nobody to ask here: add --yes",
        )
    lines = [f"- {name}" for name in names]
    lines.append(
        f"Delete {count(len(names), 'deployment')} of {source.name} from {server} "
        "with schedules, triggers and waiting runs? The code stays in the code store."
    )
    sys.stderr.write("\n".join(map(printable, lines)) + f"\nType {source.name!r} to do it: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == source.name
