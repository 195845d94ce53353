"""What a deploy would do. Nothing is written but the cache."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.deploy.request import Phase, Preview, asking, ignore
from gitops_flow.deploy.run import opened
from gitops_flow.git import environment
from gitops_flow.pin import Pin
from gitops_flow.stop import using

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitops_flow.codestore.changes import CodeChange
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.request import DeployRequest, OnEvent
    from gitops_flow.deploy.source import Project
    from gitops_flow.git.repository import Author
    from gitops_flow.model import Problem, StepPolicy
    from gitops_flow.plan import FieldChange, Plan
    from gitops_flow.prefect import Clients
    from gitops_flow.settings import Settings
    from gitops_flow.stop import Stop

# Snapshots that the new one is compared with, the most often pinned first.
_MOST_PINS = 3
# Seconds for a question whose answer changes nothing of the plan.
_STORE_TIMEOUT = 15.0


def preview(
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    author: Author,
    policy: StepPolicy,
    clients: Clients | None = None,
    on_event: OnEvent = ignore,
    stop: Stop | None = None,
) -> Preview:
    """Compare without doing anything; the arguments are those of :func:`gitops_flow.deploy.run`.

    Raises:
        GitflowError: the manifest has problems, or the server does not answer.
    """
    tell = asking(on_event)
    with (
        using(stop),
        environment.unless_given(environ),
        opened(request, settings, clients, tell) as (live, project),
    ):
        from gitops_flow.deploy import plan
        from gitops_flow.deploy.code import narrowed, read_code

        store = live.side.submit(_store_problem, project)
        answers = live.answers(project, environ)
        tell(Phase.SNAPSHOT)
        code = read_code(project, request.options, answers, author)
        project = narrowed(project, request.which, code, answers)
        tell(Phase.COMPARE)
        planned = plan.plan_deploy(project, request, code, live, answers, policy)
        changes, lost = _code_changes(project, code, planned.plan)
        return Preview(
            source=project.source,
            snapshot=code.snapshot,
            url=project.target.url,
            branch=project.target.branch,
            plan=_without_former_secrets(project, code, planned.plan),
            missing_pools=planned.missing_pools,
            steps=sum(bool(job.build or job.push) for job in planned.jobs.values()),
            code=changes,
            lost=lost,
            blocked=planned.refusals,
            drift=dict(_drift(planned.plan)),
            warnings=(*planned.warnings, *store.result()),
            notes=planned.notes,
            restored=project.restored,
        )


def _store_problem(project: Project) -> tuple[Problem, ...]:
    """A warning when the code store could not be asked; a deploy would fail then.

    No more than that: who looks at a plan may have no access to it.
    """
    from gitops_flow.errors import GitError
    from gitops_flow.git import remote
    from gitops_flow.model import Problem

    target = project.target
    if target.embedded:
        return ()
    try:
        remote.ls_remote(
            target.url,
            target.ref,
            auth=target.auth,
            config=project.repository.network_config(),
            timeout=_STORE_TIMEOUT,
        )
    except GitError as error:
        message = f"the code store {target.url} cannot be used now: {error.message}"
        return (Problem(message, None, hint=error.hint, severity="warning"),)
    return ()


def _code_changes(
    project: Project, code: Code, planned: Plan
) -> tuple[tuple[CodeChange, ...], tuple[str, ...]]:
    from gitops_flow.codestore import changes
    from gitops_flow.plan import Update

    counts: dict[str, int] = {}
    for action in planned.actions:
        if isinstance(action, Update) and (pinned := Pin.of(action.live.pull_steps)):
            counts[pinned.commit] = counts.get(pinned.commit, 0) + 1
    counts.pop(code.snapshot.commit, None)
    found, lost = [], []
    for commit in sorted(counts, key=lambda each: -counts[each])[:_MOST_PINS]:
        change = changes.between(code.store, project.target, commit, code.snapshot.commit)
        if change is None:
            lost.append(commit)
        else:
            found.append(change)
    return tuple(found), tuple(lost)


def _without_former_secrets(project: Project, code: Code, planned: Plan) -> Plan:
    """``planned`` with what placeholders of the manifests that are live now filled in as secret.

    Without it, a placeholder that is taken out would show what it stood for.
    """
    from gitops_flow import manifest, plan
    from gitops_flow.deploy.code import Files
    from gitops_flow.errors import GitflowError

    objects = code.store.objects()
    known: dict[str, dict[str, tuple[str, ...]]] = {}

    def before(commit: str) -> dict[str, tuple[str, ...]]:
        if commit not in known:
            fields = known[commit] = {}
            # It may have been older than the environment. Where the commit is not here, the
            # comparison of the code has fetched it, or could not.
            for environment in {project.source.environment or None, None}:
                with contextlib.suppress(GitflowError):
                    files = Files(objects, objects.commit(commit).tree)
                    data = files.read(project.source.manifest) or b""
                    read = manifest.parse(data, "prefect.yaml", environment=environment)
                    for each in read.deployments:
                        secret = manifest.secret_fields(each)
                        fields[each.name] = (*fields.get(each.name, ()), *secret)
        return known[commit]

    actions = []
    for action in planned.actions:
        live = getattr(action, "live", None)
        pinned = Pin.of(live.pull_steps) if live is not None else None
        name = live.name.removesuffix(project.source.suffix) if live is not None else ""
        fields = before(pinned.commit).get(name, ()) if pinned else ()
        actions.append(plan.told_before(action, fields))
    return replace(planned, actions=tuple(actions))


def _drift(planned: Plan) -> Iterator[tuple[str, tuple[FieldChange, ...]]]:
    from gitops_flow.plan import Unchanged, Update, drift

    for action in planned.actions:
        if isinstance(action, Update | Unchanged) and (found := drift(action.desired, action.live)):
            yield action.full_name, found
