"""The way of a deploy: check everything, snapshot, compare, build, publish, apply; in that order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import files, prefect
from gitops_flow.deploy.request import Report
from gitops_flow.deploy.session import Session, opened, rewind
from gitops_flow.git import url
from gitops_flow.model import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitops_flow.apply import Result
    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.compare import Compared
    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.plan import Plan
    from gitops_flow.settings import Settings


def run(
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    tell: Callable[[str], None] = lambda _: None,
    out: Callable[[str], None] = lambda _: None,
    confirm: Callable[[Plan, Entry], None] = lambda *_: None,
    on_result: Callable[[Result], None] = lambda _: None,
) -> Report:
    """Deploy.

    Args:
        request: what to deploy.
        settings: where Prefect, the cache and the code store are.
        environ: for ``{{ $NAME }}`` in the manifest, and for its steps.
        tell: is told what is being done, in a few words each time.
        out: is given what build and push steps print, line by line.
        confirm: is shown what a rollback would do, and the release it goes back to, before
            anything is written; it raises to forbid it.
        on_result: is given what became of each deployment, as for
            :func:`gitops_flow.apply.execute`.

    Raises:
        GitflowError: something is wrong that was found before the first
            deployment was written. A write that fails is in the report instead.
    """
    with opened(request, settings, environ) as session:
        from gitops_flow import apply
        from gitops_flow.deploy import code

        found, compared = _checked(session, tell, out)
        unverified: tuple[Problem, ...] = ()
        if request.verify:
            from gitops_flow.deploy import verify

            tell("verifying")
            unverified = verify.before_publishing(
                session.prepared, found, compared.desired, environ
            )
        restored = session.prepared.restored
        if restored is not None and compared.plan.writes:
            confirm(compared.plan, restored)
        planned, signature = code.sign(session.prepared, found, compared.plan)
        tell("publishing the snapshot")
        author = session.prepared.repository.identity(environ)
        published = code.release(
            session.prepared, found, planned, signature=signature, author=author
        )
        for pool in compared.missing_pools:
            prefect.create_work_pool(session.client, pool)
        tell("applying")
        results = apply.execute(
            session.client, planned, on_result=on_result, fail_fast=request.fail_fast
        )
        tell("confirming the release")
        published = code.confirm(
            session.prepared, found, planned, published, signature=signature, author=author
        )
    return Report(
        source=session.prepared.source,
        snapshot=found.snapshot,
        published=published,
        plan=planned,
        results=tuple(results),
        warnings=(
            *compared.warnings,
            *unverified,
            *reach(session.prepared.target.url, published.created),
        ),
        pools_created=compared.missing_pools,
        restored=restored,
        repeated=session.client.repeated,
    )


def reach(address: str, created: bool) -> tuple[Problem, ...]:
    """A warning of a new code store on this machine that other users' workers cannot read."""
    path = url.local_path(address) if created else None
    closed = files.closed_to_others(path) if path else None
    if closed is None:
        return ()
    return (
        Problem(
            "the code store is a directory that only workers of this user can read: "
            f"{closed} is closed to others",
            hint="for other workers, deploy to a git server (--remote), or open the way to it",
            severity="warning",
        ),
    )


def _checked(
    session: Session, tell: Callable[[str], None], out: Callable[[str], None]
) -> tuple[Code, Compared]:
    """A plan that may be carried out, with the outputs of build and push steps in it."""
    from gitops_flow.deploy import building, code, compare

    rewind(session, tell)
    answers = session.answers()
    tell("taking the snapshot")
    found = code.read(session.prepared, answers)
    session.prepared = prepared = code.narrowed(session.prepared, found, answers)
    tell("comparing with the server")
    compared = compare.compare(session, found, answers)
    compared.refuse()
    if prepared.restored is None and (todo := building.jobs(prepared, compared.plan)):
        tell("running build steps")
        outputs = building.run(prepared, todo, answers, out, found)
        answers = replace(answers, outputs=outputs)
        # They may have written files.
        found = code.read(prepared, answers)
        compared = compare.compare(session, found, answers)
        compared.refuse()
    return found, compared
