"""HTTP connections to Prefect APIs: opened as the settings say."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING

import httpx

from gitops_flow import __version__
from gitops_flow.errors import ApiError
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from gitops_flow.model import PrefectConnection


def opened(connection: PrefectConnection) -> httpx.Client:
    """A client of one keep-alive connection, which is made at the first request.

    Raises:
        ApiError: the settings cannot be used.
    """
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
            verify=_tls(connection),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
        )
    except ImportError as error:
        # httpx speaks SOCKS only with a package that we do not bring.
        raise ApiError(
            "the proxy for the Prefect API is a SOCKS proxy, which needs another package",
            where=redact(connection.api_url.rstrip("/")),
            hint="pip install socksio, or name the server in NO_PROXY",
        ) from error
    except (ValueError, httpx.HTTPError, httpx.InvalidURL):
        # The value that does not fit a header may be the secret: it is not shown.
        raise ApiError(
            "the settings for the Prefect API cannot be sent over HTTP",
            where=redact(connection.api_url.rstrip("/")),
            hint="look for line breaks or letters outside ASCII in the API key, the custom "
            "headers, and in HTTP_PROXY and its like",
        ) from None


def _tls(connection: PrefectConnection) -> ssl.SSLContext | bool:
    if not connection.tls_verify or not connection.api_url.lower().startswith("https:"):
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
