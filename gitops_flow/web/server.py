"""The server under the pages: a socket, uvicorn in a thread, limits for whoever connects."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gitops_flow.errors import UsageError
from gitops_flow.web import api

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gitops_flow.controller.run import Controller

# Seconds in which the head of a request must have come, the first or the next one.
HEAD_SECONDS = 10.0
MAX_HEAD = 16 * 1024
# More would take the descriptors that git needs.
MAX_CONNECTIONS = 200
_END_SECONDS = 3


class Edge:
    """The HTTP server of a controller.

    Args:
        controller: what it shows.
        ended: is called in the server's thread, should it end without having been asked to.

    Raises:
        UsageError: the address of ``listen`` cannot be had.
    """

    def __init__(self, controller: Controller, ended: Callable[[], None] = lambda: None) -> None:
        self._socket = _bound(controller.config.listen)
        host, port = self._socket.getsockname()[:2]
        self.is_local = is_local(host)
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                api.app(controller, may_change=self.is_local),
                http=_Protocol,
                ws="none",
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                log_level="error",
                h11_max_incomplete_event_size=MAX_HEAD,
                timeout_graceful_shutdown=_END_SECONDS,
            )
        )
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name="controller-http", daemon=True)

    def start(self) -> None:
        """Begin to answer; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what has been asked, and nothing more."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS * 2)
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            if not self._server.should_exit:
                self._ended()


def is_local(address: str) -> bool:
    """Whether nobody but this machine can reach what listens at ``address``."""
    return ipaddress.ip_address(address).is_loopback


class _Protocol(H11Protocol):
    """uvicorn's HTTP, for which a head that never ends is no reason to hang up."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._late = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_busy = self.cycle is not None and not self.cycle.response_complete
        if is_busy and self._late is not None:
            self._late.cancel()
            self._late = None
        elif not is_busy and self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)


def _bound(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )[0]
        return socket.create_server(address, family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"nothing can listen at {listen}: {reason}",
            where="gitflow.yaml: listen",
            hint="another program may have it; `listen: 127.0.0.1:0` takes any free port",
            heals="time",
        ) from None
