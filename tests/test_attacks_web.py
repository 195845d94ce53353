"""Attacks on the controller's HTTP edge, with its defences and without; see test_attacks.py."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.controller.queue import Turn
from gitops_flow.web import server
from tests.support import web
from tests.support.attacks import (
    SECRET,
    Attack,
    Ground,
    Layer,
    Mounted,
    defence,
)
from tests.support.script import Script


@pytest.fixture
def ground(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Ground:
    # Nobody waits for the real ones here.
    monkeypatch.setattr("gitops_flow.web.server.HEAD_SECONDS", 0.4)
    monkeypatch.setattr("gitops_flow.web.guard.BODY_SECONDS", 0.4)
    monkeypatch.setattr("gitops_flow.web.server.MAX_CONNECTIONS", 5)
    return Ground(tmp_path, monkeypatch, capsys, caplog)


# 17: what a page in a browser on this machine can ask for.


def a_site_whose_name_leads_here(ground: Ground, host: str) -> bool:
    """DNS rebinding: to the browser our answers are those of the page's own site."""
    with web.edge(ground.base, url="https://flow.example/") as caller:
        return caller.ask("GET", "/api/sources", host=host)[0] == 200


def a_page_of_another_site_that_asks_for_a_change(ground: Ground, **headers: str) -> bool:
    with web.edge(ground.base) as caller:
        sent = {"content_type": "text/plain", "sec_fetch_site": "cross-site", **headers}
        caller.ask("POST", "/api/sources/shop/suspend", b"{}", **sent)
        return caller.controller.reconciler.suspension("shop") is not None


# 5: what would take memory, threads or descriptors.


def a_body_without_an_end(ground: Ground) -> bool:
    with web.edge(ground.base) as caller:
        content = b'{"reason": "' + b"x" * 1_000_000 + b'"}'
        with contextlib.suppress(OSError):  # hung up on while sending
            return caller.ask("POST", "/api/sources/shop/suspend", content)[0] == 202
    return False


def a_body_that_comes_too_slowly(ground: Ground) -> bool:
    head = (
        b"POST /api/sources/shop/sync HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    with web.edge(ground.base) as caller:
        return _holds(caller, head)


def a_head_that_comes_too_slowly(ground: Ground, before: bytes) -> bool:
    with web.edge(ground.base) as caller:
        return _holds(caller, before + b"GET /healthz HTTP/1.1\r\nX: ")


def a_head_that_is_large(ground: Ground) -> bool:
    with web.edge(ground.base) as caller:
        request = (
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"
        )
        with contextlib.suppress(OSError):  # hung up on while sending
            return b" 200 OK" in caller.raw(request, seconds=2)
    return False


def more_connections_than_there_are_descriptors_for(ground: Ground) -> bool:
    ground.patch.setattr(server, "HEAD_SECONDS", 60.0)
    with web.edge(ground.base) as caller, contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(caller.place, timeout=0.2))
            for _ in range(8)
        ]
        return all(_is_open(each) for each in opened)


def _holds(caller: web.Caller, request: bytes) -> bool:
    """Whether the connection is still open for one who goes on with a byte now and then."""
    with socket.create_connection(caller.place, timeout=0.05) as connection:
        connection.sendall(request)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            try:
                connection.sendall(b" ")
                if connection.recv(65536) == b"":
                    return False
            except TimeoutError:
                continue
            except OSError:
                return False
    return True


