"""``gitflow diff``: who differs from the manifest on the server, and in what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gitops_flow import deploy, plan
from gitops_flow.cli import history, options, streams
from gitops_flow.cli.parts import Talk, count, problem_lines, server, server_line
from gitops_flow.cli.plan import PENDING, action_lines, document, left_alone_lines
from gitops_flow.cli.streams import printable
from gitops_flow.errors import UsageError
from gitops_flow.git.repository import Author

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy import DeployRequest, Preview
    from gitops_flow.model import CodeStoreSettings

_WORDS = {
    plan.Create: "missing",
    plan.Update: "differs",
    plan.Conflict: "another source's",
    plan.Held: "held",
}


def run(
    request: DeployRequest,
    environ: Mapping[str, str],
    *,
    profile: str | None,
    code_store: CodeStoreSettings,
    as_json: bool = False,
    exit_code: bool = False,
    patch: bool = False,
) -> int:
    """Print the differences; the exit code is 4 when there are some and ``exit_code`` asks."""
    if history.are_releases(request.which.names):
        try:
            return history.diff(
                request.source,
                request.which.names,
                environ,
                code_store=code_store,
                as_json=as_json,
                exit_code=exit_code,
                patch=patch,
            )
        except UsageError:
            # Deployments may be called like ids of releases, but hardly like "@1".
            if any(name.startswith("@") for name in request.which.names):
                raise
    if patch:
        raise UsageError("--patch is for two releases", hint="gitflow diff @2 @1 --patch")
    found = options.settings(request.source, environ, profile=profile, code_store=code_store)
    with Talk(quiet=as_json) as talk:
        author = Author.of(environ)
        policy = deploy.every_step(found, environ)
        preview = deploy.preview(
            request, found, environ, author=author, policy=policy, on_event=talk.event
        )
    if as_json:
        streams.out(json.dumps({**_document(preview), "server": server(found)}) + "\n")
    else:
        streams.show([server_line(found), *text(preview)])
    differs = preview.pending or preview.plan.orphans or preview.drift
    return PENDING if exit_code and differs else 0


def _document(preview: Preview) -> dict[str, Any]:
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


def text(preview: Preview) -> list[str]:
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
