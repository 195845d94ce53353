"""What ``gitflow.yaml`` may say, and what is said of one that is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.controller import access, config, policy
from gitops_flow.errors import ProblemsError, UsageError
from gitops_flow.model import CodeStoreSettings

ROOT = Path(__file__).parent.parent
BASE = Path("/etc/gitflow")


def _parse(text: str) -> config.Config:
    return config.parse(text.encode(), "gitflow.yaml", BASE)


def _source(text: str) -> config.SourceSection:
    return _parse(f"sources: {{shop: {{repository: /r, {text}}}}}").sources["shop"]


def test_an_empty_file_is_a_configuration_without_sources() -> None:
    for text in ("", "# nothing yet\n", "{}"):
        found = _parse(text)
        assert (found.sources, found.listen, found.base) == ({}, "127.0.0.1:4300", BASE)


def test_a_source_has_what_the_defaults_say_where_it_says_nothing() -> None:
    found = _parse(
        """
defaults: {interval: 10m, heal: true, prefect: {api_url: 'http://a/api'}}
sources:
  shop: {repository: 'https://git.example/shop.git'}
  till: {repository: ../till, interval: 90, heal: false, prefect: {profile: other}}
"""
    ).sources
    assert (found["shop"].interval, found["shop"].heal) == (600.0, True)
    assert (found["till"].interval, found["till"].heal) == (90.0, False)
    assert found["till"].prefect == config.PrefectSection(profile="other")


WRONG = """\
listen: 4300
uhl: x
defaults:
  intervall: 5m
  prefect: {api_url: 'http://127.0.0.1:4200/api', api_key: abc}
