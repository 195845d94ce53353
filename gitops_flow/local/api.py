"""One JSON request to a server on this machine, by the standard library alone."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_flow.errors import ApiError

if TYPE_CHECKING:
    from gitops_flow.model import Json


def call(api_url: str, method: str, path: str, body: Json = None, *, timeout: float = 30.0) -> Json:
    """Send one request and return the decoded answer (None when it is empty).

    Args:
        api_url: address of the API, ending in ``/api``; no proxy is used.
        method: HTTP method.
        path: what comes after the API's address, beginning with ``/``.
        body: JSON value to send, None for no body.
        timeout: seconds.

    Raises:
        ApiError: no answer, not JSON, or a status of 400 and above. The
            answer's text is not shown: a 422 repeats the request.
    """
    parts = urlsplit(api_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(
            method,
            parts.path.rstrip("/") + path,
            None if body is None else json.dumps(body).encode(),
            {} if body is None else {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        status, data = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(
            f"{method} {path}: no answer ({error or type(error).__name__})",
            where=api_url,
            retry=True,
        ) from error
    finally:
        connection.close()
    if status >= 400:
        raise ApiError(
            f"{method} {path}: the server answered {status}",
            status=status,
            where=api_url,
            retry=status in (408, 429, 502, 503),
        )
    try:
        return json.loads(data) if data else None
    except ValueError as error:
        raise ApiError(
            f"{method} {path}: the answer is not JSON", status=status, where=api_url
        ) from error
