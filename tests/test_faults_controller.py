"""Odd and hostile values that a controller meets, in its file and in repositories."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.controller import access, config
from gitops_flow.controller.queue import Outcome, Queue
from gitops_flow.controller.repository import own_ref
from gitops_flow.controller.run import Controller
from gitops_flow.errors import ProblemsError, UsageError
from gitops_flow.web import server
from tests.support.controller import Place, Pushed
from tests.test_controller_looks import Still


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def pushed(tmp_path: Path) -> Pushed:
    return Pushed(tmp_path, "shop")


# Where code is deployed to.


def test_a_profile_that_a_source_names_goes_before_the_environment_with_its_own_login_alone(
    tmp_path: Path,
) -> None:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text('[profiles.staging]\nPREFECT_API_URL = "http://staging/api"\n')
    environ = {
        "HOME": str(tmp_path),
        "PREFECT_PROFILES_PATH": str(profiles),
        "PREFECT_API_URL": "http://production/api",
        "PREFECT_API_KEY": "of-production",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Login": "of-production"}',
    }
    text = b"prefect: {profile: staging}\nsources: {shop: {repository: /r}}"
    found = config.parse(text, "gitflow.yaml", tmp_path)
    settings = access.of_source("shop", found.sources["shop"], found, environ, tmp_path)
    server = settings.require_prefect()
    assert server.api_url == "http://staging/api"
    assert "of-production" not in str((server.api_key, server.auth_string, server.headers))


def test_another_server_for_the_whole_file_has_every_source_deployed_there(
    place: Place, pushed: Pushed
) -> None:
    pushed.push()
    place.source(pushed)
    still = Still(place)
    assert "127.0.0.1:9/" in still.look("shop", retry=False)[1].error
    place.path.write_text(f"{place.path.read_text()}prefect: {{api_url: 'http://127.0.0.1:8/api'}}")
    still.made._reload()
    assert "127.0.0.1:8/" in still.look("shop", retry=False)[1].error


# What a manifest says for its own advantage.


def _claim(still: Still, name: str) -> str:
    """What becomes of a look at a source; the server is away."""
    return still.look(name, retry=False)[1].error


def test_two_sources_that_deploy_the_same_thing_do_not_take_turns_at_it(
    place: Place, pushed: Pushed
) -> None:
    pushed.push()
    pushed.push(2, branch="next")
    place.source(pushed)
    place.sources["second"] = {**place.sources["shop"], "ref": "next"}
    place.write()
    still = Still(place)
    assert "no Prefect server answers" in _claim(still, "shop")
    assert "prefect.yaml: the source shop deploys the same manifest" in _claim(still, "second")
    # Another server, and each has its own.
    place.sources["second"]["prefect"] = {"api_url": "http://127.0.0.1:8/api"}
    place.write()
    still.made._reload()
    assert "no Prefect server answers" in _claim(still, "second")
    # Whoever is no longer in the file keeps nobody from it.
    del place.sources["shop"], place.sources["second"]["prefect"]
    place.write()
    still.made._reload()
    assert "no Prefect server answers" in _claim(still, "second")


def test_a_manifest_that_says_it_is_another_source_does_not_get_its_deployments(
    place: Place, pushed: Pushed, tmp_path: Path
) -> None:
    other = Pushed(tmp_path, "other")
    pushed.push()
    other.push()
    text = (other.clone.path / "prefect.yaml").read_text()
    other.push_file("prefect.yaml", f"gitflow: {{source: '{pushed.origin.path}'}}\n{text}")
    place.source(pushed)
    place.source(other, prune=True)
    still = Still(place)
    assert "no Prefect server answers" in _claim(still, "shop")
    assert "the source shop deploys the same manifest" in _claim(still, "other")


# Values that nobody expects.


@pytest.mark.parametrize(
    "said", ["interval: 9999999999d", f"interval: {'9' * 400}d", "interval: .inf", "interval: -1"]
)
def test_a_time_that_no_clock_can_count_is_a_problem_of_the_file(tmp_path: Path, said: str) -> None:
    text = f"sources: {{shop: {{repository: /r, {said}}}}}"
    with pytest.raises(ProblemsError, match="expected a duration"):
        config.parse(text.encode(), "gitflow.yaml", tmp_path)


def test_a_look_that_is_due_in_thousands_of_years_ends_no_worker() -> None:
    looked = threading.Event()

    def look(_: object) -> Outcome:
        looked.set()
        return Outcome.DONE

    queue = Queue(look, workers=1)
    queue.add("never", after=3e11)
    queue.start()
    time.sleep(0.2)  # it waits for that
    queue.add("now")
    assert looked.wait(10)
    queue.close()
    assert queue.join(10)


@pytest.mark.parametrize("address", ["a\\0b", "a\\nb", "\\e[2Jx"])
def test_a_path_with_control_characters_is_a_problem_of_the_file(
    tmp_path: Path, address: str
) -> None:
    text = f'sources: {{shop: {{repository: "{address}"}}}}'
    with pytest.raises(ProblemsError, match="control character"):
        config.parse(text.encode(), "gitflow.yaml", tmp_path)


def test_a_path_of_links_that_lead_in_a_circle_is_a_missing_repository(place: Place) -> None:
    (place.directory / "circle").symlink_to("circle")
    place.sources["shop"] = {"repository": "circle/shop"}
    place.write()
    assert Still(place).look("shop")[1].word == "degraded"


@pytest.mark.parametrize("listen", ["a..b:80", f"{'é' * 80}:80"])
def test_a_host_that_is_no_name_is_told(listen: str) -> None:
    with pytest.raises(UsageError, match="nothing can listen at"):
        server._bound(listen)


def test_branches_with_odd_names_have_previews_or_are_in_nobodys_way(
    place: Place, pushed: Pushed
) -> None:
    commit = pushed.push()
    long, heads = f"feature/{'漢' * 40}", os.fsencode(pushed.origin.path / "refs/heads")
    for branch in ("feature/a", "feature%2Fa", long):
        pushed.origin.git("update-ref", f"refs/heads/{branch}", commit)
    Path(os.fsdecode(heads + b"/feature/\xff")).write_text(f"{commit}\n")
    place.source(pushed, ref="feature*", previews={})
    still = Still(place)
    assert still.look("shop")[1].word == "synced"
    for branch in ("feature/a", "feature%2Fa", long):
        assert "no Prefect server answers" in still.look(f"shop@{branch}")[1].error
    assert own_ref("deployed", "shop@feature/a") != own_ref("deployed", "shop@feature%2Fa")


@pytest.mark.parametrize("secret", ["{env: }", "{file: ''}", "{file: null}", "{env: A, file: b}"])
def test_a_secret_that_is_nowhere_is_a_problem_of_the_file(tmp_path: Path, secret: str) -> None:
    text = f"prefect: {{api_key: {secret}}}"
    with pytest.raises(ProblemsError, match="expected a secret"):
        config.parse(text.encode(), "gitflow.yaml", tmp_path)


def test_a_mistake_of_ours_keeps_no_later_edit_from_being_followed(
    place: Place, pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def fail(_: Controller) -> None:
        failed.set()
        raise ValueError

    monkeypatch.setattr(Controller, "_watch", fail)
    place.write()
    with place.running() as controller:
        assert failed.wait(10)
        place.source(pushed)
        until = time.monotonic() + 20
        while "shop" not in controller.config.sources:
            assert time.monotonic() < until
            time.sleep(0.05)


# Previews.


def test_another_glob_takes_no_branch_for_one_that_is_gone(place: Place, pushed: Pushed) -> None:
    pushed.push()
    commit = pushed.push(2, branch="feature/a")
    place.source(pushed, ref="feature/*", previews={"grace": "0s"})
    still = Still(place)
    still.look("shop")
    place.source(pushed, ref="hotfix/*", previews={"grace": "0s"})
    still.made._reload()
    _, state = still.look("shop@feature/a")
    assert state.commit == commit
    assert "no Prefect server answers" in state.error


def test_a_request_for_a_source_is_one_for_each_of_its_previews(
    place: Place, pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed.push(branch="main")
    pushed.push(2, branch="feature/a")
    place.source(pushed, ref="feature/*", previews={})
    still = Still(place)
    still.look("shop")
    still.look("shop@feature/a")
    asked: list[tuple[str, bool]] = []
    add = still.made.queue.add

    def noted(key: str, **how: Any) -> None:
        asked.append((key, how.get("forced", False)))
        add(key, **how)

    monkeypatch.setattr(still.made.queue, "add", noted)
    still.look("shop")
    assert ("shop@feature/a", True) not in asked
    still.look("shop", forced=True)
    assert ("shop@feature/a", True) in asked
