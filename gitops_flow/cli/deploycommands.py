"""The commands that deploy, or say what a deploy would do, and their options."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gitops_flow.cli import options
from gitops_flow.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for command in (deploy, plan, diff, verify, destroy):
        app.command()(command)


def deploy(
    names: options.Names = None,
    everything: options.Everything = False,
    tag: options.Tags = None,
    changed: options.Changed = False,
    file: options.File = None,
    clean: options.Clean = False,
    create_pools: options.CreatePools = False,
    adopt: options.Adopt = False,
    prune: options.Prune = False,
    force_prune: options.ForcePrune = False,
    strict: options.Strict = False,
    allow_missing: options.AllowMissing = False,
    import_flows: options.ImportFlows = False,
    python: options.Python = None,
    submodules: options.Submodules = None,
    allow_secret: options.AllowSecret = None,
    max_file_size: options.MaxFileSize = None,
    max_total_size: options.MaxTotalSize = None,
    remote: options.Remote = None,
    branch: options.Branch = None,
    pull_url: options.PullUrl = None,
    sign: options.Sign = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    fail_fast: options.FailFast = False,
    verify: options.Verify = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done, as gitflow plan.")
    ] = False,
) -> int:
    """Ship the code on disk and make the server's deployments equal to the manifest."""
    request = options.request(
        names=names,
        everything=everything,
        tag=tag,
        changed=changed,
        file=file,
        clean=clean,
        create_pools=create_pools,
        adopt=adopt,
        prune=prune,
        force_prune=force_prune,
        strict=strict,
        allow_missing=allow_missing,
        import_flows=import_flows,
        python=python,
        submodules=submodules,
        allow_secret=allow_secret,
        max_file_size=max_file_size,
        max_total_size=max_total_size,
        fail_fast=fail_fast,
        verify=verify,
    )
    store = options.store(remote, branch, pull_url, sign)
    if dry_run:
        from gitops_flow.cli import plan as preview

        return preview.run(request, os.environ, profile=profile, code_store=store, as_json=as_json)
    from gitops_flow.cli import deploy as verb

    return verb.run(request, os.environ, profile=profile, code_store=store, as_json=as_json)


def plan(
    names: options.Names = None,
    everything: options.Everything = False,
    tag: options.Tags = None,
    changed: options.Changed = False,
    file: options.File = None,
    clean: options.Clean = False,
    create_pools: options.CreatePools = False,
    adopt: options.Adopt = False,
    prune: options.Prune = False,
    force_prune: options.ForcePrune = False,
    strict: options.Strict = False,
    allow_missing: options.AllowMissing = False,
    import_flows: options.ImportFlows = False,
    python: options.Python = None,
    submodules: options.Submodules = None,
    allow_secret: options.AllowSecret = None,
    max_file_size: options.MaxFileSize = None,
    max_total_size: options.MaxTotalSize = None,
    remote: options.Remote = None,
    branch: options.Branch = None,
    pull_url: options.PullUrl = None,
    sign: options.Sign = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    markdown: options.Markdown = False,
    exit_code: options.ExitCode = False,
) -> int:
    """Show what a deploy would do, value by value; change nothing."""
    from gitops_flow.cli import plan as verb

    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other")
    request = options.request(
        names=names,
        everything=everything or not (names or tag),
        tag=tag,
        changed=changed,
        file=file,
        clean=clean,
        create_pools=create_pools,
        adopt=adopt,
        prune=prune,
        force_prune=force_prune,
        strict=strict,
        allow_missing=allow_missing,
        import_flows=import_flows,
        python=python,
        submodules=submodules,
        allow_secret=allow_secret,
        max_file_size=max_file_size,
        max_total_size=max_total_size,
    )
    return verb.run(
        request,
        os.environ,
        profile=profile,
        code_store=options.store(remote, branch, pull_url, sign),
        as_json=as_json,
        markdown=markdown,
        exit_code=exit_code,
    )


def diff(
    names: options.Names = None,
    everything: options.Everything = False,
    tag: options.Tags = None,
    file: options.File = None,
    clean: options.Clean = False,
    adopt: options.Adopt = False,
    strict: options.Strict = False,
    allow_missing: options.AllowMissing = False,
    import_flows: options.ImportFlows = False,
    python: options.Python = None,
    submodules: options.Submodules = None,
    allow_secret: options.AllowSecret = None,
    max_file_size: options.MaxFileSize = None,
    max_total_size: options.MaxTotalSize = None,
    remote: options.Remote = None,
    branch: options.Branch = None,
    pull_url: options.PullUrl = None,
    sign: options.Sign = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
    exit_code: options.ExitCode = False,
) -> int:
    """Show who differs from the manifest on the server; or, of two releases, their code."""
    from gitops_flow.cli import diff as verb

    request = options.request(
        names=names,
        everything=everything or not (names or tag),
        tag=tag,
        file=file,
        clean=clean,
        adopt=adopt,
        strict=strict,
        allow_missing=allow_missing,
        import_flows=import_flows,
        python=python,
        submodules=submodules,
        allow_secret=allow_secret,
        max_file_size=max_file_size,
        max_total_size=max_total_size,
        create_pools=True,
    )
    return verb.run(
        request,
        os.environ,
        profile=profile,
        code_store=options.store(remote, branch, pull_url, sign),
        as_json=as_json,
        exit_code=exit_code,
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
    """Check out what is pinned on the server as a worker would, and import it; change nothing."""
    from gitops_flow.cli import verify as verb

    request = options.request(file=file, names=None if everything else names, python=python)
    return verb.run(
        request,
        os.environ,
        profile=profile,
        code_store=options.store(remote, None, pull_url),
        as_json=as_json,
    )


def destroy(
    file: options.File = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Delete every deployment of this source from the server; the code store stays."""
    from gitops_flow.cli import destroy as verb

    return verb.run(
        options.request(file=file), os.environ, profile=profile, yes=yes, as_json=as_json
    )
