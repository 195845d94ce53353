"""Whether a source has a release pointer, and where that is now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.deploy.code import pin_of
from gitops_flow.errors import UsageError
from gitops_flow.plan import Pointer
from gitops_flow.plan.pointer import names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.request import Options
    from gitops_flow.deploy.server import Server
    from gitops_flow.deploy.source import Project
    from gitops_flow.model import Deployment


def read(
    project: Project, options: Options, code: Code, server: Server, live: Iterable[Deployment]
) -> Pointer | None:
    """The source's release pointer and where it would move; None when deployments name commits.

    Raises:
        ApiError: the server does not tell.
        UsageError: a Prefect variable cannot hold what it would have to.
    """
    if not _wanted(project, options, live):
        return None
    name, value = project.source.pointer, pin_of(project, code.snapshot).value()
    check(value)
    return Pointer(name, server.variables([name]).get(name), value)


def check(value: object) -> None:
    """Refuse a value that a Prefect variable cannot hold.

    Raises:
        UsageError: it is too long.
    """
    if pin.too_long(value):
        raise UsageError(
            "the release pointer would be longer than the 5,000 characters of a Prefect variable",
            hint="deploy with --no-atomic, or sign with a shorter key (ssh) if releases are signed",
        )


def _wanted(project: Project, options: Options, live: Iterable[Deployment]) -> bool:
    said = project.manifest.gitflow
    if said.checkout == "stock":
        return False
    if options.atomic is not None:
        return options.atomic
    if project.restored is not None:
        # What the manifest said then is no wish for now.
        return any(names(item, project.source.pointer) for item in live)
    return said.release == "atomic"
