"""Publishing to real git servers, and pulling from them what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.codestore import address, ledger, publish, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.errors import GitflowError
from gitops_flow.git import repository
from gitops_flow.model import CodeStoreSettings, Snapshot
from gitops_flow.steps import pull_code
from tests.support import gitservers
from tests.support.repo import Repo, fingerprint

pytestmark = pytest.mark.real


@pytest.fixture
def store(tmp_path: Path) -> Path:
    settings = {"receive.fsckObjects": "true", "http.receivepack": "true"}
    return gitservers.bare(tmp_path / "served/store.git", **settings)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo").write("flow.py", "one\n")
    made.commit()
    made.write("flow.py", "uncommitted\n").write("new.py", "new\n")
    return made


def ship(repo: Repo, base: Path, **said: str) -> tuple[Snapshot, publish.Publication]:
    found = repository.discover(repo.path)
    # As when the environment names the remote.
    settings = CodeStoreSettings(**said, token_for=tuple(filter(None, [said.get("remote")])))
    target = address.resolve(found, settings, base / "data")
    private = open_store(base / "cache", found, target.url)
    snap = snapshot.take(found, private, snapshot.Options(), source="s", author="A <a@b>")
    return snap, publish.publish(private, target, ledger.Release(snap, (), 1))


def pulled(url: str, commit: str, here: Path, monkeypatch: pytest.MonkeyPatch, **more: str) -> Path:
    here.mkdir()
    monkeypatch.chdir(here)
    return Path(pull_code(url, commit, **more)["directory"])


def test_over_http_with_a_token(
    repo: Repo, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gitservers.smart_http(store.parent, tmp_path / "http") as server:
        url = server.url("store.git")
        login = {"username": server.username, "token": server.password}
        before = fingerprint(repo.path)
        snap, done = ship(repo, tmp_path, remote=url, **login)
        assert done.created
        _, again = ship(repo, tmp_path, remote=url, **login)
        assert not again.pushed
        assert fingerprint(repo.path) == before
        made = pulled(
            url,
            snap.commit,
            tmp_path / "run",
            monkeypatch,
            credentials=f"{server.username}:{server.password}",
        )
        assert (made / "flow.py").read_text() == "uncommitted\n"
        assert (made / "new.py").read_text() == "new\n"
    for path in (tmp_path / "cache").rglob("*"):
        assert not path.is_file() or server.password.encode() not in path.read_bytes()


def test_over_http_with_the_login_that_a_ci_checkout_left_in_the_repository(
    repo: Repo, store: Path, tmp_path: Path
) -> None:
    import base64

    with gitservers.smart_http(store.parent, tmp_path / "http") as server:
        repo.git("remote", "add", "origin", server.url("store.git"))
        login = base64.b64encode(f"{server.username}:{server.password}".encode()).decode()
        repo.git("config", f"http.{server.base}/.extraheader", f"AUTHORIZATION: basic {login}")
        _, done = ship(repo, tmp_path)
        assert done.created


def test_over_http_with_a_wrong_token_nothing_secret_is_told(
    repo: Repo, store: Path, tmp_path: Path
) -> None:
    with (
        gitservers.smart_http(store.parent, tmp_path / "http") as server,
        pytest.raises(GitflowError, match="does not accept the credentials") as error,
    ):
        ship(repo, tmp_path, remote=server.url("store.git"), username="me", token="wr0ng-t0ken")
    assert "wr0ng-t0ken" not in str(error.value)


def test_over_ssh_with_a_key(
    repo: Repo, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gitservers.ssh(store.parent, tmp_path / "ssh") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = server.url("store.git")
        snap, done = ship(repo, tmp_path, remote=url)
        assert done.created
        made = pulled(url, snap.commit, tmp_path / "run", monkeypatch)
        assert (made / "flow.py").read_text() == "uncommitted\n"
