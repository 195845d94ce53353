"""What a flow run's labels say of its code: written after a pull, read before the next attempt's."""

from __future__ import annotations

import base64
import http.client
import json
import random
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from gitops_flow.git.url import origin, split_userinfo

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "gitflow."
_LARGEST = 4 << 20
# A server under load answers 503 now and then, and one that restarts is away for seconds.
_BUSY = (408, 429, 500, 502, 503, 504)
# Seconds in which a request is sent again, and the longest pause.
PATIENCE = 30.0
_LONGEST_PAUSE = 4.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The credentials are for this server, not for one that it names."""

    def redirect_request(self, *_: object) -> None:
        return None


class LabelError(Exception):
    """The server could not be asked, in a few words without secrets.

    ``passes``: it may answer when it is asked again.
    """

    def __init__(self, message: str, *, passes: bool = False) -> None:
        super().__init__(message)
        self.passes = passes


@dataclass(frozen=True, slots=True)
class Run:
    """A flow run on a Prefect server; ``headers`` carry the credentials, ``timeout`` is in seconds."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    insecure: bool = False
    timeout: float = 10.0


def current(environ: Mapping[str, str]) -> Run | None:
    """The run that this process executes, None outside of one or without a server."""
    run, api = environ.get("PREFECT__FLOW_RUN_ID"), environ.get("PREFECT_API_URL", "")
    if not run or not api.lower().startswith(("http://", "https://")):
        return None
    # Prefect takes a login in the address, too, and before all others.
    address, user, password = split_userinfo(api)
    headers = {"Content-Type": "application/json"}
    if user or password:
        headers["Authorization"] = _basic(f"{user or ''}:{password or ''}")
    elif key := environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    elif login := environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = _basic(login)
    skip = environ.get("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "").lower() in ("1", "true", "t")
    return Run(f"{address.rstrip('/')}/flow_runs/{quote(run, safe='')}", headers, skip)


def _basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def read(run: Run) -> dict[str, str]:
    """Our labels of ``run``, without the prefix.

    Raises:
        LabelError: the server is away or refuses.
    """
    try:
        answer = json.loads(_ask(run, run.url, None) or b"{}")
    except ValueError:
        raise LabelError(f"{origin(run.url)} answered what is no JSON") from None
    labels = answer.get("labels") if isinstance(answer, dict) else None
    return {
        key.removeprefix(PREFIX): value
        for key, value in (labels or {}).items()
        if key.startswith(PREFIX) and isinstance(value, str)
    }


def write(run: Run, labels: Mapping[str, str]) -> None:
    """Add ``labels`` to ``run``.

    Raises:
        LabelError: the server is away, refuses, or is too old to know labels of runs.
    """
    body = json.dumps({PREFIX + key: value for key, value in labels.items()}).encode()
    _ask(run, f"{run.url}/labels", body)


def _ask(run: Run, url: str, body: bytes | None) -> bytes:
    """Send a request, again while the server is busy or away: both kinds may be sent twice."""
    until, pause = time.monotonic() + PATIENCE, 0.2
    while True:
        try:
            return _send(run, url, body)
        except LabelError as error:
            if not error.passes or time.monotonic() + pause > until:
                raise
        # Runs that start together do not ask again together.
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        pause = min(pause * 2, _LONGEST_PAUSE)


def _send(run: Run, url: str, body: bytes | None) -> bytes:
    request = urllib.request.Request(  # noqa: S310 - http or https, see current()
        url, data=body, headers=dict(run.headers), method="GET" if body is None else "PATCH"
    )
    context = ssl.create_default_context()
    if run.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), _NoRedirects()
    )
    try:
        with opener.open(request, timeout=run.timeout) as answer:
            data: bytes = answer.read(_LARGEST)
            return data
    except urllib.error.HTTPError as error:
        error.close()
        raise LabelError(
            f"{origin(url)} answered {error.code}", passes=error.code in _BUSY
        ) from None
    except http.client.HTTPException as error:
        # Its text may be the address, or what the server said.
        passes = not isinstance(error, http.client.InvalidURL)
        raise LabelError(f"{origin(url)}: {type(error).__name__}", passes=passes) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise LabelError(f"{origin(url)}: {reason}", passes=_passes(reason)) from None


def _passes(reason: object) -> bool:
    """Whether a failed connection may succeed later: no certificate gets better by waiting."""
    return isinstance(reason, OSError) and not isinstance(reason, ssl.SSLCertVerificationError)
