"""Desired against live: the plan, and what forbids to carry it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow import apply, plan, prefect
from gitops_flow.deploy.desire import desire
from gitops_flow.errors import ManifestError
from gitops_flow.model import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.model import Deployment
    from gitops_flow.prefect import Client


@dataclass(frozen=True, slots=True)
class Compared:
    """A plan with what it was made from. Nothing has been written so far."""

    request: DeployRequest
    desired: tuple[Deployment, ...]
    plan: plan.Plan
    missing_pools: tuple[str, ...]
    warnings: tuple[Problem, ...]

    def refuse(self) -> None:
        """Raise when the plan must not be carried out.

        Raises:
            ManifestError: deployments of another source, or missing work pools.
        """
        _refuse_conflicts(self.plan)
        _refuse_pools(self.missing_pools, self.desired, self.request)


def compare(
    prepared: Prepared,
    code: Code,
    client: Client,
    owned: Callable[[], list[Deployment]],
    environ: Mapping[str, str],
) -> Compared:
    """Make the plan.

    Args:
        prepared, code: what to deploy.
        client: the server.
        owned: waits for and returns the live deployments of this source.
        environ: for ``{{ $NAME }}`` in the manifest.

    Raises:
        GitflowError: the manifest has problems, or the server does not answer.
    """
    desired, warnings = desire(prepared, code, environ)
    live = owned()
    have = _names(live)
    if missing := [name for name in _names(desired) if name not in have]:
        live += prefect.live(client, names=missing, mark=None)
    planned = plan.make(
        desired,
        live,
        source_mark=prepared.source.mark,
        former_mark=prepared.source.former_mark,
        adopt=prepared.request.adopt,
    )
    pools = apply.missing_pools(client, desired)
    return Compared(prepared.request, tuple(desired), planned, tuple(pools), tuple(warnings))


def _names(deployments: Sequence[Deployment]) -> dict[tuple[str, str], None]:
    return dict.fromkeys((item.flow_name, item.name) for item in deployments)


def _refuse_conflicts(planned: plan.Plan) -> None:
    if planned.conflicts:
        raise ManifestError(
            "deployments of another source are in the way; nothing was changed",
            tuple(
                str(Problem(action.reason, action.desired.where)) for action in planned.conflicts
            ),
            hint="take them over with --adopt, or give these another name",
        )


def _refuse_pools(
    pools: Sequence[str], desired: Sequence[Deployment], request: DeployRequest
) -> None:
    if not pools or request.create_pools:
        return
    problems = [
        str(Problem(f"there is no work pool {item.work_pool!r} on the server", item.where))
        for item in desired
        if item.work_pool in pools
    ]
    commands = "; ".join(f"prefect work-pool create '{pool}' --type process" for pool in pools)
    raise ManifestError(
        f"missing work pool{'' if len(pools) == 1 else 's'}; nothing was changed",
        tuple(problems),
        hint=f"{commands}; or let gitflow make process pools: --create-pools",
    )
