"""A server on a real socket that answers what a test scripts, to a client of ours."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gitops_flow import prefect
from gitops_flow.model import PrefectConnection

DROP = "drop"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that did not wait."""


class Script:
    """Answers each request with the next line of the script, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        # By which connection each request came: the client's port, and the path.
        self.came: list[tuple[int, str]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                script.came.append((self.client_address[1], self.path))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                script.seen.append((self.command, self.path, headers, body and json.loads(body)))
                answer = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                if callable(answer):
                    answer = answer(*script.seen[-1])
                if answer == DROP:
                    # A reset instead of an answer, as after the server's 500.
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()
                    self.close_connection = True
                    return
                status, payload, *extra = answer
                if not isinstance(payload, bytes):
                    payload = json.dumps(payload).encode()
                self.send_response(status)
                for key, value in (extra[0] if extra else {}).items():
                    self.send_header(key, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

            def log_message(self, *_: Any) -> None:
                pass

        self.http = _Server(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.connection = PrefectConnection(f"http://127.0.0.1:{self.http.server_port}/api")
        self.waits: list[float] = []
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def client(self, **changes: Any) -> prefect.Client:
        return prefect.Client(replace(self.connection, **changes), sleep=self.waits.append)

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()
