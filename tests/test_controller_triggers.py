"""The doorbell at a server that says whatever it likes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from gitops_flow.controller.triggers import Doorbell
from gitops_flow.model import PrefectConnection

EVENT = {"type": "event", "event": {"resource": {"prefect.resource.id": "prefect.deployment.abc"}}}


@contextmanager
def _server(answers: list[list[Any]]) -> Iterator[tuple[Server, list[Any]]]:
    """One that answers each connection by the next of ``answers``, after what it is sent first."""
    heard: list[Any] = []

    def handle(socket: ServerConnection) -> None:
        said = answers.pop(0) if answers else [{"type": "auth_success"}]
        heard.append(json.loads(socket.recv()))
        for number, each in enumerate(said):
            socket.send(each if isinstance(each, str) else json.dumps(each))
            if number == 0 and each == {"type": "auth_success"}:
                heard.append(json.loads(socket.recv()))

    with serve(handle, "127.0.0.1", 0, subprotocols=["prefect"]) as server:  # type: ignore[list-item]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server, heard
        server.shutdown()
        thread.join(5)


@pytest.mark.parametrize(
    "nonsense",
    ["[]", "[" * 100_000, "no json", "3", {"type": "auth_failure", "reason": "who are you"}],
)
def test_a_server_that_answers_nonsense_is_asked_again(nonsense: Any) -> None:
    rung = threading.Event()
    told: list[str] = []

    def ring(deployment: str) -> None:
        told.append(deployment)
        rung.set()

    good = [{"type": "auth_success"}, "[1]", {"event": 3}, {"event": {"resource": []}}, EVENT]
    with _server([[nonsense], good]) as (server, heard):
        port = server.socket.getsockname()[1]
        connection = PrefectConnection(f"http://127.0.0.1:{port}/api", auth_string="user:pass")
        bell = Doorbell(connection, ring)
        assert rung.wait(20)
        bell.close()
        bell.join(5)
    assert told == ["abc"]
    assert heard[1] == {"type": "auth", "token": "user:pass"}
    # Without a time in the future the server sends nothing, ever.
    occurred = heard[2]["filter"]["occurred"]
    assert occurred["until"] > occurred["since"]
