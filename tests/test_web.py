"""The HTTP API: what it tells of sources, what may be asked for them, how it refuses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops_flow.controller.run import Controller
from gitops_flow.errors import UsageError
from gitops_flow.web import Edge
from tests.support import web
from tests.support.web import Caller


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """For requests that change nothing."""
    with web.edge(tmp_path_factory.mktemp("edge")) as made:
        yield made


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    with web.edge(tmp_path) as made:
        yield made


def test_a_source_is_told_as_its_state_and_the_list_has_all_by_name(caller: Caller) -> None:
    caller.controller.state.update("shop", condition="degraded", error="a\nb", heals="server")
    status, listed = caller.ask("GET", "/api/sources")
    assert status == 200
    assert [(each["name"], each["word"]) for each in listed["sources"]] == [
        ("mail", "progressing"),
        ("shop", "degraded"),
        ("till", "progressing"),
    ]
    assert caller.ask("GET", "/api/sources/shop") == (200, listed["sources"][1])
    assert listed["sources"][1]["error"] == "a\nb"


def test_what_a_message_calls_an_option_is_told_as_a_key_of_the_file_or_a_command(
    caller: Caller,
) -> None:
    caller.controller.state.update("shop", error="with ‹adopt›, or ‹remote›")
    told = caller.ask("GET", "/api/sources/shop")[1]["error"]
    assert told == "with `gitflow deploy --adopt`, or code_store: {remote: ...}"


def test_a_preview_is_found_by_its_name_with_the_slashes_of_its_branch(caller: Caller) -> None:
    caller.controller.state.update("shop@feature/x")
    assert caller.ask("GET", "/api/sources/shop@feature/x")[1]["name"] == "shop@feature/x"
    assert caller.ask("GET", "/api/sources/shop%40feature%2Fx")[1]["name"] == "shop@feature/x"
    assert caller.ask("POST", "/api/sources/shop%40feature%2Fx/sync", {})[0] == 202


@pytest.mark.parametrize("path", ["/api/sources/shpo", "/api/sources/shpo/sync"])
def test_an_unknown_source_is_a_404_with_the_nearest_name(shared: Caller, path: str) -> None:
    method, content = ("POST", {}) if path.endswith("sync") else ("GET", None)
    told = shared.refused(method, path, content)
    assert told == (404, "there is no source 'shpo'", "did you mean 'shop'?")


def test_sync_suspend_and_resume_are_the_controllers_own(caller: Caller) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    how = {"reason": "moving", "author": "ann", "until": until.isoformat()}
    status, state = caller.ask("POST", "/api/sources/shop/suspend", how)
    assert (status, state["word"]) == (202, "suspended")
    assert state["suspension"]["reason"] == "moving"
    status, message, hint = caller.refused("POST", "/api/sources/shop/sync", {})
    assert status == 409
    assert message.startswith("the source shop is suspended by ann until ")
    assert message.endswith(": moving")
    assert hint == "gitflow resume shop takes that back"
    assert caller.ask("POST", "/api/sources/shop/resume", {})[1]["suspension"] is None
    assert len(caller.controller.queue) == 1
    status, state = caller.ask("POST", "/api/sources/till/sync", {})
    assert (status, state["name"]) == (202, "till")
    assert len(caller.controller.queue) == 2


def test_a_time_without_a_zone_is_utc(caller: Caller) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    naive = {"until": until.replace(tzinfo=None).isoformat()}
    state = caller.ask("POST", "/api/sources/shop/suspend", naive)[1]
    assert datetime.fromisoformat(state["suspension"]["until"]) == until


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"reason": 3}', "reason"),
        (b'{"until": "soon"}', "until"),
        (b'{"whole": true}', "whole"),
        (b"[" * 10_000, None),
    ],
)
def test_a_body_that_is_wrong_is_told_with_its_place(
    shared: Caller, content: bytes, where: str | None
) -> None:
    status, document = shared.ask("POST", "/api/sources/shop/suspend", content)
    assert status == 400
    assert document["error"]["where"] == where
    assert shared.controller.state.get("shop").suspension is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("GET", "/api/sources/", 404),
        ("DELETE", "/api/sources/shop", 405),
        ("POST", "/api/sources", 405),
        ("OPTIONS", "/api/sources", 405),
        ("PUT", "/api/sources/shop/sync", 405),
    ],
)
def test_what_is_not_there_is_refused_in_json(
    shared: Caller, method: str, path: str, status: int
) -> None:
    assert shared.refused(method, path)[0] == status


def test_a_mistake_of_ours_is_a_500_that_says_nothing_of_its_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(Controller, "sync", broken)
    with web.edge(tmp_path) as caller:
        status, message, hint = caller.refused("POST", "/api/sources/shop/sync", {})
    assert (status, message) == (500, "bug: RuntimeError")
    assert hint == "the controller's log has the details; please report it"
    assert "inside" in caplog.text


def test_the_controller_is_alive_and_ready_until_nobody_looks_at_a_source(tmp_path: Path) -> None:
    with web.edge(tmp_path) as caller:
        assert caller.ask("GET", "/healthz") == (200, {"ok": True})
        assert caller.ask("GET", "/readyz")[0] == 200
        caller.controller.reconciler.looked["shop"] -= 901
        status, told = caller.ask("GET", "/readyz")
        assert (status, told["ready"], list(told["overdue"])) == (503, False, ["shop"])
        assert told["overdue"]["shop"] >= 901
        caller.controller.suspend("shop", reason="", author="")
        assert caller.ask("GET", "/readyz")[0] == 200
        assert caller.ask("GET", "/healthz")[0] == 200


def test_a_file_that_is_not_followed_is_told_of_and_no_reason_to_end(caller: Caller) -> None:
    caller.controller.config_error = "gitflow.yaml:3:1: wrong"
    assert caller.ask("GET", "/api/sources")[1]["config_error"] == "gitflow.yaml:3:1: wrong"
    status, told = caller.ask("GET", "/readyz")
    assert (status, told["config_error"]) == (200, "gitflow.yaml:3:1: wrong")


def test_an_address_that_another_program_has_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = tmp_path / "gitflow.yaml"
        path.write_text(f"listen: 127.0.0.1:{taken.getsockname()[1]}\n")
        with pytest.raises(UsageError, match=r"nothing can listen at .*: Address already in use"):
            Edge(Controller(path, {}, tmp_path))


def test_a_connection_that_is_idle_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with web.edge(tmp_path) as caller:
        connection = socket.create_connection(caller.place, timeout=10)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while not received.endswith(b'{"ok":true}'):
            received += (part := connection.recv(4096))
            assert part
    with connection:
        assert connection.recv(4096) == b""