def _is_open(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


# 3: a name that is a path.


def a_name_that_is_no_source(ground: Ground, path: str) -> bool:
    with web.edge(ground.base) as caller:
        caller.ask("POST", f"/api/sources/{path}/suspend", {})
        return any((ground.base / "data").glob("*"))


# 10: what a server says of a login.


def a_git_server_that_repeats_the_login(ground: Ground) -> bool:
    script = Script()

    def answer(_: str, __: str, headers: dict[str, str], ___: Any) -> Any:
        login = headers.get("authorization")
        if login is None:
            return 401, b"", {"WWW-Authenticate": 'Basic realm="x"'}
        return 403, f"no: {login} {SECRET}".encode(), {"Content-Type": "text/plain"}

    script.answers = [answer]
    source = {
        "repository": f"http://127.0.0.1:{script.http.server_port}/shop.git",
        "credentials": {"token": {"file": str(ground.outside / "secret")}},
    }
    try:
        with web.edge(ground.base, sources={"shop": source}) as caller:
            caller.controller.reconciler.look(Turn("shop", 0.0))
            told = json.dumps([caller.ask("GET", "/api/sources"), caller.ask("GET", "/readyz")])
    finally:
        script.close()
    assert "shop.git" in told
    return SECRET in told


HOST = defence("gitops_flow.web.guard.is_ours", instead=lambda *_: True)
PAGE = (
    defence("gitops_flow.web.guard.is_json", instead=lambda _: True),
    defence("gitops_flow.web.guard.is_own_site", instead=lambda _: True),
    defence("gitops_flow.web.guard.is_own_origin", instead=lambda _: True),
)
KNOWN = (
    defence("gitops_flow.web.api._Api._require_source", instead=lambda *_: None),
    defence("gitops_flow.controller.run.Controller._known", instead=lambda *_: None),
)
HEAD = defence("gitops_flow.web.server.HEAD_SECONDS", instead=3600.0)
ASKED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

ATTACKS = (
    *(
        Attack(17, partial(a_site_whose_name_leads_here, host=host), (HOST,), host)
        for host in (
            "evil.example",
            "localhost.evil.example",
            "flow.example.evil.example:443",
            "127.0.0.1.evil.example",
            "evil@127.0.0.1",
            "127.0.0.1:80@evil.example",
            "localhost, evil.example",
        )
    ),
    Attack(
        17,
        partial(a_page_of_another_site_that_asks_for_a_change, origin="http://evil.example"),
        PAGE,
        "form",
    ),
    Attack(
        17,
        partial(a_page_of_another_site_that_asks_for_a_change, origin="null"),
        PAGE,
        "sandboxed frame",
    ),
    Attack(
        17,
        partial(
            a_page_of_another_site_that_asks_for_a_change,
            origin="http://127.0.0.1:8000",
            sec_fetch_site="same-site",
        ),
        PAGE,
        "other port",
    ),
    Attack(5, a_body_without_an_end, (defence("gitops_flow.web.guard.MAX_BODY", instead=1 << 30),)),
    Attack(
        5,
        a_body_that_comes_too_slowly,
        (defence("gitops_flow.web.guard.BODY_SECONDS", instead=3600.0),),
    ),
    Attack(5, partial(a_head_that_comes_too_slowly, before=b""), (HEAD,), "first"),
    Attack(5, partial(a_head_that_comes_too_slowly, before=ASKED), (HEAD,), "second"),
    Attack(5, a_head_that_is_large, (defence("gitops_flow.web.server.MAX_HEAD", instead=1 << 24),)),
    Attack(
        5,
        more_connections_than_there_are_descriptors_for,
        (defence("gitops_flow.web.server.MAX_CONNECTIONS", instead=1000),),
    ),
    *(
        Attack(3, partial(a_name_that_is_no_source, path=path), KNOWN, variant)
        for path, variant in (
            ("..", "parent"),
            ("..%5cshop", "backslash"),
            ("shop%00", "end of text"),
            ("x" * 5000, "long"),
        )
    ),
    Attack(
        10,
        a_git_server_that_repeats_the_login,
        (Layer("gitops_flow.git.command.redact", lambda _: lambda text, *_: text),),
    ),
)


class TestAttacks(Mounted):
    attacks = ATTACKS


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:4300", "[::1]:9", "LOCALHOST", "flow.example", "10.1.2.3:80"]
)
def test_an_address_and_our_own_names_are_hosts_that_we_are(ground: Ground, host: str) -> None:
    assert a_site_whose_name_leads_here(ground, host)


def test_a_page_of_our_own_may_ask_for_a_change(ground: Ground) -> None:
    with web.edge(ground.base) as caller:
        own = {"host": "localhost:9", "origin": "http://localhost:9"}
        headers = {**own, "sec_fetch_site": "same-origin", "content_type": "application/json"}
        assert caller.ask("POST", "/api/sources/shop/sync", {}, **headers)[0] == 202


@pytest.mark.parametrize(
    ("address", "local"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_a_loopback_address_is_out_of_reach(address: str, local: bool) -> None:
    assert server.is_local(address) is local


def test_what_others_can_reach_is_read_and_not_changed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "is_local", lambda _: False)
    with web.edge(ground.base) as caller:
        status, message, _ = caller.refused("POST", "/api/sources/shop/suspend", {})
        assert status == 403
        assert message.startswith("this controller listens to other machines")
        assert caller.controller.reconciler.suspension("shop") is None
        assert caller.ask("GET", "/api/sources/shop")[0] == 200
