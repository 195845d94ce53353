"""Executes a plan, action by action, and collects what came of each.

One write after the other on purpose: two writers make a SQLite server slower,
and half of what they send comes back as 503.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow import prefect, stop
from gitops_flow.apply.result import Result, Status, read_back, updated
from gitops_flow.apply.update import remove, standing, update
from gitops_flow.errors import ApiError, GitflowError, StoppedError
from gitops_flow.plan import Action, Conflict, Create, Delete, Held, Plan, Unchanged, Update
from gitops_flow.plan.equality import has_kinds
from gitops_flow.plan.pointer import needs, precedes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops_flow.plan import Pointer
    from gitops_flow.prefect import Client, Run

__all__ = ["Result", "Status", "execute"]

# Each of these was repeated for up to some minutes: a server that is away for two
# deployments in a row would keep a manifest of a hundred waiting for hours.
_AWAY = (None, 408, 429, 502, 503, 504)
_PATIENCE = 2


def execute(
    client: Client,
    plan: Plan,
    *,
    on_result: Callable[[Result], None] = lambda _: None,
    fail_fast: bool = False,
) -> list[Result]:
    """Carry ``plan`` out and return one result per action, in its order.

    A failure does not keep the other deployments from being written, unless
    ``fail_fast``: then what follows has no result. When the server is away for
    two of them in a row, the rest fails without being tried. Nothing is
    deleted after a failure: what is missing may be what replaces it.

    The source's release pointer, if the plan moves it, is written after the actions that
    have to precede it, unless one of those failed; then what needs it is not tried.

    ``on_result`` gets each result when it is known. Where a signal or a bug ends the
    work, it gets one for every action that is left: what stands of the one in work, and
    that the others were not written.

    Raises:
        ValueError: the plan was made before the build steps ran.
        ApiError: the release pointer could not be written, and no result tells of it.
    """
    if any(isinstance(each, Create | Update) and each.desired.unknown for each in plan.writes):
        raise ValueError("a plan with unknown fields cannot be carried out")
    results: list[Result] = []
    away: list[ApiError] = []
    failed = 0
    done: list[str] | None = None  # what stands of the action in work
    switch = _Switch(client, plan)
    try:
        late, unready = _prepare(client, plan)
        for action in plan.actions:
            stop.current().check()
            switch.reach(action, failed, unready)
            refused = _refused(action, unready, away, switch, failed)
            if refused is not None:
                result = refused
            else:
                done = []
                result = _attempt(client, action, late, done)
                away = _still_away(away, result)
            failed += result.error is not None and not isinstance(action, Delete)
            results.append(result)
            done = None
            on_result(result)
            if fail_fast and result.error is not None:
                break
        switch.end(failed)
    except BaseException:
        for at, action in enumerate(plan.actions[len(results) :]):
            on_result(_stopped(action, done if at == 0 else None))
        raise
    return results


class _Switch:
    """The release pointer, if the plan moves it: after what precedes that, before what needs it."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self._client = client
        self._pointer = plan.pointer
        self._moved = plan.pointer is None or plan.pointer.after is None
        self._stuck: ApiError | None = None

    def reach(self, action: Action, failed: int, unready: ApiError | None) -> None:
        """Move the pointer if ``action`` is the first that does not precede that."""
        if self._pointer and not self._moved and not precedes(action, self._pointer):
            self._move(failed, unready)

    def stops(self, action: Action) -> ApiError | None:
        """Why ``action`` has to be left, None if it may be carried out."""
        return self._stuck if self._pointer and needs(action, self._pointer) else None

    def end(self, failed: int) -> None:
        """Do what is left; after a failure the pointer stays where it is.

        Raises:
            ApiError: the pointer could not be written, and no action needs it.
        """
        if not self._moved:
            self._move(failed, None)
        if failed or not self._pointer:
            return
        if self._stuck is not None:
            raise self._stuck
        if self._pointer.after is None:
            prefect.delete_variable(self._client, self._pointer.name)

    def _move(self, failed: int, unready: ApiError | None) -> None:
        self._moved = True
        if failed or unready or not self._pointer:
            self._stuck = unready or ApiError(
                "what had to be written before it could not be", retry=True
            )
            return
        try:
            _set(self._client, self._pointer)
        except ApiError as error:
            self._stuck = error


def _set(client: Client, pointer: Pointer) -> None:
    if prefect.variables(client, [pointer.name]).get(pointer.name) != pointer.before:
        raise ApiError(
            f"another deploy of this source moved the release pointer {pointer.name} meanwhile",
            hint="deploy again: whoever comes last decides what all deployments get",
            retry=True,
        )
    prefect.set_variable(client, pointer.name, pointer.after)


