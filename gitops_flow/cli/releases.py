"""The commands about releases: history, show, checkout, rollback, hold, unhold, gc."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops_flow.cli import deploy, errors, options, plan, streams
from gitops_flow.errors import UsageError
from gitops_flow.report.words import count, fitted, next_lines, printable, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy import Switched
    from gitops_flow.deploy.releases import Releases
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.model import PrefectConnection, Problem

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
Release = Annotated[
    str, typer.Argument(metavar="RELEASE", help="@1 (the newest), @2 ..., or an id's beginning.")
]
# Columns of a line at the least.
_NARROWEST = 40
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it; else only say what would be done.")]


def history(
    remote: options.Remote = None,
    branch: options.Branch = None,
    names: options.Names = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The releases of every source in this code store.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many.")] = 20,
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """List the releases, newest first, and what is pinned to them now."""
    given = locals()
    from gitops_flow.deploy.releases import releases
    from gitops_flow.redact import redact
    from gitops_flow.report import facts
    from gitops_flow.report import releases as report

    tree = options.tree(given)
    settings = options.settings(tree, given)
    known = releases(tree, settings, everything=everything, live=True)
    now, warnings = known.pinned_now(), _not_asked(known)
    chosen = known.of(names or ())
    listed = [(entry, known.signer(entry)) for entry in chosen[:limit]]
    if as_json:
        told = [
            {
                **report.document(entry, signer),
                "pinned_now": None if now is None else now.get(entry.id, []),
            }
            for entry, signer in listed
        ]
        said_too = [redact(str(each)) for each in warnings]
        whole = {"ok": True, "total": len(chosen), "releases": told, "warnings": said_too}
        whole["server"] = facts.server(settings) if settings.prefect else None
        streams.out(json.dumps(whole) + "\n")
        return 0
    width = max(shutil.get_terminal_size().columns, _NARROWEST)
    lines = [
        fitted(shown(line), width)
        for entry, signer in listed
        for line in report.rows(known, entry, signer, (now or {}).get(entry.id, []), width)
    ]
    lines[:0] = [facts.server_line(settings)] if lines and now is not None else []
    more = len(chosen) - len(listed)
    lines += [f"and {more} older (--limit N)"] if more else []
    lines += facts.problem_lines(warnings) if chosen else []
    lines = lines or ["there is no release yet; gitflow deploy --all makes one"]
    streams.show(map(shown, lines))
    return 0


def _not_asked(known: Releases) -> list[Problem]:
    """A warning when the server did not say what is pinned; the list is as good without it."""
    from gitops_flow.model import Problem

    error = known.live.problem
    if error is None:
        return []
    place = f"{error.where}: " if error.where else ""
    message = f"it is not known which releases are pinned now: {place}{error.message}"
    return [Problem(message, None, hint=error.hint, severity="warning")]


def show(
    release: Release,
    remote: options.Remote = None,
    branch: options.Branch = None,
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
    as_json: options.AsJson = False,
) -> int:
    """Show one release: whose it is, its commit, what changed with it."""
    given = locals()
    from gitops_flow.deploy.releases import releases
    from gitops_flow.report import facts
    from gitops_flow.report import releases as report

    tree = options.tree(given)
    known = releases(tree, options.settings(tree, given))
    entry = known.find(release)
    signer, previous = known.signer(entry), known.before(entry)
    change = known.compare(previous, entry) if previous else None
    if as_json:
        told = {"ok": True, **report.document(entry, signer)}
        told["changed"] = facts.code_document(change) if change else None
        streams.out(json.dumps(told) + "\n")
    else:
        streams.show(map(shown, report.text(entry, signer, change)))
    return 0


def checkout(
    release: Release,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Must not exist.")],
    remote: options.Remote = None,
    branch: options.Branch = None,
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
) -> int:
    """Write a release's files to a new directory, as a worker would."""
    given = locals()
    from gitops_flow.deploy.releases import check_out, releases

    tree = options.tree(given)
    known = releases(tree, options.settings(tree, given))
    entry = known.find(release)
    files = count(check_out(known, entry, directory), "file")
    streams.show([shown(f"{files} of release {entry.id[:12]} in {directory}")])
    return 0


