"""``/api``, ``/healthz`` and ``/readyz``: how the sources are, and what may be asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from gitops_flow.controller.config import SuspendSection
from gitops_flow.controller.state import SourceState
from gitops_flow.errors import GitflowError
from gitops_flow.names import did_you_mean
from gitops_flow.web import guard
from gitops_flow.web.guard import HostGuard, RequestError, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from gitops_flow.controller.run import Controller


def app(controller: Controller, *, may_change: bool) -> Starlette:
    """The application over ``controller``.

    Args:
        controller: what is read and asked.
        may_change: whether sources may be synced, suspended and resumed.
    """
    api = _Api(controller, may_change)
    routes = [
        Route("/healthz", api.health),
        Route("/readyz", api.readiness),
        Route("/api/sources", api.sources),
        # The branch in the name of a preview may have slashes.
        *(
            Route(f"/api/sources/{{name:path}}/{verb}", change, methods=["POST"])
            for verb, change in (
                ("sync", api.sync),
                ("suspend", api.suspend),
                ("resume", api.resume),
            )
        ),
        Route("/api/sources/{name:path}", api.source),
    ]

    def ours() -> set[str]:
        config = controller.config
        named = (urlsplit(config.url or "").hostname, urlsplit(f"//{config.listen}").hostname)
        return {name for name in named if name}

    made = Starlette(
        routes=routes,
        middleware=[Middleware(HostGuard, ours=ours)],
        exception_handlers={GitflowError: _refused, HTTPException: _no_such, Exception: _bug},
    )
    # A redirect would lead to whatever host the request named.
    made.router.redirect_slashes = False
    return made


class _Api:
    def __init__(self, controller: Controller, may_change: bool) -> None:
        self._controller = controller
        self._may_change = may_change

    async def health(self, _: Request) -> Response:
        return answer({"ok": True})

    async def readiness(self, _: Request) -> Response:
        overdue = self._controller.overdue()
        content = {
            "ready": not overdue,
            "overdue": {name: round(seconds) for name, seconds in sorted(overdue.items())},
            "config_error": self._controller.config_error,
        }
        return answer(content, 503 if overdue else 200)

    def sources(self, _: Request) -> Response:
        listed = [each.document() for each in self._controller.state.all()]
        return answer({"sources": listed, "config_error": self._controller.config_error})

    def source(self, request: Request) -> Response:
        return self._answered(request.path_params["name"])

    async def sync(self, request: Request) -> Response:
        return await self._change(request, lambda name, _: self._controller.sync(name))

    async def suspend(self, request: Request) -> Response:
        def suspend(name: str, data: bytes) -> None:
            how = _suspension(data)
            self._controller.suspend(name, reason=how.reason, author=how.author, until=how.until)

        return await self._change(request, suspend)

    async def resume(self, request: Request) -> Response:
        return await self._change(request, lambda name, _: self._controller.resume(name))

    async def _change(self, request: Request, change: Callable[[str, bytes], object]) -> Response:
        guard.require_own_page(request)
        if not self._may_change:
            raise RequestError(
                403,
                "this controller listens to other machines, and cannot tell who asks: "
                "nothing is changed over HTTP",
                hint="write listen: 127.0.0.1:4300 in gitflow.yaml, and ask on its own machine",
            )
        data = await guard.body(request)
        name = request.path_params["name"]
        self._require_source(name)
        await run_in_threadpool(change, name, data)
        return self._answered(name, 202)

    def _require_source(self, name: str) -> None:
        names = [each.name for each in self._controller.state.all()]
        if name not in names:
            told = f"there is no source {name[:100]!r}"
            raise RequestError(404, told, hint=did_you_mean(name, names))

    def _answered(self, name: str, status: int = 200) -> Response:
        self._require_source(name)
        state = self._controller.state.get(name) or SourceState(name)  # gone a moment ago
        return answer(state.document(), status)


def _suspension(data: bytes) -> SuspendSection:
    try:
        return SuspendSection.model_validate_json(data or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or None
        hint = 'send {"reason": TEXT, "author": TEXT, "until": TIME}; each may be left out'
        raise RequestError(400, first["msg"], where=place, hint=hint) from None


async def _refused(_: Request, error: Any) -> Response:
    return guard.refusal(error)


async def _no_such(request: Request, error: Any) -> Response:
    told = f"{error.detail}: {request.method} {request.url.path[:100]}"
    return guard.refusal(
        RequestError(error.status_code, told, hint="docs/controller.md lists them")
    )


async def _bug(_: Request, error: Exception) -> Response:
    told = f"bug: {type(error).__name__}"
    hint = "the controller's log has the details; please report it"
    return guard.refusal(RequestError(500, told, hint=hint))
