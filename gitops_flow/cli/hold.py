"""``gitflow hold`` and ``gitflow release-hold``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gitops_flow import deploy
from gitops_flow.cli import options, streams
from gitops_flow.cli.deploy import Written
from gitops_flow.cli.errors import error_document
from gitops_flow.cli.parts import next_lines, server, server_line
from gitops_flow.cli.streams import printable
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.apply import Result
    from gitops_flow.cli.options import Again
    from gitops_flow.deploy import Switched, Which
    from gitops_flow.deploy.source import AnySource


def run(
    origin: AnySource,
    which: Which,
    environ: Mapping[str, str],
    *,
    profile: str | None,
    hold: bool,
    again: Again,
    as_json: bool,
) -> int:
    """Set the hold or take it away; the exit code is 1 when one could not be written."""
    found = options.settings(origin, environ, profile=profile)
    with Written() as so_far:
        done = deploy.switch(origin, which, found, hold=hold, on_result=so_far.append)
    written = {result.full_name: result for result in done.results}
    if as_json:
        told = [
            {
                "name": name,
                "held": hold == (result is None or result.error is None),
                "changed": result is not None and result.error is None,
                "error": error_document(result.error) if result and result.error else None,
            }
            for name in done.chosen
            for result in [written.get(name)]
        ]
        streams.out(
            json.dumps({"ok": done.ok, "server": server(found), "deployments": told}) + "\n"
        )
    else:
        lines = [server_line(found)]
        lines += [_line(name, written.get(name), hold) for name in done.chosen]
        lines += _next(done, hold, again)
        streams.out("\n".join(map(printable, lines)) + "\n")
    return 0 if done.ok else 1


def _line(name: str, result: Result | None, hold: bool) -> str:
    if result is None:
        return f"{name}  {'was held already' if hold else 'was not held'}"
    if result.error is not None:
        return f"{name}  failed: {redact(result.error.message)}"
    return f"{name}  {'held' if hold else 'not held any more'}"


def _next(done: Switched, hold: bool, again: Again) -> list[str]:
    if not done.chosen:
        return [f"the server has nothing of {done.source.name}"]
    if hold:
        return ["deploys leave what is held as it is, until gitflow unhold"]
    return next_lines(again("plan"))
