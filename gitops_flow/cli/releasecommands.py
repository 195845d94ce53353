"""The commands about releases and their options; the modules beside it do the work."""

from __future__ import annotations

import os
import re
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated, Optional

import typer

from gitops_flow.cli import deploycommands, options
from gitops_flow.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
Release = Annotated[
    str, typer.Argument(metavar="RELEASE", help="@1 (the newest), @2 ..., or an id's beginning.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it; else only say what would be done.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (history, show, checkout, rollback, hold, unhold, gc):
        app.command()(options.spread(command))
    # Its name until 0.1.
    app.command("release-hold", hidden=True)(options.spread(unhold))


def history(
    place: options.Ledger,
    names: options.Names = None,
    everything: Annotated[
        bool, typer.Option("--all", help="The releases of every source in this code store.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many.")] = 20,
    file: options.File = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """List the releases, newest first, and what is pinned to them now."""
    from gitops_flow.cli import history as verb

    return verb.listing(
        options.tree(file),
        names or (),
        os.environ,
        profile=profile,
        code_store=options.store(place),
        everything=everything,
        limit=limit,
        as_json=as_json,
    )


def show(
    release: Release,
    place: options.Ledger,
    file: options.File = None,
    as_json: options.AsJson = False,
) -> int:
    """Show one release: whose it is, its commit, what changed with it."""
    from gitops_flow.cli import history as verb

    origin, store = options.tree(file), options.store(place)
    return verb.show(origin, os.environ, release, code_store=store, as_json=as_json)


def checkout(
    release: Release,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Must not exist.")],
    place: options.Ledger,
    file: options.File = None,
) -> int:
    """Write a release's files to a new directory, as a worker would."""
    from gitops_flow.cli import history as verb

    origin, store = options.tree(file), options.store(place)
    return verb.check_out(origin, os.environ, release, directory, code_store=store)


def rollback(
    store: options.Store,
    output: options.Output,
    named: options.Named,
    back: options.Return,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
) -> int:
    """Go back to an earlier release: its code and its configuration."""
    from gitops_flow.deploy import Release

    request = options.request(
        named,
        file=back.file,
        create_pools=back.create_pools,
        allow_missing=back.allow_missing,
        back=lambda tree: Release(tree, back.to, code_only=back.code_only, hold=back.hold),
    )
    again = options.Again(named, back, store, output)
    return deploycommands.deploy_or_show(
        request, store, output, again=again, only_show=dry_run, yes=back.yes
    )


def hold(named: options.Named, output: options.Output, located: options.Located) -> int:
    """Hold deployments as they are: deploys pass them by."""
    return _hold(named, output, located, hold=True)


def unhold(named: options.Named, output: options.Output, located: options.Located) -> int:
    """Let deploys change held deployments again."""
    return _hold(named, output, located, hold=False)


def _hold(
    named: options.Named, output: options.Output, located: options.Located, *, hold: bool
) -> int:
    from gitops_flow.cli import hold as verb

    again = options.Again(located, output)
    return verb.run(
        options.tree(located.file),
        options.which(named.names, everything=named.everything),
        os.environ,
        profile=output.profile,
        hold=hold,
        again=again,
        as_json=output.as_json,
    )


def gc(
    place: options.Ledger,
    keep: Annotated[
        int, typer.Option(min=1, metavar="N", help="Each source's newest releases stay.")
    ] = 20,
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="What is younger stays: 30d, 12h, 2w.")
    ] = "30d",
    server: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="URL", help="Another server (or profile) that uses this code store."),
    ] = None,
    yes: Yes = False,
    file: options.File = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Drop old releases that nothing pins; without --yes only say which."""
    from gitops_flow.cli import gc as verb

    return verb.run(
        options.tree(file),
        os.environ,
        profile=profile,
        servers=server or [],
        code_store=options.store(place),
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
