"""The release of a snapshot: signed, published, pinned or pointed to, and made sure of."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import pin
from gitops_flow.codestore import ledger, publish, trim
from gitops_flow.deploy.code import pin_of
from gitops_flow.deploy.request import Published
from gitops_flow.errors import UsageError
from gitops_flow.model import Problem
from gitops_flow.plan import Create, Pointer, Unchanged, Update
from gitops_flow.plan.pointer import names
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.request import Options
    from gitops_flow.deploy.server import Server
    from gitops_flow.deploy.source import Project
    from gitops_flow.manifest import Override
    from gitops_flow.model import Deployment, Snapshot
    from gitops_flow.plan import Action, Plan


def pointer_of(
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
    _check(value)
    return Pointer(name, server.variables([name]).get(name), value)


def _check(value: object) -> None:
    """Refuse a value that a Prefect variable cannot hold.

    Raises:
        UsageError: it is too long.
    """
    if pin.too_long(value):
        raise UsageError(
            "the release pointer would be longer than the 5,000 characters of a Prefect variable",
            hint="deploy with ‹no_atomic›, or sign with a shorter key (ssh) if releases are signed",
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


def sign(project: Project, code: Code, planned: Plan) -> tuple[Plan, str | None]:
    """Sign the snapshot if something is to be pinned to it, and put that into the plan.

    Raises:
        CodeStoreError: git cannot sign.
    """
    if not project.target.sign or not _moves(planned):
        return planned, None
    from gitops_flow.codestore import sign as signing

    signature = signing.sign(code.store, code.snapshot)
    actions = [
        replace(action, desired=_signed(action.desired, signature))
        if isinstance(action, Create | Update)
        else action
        for action in planned.actions
    ]
    pointer = planned.pointer
    if pointer is not None:
        pointer = replace(pointer, after=pin.sign_value(pointer.after, signature))
        _check(pointer.after)
    return replace(planned, actions=tuple(actions), pointer=pointer), signature


def _signed(desired: Deployment, signature: str) -> Deployment:
    return replace(desired, pull_steps=pin.sign(desired.pull_steps, signature))


def _moves(planned: Plan) -> bool:
    """Whether the plan makes anything name the snapshot."""
    pointer = planned.pointer
    return any(map(_pins, planned.actions)) or (pointer is not None and pointer.after is not None)


def _pins(action: Action) -> bool:
    """Whether the action makes a deployment name the snapshot."""
    return isinstance(action, Create) or (
        isinstance(action, Update) and "pull_steps" in action.fields
    )


def release(
    project: Project,
    overrides: Sequence[Override],
    code: Code,
    planned: Plan,
    *,
    signature: str | None = None,
    author: str | None = None,
) -> Published:
    """Publish the snapshot; returns when the server has confirmed it.

    Args:
        project: what is deployed.
        overrides: what is not as in the manifest.
        code: the snapshot.
        planned: what is going to be done with it.
        signature: from :func:`sign`.
        author: who deploys, when that is not the snapshot's author.

    Raises:
        GitflowError: with what the server said.
    """
    target = project.target
    made = _release(project, overrides, code, planned, signature, author)
    moves = _moves(planned)
    # A release that nothing pinned so far may be dropped at any moment, unless it is young.
    old = time.time() - trim.GRACE / 2 if moves else 0.0
    done = publish.publish(
        code.store,
        target,
        made,
        since=old,
        # What is pinned now is the newest release, so that the one before it is what it replaces.
        newest=moves,
        again=bool((project.restored or overrides) and planned.pending),
    )
    return Published(
        target.url, target.branch, done.entry, done.pushed, done.created, signature is not None
    )


def _release(
    project: Project,
    overrides: Sequence[Override],
    code: Code,
    planned: Plan,
    signature: str | None,
    author: str | None,
) -> ledger.Release:
    names = [
        action.full_name
        for action in planned.actions
        if isinstance(action, Create | Update | Unchanged)
        and not action.desired.keeps_code
        and _is_of(action.desired, code.snapshot)
    ]
    made = ledger.Release.of(
        code.snapshot,
        names,
        mark=project.source.mark,
        author=author,
        rollback=project.restored.id if project.restored else None,
    )
    return replace(made, signature=signature, overrides=tuple(map(_shown, overrides)))


def _is_of(desired: Deployment, snap: Snapshot) -> bool:
    """False for what stays at other code; what is not pinned has its code from elsewhere."""
    pinned = pin.Pin.of(desired.pull_steps)
    return pinned is None or pinned.commit == snap.commit


def _shown(override: Override) -> str:
    """An override as the ledger keeps it; of parameters and job variables only which."""
    if override.path[0] == "parameters" or "job_variables" in override.path:
        return f"{override.option} {override.path[-1]}"
    return redact(f"{override.option} {json.dumps(override.value, ensure_ascii=False)}")


def confirm(
    project: Project,
    overrides: Sequence[Override],
    code: Code,
    planned: Plan,
    published: Published,
    *,
    signature: str | None = None,
    author: str | None = None,
) -> tuple[Published, tuple[Problem, ...]]:
    """Make sure that what was pinned is still released; the arguments are :func:`release`'s.

    Returns:
        also a warning for each release of the same deployments that came after this one:
        its deploy and this one wrote at once, and whoever wrote last was heard.

    Raises:
        GitflowError: with what the server said.
    """
    if not _moves(planned):
        return published, ()
    made = _release(project, overrides, code, planned, signature, author)
    again, since = publish.confirm(
        project.settings.cache_dir, code.store, project.target, made, published.entry
    )
    if again is not None:
        published = replace(published, entry=again.entry, pushed=True)
    mine = set(made.deployments)
    crossed = [
        entry
        for entry in since
        if entry.of_source(project.source) and not mine.isdisjoint(entry.deployments)
    ]
    return published, tuple(map(_overtaken, crossed))


def _overtaken(entry: Entry) -> Problem:
    return Problem(
        f"{entry.origin.author} deployed {entry.id[:12]} at the same time as this: which code a "
        "deployment has now depends on who wrote it last",
        hint="deploy again what all of them are to have",
        severity="warning",
    )
