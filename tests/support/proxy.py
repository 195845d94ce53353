"""An HTTP proxy in front of a real server: counts requests, holds or fails some.

``with Proxy(server.api_url) as proxy:`` and give ``proxy.api_url`` to the code
under test. Every request reaches the real server unless a rule says otherwise.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length"}
_READ_POSTS = re.compile(r"/(filter|paginate|count)$")

Action = Literal["hold", "hold-after", "drop", "drop-after", "status"]


@dataclass(frozen=True)
class Request:
    """One request as it arrived; ``path`` without the API's prefix and the query."""

    method: str
    path: str
    body: bytes

    @property
    def writes(self) -> bool:
        """Whether it changes something: everything but GET and the POSTs that only read."""
        return self.method not in ("GET", "HEAD") and not _READ_POSTS.search(self.path)


@dataclass
class Rule:
    """What happens to the n-th and later matching requests, ``times`` of them.

    hold: wait until ``release``, then go on; ``reached`` tells that one waits.
    hold-after: ask the server, then wait as for ``hold`` before its answer is handed on.
    drop: close the connection without asking the server.
    drop-after: ask the server, then close the connection without its answer.
    status: answer ``status`` without asking the server.
    """

    method: str
    path: re.Pattern[str]
    action: Action
    nth: int = 1
    times: int = 1
    status: int = 503
    seen: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def takes(self, request: Request) -> bool:
        """Count a matching request; whether this one is meant."""
        if self.method not in ("*", request.method) or not self.path.search(request.path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class Proxy:
    """The proxy; ``requests`` lists what arrived, oldest first.

    With ``demands``, it answers 401 to whoever sends other headers of these names, in lower
    case, or lacks one; ``strangers`` are the values that came instead.
    """

    def __init__(self, api_url: str, demands: Mapping[str, str] | None = None) -> None:
        self.demands = dict(demands or {})
        self.strangers: list[dict[str, str | None]] = []
        target = urlsplit(api_url)
        self._host, self._port = target.hostname or "", target.port or 80
        self._prefix = target.path.rstrip("/")
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.api_url = f"http://127.0.0.1:{self._server.server_address[1]}{self._prefix}"

    def __enter__(self) -> Proxy:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for rule in self._rules:
            rule.release.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join(5)

    def rule(
        self,
        action: Action,
        method: str = "*",
        path: str = "",
        *,
        nth: int = 1,
        times: int = 1,
        status: int = 503,
    ) -> Rule:
        """Add a rule for requests of a method whose path the pattern is found in."""
        rule = Rule(method, re.compile(path), action, nth, times, status)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget the counted requests; rules stay."""
        with self._lock:
            self.requests.clear()

    @property
    def counts(self) -> Counter[str]:
        """How often each ``METHOD /path`` was asked for."""
        with self._lock:
            return Counter(f"{r.method} {r.path}" for r in self.requests)

    @property
    def writes(self) -> list[str]:
        """``METHOD /path`` of every request that would change something, in order."""
        with self._lock:
            return [f"{r.method} {r.path}" for r in self.requests if r.writes]

    def _arrived(self, method: str, target: str, body: bytes) -> Rule | None:
        path = urlsplit(target).path.removeprefix(self._prefix)
        request = Request(method, path, body)
        with self._lock:
            self.requests.append(request)
            taken = [rule for rule in self._rules if rule.takes(request)]
        return taken[0] if taken else None

    def _forward(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(self._host, self._port, timeout=120)
        try:
            upstream.request(method, target, body or None, headers)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._open: set[socket.socket] = set()

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._open.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close the keep-alive connections that clients left open."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that was killed or dropped is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = self.proxy._arrived(self.command, self.path, body)
        after = rule is not None and rule.action == "hold-after"
        if rule is not None and not after:
            rule.reached.set()
            if rule.action == "hold":
                rule.release.wait(120)
            elif rule.action == "drop":
                self._drop()
                return
            elif rule.action == "status":
                self._answer(rule.status, [], b'{"exception_message":"made up by a test"}')
                return
        sent = {name: self.headers.get(name) for name in self.proxy.demands}
        if sent != self.proxy.demands:
            self.proxy.strangers.append(sent)
            self._answer(401, [], b'{"exception_message":"made up by a test"}')
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        status, answered, data = self.proxy._forward(self.command, self.path, headers, body)
        if rule is not None and after:
            rule.reached.set()
            rule.release.wait(120)
        if rule is not None and rule.action == "drop-after":
            self._drop()
            return
        self._answer(status, answered, data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
