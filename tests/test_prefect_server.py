"""The REST client against a real Prefect server."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gitops_flow import local, prefect
from gitops_flow.errors import ApiError
from gitops_flow.model import Deployment, PrefectConnection
from gitops_flow.prefect import versions
from tests.support.prefect import PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real


@pytest.fixture
def client(prefect_api_url: str) -> Iterator[prefect.Client]:
    with prefect.Client(PrefectConnection(prefect_api_url)) as made:
        yield made


def create(client: prefect.Client, flow: str, name: str, *tags: str) -> str:
    wanted = Deployment(flow_name=flow, name=name, entrypoint="a.py:f", tags=tags)
    return prefect.create(client, wanted, prefect.ensure_flow(client, flow))


def test_the_version_is_the_packages_and_asked_for_once(client: prefect.Client) -> None:
    told = client.get("/admin/version")
    before = client.requests
    assert versions.parse(told) == client.version == client.version
    assert client.requests == before + 1


def test_the_mark_and_the_names_find_what_they_should_and_nothing_else(
    client: prefect.Client, namespace: str
) -> None:
    mark, other = f"gitflow:{namespace}-00000000", f"gitflow:{namespace}-11111111"
    flows = [f"{namespace}-{letter}" for letter in "xyz"]
    create(client, flows[0], "marked", mark, "more")
    create(client, flows[1], "named")
    create(client, flows[1], "other", other)
    create(client, flows[2], "named")
    create(client, flows[2], "wanted-elsewhere")
    fresh = prefect.Client(client.connection)
    names = [(flows[1], "named"), (flows[1], "wanted-elsewhere"), (flows[0], "marked")]
    with fresh:
        found = prefect.live(fresh, names=names, mark=mark)
    assert sorted(item.full_name for item in found) == [f"{flows[0]}/marked", f"{flows[1]}/named"]


def test_when_all_carry_the_mark_one_listing_and_one_look_at_flows_are_enough(
    client: prefect.Client, namespace: str
) -> None:
    mark = f"gitflow:{namespace}-00000000"
    names = [(f"{namespace}-{number}", "d") for number in range(4)]
    for flow, name in names:
        create(client, flow, name, mark)
    with prefect.Client(client.connection) as fresh:
        assert len(prefect.live(fresh, names=names, mark=mark)) == 4
        # And one that asks for the version.
        assert fresh.requests == 3


def test_pages_are_read_to_the_end(client: prefect.Client, namespace: str) -> None:
    mark = f"gitflow:{namespace}-00000000"
    for number in range(7):
        create(client, namespace, f"d{number}", mark)
    with prefect.Client(client.connection) as fresh:
        fresh.page_limit = 3
        assert len(prefect.live(fresh, names=None, mark=mark)) == 7


def test_names_with_wildcards_of_sql_find_only_themselves(
    client: prefect.Client, namespace: str
) -> None:
    create(client, namespace, "a_b")
    create(client, namespace, "aXb")
    found = prefect.live(client, names=[(namespace, "a_b")], mark=None)
    assert [item.name for item in found] == ["a_b"]


def test_flows_are_looked_up_together_and_made_when_missing(
    client: prefect.Client, namespace: str
) -> None:
    names = [f"{namespace}-{number}" for number in range(5)]
    known = {name: prefect.ensure_flow(client, name) for name in names[:3]}
    with prefect.Client(client.connection) as fresh:
        prefect.know_flows(fresh, names)
        assert fresh.requests == 1
        assert {name: prefect.ensure_flow(fresh, name) for name in names[:3]} == known
        assert fresh.requests == 1
        assert prefect.ensure_flow(fresh, names[4]) not in known.values()


def test_a_work_pool_gets_the_servers_template_and_is_made_once(
    client: prefect.Client, namespace: str
) -> None:
    assert prefect.pool_variables(client, [namespace]) == {}
    prefect.create_work_pool(client, namespace)
    prefect.create_work_pool(client, namespace)
    assert set(prefect.pool_variables(client, [namespace, "none"])) == {namespace}
    pool = client.get(f"/work_pools/{namespace}")
    assert pool["type"] == "process"
    assert "working_dir" in pool["base_job_template"]["variables"]["properties"]


def test_an_unknown_pool_type_is_an_understood_error(
    client: prefect.Client, namespace: str
) -> None:
    with pytest.raises(ApiError, match="no default job template"):
        prefect.create_work_pool(client, namespace, kind="no-such-kind")


def test_an_unknown_work_pool_is_named(client: prefect.Client, namespace: str) -> None:
    wanted = Deployment(namespace, "d", "a.py:f", work_pool=f"{namespace}-none")
    with pytest.raises(ApiError, match=f'Work pool "{namespace}-none" not found') as caught:
        prefect.create(client, wanted, prefect.ensure_flow(client, namespace))
    assert caught.value.status == 404


def test_the_address_without_api_is_explained(client: prefect.Client) -> None:
    url = client.connection.api_url.removesuffix("/api")
    with (
        prefect.Client(PrefectConnection(url)) as wrong,
        pytest.raises(ApiError) as caught,
    ):
        prefect.live(wrong, names=None, mark="gitflow:x-00000000")
    assert "/api" in str(caught.value.hint)


def test_login_and_csrf_work_on_a_server_that_wants_both(prefect_home: Path) -> None:
    locks = {
        "PREFECT_SERVER_API_AUTH_STRING": "admin:pa:ss",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    }
    with local.start_server(
        prefect_home, environ=os.environ, ui=False, env=locks, python=PYTHON
    ) as server:
        right = PrefectConnection(server.api_url, auth_string="admin:pa:ss")
        with prefect.Client(right) as client:
            assert create(client, "f", "d")
            assert [item.name for item in prefect.live(client, names=None, mark=None)] == ["d"]
            sent = client.requests
            client.post("/deployments/filter", {})
            assert client.requests == sent + 1, "the token is kept"
        with (
            prefect.Client(replace(right, auth_string="admin:wrong-pass")) as client,
            pytest.raises(ApiError, match="did not accept PREFECT_API_AUTH_STRING") as caught,
        ):
            prefect.live(client, names=None, mark=None)
        assert "wrong-pass" not in str(caught.value)
        with (
            prefect.Client(replace(right, csrf=False)) as client,
            pytest.raises(ApiError, match="CSRF"),
        ):
            prefect.live(client, names=None, mark=None)
