"""What is wrong in a manifest, each problem at its place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gitops_flow import pin
from gitops_flow.manifest import schedules, schema, triggers, yaml
from gitops_flow.manifest.wording import dotted, explain, label, quoted, shortened
from gitops_flow.model import MARK_PREFIX, Entrypoint, Position, Problem
from gitops_flow.names import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from pydantic_core import ErrorDetails

    Path = tuple[Hashable, ...]

_Section = TypeVar("_Section", bound=BaseModel)
_GONE = "remove it; Prefect 3.1 dropped it"
_SCHEDULE_KEYS = {
    "max_active_runs": _GONE,
    "catchup": _GONE,
    "schedule": "move cron, interval or rrule up to the item itself",
}


_BANNED = re.compile(r"[/%&><]")
_VERSION_TYPES = (
    "prefect:simple",
    "vcs:github",
    "vcs:gitlab",
    "vcs:bitbucket",
    "vcs:azuredevops",
    "vcs:git",
)
# Keys that people write on a deployment, and where they belong.
_BELONGS = {
    "job_variables": "put it under work_pool:",
    "infra_overrides": "write it as job_variables under work_pool:",
    "work_queue_name": "put it under work_pool:",
    "work_pool_name": "write it as work_pool: {name: ...}",
    "is_paused": "did you mean 'paused'?",
    "is_schedule_active": "write active: under an item of schedules:",
    "cron": "put it in an item of schedules:",
    "interval": "put it in an item of schedules:",
    "rrule": "put it in an item of schedules:",
    "timezone": "put it in an item of schedules:",
    "env": "put it under job_variables: of work_pool:",
    "image": "put it under job_variables: of work_pool:",
    "labels": "use tags:",
    "path": "only entrypoint: says where the flow is",
    "parameter_openapi_schema": "it is read from the flow",
    "flow": "did you mean 'entrypoint'?",
}


class Report:
    """Collects the problems of one manifest.

    A path is the keys and indexes that lead to a value, from the top. Too many errors end
    the reading with :class:`yaml.Fatal`; too many warnings leave out the rest of them.
    """

    def __init__(
        self,
        root: yaml.Node,
        shown: str,
        problems: Iterable[Problem] = (),
        *,
        strict: bool = False,
    ) -> None:
        # An environment may be laid over it.
        self.root = root
        self._strict = strict
        self._shown = shown
        self._problems = list(problems)
        self._errors = len(self._problems)
        self._warnings = 0

    @property
    def failed(self) -> bool:
        """Whether anything so far is an error."""
        return self._errors > 0

    @property
    def full(self) -> bool:
        """Whether further warnings are left out."""
        return self._warnings >= yaml.MAX_PROBLEMS

    def sorted(self) -> list[Problem]:
        """All problems in the file's order, each once."""
        return sorted(
            dict.fromkeys(self._problems),
            key=lambda p: (p.where.line, p.where.column) if p.where else (0, 0),
        )

    def error(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` is wrong."""
        self._value(path, message, hint, "error")

    def warning(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` does not do what it seems to."""
        self._value(path, message, hint, "warning")

    def doubtful(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` is skipped, as Prefect does; an error when strict."""
        (self.error if self._strict else self.warning)(path, message, hint)

    def key(
        self,
        path: Path,
        message: str,
        hint: str | None = None,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """The key that ends ``path`` is wrong."""
        if severity == "warning" and self.full:
            return
        place = yaml.key_place(self.root, path) or (1, 1)
        self._add(path[:-1], message, hint, place, severity)

    def ignored(self, path: Path, known: Iterable[str], hint: str | None = None) -> None:
        """The key that ends ``path`` does nothing in Prefect; an error when strict.

        Without a ``hint`` it is the nearest of the ``known`` keys.
        """
        severity: Literal["error", "warning"] = "error" if self._strict else "warning"
        if severity == "warning" and self.full:
            return
        name = str(path[-1])
        message = f"Prefect ignores this key: {quoted(name)}"
        self.key(path, message, hint or did_you_mean(name, known), severity)

    def invalid(self, path: Path, detail: ErrorDetails, model: type[BaseModel]) -> None:
        """What ``model`` says about the value at ``path``."""
        full: Path = (*path, *detail["loc"])
        if detail["type"] == "extra_forbidden":
            name = str(full[-1])
            section = _section(model, detail["loc"][:-1])
            known = [field.alias or key for key, field in section.model_fields.items()]
            moved = _SCHEDULE_KEYS.get(name) if section is schema.ScheduleSection else None
            hint = moved or did_you_mean(name, known)
            self.key(full, f"unknown key {quoted(name)}", hint)
        elif detail["type"] == "missing":
            self.error(full[:-1], f"{quoted(str(full[-1]))} is missing")
        elif detail["type"] == "invalid_key" or "[key]" in full:
            full = tuple(part for part in full if part != "[key]")
            # The loc spells a key as text or number; the document may hold another type.
            self.key(
                self._actual(full, detail["input"]),
                f"key {_spelled(detail['input'])} is not text",
                "put it in quotes",
            )
        else:
            self.error(full, *explain(detail))

    def _actual(self, path: Path, key: object) -> Path:
        parent, steps = yaml.at(self.root, path[:-1])
        if parent is not None and steps == len(path) - 1 and path[-1] not in parent.entries:
            return next(((*path[:-1], each) for each in parent.entries if each == key), path)
        return path

    def _value(
        self, path: Path, message: str, hint: str | None, severity: Literal["error", "warning"]
    ) -> None:
        if severity == "warning" and self.full:
            return
        node, steps = yaml.at(self.root, path)
        place = (node.line, node.column) if node else (1, 1)
        self._add(path[:steps], message, hint, place, severity)

    def _add(
        self,
        path: Path,
        message: str,
        hint: str | None,
        place: tuple[int, int],
        severity: Literal["error", "warning"],
    ) -> None:
        subject, context = self._context(path)
        text = ": ".join(part for part in (subject, context, message) if part)
        where = Position(self._shown, *place)
        self._problems.append(Problem(text, where, hint, severity, subject=subject))
        if severity == "warning":
            self._warnings += 1
            if self.full:
                told = "more warnings than can be listed"
                self._problems.append(Problem(told, where, None, severity))
            return
        self._errors += 1
        if self._errors >= yaml.MAX_PROBLEMS:
            told = "more problems than can be listed"
            raise yaml.Fatal(Problem(told, where), self.sorted())

    def _context(self, path: Path) -> tuple[str, str]:
        """The deployment that ``path`` is in, if it is in one, and the rest of it."""
        if len(path) < 2 or path[0] != "deployments" or not isinstance(path[1], int):
            return "", dotted(path)
        node, steps = yaml.at(self.root, (*path[:2], "name"))
        name = node.value if node is not None and steps == 3 else None
        return label(path[1], name), dotted(path[2:])


def _spelled(key: object) -> str:
    if key is None:
        return "null"
    return str(key).lower() if isinstance(key, bool) else shortened(str(key))


def _section(model: Any, path: Path) -> type[BaseModel]:
    """The model that is somewhere in the annotations of ``model``, where ``path`` leads."""
    parts = iter(path)
    for part in parts:
        fields = model.model_fields if isinstance(part, str) else {}
        named = [field for name, field in fields.items() if part in (name, field.alias)]
        # An index leads to what the last annotation holds anyway.
        if named:
            annotation = named[0].annotation
            model = _models(annotation)[0]
            if dict in [get_origin(each) for each in (annotation, *get_args(annotation))]:
                next(parts, None)  # a key of any name, also of a field's
    return cast("type[BaseModel]", model)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for inner in get_args(annotation) for found in _models(inner)]


def validate(model: type[_Section], value: Any, path: Path, report: Report) -> _Section | None:
    """``value`` as a section; None when something is wrong with it, which is reported."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            report.invalid(path, detail, model)
        return None


def manifest(raw: dict[Any, Any], report: Report) -> None:
    """Report what is wrong in the whole file, types apart."""
    for name in ("build", "push", "pull"):
        _steps(raw.get(name), (name,), report)
    fields = schema.ManifestSection.model_fields
    known = [field.alias or name for name, field in fields.items()]
    for key in raw:
        # Extra top-level keys are a common home for anchors; only slips are worth a word.
        if report.full:
            break
        if isinstance(key, str) and key not in known and (meant := nearest(key, known, 0.8)):
            report.ignored((key,), known, f"did you mean {meant!r}?")
    listed = raw.get("deployments")
    if not isinstance(listed, list):
        return
    seen: dict[tuple[str, str], int] = {}
    for number, item in enumerate(listed):
        if is_template(item):
            message = "neither a name nor an entrypoint: it is not deployed"
            report.doubtful(("deployments", number), message, "give it both, or take it out")
        elif isinstance(item, dict):
            _deployment(item, ("deployments", number), report)
            _duplicate(item, number, seen, report)


def is_template(item: Any) -> bool:
    """Whether a deployment is only there to be merged into others; Prefect skips it as well."""
    return isinstance(item, dict) and item.get("name") is item.get("entrypoint") is None


def _deployment(item: dict[Any, Any], path: Path, report: Report) -> None:
    name, entrypoint = item.get("name"), item.get("entrypoint")
    if name is None or name == "":
        report.error(path, "'name' is missing", "every deployment needs a name")
    elif isinstance(name, str) and (bad := bad_name(name)):
        report.error((*path, "name"), bad)
    if entrypoint is None or entrypoint == "":
        report.error(path, "'entrypoint' is missing", "write path/to/file.py:flow_function")
    elif isinstance(entrypoint, str) and "{{" not in entrypoint:
        try:
            Entrypoint.parse(entrypoint)
        except ValueError as error:
            hint = "write path/to/file.py:flow_function"
            report.error((*path, "entrypoint"), f"{quoted(entrypoint)} {error}", hint)
    _ignored(item, schema.DeploymentSection, path, report)
    for part, model in (
        ("work_pool", schema.WorkPoolSection),
        ("concurrency_limit", schema.ConcurrencySection),
    ):
        if isinstance(item.get(part), dict):
            _ignored(item[part], model, (*path, part), report)
    tags(item.get("tags"), (*path, "tags"), report)
    for part in ("build", "push", "pull"):
        _steps(item.get(part), (*path, part), report)
    _triggers(item.get("triggers"), (*path, "triggers"), report)
    _version_type(item.get("version_type"), (*path, "version_type"), report)
    if item.get("sla"):
        report.error((*path, "sla"), "an SLA works on Prefect Cloud only", "remove it")


def bad_name(name: str) -> str | None:
    """Why a deployment or flow cannot have this name; placeholders are not judged."""
    banned = None if "{{" in name else _BANNED.search(name)
    return (
        f"{quoted(name)} holds {banned.group()!r}; a name has none of / % & > <" if banned else None
    )


def _ignored(item: dict[Any, Any], model: type[BaseModel], path: Path, report: Report) -> None:
    known = list(model.model_fields)
    for key in item:
        if not isinstance(key, str) or key in known:
            continue
        hint = _BELONGS.get(key) if model is schema.DeploymentSection else None
        report.ignored((*path, key), known, hint)


def tags(value: Any, path: Path, report: Report) -> None:
    """Report tags that only a source itself may set."""
    for number, tag in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(tag, str) and tag.startswith(MARK_PREFIX):
            message = f"tags that start with {MARK_PREFIX!r} are marks of ownership"
            report.error((*path, number), message, "choose another tag")


def _version_type(value: Any, path: Path, report: Report) -> None:
    if isinstance(value, str) and value not in _VERSION_TYPES and "{{" not in value:
        message = f"{quoted(value)} is not one of {', '.join(_VERSION_TYPES)}"
        report.error(path, message, did_you_mean(value, _VERSION_TYPES))


def _triggers(listed: Any, path: Path, report: Report) -> None:
    for number, item in enumerate(listed if isinstance(listed, list) else []):
        if not isinstance(item, dict):
            continue  # told already
        for where, detail, hint in triggers.check(item, (*path, number)):
            if isinstance(detail, str):
                report.error(where, detail, hint)
            else:
                report.invalid(where, detail, BaseModel)
        for where, known in triggers.ignored(item, (*path, number)):
            report.ignored(where, known)


def read_schedules(item: dict[Any, Any], path: Path, report: Report) -> dict[str, Any]:
    """The schedules of a deployment as sections; what is wrong in them is reported."""
    legacy, listed = item.get("schedule"), item.get("schedules")
    if legacy and "schedules" in item:
        message = "'schedule' and 'schedules' exclude each other"
        report.key((*path, "schedule"), message, "keep schedules:")
    sections: dict[str, Any] = {}
    if isinstance(legacy, dict) and legacy:
        sections["schedule"] = _schedule(legacy, (*path, "schedule"), report)
    if isinstance(listed, list):
        sections["schedules"] = [
            _schedule(each, (*path, "schedules", number), report)
            if isinstance(each, dict)
            else each
            for number, each in enumerate(listed)
        ]
        _slugs(sections["schedules"], (*path, "schedules"), report)
    return sections


def _schedule(value: dict[Any, Any], path: Path, report: Report) -> schema.ScheduleSection:
    """One schedule, an empty one when something is wrong with it."""
    section = validate(schema.ScheduleSection, value, path, report)
    if section is None:
        return schema.ScheduleSection()
    for part, message, hint in schedules.check(section):
        report.error((*path, part) if part else path, message, hint)
    if section.replaces and not section.slug:
        message = "'replaces' does nothing without a 'slug'"
        report.key((*path, "replaces"), message, "write slug: NEW-NAME", "warning")
    return section


def _slugs(sections: list[Any], path: Path, report: Report) -> None:
    slugs: set[str] = set()
    replaced: set[str] = set()
    for number, section in enumerate(sections):
        if not isinstance(section, schema.ScheduleSection):
            continue
        if section.slug in slugs:
            message = f"slug {quoted(section.slug or '')} is used twice in this deployment"
            hint = "every schedule has a slug of its own"
            report.error((*path, number, "slug"), message, hint)
        if section.replaces in replaced:
            message = f"slug {quoted(section.replaces or '')} is replaced twice"
            hint = "only one schedule can take its place"
            report.error((*path, number, "replaces"), message, hint)
        slugs |= {section.slug} if section.slug else set()
        replaced |= {section.replaces} if section.replaces else set()


def _steps(steps: Any, path: Path, report: Report) -> None:
    single = isinstance(steps, dict)
    listed = ([steps] if steps else []) if single else steps
    for number, step in enumerate(listed if isinstance(listed, list) else []):
        where = path if single else (*path, number)
        if not isinstance(step, dict) or not step:
            continue
        if len(step) > 1:
            message = f"a step is one key, this has {len(step)}"
            report.error(where, message, "indent the inputs of the step under its name")
            continue
        [(name, inputs)] = step.items()
        if inputs is not None and not isinstance(inputs, dict):
            message = f"inputs of {quoted(str(name))} must be a mapping"
            report.error((*where, name), message, "write 'key: value' lines below it")
            continue
        required = (inputs or {}).get("requires")
        texts = required if isinstance(required, list) else [required]
        if any(isinstance(text, str) and pin.leaves_open(text) for text in texts):
            report.warning(
                (*where, name, "requires"),
                "workers without this package would install whatever the index has under its name",
                "take the line out and install gitops-flow on the workers, or name one content: "
                "gitops-flow==VERSION, or an address with #sha256=DIGEST",
            )


def _duplicate(
    item: dict[Any, Any], number: int, seen: dict[tuple[str, str], int], report: Report
) -> None:
    name, flow = item.get("name"), item.get("entrypoint")
    if not (isinstance(name, str) and isinstance(flow, str) and name and flow):
        return
    first = seen.setdefault((flow, name), number)
    if first != number:
        message = f"the same name and entrypoint as deployments[{first}]"
        report.error(("deployments", number, "name"), message, "rename or remove one of them")
