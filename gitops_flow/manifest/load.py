"""Reading a manifest: every problem at once, or a Manifest."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from gitops_flow.errors import ManifestError
from gitops_flow.manifest import checks, environments, yaml
from gitops_flow.manifest.checks import Report
from gitops_flow.manifest.config import (
    DeploymentConfig,
    Environment,
    GitflowConfig,
    Manifest,
    position,
)
from gitops_flow.manifest.schema import (
    DeploymentSection,
    EnvironmentSection,
    GitflowSection,
    ManifestSection,
)
from gitops_flow.manifest.wording import described, quoted, shortened
from gitops_flow.model import CodeStoreSettings, Position, Problem

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    Keys = tuple[Hashable, ...]

# The keys that say which source a manifest is, and where its releases are.
_SOURCE = ("name", "gitflow")
_STEPS = ("build", "push", "pull")
# Python writes no number of more than 4,300 digits as text.
_MOST_BITS = 10_000


def load(path: Path, shown: str, *, strict: bool = False, source_only: bool = False) -> Manifest:
    """Read and check the manifest at ``path``.

    Args:
        path: the file.
        shown: its name in messages, usually relative to where the user is.
        strict: make errors of the keys that Prefect silently ignores.
        source_only: read ``name`` and ``gitflow``, whatever is wrong with the rest.

    Raises:
        ManifestError: with every problem that was found, in the file's order.
    """
    directory = path.parent.resolve().name
    return parse(
        content(path, shown), shown, strict=strict, directory=directory, source_only=source_only
    )


def content(path: Path, shown: str) -> bytes:
    """The bytes of the manifest at ``path``, of one that is too large the first ones.

    Raises:
        ManifestError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(yaml.MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _error(shown, [Problem(f"{shown} cannot be read: {reason}")]) from None


def parse(
    data: bytes,
    shown: str,
    *,
    strict: bool = False,
    directory: str = "",
    source_only: bool = False,
    environment: str | None = None,
) -> Manifest:
    """As :func:`load`, from the file's content; ``directory`` names the folder it is in.

    An ``environment`` is laid over the deployments.

    Raises:
        ManifestError: with every problem that was found, in the file's order.
    """
    try:
        return _parse(data, shown, strict, directory, source_only, environment)
    except yaml.Fatal as fatal:
        raise _error(shown, fatal.problems) from None


def unread(shown: str) -> Manifest:
    """What stands for a manifest that is gone or broken where nothing more is asked of it."""
    told = "it cannot be read: the repository alone says which source this is"
    problem = Problem(told, Position(shown, 1, 1), severity="warning")
    return Manifest(shown, None, (), GitflowConfig(), problems=(problem,))


def _parse(
    data: bytes,
    shown: str,
    strict: bool,
    directory: str,
    source_only: bool,
    environment: str | None,
) -> Manifest:
    root, problems = yaml.read(data, shown)
    if root is None or not isinstance(root.value, dict):
        raise _error(shown, [*problems, _not_a_manifest(root, shown)])
    if source_only:
        return _source(root, shown, problems, directory, environment)
    report = Report(root, shown, problems, strict=strict)
    top_level = _sections_as_json(root.value, _STEPS, (), report)
    top = checks.validate(ManifestSection, {**top_level, "deployments": []}, (), report)
    for path, overlay in environments.overlays(root):
        _deployment_as_json(overlay, path, report)
    environments.check(root, environment, report)
    environments.check_names(root, report)
    scheduled: set[int] = set()
    if environment is not None and not report.failed:
        root, scheduled = environments.lay_over(root, environment, shown)
        report.root = root
    raw = as_json(root.value, report)
    listed = raw.get("deployments", [])
    if not isinstance(listed, list):
        hint = "remove the line, or write []" if listed is None else "start each item with '- '"
        report.error(("deployments",), f"expected a list, got {described(listed)}", hint)
        listed = []
    sections = [
        None if checks.is_template(item) else _deployment(item, ("deployments", number), report)
        for number, item in enumerate(listed)
    ]
    checks.manifest(raw, report)
    if report.failed or top is None:
        raise _error(shown, report.sorted())
    configs = tuple(
        _config(number, section, root, shown, number in scheduled)
        for number, section in enumerate(sections)
        if section is not None
    )
    return Manifest(
        shown=shown,
        name=top.name,
        deployments=configs,
        gitflow=_gitflow(top.gitflow, environment),
        build=_tuple(top.build),
        push=_tuple(top.push),
        pull=_tuple(top.pull),
        problems=tuple(report.sorted()),
        directory=directory,
        environment=_environment(top.gitflow, environment, root, shown),
        root=root,
    )


def _source(
    root: yaml.Node, shown: str, problems: list[Problem], directory: str, environment: str | None
) -> Manifest:
    report = Report(root, shown, [each for each in problems if _about_source(root, each)])
    raw = {key: value for key, value in root.value.items() if key in _SOURCE}
    top = checks.validate(ManifestSection, raw, (), report)
    environments.check(root, environment, report)
    if report.failed or top is None:
        raise _error(shown, report.sorted())
    return Manifest(
        shown=shown,
        name=top.name,
        deployments=(),
        gitflow=_gitflow(top.gitflow, environment),
        directory=directory,
        environment=_environment(top.gitflow, environment, root, shown),
        root=root,
    )


def _about_source(root: yaml.Node, problem: Problem) -> bool:
    """Whether a problem of the YAML is in what says the source, or in the top level itself."""
    if problem.where is None:
        return True
    place = (problem.where.line, problem.where.column)
    keys = [(line, column, key) for key, (line, column, _) in root.entries.items()]
    before = [each for each in keys if each[:2] <= place]
    section = max(before, key=lambda each: each[:2], default=None)
    return section is None or section[2] in _SOURCE or section[1] == place[1]


def _deployment(item: Any, path: Keys, report: Report) -> DeploymentSection | None:
    if isinstance(item, dict):
        item = {**item, **checks.read_schedules(item, path, report)}
    return checks.validate(DeploymentSection, item, path, report)


def _config(
    number: int, section: DeploymentSection, root: yaml.Node, shown: str, own_schedules: bool
) -> DeploymentConfig:
    return DeploymentConfig(
        index=number,
        name=section.name or "",
        entrypoint=section.entrypoint or "",
        where=position(root, shown, ("deployments", number)),
        spec=section,
        own_schedules=own_schedules,
    )


def _environment(
    section: GitflowSection | None, name: str | None, root: yaml.Node, shown: str
) -> Environment | None:
    if name is None:
        return None
    said = ((section and section.environments) or {}).get(name) or EnvironmentSection()
    key = "profile" if said.profile else "api_url"
    where = position(root, shown, (*environments.PATH, name, key))
    return Environment(name, where, said.profile, said.api_url)


def _gitflow(section: GitflowSection | None, environment: str | None) -> GitflowConfig:
    if section is None:
        return GitflowConfig()
    store = section.code_store
    over = (section.environments or {}).get(environment or "") or section
    suffix = over.suffix if "suffix" in over.model_fields_set else section.suffix
    return GitflowConfig(
        source=section.source,
        code_store=store.settings() if store else CodeStoreSettings(),
        allow_secrets=tuple(section.allow_secrets or ()),
        allow_stored_secrets=tuple(section.allow_stored_secrets or ()),
        max_file_size=section.max_file_size,
        max_total_size=section.max_total_size,
        submodules=section.submodules,
        ignore_submodules=tuple(section.ignore_submodules or ()),
        lfs=section.lfs == "include",
        ci_files=section.ci_files == "include",
        paths=tuple(section.paths or ()),
        checkout=section.checkout,
        release=section.release,
        requires=section.requires,
        ignore=tuple(dict.fromkeys(section.ignore or ())),
        suffix=suffix or "",
    )


def _tuple(steps: list[dict[str, Any]] | None) -> tuple[dict[str, Any], ...] | None:
    return None if steps is None else tuple(steps)


def _not_a_manifest(root: yaml.Node | None, shown: str) -> Problem:
    if root is None or root.value is None:
        return Problem("the file is empty", Position(shown, 1, 1), "add a 'deployments:' list")
    where = Position(shown, root.line, root.column)
    message = f"expected a mapping at the top level, got {described(root.value)}"
    return Problem(message, where, "start with 'deployments:'")


def _error(shown: str, problems: list[Problem]) -> ManifestError:
    listed = tuple(
        problem if problem.severity == "error" else _as_warning(problem) for problem in problems
    )
    count = sum(1 for problem in problems if problem.severity == "error")
    message = f"{count} problem{'s' * (count != 1)} in {shown}; nothing was changed"
    return ManifestError(message, listed)


def _as_warning(problem: Problem) -> Problem:
    return Problem(f"warning: {problem.message}", problem.where, problem.hint, problem.severity)


def as_json(raw: dict[Any, Any], report: Report) -> dict[Any, Any]:
    """``raw`` with all that is free-form as JSON values; what has none is reported."""
    result: dict[Any, Any] = _sections_as_json(raw, _STEPS, (), report)
    listed = raw.get("deployments")
    if isinstance(listed, list):
        result["deployments"] = [
            _deployment_as_json(item, ("deployments", number), report)
            for number, item in enumerate(listed)
        ]
    return result


def _deployment_as_json(item: Any, path: Keys, report: Report) -> Any:
    if not isinstance(item, dict):
        return item
    result = _sections_as_json(
        item, ("parameters", "triggers", "tags", "sla", *_STEPS), path, report
    )
    if isinstance(pool := item.get("work_pool"), dict):
        inner = (*path, "work_pool")
        result["work_pool"] = _sections_as_json(pool, ("job_variables",), inner, report)
    if isinstance(schedules := item.get("schedules"), list):
        result["schedules"] = [
            _sections_as_json(each, ("parameters",), (*path, "schedules", number), report)
            for number, each in enumerate(schedules)
        ]
    if "schedule" in item:
        inner = (*path, "schedule")
        result["schedule"] = _sections_as_json(item["schedule"], ("parameters",), inner, report)
    return result


def _sections_as_json(raw: Any, names: tuple[str, ...], path: Keys, report: Report) -> Any:
    if not isinstance(raw, dict):
        return raw
    return {
        key: _json(value, (*path, key), report, top=True) if key in names else value
        for key, value in raw.items()
    }


def _json(value: Any, path: Keys, report: Report, *, top: bool = False) -> Any:
    if isinstance(value, dict):
        return {
            # At the top the models judge the key themselves.
            key if top else _key(key, (*path, key), report): _json(inner, (*path, key), report)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_json(inner, (*path, at), report) for at, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        report.error(path, f"{value} is not a number in JSON", "use a finite number, or text")
    elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
        report.error(path, "the number is too large to be sent", "write it as text")
    elif isinstance(value, bytes):
        report.error(path, "binary data has no place in JSON", "write it as text")
    elif isinstance(value, datetime.date) and not top:
        return to_jsonable_python(value)
    return value


def _key(key: Any, path: Keys, report: Report) -> str:
    if isinstance(key, str):
        return str(key)
    text = "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)
    hint = "put it in quotes to say so"
    report.key(
        path, f"key {shortened(text)} is not text; it is sent as {quoted(text)}", hint, "warning"
    )
    return text
