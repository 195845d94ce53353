"""A git server over http that looks around while it is asked, and one that answers as it likes."""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Status, headers and body of an answer; None lets git's own http-backend answer.
Answer = tuple[int, dict[str, str], bytes] | None


@dataclass
class Watcher:
    """Serves the bare repositories below ``root`` to ``user`` with ``password``.

    ``arguments`` is what every process on this machine was started with, each
    time that git asked for something: its processes wait for the answer.
    ``logins`` are the Authorization headers that came. ``answer`` may stand in
    for git, and ``rewrite`` change what it says.
    """

    root: Path
    user: str
    password: str
    address: str = ""
    arguments: str = ""
    logins: list[str] = field(default_factory=list)
    answer: Callable[[str, str], Answer] = lambda path, login: None
    rewrite: tuple[bytes, bytes] = (b"", b"")

    def url(self, name: str = "store.git", *, login: bool = False) -> str:
        userinfo = f"{self.user}:{self.password}@" if login else ""
        return f"http://{userinfo}{self.address}/{name}"

    @property
    def header(self) -> str:
        """The header that git logs in with."""
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


@contextlib.contextmanager
def watching(root: Path, user: str, password: str) -> Iterator[Watcher]:
    watcher = Watcher(root, user, password)
    handler = type("Handler", (_Handler,), {"watcher": watcher})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    watcher.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield watcher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    watcher: Watcher

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.watcher.arguments += _arguments()
        login = self.headers.get("Authorization", "")
        if login:
            self.watcher.logins.append(login)
        if answer := self.watcher.answer(self.path, login):
            self._send(*answer)
        elif login != self.watcher.header:
            self._send(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
        else:
            self._backend(body)

    do_GET = do_POST = _handle  # noqa: N815

    def _backend(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        request = {
            "GIT_PROJECT_ROOT": str(self.watcher.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": self.watcher.user,
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        out = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env={**os.environ, **request},
            capture_output=True,
            check=True,
        ).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, headers, content.replace(*self.watcher.rewrite))

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def _arguments() -> str:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" "))
    return b"\n".join(found).decode("utf-8", "replace")
