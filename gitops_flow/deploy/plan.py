"""What a deploy would write: the manifest against the server, and what forbids to carry it out."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import manifest, plan
from gitops_flow.codestore.lfs import LEFT_OUT
from gitops_flow.deploy import build, paths, publish, refs, releases
from gitops_flow.deploy.code import pin_of, version
from gitops_flow.deploy.request import Refusal
from gitops_flow.deploy.source import Release
from gitops_flow.errors import ManifestError, RefusedError
from gitops_flow.manifest.wording import quoted
from gitops_flow.model import Problem
from gitops_flow.pin import Pin
from gitops_flow.plan import ownership
from gitops_flow.plan import pointer as pointing
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gitops_flow.buildsteps import Job
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.request import DeployRequest, Options
    from gitops_flow.deploy.server import Server
    from gitops_flow.deploy.source import Project
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Deployment, StepPolicy

# Of several reasons the last of these is the one that all of it waits for.
_HARDEST = ("time", "server", "new commit", "never")


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with what it was made from, and the steps that run first. Nothing was written so far.

    ``jobs`` are from :func:`gitops_flow.deploy.build.jobs`.
    """

    desired: tuple[Deployment, ...]
    plan: plan.Plan
    jobs: Mapping[int, Job]
    missing_pools: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[Problem, ...]
    notes: tuple[Problem, ...]

    def refuse(self) -> None:
        """Raise when the plan must not be carried out.

        Raises:
            RefusedError: with every reason at once.
        """
        if self.refusals:
            raise RefusedError(
                "; ".join(each.message for each in self.refusals) + "; nothing was changed",
                tuple(detail for each in self.refusals for detail in each.details),
                hint="; ".join(each.hint for each in self.refusals if each.hint) or None,
                heals=max((each.heals for each in self.refusals), key=_HARDEST.index),
            )


def plan_deploy(
    project: Project,
    request: DeployRequest,
    code: Code,
    server: Server,
    answers: Answers,
    policy: StepPolicy,
) -> Planned:
    """Compare what the manifest asks for, of this code, with what the server has.

    Args:
        project: what is deployed.
        request: which deployments, and how.
        code: the snapshot, and the flows in it.
        server: what there is.
        answers: what placeholders are filled in from; without the outputs of steps,
            what depends on them is unknown in the plan.
        policy: which steps may run.

    Raises:
        GitflowError: the manifest has problems, or the server does not answer.
    """
    options, origin = request.options, project.origin
    back = origin if isinstance(origin, Release) else None
    if back is not None and back.code_only:
        live = server.live(())
        desired = releases.repinned(project, code.snapshot, request.which, live)
        said = list[Problem]()
    else:
        desired, said = desire(project, options, code, answers)
    live = server.live((item.flow_name, item.name) for item in desired)
    pointer = publish.pointer_of(project, options, code, server, live)
    if back is None:
        # What gets its code from the release pointer is not written for it.
        others = [item for item in live if not (pointer and pointing.names(item, pointer.name))]
        desired = paths.keep(project, code, desired, others)
        said += paths.unmatched(project, code)
    else:
        releases.refuse_steps(project, desired)
        desired = ownership.with_holds(desired, live, hold=back.hold)
    if pointer is not None:
        desired = pointing.follow(desired, live, pointer.name)
    # Also one that was left there when the mode was given up.
    own = () if back is not None or pointer is not None else (project.source.pointer,)
    variables = server.variables((*plan.workspace_variables(desired), *own))
    planned = plan.make(
        desired,
        live,
        source_mark=project.source.mark,
        former_marks=project.source.former_marks,
        adopt=options.adopt,
        prune=options.prune,
        automations=None if back is not None and back.code_only else server.automations(desired),
        variables=variables,
    )
    planned = planned if back is not None else ownership.without_held(planned)
    # A source's only deployment needs no name.
    everyone = not (request.which.names or request.which.tags)
    if pointer is not None:
        planned = pointing.settle(planned, pointer, whole=everyone)
    elif everyone:
        name = project.source.pointer
        planned = pointing.leave(planned, plan.Pointer(name, variables.get(name), None))
    planned = _meant(planned, request)
    # Where nothing differs the pool is there.
    pools = {pool for each in planned.writes if (pool := _pool(each))}
    # A release was looked at when it was made; branches have moved since.
    other = [] if back is not None else refs.problems(project, code.snapshot, answers)
    templates = server.templates(pools)
    missing = tuple(sorted(pools - templates.keys()))
    queues = {pool: server.queues(pool) for pool in _queued(planned) if pool in templates}
    checked = [
        _placed(project, problem)
        for problem in (
            *plan.check(planned.actions, templates, variables=variables),
            *plan.new_queues(planned.actions, queues),
            *plan.unsupported(planned.actions, server.client.lacking),
        )
    ]
    said += [problem for problem in checked if problem.severity != "error"]
    said += pointers(code)
    errors = [problem for problem in checked if problem.severity == "error"]
    jobs = build.jobs(project, planned)
    return Planned(
        desired=tuple(desired),
        plan=planned,
        jobs=jobs,
        missing_pools=missing,
        refusals=(
            *_other_code(other),
            *build.refusals(project, jobs, policy),
            *_refusals(options, planned, missing, desired, errors),
        ),
        warnings=tuple(problem for problem in said if problem.severity == "warning"),
        notes=tuple(problem for problem in said if problem.severity == "note"),
    )


