"""A manifest and what its flows say, to the deployments that it asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gitops_flow.manifest.answers import Answers
from gitops_flow.manifest.desired import Desired
from gitops_flow.manifest.filling import Filling, named
from gitops_flow.manifest.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops_flow.errors import FlowError
    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.model import Deployment, FlowInfo, Json, Problem

    Step = dict[str, Json]


def entrypoints(manifest: Manifest, answers: Answers | Mapping[str, str]) -> dict[int, str | None]:
    """The entrypoint of each deployment with its placeholders filled in, by its index.

    None where :func:`resolve` will report that one cannot be filled in.
    ``answers`` may be the environment alone.
    """
    given = Answers(answers) if isinstance(answers, Mapping) else answers
    found: dict[int, str | None] = {}
    for config in manifest.deployments:
        filling = Filling(manifest, config, given)
        text = filling.early(config.entrypoint, "entrypoint")
        found[config.index] = None if filling.failed else text
    return found


def resolve(
    manifest: Manifest,
    *,
    mark: str,
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
    given = answers or Answers(environ or {})
    steps = (pull_step,) if isinstance(pull_step, Mapping) else tuple(pull_step)
    fillings: list[Filling] = []
    deployments: list[Deployment] = []
    seen: dict[str, DeploymentConfig] = {}
    for config in manifest.deployments if chosen is None else chosen:
        filling = Filling(manifest, config, given, allow_missing, refuse_secrets)
        one = Desired(filling, mark, default_version, flows, cloud, strict)
        deployment = one.deployment(steps, default_work_pool, is_own_repository, is_own_directory)
        if deployment is not None:
            first = seen.setdefault(deployment.full_name, config)
            if first is not config:
                name = quoted(deployment.full_name)
                filling.error(("name",), f"{name} is also deployments[{first.index}]")
            else:
                deployments.append(deployment)
        fillings.append(filling)
    problems = named(manifest, fillings)
    told = (problem for problem in problems if notes or problem.severity != "note")
    return deployments, sorted(told, key=_place)


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.where.line, problem.where.column) if problem.where else (0, 0)
