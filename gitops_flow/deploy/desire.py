"""What the server should have: the manifest's deployments, with what their code says of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import manifest
from gitops_flow.codestore import address
from gitops_flow.errors import ManifestError
from gitops_flow.git import url
from gitops_flow.model import PULL_STEP, Problem
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Deployment, Json, Snapshot

# Signing may ask for a passphrase or a touch, so it waits until it is needed.
_SIGNED_LATER = "signed when it is released"
_GIT_CLONE = "prefect.deployments.steps.git_clone"


def desire(
    prepared: Prepared, code: Code, answers: Answers
) -> tuple[list[Deployment], list[Problem]]:
    """The chosen deployments as they should be, and what there is to say of the manifest.

    Raises:
        ManifestError: with every problem at once.
    """
    desired, problems = manifest.resolve(
        prepared.manifest,
        mark=prepared.source.mark,
        pull_step=pull_step(prepared, code.snapshot),
        default_version=version(code.snapshot),
        flows=code.flows,
        answers=answers,
        default_work_pool=prepared.settings.default_work_pool,
        chosen=prepared.chosen,
        is_own_repository=_is_own(prepared),
        is_own_directory=_is_inside(prepared),
        allow_missing=prepared.request.allow_missing,
        notes=True,
        cloud=prepared.settings.require_prefect().is_cloud,
        strict=prepared.request.strict,
    )
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        ignored = prepared.manifest.problems
        raise ManifestError(
            f"{len(errors)} problem{'' if len(errors) == 1 else 's'} in the manifest; "
            "nothing was changed",
            # What Prefect ignores may be what was meant.
            tuple(str(each) for each in sorted((*errors, *ignored), key=_place)),
        )
    desired = [
        replace(
            item,
            pull_steps=manifest.in_directory(
                item.pull_steps, code.directories.get(item.entrypoint or "", "")
            ),
        )
        for item in desired
    ]
    return desired, [*prepared.manifest.problems, *_of_mirrors(prepared), *problems]


def _of_mirrors(prepared: Prepared) -> list[Problem]:
    target = prepared.target
    if not target.mirrors or prepared.manifest.gitflow.checkout != "stock":
        return []
    message = f"Prefect's git_clone takes one address: workers are told {target.pull_url} alone"
    return [
        Problem(
            redact(message),
            prepared.manifest.position("gitflow", "checkout"),
            "leave checkout: stock out, or name one address for workers",
            severity="warning",
        )
    ]


def _place(problem: Problem) -> tuple[str, int, int]:
    at = problem.where
    return (at.file, at.line, at.column) if at else ("", 0, 0)


def _is_own(prepared: Prepared) -> Callable[[str], bool]:
    repo = prepared.repository
    own = {url.normalise(found) for name in repo.remotes() if (found := repo.remote_url(name))}
    return lambda address_: url.normalise(address_) in own


def _is_inside(prepared: Prepared) -> Callable[[str], bool]:
    root = os.path.realpath(prepared.repository.root)

    def inside(directory: str) -> bool:
        found = os.path.realpath(os.path.join(root, prepared.base, directory))  # noqa: PTH118
        return found == root or found.startswith(f"{root}/")

    return inside


def pull_step(prepared: Prepared, snap: Snapshot) -> dict[str, Json]:
    """The step that makes a worker run ``snap``."""
    target = prepared.target
    if prepared.manifest.gitflow.checkout == "stock":
        return _stock_step(target, snap)
    inputs: dict[str, Json] = {
        "requires": "gitops-flow",
        "repository": target.pull_input,
        "commit": snap.commit,
    }
    if target.credentials is not None:
        inputs["credentials"] = target.credentials
    inputs["source"] = address.origin_inputs(snap.provenance)
    if target.sign:
        inputs["release"] = _SIGNED_LATER
    return {PULL_STEP: inputs}


def signed(desired: Deployment, signature: str) -> Deployment:
    """``desired`` with the signature in the place that was kept for it."""
    steps = tuple(
        {
            name: {**inputs, "release": signature}
            if isinstance(inputs, dict) and inputs.get("release") == _SIGNED_LATER
            else inputs
            for name, inputs in step.items()
        }
        for step in desired.pull_steps or ()
    )
    return desired if desired.pull_steps is None else replace(desired, pull_steps=steps)


def _stock_step(target: CodeStore, snap: Snapshot) -> dict[str, Json]:
    """Prefect's own step, for workers where nothing can be installed.

    It takes any directory that is there for the right commit, so the name of
    the directory has to carry it.
    """
    inputs: dict[str, Json] = {
        "repository": target.pull_url,
        "commit_sha": snap.commit,
        "clone_directory_name": f"{url.name_of(target.pull_url)}-{snap.commit[:12]}",
    }
    given = target.credentials
    if isinstance(given, dict):
        inputs |= given
    elif given is not None:
        # A secret block or a variable is a token; any other block is credentials.
        whole = "prefect.blocks." in given and "prefect.blocks.secret." not in given
        inputs["credentials" if whole else "access_token"] = given
    return {_GIT_CLONE: inputs}


def version(snap: Snapshot) -> str:
    """The source commit as Prefect shortens it; for uncommitted work, the snapshot as well."""
    origin = snap.provenance
    if origin.commit is None:
        return f"snapshot-{snap.commit[:8]}"
    return f"{origin.commit[:8]}-dirty-{snap.commit[:8]}" if origin.dirty else origin.commit[:8]
