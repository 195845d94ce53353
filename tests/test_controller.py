"""The controller from a commit to the server, with real git and a real Prefect server."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from gitops_flow.errors import ApiError
from tests.support.controller import Place, Pushed, wait_until
from tests.support.prefect import SharedServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture
def pushed(tmp_path: Path, namespace: str, prefect_server: SharedServer) -> Pushed:
    with contextlib.suppress(ApiError):
        prefect_server.call("POST", "/work_pools/", {"name": "gitflow-tests", "type": "process"})
    return Pushed(tmp_path, namespace)


@pytest.fixture
def place(tmp_path: Path, prefect_server: SharedServer) -> Place:
    return Place(tmp_path, prefect_server.api_url)


def _live(server: SharedServer, name: str) -> dict[str, object]:
    found: dict[str, object] = server.call("GET", f"/deployments/name/{name}/main")
    return found


def _default(server: SharedServer, name: str) -> object:
    schema = _live(server, name)["parameter_openapi_schema"]
    assert isinstance(schema, dict)
    return schema["properties"]["number"]["default"]


def test_each_commit_is_deployed_also_one_that_was_there_before(
    place: Place, pushed: Pushed, prefect_server: SharedServer
) -> None:
    first = pushed.push(1)
    place.source(pushed)
    with place.running() as controller:
        state = wait_until(controller, pushed.name, lambda state: state.deployed == first)
        assert (state.word, state.error, state.commit) == ("synced", "", first)
        assert (state.deployments, state.deploys, state.repairs) == (1, 1, 0)
        assert _default(prefect_server, pushed.name) == 1
        second = pushed.push(2)
        wait_until(controller, pushed.name, lambda state: state.deployed == second)
        assert _default(prefect_server, pushed.name) == 2
        pushed.clone.git("reset", "-q", "--hard", first)
        pushed.clone.git("push", "-q", "--force", "origin", "HEAD:refs/heads/main")
        wait_until(controller, pushed.name, lambda state: state.deployed == first)
        assert _default(prefect_server, pushed.name) == 1


def test_what_somebody_changed_is_told_of_or_taken_back_and_a_pause_is_left_alone(
    place: Place, pushed: Pushed, prefect_server: SharedServer
) -> None:
    first = pushed.push()
    place.source(pushed)
    with place.running() as controller:
        wait_until(controller, pushed.name, lambda state: state.deployed == first)
        live = _live(prefect_server, pushed.name)
        mark = [tag for tag in live["tags"] if tag != "one"]  # type: ignore[attr-defined]
        prefect_server.call("PATCH", f"/deployments/{live['id']}", {"tags": ["other", *mark]})
        prefect_server.call("PATCH", f"/deployments/{live['id']}", {"paused": True})
        state = wait_until(controller, pushed.name, lambda state: state.word == "out-of-sync")
        assert state.differences == (f"{pushed.name}/main: differs in tags",)
        assert state.switched == (f"{pushed.name}/main: paused",)
        place.source(pushed, heal=True)
        wait_until(controller, pushed.name, lambda state: state.word == "synced")
        live = _live(prefect_server, pushed.name)
        assert "one" in live["tags"]  # type: ignore[operator]
        assert live["paused"] is True
        prefect_server.call("DELETE", f"/deployments/{live['id']}")
        state = wait_until(controller, pushed.name, lambda state: state.repairs == 1)
        assert _live(prefect_server, pushed.name)["id"] != live["id"]


def test_a_broken_commit_changes_nothing_and_is_not_tried_again_and_the_rest_is_looked_after(
    place: Place, pushed: Pushed, prefect_server: SharedServer
) -> None:
    first = pushed.push()
    place.source(pushed, heal=True, prune=True)
    with place.running() as controller:
        wait_until(controller, pushed.name, lambda state: state.deployed == first)
        for content in ("", "deployments: []\n", "deployments: [{name: main]\n"):
            broken = pushed.push_file("prefect.yaml", content)
            state = wait_until(
                controller,
                pushed.name,
                lambda state: state.commit == broken and state.word == "degraded",  # noqa: B023
            )
            assert state.deployed == first
            assert state.error.startswith("prefect.yaml")
        live = _live(prefect_server, pushed.name)
        prefect_server.call("DELETE", f"/deployments/{live['id']}")
        wait_until(controller, pushed.name, lambda state: state.repairs == 1)
        assert _live(prefect_server, pushed.name)["id"] != live["id"]
        state = wait_until(controller, pushed.name, lambda state: state.phase == "")
        assert (state.word, state.deployed, state.commit) == ("degraded", first, broken)
        pushed.origin.git("update-ref", "-d", "refs/heads/main")
        wait_until(controller, pushed.name, lambda state: "has no main" in state.error)
        assert _live(prefect_server, pushed.name)
