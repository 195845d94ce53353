"""A manifest and what its flows say, to the deployments that it asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.errors import FlowError
from gitops_flow.manifest import checks, schedules
from gitops_flow.manifest.filling import Filling
from gitops_flow.manifest.pull import pin
from gitops_flow.manifest.wording import quoted
from gitops_flow.model import MARK_PREFIX, Deployment, Entrypoint, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.manifest.schema import ConcurrencySection, ScheduleSection
    from gitops_flow.model import FlowInfo, Json, Schedule

    Path = tuple[Hashable, ...]

_PUSH_CODE = "gitops_flow.steps.push_code"


def entrypoints(manifest: Manifest, environ: Mapping[str, str]) -> tuple[str | None, ...]:
    """The entrypoint of each deployment with its environment variables filled in.

    None where :func:`resolve` will report that one cannot be filled in.
    """
    found: list[str | None] = []
    for config in manifest.deployments:
        filling = Filling(manifest, config, environ)
        text = filling.text(config.entrypoint, "entrypoint")
        found.append(None if filling.problems else text)
    return tuple(found)


def resolve(
    manifest: Manifest,
    *,
    mark: str,
    pull_step: dict[str, Json],
    default_version: str | None,
    flows: Mapping[str, FlowInfo | FlowError],
    environ: Mapping[str, str],
    default_work_pool: str | None,
    is_own_repository: Callable[[str], bool] = lambda _address: True,
    chosen: Sequence[DeploymentConfig] | None = None,
) -> tuple[list[Deployment], list[Problem]]:
    """What the server should have.

    Args:
        manifest: from :func:`gitops_flow.manifest.load`.
        mark: the tag of ownership.
        pull_step: the pinned step, ``{"gitops_flow.steps.pull_code": {inputs}}``.
        default_version: for deployments whose manifest sets none.
        flows: what each flow says, or why it cannot be read, by entrypoint as
            :func:`entrypoints` gives it or as written.
        environ: the environment that ``{{ $NAME }}`` is filled from.
        default_work_pool: for deployments that name none.
        is_own_repository: whether the address in a ``git_clone`` is this repository's.
        chosen: the deployments that are wanted; all of them when None.

    Returns:
        The deployments in the manifest's order, without those that have an
        error, and the problems beyond ``manifest.problems``, in the file's order.
    """
    problems: list[Problem] = []
    deployments: list[Deployment] = []
    seen: dict[str, DeploymentConfig] = {}
    for config in manifest.deployments if chosen is None else chosen:
        one = _One(Filling(manifest, config, environ), mark, default_version, flows)
        deployment = one.deployment(pull_step, default_work_pool, is_own_repository)
        if deployment is not None:
            first = seen.setdefault(deployment.full_name, config)
            if first is not config:
                name = quoted(deployment.full_name)
                one.filling.error(("name",), f"{name} is also deployments[{first.index}]")
            else:
                deployments.append(deployment)
        problems += one.filling.problems
    return deployments, sorted(dict.fromkeys(problems), key=_place)


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.where.line, problem.where.column) if problem.where else (0, 0)


@dataclass(slots=True)
class _One:
    """Makes one deployment."""

    filling: Filling
    mark: str
    default_version: str | None
    flows: Mapping[str, FlowInfo | FlowError]

    def deployment(
        self,
        pull_step: dict[str, Json],
        default_work_pool: str | None,
        is_own_repository: Callable[[str], bool],
    ) -> Deployment | None:
        """The deployment, or None when it has an error."""
        fill_in, config = self.filling, self.filling.config
        spec = config.spec
        self._unrun_steps()
        name = fill_in.text(config.name, "name") or ""
        flow = self._flow()
        pool = spec.work_pool
        pool_name = fill_in.text(pool.name, "work_pool", "name") if pool else None
        pool_name = pool_name or default_work_pool
        if not pool_name:
            hint = "write work_pool: {name: ...}, or set PREFECT_DEFAULT_WORK_POOL_NAME"
            fill_in.error((), "no work pool", hint)
        if "{{" in config.name and (bad := checks.bad_name(name)):
            fill_in.error(("name",), bad)
        entrypoint = fill_in.text(config.entrypoint, "entrypoint") or ""
        parameters = fill_in.value(spec.parameters, "parameters")
        version = fill_in.text(spec.version, "version")
        limit = spec.concurrency_limit
        result = Deployment(
            flow_name=flow.name if flow else "",
            name=name,
            entrypoint=entrypoint,
            description=fill_in.text(spec.description, "description")
            or (flow.description if flow else None),
            version=version or self.default_version or (flow.version if flow else None),
            version_is_ours=not version and bool(self.default_version),
            tags=self._tags(),
            parameters=parameters,
            parameter_schema=flow.parameter_schema if flow else None,
            enforce_parameter_schema=spec.enforce_parameter_schema is not False,
            work_pool=pool_name,
            work_queue=fill_in.text(pool.work_queue_name, "work_pool", "work_queue_name")
            if pool
            else None,
            job_variables=fill_in.job_variables(pool.job_variables) if pool else {},
            schedules=self._schedules(),
            paused=spec.paused,
            concurrency_limit=limit.limit if limit else None,
            concurrency_options=_options(limit) if limit else None,
            pull_steps=self._pull(pull_step, is_own_repository),
            where=config.where,
        )
        return None if fill_in.failed else result

    def _flow(self) -> FlowInfo | None:
        probe = Filling(self.filling.manifest, self.filling.config, self.filling.environ)
        entrypoint = probe.text(self.filling.config.entrypoint, "entrypoint") or ""
        if probe.problems:
            return None  # told where the entrypoint itself is filled in
        try:
            Entrypoint.parse(entrypoint)
        except ValueError as error:
            self.filling.error(("entrypoint",), f"{quoted(entrypoint)} {error}")
            return None
        flow = self.flows.get(entrypoint) or self.flows.get(self.filling.config.entrypoint)
        if isinstance(flow, FlowError):
            told = f"{flow.where}: {flow.message}" if flow.where else flow.message
            self.filling.error(("entrypoint",), told, flow.hint)
            return None
        if flow is None:
            self.filling.error(("entrypoint",), f"no flow was found for {quoted(entrypoint)}")
            return None
        for note in flow.notes:
            self.filling.warning(("entrypoint",), note)
        return flow

    def _tags(self) -> tuple[str, ...]:
        tags = self.filling.config.spec.tags
        filled = self.filling.value([tags] if isinstance(tags, str) else tags or [], "tags")
        own = [str(tag) for tag in filled if str(tag).strip()]
        for number, tag in enumerate(own):
            if tag.startswith(MARK_PREFIX):
                message = f"{quoted(tag)} is a mark of ownership, not a tag"
                self.filling.error(("tags", number), message)
        return (*own, self.mark)

    def _schedules(self) -> tuple[Schedule, ...]:
        spec = self.filling.config.spec
        if spec.schedule is not None:
            entries: list[tuple[Path, ScheduleSection]] = [(("schedule",), spec.schedule)]
        else:
            entries = [(("schedules", n), each) for n, each in enumerate(spec.schedules or [])]
        found = []
        for path, section in entries:
            filled = self._filled(section, path)
            if filled is not None:
                found.append(schedules.to_model(filled))
        return tuple(found)

    def _filled(self, section: ScheduleSection, path: Path) -> ScheduleSection | None:
        values = {name: getattr(section, name) for name in section.model_fields_set}
        before = len(self.filling.problems)
        filled = self.filling.value(values, *path)
        if filled == values:
            return section
        if len(self.filling.problems) > before:
            return None
        result = type(section).model_validate(filled)
        complaints = list(schedules.check(result))
        for name, message, hint in complaints:
            self.filling.error((*path, name) if name else path, message, hint)
        return None if complaints else result

    def _pull(
        self, pull_step: dict[str, Json], is_own_repository: Callable[[str], bool]
    ) -> tuple[dict[str, Json], ...]:
        spec, manifest = self.filling.config.spec, self.filling.manifest
        own = spec.pull is not None
        section = tuple(spec.pull) if spec.pull is not None else manifest.pull
        if "pull" in spec.model_fields_set and not own and section == ():
            section = None  # an explicit null undoes the manifest's []
        path: Path = ("pull",) if own else ("", "pull")
        filled = None if section is None else self.filling.steps(list(section), path)
        pinned = pin(filled, pull_step, is_own_repository)
        for at, note in pinned.notes:
            self.filling.warning(path if at is None else (*path, at), note)
        return pinned.steps

    def _unrun_steps(self) -> None:
        """Build and push steps, which this version does not run."""
        spec, manifest = self.filling.config.spec, self.filling.manifest
        build = spec.build if "build" in spec.model_fields_set else manifest.build
        push = spec.push or manifest.push
        for name, steps, own in (
            ("build", build, "build" in spec.model_fields_set),
            ("push", push, bool(spec.push)),
        ):
            for number, step in enumerate(steps or ()):
                path: Path = (name, number) if own else ("", name, number)
                called = str(next(iter(step), ""))
                if called == _PUSH_CODE:
                    note = f"{called} is skipped: the snapshot is published anyway"
                    self.filling.warning(path, note)
                elif called:
                    hint = "remove it, or use prefect deploy for this deployment"
                    message = f"{called} is not run by this version yet"
                    self.filling.error(path, message, hint)
                    self.filling.outputs_known = False


def _options(limit: ConcurrencySection) -> dict[str, Json] | None:
    if limit.collision_strategy is None and limit.grace_period_seconds is None:
        return None
    options: dict[str, Json] = {"collision_strategy": limit.collision_strategy or "ENQUEUE"}
    if limit.grace_period_seconds is not None:
        options["grace_period_seconds"] = limit.grace_period_seconds
    return options