def _meant(planned: plan.Plan, request: DeployRequest) -> plan.Plan:
    """``planned`` without what was not asked for."""
    # What was not chosen is no orphan, and what is held is there on purpose.
    orphans = [item for item in planned.orphans if not ownership.is_held(item)]
    planned = replace(planned, orphans=tuple(orphans) if request.which.whole else ())
    if request.which.changed:
        kept = [each for each in planned.actions if not isinstance(each, plan.Unchanged)]
        planned = replace(planned, actions=tuple(kept))
    return planned


def desire(
    project: Project, options: Options, code: Code, answers: Answers
) -> tuple[list[Deployment], list[Problem]]:
    """The chosen deployments as they should be, and what there is to say of the manifest.

    Raises:
        ManifestError: with every problem at once.
    """
    desired, problems = manifest.resolve(
        project.manifest,
        mark=project.source.mark,
        suffix=project.source.suffix,
        pull_step=pin_of(project, code.snapshot).step(),
        default_version=version(code.snapshot),
        flows=code.flows,
        answers=answers,
        default_work_pool=project.settings.default_work_pool,
        chosen=project.chosen,
        is_own_repository=refs.is_own(project.repository),
        is_own_directory=_is_inside(project),
        allow_missing=options.allow_missing,
        notes=True,
        cloud=project.settings.require_prefect().is_cloud,
        strict=options.strict,
        # What a release was deployed with is on the server, or was; to go back must not fail.
        refuse_secrets=project.restored is None,
    )
    problems += _of_clear_text(project, desired)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        ignored = project.manifest.problems
        raise ManifestError(
            f"{len(errors)} problem{'' if len(errors) == 1 else 's'} in the manifest; "
            "nothing was changed",
            # What Prefect ignores may be what was meant.
            tuple(sorted((*errors, *ignored), key=_place)),
        )
    desired = [
        replace(
            item,
            pull_steps=manifest.in_directory(
                item.pull_steps, code.directories.get(item.entrypoint or "", "")
            ),
        )
        for item in desired
    ]
    return desired, [*project.manifest.problems, *_of_mirrors(project), *problems]


def _of_mirrors(project: Project) -> list[Problem]:
    target = project.target
    if not target.mirrors or project.manifest.gitflow.checkout != "stock":
        return []
    message = f"Prefect's git_clone takes one address: workers are told {target.pull_url} alone"
    return [
        Problem(
            redact(message),
            project.manifest.position("gitflow", "checkout"),
            "leave checkout: stock out, or name one address for workers",
            severity="warning",
        )
    ]


