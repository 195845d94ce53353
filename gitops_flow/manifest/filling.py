"""Filling in one deployment's placeholders, and saying where one cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.manifest.template import KEEP, Placeholder, fill
from gitops_flow.manifest.wording import dotted, quoted
from gitops_flow.model import Problem
from gitops_flow.redact import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.manifest.template import Keep
    from gitops_flow.model import Json

    Path = tuple[Hashable, ...]


@dataclass(slots=True)
class Filling:
    """Fills in one deployment's placeholders and collects its problems."""

    manifest: Manifest
    config: DeploymentConfig
    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    # Steps that this version does not run would have answered some placeholders.
    outputs_known: bool = True

    @property
    def failed(self) -> bool:
        """Whether anything so far is an error."""
        return any(problem.severity == "error" for problem in self.problems)

    def error(self, path: Path, message: str, hint: str | None = None) -> None:
        """The value at ``path`` in the deployment (after "", in the file) is wrong."""
        self.problems.append(self._problem(path, message, hint))

    def warning(self, path: Path, message: str, hint: str | None = None) -> None:
        """As :meth:`error`, for what works but not as it may seem."""
        found = self._problem(path, message, hint)
        self.problems.append(Problem(found.message, found.where, hint, "warning"))

    def text(self, value: str | None, *path: Hashable) -> str | None:
        """As :meth:`value`, for text."""
        filled = self.value(value, *path)
        return filled if filled is None else str(filled)

    def value(self, value: Json, *path: Hashable) -> Json:
        """``value`` filled in; a placeholder that cannot be is an error."""
        return fill(value, lambda mark: self._answer(mark, path))

    def job_variables(self, value: Json) -> Json:
        """As :meth:`value`, but blocks and variables are left for the worker."""
        path = ("work_pool", "job_variables")

        def answer(mark: Placeholder) -> Json | Keep:
            if mark.kind in ("block", "variable"):
                return KEEP
            name = mark.path[-1] if mark.path else ""
            if mark.kind == "env" and mark.name in self.environ and is_secret_key(str(name)):
                self.warning(
                    (*path, *mark.path),
                    f"the value of ${mark.name} will be stored on the server in clear",
                    "use '{{ prefect.blocks.secret.NAME }}'",
                )
            return self._answer(mark, path)

        return fill(value, answer)

    def steps(self, value: Json, path: Path) -> Json:
        """Pull steps: what is not set here may be set on the worker, where steps run."""

        def answer(mark: Placeholder) -> Json | Keep:
            if mark.kind != "env" or mark.name not in self.environ:
                return KEEP
            if is_secret_key(str(mark.path[-1])):
                self.warning(
                    (*path, *mark.path),
                    f"{mark.text} is left for the worker's environment to fill in",
                    "use '{{ prefect.blocks.secret.NAME }}'",
                )
                return KEEP
            return self.environ[mark.name]

        return fill(value, answer)

    def _answer(self, mark: Placeholder, path: Path) -> Json | Keep:
        where = (*path, *mark.path)
        if mark.kind == "context":
            return KEEP
        # Prefect reads {{ NAME }} from the environment as well as {{ $NAME }}.
        if mark.kind in ("env", "output") and mark.name in self.environ:
            return self.environ[mark.name]
        if mark.kind == "env":
            hint = f"export {mark.name}=..."
            self.error(where, f"environment variable {quoted(mark.name)} is not set", hint)
        elif mark.kind in ("block", "variable"):
            hint = "it works in job_variables and pull steps; elsewhere write the value"
            self.error(where, f"{mark.text} is not resolved by this version yet", hint)
        elif self.outputs_known:
            hint = "write {{ $NAME }} for an environment variable"
            self.error(where, f"nothing fills in {mark.text}", hint)
        return KEEP

    def _problem(self, path: Path, message: str, hint: str | None) -> Problem:
        if path[:1] == ("",):  # a section of the whole manifest
            full = path[1:]
            return Problem(f"{dotted(full)}: {message}", self.manifest.position(*full), hint)
        rest = f"{self.config.label}: {dotted(path)}" if path else self.config.label
        where = self.manifest.position("deployments", self.config.index, *path)
        return Problem(f"{rest}: {message}", where, hint)
