"""Environments of a manifest: what is laid over it, whose it is then, and where it goes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_flow import manifest, plan, settings
from gitops_flow.controller.config import SourceSection
from gitops_flow.controller.deployer import Job
from gitops_flow.controller.repository import Login, Repository
from gitops_flow.deploy import Which, environments, source, working_tree
from gitops_flow.errors import ManifestError, UsageError
from gitops_flow.manifest import yaml
from gitops_flow.manifest.environments import merged
from tests.support.manifests import resolve
from tests.support.prefect import SharedServer, SharedWorker
from tests.support.project import NearProject
from tests.support.proxy import Proxy
from tests.support.repo import Repo

# A manifest in which the names of environments and deployments are those of keys.
SHOP = """\
name: shop
gitflow:
  suffix: dev
  environments:
    prod:
      api_url: https://prefect.example/api/
      suffix: null
      work_pool: {name: big, job_variables: {env: {B: "2", A: null}}}
      tags: [prod]
      deployments:
        nightly: {schedules: [{cron: "0 5 * * *"}], tags: null}
        "*": {parameters: {a: 2}}
    staging: {profile: stage, suffix: st, paused: true}
    bare:
deployments:
- name: nightly
  entrypoint: f.py:g
  work_pool: {name: small, work_queue_name: q, job_variables: {env: {A: "1"}, cpu: 1}}
  schedule: {cron: "0 3 * * *"}
  parameters: {a: 1, b: "{{ $B }}"}
- {name: tags, entrypoint: 'f.py:g', flow_name: other, schedules: [{interval: 60}], tags: x}
"""
BASE = "deployments:\n- {name: nightly, entrypoint: 'f.py:g'}\n"


def read(environment: str | None, text: str = SHOP) -> manifest.Manifest:
    return manifest.parse(text.encode(), "p.yaml", environment=environment)


def test_an_environment_is_laid_over_all_deployments_and_over_those_it_names() -> None:
    nightly, tags = (each.spec for each in read("prod").deployments)
    assert nightly.work_pool.model_dump() == {
        "name": "big",
        "work_queue_name": "q",
        "job_variables": {"env": {"B": "2"}, "cpu": 1},
    }
    assert nightly.parameters == {"a": 2, "b": "{{ $B }}"}
    assert (nightly.schedule, [each.cron for each in nightly.schedules]) == (None, ["0 5 * * *"])
    assert nightly.tags is None
    assert (tags.tags, tags.parameters, tags.work_pool.name) == (["prod"], {"a": 2}, "big")
    assert [each.spec.paused for each in read("staging").deployments] == [True, True]
    assert read("bare").deployments == read(None).deployments
    nothing = SHOP.replace('"*": {parameters: {a: 2}}', '"*": null')
    assert [each.spec.parameters.get("a") for each in read("prod", nothing).deployments] == [
        1,
        None,
    ]


Values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["x", "y"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


def patched(target: Any, patch: Any) -> Any:
    """RFC 7386, as its section 2 has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        result.pop(key, None)
        if value is not None:
            result[key] = patched(target.get(key) if isinstance(target, dict) else None, value)
    return result


@given(Values, Values)
def test_laying_over_is_a_json_merge_patch_that_keeps_every_place(base: Any, patch: Any) -> None:
    nodes = [yaml.read(json.dumps(each).encode(), "p")[0] for each in (base, patch)]
    assert nodes[1] is not None
    found = merged(*nodes)
    assert found.value == patched(base, patch)
    assert _rebuilt(found) == found.value


def _rebuilt(node: yaml.Node) -> Any:
    """The value of a node as its parts have it."""
    if isinstance(node.value, dict):
        return {key: _rebuilt(inner) for key, (_, _, inner) in node.entries.items()}
    return [_rebuilt(each) for each in node.items] if isinstance(node.value, list) else node.value


def test_a_value_of_an_environment_is_told_of_where_the_environment_has_it() -> None:
    text = SHOP.replace("{a: 2}", '{a: "{{ $NO }}"}').replace("{{ $B }}", "{{ $NO }}")
    _, problems = resolve(text, environment="prod")
    places = [each.partition(": ")[2][:12] for each in problems if "'NO' is not set" in each]
    assert places == ["p.yaml:12:31", "p.yaml:12:31", "p.yaml:20:25"]


