"""One connection to the Prefect API: authentication, CSRF, retries; JSON in, JSON out."""

from __future__ import annotations

import base64
import json
import random
import ssl
import time
import uuid
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self

import httpx

from gitops_flow import __version__
from gitops_flow.errors import ApiError
from gitops_flow.prefect import failures
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from types import TracebackType

    from gitops_flow.model import Json, PrefectConnection

_RETRIED = (408, 429, 502, 503)
# These two say that the request was not carried out; 408 and 502 leave it open.
_RETRIED_ONCE_ONLY = (429, 503)
_LONGEST_WAIT = 60.0
_PAGE_LIMIT = 200
# The server forgets a client's first token when it gives a second one, so one
# identity for the process and not one per connection.
_CSRF_CLIENT = str(uuid.uuid4())


class Client:
    """A keep-alive connection to one Prefect API; use it as a context manager.

    ``requests`` counts what was sent, retries included. ``page_limit`` is the
    largest page the server gives, as far as is known. Every method raises
    :class:`~gitops_flow.errors.ApiError`.

    Args:
        connection: address, authentication and limits.
        sleep: waits between attempts, in seconds.
    """

    def __init__(
        self, connection: PrefectConnection, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.connection = connection
        self.requests = 0
        self.page_limit = _PAGE_LIMIT
        self.server_time: datetime | None = None
        self.flow_ids: dict[str, str] = {}
        self._sleep = sleep
        self._base = connection.api_url.rstrip("/")
        self._csrf: dict[str, str] = {}
        self._answered = False
        self._http = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; the client cannot be used afterwards."""
        self._http.close()

    def get(self, path: str) -> Json:
        """The JSON at ``path``, which starts with "/" and is relative to the API."""
        return self._request("GET", path, None)

    def post(self, path: str, body: Json, *, repeatable: bool = True) -> Json:
        """Send ``body``; the answer's JSON, or None for an empty one.

        ``repeatable`` False keeps it from being sent again when the first may
        have been carried out.
        """
        return self._request("POST", path, body, repeatable=repeatable)

    def patch(self, path: str, body: Json) -> None:
        """Change what ``body`` names."""
        self._request("PATCH", path, body)

    def put(self, path: str, body: Json) -> None:
        """Replace what is at ``path``."""
        self._request("PUT", path, body)

    def delete(self, path: str) -> None:
        """Delete; what is gone already counts as deleted."""
        try:
            self._request("DELETE", path, None)
        except ApiError as error:
            if error.status != 404:
                raise

    def _open(self) -> httpx.Client:
        connection = self.connection
        headers = {**dict(connection.headers), "User-Agent": f"gitops-flow/{__version__}"}
        if connection.auth_string:
            token = base64.b64encode(connection.auth_string.encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        elif connection.api_key:
            headers["Authorization"] = f"Bearer {connection.api_key}"
        try:
            return httpx.Client(
                headers=headers,
                timeout=connection.timeout,
                verify=self._tls(),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            )
        except ImportError as error:
            # httpx speaks SOCKS only with a package that we do not bring.
            raise ApiError(
                "the proxy for the Prefect API is a SOCKS proxy, which needs another package",
                where=redact(self._base),
                hint="pip install socksio, or name the server in NO_PROXY",
            ) from error
        except (ValueError, httpx.HTTPError, httpx.InvalidURL):
            # The value that does not fit a header may be the secret: it is not shown.
            raise ApiError(
                "the settings for the Prefect API cannot be sent over HTTP",
                where=redact(self._base),
                hint="look for line breaks or letters outside ASCII in the API key, the custom "
                "headers, and in HTTP_PROXY and its like",
            ) from None

    def _tls(self) -> ssl.SSLContext | bool:
        connection = self.connection
        if not connection.tls_verify or not self._base.lower().startswith("https:"):
            return False  # Loading certificates costs more than the whole request over http.
        if not connection.ca_file:
            return True
        try:
            return ssl.create_default_context(cafile=connection.ca_file)
        except OSError as error:
            raise ApiError(
                f"the certificate file cannot be read: {error.strerror or error}",
                where=connection.ca_file,
                hint="see PREFECT_API_SSL_CERT_FILE and SSL_CERT_FILE",
            ) from error

    def _request(self, method: str, path: str, body: Json, *, repeatable: bool = True) -> Json:
        url = self._base + path
        content = None if body is None else _encode(body, url)
        attempt = 0
        renewed = False
        while True:
            try:
                answer = self._send(method, url, content)
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                if attempt >= self.connection.max_retries or not self._worth_it(error, repeatable):
                    raise failures.unreachable(error, url, self.connection) from error
                self._sleep(_backoff(attempt))
                attempt += 1
                continue
            if not renewed and self._wants_csrf(method, answer):
                renewed = True
                self._fetch_csrf()
                continue
            again = _RETRIED if repeatable else _RETRIED_ONCE_ONLY
            if answer.status_code in again and attempt < self.connection.max_retries:
                self._sleep(_wait(answer, attempt))
                attempt += 1
                continue
            return self._result(answer, url, body)

    def _send(self, method: str, url: str, content: bytes | None) -> httpx.Response:
        headers = {} if content is None else {"Content-Type": "application/json"}
        if method != "GET":
            headers.update(self._csrf)
        self.requests += 1
        answer = self._http.request(method, url, content=content, headers=headers)
        self._answered = True
        self.server_time = _date(answer)
        return answer

    def _worth_it(self, error: Exception, repeatable: bool) -> bool:
        if isinstance(error, httpx.ConnectError):
            # A server that answered a moment ago is restarting; one that never did is not there.
            return self._answered
        dropped = httpx.ReadError | httpx.WriteError | httpx.CloseError | httpx.RemoteProtocolError
        return repeatable and isinstance(error, dropped)

    def _wants_csrf(self, method: str, answer: httpx.Response) -> bool:
        return (
            method != "GET"
            and answer.status_code == 403
            and self.connection.csrf
            and "csrf" in answer.text[:200].lower()
        )

    def _fetch_csrf(self) -> None:
        token = self._request("GET", f"/csrf-token?client={_CSRF_CLIENT}", None)
        if isinstance(token, dict) and isinstance(token.get("token"), str):
            self._csrf = {
                "Prefect-Csrf-Token": token["token"],
                "Prefect-Csrf-Client": _CSRF_CLIENT,
            }

    def _result(self, answer: httpx.Response, url: str, body: Json) -> Json:
        if not answer.is_success:
            raise failures.refused(answer, url, body, self.connection)
        if not answer.content:
            return None
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise failures.no_api(answer, url) from None


def _encode(body: Json, url: str) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The error's text can hold the value, its type cannot.
        raise ApiError(
            f"a value cannot be written as JSON ({type(error).__name__})",
            where=redact(url),
            hint="parameters and job variables must be text, finite numbers, true, false, null, "
            "lists or mappings",
        ) from None


def _backoff(attempt: int) -> float:
    # Quick at first, since a busy SQLite is free again soon; patient later.
    return float(min(0.1 * 4**attempt, 20.0) * random.uniform(0.75, 1.25))  # noqa: S311


def _wait(answer: httpx.Response, attempt: int) -> float:
    asked = answer.headers.get("Retry-After", "").strip()
    if asked.isdigit():
        return min(float(asked), _LONGEST_WAIT)
    if asked and (now := _date(answer)):
        try:
            seconds = (parsedate_to_datetime(asked) - now).total_seconds()
        except (TypeError, ValueError):
            return _backoff(attempt)
        return min(max(seconds, 0.0), _LONGEST_WAIT)
    return _backoff(attempt)


def _date(answer: httpx.Response) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, TypeError, ValueError):
        return None
