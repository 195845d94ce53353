"""One connection to the Prefect API: authentication, CSRF, retries; JSON in, JSON out."""

from __future__ import annotations

import json
import random
import threading
import uuid
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

import httpx

from gitops_flow import stop
from gitops_flow.errors import ApiError
from gitops_flow.prefect import failures, versions
from gitops_flow.prefect.connection import opened
from gitops_flow.prefect.shape import mismatch
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from gitops_flow.model import Json, PrefectConnection
    from gitops_flow.prefect.shape import Shape

_BUSY = 503
_RETRIED = (408, 429, 502, _BUSY, 504)
# These two say that the request was not carried out; the others leave it open.
_NOT_CARRIED_OUT = (429, _BUSY)
# So do these failures; after any other the request may have been carried out.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_DROPPED = (
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.RemoteProtocolError,
    httpx.TimeoutException,
)
# What Prefect answers to a change, in every version; something else may have answered
# in its place.
_DONE = {"PATCH": (204,), "PUT": (204,), "DELETE": (202, 204)}
# Seconds of waiting for a server that says it is busy, however many attempts that is.
_PATIENCE = 120.0
_LONGEST_WAIT = 60.0
_PAGE_LIMIT = 200


class Client:
    """A keep-alive connection to one Prefect API; use it as a context manager.

    Threads may share it: their requests are sent one after the other.
    ``requests`` counts what was sent, ``repeated`` how much of it was sent once more.
    ``page_limit`` is the largest page the server gives, as far as is known. Every method
    raises :class:`~gitops_flow.errors.ApiError`, also for an answer that is not of the
    shape (:data:`~gitops_flow.prefect.shape.Shape`) that it is given.

    Args:
        connection: address, authentication and limits.
        http: what to send with, opened for just this connection; None opens it.
        sleep: waits between attempts, in seconds.
    """

    def __init__(
        self,
        connection: PrefectConnection,
        http: httpx.Client | None = None,
        *,
        sleep: Callable[[float], None] = stop.pause,
    ) -> None:
        self.connection = connection
        self.requests = 0
        self.repeated = 0
        self.page_limit = _PAGE_LIMIT
        self.server_time: datetime | None = None
        self.flow_ids: dict[str, str] = {}
        self._sleep = sleep
        self._base = connection.api_url.rstrip("/")
        # The server forgets a client's first token when it gives a second one: two connections
        # with one identity would take it from each other.
        self._identity = str(uuid.uuid4())
        self._csrf: dict[str, str] = {}
        self._answered = False
        self._sending, self._renewing = threading.Lock(), threading.Lock()
        self._http = http or opened(connection)

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

    @cached_property
    def version(self) -> versions.Version | None:
        """The server's, asked for once; None when it does not tell.

        Prefect Cloud has no version and every feature. A proxy may keep ``/admin`` to itself.

        Raises:
            ApiError: the server is too old, or cannot be asked.
        """
        if self.connection.is_cloud:
            return None
        try:
            found = versions.parse(self.get("/admin/version", str))
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            return None
        versions.refuse_too_old(found, redact(self._base))
        return found

    @property
    def lacking(self) -> dict[str, str]:
        """The features that the server does not have, each with the words that say so."""
        return versions.lacking(self.version)

    def can(self, feature: str) -> bool:
        """Whether the server has a feature of :data:`~gitops_flow.prefect.versions.SINCE`."""
        return feature not in self.lacking

    def get(self, path: str, shape: Shape = object) -> Json:
        """The JSON at ``path``, which starts with "/" and is relative to the API."""
        return self._request("GET", path, None, shape)

    def post(
        self,
        path: str,
        body: Json,
        shape: Shape = object,
        *,
        stands: Callable[[], Json | None] | None = None,
    ) -> Json:
        """Send ``body``; the answer's JSON, or None for an empty one.

        Args:
            path: as for :meth:`get`.
            body: what is sent.
            shape: of the answer.
            stands: for what must not happen twice. Where an answer was lost, it looks
                whether the request was carried out: what it returns is the answer then,
                and only after None the request is sent again.
        """
        return self._request("POST", path, body, shape, stands)

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

    def _request(
        self,
        method: str,
        path: str,
        body: Json,
        shape: Shape = object,
        stands: Callable[[], Json | None] | None = None,
    ) -> Json:
        url = self._base + path
        content = None if body is None else _encode(body, url)
        # Refusals of a busy database do not use up the attempts for lost answers.
        attempts, waited, renewed = {True: 0, False: 0}, 0.0, False
        while True:
            sent_with = self._csrf
            answer = self._send(method, url, content, sent_with)
            if not renewed and self._wants_csrf(method, answer):
                renewed = True
                with self._renewing:
                    if self._csrf is sent_with:  # else another thread has renewed it
                        self._fetch_csrf()
                continue
            busy = isinstance(answer, httpx.Response) and answer.status_code == _BUSY
            attempt = attempts[busy]
            if not self._worth_repeating(answer, attempt, waited):
                return self._result(answer, url, body, shape, attempt)
            pause = _wait(answer, attempt)
            self._sleep(pause)
            attempts[busy], waited = attempt + 1, waited + pause
            if stands is not None and _may_stand(answer) and (made := stands()) is not None:
                return made
            with self._sending:
                self.repeated += 1

    def _worth_repeating(
        self, answer: httpx.Response | Exception, attempt: int, waited: float
    ) -> bool:
        most = self.connection.max_retries
        if isinstance(answer, httpx.Response):
            # Many short refusals are no reason to give up a busy database.
            patient = answer.status_code == _BUSY and most > 0 and waited < _PATIENCE
            return answer.status_code in _RETRIED and (attempt < most or patient)
        if isinstance(answer, httpx.ConnectError | httpx.ConnectTimeout) and not self._answered:
            # A server that answered a moment ago is restarting; one that never did is not there.
            return False
        return attempt < most and isinstance(answer, (*_NOT_SENT, *_DROPPED))

    def _send(
        self, method: str, url: str, content: bytes | None, csrf: Mapping[str, str]
    ) -> httpx.Response | Exception:
        headers = {} if content is None else {"Content-Type": "application/json"}
        if method != "GET":
            headers.update(csrf)
        with self._sending:
            self.requests += 1
            try:
                answer = self._http.request(method, url, content=content, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
                return error
            self._answered = True
            self.server_time = _date(answer)
            return answer

    def _wants_csrf(self, method: str, answer: httpx.Response | Exception) -> bool:
        return (
            method != "GET"
            and isinstance(answer, httpx.Response)
            and answer.status_code == 403
            and self.connection.csrf
            and "csrf" in answer.text[:200].lower()
        )

    def _fetch_csrf(self) -> None:
        token = self._request("GET", f"/csrf-token?client={self._identity}", None)
        if isinstance(token, dict) and isinstance(token.get("token"), str):
            self._csrf = {
                "Prefect-Csrf-Token": token["token"],
                "Prefect-Csrf-Client": self._identity,
            }

    def _result(
        self,
        answer: httpx.Response | Exception,
        url: str,
        body: Json,
        shape: Shape,
        repeated: int,
    ) -> Json:
        if not isinstance(answer, httpx.Response):
            raise failures.unreachable(answer, url, self.connection, repeated) from answer
        if not answer.is_success:
            raise failures.refused(answer, url, body, self.connection, repeated)
        method = answer.request.method
        if answer.status_code not in _DONE.get(method, (answer.status_code,)):
            raise failures.not_done(answer, url)
        try:
            data = answer.json() if answer.content else None
            wrong = mismatch(data, shape)
        except (ValueError, RecursionError):
            raise failures.no_api(answer, url) from None
        if wrong:
            raise failures.misshapen(answer, url, wrong)
        return data


def _may_stand(answer: httpx.Response | Exception) -> bool:
    """Whether the request may have been carried out although nothing good was answered."""
    if isinstance(answer, httpx.Response):
        return answer.status_code not in _NOT_CARRIED_OUT
    return not isinstance(answer, _NOT_SENT)


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


def _backoff(attempt: int, longest: float = 20.0) -> float:
    # Quick at first, since a busy SQLite is free again soon; patient later.
    return float(min(0.1 * 4**attempt, longest) * random.uniform(0.75, 1.25))  # noqa: S311


def _wait(answer: httpx.Response | Exception, attempt: int) -> float:
    if not isinstance(answer, httpx.Response):
        return _backoff(attempt)
    asked = answer.headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        return min(float(asked), _LONGEST_WAIT)
    if asked and (now := _date(answer)):
        try:
            seconds = (parsedate_to_datetime(asked) - now).total_seconds()
        except (TypeError, ValueError):
            return _backoff(attempt)
        return min(max(seconds, 0.0), _LONGEST_WAIT)
    # Who waits longer than the other writers of a busy database never gets his turn.
    return _backoff(attempt, 4.0) if answer.status_code == _BUSY else _backoff(attempt)


def _date(answer: httpx.Response) -> datetime | None:
    try:
        when = parsedate_to_datetime(answer.headers["Date"])
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        return None
