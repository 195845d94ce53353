"""The commands that deploy, or say what a deploy would do, and their options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from gitops_flow.cli import options
from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from gitops_flow.deploy import DeployRequest


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (deploy, plan, diff, verify, destroy, trust):
        app.command()(options.spread(command))


def deploy(
    selection: options.Selection,
    extent: options.Extent,
    working: options.Working,
    reading: options.Reading,
    store: options.Store,
    output: options.Output,
    care: options.Care,
    over: options.Overriding,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done, as gitflow plan.")
    ] = False,
) -> int:
    """Ship the code on disk and make the server equal to the manifest."""
    # What differs is a choice, too.
    chosen = _all_unless_chosen(selection) if extent.changed else selection
    groups = (chosen, extent, working, reading, care)
    request = options.request(*groups, overrides=options.overrides(over))
    again = options.Again(*groups, over, store, output)
    return deploy_or_show(request, store, output, again=again, only_show=dry_run)


def deploy_or_show(
    request: DeployRequest,
    store: options.Store,
    output: options.Output,
    *,
    again: options.Again,
    only_show: bool,
    yes: bool = False,
) -> int:
    """Carry the request out, or only show what that would do.

    ``again`` is the command line; ``yes`` says that nobody is to be asked.
    """
    from gitops_flow.cli import deploy, plan

    given: dict[str, Any] = {
        "profile": output.profile,
        "code_store": options.store(store),
        "again": again,
        "as_json": output.as_json,
    }
    if only_show:
        return plan.run(request, os.environ, **given)
    return deploy.run(request, os.environ, yes=yes, **given)


def plan(
    selection: options.Selection,
    extent: options.Extent,
    working: options.Working,
    reading: options.Reading,
    over: options.Overriding,
    store: options.Store,
    output: options.Output,
    markdown: options.Markdown = False,
    verbose: options.Verbose = False,
    exit_code: options.ExitCode = False,
) -> int:
    """Show what a deploy would do, value by value; change nothing."""
    from gitops_flow.cli import plan as verb

    if output.as_json and markdown:
        raise UsageError("--json and --markdown exclude each other")
    groups = (_all_unless_chosen(selection), extent, working, reading)
    return verb.run(
        options.request(*groups, overrides=options.overrides(over)),
        os.environ,
        profile=output.profile,
        code_store=options.store(store),
        again=options.Again(*groups, over, store, output),
        as_json=output.as_json,
        markdown=markdown,
        verbose=verbose,
        exit_code=exit_code,
    )


def diff(
    selection: options.Selection,
    working: options.Working,
    reading: options.Reading,
    store: options.Store,
    output: options.Output,
    adopt: options.Adopt = False,
    exit_code: options.ExitCode = False,
    patch: options.Patch = False,
) -> int:
    """Show what differs on the server; or, of two releases, their code."""
    from gitops_flow.cli import diff as verb

    if output.as_json and patch:
        raise UsageError("--json and --patch exclude each other")
    chosen = _all_unless_chosen(selection)
    return verb.run(
        options.request(chosen, working, reading, adopt=adopt, create_pools=True),
        os.environ,
        profile=output.profile,
        code_store=options.store(store),
        as_json=output.as_json,
        exit_code=exit_code,
        patch=patch,
    )


def verify(
    names: options.Names = None,
    everything: options.Everything = False,
    file: options.File = None,
    python: options.Python = None,
    remote: options.Remote = None,
    pull_url: options.PullUrl = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Check out what is pinned, as a worker would, and import it."""
    from gitops_flow.cli import verify as verb

    return verb.run(
        options.tree(file),
        options.which(None if everything else names, everything=everything or not names),
        os.environ,
        python=options.program(python),
        profile=profile,
        code_store=options.store(options.Store(remote=remote, pull_url=pull_url)),
        as_json=as_json,
    )


def destroy(
    file: options.File = None,
    yes: options.Yes = False,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Delete every deployment of this source; the code store stays."""
    from gitops_flow.cli import destroy as verb

    return verb.run(options.tree(file), os.environ, profile=profile, yes=yes, as_json=as_json)


def trust(
    address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="[ADDRESS]", help="The server; default: the one that is named."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list what is trusted.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Trust ADDRESS no more.")] = False,
    file: options.File = None,
    profile: options.Profile = None,
) -> int:
    """Let this project's files send Prefect credentials to a server."""
    from gitops_flow.cli import trust as verb

    if list_ and (address or remove):
        raise UsageError("--list takes no address and no --remove")
    return verb.run(
        options.tree(file),
        os.environ,
        address=address,
        profile=profile,
        how="list" if list_ else "remove" if remove else "add",
    )


def _all_unless_chosen(selection: options.Selection) -> options.Selection:
    """To show everything needs no ``--all``."""
    chosen = selection.everything or not (selection.names or selection.name or selection.tag)
    return options.Selection(**selection.given() | {"everything": chosen})
