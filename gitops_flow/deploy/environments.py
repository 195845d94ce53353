"""The environments of a working tree's manifest: the server of one, and how two of them differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import manifest, names, plan
from gitops_flow.deploy import choice
from gitops_flow.errors import ManifestError
from gitops_flow.manifest import schedules
from gitops_flow.model import Deployment
from gitops_flow.plan.attached import diff_schedules
from gitops_flow.plan.diff import differences
from gitops_flow.settings import NamedServer

if TYPE_CHECKING:
    from gitops_flow.deploy.request import Which
    from gitops_flow.deploy.source import WorkingTree
    from gitops_flow.manifest import DeploymentConfig, Manifest


@dataclass(frozen=True, slots=True)
class Difference:
    """How one environment differs from another (``before``); None is the manifest without any.

    ``server`` has a line where they name different ones. ``deployments`` are the chosen ones by
    the manifest's name, those that are the same without lines; no two have one name and flow.
    """

    before: str | None
    after: str | None
    server: tuple[plan.Line, ...]
    deployments: tuple[tuple[str, tuple[plan.Line, ...]], ...]

    @property
    def differs(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.server) or any(lines for _, lines in self.deployments)


def named_server(tree: WorkingTree) -> NamedServer | None:
    """The Prefect server that the environment of a working tree names, if it does.

    Raises:
        ManifestError: with all that is wrong in the manifest, if that is in what says the server.
    """
    if tree.environment is None:
        return None
    file = tree.file()
    try:
        read = manifest.parse(file.data, file.shown, source_only=True, environment=tree.environment)
    except ManifestError:
        manifest.parse(file.data, file.shown, environment=tree.environment)
        raise
    said = read.environment
    if said is None or not (said.profile or said.api_url):
        return None
    return NamedServer(said.name, said.profile, said.api_url, tree.manifest, str(said.where))


def compare(tree: WorkingTree, other: str, which: Which, *, strict: bool = False) -> Difference:
    """How the environment of a working tree differs from another one.

    Both are as the manifest has them, with the placeholders as written: no server is asked.

    Raises:
        GitflowError: the manifest has problems or no such environment, or a name matches nothing.
    """
    file = tree.file()
    before, after = (
        manifest.parse(file.data, file.shown, strict=strict, environment=each)
        for each in (other, tree.environment)
    )
    there = {config.index: config for config in before.deployments}
    return Difference(
        other,
        tree.environment,
        _line("server", _server(before), _server(after)),
        tuple(
            (config.name, _lines(_written(there[config.index], before, tree), one))
            for config in choice.choose(after, which)
            for one in [_written(config, after, tree)]
        ),
    )


def _server(document: Manifest) -> str | None:
    said = document.environment
    if said is None:
        return None
    return f"profile {said.profile}" if said.profile else said.api_url


def _line(path: str, before: str | None, after: str | None) -> tuple[plan.Line, ...]:
    return () if before == after else (plan.Line(path, before, after),)


def _lines(before: Deployment, after: Deployment) -> tuple[plan.Line, ...]:
    changed = plan.Update(
        after,
        before,
        differences(after, before),
        diff_schedules(after.schedules, before.schedules),
    )
    return (*_line("name", before.name, after.name), *plan.lines(changed))


def _written(config: DeploymentConfig, document: Manifest, tree: WorkingTree) -> Deployment:
    """A deployment as the manifest has it, but for what no environment changes."""
    suffix = document.gitflow.suffix if tree.suffix is None else names.suffix(tree.suffix)
    spec, pool = config.spec, config.spec.work_pool
    listed = [spec.schedule] if spec.schedule else spec.schedules or []
    tags = [spec.tags] if isinstance(spec.tags, str) else spec.tags or []
    off = bool(suffix) and not config.own_schedules
    return Deployment(
        "",
        config.name + suffix,
        config.entrypoint,
        tags=tuple(map(str, tags)),
        parameters=spec.parameters,
        work_pool=pool.name if pool else None,
        work_queue=pool.work_queue_name or ("default" if pool.name else None) if pool else None,
        job_variables=pool.job_variables if pool else {},
        schedules=tuple(
            replace(each, active=not off and each.active is not False)
            for each in map(schedules.to_model, listed)
        ),
        paused=spec.paused is True,
    )
