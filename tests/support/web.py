"""The HTTP edge on a real socket, over a controller that looks at nothing, and who asks it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gitops_flow.controller.run import Controller
from gitops_flow.web import Edge

SOURCES = {name: {"repository": "/nowhere"} for name in ("shop", "till", "mail")}


class Caller:
    """Somebody who speaks to ``edge``."""

    def __init__(self, edge: Edge, controller: Controller) -> None:
        self.controller = controller
        host, _, port = edge.address.removeprefix("http://").rpartition(":")
        self.address = edge.address
        self.place = (host.strip("[]"), int(port))

    def ask(
        self, method: str, path: str, content: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """The status and document of an answer; ``sec_fetch_site="none"`` is a header."""
        connection = http.client.HTTPConnection(*self.place, timeout=20)
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if content is not None:
            sent.setdefault("content-type", "application/json")
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def refused(self, *args: Any, **more: Any) -> tuple[int, str, str | None]:
        """Status, message and hint of an answer that is a refusal."""
        status, document = self.ask(*args, **more)
        assert document["ok"] is False
        return status, document["error"]["message"], document["error"]["hint"]

    def raw(self, data: bytes, *, seconds: float = 20) -> bytes:
        """What comes back for these bytes until the connection is closed, or for so long."""
        with socket.create_connection(self.place, timeout=seconds) as connection:
            connection.sendall(data)
            received = b""
            with contextlib.suppress(OSError):
                while part := connection.recv(4096):
                    received += part
        return received


@contextlib.contextmanager
def edge(directory: Path, **config: Any) -> Iterator[Caller]:
    """The edge, for as long as the block lasts."""
    path = directory / "gitflow.yaml"
    content = {"listen": "127.0.0.1:0", "data": "data", "sources": SOURCES, **config}
    path.write_text(yaml.safe_dump(content))
    controller = Controller(path, {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, directory)
    controller.reconciler.configure(controller.config)
    for name in controller.config.sources:
        controller.state.update(name)
    made = Edge(controller)
    made.start()
    try:
        yield Caller(made, controller)
    finally:
        made.stop()
