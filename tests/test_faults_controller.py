"""Odd and hostile values that a controller meets, in its file and in repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.controller import access, config
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
