"""The controller from a commit to the server, with real git and a real Prefect server."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from gitops_flow.controller import lease
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
        state = wait_until(controller, pushed.name, lambda state: bool(state.switched))
        assert state.word == "out-of-sync"
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


def test_a_change_on_the_server_is_told_by_the_server_long_before_the_next_look_at_it(
    place: Place, pushed: Pushed, prefect_server: SharedServer
) -> None:
    first = pushed.push()
    place.source(pushed, heal=True, interval=3600)
    with place.running() as controller:
        wait_until(controller, pushed.name, lambda state: state.deployed == first)
        until = time.monotonic() + 30
        while not any(each.listening.is_set() for each in controller._doorbells.values()):
            assert time.monotonic() < until
            time.sleep(0.05)
        live = _live(prefect_server, pushed.name)
        for repairs, tags in enumerate((["other"], []), 1):
            prefect_server.call("PATCH", f"/deployments/{live['id']}", {"tags": tags})
            wait_until(controller, pushed.name, lambda state: state.repairs == repairs)  # noqa: B023
        assert "one" in _live(prefect_server, pushed.name)["tags"]  # type: ignore[operator]


def _names(server: SharedServer, flow: str) -> set[str]:
    query = {"flows": {"name": {"like_": flow}}}
    return {each["name"] for each in server.call("POST", "/deployments/filter", query)}


def test_a_push_that_touches_none_of_the_paths_deploys_nothing_also_after_a_restart(
    place: Place, pushed: Pushed, prefect_server: SharedServer
) -> None:
    first = pushed.push()
    place.source(pushed, paths=["*.py"])
    with place.running() as controller:
        wait_until(controller, pushed.name, lambda state: state.deployed == first)
        other = pushed.push_file("README.md", "nothing to see")
        state = wait_until(
            controller, pushed.name, lambda state: state.commit == other and not state.phase
        )
        state = wait_until(controller, pushed.name, lambda state: state.word == "synced")
        assert (state.commit, state.deployed, state.deploys) == (other, first, 1)
    with place.running() as controller:
        state = wait_until(controller, pushed.name, lambda state: state.word == "synced")
        assert (state.commit, state.deployed, state.deploys) == (other, first, 0)
        second = pushed.push(2)
        wait_until(controller, pushed.name, lambda state: state.deployed == second)


def test_each_branch_is_deployed_under_its_own_names_and_takes_them_along_when_it_goes(
    place: Place, pushed: Pushed, prefect_server: SharedServer
) -> None:
    name = pushed.name
    pushed.push()
    pushed.push(1, branch="feature/one")
    two = pushed.push(2, branch="feature/two")
    place.source(pushed, ref="feature/*", previews={"suffix": "-{branch}", "grace": "2s"})
    with place.running() as controller:
        state = wait_until(controller, f"{name}@feature/two", lambda state: state.word == "synced")
        assert (state.source, state.branch, state.deployed) == (name, "feature/two", two)
        wait_until(controller, f"{name}@feature/one", lambda state: state.word == "synced")
        both = _names(prefect_server, name)
        assert len(both) == 2
        assert all(each.startswith("main-feature-") for each in both)
        pushed.origin.git("update-ref", "-d", "refs/heads/feature/one")
        state = wait_until(controller, f"{name}@feature/one", lambda state: bool(state.differences))
        assert state.differences[0].startswith("the branch is gone; what is deployed of it goes")
        assert _names(prefect_server, name) == both
        until = time.monotonic() + 30
        while controller.state.get(f"{name}@feature/one") is not None:
            assert time.monotonic() < until
            time.sleep(0.1)
        (left,) = _names(prefect_server, name)
        assert left.startswith("main-feature-two")
        # All of a repository that is gone at once is no reason to delete anything.
        pushed.origin.path.rename(pushed.origin.path.with_suffix(".away"))
        wait_until(controller, name, lambda state: state.word == "degraded")
        state = wait_until(controller, f"{name}@feature/two", lambda state: state.failures > 1)
        assert _names(prefect_server, name) == {left}
    assert controller._kept.previews(name) == ("feature/two",)


def test_a_server_that_was_away_is_made_equal_to_git_once_it_is_back(
    place: Place, pushed: Pushed, prefect_server: SharedServer
) -> None:
    first = pushed.push()
    place.environ["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    place.source(pushed)
    with place.running() as controller:
        state = wait_until(controller, pushed.name, lambda state: state.failures == 2)
        assert (state.word, state.heals, state.deployed) == ("degraded", "server", None)
        place.environ["PREFECT_API_URL"] = prefect_server.api_url
        state = wait_until(controller, pushed.name, lambda state: state.deployed == first)
        assert (state.word, state.failures, state.failing_since) == ("synced", 0, None)


def test_two_controllers_of_one_configuration_work_in_turn_and_the_one_that_is_left_goes_on(
    place: Place,
    pushed: Pushed,
    prefect_server: SharedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "SECONDS", 4.0)
    first = pushed.push()
    place.source(pushed, heal=True)
    other = Place(tmp_path / "other", prefect_server.api_url)
    other.directory.mkdir()
    other.source(pushed, heal=True)
    other.environ["GITFLOW_CACHE_DIR"] = str(tmp_path / "other/cache")
    with other.running(lease=True) as standby:
        with place.running(lease=True) as leader:
            for controller in (leader, standby):
                wait_until(controller, pushed.name, lambda state: state.deployed == first, 120)
        second = pushed.push(2)
        wait_until(standby, pushed.name, lambda state: state.deployed == second)
    assert _default(prefect_server, pushed.name) == 2
    history = pushed.origin.git("log", "--format=%s", "--first-parent", "code-store").splitlines()
    assert len(history) == 3  # the root, and each release once


HOSTILE = """\
name: {name}
build:
- prefect.deployments.steps.run_shell_script:
    id: told
    script: printenv
deployments:
- name: main
  entrypoint: flow.py:work
  description: "{{{{ told.stdout }}}}"
  work_pool: {{name: gitflow-tests}}
"""


def test_nothing_of_a_source_runs_but_the_steps_that_its_configuration_names_and_they_see_nothing(
    place: Place, pushed: Pushed, prefect_server: SharedServer, tmp_path: Path
) -> None:
    place.environ["CONTROLLERS_OWN"] = "hush-hush"
    pushed.push()
    flow = (
        f"open({str(tmp_path / 'imported')!r}, 'w')\n{(pushed.clone.path / 'flow.py').read_text()}"
    )
    pushed.push_file("flow.py", flow)
    hostile = pushed.push_file("prefect.yaml", HOSTILE.format(name=pushed.name))
    place.source(pushed)
    with place.running() as controller:
        state = wait_until(controller, pushed.name, lambda state: state.word == "degraded")
        assert "prefect.deployments.steps.run_shell_script" in state.error
        assert _names(prefect_server, pushed.name) == set()
        place.source(pushed, steps=["prefect.deployments.steps.run_shell_script"])
        wait_until(controller, pushed.name, lambda state: state.deployed == hostile)
    told = _live(prefect_server, pushed.name)["description"]
    assert "PATH=" in str(told)
    assert "hush-hush" not in str(told)
    assert prefect_server.api_url not in str(told)
    assert not (tmp_path / "imported").exists()