sources:
  shop:
    repository: https://tok@git.example/shop.git
    ref: feature/*
    interval: 5 parsecs
  b/ad:
    repositroy: x
    freeze: [{from: Fri 17:00, to: 2026-01-01}]
  other:
    hosted: true
    previews: {suffix: same}
    credentials: {tokn: {env: X}, ssh_key: {env: X}}
    code_store: {brnch: x, remote: --upload-pack=x}
    steps: [run me]
    manifest: ../prefect.yaml
  none: {interval: 5}
"""


def test_every_problem_is_told_at_once_with_its_place_and_what_to_write() -> None:
    with pytest.raises(ProblemsError) as caught:
        _parse(WRONG)
    told = [
        "1:9: listen: expected host:port, got the number 4300 (write 127.0.0.1:4300)",
        "2:1: unknown key 'uhl' (did you mean 'url'?)",
        "4:3: defaults: unknown key 'intervall' (did you mean 'interval'?)",
        "5:60: defaults.prefect.api_key: a secret must not stand in this file",
        "8:17: sources.shop.repository: the address holds a user name or password",
        "9:10: sources.shop.ref: a glob of branches needs previews",
        "10:15: sources.shop.interval: expected a duration, got '5 parsecs'",
        "11:3: sources: 'b/ad' cannot be the name of a source",
        "12:5: sources.b/ad: unknown key 'repositroy' (did you mean 'repository'?)",
        "13:14: sources.b/ad.freeze[0]: from and to must both be of the week, or both dates",
        "16:15: sources.other.previews: previews need a glob of branches",
        "16:24: sources.other.previews.suffix: expected a text with {branch} in it",
        "17:19: sources.other.credentials: unknown key 'tokn' (did you mean 'token'?)",
        "17:44: sources.other.credentials.ssh_key: an ssh key has to be a file",
        "18:18: sources.other.code_store: unknown key 'brnch' (did you mean 'branch'?)",
        "18:36: sources.other.code_store.remote: '--upload-pack=x' is not a repository address",
        "19:13: sources.other.steps[0]: expected the name of a function, got 'run me'",
        "20:15: sources.other.manifest: expected a path in the repository",
        "21:9: sources.none: has no repository (write repository: ADDRESS",
    ]
    lines = caught.value.lines
    assert [
        line
        for line, start in zip(lines, told, strict=True)
        if not line.startswith(f"gitflow.yaml:{start}")
    ] == []
    assert caught.value.message == "19 problems in gitflow.yaml"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sources: [", "2:1: not valid YAML: a value is missing"),
        ("- shop", "1:1: expected a mapping at the top level, got a list"),
        ("sources: 3", "1:10: sources: expected a mapping, got the number 3"),
        ("sources: {a: 3}", "1:14: sources.a: expected a mapping, got the number 3"),
        ("defaults: 3\nsources: {a: {hosted: true}}", "1:11: defaults: expected a mapping"),
        ("sources: {a: {hosted: true, repository: /r}}", "1:14: sources.a: has both a repository"),
        ("base: /tmp", "1:1: unknown key 'base'"),
    ],
)
def test_a_file_that_is_no_configuration_at_all_is_told_of(text: str, line: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        _parse(text)
    assert caught.value.lines[0].startswith(f"gitflow.yaml:{line}")


@pytest.mark.parametrize(
    ("written", "seconds"), [("30s", 30.0), ("1h30m", 5400.0), ("7", 7.0), ("1.5m", 90.0)]
)
def test_durations_are_written_as_people_write_them(written: str, seconds: float) -> None:
    assert _source(f"interval: {written}").interval == seconds


@pytest.mark.parametrize("name", ["a/b", "..", "a..b", "x.git", "x.lock", "-x", "a@b", "a b", ""])
def test_a_name_that_could_be_a_path_or_an_option_is_no_sources(name: str) -> None:
    with pytest.raises(ProblemsError, match="1 problem"):
        _parse(f"sources: {{'{name}': {{repository: /r}}}}")


def test_a_secret_is_read_where_the_file_says_it_is(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    assert config.Secret(file="token").read({}, tmp_path) == "from a file"
    assert config.Secret(env="T").read({"T": "from there"}, tmp_path) == "from there"
    with pytest.raises(UsageError, match="empty or missing") as caught:
        config.Secret(env="T").read({}, tmp_path)
    assert (caught.value.where, caught.value.heals) == ("T", "time")
    with pytest.raises(UsageError, match="No such file"):
        config.Secret(file="none").read({}, tmp_path)


def test_a_secret_does_not_stand_in_what_the_configuration_shows() -> None:
    found = _parse("sources: {a: {repository: /r, credentials: {token: {env: T}}}}")
    login = access.login("a", found.sources["a"], found, {"T": "hush-hush"}, BASE)
    assert login.auth is not None
    assert login.auth.secret == "hush-hush"
    assert "hush-hush" not in repr(login)


def test_the_schema_for_editors_is_that_of_the_program() -> None:
    written = (ROOT / "docs/gitflow.schema.json").read_text()
    assert json.loads(written) == config.json_schema(), "write it anew: make schema"


def test_every_key_is_documented() -> None:
    page = (ROOT / "docs/controller.md").read_text()

    def keys(part: Any) -> set[str]:
        if isinstance(part, list):
            return set().union(*map(keys, part)) if part else set()
        if not isinstance(part, dict):
            return set()
        own = set(part.get("properties", {}))
        return own.union(*(keys(each) for each in part.values()))

    assert {key for key in keys(config.json_schema()) if f"`{key}`" not in page} == set()


def test_another_server_does_not_get_the_login_that_the_environment_has_for_ours(
    tmp_path: Path,
) -> None:
    environ = {"PREFECT_API_URL": "http://own/api", "PREFECT_API_KEY": "ours", "HOME": "/none"}
    found = _parse(
        "sources: {a: {repository: /r}, b: {repository: /r, prefect: {api_url: 'http://b/api'}}}"
    )
    made = {
        name: access.of_source(name, each, found, environ, tmp_path).require_prefect()
        for name, each in found.sources.items()
    }
    assert (made["a"].api_url, made["a"].api_key) == ("http://own/api", "ours")
    assert (made["b"].api_url, made["b"].api_key) == ("http://b/api", None)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-27T15:59", None),  # a Friday, 16:59 in Berlin
        ("2026-11-27T16:00", "2026-11-30T07:00"),
        ("2026-11-29T12:00", "2026-11-30T07:00"),
        ("2026-11-30T06:59", "2026-11-30T07:00"),
        ("2026-11-30T07:00", None),
        ("2026-03-28T12:00", "2026-03-30T06:00"),  # the night in which summer time begins
        ("2026-12-24T12:00", "2027-01-02T00:00"),
        ("2027-01-02T12:00", "2027-01-04T07:00"),
    ],
)
def test_a_freeze_is_every_week_by_the_clock_on_the_wall_or_once(now: str, end: str | None) -> None:
    windows = _source(
        "freeze: [{from: Fri 17:00, to: Mon 08:00, timezone: Europe/Berlin, reason: weekend}, "
        "{from: 2026-12-24 00:00:00, to: '2027-01-02'}]"
    ).freeze
    found = policy.frozen(windows, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (found and found[0]) == (end and datetime.fromisoformat(end).replace(tzinfo=UTC))


def test_the_end_of_a_suspension_without_a_time_zone_is_utc() -> None:
    suspension = _source("suspend: {until: 2026-12-01 08:00:00}").suspend
    assert suspension is not None
    assert suspension.until == datetime(2026, 12, 1, 8, tzinfo=UTC)


def test_a_signer_that_is_no_key_is_told_of_at_its_place() -> None:
    with pytest.raises(ProblemsError) as caught:
        _parse("sources: {a: {repository: /r, signers: [ann]}}")
    assert caught.value.lines[0].startswith(
        "gitflow.yaml:1:41: sources.a.signers[0]: expected an ssh public key or a gpg fingerprint"
    )


@pytest.mark.parametrize(
    ("own", "remote"),
    [
        ("", "https://git.example/shop.git"),
        ("code_store: {remote: /releases.git}", "/releases.git"),
    ],
)
def test_a_manifest_does_not_say_where_the_controller_pushes(
    tmp_path: Path, own: str, remote: str
) -> None:
    section = f"{{repository: 'https://git.example/shop.git', {own}}}"
    found = _parse(f"sources: {{shop: {section}}}")
    environ = {"HOME": "/none", "PREFECT_API_URL": "http://own/api"}
    settings = access.of_source("shop", found.sources["shop"], found, environ, tmp_path)
    of_manifest = CodeStoreSettings(remote="/var/lib/gitflow/git/other.git", branch="releases")
    asked = settings.code_store.over(of_manifest)
    assert (asked.remote, asked.branch) == (remote, "releases")
