"""The commands that look before, and after, a deploy: plan, diff, verify."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import typer  # noqa: TC002 - typer reads the annotations

from gitops_flow.cli import options, streams
from gitops_flow.cli.progress import Talk
from gitops_flow.errors import UsageError
from gitops_flow.report.words import printable, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy import DeployRequest, Preview
    from gitops_flow.settings import Settings

PENDING = 4
_LONGEST_PATCH = 5_000_000


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
    env: options.Env = None,
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
    against: options.Against = None,
) -> int:
    """Show what a deploy would do, value by value; change nothing."""
    given = locals()
    everything = everything or options.nothing_chosen(given)
    request = options.request(given, everything=everything)
    if against is not None:
        return _against(against, request, given)
    return show(request, given, verbose=verbose, exit_code=exit_code)


def _against(other: str, request: DeployRequest, given: Mapping[str, Any]) -> int:
    """Print how the environment of a working tree differs from another one, as written."""
    from gitops_flow.deploy.environments import compare
    from gitops_flow.report import plan as report

    if given["markdown"] or request.options.overrides:
        raise UsageError(
            "--against compares the manifest as it is written",
            hint="leave --markdown, --pool, --param and their like out",
        )
    found = compare(options.tree(given), other, request.which, strict=given["strict"])
    if given["as_json"]:
        streams.out(json.dumps({"ok": True, **report.difference_document(found)}) + "\n")
    else:
        streams.show(report.difference_text(found))
    return PENDING if given["exit_code"] and found.differs else 0


def show(
    request: DeployRequest,
    given: Mapping[str, Any],
    *,
    verbose: bool = False,
    exit_code: bool = False,
) -> int:
    """Print what a deploy would do; ``given`` are the parameters of the command that asks.

    The exit code is 4 when there is something to do and ``exit_code`` asks for
    it, 1 when the deploy would be refused.
    """
    from gitops_flow.report import facts, markdown
    from gitops_flow.report import plan as report

    settings, preview = _preview(request, given)
    if given["as_json"]:
        document = {**report.document(preview), "server": facts.server(settings)}
        streams.out(json.dumps(document) + "\n")
    elif given.get("markdown"):
        line = facts.server_line(settings)
        streams.out("\n".join(markdown.plan(preview, line, verbose=verbose)) + "\n")
    else:
        # Where nobody can be asked, only --yes works.
        again = options.Again(
            given["ctx"],
            everything=request.which.everything,
            dry_run=False,
            yes=not sys.stdin.isatty(),
        )
        lines = report.text(preview, again, verbose=verbose)
        streams.show([facts.server_line(settings), *lines])
    if preview.blocked:
        return 1
    return PENDING if exit_code and preview.pending else 0


def _preview(request: DeployRequest, given: Mapping[str, Any]) -> tuple[Settings, Preview]:
    from gitops_flow import deploy
    from gitops_flow.git.repository import Author

    settings = options.settings(request.source, given)
    with Talk(quiet=given["as_json"] or given.get("markdown", False)) as talk:
        preview = deploy.preview(
            request,
            settings,
            os.environ,
            author=Author.of(os.environ),
            policy=deploy.every_step(settings, os.environ),
            on_event=talk.event,
        )
    return settings, preview


def diff(
    names: options.Names = None,
    everything: options.Everything = False,
    name: options.NameOption = None,
    tag: options.Tags = None,
    file: options.File = None,
    env: options.Env = None,
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
    """Show what differs on the server, or between two releases."""
    given = locals()
    from gitops_flow.codestore.history import looks_like_release
    from gitops_flow.report import facts
    from gitops_flow.report import plan as report

    if as_json and patch:
        raise UsageError("--json and --patch exclude each other")
    everything = everything or options.nothing_chosen(given)
    request = options.request(given, everything=everything, create_pools=True)
    named = request.which.names
    if len(named) == 2 and all(map(looks_like_release, named)):
        try:
            return _diff_releases(request, given)
        except UsageError:
            # Deployments may be called like ids of releases, but hardly like "@1".
            if any(name.startswith("@") for name in named):
                raise
    if patch:
        raise UsageError("--patch is for two releases", hint="gitflow diff @2 @1 --patch")
    settings, preview = _preview(request, given)
    if as_json:
        document = {**report.diff_document(preview), "server": facts.server(settings)}
        streams.out(json.dumps(document) + "\n")
    else:
        streams.show([facts.server_line(settings), *report.diff_text(preview)])
    differs = preview.pending or preview.plan.orphans or preview.drift
    return PENDING if exit_code and differs else 0


def _diff_releases(request: DeployRequest, given: Mapping[str, Any]) -> int:
    """Compare the code of the two releases that are named, line by line with ``--patch``."""
    from gitops_flow.deploy.releases import releases
    from gitops_flow.report import facts

    known = releases(request.source, options.settings(request.source, given))
    one, other = map(known.find, request.which.names)
    change = known.compare(one, other)
    if given["patch"]:
        _print_patch(known.patch(one, other, _LONGEST_PATCH))
    elif given["as_json"]:
        streams.out(json.dumps({"ok": True, **facts.code_document(change)}) + "\n")
    else:
        listed = [f"  {file.kind[0].upper()} {file.path}" for file in change.files]
        streams.show(map(shown, [facts.code_text(change), *listed]))
    return PENDING if given["exit_code"] and change.files else 0


def _print_patch(patch: bytes) -> None:
    """Print a patch: to a program as it is, to a terminal without what could steer it."""
    if streams.is_terminal():
        text = patch.decode("utf-8", "surrogateescape")
        streams.show(printable(line, keep="\t") for line in text.split("\n")[:-1])
    else:
        streams.out_bytes(patch)
    if len(patch) == _LONGEST_PATCH:
        size = f"{_LONGEST_PATCH // 1_000_000} MB"
        streams.err(f"the patch is longer than {size}; gitflow checkout gives both releases\n")


def verify(
    names: options.Names = None,
    everything: options.Everything = False,
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
    python: options.Python = None,
    remote: options.Remote = None,
    pull_url: options.PullUrl = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Check out what is pinned, as a worker would, and import it."""
    given = locals()
    from gitops_flow.deploy import verify as work
    from gitops_flow.report import deploy as report
    from gitops_flow.report import facts

    source = options.tree(given)
    which = options.which(None if everything else names, everything=everything or not names)
    python = options.program(python)
    settings = options.settings(source, given)
    with Talk(quiet=as_json) as talk:
        found = work.run(source, which, settings, os.environ, python=python, tell=talk.say)
    if as_json:
        document = {**report.verified_document(found), "server": facts.server(settings)}
        streams.out(json.dumps(document) + "\n")
    else:
        lines = [facts.server_line(settings), *report.verified_text(found)]
        streams.out("\n".join(lines) + "\n")
    return 0 if found.ok else 1
