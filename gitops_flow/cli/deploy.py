"""The commands that write to the server what a source says, or take it away: deploy, destroy."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gitops_flow.cli import errors, options, plan, streams
from gitops_flow.cli.progress import Talk, elapsed
from gitops_flow.errors import GitflowError, UsageError
from gitops_flow.redact import redact
from gitops_flow.report.words import count, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy import DeployRequest, Event
    from gitops_flow.model import Source
    from gitops_flow.plan import Plan


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
    markdown: options.Markdown = False,
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
    everything = everything or (changed and options.nothing_chosen(given))
    request = options.request(given, everything=everything)
    return plan.show(request, given) if dry_run else run(request, given)


def run(request: DeployRequest, given: Mapping[str, Any], *, yes: bool = False) -> int:
    """Deploy and report; the exit code is 1 when a deployment could not be written.

    ``given`` are the command's parameters; ``yes`` says that nobody is to be asked.
    """
    from gitops_flow import deploy
    from gitops_flow.git.repository import Author
    from gitops_flow.report import deploy as report
    from gitops_flow.report import facts, markdown

    started = time.monotonic()
    settings = options.settings(request.source, given)
    as_json = given["as_json"]
    quiet = as_json or given.get("markdown", False)
    with errors.Written() as written, Talk(quiet=quiet) as talk:

        def confirm(planned: Plan, release: Entry) -> None:
            if not yes:
                talk.clear()
                _ask(planned, release, as_json)

        def tell(event: Event) -> None:
            talk.event(event)
            if isinstance(event, deploy.Deployed):
                written.append(event.result)

        done = deploy.run(
            request,
            settings,
            os.environ,
            author=Author.of(os.environ),
            policy=deploy.every_step(settings, os.environ),
            confirm=confirm,
            on_event=tell,
        )
    seconds = elapsed(started)
    if as_json:
        document = {**report.document(done, seconds), "server": facts.server(settings)}
        streams.out(json.dumps(document) + "\n")
    elif given.get("markdown"):
        lines = markdown.deploy(done, seconds, facts.server_line(settings))
        streams.out("\n".join(lines) + "\n")
    else:
        again = options.Again(given["ctx"], everything=request.which.everything)
        lines = report.text(done, seconds, again=again, profile=given["profile"])
        streams.show([facts.server_line(settings), *lines])
    return 0 if done.ok else 1


def _ask(planned: Plan, release: Entry, as_json: bool) -> None:
    """Have a person say yes to going back.

    Raises:
        UsageError: nobody is there to be asked.
        GitflowError: the answer is another one.
    """
    what = count(len(planned.writes), "deployment")
    whither = f"release {release.id[:12]} of {release.origin.author}"
    if as_json or not sys.stdin.isatty():
        raise UsageError(
            f"this would take {what} back to {whither}",
            hint="there is nobody to ask here: add --yes (--dry-run shows what would change)",
        )
    lines = [f"~ {action.full_name}" for action in planned.writes]
    sys.stderr.write("\n".join(map(printable, lines)) + "\n")
    sys.stderr.write(printable(f"Take {what} back to {whither}? [y/N] "))
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise GitflowError("nothing was changed: the answer was not yes")


def destroy(
    file: options.File = None,
    env: options.Env = None,
    suffix: options.Suffix = None,
    yes: options.Yes = False,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> int:
    """Delete every deployment of this source; the code store stays."""
    given = locals()
    from gitops_flow import deploy
    from gitops_flow.report import facts
    from gitops_flow.report.deploy import result_document, results_text

    tree = options.tree(given, may_be_gone=suffix is not None)
    settings = options.settings(tree, given)

    def confirm(source: Source, planned: Plan) -> bool:
        return yes or _asked(source, planned, as_json, facts.server_line(settings))

    with errors.Written() as written:
        done = deploy.destroy(tree, settings, confirm=confirm, on_result=written.append)
    if as_json:
        told = {
            "ok": done.ok,
            "server": facts.server(settings),
            "source": {"name": done.source.name, "mark": done.source.mark},
            "deployments": [result_document(result) for result in done.results],
            "warnings": [redact(str(problem)) for problem in done.warnings],
        }
        streams.out(json.dumps(told) + "\n")
        return 0 if done.ok else 1
    lines = [facts.server_line(settings), *facts.problem_lines(done.warnings)]
    lines += results_text(done.results)
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