def _refused(
    action: Action,
    unready: ApiError | None,
    away: Sequence[ApiError],
    switch: _Switch,
    failed: int,
) -> Result | None:
    """The result of an action that is not to be tried after what happened; None: it is."""
    if not isinstance(action, Create | Update | Delete):
        return None
    if unready is not None:
        return _not_tried(action, unready, "it could not be prepared")
    if len(away) >= _PATIENCE:
        return _not_tried(action, away[-1], "the server is away")
    if (stuck := switch.stops(action)) is not None:
        return _not_tried(action, stuck, "the release pointer was not moved")
    if failed and isinstance(action, Delete):
        return _kept(action, failed)
    return None


def _prepare(client: Client, plan: Plan) -> tuple[list[Run], ApiError | None]:
    """The late runs of what is updated; or why nothing can be written."""
    creates = [action.desired.flow_name for action in plan.actions if isinstance(action, Create)]
    updates = [
        action.live.id or ""
        for action in plan.actions
        if isinstance(action, Update) and not _is_done(action)
    ]
    try:
        prefect.know_flows(client, creates)
        return prefect.late_runs(client, updates) if updates else [], None
    except ApiError as error:
        return [], error


def _is_done(action: Update) -> bool:
    """Whether nothing of it is left to write, once the release pointer has moved."""
    return not action.written and not action.schedules and not action.automations


def _attempt(client: Client, action: Action, late: Sequence[Run], done: list[str]) -> Result:
    name = action.full_name
    if isinstance(action, Unchanged):
        return Result("unchanged", name, id=action.live.id)
    if isinstance(action, Held):
        return Result("held", name, id=action.live.id)
    if isinstance(action, Conflict):
        error = ApiError(action.reason, hint="deploy with ‹adopt› to take it over")
        return Result("refused", name, id=action.live.id, error=error)
    try:
        if isinstance(action, Create):
            return Result("created", name, id=_create(client, action, done))
        if isinstance(action, Delete):
            cancelled = remove(client, action)
            return Result("deleted", name, id=action.live.id, runs_cancelled=cancelled)
        if _is_done(action):
            return updated(action)
        own = [run for run in late if run.deployment_id == action.live.id]
        restored = update(client, action, own, done)
    except StoppedError:
        raise
    except GitflowError as error:
        failed = _failed(action, done, error)
        if isinstance(error, ApiError) and error.lost:
            with contextlib.suppress(GitflowError):
                return read_back(client, action, failed)
        return failed
    return updated(action, restored)


def _failed(action: Create | Update | Delete, done: Sequence[str], error: GitflowError) -> Result:
    """A result that tells what stands nevertheless; ``done`` is that of the writing."""
    if isinstance(action, Create):
        stands, live_id = ("deployment",) * bool(done), next(iter(done), None)
    else:
        stands = standing(action, done) if isinstance(action, Update) else ()
        live_id = action.live.id
    return Result("failed", action.full_name, id=live_id, changed=stands, error=error)


def _stopped(action: Action, done: Sequence[str] | None) -> Result:
    """What became of an action when the work was ended; ``done`` None: it was not begun."""
    if isinstance(action, Create | Update | Delete):
        if done is None:
            return _failed(action, (), GitflowError("not written"))
        return _failed(action, done, GitflowError("stopped while it was being written"))
    status: Status = "unchanged" if isinstance(action, Unchanged) else "held"
    status = "refused" if isinstance(action, Conflict) else status
    return Result(status, action.full_name, id=action.live.id)


def _create(client: Client, action: Create, done: list[str]) -> str:
    desired = action.desired
    flow_id = prefect.ensure_flow(client, desired.flow_name)
    computed = has_kinds(desired.parameters)
    # Only an update computes them; a creation would store them as they are written,
    # or refuse them.
    first = replace(desired, parameters={}) if computed else desired
    made = prefect.create(client, first, flow_id)
    done.append(made)
    if computed:
        prefect.patch(client, made, {"parameters": desired.parameters})
    known: list[str] = []
    for automation in desired.automations:
        known.append(prefect.create_automation(client, made, automation, (action.mark,), known))
    return made


def _still_away(away: list[ApiError], result: Result) -> list[ApiError]:
    """The failures in a row that say that the server is away, with ``result``."""
    if result.status in ("unchanged", "held", "refused"):
        return away  # Nothing was asked of the server.
    error = result.error
    if isinstance(error, ApiError) and error.retry and error.status in _AWAY:
        return [*away, error]
    return []


def _not_tried(action: Create | Update | Delete, error: ApiError, why: str) -> Result:
    told = ApiError(
        f"not tried, because {why}: {error.message}",
        status=error.status,
        where=error.where,
        hint=error.hint or "deploy again when it answers",
        retry=True,
    )
    return _failed(action, (), told)


def _kept(action: Delete, failed: int) -> Result:
    others = "another deployment" if failed == 1 else f"{failed} other deployments"
    error = GitflowError(
        f"not deleted, because {others} could not be written",
        hint="the next deploy deletes it",
        retry=True,
    )
    return _failed(action, (), error)