def _of_clear_text(project: Project, desired: Iterable[Deployment]) -> list[Problem]:
    """An error where workers would clone without the credentials that they are given."""
    pinned = [known for item in desired if (known := Pin.of(item.pull_steps))]
    lost = dict.fromkeys(
        each.addresses[0]
        for each in pinned
        if each.stock and each.credentials and each.addresses[0].lower().startswith("http://")
    )
    return [
        Problem(
            redact(f"Prefect's git_clone sends no credentials to {at}, so every run would fail"),
            project.manifest.position("gitflow", "checkout"),
            "name an https:// address with code_store: {pull_url: ...}, or leave "
            "checkout: stock out: gitflow's own step sends them",
        )
        for at in lost
    ]


def _place(problem: Problem) -> tuple[str, int, int]:
    at = problem.where
    return (at.file, at.line, at.column) if at else ("", 0, 0)


def _is_inside(project: Project) -> Callable[[str], bool]:
    root = os.path.realpath(project.repository.root)

    def inside(directory: str) -> bool:
        path = os.path.realpath(os.path.join(root, project.base, directory))  # noqa: PTH118
        return path == root or path.startswith(f"{root}/")

    return inside


def _other_code(problems: Sequence[Problem]) -> tuple[Refusal, ...]:
    message = "pull steps name other code than what is deployed"
    return (Refusal(message, tuple(problems), heals="new commit"),) if problems else ()


def pointers(code: Code) -> list[Problem]:
    """A warning of large files whose content no run will see."""
    paths = [each.path for each in code.snapshot.left_out if each.reason == LEFT_OUT]
    if not paths:
        return []
    shown = ", ".join(paths[:3]) + (" and others" if len(paths) > 3 else "")
    files = "1 Git LFS file is" if len(paths) == 1 else f"{len(paths)} Git LFS files are"
    return [
        Problem(
            f"{files} deployed without the content: runs read a pointer of some 130 bytes "
            f"({shown})",
            hint="‹lfs› (gitflow: {lfs: include}) ships the content",
            severity="warning",
        )
    ]


def _placed(project: Project, problem: Problem) -> Problem:
    """``problem`` at the place of the value that it is about."""
    for config in project.chosen or project.manifest.deployments:
        if problem.path and config.where == problem.where:
            if option := config.option_of(problem.path):
                return replace(problem, where=None, message=f"{option}: {problem.message}")
            path = ("deployments", config.index, *problem.path)
            return replace(problem, where=project.manifest.position(*path))
    return problem


def _queued(planned: plan.Plan) -> list[str]:
    """Work pools of which a queue is named that has to be looked for."""
    return sorted({item.work_pool or "" for item in plan.in_named_queues(planned.actions)})


def _pool(action: plan.Create | plan.Update | plan.Delete) -> str | None:
    return None if isinstance(action, plan.Delete) else action.desired.work_pool


def _refusals(
    options: Options,
    planned: plan.Plan,
    pools: Sequence[str],
    desired: Sequence[Deployment],
    errors: Sequence[Problem],
) -> list[Refusal]:
    refusals = []
    if planned.conflicts:
        details = [Problem(each.reason, each.desired.where) for each in planned.conflicts]
        refusals.append(
            Refusal(
                "deployments of another source are in the way",
                tuple(details),
                "take them over with ‹adopt›, or give these another name",
            )
        )
    if pools and not options.create_pools:
        details = [
            Problem(
                f"there is no work pool {quoted(item.work_pool or '')} on the server", item.where
            )
            for item in desired
            if item.work_pool in pools
        ]
        commands = "; ".join(f"prefect work-pool create '{pool}' --type process" for pool in pools)
        refusals.append(
            Refusal(
                f"missing work pool{'' if len(pools) == 1 else 's'}",
                tuple(details),
                f"{commands}; or let gitflow make process pools: ‹create_pools›",
            )
        )
    if errors:
        count = f"{len(errors)} value{'' if len(errors) == 1 else 's'}"
        refusals.append(
            Refusal(f"the server would refuse {count}", tuple(errors), heals="new commit")
        )
    if not options.force_prune and (reason := plan.prune_refusal(planned)):
        details = [Problem(f"{each.full_name} would be deleted") for each in planned.deletes]
        hint = "if that is what you want, add ‹force_prune›"
        refusals.append(Refusal(reason, tuple(details), hint, "never"))
    return refusals
