"""What an HTTP failure means to the user: one :class:`ApiError` for each, with a hint."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

import httpx

from gitops_flow.errors import ApiError
from gitops_flow.redact import is_secret_key, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.model import Json, PrefectConnection

_API_HINT = "the API's address usually ends in /api, for example http://127.0.0.1:4200/api"
_LONGEST_DETAIL = 1000
_UNKNOWN_FIELD = "extra_forbidden"
# One of the shapes that a value may have, in the place of a mistake.
_SHAPE = re.compile(r"[A-Z]\w*(Schedule|Trigger)")
# Stands for the answer of something that is not the API.
_NO_API = object()


def unreachable(
    error: Exception, url: str, connection: PrefectConnection, repeated: int = 0
) -> ApiError:
    """The error for a request that got no answer, also not when it was ``repeated``."""
    base = redact(connection.api_url)
    where = redact(url)
    if isinstance(error, httpx.ConnectError):
        return _not_connected(error, base, where)
    if isinstance(error, httpx.TimeoutException):
        return ApiError(
            f"the Prefect server did not answer within {connection.timeout:g} s{_often(repeated)}",
            where=where,
            hint="check the server's load, or set PREFECT_API_REQUEST_TIMEOUT (seconds)",
            retry=True,
            lost=True,
        )
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return ApiError(
            "the address of the Prefect API is not an http or https URL",
            where=base,
            hint=f"set PREFECT_API_URL; {_API_HINT}",
        )
    if isinstance(error, httpx.LocalProtocolError):
        # httpx repeats the header's value here, which may be the secret.
        return ApiError(
            "a header holds characters that HTTP does not allow",
            where=where,
            hint="look for line breaks in PREFECT_API_KEY and PREFECT_CLIENT_CUSTOM_HEADERS",
        )
    if isinstance(error, httpx.ProxyError):
        return ApiError(
            "the proxy refused the connection to the Prefect server",
            where=where,
            hint="see HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
            retry=True,
        )
    return ApiError(
        f"the connection to the Prefect server was dropped{_often(repeated)}",
        where=where,
        hint="the server may be restarting",
        retry=True,
        lost=True,
    )


def _often(repeated: int) -> str:
    return f", {repeated + 1} times" if repeated else ""


def _not_connected(error: httpx.ConnectError, base: str, where: str) -> ApiError:
    text = f"{error} {error.__cause__ or ''}"
    if isinstance(_root(error), ssl.SSLError) or "SSL" in text or "CERTIFICATE" in text:
        return ApiError(
            f"no secure connection to the Prefect server: {redact(str(_root(error)))}",
            where=where,
            hint="for a private certificate authority set PREFECT_API_SSL_CERT_FILE; a server "
            "without TLS needs http:// in PREFECT_API_URL",
        )
    if any(sign in text for sign in ("Name or service", "name resolution", "nodename", "getaddr")):
        return ApiError(
            f"the host in {base} is not known to DNS",
            where=where,
            hint="check PREFECT_API_URL and the network",
            retry=True,
        )
    return ApiError(
        f"no Prefect server answers at {base}",
        where=where,
        hint="start one with `prefect server start`, or set PREFECT_API_URL",
        retry=True,
    )


def _root(error: BaseException) -> BaseException:
    for _ in range(10):
        inner = error.__cause__ or error.__context__
        if inner is None:
            break
        error = inner
    return error


def no_api(answer: httpx.Response, url: str) -> ApiError:
    """The error for an answer that is not Prefect's."""
    kind = answer.headers.get("Content-Type", "").split(";")[0] or "something else"
    return ApiError(
        f"the answer is {kind}, not the Prefect API's JSON",
        status=answer.status_code,
        lost=answer.is_success,
        where=redact(url),
        hint=f"check PREFECT_API_URL; {_API_HINT}",
    )


def misshapen(answer: httpx.Response, url: str, wrong: str) -> ApiError:
    """The error for JSON that is not what the Prefect API answers there."""
    return ApiError(
        f"the answer is not the Prefect API's: {wrong}",
        status=answer.status_code,
        lost=True,
        where=redact(url),
        hint=f"is it a Prefect 3 server that answers there? check PREFECT_API_URL; {_API_HINT}",
    )


def not_done(answer: httpx.Response, url: str) -> ApiError:
    """The error for a success that is not the one with which Prefect confirms a change."""
    status = answer.status_code
    return ApiError(
        f"the answer to {answer.request.method} is {status}, with which the Prefect API does not "
        "confirm a change: something else may have answered",
        status=status,
        lost=True,
        where=redact(url),
        hint="look for a proxy or a login page between here and the server",
    )


def refused(
    answer: httpx.Response, url: str, body: Json, connection: PrefectConnection, repeated: int = 0
) -> ApiError:
    """The error for an answer with a status that is no success.

    The server's 422 repeats the whole request: only the place and the reason
    are taken from it, never for a key that is named like a secret.
    """
    status = answer.status_code
    where = redact(url)
    if status in (301, 302, 303, 307, 308):
        # A login page's address may carry a token in its query.
        target = redact(answer.headers.get("Location", "another address")).partition("?")[0]
        return ApiError(
            f"the server redirects to {target}",
            status=status,
            where=where,
            hint="set PREFECT_API_URL to the address it redirects to (without the last part)",
        )
    said = _said(answer, body, connection)
    if status == 413:
        return ApiError(
            "the request is larger than the server, or a proxy before it, allows (413)",
            status=status,
            where=where,
            hint="large parameters or job variables? nginx has client_max_body_size",
        )
    if status in (401, 403):
        return _no_access(status, said, where, connection)
    if said is None and status not in (408, 429) and status < 500:
        return no_api(answer, url)
    if status == 405 or (status == 404 and said in (None, "Not Found")):
        return ApiError(
            f"the Prefect API does not know this address ({status})",
            status=status,
            where=where,
            hint=f"check PREFECT_API_URL; {_API_HINT}",
        )
    return ApiError(
        _MESSAGES.get(status, "the Prefect server refused the request ({status})").format(
            status=status
        )
        + _often(repeated)
        + (f": {said}" if said else ""),
        status=status,
        where=where,
        hint=_hint(status, said or "", _details(answer)),
        retry=status in (408, 429) or status >= 500,
        lost=status == 408 or (status >= 500 and status != 503),
    )


