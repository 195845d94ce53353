"""Filling in one deployment's placeholders, and saying where one cannot be."""

from __future__ import annotations

import fnmatch
import itertools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gitops_flow.manifest import yaml
from gitops_flow.manifest.config import step_sections
from gitops_flow.manifest.placeholders import (
    KEEP,
    MISSING,
    REMOVE,
    Placeholder,
    block_parts,
    block_value,
    fill,
    lookup,
    names,
    placeholders,
    variable_name,
)
from gitops_flow.manifest.wording import dotted, quoted, shortened
from gitops_flow.model import Problem
from gitops_flow.names import did_you_mean
from gitops_flow.redact import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
    from typing import Literal

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.manifest.placeholders import Answers, Keep, Remove
    from gitops_flow.model import Json

    Path = tuple[Hashable, ...]

# Where the names of a manifest and of model.Deployment differ.
_FIELDS = {
    "schedule": "schedules",
    "triggers": "automations",
    "pull": "pull_steps",
    "work_queue_name": "work_queue",
}
_MOST_LABELS = 3
_HOW_TO_NAME_A_BLOCK = "write {{ prefect.blocks.<type>.<name> }}"
# Why what a deploy tells its steps may be missing.
_ABSENT = {
    "gitflow.branch": "HEAD is detached, or this is no git repository; check a branch out",
    "gitflow.commit": "there is no commit yet",
}
USE_A_BLOCK = "use '{{ prefect.blocks.secret.NAME }}'"
# Where placeholders of blocks are left for the worker.
_FOR_WORKERS = ("job_variables", "pull_steps")
# No secrets, whatever they are called: max_tokens is a number.
_PLAIN = re.compile(r"(?i)\s*|[+-]?\d+(\.\d*)?|true|false|yes|no|on|off")


