"""What the server should have: the manifest's deployments, with what their code says of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import manifest
from gitops_flow.codestore import address
from gitops_flow.deploy import refs
from gitops_flow.errors import ManifestError
from gitops_flow.model import Problem
from gitops_flow.pin import Pin
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Deployment, Snapshot


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
        pull_step=pin_of(prepared, code.snapshot).step(),
        default_version=version(code.snapshot),
        flows=code.flows,
        answers=answers,
        default_work_pool=prepared.settings.default_work_pool,
        chosen=prepared.chosen,
        is_own_repository=refs.is_own(prepared.repository),
        is_own_directory=_is_inside(prepared),
        allow_missing=prepared.request.allow_missing,
        notes=True,
        cloud=prepared.settings.require_prefect().is_cloud,
        strict=prepared.request.strict,
        # What a release was deployed with is on the server, or was; to go back must not fail.
        refuse_secrets=prepared.restored is None,
    )
    problems += _of_clear_text(prepared, desired)
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


def _of_clear_text(prepared: Prepared, desired: Iterable[Deployment]) -> list[Problem]:
    """An error where workers would clone without the credentials that they are given."""
    pinned = [found for item in desired if (found := Pin.of(item.pull_steps))]
    lost = dict.fromkeys(
        each.addresses[0]
        for each in pinned
        if each.stock and each.credentials and each.addresses[0].lower().startswith("http://")
    )
    return [
        Problem(
            redact(f"Prefect's git_clone sends no credentials to {at}, so every run would fail"),
            prepared.manifest.position("gitflow", "checkout"),
            "name an https:// address with code_store: {pull_url: ...}, or leave "
            "checkout: stock out: gitflow's own step sends them",
        )
        for at in lost
    ]


def _place(problem: Problem) -> tuple[str, int, int]:
    at = problem.where
    return (at.file, at.line, at.column) if at else ("", 0, 0)


def _is_inside(prepared: Prepared) -> Callable[[str], bool]:
    root = os.path.realpath(prepared.repository.root)

    def inside(directory: str) -> bool:
        found = os.path.realpath(os.path.join(root, prepared.base, directory))  # noqa: PTH118
        return found == root or found.startswith(f"{root}/")

    return inside


def pin_of(prepared: Prepared, snap: Snapshot) -> Pin:
    """What makes a worker run ``snap``."""
    target, stock = prepared.target, prepared.manifest.gitflow.checkout == "stock"
    return Pin(
        (target.pull_url,) if stock else (target.pull_url, *target.mirrors),
        snap.commit,
        target.credentials,
        signed=target.sign and not stock,
        stock=stock,
        requires=None if stock else prepared.manifest.gitflow.requires,
        origin=address.origin_inputs(snap.provenance),
    )


def version(snap: Snapshot) -> str:
    """The source commit as Prefect shortens it; for uncommitted work, the snapshot as well."""
    origin = snap.provenance
    if origin.commit is None:
        return f"snapshot-{snap.commit[:8]}"
    return f"{origin.commit[:8]}-dirty-{snap.commit[:8]}" if origin.dirty else origin.commit[:8]
