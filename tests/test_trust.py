"""A file of the working tree sends the user's credentials nowhere, unless the user trusts it."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitops_flow import settings
from gitops_flow.cli import boundary
from gitops_flow.errors import UsageError
from tests.support.repo import Repo

EVIL = "https://evil.example/api"
OWN = "https://own.example/api"
MANIFEST = """\
name: shop
deployments:
  - {name: d, entrypoint: "flow.py:f", work_pool: {name: p}}
"""
FLOW = "from prefect import flow\n\n@flow\ndef f():\n    pass\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "tree/.git").mkdir(parents=True)
    return tmp_path


def load(
    place: Path, environ: dict[str, str], files: dict[str, str], beside: str = "tree"
) -> settings.Settings:
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environ = {"HOME": str(place / "home"), **environ}
    return settings.load(environ, place / "tree", directory=place / beside)


def profile(**variables: str) -> str:
    lines = "".join(f"{name} = '{value}'\n" for name, value in variables.items())
    return f'active = "mine"\n[profiles.mine]\n{lines}'


TOML_URL = f'[api]\nurl = "{EVIL}"\n'
ENV_URL = f"PREFECT_API_URL={EVIL}\n"
KEY = {"PREFECT_API_KEY": "k" * 9}
HOME_PROFILES = "home/.prefect/profiles.toml"

REFUSED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "prefect.toml, key in the environment": (KEY, {"tree/prefect.toml": TOML_URL}),
    "pyproject.toml, key in the environment": (
        KEY,
        {"tree/pyproject.toml": f'[tool.prefect.api]\nurl = "{EVIL}"\n'},
    ),
    ".env, key in the environment": (KEY, {"tree/.env": ENV_URL}),
    "prefect.toml, key in the profile": (
        {},
        {
            "tree/prefect.toml": TOML_URL,
            HOME_PROFILES: profile(PREFECT_API_URL=OWN, PREFECT_API_KEY="k"),
        },
    ),
    "prefect.toml, password in the environment": (
        {"PREFECT_API_AUTH_STRING": "me:pw"},
        {"tree/prefect.toml": TOML_URL},
    ),
    "prefect.toml, headers in the environment": (
        {"PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Token": "t"}'},
        {"tree/prefect.toml": TOML_URL},
    ),
    "prefect.toml, headers in the profile": (
        {},
        {
            "tree/prefect.toml": TOML_URL,
            HOME_PROFILES: profile(PREFECT_CLIENT_CUSTOM_HEADERS='{"X-Token": "t"}'),
        },
    ),
    "prefect.toml with a password of its own, key in the environment": (
        KEY,
        {"tree/prefect.toml": TOML_URL + 'auth_string = "a:b"\n'},
    ),
    "prefect.toml, key in .env": (
        {},
        {"tree/prefect.toml": TOML_URL, "tree/.env": "PREFECT_API_KEY=k"},
    ),
    "a profiles file that .env names, key in the environment": (
        KEY,
        {
            "tree/.env": "PREFECT_PROFILES_PATH=p.toml",
            "tree/p.toml": profile(PREFECT_API_URL=EVIL),
        },
    ),
    "a profiles file that prefect.toml names, key in the environment": (
        KEY,
        {
            "tree/prefect.toml": 'profiles_path = "p.toml"',
            "tree/p.toml": profile(PREFECT_API_URL=EVIL),
        },
    ),
    "the user's profiles by way of .env, which names another address": (
        {},
        {
            "tree/.env": ENV_URL + "PREFECT_PROFILES_PATH=../home/.prefect/profiles.toml",
            HOME_PROFILES: profile(PREFECT_API_URL=OWN, PREFECT_API_KEY="k"),
        },
    ),
    "no TLS verification by .env": (
        {"PREFECT_API_URL": OWN, **KEY},
        {"tree/.env": "PREFECT_API_TLS_INSECURE_SKIP_VERIFY=true"},
    ),
    "no TLS verification by prefect.toml, all else in the profile": (
        {},
        {
            "tree/prefect.toml": "[api]\ntls_insecure_skip_verify = true",
            HOME_PROFILES: profile(PREFECT_API_URL=OWN, PREFECT_API_KEY="k"),
        },
    ),
    "a certificate file by prefect.toml": (
        {"PREFECT_API_URL": OWN, **KEY},
        {"tree/prefect.toml": '[api]\nssl_cert_file = "ca.pem"', "tree/ca.pem": "x"},
    ),
    "headers by prefect.toml, which may name another host": (
        {"PREFECT_API_URL": OWN, **KEY},
        {"tree/prefect.toml": '[client.custom_headers]\nHost = "evil.example"'},
    ),
    "a password in the user's address, no TLS verification by .env": (
        {"PREFECT_API_URL": "https://me:pw@own.example/api"},
        {"tree/.env": "PREFECT_API_TLS_INSECURE_SKIP_VERIFY=1"},
    ),
    "a variable within the address of .env": (
        {"DEPLOY_TOKEN": "hunter22"},
        {"tree/.env": "PREFECT_API_URL=https://evil.example/${DEPLOY_TOKEN}/api"},
    ),
    "a variable by way of another within the address of .env": (
        {"DEPLOY_TOKEN": "hunter22"},
        {"tree/.env": "A=${DEPLOY_TOKEN}\nPREFECT_API_URL=https://${A}.evil.example/api"},
    ),
    "a variable as the key of .env": (
        {"DEPLOY_TOKEN": "hunter22"},
        {"tree/.env": ENV_URL + "PREFECT_API_KEY=${DEPLOY_TOKEN}"},
    ),
    "a loopback address": (KEY, {"tree/.env": "PREFECT_API_URL=http://127.0.0.1:4200/api"}),
}

ALLOWED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "no credentials at all": ({}, {"tree/prefect.toml": TOML_URL}),
    "address and key in one file": ({}, {"tree/.env": ENV_URL + "PREFECT_API_KEY=k"}),
    "address and key in one profiles file that .env names": (
        {},
        {
            "tree/.env": "PREFECT_PROFILES_PATH=p.toml",
            "tree/p.toml": profile(PREFECT_API_URL=EVIL, PREFECT_API_KEY="k"),
        },
    ),
    "a key of the tree for the user's address": (
        {"PREFECT_API_URL": OWN},
        {"tree/.env": "PREFECT_API_KEY=k"},
    ),
    "an address of the tree that the environment overrides": (
        {"PREFECT_API_URL": OWN, **KEY},
        {"tree/prefect.toml": TOML_URL},
    ),
    "TLS verification that the tree leaves on": (
        {"PREFECT_API_URL": OWN, **KEY},
        {"tree/.env": "PREFECT_API_TLS_INSECURE_SKIP_VERIFY=false"},
    ),
    "settings that send nothing anywhere": (
        {"PREFECT_API_URL": OWN, **KEY},
        {"tree/prefect.toml": "[client]\nmax_retries = 1\n"},
    ),
    "a variable that is not set, within the address": (
        {},
        {"tree/.env": "PREFECT_API_URL=http://${NO:-localhost}:4200/api"},
    ),
    "the address in the list of trusted servers": (
        {**KEY, "GITFLOW_TRUSTED_SERVERS": f"http://other/api {EVIL}/"},
        {"tree/prefect.toml": TOML_URL},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_credentials_from_elsewhere_do_not_go_where_the_tree_says(place: Path, name: str) -> None:
    found = load(place, *REFUSED[name])
    assert found.prefect is None
    with pytest.raises(UsageError, match="nothing was sent") as caught:
        found.require_prefect()
    assert "gitflow trust http" in str(caught.value.hint).replace("'", "")
    assert "hunter22" not in str(caught.value)
    assert "kkkkk" not in str(caught.value)


@pytest.mark.parametrize("name", ALLOWED)
def test_credentials_go_where_they_are_meant_to(place: Path, name: str) -> None:
    assert load(place, *ALLOWED[name]).require_prefect().api_url


def test_another_address_in_the_list_of_trusted_servers_changes_nothing(place: Path) -> None:
    environ = {**KEY, "GITFLOW_TRUSTED_SERVERS": "https://evil.example/other https://evil.example"}
    assert load(place, environ, {"tree/prefect.toml": TOML_URL}).untrusted


def test_the_list_of_trusted_servers_is_not_read_from_the_tree(place: Path) -> None:
    listed = f"GITFLOW_TRUSTED_SERVERS={EVIL}\n"
    assert load(place, KEY, {"tree/.env": ENV_URL + listed}).untrusted


def test_a_trusted_address_may_not_switch_tls_verification_off(place: Path) -> None:
    environ = {**KEY, "GITFLOW_TRUSTED_SERVERS": EVIL}
    files = {"tree/.env": f"{ENV_URL}PREFECT_API_TLS_INSECURE_SKIP_VERIFY=1"}
    with pytest.raises(UsageError, match="TLS verification"):
        load(place, environ, files).require_prefect()


def test_a_certificate_file_of_the_tree_is_beside_the_file_that_names_it(place: Path) -> None:
    files = {
        "tree/prefect.toml": f'[api]\nurl = "{EVIL}"\nssl_cert_file = "ca.pem"\n',
        "tree/conf/x": "",
    }
    found = load(place, {}, files, beside="tree/conf")
    assert found.require_prefect().ca_file == str(place / "tree/ca.pem")


class TestCommand:
    """``gitflow`` in a repository whose prefect.toml names a server that listens."""

    @pytest.fixture
    def server(self) -> Iterator[socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            yield listening

    @pytest.fixture
    def address(self, server: socket.socket) -> str:
        return f"http://127.0.0.1:{server.getsockname()[1]}/api"

    @pytest.fixture
    def repo(self, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Repo:
        made = Repo(tmp_path / "shop")
        made.write("prefect.yaml", MANIFEST).write("flow.py", FLOW).write("sub/x")
        made.write("prefect.toml", f'[api]\nurl = "{address}"\n')
        made.commit()
        monkeypatch.chdir(made.path)
        monkeypatch.setenv("PREFECT_API_KEY", "k" * 9)
        return made

    @pytest.mark.parametrize("environment", [None, "evil"])
    @pytest.mark.parametrize(
        "line",
        [
            "deploy --all",
            "deploy --all --json",
            "deploy --dry-run --all",
            "plan",
            "diff",
            "verify",
            "destroy --yes",
            "rollback d",
            "rollback d --dry-run",
            "hold d",
            "unhold d",
            "history",
            "gc",
            "plan --file sub/../prefect.yaml",
        ],
    )
    def test_no_command_sends_a_request(
        self,
        repo: Repo,
        server: socket.socket,
        address: str,
        monkeypatch: pytest.MonkeyPatch,
        line: str,
        environment: str | None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if environment:
            # Only the manifest names the server, and the user has one of their own.
            named = f"gitflow: {{environments: {{evil: {{api_url: '{address}'}}}}}}\n"
            repo.write("prefect.yaml", MANIFEST + named).write("prefect.toml", "")
            monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
            monkeypatch.setenv("GITFLOW_ENV", environment)
        code = boundary.run(line.split())
        assert code == (0 if line == "history" else 2)
        told = capsys.readouterr()
        assert line == "history" or "gitflow trust" in told.out + told.err
        with pytest.raises(BlockingIOError):
            server.accept()

    @pytest.mark.parametrize("directory", [".", "sub"])
    def test_a_command_talks_to_the_same_server_from_every_directory(
        self,
        repo: Repo,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        directory: str,
    ) -> None:
        monkeypatch.delenv("PREFECT_API_KEY")
        repo.write("prefect.toml", '[api]\nurl = "http://127.0.0.1:9/beside"\n')
        monkeypatch.chdir(repo.path / directory)
        assert boundary.run(["plan"]) == 1
        assert "no Prefect server answers at http://127.0.0.1:9/beside" in capsys.readouterr().err

    def test_trust_is_given_once_from_anywhere_in_the_project(
        self,
        repo: Repo,
        address: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(repo.path / "sub")
        assert boundary.run(["trust", address]) == 0
        assert f"trusted in {repo.path}: {address}" in capsys.readouterr().out
        monkeypatch.chdir(repo.path)
        assert not self.loaded(repo).untrusted

    def test_what_was_trusted_is_kept_outside_the_project_and_is_the_users_alone(
        self, repo: Repo, home: Path
    ) -> None:
        assert boundary.run(["trust"]) == 0
        (kept,) = home.rglob("trusted-servers.json")
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert repo.git("status", "--porcelain") == ""

    @pytest.mark.parametrize(
        "change",
        [
            '[api]\nurl = "http://127.0.0.1:1/api"\n',
            '[api]\nurl = "{address}"\n[client.custom_headers]\nHost = "evil"\n',
        ],
        ids=["another address", "headers besides"],
    )
    def test_trust_ends_where_the_files_say_something_else(
        self, repo: Repo, address: str, change: str
    ) -> None:
        boundary.run(["trust"])
        repo.write("prefect.toml", change.replace("{address}", address))
        assert self.loaded(repo).untrusted

    def test_trust_ends_where_another_line_of_the_file_fills_the_address_in(
        self, repo: Repo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PLACE", "own.example")
        line = "PREFECT_API_URL=https://${PLACE}/api\n"
        repo.write(".env", line)
        assert boundary.run(["trust", "https://${PLACE}/api"]) == 0
        assert self.loaded(repo).require_prefect().api_url == OWN
        repo.write(".env", f"PLACE=evil.example\n{line}")
        assert self.loaded(repo).untrusted

    def test_a_user_name_that_looks_like_the_trusted_address_is_none(self, repo: Repo) -> None:
        boundary.run(["trust"])
        trusted = (repo.path / "prefect.toml").read_text()
        repo.write("prefect.toml", trusted.replace("http://", "http://evil.example:80/x@"))
        assert self.loaded(repo).untrusted

    def test_trust_is_for_one_project(self, repo: Repo, tmp_path: Path) -> None:
        boundary.run(["trust"])
        other = Repo(tmp_path / "other").write("prefect.yaml", MANIFEST)
        other.write("prefect.toml", (repo.path / "prefect.toml").read_text())
        assert self.loaded(other).untrusted
        assert not self.loaded(repo).untrusted

    def test_trust_can_be_listed_and_taken_back(
        self, repo: Repo, address: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        boundary.run(["trust"])
        boundary.run(["trust", "--list"])
        boundary.run(["trust", "--remove", address])
        told = capsys.readouterr().out.splitlines()[1:]
        assert told == [f"{repo.path}: {address}", f"{address} is no longer trusted in {repo.path}"]
        assert self.loaded(repo).untrusted

    def test_an_address_that_the_project_does_not_name_is_not_trusted_in_its_place(
        self, repo: Repo, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert boundary.run(["trust", OWN]) == 2
        assert "this project's server is http://127.0.0.1" in capsys.readouterr().err

    def test_a_data_directory_inside_the_project_is_believed_by_nobody(
        self, repo: Repo, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITFLOW_DATA_DIR", str(repo.path / "data"))
        entry = {"project": str(repo.path), "address": address, "terms": []}
        repo.write("data/trusted-servers.json", json.dumps({"trusted": [entry]}))
        assert self.loaded(repo).untrusted
        assert boundary.run(["trust"]) == 2

    def test_a_list_that_cannot_be_understood_is_named(
        self, repo: Repo, home: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        boundary.run(["trust"])
        (kept,) = home.rglob("trusted-servers.json")
        kept.write_text("[1")
        assert boundary.run(["plan"]) == 2
        assert str(kept) in capsys.readouterr().err

    def loaded(self, repo: Repo) -> settings.Settings:
        return settings.load(os.environ, repo.path)
