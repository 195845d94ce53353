"""The commands that deploy, or say what a deploy would do, and their options."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops_flow.cli import options
from gitops_flow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy import DeployRequest


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (deploy, plan, diff, verify, destroy, trust):
        app.command()(command)


def deploy(
    ctx: typer.Context,
    names: options.Names = None,
    everything: options.Everything = False,
    name: options.NameOption = None,
    tag: options.Tags = None,
    changed: options.Changed = False,
    create_pools: options.CreatePools = False,
    adopt: options.Adopt = False,
    prune: options.Prune = False,
    force_prune: options.ForcePrune = False,
    atomic: options.Atomic = None,
    file: options.File = None,
    suffix: options.Suffix = None,
    clean: options.Clean = False,
    submodules: options.Submodules = None,
    ignore_submodule: options.IgnoreSubmodule = None,
    lfs: options.Lfs = None,
    ci_files: options.CiFiles = None,
    allow_secret: options.AllowSecret = None,
    max_file_size: options.MaxFileSize = None,
    max_total_size: options.MaxTotalSize = None,
    strict: options.Strict = False,
    allow_missing: options.AllowMissing = False,
    import_flows: options.ImportFlows = False,
    python: options.Python = None,
    remote: options.Remote = None,
    branch: options.Branch = None,
    pull_url: options.PullUrl = None,
    sign: options.Sign = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    fail_fast: options.FailFast = False,
    verify: options.Verify = False,
    pool: options.Pool = None,
    work_queue: options.WorkQueue = None,
    param: options.Param = None,
    params: options.Params = None,
    job_variable: options.JobVariable = None,
    cron: options.Cron = None,
    interval: options.Interval = None,
    rrule: options.RRule = None,
    timezone: options.Timezone = None,
    version: options.Version = None,
    description: options.Description = None,
    set_tag: options.SetTag = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done, as gitflow plan.")
    ] = False,
) -> int:
    """Ship the code on disk and make the server equal to the manifest."""
    given = locals()
    # What differs is a choice, too.
    everything = everything or (changed and _nothing_chosen(given))
    request = options.request(given, everything=everything)
    return deploy_or_show(request, given, only_show=dry_run)


def deploy_or_show(
    request: DeployRequest, given: Mapping[str, Any], *, only_show: bool, yes: bool = False
) -> int:
    """Carry the request out, or only show what that would do.

    ``given`` are the command's parameters; ``yes`` says that nobody is to be asked.
    """
    from gitops_flow.cli import deploy, plan

    common: dict[str, Any] = {
        "profile": given["profile"],
        "code_store": options.store(given),
        "again": options.Again(given["ctx"], everything=request.which.everything, dry_run=False),
        "as_json": given["as_json"],
    }
    if only_show:
        return plan.run(request, os.environ, **common)
    return deploy.run(request, os.environ, yes=yes, **common)


def plan(
    ctx: typer.Context,
    names: options.Names = None,
    everything: options.Everything = False,
    name: options.NameOption = None,
    tag: options.Tags = None,
    changed: options.Changed = False,
    create_pools: options.CreatePools = False,
    adopt: options.Adopt = False,
    prune: options.Prune = False,
    force_prune: options.ForcePrune = False,
    atomic: options.Atomic = None,
    file: options.File = None,
    suffix: options.Suffix = None,
    clean: options.Clean = False,
    submodules: options.Submodules = None,
    ignore_submodule: options.IgnoreSubmodule = None,
    lfs: options.Lfs = None,
    ci_files: options.CiFiles = None,
    allow_secret: options.AllowSecret = None,
    max_file_size: options.MaxFileSize = None,
    max_total_size: options.MaxTotalSize = None,
    strict: options.Strict = False,
    allow_missing: options.AllowMissing = False,
    import_flows: options.ImportFlows = False,
    python: options.Python = None,
    pool: options.Pool = None,
    work_queue: options.WorkQueue = None,
    param: options.Param = None,
    params: options.Params = None,
    job_variable: options.JobVariable = None,
    cron: options.Cron = None,
    interval: options.Interval = None,
    rrule: options.RRule = None,
    timezone: options.Timezone = None,
    version: options.Version = None,
    description: options.Description = None,
    set_tag: options.SetTag = None,
    remote: options.Remote = None,
    branch: options.Branch = None,
    pull_url: options.PullUrl = None,
    sign: options.Sign = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    markdown: options.Markdown = False,
    verbose: options.Verbose = False,
    exit_code: options.ExitCode = False,
) -> int:
    """Show what a deploy would do, value by value; change nothing."""
    given = locals()
    from gitops_flow.cli import plan as verb

    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other")
    everything = everything or _nothing_chosen(given)
    return verb.run(
        options.request(given, everything=everything),
        os.environ,
        profile=profile,
        code_store=options.store(given),
        again=options.Again(ctx, everything=everything),
        as_json=as_json,
        markdown=markdown,
        verbose=verbose,
        exit_code=exit_code,
    )


def diff(
    ctx: typer.Context,
    names: options.Names = None,
    everything: options.Everything = False,
    name: options.NameOption = None,
    tag: options.Tags = None,
    file: options.File = None,
    suffix: options.Suffix = None,
    clean: options.Clean = False,
    submodules: options.Submodules = None,
    ignore_submodule: options.IgnoreSubmodule = None,
    lfs: options.Lfs = None,
    ci_files: options.CiFiles = None,
    allow_secret: options.AllowSecret = None,
    max_file_size: options.MaxFileSize = None,
    max_total_size: options.MaxTotalSize = None,
    strict: options.Strict = False,
    allow_missing: options.AllowMissing = False,
    import_flows: options.ImportFlows = False,
    python: options.Python = None,
    remote: options.Remote = None,
    branch: options.Branch = None,
    pull_url: options.PullUrl = None,
    sign: options.Sign = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    adopt: options.Adopt = False,
    exit_code: options.ExitCode = False,
    patch: options.Patch = False,
) -> int:
    """Show what differs on the server; or, of two releases, their code."""
    given = locals()
    from gitops_flow.cli import diff as verb

    if as_json and patch:
        raise UsageError("--json and --patch exclude each other")
    everything = everything or _nothing_chosen(given)
    return verb.run(
        options.request(given, everything=everything, create_pools=True),
        os.environ,
        profile=profile,
        code_store=options.store(given),
        as_json=as_json,
        exit_code=exit_code,
        patch=patch,
    )


def verify(
    names: options.Names = None,
    everything: options.Everything = False,
    file: options.File = None,
    suffix: options.Suffix = None,
    python: options.Python = None,
    remote: options.Remote = None,
    pull_url: options.PullUrl = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Check out what is pinned, as a worker would, and import it."""
    given = locals()
    from gitops_flow.cli import verify as verb

    return verb.run(
        options.tree(given),
        options.which(None if everything else names, everything=everything or not names),
        os.environ,
        python=options.program(python),
        profile=profile,
        code_store=options.store(given),
        as_json=as_json,
    )


def destroy(
    file: options.File = None,
    suffix: options.Suffix = None,
    yes: options.Yes = False,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Delete every deployment of this source; the code store stays."""
    given = locals()
    from gitops_flow.cli import destroy as verb

    origin = options.tree(given, may_be_gone=suffix is not None)
    return verb.run(origin, os.environ, profile=profile, yes=yes, as_json=as_json)


def trust(
    address: Annotated[
        str | None,
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
        options.tree({"file": file}),
        os.environ,
        address=address,
        profile=profile,
        how="list" if list_ else "remove" if remove else "add",
    )


def _nothing_chosen(given: Mapping[str, Any]) -> bool:
    return not (given["names"] or given["name"] or given["tag"])
