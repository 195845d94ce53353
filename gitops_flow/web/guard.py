"""Who may ask what: hosts by their name, and changes by no page of another site."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from gitops_flow.errors import GitflowError
from gitops_flow.report import errors
from gitops_flow.report.words import CONTROLLER, worded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_BODY = 16 * 1024
# Seconds in which the whole of a body must have come.
BODY_SECONDS = 10.0
# For what answers are: data of the moment, and nothing that a browser runs or shows elsewhere.
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
_AUTHORITY = re.compile(r"\[(?P<address>[0-9a-fA-F:.]+)\](:\d*)?|(?P<name>[A-Za-z0-9._-]+)(:\d*)?")


class RequestError(GitflowError):
    """A request that is refused; ``status`` is that of the answer."""

    def __init__(
        self, status: int, message: str, *, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.status = status


def answer(content: dict[str, Any], status: int = 200) -> Response:
    """A document in a controller's words, with the headers that every answer has."""
    text = worded(json.dumps(content, separators=(",", ":")), CONTROLLER)
    return Response(text, status, _HEADERS, "application/json")


def refusal(error: GitflowError) -> Response:
    """The answer that says what is wrong, as the command line's ``--json`` does."""
    status = error.status if isinstance(error, RequestError) else 409
    return answer({"ok": False, "error": errors.document(error)}, status)


class HostGuard:
    """Refuses requests for a host that we are not, before anything else looks at them.

    A page of any site may have its own name resolve to our address (DNS rebinding): then the
    browser takes our answers for that site's. Nobody can do so with an address in place of a name.

    Args:
        app: what is guarded.
        ours: the names that ``gitflow.yaml`` has for us now.
    """

    def __init__(self, app: ASGIApp, ours: Callable[[], set[str]]) -> None:
        self._app = app
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it."""
        if scope["type"] == "http":
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            asked = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
            if not is_ours(asked, self._ours()):
                problem = RequestError(
                    421,
                    f"this controller is not called {asked[:100]!r}",
                    hint="write url: in gitflow.yaml with the address at which others reach it",
                )
                await refusal(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def is_ours(host: str, names: set[str]) -> bool:
    """Whether the value of a ``Host`` header is an address, ``localhost`` or one of ``names``."""
    if not (found := _AUTHORITY.fullmatch(host)):
        return False
    name = (found["address"] or found["name"]).lower()
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return name == "localhost" or name in names


def require_own_page(request: Request) -> None:
    """Refuse a change that a page of another site has a browser ask for.

    Any of the three is enough in browsers of today.

    Raises:
        RequestError: it is one.
    """
    if not is_json(request.headers):
        hint = "send Content-Type: application/json"
        raise RequestError(415, "a change is asked for in JSON", hint=hint)
    if not is_own_site(request.headers) or not is_own_origin(request.headers):
        raise RequestError(403, "a page of another site asked for this change; it is not made")


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether the body is JSON by its type, which no form can send."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def is_own_site(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that the page is ours, or nothing is said of pages."""
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Whether the page is of the host and port that it asks, or nothing is said of pages."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers["host"]


async def body(request: Request) -> bytes:
    """The whole body of a request.

    Raises:
        RequestError: it is too long, or takes too long.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                data += chunk
                if len(data) > MAX_BODY:
                    raise RequestError(413, f"the body is longer than {MAX_BODY} bytes")
    except TimeoutError:
        raise RequestError(408, f"the body did not come within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise RequestError(400, "the body has no end") from None
    return bytes(data)