@dataclass(slots=True)
class Substitution:
    """Fills in one deployment's placeholders and collects its problems.

    ``refuse_secrets``: a secret of the environment that the server would keep in clear
    is an error, unless the manifest allows it. ``unknown`` collects the fields of the
    deployment that wait for the outputs of steps, ``secret_fields`` and ``secrets`` where
    secrets went, and which. A path is the keys and indexes below the deployment or, after
    "", below the file.
    """

    manifest: Manifest
    config: DeploymentConfig
    answers: Answers
    allow_missing: bool = False
    refuse_secrets: bool = True
    problems: list[Problem] = field(default_factory=list)
    errors: int = 0
    unknown: dict[str, None] = field(default_factory=dict)
    secret_fields: dict[str, None] = field(default_factory=dict)
    secrets: dict[str, None] = field(default_factory=dict)
    # Problems in sections of the whole file, which several deployments may have.
    shared: set[Problem] = field(default_factory=set)
    _told: set[tuple[Path, str]] = field(default_factory=set)

    @property
    def failed(self) -> bool:
        """Whether anything so far is an error."""
        return self.errors > 0

    @property
    def outputs(self) -> Mapping[str, Json] | None:
        """What the deployment's steps gave; None when it has some and they have not run."""
        if (outputs := (self.answers.outputs or {}).get(self.config.index)) is not None:
            return outputs
        return None if any(step_sections(self.manifest, self.config).all) else {}

    def error(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` is wrong."""
        self._add("error", path, message, hint)

    def warning(self, path: Path, message: str, hint: str | None = None) -> None:
        """As :meth:`error`, for what works but not as it may seem."""
        self._add("warning", path, message, hint)

    def note(self, path: Path, message: str) -> None:
        """As :meth:`error`, for what is only worth knowing."""
        self._add("note", path, message, None)

    def text(self, value: str | None, *path: Hashable) -> str | None:
        """As :meth:`value`, for text."""
        filled = self.value(value, *path)
        return filled if filled is None else str(filled)

    def value(self, value: Json, *path: Hashable) -> Json:
        """``value`` filled in; a placeholder that cannot be is an error."""
        return fill(value, lambda mark: self.answer(mark, path))

    def early(self, value: str | None, *path: Hashable) -> str | None:
        """As :meth:`text`, for what has to be known before any step runs."""

        def answer(mark: Placeholder) -> Json | Keep | Remove:
            if mark.kind == "output" and lookup(self.answers.environ, mark.name) is MISSING:
                hint = "write {{ $NAME }} for an environment variable"
                message = f"{mark.shown} cannot stand here: this is needed before any step runs"
                self.error((*path, *mark.path), message, hint)
                return KEEP
            return self.answer(mark, path)

        filled = fill(value, answer)
        return filled if filled is None else str(filled)

    def job_variables(self, value: Json, *path: Hashable) -> Json:
        """As :meth:`value`, but blocks and variables are left for the worker."""

        def answer(mark: Placeholder) -> Json | Keep | Remove:
            if mark.kind in ("block", "variable"):
                self.leave(mark, (*path, *mark.path))
                return KEEP
            return self.answer(mark, path)

        return fill(value, answer)

    def trigger_parameters(self, value: Json, *path: Hashable) -> Json:
        """As :meth:`value`, but what is left is the server's, to fill in from the event."""

        def answer(mark: Placeholder) -> Json | Keep | Remove:
            unset = lookup(self.answers.environ, mark.name) is MISSING
            return KEEP if mark.kind == "output" and unset else self.answer(mark, path)

        return fill(value, answer)

    def answer(self, mark: Placeholder, path: Path, *, stored: bool = True) -> Json | Keep | Remove:
        """What fills in a placeholder in the value at ``path``.

        ``stored`` says that the server will keep the result.
        """
        where = (*path, *mark.path)
        if mark.kind == "context":
            return KEEP
        if mark.kind == "env":
            value = self._environment(mark, where)
            self.note_environment(mark, path, value, stored=stored)
            return value
        if mark.kind == "variable":
            return self._variable(mark, where)
        if mark.kind == "block":
            return self._block(mark, where, stored)
        # Prefect reads {{ NAME }} from the environment as well as {{ $NAME }}.
        value = lookup(self.answers.environ, mark.name)
        if value is not MISSING:
            self.note_environment(mark, path, value, stored=stored)
            return value
        if self.outputs is None:
            self.unknown[_field(path)] = None
            return KEEP
        value = lookup(self.outputs, mark.name)
        return self.nothing(mark, where, names(self.outputs)) if value is MISSING else value

    def _environment(self, mark: Placeholder, where: Path) -> str:
        value = self.answers.environ.get(mark.name)
        if value is None and self._is_news(mark, where):
            hint = (
                did_you_mean(mark.name, self.answers.environ, 0.8)
                or f"export {shortened(mark.name)}=..."
            )
            self.error(where, f"environment variable {quoted(mark.name)} is not set", hint)
        return value or ""

    def _variable(self, mark: Placeholder, where: Path) -> Json:
        name = variable_name(mark)
        if name in self.answers.variables:
            return self.answers.variables[name]
        if self._is_news(mark, where):
            hint = did_you_mean(name, [each for each in self._on_server if "/" not in each])
            message = f"there is no variable {quoted(name)} on the server"
            self.error(where, message, hint or f"prefect variable set {shortened(name)} VALUE")
        return ""

    def _block(self, mark: Placeholder, where: Path, stored: bool) -> Json | Keep:
        parts = block_parts(mark)
        if parts is None:
            message = f"{mark.shown} names no block"
            self.error(where, message, _HOW_TO_NAME_A_BLOCK)
            return KEEP
        slug, name, path = parts
        key = f"{slug}/{name}"
        if key not in self.answers.blocks:
            hint = did_you_mean(key, [each for each in self._on_server if "/" in each])
            self.error(where, f"there is no block {quoted(key)} on the server", hint)
            return KEEP
        value = block_value(self.answers.blocks[key], path)
        if value is MISSING:
            self.error(where, f"block {quoted(key)} has no {quoted(path)}")
        elif not mark.whole and isinstance(value, dict | list):
            message = f"{mark.shown} is not text and cannot stand inside text"
            self.error(where, message, "name one value in it, or let it be the whole value")
        else:
            self.note_secret(mark, where[: len(where) - len(mark.path)], value)
            if slug == "secret" and stored:
                message = f"the value of {mark.shown} will be stored on the server in clear"
                self.warning(where, message, "load the block in the flow instead")
            return value
        return KEEP

    def leave(self, mark: Placeholder, where: Path) -> None:
        """Tell when a block or variable that is left for the worker does not exist."""
        if self.answers.left is None:
            return
        if mark.kind == "variable":
            name = variable_name(mark)
            message = f"there is no variable {quoted(name)} on the server: runs would get ''"
            near = [each for each in self._on_server if "/" not in each]
            hint = did_you_mean(name, near) or f"prefect variable set {name} VALUE"
        elif parts := block_parts(mark):
            name = f"{parts[0]}/{parts[1]}"
            message = f"there is no block {quoted(name)} on the server: every run would crash"
            hint = did_you_mean(name, [each for each in self._on_server if "/" in each]) or ""
        else:
            self.error(where, f"{mark.shown} names no block", _HOW_TO_NAME_A_BLOCK)
            return
        if name not in self.answers.left and (where, mark.text) not in self._told:
            self._told.add((where, mark.text))
            tell = self.warning if self.allow_missing else self.error
            tell(where, message, hint or None)

    @property
    def _on_server(self) -> tuple[str, ...]:
        """Variables, and blocks as ``slug/name``."""
        return (*self.answers.variables, *self.answers.blocks, *self.answers.names)

    def note_secret(self, mark: Placeholder, path: Path, value: Json) -> None:
        """Remember that ``value``, which the value at ``path`` gets, is not to be shown."""
        self.secret_fields[_secret_field(path, mark)] = None
        self.secrets |= dict.fromkeys(_texts(value))

    def note_environment(
        self, mark: Placeholder, path: Path, value: str, *, stored: bool = True
    ) -> None:
        """What there is to say of a variable of the environment in the value at ``path``.

        One that is named like a secret, or stands under such a key, is one.
        """
        if not (is_secret(mark) or is_secret_key(mark.name)):
            return
        self.note_secret(mark, path, value)
        allowed = self.manifest.gitflow.allow_stored_secrets
        if not stored or any(fnmatch.fnmatchcase(mark.name, each) for each in allowed):
            return
        where = (*path, *mark.path)
        use = "load a secret block in the flow"
        if _field(path) in _FOR_WORKERS:
            use = f"{USE_A_BLOCK}, which stays a placeholder until a worker needs it"
        message = f"the value of ${mark.name} {{}} be stored on the server in clear"
        if _PLAIN.fullmatch(value) or not self.refuse_secrets:
            self.warning(where, message.format("will"), use)
        else:
            allow = f"gitflow: {{allow_stored_secrets: [{mark.name}]}}"
            self.error(where, message.format("would"), f"{use}; or allow it with {allow}")

    def nothing(self, mark: Placeholder, where: Path, known: Iterable[str]) -> Remove:
        """The answer where none is known: an error, or Prefect's way if that was asked for."""
        if self._is_news(mark, where):
            hint = _ABSENT.get(mark.name) or did_you_mean(mark.name, known)
            if hint is None and mark.kind == "output":
                hint = "write {{ $NAME }} for an environment variable"
            self.error(where, f"nothing fills in {mark.shown}", hint)
        return REMOVE

    def _is_news(self, mark: Placeholder, where: Path) -> bool:
        """Whether a placeholder's lack of an answer is to be told, and has not been yet."""
        full = self.errors >= yaml.MAX_PROBLEMS
        if full or self.allow_missing or (where, mark.text) in self._told:
            return False
        self._told.add((where, mark.text))
        return True

    def _add(
        self,
        severity: Literal["error", "warning", "note"],
        path: Path,
        message: str,
        hint: str | None,
    ) -> None:
        self.errors += severity == "error"
        if path[:1] == ("",):  # a section of the whole manifest
            full = path[1:]
            text = f"{dotted(full)}: {message}"
            problem = Problem(text, self.manifest.position(*full), hint, severity)
            self.problems.append(problem)
            self.shared.add(problem)
            return
        rest = f"{self.config.label}: {dotted(path)}" if path else self.config.label
        if option := self.config.option_of(path):
            text = f"{option}: {rest}: {message}"
            self.problems.append(Problem(text, None, hint, severity))
            return
        where = self.manifest.position("deployments", self.config.index, *path)
        self.problems.append(
            Problem(f"{rest}: {message}", where, hint, severity, subject=self.config.label)
        )


def named(manifest: Manifest, substitutions: Sequence[Substitution]) -> list[Problem]:
    """The problems of several deployments, each once.

    One in a section of the whole file says whose it is, unless every deployment has it.
    """
    labels: dict[Problem, list[str]] = {}
    for substitution in substitutions:
        for problem in dict.fromkeys(substitution.problems):
            labels.setdefault(problem, []).append(substitution.config.label)
    shared = {problem for substitution in substitutions for problem in substitution.shared}
    return [
        replace(problem, message=f"{_listed(whose)}: {problem.message}")
        if problem in shared and len(whose) < len(manifest.deployments)
        else problem
        for problem, whose in labels.items()
    ]


def _listed(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST_LABELS
    return ", ".join(labels[:_MOST_LABELS]) + (f" and {more} more" if more > 0 else "")


def _field(path: Path) -> str:
    """The field of model.Deployment that the value at ``path`` of a manifest becomes."""
    names_ = [part for part in path if isinstance(part, str) and part not in ("", "work_pool")]
    first = names_[0] if names_ else ""
    if path[:1] == ("work_pool",) and first == "name":
        return "work_pool"
    return _FIELDS.get(first, first)


def secret_fields(config: DeploymentConfig) -> tuple[str, ...]:
    """Where a deployment's placeholders are filled in with secrets; see model.Deployment."""
    spec = config.spec
    places: list[tuple[Path, Json]] = [
        ((name,), getattr(spec, name))
        for name in ("parameters", "description", "version", "tags", "triggers")
    ]
    places += [
        (("schedules",), each.model_dump(exclude_unset=True))
        for each in [spec.schedule, *(spec.schedules or [])]
        if each is not None
    ]
    if spec.work_pool is not None:
        places.append((("work_pool", "job_variables"), spec.work_pool.job_variables))
    fields: dict[str, None] = {}
    for path, value in places:
        for mark in placeholders(value):
            stays = mark.kind == "block" and path[0] == "work_pool"  # as it is written
            if not stays and (mark.kind == "block" or is_secret(mark) or is_secret_key(mark.name)):
                fields[_secret_field(path, mark)] = None
    return tuple(fields)


def _secret_field(path: Path, mark: Placeholder) -> str:
    part = _field(path)
    if part in ("parameters", "job_variables"):
        keys = itertools.takewhile(lambda key: isinstance(key, str), mark.path)
        part = ".".join([part, *map(str, keys)])
    return part


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def is_secret(mark: Placeholder) -> bool:
    """Whether the key that holds the placeholder is by its name likely to hold a secret."""
    return bool(mark.path) and is_secret_key(str(mark.path[-1]))