BROKEN = (
    """\
gitflow:
  environments:
    prod:
      api_url: https://me:pw@prefect.example/api
      profile: x
      work_pol: {name: p}
      work_pool: {nam: p, job_variables: []}
      schedules: [{cron: "0 99 * * *"}]
      parameters: {a: .nan}
      tags: ["gitflow:x-1234"]
      deployments:
        nigthly: {tgas: [x]}
    tags: {suffix: "", pasued: true, triggers: []}
    "b d": {}
"""
    + BASE
)
TOLD = [
    "3:5: gitflow.environments: the manifest has no environment 'prd' (did you mean 'prod'?)",
    "4:7: gitflow.environments.prod: 'profile' and 'api_url' exclude each other",
    "4:16: gitflow.environments.prod.api_url: the address holds a user name or password",
    "6:7: gitflow.environments.prod: unknown key 'work_pol' (did you mean 'work_pool'?)",
    "7:19: gitflow.environments.prod.work_pool: unknown key 'nam' (did you mean 'name'?)",
    "7:42: gitflow.environments.prod.work_pool.job_variables: expected a mapping, got a list",
    "8:26: gitflow.environments.prod.schedules[0].cron: hour '99' is not valid",
    "9:23: gitflow.environments.prod.parameters.a: nan is not a number in JSON",
    "10:14: gitflow.environments.prod.tags[0]: tags that start with 'gitflow:' are marks",
    "12:9: gitflow.environments.prod.deployments: no deployment of the manifest is called 'nigthly'",
    "12:19: gitflow.environments.prod.deployments.nigthly: unknown key 'tgas' (did you mean 'tags'?)",
    "13:20: gitflow.environments.tags.suffix: a suffix has at least one letter or digit",
    "13:24: gitflow.environments.tags: unknown key 'pasued' (did you mean 'paused'?)",
    "13:38: gitflow.environments.tags: unknown key 'triggers'",
    "14:5: gitflow.environments: an environment's name has letters, digits, '.', '_' and '-'",
]


def test_every_mistake_in_every_environment_is_told_at_once_with_its_place() -> None:
    with pytest.raises(ManifestError) as caught:
        read("prd", BROKEN)
    lines = [line.removeprefix("p.yaml:") for line in caught.value.lines]
    assert [line[: len(told)] for line, told in zip(lines, TOLD, strict=True)] == TOLD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BASE, "p.yaml:1:1: the manifest has no environment 'prod'"),
        ("gitflow: {environments: {dev: }}\n" + BASE, "(it has dev)"),
        ("gitflow: {environments: [prod]}\n" + BASE, "expected a mapping, got a list"),
    ],
)
@pytest.mark.parametrize("source_only", [True, False])
def test_an_environment_that_is_not_there_is_refused(
    text: str, told: str, source_only: bool
) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.parse(text.encode(), "p.yaml", source_only=source_only, environment="prod")
    assert told in "\n".join(caught.value.lines)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "parameters: {" + ", ".join(f"k{at}: 1" for at in range(60)) + "}",
            "more than 100,000 values once the environment is laid over",
        ),
        (
            "deployments: {" + ", ".join(f"'{'*' * at}': {{}}" for at in range(1, 600)) + "}",
            "more globs than can be looked at",
        ),
    ],
    ids=["values", "globs"],
)
def test_an_environment_that_would_take_too_much_is_refused(said: str, told: str) -> None:
    many = "".join(f"- {{name: d{at}, entrypoint: 'f.py:g'}}\n" for at in range(2000))
    text = f"gitflow: {{environments: {{prod: {{{said}}}}}}}\ndeployments:\n{many}"
    with pytest.raises(ManifestError) as caught:
        read("prod", text)
    assert told in "\n".join(caught.value.lines)


def _tree(directory: Path, text: str = SHOP, **more: Any) -> Any:
    repo = Repo(directory / "r").write("prefect.yaml", text)
    return working_tree(repo.path, **more)


@pytest.mark.parametrize(
    ("environment", "suffix", "found", "name"),
    [
        (None, None, "-dev", "shop-dev"),
        ("prod", None, "", "shop-prod"),
        ("staging", None, "-st", "shop-staging-st"),
        ("bare", None, "-dev", "shop-bare-dev"),
        ("staging", "kim", "-kim", "shop-staging-kim"),
        ("prod", "prod", "-prod", "shop-prod"),
    ],
)
def test_a_suffix_is_the_flags_or_the_environments_or_the_manifests(
    tmp_path: Path, environment: str | None, suffix: str | None, found: str, name: str
) -> None:
    tree = _tree(tmp_path, environment=environment, suffix=suffix)
    found_source = source.read(tree, settings.load(os.environ, tmp_path)).source
    assert (found_source.suffix, found_source.name) == (found, name)


