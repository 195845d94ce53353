"""Connections to Prefect that several deploys use, against a scripted server on a real socket."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gitops_flow import prefect
from gitops_flow.errors import ApiError
from gitops_flow.prefect import clients
from tests.support.script import Script

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    server.answers = [(200, True)]
    yield server
    server.close()


@pytest.fixture
def pool() -> Iterator[prefect.Clients]:
    with prefect.Clients() as made:
        yield made


def _ports(script: Script) -> set[int]:
    return {port for port, _ in script.came}


def test_one_after_another_use_one_connection(script: Script, pool: prefect.Clients) -> None:
    for number in range(3):
        with pool.borrow(script.connection) as client:
            client.get("/health")
            assert client.requests == 1, number
    assert len(_ports(script)) == 1


def test_no_connection_is_used_by_two_threads_at_a_time(
    script: Script, pool: prefect.Clients
) -> None:
    def work(which: int) -> None:
        for number in range(10):
            with pool.borrow(script.connection) as client:
                for _ in range(3):
                    client.get(f"/{which}-{number}")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert len(_ports(script)) <= 6
    for port in _ports(script):
        by_this = [path for each, path in script.came if each == port]
        borrowed = [path for path, _ in itertools.groupby(by_this)]
        assert len(borrowed) == len(set(borrowed)), "requests of two borrowers were mixed"


@pytest.mark.parametrize(
    "other",
    [
        {"api_key": "another"},
        {"api_key": None, "auth_string": "admin:pass"},
        {"headers": (("x-source", "b"),)},
        {"tls_verify": False},
        {"ca_file": "/etc/other.pem"},
        {"timeout": 5.0},
        {"max_retries": 1},
    ],
    ids=lambda other: next(reversed(other)),
)
def test_other_settings_have_another_connection(
    script: Script, pool: prefect.Clients, other: dict[str, Any]
) -> None:
    one = replace(script.connection, api_key="one", headers=(("x-source", "a"),))
    another = replace(one, **other)
    for _ in range(3):
        for path, connection in (("/one", one), ("/another", another)):
            with pool.borrow(connection) as client:
                client.get(path)
    assert len(_ports(script)) == 2
    assert len(set(script.came)) == 2
    sent = {(path, h.get("authorization"), h.get("x-source")) for _, path, h, _ in script.seen}
    assert len(sent) == 2


def test_only_so_many_unused_connections_are_kept(script: Script, pool: prefect.Clients) -> None:
    for _ in range(2):
        with ExitStack() as stack:
            for _ in range(clients.MOST_IDLE + 5):
                stack.enter_context(pool.borrow(script.connection)).get("/health")
    assert len(_ports(script)) == 2 * (clients.MOST_IDLE + 5) - clients.MOST_IDLE


def test_a_connection_that_was_long_unused_is_not_used_again(script: Script) -> None:
    now = 0.0
    with prefect.Clients(clock=lambda: now) as pool:
        for now in (0.0, clients.LONGEST_IDLE - 1, 3 * clients.LONGEST_IDLE):  # noqa: B007
            with pool.borrow(script.connection) as client:
                client.get("/health")
    first, second, third = (port for port, _ in script.came)
    assert first == second != third


def test_a_connection_is_not_used_again_after_an_error(
    script: Script, pool: prefect.Clients
) -> None:
    script.answers = [(404, {}), (200, True)]
    with pytest.raises(ApiError), pool.borrow(script.connection) as client:
        client.get("/health")
    with pool.borrow(script.connection) as client:
        client.get("/health")
    assert len(_ports(script)) == 2


def test_a_server_that_was_upgraded_lacks_nothing_for_the_next_deploy(
    script: Script, pool: prefect.Clients
) -> None:
    script.answers = [(200, "3.4.0"), (200, "3.8.8")]
    for can in (False, True):
        with pool.borrow(script.connection) as client:
            assert client.can("schedule_after") is can
    assert len(_ports(script)) == 1


def test_what_is_given_back_to_a_closed_pool_is_closed(script: Script) -> None:
    pool = prefect.Clients()
    with pool.borrow(script.connection) as client:
        client.get("/health")
        pool.close()
        client.get("/health")
    with pytest.raises(RuntimeError, match="closed"):
        client.get("/health")