def rollback(
    ctx: typer.Context,
    remote: options.Remote = None,
    branch: options.Branch = None,
    pull_url: options.PullUrl = None,
    sign: options.Sign = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    names: options.Names = None,
    everything: options.Everything = False,
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
    to: options.To = None,
    code_only: options.CodeOnly = False,
    hold: options.HoldThere = False,
    create_pools: options.CreatePools = False,
    allow_missing: options.AllowMissing = False,
    yes: options.Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
) -> int:
    """Go back to an earlier release: its code and its configuration."""
    given = locals()
    from gitops_flow.deploy import Release

    request = options.request(
        given, back=lambda tree: Release(tree, to, code_only=code_only, hold=hold)
    )
    return plan.show(request, given) if dry_run else deploy.run(request, given, yes=yes)


def hold(
    ctx: typer.Context,
    names: options.Names = None,
    everything: options.Everything = False,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
) -> int:
    """Hold deployments as they are: deploys pass them by."""
    return _hold(locals(), hold=True)


def unhold(
    ctx: typer.Context,
    names: options.Names = None,
    everything: options.Everything = False,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
) -> int:
    """Let deploys change held deployments again."""
    return _hold(locals(), hold=False)


def _hold(given: Mapping[str, Any], *, hold: bool) -> int:
    """Set the hold or take it away; the exit code is 1 when one could not be written."""
    from gitops_flow.deploy import switch
    from gitops_flow.redact import redact
    from gitops_flow.report import facts
    from gitops_flow.report.errors import document as error_document

    tree = options.tree(given)
    which = options.which(given["names"], everything=given["everything"])
    settings = options.settings(tree, given)
    with errors.Written() as so_far:
        done = switch(tree, which, settings, hold=hold, on_result=so_far.append)
    failed = {each.full_name: each.error for each in done.results if each.error}
    written = {each.full_name for each in done.results} - failed.keys()
    if given["as_json"]:
        told = [
            {
                "name": name,
                "held": hold == (name not in failed),
                "changed": name in written,
                "error": error_document(failed[name]) if name in failed else None,
            }
            for name in done.chosen
        ]
        document = {"ok": done.ok, "server": facts.server(settings), "deployments": told}
        streams.out(json.dumps(document) + "\n")
        return 0 if done.ok else 1
    states = ("was held already", "held") if hold else ("was not held", "not held any more")
    lines = [facts.server_line(settings)]
    for name in done.chosen:
        error = failed.get(name)
        state = f"failed: {redact(error.message)}" if error else states[name in written]
        lines.append(f"{name}  {state}")
    lines += _next(done, hold, options.Again(given["ctx"], names=(), everything=False))
    streams.out("\n".join(map(printable, lines)) + "\n")
    return 0 if done.ok else 1


def _next(done: Switched, hold: bool, again: options.Again) -> list[str]:
    if not done.chosen:
        return [f"the server has nothing of {done.source.name}"]
    if hold:
        return ["deploys leave what is held as it is, until gitflow unhold"]
    return next_lines(again("plan"))


def gc(
    remote: options.Remote = None,
    branch: options.Branch = None,
    keep: Annotated[
        int, typer.Option(min=1, metavar="N", help="Each source's newest releases stay.")
    ] = 20,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="What is younger stays: 30d, 12h, 2w.")
    ] = "30d",
    server: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Another server (or profile) that uses this code store."),
    ] = None,
    yes: Yes = False,
    file: options.File = None,
    env: options.Env = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Drop old releases that nothing pins; without --yes list them."""
    given = locals()
    from gitops_flow.deploy.gc import collect
    from gitops_flow.report import releases as report

    seconds = age(older_than)
    tree = options.tree(given)
    settings = options.settings(tree, given)
    more = [_connection(name, tree) for name in server or ()]
    done = collect(tree, settings, more, keep=keep, older_than=seconds, really=yes)
    if as_json:
        streams.out(json.dumps(report.dropped_document(done)) + "\n")
    else:
        streams.out("\n".join(map(shown, report.dropped_text(done, yes))) + "\n")
    return 0


def _connection(name: str, source: AnySource) -> PrefectConnection:
    """A server by its address, or by the name of a profile that has its credentials."""
    from gitops_flow.model import PrefectConnection

    if name.lower().startswith(("http://", "https://")):
        return PrefectConnection(api_url=name.rstrip("/"))
    # What the environment says of a server is about another one.
    own = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_API_")}
    return options.settings(source, {"profile": name}, own).require_prefect()


def age(text: str) -> float:
    """Seconds from ``30d``, ``12h``, ``2w``, ``90m`` or ``10s``.

    Raises:
        UsageError: it is none of these.
    """
    found = re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip().lower())
    if not found:
        raise UsageError(f"--older-than: {text!r} is not an age", hint="write 30d, 12h or 2w")
    return float(found[1]) * _UNITS[found[2]]
