"""A manifest and what its flows say, to the deployments that the server should have. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from gitops_flow.errors import FlowError
from gitops_flow.manifest import checks, schedules, steps, triggers, yaml
from gitops_flow.manifest.config import pull_section
from gitops_flow.manifest.placeholders import Answers, placeholders
from gitops_flow.manifest.pull_steps import image_pull_steps, pin, waiting
from gitops_flow.manifest.substitution import Substitution, named
from gitops_flow.manifest.wording import explain, quoted, shortened
from gitops_flow.model import MARK_PREFIX, Automation, Deployment, Entrypoint
from gitops_flow.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.manifest.schema import ConcurrencySection, ScheduleSection
    from gitops_flow.model import FlowInfo, Json, Problem, Schedule

    Path = tuple[Hashable, ...]
    Step = dict[str, Json]

# Parameters that a message names at the most.
_LISTED = 10


def entrypoints(manifest: Manifest, answers: Answers | Mapping[str, str]) -> dict[int, str | None]:
    """The entrypoint of each deployment with its placeholders filled in, by its index.

    None where :func:`resolve` will report that one cannot be filled in.
    ``answers`` may be the environment alone.
    """
    answers = Answers(answers) if isinstance(answers, Mapping) else answers
    by_index: dict[int, str | None] = {}
    for config in manifest.deployments:
        substitution = Substitution(manifest, config, answers)
        text = substitution.early(config.entrypoint, "entrypoint")
        by_index[config.index] = None if substitution.failed else text
    return by_index


def resolve(
    manifest: Manifest,
    *,
    mark: str,
    suffix: str = "",
    pull_step: Step | Sequence[Step],
    default_version: str | None,
    flows: Mapping[Any, FlowInfo | FlowError],
    default_work_pool: str | None,
    answers: Answers | None = None,
    environ: Mapping[str, str] | None = None,
    is_own_repository: Callable[[str], bool] = lambda _address: True,
    is_own_directory: Callable[[str], bool] = lambda _directory: True,
    chosen: Sequence[DeploymentConfig] | None = None,
    allow_missing: bool = False,
    notes: bool = False,
    cloud: bool = False,
    strict: bool = False,
    refuse_secrets: bool = True,
) -> tuple[list[Deployment], list[Problem]]:
    """What the server should have.

    Args:
        manifest: from :func:`gitops_flow.manifest.load`.
        mark: the tag of ownership.
        suffix: what names end in; then schedules and automations are off.
        pull_step: the pinned step, ``{"gitops_flow.steps.pull_code": {inputs}}``,
            or Prefect's ``git_clone``; several when more has to come after it.
        default_version: for deployments whose manifest sets none.
        flows: what each flow says, or why it cannot be read, by entrypoint as
            :func:`entrypoints` gives it or as written, or by that and the
            deployment's ``flow_name`` where flows have no name of their own.
        default_work_pool: for deployments that name none.
        answers: what placeholders are filled in from. Without ``outputs``, what
            only build and push steps can fill in keeps its placeholder, and
            :attr:`Deployment.unknown` names the field.
        environ: the environment, in place of ``answers``.
        is_own_repository: whether the address in a ``git_clone`` is this repository's.
        is_own_directory: whether that of a ``set_working_directory`` is, or is in it.
        chosen: the deployments that are wanted; all of them when None.
        allow_missing: leave out what nothing fills in, as Prefect does.
        notes: tell what became of pull steps, too.
        cloud: whether the server is Prefect Cloud, which alone takes metric triggers.
        strict: parameters that a flow has not are errors.
        refuse_secrets: secrets of the environment that the server would keep in clear are
            errors unless the manifest allows them; else warnings.

    Returns:
        The deployments in the manifest's order, without those that have an
        error, and the problems beyond ``manifest.problems``, in the file's order.
    """
    answers = answers or Answers(environ or {})
    steps = (pull_step,) if isinstance(pull_step, Mapping) else tuple(pull_step)
    substitutions: list[Substitution] = []
    deployments: list[Deployment] = []
    seen: dict[str, DeploymentConfig] = {}
    errors = 0
    for config in manifest.deployments if chosen is None else chosen:
        substitution = Substitution(manifest, config, answers, allow_missing, refuse_secrets)
        one = _Desired(substitution, mark, default_version, flows, suffix, cloud, strict)
        deployment = one.deployment(steps, default_work_pool, is_own_repository, is_own_directory)
        if deployment is not None:
            first = seen.setdefault(deployment.full_name, config)
            if first is not config:
                name = quoted(deployment.full_name)
                substitution.error(("name",), f"{name} is also deployments[{first.index}]")
            else:
                deployments.append(deployment)
        substitutions.append(substitution)
        errors += substitution.errors
        if errors >= yaml.MAX_PROBLEMS:
            substitution.error((), "more problems than can be listed")
            break
    problems = named(manifest, substitutions)
    told = (problem for problem in problems if notes or problem.severity != "note")
    return deployments, sorted(told, key=_place)


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.where.line, problem.where.column) if problem.where else (0, 0)


@dataclass(slots=True)
class _Desired:
    """Makes one deployment.

    ``suffix`` ends its name and those of its automations; then all that starts runs is off.
    ``cloud`` says that the server is Prefect Cloud, ``strict`` that what would
    do nothing, or fail in every run, is an error.
    """

    substitution: Substitution
    mark: str
    default_version: str | None
    flows: Mapping[Any, FlowInfo | FlowError]
    suffix: str = ""
    cloud: bool = False
    strict: bool = False

    def deployment(
        self,
        pull_steps: Sequence[Step],
        default_work_pool: str | None,
        is_own_repository: Callable[[str], bool],
        is_own_directory: Callable[[str], bool] = lambda _: True,
    ) -> Deployment | None:
        """The deployment, or None when it has an error."""
        substitution, config = self.substitution, self.substitution.config
        spec = config.spec
        if substitution.outputs is None:
            steps.check(substitution)
        name = (substitution.text(config.name, "name") or "") + self.suffix
        flow = self._flow()
        if flow:
            self._check_parameters(flow)
            self._check_required(flow)
        pool = spec.work_pool
        if "{{" in config.name and (bad := checks.bad_name(name)):
            substitution.error(("name",), bad)
        version = substitution.text(spec.version, "version")
        default_version = self._default_version(flow)
        limit = spec.concurrency_limit
        result = Deployment(
            flow_name=flow.name if flow else "",
            name=name,
            entrypoint=substitution.early(config.entrypoint, "entrypoint") or "",
            description=substitution.text(spec.description, "description")
            or (flow.description if flow else None),
            version=version
            or default_version
            or (flow.version or flow.file_digest if flow else None),
            version_is_ours=not version and bool(default_version),
            tags=self._tags(),
            parameters=substitution.value(spec.parameters, "parameters"),
            parameter_schema=flow.parameter_schema if flow else None,
            enforce_parameter_schema=spec.enforce_parameter_schema is not False,
            work_pool=self._work_pool(default_work_pool),
            work_queue=substitution.text(pool.work_queue_name, "work_pool", "work_queue_name")
            if pool
            else None,
            job_variables=substitution.job_variables(
                pool.job_variables, "work_pool", "job_variables"
            )
            if pool
            else {},
            schedules=self._schedules(),
            paused=spec.paused,
            concurrency_limit=limit.limit if limit else None,
            concurrency_options=_options(limit) if limit else None,
            pull_steps=self._pull(pull_steps, is_own_repository, is_own_directory),
            automations=self._automations(name),
            ignored=substitution.manifest.gitflow.ignore,
            dormant=bool(self.suffix),
            unknown=tuple(substitution.unknown),
            secret_fields=tuple(substitution.secret_fields),
            secrets=tuple(substitution.secrets),
            where=config.where,
            overridden=tuple(dict.fromkeys(map(_overridden, config.overridden))),
        )
        return None if substitution.failed else result

    def _flow(self) -> FlowInfo | None:
        of = self.substitution
        probe = Substitution(of.manifest, of.config, of.answers, of.allow_missing)
        entrypoint = probe.early(of.config.entrypoint, "entrypoint") or ""
        if probe.failed:
            return None  # told where the entrypoint itself is filled in
        try:
            Entrypoint.parse(entrypoint)
        except ValueError as error:
            of.error(("entrypoint",), f"{quoted(entrypoint)} {error}")
            return None
        keys = ((entrypoint, of.config.spec.flow_name), entrypoint, of.config.entrypoint)
        flow = next((self.flows[key] for key in keys if key in self.flows), None)
        if isinstance(flow, FlowError):
            told = f"{flow.where}: {flow.message}" if flow.where else flow.message
            of.error(("entrypoint",), shortened(told, 1000), flow.hint)
            return None
        if flow is None:
            of.error(("entrypoint",), f"no flow was found for {quoted(entrypoint)}")
            return None
        for note in flow.notes:
            of.warning(("entrypoint",), note)
        return flow

    def _check_parameters(self, flow: FlowInfo) -> None:
        """Tell of values for parameters that the flow has not: each run would end at once."""
        spec, known = self.substitution.config.spec, flow.parameter_schema.get("properties")
        if flow.takes_more or not isinstance(known, dict):
            return
        sections: list[tuple[Path, Mapping[str, Json]]] = [(("parameters",), spec.parameters)]
        sections += [
            ((*path, "parameters"), each.parameters) for path, each in self._schedule_sections()
        ]
        tell = self.substitution.error if self.strict else self.substitution.warning
        for path, values in sections:
            for name in values:
                if name not in known and not placeholders(name):
                    message = f"the flow has no parameter {quoted(name)}: every run would fail"
                    hint = did_you_mean(name, known) or f"it has {_listed(known)}"
                    tell((*path, name), message, hint)

    def _check_required(self, flow: FlowInfo) -> None:
        """Tell of schedules and triggers that start runs without what the flow cannot do without."""
        spec, required = self.substitution.config.spec, flow.parameter_schema.get("required")
        if not isinstance(required, list):
            return
        starts: list[tuple[Path, Mapping[str, Json]]] = [
            (path, each.parameters)
            for path, each in self._schedule_sections()
            if schedules.flag(each.active) is not False
        ]
        starts += [
            (("triggers", number), each.get("parameters") or {})
            for number, each in enumerate(spec.triggers or [])
            if each.get("enabled") is not False
        ]
        tell = self.substitution.error if self.strict else self.substitution.warning
        for path, own in starts:
            values = {**spec.parameters, **own} if isinstance(own, dict) else {}
            missing = [name for name in required if name not in values]
            if missing and not any(map(placeholders, values)):
                noun = "parameter" if len(missing) == 1 else "parameters"
                tell(
                    path,
                    f"no value for the flow's {noun} {_listed(missing)}: "
                    "every run that it starts would fail",
                    "give one here or in the deployment's parameters, or a default in the code",
                )

    def _default_version(self, flow: FlowInfo | None) -> str | None:
        """The source's version, unless the flow has one and nothing is to be asked of git."""
        simple = self.substitution.text(self.substitution.config.spec.version_type, "version_type")
        if simple == "prefect:simple" and flow is not None and (flow.version or flow.file_digest):
            return None
        return self.default_version

    def _work_pool(self, default: str | None) -> str | None:
        pool = self.substitution.config.spec.work_pool
        name = self.substitution.early(pool.name, "work_pool", "name") if pool else None
        if not name and not default:
            hint = "write work_pool: {name: ...}, or set PREFECT_DEFAULT_WORK_POOL_NAME"
            self.substitution.error((), "no work pool", hint)
        return name or default

    def _tags(self) -> tuple[str, ...]:
        tags = self.substitution.config.spec.tags
        filled = self.substitution.value([tags] if isinstance(tags, str) else tags or [], "tags")
        if isinstance(tags, str) and filled and isinstance(filled[0], list):
            filled = filled[0]
        own = [str(tag) for tag in filled if str(tag).strip()]
        for number, tag in enumerate(own):
            if tag.startswith(MARK_PREFIX):
                message = f"{quoted(tag)} is a mark of ownership, not a tag"
                self.substitution.error(("tags", number), message)
        return (*own, self.mark)

    def _schedule_sections(self) -> list[tuple[Path, ScheduleSection]]:
        spec = self.substitution.config.spec
        if spec.schedule is not None:
            return [(("schedule",), spec.schedule)]
        return [(("schedules", number), each) for number, each in enumerate(spec.schedules or [])]

    def _schedules(self) -> tuple[Schedule, ...]:
        filled_in = []
        off = bool(self.suffix) and not self.substitution.config.own_schedules
        for path, section in self._schedule_sections():
            filled = self._schedule(section, path)
            if filled is not None:
                schedule = schedules.to_model(filled)
                filled_in.append(replace(schedule, active=False) if off else schedule)
        return tuple(filled_in)

    def _schedule(self, section: ScheduleSection, path: Path) -> ScheduleSection | None:
        values = {name: getattr(section, name) for name in section.model_fields_set}
        before = len(self.substitution.problems)
        filled = self.substitution.value(values, *path)
        if filled == values:
            return section
        if any(problem.severity == "error" for problem in self.substitution.problems[before:]):
            return None
        try:
            result = type(section).model_validate(filled)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self.substitution.error((*path, *detail["loc"]), *explain(detail))
            return None
        complaints = [
            each for each in schedules.check(result) if not placeholders(filled.get(each[0]))
        ]
        for name, message, hint in complaints:
            self.substitution.error((*path, name) if name else path, message, hint)
        return None if complaints else result

    def _automations(self, name: str) -> tuple[Automation, ...]:
        automations = []
        for number, raw in enumerate(self.substitution.config.spec.triggers or []):
            automation = self._automation(raw, ("triggers", number), name)
            if automation is not None:
                automations.append(automation)
        return tuple(automations)

    def _automation(self, raw: dict[str, Json], path: Path, name: str) -> Automation | None:
        """One trigger; its parameters are left to the server, which fills them in from the event."""
        substitution = self.substitution
        before = len(substitution.problems)
        if not self.cloud:
            for where in triggers.metrics(raw, path):
                substitution.error(
                    where, "a metric trigger works on Prefect Cloud only", "remove it"
                )
        ways = {
            "parameters": substitution.trigger_parameters,
            "job_variables": substitution.job_variables,
        }
        filled = {
            key: value
            for key, old in raw.items()
            for value in [ways.get(key, substitution.value)(old, *path, key)]
            if value is not None or old is None
        }
        for where, detail, hint in triggers.check(filled, path):
            if isinstance(detail, str):
                substitution.error(where, detail, hint)
            else:
                substitution.error((*where, *detail["loc"]), *explain(detail))
        if any(problem.severity == "error" for problem in substitution.problems[before:]):
            return None
        automation = triggers.to_model(filled, name, int(str(path[-1])) + 1)
        if not self.suffix:
            return automation
        own = automation.name if raw.get("name") is None else automation.name + self.suffix
        return replace(automation, name=own, enabled=False)

    def _pull(
        self,
        pull_steps: Sequence[Step],
        is_own_repository: Callable[[str], bool],
        is_own_directory: Callable[[str], bool],
    ) -> tuple[Step, ...]:
        substitution = self.substitution
        section, own = pull_section(substitution.manifest, substitution.config)
        if section is None:
            baked = image_pull_steps(substitution.manifest, substitution.config)
            if baked is not None:
                substitution.note((), "no pull steps: the code is left to the image that is built")
                return baked
        path: Path = ("pull",) if own else ("", "pull")
        filled = None if section is None else steps.pull_steps(substitution, section, path)
        pinned = pin(
            filled, pull_steps, is_own_repository, is_own_directory=is_own_directory, raw=section
        )
        tell: dict[Literal["error", "warning", "note"], Callable[..., None]] = {
            "error": substitution.error,
            "warning": substitution.warning,
            "note": lambda where, message, _hint: substitution.note(where, message),
        }
        unsure = waiting(filled or ()) if substitution.outputs is None else ()
        for number in unsure:
            substitution.unknown["pull_steps"] = None
            substitution.note((*path, number), "whether its code is pinned is known after build")
        for remark in pinned.remarks:
            if remark.at in unsure:
                continue
            whole: Path = () if section is None else path
            where = whole if remark.at is None else (*path, remark.at)
            tell[remark.severity](where, remark.message, remark.hint)
        steps.check_pull(substitution, pinned.steps, filled or (), path)
        return pinned.steps


def _overridden(place: tuple[tuple[str | int, ...], str]) -> tuple[str, str]:
    """A field of the deployment, with the key in it, and the option that it is from."""
    path, option = place
    if path[0] == "schedules":
        return "schedules", option
    names = {"name": "work_pool", "work_queue_name": "work_queue"}
    rest = path[1:] if path[0] == "work_pool" else path
    return ".".join(names.get(str(part), str(part)) for part in rest), option


def _options(limit: ConcurrencySection) -> dict[str, Json] | None:
    if limit.collision_strategy is None and limit.grace_period_seconds is None:
        return None
    options: dict[str, Json] = {"collision_strategy": limit.collision_strategy or "ENQUEUE"}
    if limit.grace_period_seconds is not None:
        options["grace_period_seconds"] = limit.grace_period_seconds
    return options


def _listed(names: Iterable[str]) -> str:
    some = list(names)
    more = ", ..." if len(some) > _LISTED else ""
    return ", ".join(map(quoted, some[:_LISTED])) + more if some else "none"
