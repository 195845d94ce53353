"""The way of a deploy: check everything, snapshot, compare, build, publish, apply; in that order."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import files, prefect
from gitops_flow.deploy import choice, server, source
from gitops_flow.deploy.request import Deployed, Phase, Report, StepLine, asking, ignore
from gitops_flow.git import environment, url
from gitops_flow.model import Problem
from gitops_flow.stop import using

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy.request import DeployRequest, OnEvent
    from gitops_flow.deploy.server import Server
    from gitops_flow.deploy.source import Project
    from gitops_flow.git.repository import Author
    from gitops_flow.model import StepPolicy
    from gitops_flow.plan import Plan
    from gitops_flow.settings import Settings
    from gitops_flow.stop import Stop


def run(
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    author: Author,
    policy: StepPolicy,
    clients: prefect.Clients | None = None,
    on_event: OnEvent = ignore,
    stop: Stop | None = None,
    confirm: Callable[[Plan, Entry], None] = lambda *_: None,
) -> Report:
    """Deploy.

    Args:
        request: what to deploy.
        settings: where Prefect, the cache and the code store are.
        environ: for ``{{ $NAME }}`` in the manifest, and for git, unless that was given another
            one (:func:`gitops_flow.git.environment.using`).
        author: who deploys.
        policy: which build and push steps may run, and with which environment.
        clients: whose connections to Prefect are used; None makes one for this deploy.
        on_event: is told of each phase, of each line that build and push steps print, and of what
            became of each deployment.
        stop: ends the deploy between phases and deployments, and while it waits; the git or
            the step that runs then is ended.
        confirm: is shown what a rollback would do, and the release it goes back to, before
            anything is written; it raises to forbid it.

    Raises:
        GitflowError: something is wrong that was found before the first
            deployment was written. A write that fails is in the report instead.
        StoppedError: ``stop`` was set; the next deploy makes good what is half done.
    """
    tell = asking(on_event)
    with (
        using(stop),
        environment.unless_given(environ),
        opened(request, settings, clients, tell) as (live, project),
    ):
        from gitops_flow import apply
        from gitops_flow.deploy import build, plan, publish
        from gitops_flow.deploy.code import narrowed, read_code

        answers = live.answers(project, environ)
        tell(Phase.SNAPSHOT)
        code = read_code(project, request.options, answers, author)
        project = narrowed(project, request.which, code, answers)
        tell(Phase.COMPARE)
        planned = plan.plan_deploy(project, request, code, live, answers, policy)
        planned.refuse()
        if jobs := planned.jobs:
            tell(Phase.BUILD)
            outputs = build.run(
                project,
                request.options,
                jobs,
                answers,
                policy,
                lambda line: tell(StepLine(line)),
                code,
                author,
            )
            answers = replace(answers, outputs=outputs)
            # They may have written files.
            code = read_code(project, request.options, answers, author)
            planned = plan.plan_deploy(project, request, code, live, answers, policy)
            planned.refuse()
        unverified: tuple[Problem, ...] = ()
        if request.options.verify:
            from gitops_flow.deploy import verify

            tell(Phase.VERIFY)
            python = verify.find_python(project, request.options.python, environ)
            unverified = verify.before_publishing(code, planned.desired, python)
        if project.restored is not None and planned.plan.pending:
            confirm(planned.plan, project.restored)
        signed, signature = publish.sign(project, code, planned.plan)
        tell(Phase.PUBLISH)
        whose = project.repository.identity(author)
        overrides = request.options.overrides
        published = publish.release(
            project, overrides, code, signed, signature=signature, author=whose
        )
        for pool in planned.missing_pools:
            prefect.create_work_pool(live.client, pool)
        tell(Phase.APPLY)
        results = apply.execute(
            live.client,
            signed,
            on_result=lambda one: tell(Deployed(one)),
            fail_fast=request.options.fail_fast,
        )
        tell(Phase.CONFIRM)
        published, crossed = publish.confirm(
            project, overrides, code, signed, published, signature=signature, author=whose
        )
    return Report(
        source=project.source,
        snapshot=code.snapshot,
        published=published,
        plan=signed,
        results=tuple(results),
        warnings=(
            *planned.warnings,
            *unverified,
            *crossed,
            *reach(project.target.url, published.created),
        ),
        pools_created=planned.missing_pools,
        restored=project.restored,
        repeated=live.client.repeated,
    )


@contextlib.contextmanager
def opened(
    request: DeployRequest, settings: Settings, clients: prefect.Clients | None, tell: OnEvent
) -> Iterator[tuple[Server, Project]]:
    """The manifest, with the deployments that may be meant, and the server that is asked meanwhile.

    Raises:
        GitflowError: the settings, the manifest, the repository, or the release to go back to.
    """
    origin = request.source
    project = source.read(origin, settings, strict=request.options.strict)
    if not isinstance(origin, source.Release):
        project = choice.select(project, request)
    with server.connected(project, clients, everything=request.options.prune) as live:
        if isinstance(origin, source.Release):
            from gitops_flow.deploy import releases

            tell(Phase.HISTORY)
            project = releases.look_up(project, origin, request, live)
            if not origin.code_only:
                project = choice.select(project, request)
        yield live, project


def reach(address: str, created: bool) -> tuple[Problem, ...]:
    """A warning of a new code store on this machine that other users' workers cannot read."""
    path = url.local_path(address) if created else None
    closed = files.closed_to_others(path) if path else None
    if closed is None:
        return ()
    return (
        Problem(
            "the code store is a directory that only workers of this user can read: "
            f"{closed} is closed to others",
            hint="for other workers, deploy to a git server (‹remote›), or open the way to it",
            severity="warning",
        ),
    )