_MESSAGES = {
    404: "not found on the Prefect server",
    408: "the Prefect server gave up on a slow request",
    409: "the Prefect server reports a conflict",
    422: "the Prefect server does not accept a value",
    429: "the Prefect server wants fewer requests",
    500: "the Prefect server failed internally",
    502: "no Prefect server behind the proxy answers",
    503: "the Prefect server is busy",
    504: "the Prefect server behind the proxy did not answer in time",
}


def _hint(status: int, said: str, details: Json) -> str | None:
    if status == 404 and said.startswith("Work pool"):
        return "create it with `prefect work-pool create NAME --type process`, or ‹create_pools›"
    if isinstance(details, list) and all(_kind(item) == _UNKNOWN_FIELD for item in details):
        return "this Prefect server is too old for that field; upgrade it"
    if status == 500:
        return "the server's log has the reason"
    if status == 503:
        return "on SQLite this is a locked database; fewer writers at once help"
    return None


def _no_access(
    status: int, said: str | None, where: str, connection: PrefectConnection
) -> ApiError:
    if said and "csrf" in said.lower():
        return ApiError(
            f"the Prefect server refused the request: {said}",
            status=status,
            where=where,
            hint="CSRF support is off (PREFECT_CLIENT_CSRF_SUPPORT_ENABLED), or a proxy drops "
            "the headers",
        )
    message = "the Prefect server wants a login" if status == 401 else "access is denied"
    sent = "PREFECT_API_AUTH_STRING" if connection.auth_string else "PREFECT_API_KEY"
    if status == 401 and (connection.auth_string or connection.api_key):
        return ApiError(
            f"the Prefect server did not accept {sent} ({status})",
            status=status,
            where=where,
            hint="compare it with the server's own (user:password)"
            if connection.auth_string
            else "it may have expired, or be another server's; a self-hosted one wants "
            "PREFECT_API_AUTH_STRING (user:password)",
        )
    return ApiError(
        f"{message} ({status})",
        status=status,
        where=where,
        hint="set PREFECT_API_AUTH_STRING (user:password) for a self-hosted server, "
        "PREFECT_API_KEY for Prefect Cloud",
    )


def _said(answer: httpx.Response, body: Json, connection: PrefectConnection) -> str | None:
    """The server's own words, without secrets; None when it is not the API that speaks."""
    details = _details(answer)
    if details is _NO_API:
        return None
    if isinstance(details, list):
        text = "; ".join(_detail(item) for item in details[:5])
    else:
        text = str(details) if details is not None else ""
    secrets = [*_secrets(body), *_login(answer, connection)]
    text = " ".join(redact(text, tuple(secrets)).split())
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + " ..."


def _details(answer: httpx.Response) -> Json:
    """What the API says is wrong, a text or a list."""
    try:
        data = answer.json()
    except (ValueError, RecursionError):
        return _NO_API
    if not isinstance(data, dict):
        return _NO_API
    details = data.get("exception_detail", data.get("detail", data.get("exception_message")))
    if not isinstance(details, list):
        return details
    # A value that may have several shapes is tried as each: that it is none of the others,
    # which have other keys, is not what is wrong with it.
    return [item for item in details if not _of_another_shape(item)] or details


def _of_another_shape(item: Json) -> bool:
    if not isinstance(item, dict) or _kind(item) not in (_UNKNOWN_FIELD, "missing"):
        return False
    return any(_SHAPE.fullmatch(part) for part in _loc(item))


def _loc(item: dict[str, Json]) -> list[str]:
    """The parts of the place that a detail is about."""
    place = item.get("loc")
    return [str(part) for part in place] if isinstance(place, list) else []


def _kind(item: Json) -> str | None:
    if not isinstance(item, dict):
        return None
    found = item.get("type")
    if found is None and item.get("msg") == "Extra inputs are not permitted":
        return _UNKNOWN_FIELD
    return found if isinstance(found, str) else None


def _detail(item: Json) -> str:
    if not isinstance(item, dict):
        return "a value"
    places = [part for part in _loc(item) if part != "body"]
    place = ".".join(places) or "the request"
    if any(is_secret_key(part) for part in places):
        return f"{place}: not accepted"
    return f"{place}: {item.get('msg', 'not accepted')}"


def _login(answer: httpx.Response, connection: PrefectConnection) -> Iterator[str]:
    """The secrets of the request's headers, also in the form in which they were sent."""
    yield connection.auth_string or ""
    yield (connection.auth_string or "").partition(":")[2]
    yield connection.api_key or ""
    yield answer.request.headers.get("Authorization", "").rpartition(" ")[2]
    yield from (value for _, value in connection.headers)


def _secrets(body: Json, inside: bool = False) -> Iterator[str]:
    """Texts in a request that must not come back in a message."""
    if isinstance(body, dict):
        for key, value in body.items():
            # Environments carry whatever the user's programs need, under any name.
            yield from _secrets(value, inside or key == "env" or is_secret_key(str(key)))
    elif isinstance(body, list | tuple):
        for value in body:
            yield from _secrets(value, inside)
    elif inside and isinstance(body, str):
        yield body
        yield repr(body)[1:-1]
