"""Desired against live: the plan, and what forbids to carry it out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import plan
from gitops_flow.codestore.lfs import LEFT_OUT
from gitops_flow.deploy import keeping, refs, rollback
from gitops_flow.deploy.desire import desire
from gitops_flow.deploy.request import Refusal
from gitops_flow.errors import ManifestError
from gitops_flow.manifest.wording import quoted
from gitops_flow.model import Problem
from gitops_flow.plan import hold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.deploy.session import Session
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Deployment


@dataclass(frozen=True, slots=True)
class Compared:
    """A plan with what it was made from. Nothing has been written so far."""

    desired: tuple[Deployment, ...]
    plan: plan.Plan
    missing_pools: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[Problem, ...]
    notes: tuple[Problem, ...]

    def refuse(self) -> None:
        """Raise when the plan must not be carried out.

        Raises:
            ManifestError: with every reason at once.
        """
        if self.refusals:
            raise ManifestError(
                "; ".join(each.message for each in self.refusals) + "; nothing was changed",
                tuple(detail for each in self.refusals for detail in each.details),
                hint="; ".join(each.hint for each in self.refusals if each.hint) or None,
            )


def compare(session: Session, code: Code, answers: Answers) -> Compared:
    """Make the plan.

    Args:
        session: the server.
        code: what to deploy.
        answers: what placeholders are filled in from.

    Raises:
        GitflowError: the manifest has problems, or the server does not answer.
    """
    prepared, request = session.prepared, session.prepared.request
    back = request.rollback
    if back is not None and back.code_only:
        desired, said = rollback.repinned(session, code), list[Problem]()
    else:
        desired, said = desire(prepared, code, answers)
    names = [(item.flow_name, item.name) for item in desired]
    live = session.live(names)
    if back is None:
        desired = keeping.keep(prepared, code, desired, live)
        said += keeping.unmatched(prepared, code)
    else:
        rollback.refuse_steps(prepared, desired)
        desired = hold.keep(desired, live, hold=back.hold)
    variables = session.variables(plan.workspace_variables(desired))
    planned = plan.make(
        desired,
        live,
        source_mark=prepared.source.mark,
        former_marks=prepared.source.former_marks,
        adopt=request.adopt,
        prune=request.prune,
        automations=None if back is not None and back.code_only else session.automations(desired),
        variables=variables,
    )
    if back is None:
        planned = hold.respect(planned)
    if not request.whole:
        # What was not chosen is no orphan.
        planned = replace(planned, orphans=())
    if request.changed:
        kept = [each for each in planned.actions if not isinstance(each, plan.Unchanged)]
        planned = replace(planned, actions=tuple(kept))
    # Where nothing differs the pool is there.
    pools = {pool for each in planned.writes if (pool := _pool(each))}
    other = refs.problems(prepared, code.snapshot, answers)
    templates = session.templates(pools)
    missing = tuple(sorted(pools - templates.keys()))
    queues = {pool: session.queues(pool) for pool in _queued(planned) if pool in templates}
    checked = [
        _placed(session.prepared, problem)
        for problem in (
            *plan.check(planned.actions, templates, variables=variables),
            *plan.new_queues(planned.actions, queues),
            *plan.unsupported(planned.actions, session.client.lacking),
        )
    ]
    said += [problem for problem in checked if problem.severity != "error"]
    said += pointers(code)
    errors = [problem for problem in checked if problem.severity == "error"]
    return Compared(
        desired=tuple(desired),
        plan=planned,
        missing_pools=missing,
        refusals=(
            *_other_code(other),
            *_refusals(request, planned, missing, desired, errors),
        ),
        warnings=tuple(problem for problem in said if problem.severity == "warning"),
        notes=tuple(problem for problem in said if problem.severity == "note"),
    )


def _other_code(problems: Sequence[Problem]) -> tuple[Refusal, ...]:
    message = "pull steps name other code than what is deployed"
    return (Refusal(message, tuple(map(str, problems))),) if problems else ()


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
            hint="--lfs (gitflow: {lfs: include}) ships the content",
            severity="warning",
        )
    ]


def _placed(prepared: Prepared, problem: Problem) -> Problem:
    """``problem`` at the place of the value that it is about."""
    for config in prepared.chosen or prepared.manifest.deployments:
        if problem.path and config.where == problem.where:
            if option := config.option_of(problem.path):
                return replace(problem, where=None, message=f"{option}: {problem.message}")
            path = ("deployments", config.index, *problem.path)
            return replace(problem, where=prepared.manifest.position(*path))
    return problem


def _queued(planned: plan.Plan) -> list[str]:
    """Work pools of which a queue is named that has to be looked for."""
    return sorted({item.work_pool or "" for item in plan.in_named_queues(planned.actions)})


def _pool(action: plan.Create | plan.Update | plan.Delete) -> str | None:
    return None if isinstance(action, plan.Delete) else action.desired.work_pool


def _refusals(
    request: DeployRequest,
    planned: plan.Plan,
    pools: Sequence[str],
    desired: Sequence[Deployment],
    errors: Sequence[Problem],
) -> list[Refusal]:
    found = []
    if planned.conflicts:
        details = [Problem(each.reason, each.desired.where) for each in planned.conflicts]
        found.append(
            Refusal(
                "deployments of another source are in the way",
                tuple(map(str, details)),
                "take them over with --adopt, or give these another name",
            )
        )
    if pools and not request.create_pools:
        details = [
            Problem(
                f"there is no work pool {quoted(item.work_pool or '')} on the server", item.where
            )
            for item in desired
            if item.work_pool in pools
        ]
        commands = "; ".join(f"prefect work-pool create '{pool}' --type process" for pool in pools)
        found.append(
            Refusal(
                f"missing work pool{'' if len(pools) == 1 else 's'}",
                tuple(map(str, details)),
                f"{commands}; or let gitflow make process pools: --create-pools",
            )
        )
    if errors:
        count = f"{len(errors)} value{'' if len(errors) == 1 else 's'}"
        found.append(Refusal(f"the server would refuse {count}", tuple(map(str, errors))))
    if not request.force_prune and (reason := plan.prune_refusal(planned)):
        details = [Problem(f"{each.full_name} would be deleted") for each in planned.deletes]
        hint = "if that is what you want, add --force-prune"
        found.append(Refusal(reason, tuple(map(str, details)), hint))
    return found