def test_each_environment_owns_what_is_its_own(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    marks = set()
    for name in (None, "prod", "staging", "bare"):
        found = source.find(replace(tree, environment=name), settings.load(os.environ, tmp_path))
        marks.add(found.source.mark)
    assert len(marks) == 4


OWN = """\
gitflow: {environments: {test: {suffix: t, deployments: {daily: {schedules: [%s]}}}}}
deployments:
- {name: daily, entrypoint: 'f.py:g', schedules: [{cron: '0 3 * * *'}]}
- {name: weekly, entrypoint: 'f.py:g', schedules: [{cron: '0 4 * * *'}]}
"""


@pytest.mark.parametrize(
    ("own", "active"), [("{cron: '0 5 * * *'}", None), ("{interval: 60, active: true}", True)]
)
def test_of_a_copy_only_the_schedules_run_that_its_environment_gives_it(
    own: str, active: bool | None
) -> None:
    found, problems = resolve(OWN % own, environment="test", suffix="-t")
    assert problems == []
    assert [each.schedules[0].active for each in found] == [active, False]
    live = [
        replace(
            each,
            work_queue="default",
            paused=False,
            schedules=(replace(on, active=True, id="s"),),
        )
        for each in found
        for on in each.schedules
    ]
    made = plan.make(found, live, source_mark="gitflow:shop-0123abcd", adopt=False)
    assert [type(each) for each in made.actions] == [plan.Unchanged, plan.Unchanged]


EVIL = "https://evil.example/api"
MINE = "https://mine.example/api"
NAMED = "gitflow: {environments: {e: {%s}}}\n" + BASE
KEY = {"PREFECT_API_KEY": "k" * 9}


def _loaded(
    place: Path, named: str, environ: dict[str, str], files: dict[str, str]
) -> settings.Settings:
    """The settings for the environment that says ``named`` of its server."""
    tree = _tree(place, NAMED % named, environment="e")
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environ = {"HOME": str(place / "home"), **environ}
    server = environments.named_server(tree)
    return settings.load(environ, place, directory=tree.manifest.parent, named=server)


PROFILES = {
    "home/.prefect/profiles.toml": "active = 'mine'\n"
    f"[profiles.mine]\nPREFECT_API_URL = '{MINE}'\nPREFECT_API_KEY = 'k'\n"
    "[profiles.other]\nPREFECT_API_URL = 'https://other.example/api'\n"
}
ADDRESS = f"api_url: '{EVIL}'"
REFUSED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "key in the environment": (KEY, {}),
    "password in the environment": ({"PREFECT_API_AUTH_STRING": "me:pw"}, {}),
    "headers in the environment": ({"PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Token": "t"}'}, {}),
    "key in the profile": ({}, PROFILES),
    "key in another file of the tree": ({}, {"r/.env": "PREFECT_API_KEY=k\n"}),
    "another address of the user's": ({"PREFECT_API_URL": MINE, **KEY}, {}),
    "the same address in another file of the tree": (
        KEY,
        {"r/prefect.toml": f'[api]\nurl = "{EVIL}"\n'},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_credentials_do_not_go_where_only_an_environment_says(tmp_path: Path, name: str) -> None:
    found = _loaded(tmp_path, ADDRESS, *REFUSED[name])
    assert found.prefect is None
    with pytest.raises(UsageError, match="nothing was sent") as caught:
        found.require_prefect()
    assert "prefect.yaml:1:39" in str(caught.value.where)
    assert f"gitflow trust {EVIL} ‹env› e" in str(caught.value.hint)


ALLOWED: dict[str, tuple[dict[str, str], dict[str, str], str | None]] = {
    "no credentials at all": ({}, {}, None),
    "an address that the user trusts": ({**KEY, "GITFLOW_TRUSTED_SERVERS": EVIL}, {}, "k" * 9),
    "the user's own address": ({"PREFECT_API_URL": f"{EVIL}/", **KEY}, {}, "k" * 9),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_an_environments_address_goes_before_all_others(tmp_path: Path, name: str) -> None:
    environ, files, key = ALLOWED[name]
    found = _loaded(tmp_path, ADDRESS, environ, files).require_prefect()
    assert (found.api_url, found.api_key) == (EVIL, key)


def test_an_environments_profile_takes_nothing_that_is_meant_for_another_server(
    tmp_path: Path,
) -> None:
    environ = {"PREFECT_API_URL": MINE, "PREFECT_API_AUTH_STRING": "me:pw", **KEY}
    files = {**PROFILES, "r/.env": f"PREFECT_API_URL={EVIL}\nPREFECT_API_KEY=other\n"}
    found = _loaded(tmp_path, "profile: other", environ, files).require_prefect()
    assert (found.api_url, found.api_key) == ("https://other.example/api", None)
    assert (found.auth_string, found.named_by) == (None, "profile other")
    mine = _loaded(tmp_path, "profile: mine", environ, files).require_prefect()
    assert (mine.api_url, mine.api_key) == (MINE, "k")


def test_a_profile_that_is_not_there_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no Prefect profile 'nope'") as caught:
        _loaded(tmp_path, "profile: nope", {}, PROFILES)
    assert str(caught.value.where).endswith("prefect.yaml:1:39")


def test_two_environments_are_compared_as_they_are_written_and_without_a_server(
    tmp_path: Path,
) -> None:
    tree = _tree(tmp_path, environment="prod")
    found = environments.compare(tree, "staging", Which(("nightly",)))
    assert [(each.before, each.after) for each in found.server] == [
        ("profile stage", "https://prefect.example/api")
    ]
    ((name, lines),) = found.deployments
    assert name == "nightly"
    assert [(each.path, each.before, each.after) for each in lines] == [
        ("name", "nightly-st", "nightly"),
        ("parameters.a", "1", "2"),
        ("job_variables.env.A", "1", None),
        ("job_variables.env.B", None, "2"),
        ("paused", "true", "false"),
        ("work_pool", "small", "big"),
        ("schedules", 'cron "0 3 * * *" UTC (off)', 'cron "0 5 * * *" UTC'),
    ]
    same = environments.compare(replace(tree, environment="bare"), "bare", Which(everything=True))
    assert not same.differs


def test_the_controller_deploys_the_environment_that_a_source_names(tmp_path: Path) -> None:
    said = {"repository": "https://git.example/shop.git", "environment": "prod"}
    repository = Repository(Login(said["repository"]), tmp_path, time.monotonic)
    asked = settings.load(os.environ, tmp_path)
    job = Job(
        "shop", SourceSection.model_validate(said), repository, asked, "c" * 40, "refs/heads/main"
    )
    assert job.source("prefect.yaml").environment == "prod"


@pytest.mark.real
def test_environments_go_to_their_own_servers_under_marks_of_their_own(
    tmp_path: Path,
    prefect_server: SharedServer,
    prefect_worker: Callable[..., SharedWorker],
    namespace: str,
) -> None:
    prefect_worker()
    with Proxy(prefect_server.api_url) as proxy:
        project = NearProject(tmp_path / "shop", prefect_server, "http://127.0.0.1:9/api")
        text = f"""\
name: {namespace}
gitflow:
  environments:
    staging: {{api_url: {proxy.api_url}, suffix: staging, parameters: {{who: staging}}}}
    prod: {{api_url: {prefect_server.api_url}, parameters: {{who: prod}}}}
deployments:
- {{name: d, entrypoint: flow.py:hello, work_pool: {{name: gitflow-tests}}, parameters: {{who: x}}}}
"""
        project.repo.write("prefect.yaml", text)
        flow = f"from prefect import flow\n@flow(name='{namespace}')\ndef hello(who): ...\n"
        project.repo.write("flow.py", flow)

        made = [
            project.deploy("--all", "--env", "prod"),
            project.deploy("--all", env={"GITFLOW_ENV": "staging"}),
        ]
        assert made[0]["source"]["mark"] != made[1]["source"]["mark"]
        assert made[1]["server"] == proxy.api_url
        assert any(each.writes for each in proxy.requests)
        live = {name: project.live(namespace, name) for name in ("d", "d-staging")}
        assert [each["parameters"]["who"] for each in live.values()] == ["prod", "staging"]
        for name, report in zip(live, made, strict=True):
            assert report["source"]["mark"] in live[name]["tags"]
            assert report["deployments"][0]["name"] == f"{namespace}/{name}"
        code = project.gitflow("plan", "--env", "prod", "--exit-code").returncode
        assert code == 0

        proxy.requests.clear()
        project.gitflow("destroy", "--env", "prod", "--yes")
        assert proxy.requests == []
        told = project.gitflow("history", "--env", "staging").stdout
        assert f"pinned now: {namespace}/d-staging" in told
        project.gitflow("destroy", "--env", "staging", "--yes")
        assert [each.method for each in proxy.requests].count("DELETE") >= 1
