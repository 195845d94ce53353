"""The commands about releases and their options; the modules beside it do the work."""

from __future__ import annotations

import os
import re
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops_flow.cli import deploycommands, options
from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
Release = Annotated[
    str, typer.Argument(metavar="RELEASE", help="@1 (the newest), @2 ..., or an id's beginning.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it; else only say what would be done.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (history, show, checkout, rollback, hold, unhold, gc):
        app.command()(command)
    # Its name until 0.1.
    app.command("release-hold", hidden=True)(unhold)


def history(
    remote: options.Remote = None,
    branch: options.Branch = None,
    names: options.Names = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The releases of every source in this code store.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many.")] = 20,
    file: options.File = None,
    suffix: options.Suffix = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """List the releases, newest first, and what is pinned to them now."""
    given = locals()
    from gitops_flow.cli import history as verb

    return verb.listing(
        options.tree(given),
        names or (),
        os.environ,
        profile=profile,
        code_store=options.store(given),
        everything=everything,
        limit=limit,
        as_json=as_json,
    )


def show(
    release: Release,
    remote: options.Remote = None,
    branch: options.Branch = None,
    file: options.File = None,
    suffix: options.Suffix = None,
    as_json: options.AsJson = False,
) -> int:
    """Show one release: whose it is, its commit, what changed with it."""
    given = locals()
    from gitops_flow.cli import history as verb

    origin, store = options.tree(given), options.store(given)
    return verb.show(origin, os.environ, release, code_store=store, as_json=as_json)


def checkout(
    release: Release,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Must not exist.")],
    remote: options.Remote = None,
    branch: options.Branch = None,
    file: options.File = None,
    suffix: options.Suffix = None,
) -> int:
    """Write a release's files to a new directory, as a worker would."""
    given = locals()
    from gitops_flow.cli import history as verb

    origin, store = options.tree(given), options.store(given)
    return verb.check_out(origin, os.environ, release, directory, code_store=store)


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
    return deploycommands.deploy_or_show(request, given, only_show=dry_run, yes=yes)


def hold(
    ctx: typer.Context,
    names: options.Names = None,
    everything: options.Everything = False,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    file: options.File = None,
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
    suffix: options.Suffix = None,
) -> int:
    """Let deploys change held deployments again."""
    return _hold(locals(), hold=False)


def _hold(given: Mapping[str, Any], *, hold: bool) -> int:
    from gitops_flow.cli import hold as verb

    return verb.run(
        options.tree(given),
        options.which(given["names"], everything=given["everything"]),
        os.environ,
        profile=given["profile"],
        hold=hold,
        again=options.Again(given["ctx"], names=(), everything=False),
        as_json=given["as_json"],
    )


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
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Drop old releases that nothing pins; without --yes only say which."""
    given = locals()
    from gitops_flow.cli import gc as verb

    return verb.run(
        options.tree(given),
        os.environ,
        profile=profile,
        servers=server or [],
        code_store=options.store(given),
        keep=keep,
        older_than=age(older_than),
        really=yes,
        as_json=as_json,
    )


def age(text: str) -> float:
    """Seconds from ``30d``, ``12h``, ``2w``, ``90m`` or ``10s``.

    Raises:
        UsageError: it is none of these.
    """
    found = re.fullmatch(r"(\d{1,6})\s*([smhdw])", text.strip().lower())
    if not found:
        raise UsageError(f"--older-than: {text!r} is not an age", hint="write 30d, 12h or 2w")
    return float(found[1]) * _UNITS[found[2]]
