"""Build and push steps of the chosen deployments: the first effects of a deploy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gitops_flow import buildsteps, manifest
from gitops_flow.codestore import address
from gitops_flow.deploy import code, given
from gitops_flow.plan import Held
from gitops_flow.redact import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.manifest import Answers, DeploymentConfig
    from gitops_flow.model import Json
    from gitops_flow.plan import Plan

_PUSH_CODE = "gitops_flow.steps.push_code"


def jobs(prepared: Prepared, planned: Plan) -> dict[int, buildsteps.Job]:
    """The steps that run, in order; empty when nobody has any.

    Returns:
        one job for each chosen deployment, by its index in the manifest, but for
        those that are held: what their steps make would be used by nobody.
    """
    held = {
        each.desired.where for each in planned.actions if isinstance(each, Held) and each.desired
    }
    found = {}
    for config in prepared.chosen:
        if config.where in held:
            continue
        steps = manifest.step_sections(prepared.manifest, config)
        found[config.index] = buildsteps.Job(
            config.label,
            steps.build,
            steps.push,
            build_at=_places(prepared, config, "build", len(steps.build)),
            push_at=_places(prepared, config, "push", len(steps.push)),
        )
    return found if any(job.build or job.push for job in found.values()) else {}


def _places(
    prepared: Prepared, config: DeploymentConfig, section: buildsteps.Section, count: int
) -> tuple[str, ...]:
    return tuple(
        str(manifest.step_position(prepared.manifest, config, section, number))
        for number in range(count)
    )


def run(
    prepared: Prepared,
    todo: Mapping[int, buildsteps.Job],
    answers: Answers,
    out: Callable[[str], None],
    found: Code,
) -> dict[int, Mapping[str, Json]]:
    """Run the steps of ``todo``; the outputs by the deployment's index in the manifest.

    Args:
        prepared: what is deployed.
        todo: from :func:`jobs`.
        answers: what their placeholders are filled in from.
        out: is given each line that they print.
        found: the code, of which they are told (:mod:`gitops_flow.deploy.given`).

    Raises:
        GitflowError: a step failed, or one of its placeholders cannot be filled in.
    """
    configs = [config for config in prepared.chosen if config.index in todo]

    def fill(
        job: int,
        section: buildsteps.Section,
        number: int,
        step: buildsteps.Step,
        outputs: Mapping[str, Json],
    ) -> buildsteps.Step:
        return manifest.fill_step(
            prepared.manifest,
            configs[job],
            section,
            number,
            dict(step),
            answers,
            {**told, **outputs},
            allow_missing=prepared.request.allow_missing,
        )

    def push_code(_inputs: Mapping[str, Json], _directory: Path) -> dict[str, Json]:
        # What the deploy publishes anyway, as it is at this moment.
        snap = code.read(prepared, answers).snapshot
        target = prepared.target
        return {
            "commit": snap.commit,
            "repository": target.pull_input,
            "branch": target.branch,
            "source": address.origin_inputs(snap.provenance),
        }

    with given.told(todo.values(), found) as told:
        outputs = buildsteps.run(
            list(todo.values()),
            fill,
            cwd=prepared.repository.root / prepared.base,
            environ={**answers.environ, **server_environment(prepared)},
            out=out,
            python=prepared.request.python,
            known={_PUSH_CODE: push_code},
            hidden=list(_secrets(answers)),
        )
    every = given.kept(told)
    return {index: {**every, **own} for index, own in zip(todo, outputs, strict=True)}


def server_environment(prepared: Prepared) -> dict[str, str]:
    """The server that is deployed to, for steps that import Prefect, whatever named it."""
    connection = prepared.settings.require_prefect()
    found = {"PREFECT_API_URL": connection.api_url}
    if connection.auth_string:
        found["PREFECT_API_AUTH_STRING"] = connection.auth_string
    if connection.api_key:
        found["PREFECT_API_KEY"] = connection.api_key
    if connection.headers:
        found["PREFECT_CLIENT_CUSTOM_HEADERS"] = json.dumps(dict(connection.headers))
    if connection.ca_file:
        found["PREFECT_API_SSL_CERT_FILE"] = connection.ca_file
    # Always said, since a file of the working tree may say otherwise of another server.
    found["PREFECT_API_TLS_INSECURE_SKIP_VERIFY"] = str(not connection.tls_verify).lower()
    return found


def _secrets(answers: Answers) -> Iterator[str]:
    """Texts that must not be printed: whatever blocks hold, and variables named like secrets."""
    for data in answers.blocks.values():
        yield from _texts(data)
    for name, value in answers.environ.items():
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
