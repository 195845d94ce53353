"""Build and push steps of the chosen deployments: the first effects of a deploy."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gitops_flow import buildsteps, files, manifest
from gitops_flow.codestore import address
from gitops_flow.deploy.code import take
from gitops_flow.deploy.request import Refusal
from gitops_flow.manifest.placeholders import placeholders
from gitops_flow.model import Problem
from gitops_flow.plan import Held
from gitops_flow.redact import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.request import Options
    from gitops_flow.deploy.source import Project
    from gitops_flow.git.repository import Author
    from gitops_flow.manifest import Answers, DeploymentConfig
    from gitops_flow.model import Json, StepPolicy
    from gitops_flow.plan import Plan

_PUSH_CODE = "gitops_flow.steps.push_code"
# Under this id, every step finds what the code is, as if an earlier one had said so.
ID = "gitflow"
_DIRECTORY = "directory"


def jobs(project: Project, planned: Plan) -> dict[int, buildsteps.Job]:
    """The steps that run, in order; empty when nobody has any.

    Returns:
        one job for each chosen deployment, by its index in the manifest, but for
        those that are held: what their steps make would be used by nobody. None
        for a release, whose steps ran when it was made.
    """
    if project.restored is not None:
        return {}
    held = {
        each.desired.where for each in planned.actions if isinstance(each, Held) and each.desired
    }
    todo = {}
    for config in project.chosen:
        if config.where in held:
            continue
        steps = manifest.step_sections(project.manifest, config)
        todo[config.index] = buildsteps.Job(
            config.label,
            steps.build,
            steps.push,
            build_at=_places(project, config, "build", len(steps.build)),
            push_at=_places(project, config, "push", len(steps.push)),
        )
    return todo if any(job.build or job.push for job in todo.values()) else {}


def refusals(
    project: Project, todo: Mapping[int, buildsteps.Job], policy: StepPolicy
) -> list[Refusal]:
    """The refusal of those steps of ``todo`` that ``policy`` does not allow, if there are any."""
    configs = [config for config in project.chosen if config.index in todo]
    problems = dict.fromkeys(
        Problem(
            f"the step {name} may not run here",
            manifest.step_position(project.manifest, config, section, number),
        )
        for config in configs
        for section, number, step in manifest.step_sections(project.manifest, config).numbered()
        for name in step
        if not policy.allows(name)
    )
    if not problems:
        return []
    allowed = ", ".join(sorted(policy.functions or ())) or "none"
    return [
        Refusal(
            "build or push steps are not allowed",
            tuple(problems),
            "take them out, or have whoever runs this deploy add their names to the step "
            f"functions that it allows (now: {allowed})",
            heals="new commit",
        )
    ]


def _places(
    project: Project, config: DeploymentConfig, section: buildsteps.Section, count: int
) -> tuple[str, ...]:
    return tuple(
        str(manifest.step_position(project.manifest, config, section, number))
        for number in range(count)
    )


def run(
    project: Project,
    options: Options,
    todo: Mapping[int, buildsteps.Job],
    answers: Answers,
    policy: StepPolicy,
    out: Callable[[str], None],
    code: Code,
    author: Author,
) -> dict[int, Mapping[str, Json]]:
    """Run the steps of ``todo``; the outputs by the deployment's index in the manifest.

    Args:
        project: what is deployed.
        options: how the steps are run, and the snapshot is taken.
        todo: from :func:`jobs`.
        answers: what their placeholders are filled in from.
        policy: which of them may run, and their environment.
        out: is given each line that they print.
        code: the code, of which they are told.
        author: who deploys.

    Raises:
        GitflowError: a step failed, or one of its placeholders cannot be filled in.
    """
    configs = [config for config in project.chosen if config.index in todo]

    def fill(
        job: int,
        section: buildsteps.Section,
        number: int,
        step: buildsteps.Step,
        outputs: Mapping[str, Json],
    ) -> buildsteps.Step:
        return manifest.fill_step(
            project.manifest,
            configs[job],
            section,
            number,
            dict(step),
            answers,
            {**told, **outputs},
            allow_missing=options.allow_missing,
        )

    def push_code(_inputs: Mapping[str, Json], _directory: Path) -> dict[str, Json]:
        # What the deploy publishes anyway, as it is at this moment.
        snap = take(project, code.store, options, author, answers.environ)
        target = project.target
        return {
            "commit": snap.commit,
            "repository": target.pull_input,
            "branch": target.branch,
            "source": address.origin_inputs(snap.provenance),
        }

    place = project.origin.on_disk(project.repository, code.store, code.snapshot)
    with told_of(todo.values(), code) as told, place as root:
        outputs = buildsteps.run(
            list(todo.values()),
            fill,
            cwd=root / project.base,
            policy=policy,
            out=out,
            python=options.python,
            known={_PUSH_CODE: push_code},
            hidden=list(_secrets(answers, policy)),
        )
    # The directory is gone.
    every = {ID: {name: value for name, value in told[ID].items() if name != _DIRECTORY}}
    return {index: {**every, **own} for index, own in zip(todo, outputs, strict=True)}


@contextlib.contextmanager
def told_of(jobs: Iterable[buildsteps.Job], code: Code) -> Iterator[dict[str, Json]]:
    """The outputs, by :data:`ID`, that every step finds as if an earlier one had given them.

    ``snapshot`` is the commit that is to be pinned, ``commit`` and ``branch``
    what it was made from, if there are such. ``directory`` has exactly its
    files; it is made only where a step names it, and gone after the block.

    Raises:
        GitflowError: the directory cannot be made.
    """
    origin = code.snapshot.provenance
    known = {"snapshot": code.snapshot.commit, "commit": origin.commit, "branch": origin.ref}
    values: dict[str, Json] = {name: value for name, value in known.items() if value is not None}
    steps = [[*job.build, *job.push] for job in jobs]
    if all(mark.name != f"{ID}.{_DIRECTORY}" for mark in placeholders(steps)):
        yield {ID: values}
        return
    from gitops_flow import checkout  # seldom needed, and slow to load

    with files.temporary("gitflow-code-") as top:
        lender = code.store.lend(top / "snapshot.git")
        made = checkout.make(str(lender), code.snapshot.commit, top)
        yield {ID: {**values, _DIRECTORY: str(made.directory)}}


def _secrets(answers: Answers, policy: StepPolicy) -> Iterator[str]:
    """Texts that must not be printed: whatever blocks hold, and variables named like secrets."""
    for data in answers.blocks.values():
        yield from _texts(data)
    for name, value in (*answers.environ.items(), *policy.environ.items()):
        if is_secret_key(name):
            yield value


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
