"""Tokens that could be seen, and files that should not leave: with the defences and without.

What is mounted here is real: git talks to a server that looks at every process while it is
asked, and what was published is read back from the code store.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gitops_flow.codestore import address, guard, history, ledger, publish, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.errors import GitflowError, SnapshotError
from gitops_flow.git import repository
from gitops_flow.git.command import Auth
from gitops_flow.model import CodeStoreSettings
from gitops_flow.steps import push_code
from tests.support import gitservers
from tests.support.attacks import (
    FLOW,
    MANIFEST,
    SECRET,
    Attack,
    Ground,
    Layer,
    Mounted,
    defence,
)
from tests.support.prefect import SharedServer
from tests.support.proxy import Proxy
from tests.support.repo import Repo
from tests.support.watcher import Watcher, watching
from tests.test_guard import PRIVATE_KEY, TOKEN
from tests.test_prefect_client import Script


class Scene(Ground):
    """A server, a repository whose origin it is with the token in the address, and all that is seen."""

    def __init__(
        self,
        base: Path,
        patch: pytest.MonkeyPatch,
        server: Watcher,
        capture: pytest.CaptureFixture[str],
        logged: pytest.LogCaptureFixture,
    ) -> None:
        super().__init__(base, patch, capture, logged)
        self.server = server
        self.project = self.repo().write("flow.py", "one\n")
        self.project.commit()
        self.project.git("remote", "add", "origin", server.url(login=True))
        self.known = set(self.project.path.glob(".git/config"))

    def publish(self) -> str:
        """Publish the working tree; the snapshot's id."""
        repo = repository.discover(self.project.path)
        target = address.resolve(repo, CodeStoreSettings(), self.base / "data")
        store = open_store(self.base / "cache", repo, target.url)
        options = snapshot.Options(guard.Allowance(file_limit=100_000))
        taken = snapshot.take(repo, store, options, source="s", author="A <a@b>")
        publish.publish(store, target, ledger.Release.of(taken))
        history.read(self.base / "cache", repo, target)
        return taken.commit

    def written(self) -> bool:
        """Whether the token is in any file that was not there before."""
        files = (path for path in self.base.rglob("*") if path.is_file() and path not in self.known)
        return any(SECRET.encode() in path.read_bytes() for path in files if path.name != "secret")


@pytest.fixture
def ground(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Scene]:
    gitservers.bare(tmp_path / "served/store.git", uploadpack_allowFilter="true")
    with watching(tmp_path / "served", "worker", SECRET) as server:
        yield Scene(tmp_path, monkeypatch, server, capsys, caplog)


# 10: a token that others could see.


def a_token_in_the_process_list(ground: Scene) -> bool:
    commit = ground.publish()
    assert ground.pull(ground.server.url(login=True), commit) is not None
    assert all(each in ground.server.arguments for each in (" push ", " fetch ", "remote-http"))
    return SECRET in ground.server.arguments


def a_token_on_the_disk(ground: Scene) -> bool:
    commit = ground.publish()
    assert ground.pull(ground.server.url(login=True), commit, directories=["."]) is not None
    return ground.written()


def a_token_in_the_outputs_of_a_step(ground: Scene) -> bool:
    """They become inputs of the pull step, which Prefect keeps in clear."""
    ground.patch.chdir(ground.project.path)
    return SECRET in json.dumps(push_code())


def a_token_in_what_is_shown_of_a_deploy(ground: Scene) -> bool:
    ground.patch.chdir(ground.project.path)
    return SECRET in ground.told(push_code)


def a_token_that_the_server_repeats(ground: Scene, status: int, form: str) -> bool:
    login = ground.server.header.removeprefix("Basic ")
    said = {"plain": SECRET, "encoded": login}[form]
    body = f"error: access denied or repository not yours: timeout, invalid credentials {said}\n"

    def answer(path: str, came: str) -> tuple[int, dict[str, str], bytes] | None:
        return (status, {"Content-Type": "text/plain"}, body.encode()) if came else None

    ground.server.answer = answer
    told = ground.told(ground.publish)
    told += ground.told(partial(ground.pull, ground.server.url(login=True), "a" * 40))
    return said in told


def a_token_in_the_reason_for_a_refusal(ground: Scene) -> bool:
    hook = ground.base / "served/store.git/hooks/update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    # As long as the token: the lines of the protocol begin with their length.
    ground.server.rewrite = (b"hook declined", SECRET.encode())
    return SECRET in ground.told(ground.publish)


def a_token_in_the_error_of_a_server_that_is_away(ground: Scene) -> bool:
    url = f"http://worker:{SECRET}@127.0.0.1:{gitservers.refused_port()}/x.git"
    ground.project.git("remote", "set-url", "origin", url)
    return SECRET in ground.told(ground.publish)


def a_token_with_a_slash_that_is_no_address(ground: Scene) -> bool:
    ground.project.git("remote", "set-url", "origin", f"http://worker:a/{SECRET}@127.0.0.1/x")
    return SECRET in ground.told(ground.publish)


def a_password_for_ssh_in_the_address(ground: Scene) -> bool:
    repo = ground.project
    repo.git("remote", "set-url", "origin", f"ssh://worker:{SECRET}@127.0.0.1/x.git")
    try:
        found = address.resolve(repository.discover(repo.path), CodeStoreSettings(), ground.base)
    except GitflowError:
        return False
    return SECRET in found.url + str(found.pull_input)


def a_token_that_a_redirect_asks_for(ground: Scene) -> bool:
    """The other server may be anybody's."""
    with watching(ground.server.root, "worker", SECRET) as other:
        there = {"Location": f"http://{other.address}/store.git/info/refs?service=git-upload-pack"}
        ground.server.answer = lambda path, came: (302, there, b"")
        ground.pull(ground.server.url(login=True), "a" * 40)
        return bool(other.logins)


def a_token_for_a_host_that_the_manifest_names(ground: Scene) -> bool:
    """A pull request changes the manifest, and CI has the token in its environment."""
    with watching(ground.server.root, "anybody", "anything") as other:
        store = f"gitflow: {{code_store: {{remote: {other.url()!r}}}}}\n"
        ground.project.write("prefect.yaml", MANIFEST % "flow.py:hello" + store)
        ground.project.git("remote", "set-url", "origin", ground.server.url())
        ground.patch.setenv("GITFLOW_CODE_STORE_TOKEN", SECRET)
        told = ground.told(lambda: ground.gitflow(ground.project.path, "history"))
        return bool(other.logins) or SECRET in told


def a_token_for_a_host_that_a_step_names(ground: Scene) -> bool:
    with watching(ground.server.root, "anybody", "anything") as other:
        ground.project.git("remote", "set-url", "origin", ground.server.url())
        ground.patch.chdir(ground.project.path)
        ground.patch.setenv("GITFLOW_CODE_STORE_TOKEN", SECRET)
        told = ground.told(lambda: push_code(remote=other.url()))
        return bool(other.logins) or SECRET in told


def a_login_that_the_prefect_server_repeats(ground: Scene, status: int, form: str) -> bool:
    login = base64.b64encode(f"admin:{SECRET}".encode()).decode()
    said = {"plain": SECRET, "encoded": login}[form]
    with contextlib.closing(Script()) as api:
        api.answers = [
            (status, {"detail": f"CSRF: no such login: {said}", "exception_message": said})
        ]
        with api.client(auth_string=f"admin:{SECRET}", max_retries=0) as client:
            return said in ground.told(partial(client.post, "/deployments/filter", {}))


# 18: what should not leave the machine.


def a_file_that_leaves(ground: Scene, name: str, content: bytes) -> bool:
    ground.project.write(name, content)
    ground.told(ground.publish)
    store = Repo(ground.base / "served/store.git", init=False)
    return name in store.git("ls-tree", "-r", "--name-only", "code-store", check=False).split()


# The defences.


def _in_the_address(repository: str, auth: Auth | None) -> object:
    if auth is not None and "@" not in repository:
        repository = repository.replace("//", f"//{auth.username}:{auth.secret}@", 1)
    return repository, None, []


def _for_every_host(environment: object) -> object:
    def given(*args: object) -> dict[str, str]:
        found: dict[str, str] = environment(*args)  # type: ignore[operator]
        helper = [key for key, value in found.items() if value.startswith("credential.http")]
        return found | dict.fromkeys(helper, "credential.helper")

    return given


OUT_OF_THE_ADDRESS = defence(
    "gitops_flow.git.remote._credentials", instead=_in_the_address, note="a helper, not the address"
)
SPLIT = defence("gitops_flow.git.url.split_userinfo", instead=lambda url: (url, None, None))
REDACT = defence("gitops_flow.redact.redact", instead=lambda text, secrets=(): text)
FORMS = defence("gitops_flow.git.command.Auth.forms", instead=property(lambda auth: ()))
NAME = defence("gitops_flow.codestore.detect.secret_name", instead=lambda path: False)
CONTENT = defence("gitops_flow.codestore.detect.secret_in", instead=lambda data: None)
HOST = defence("gitops_flow.codestore.address._check_token", instead=lambda *named: None)
SIZES = defence("gitops_flow.codestore.guard.check_sizes", instead=lambda sizes, allow: None)

ATTACKS = (
    Attack(10, a_token_in_the_process_list, (OUT_OF_THE_ADDRESS,)),
    Attack(10, a_token_on_the_disk, (OUT_OF_THE_ADDRESS,)),
    Attack(10, a_token_in_the_outputs_of_a_step, (SPLIT,)),
    Attack(10, a_token_in_what_is_shown_of_a_deploy, (SPLIT, REDACT)),
    *(
        Attack(
            10,
            partial(a_token_that_the_server_repeats, status=status, form=form),
            (FORMS,),
            f"{form} {status}",
        )
        for status in (401, 403, 500)
        for form in ("plain", "encoded")
    ),
    Attack(10, a_token_in_the_reason_for_a_refusal, (FORMS,)),
    Attack(10, a_token_in_the_error_of_a_server_that_is_away, (SPLIT, REDACT)),
    Attack(10, a_token_with_a_slash_that_is_no_address, (REDACT,)),
    Attack(
        10,
        a_password_for_ssh_in_the_address,
        (defence("gitops_flow.git.url.check_address", instead=lambda url: url),),
    ),
    Attack(
        10,
        a_token_that_a_redirect_asks_for,
        (Layer("gitops_flow.git.command._environment", _for_every_host, "a helper for one host"),),
    ),
    Attack(10, a_token_for_a_host_that_the_manifest_names, (HOST,)),
    Attack(10, a_token_for_a_host_that_a_step_names, (HOST,)),
    *(
        Attack(
            10,
            partial(a_login_that_the_prefect_server_repeats, status=status, form=form),
            (REDACT,),
            f"{form} {status}",
        )
        for status in (401, 403, 409, 500)
        for form in ("plain", "encoded")
    ),
    *(
        Attack(18, partial(a_file_that_leaves, name=name, content=content), layers, name)
        for name, content, layers in (
            (".env", b"A=1\n", (NAME,)),
            ("deploy/id_rsa", PRIVATE_KEY, (NAME, CONTENT)),
            ("notes.md", b"see:\n" + PRIVATE_KEY, (CONTENT,)),
            ("flow.py", b"TOKEN = '" + TOKEN + b"'\n", (CONTENT,)),
            ("wide.ps1", TOKEN.decode().encode("utf-16"), (CONTENT,)),
            ("model.bin", b"\0" * 100_001, (SIZES,)),
        )
    ),
)


class TestAttacks(Mounted):
    attacks = ATTACKS


@pytest.mark.real
@pytest.mark.parametrize("defended", [True, False])
def test_a_deploy_sends_a_token_to_prefect_or_shows_it_only_without_its_defence(
    ground: Scene,
    prefect_server: SharedServer,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    defended: bool,
) -> None:
    if not defended:
        SPLIT.take_out(monkeypatch)
        REDACT.take_out(monkeypatch)  # stops only what is shown
    pool = f"work_pool: {{name: {namespace}}}"
    text = f"deployments:\n  - {{name: main, entrypoint: flow.py:hello, {pool}}}\n"
    ground.project.write("prefect.yaml", f"name: {namespace}\n{text}")
    ground.project.write("flow.py", FLOW.replace("@flow", f"@flow(name={namespace!r})"))
    with Proxy(prefect_server.api_url) as proxy:
        monkeypatch.setenv("PREFECT_API_URL", proxy.api_url)
        told = ground.told(
            lambda: ground.gitflow(
                ground.project.path, "deploy", "--all", "--create-pools", "--json"
            )
        )
    assert json.loads(told[told.index("{") : told.rindex("}") + 1])["ok"]
    sent = b"".join(request.body for request in proxy.requests)
    assert b"pull_code" in sent
    assert (SECRET.encode() in sent) is not defended
    assert (SECRET in told) is not defended
    store = Repo(ground.base / "served/store.git", init=False)
    assert SECRET not in store.git("log", "--format=raw", "-p", "code-store")


def test_exactly_one_file_is_allowed_and_the_others_are_listed(ground: Scene) -> None:
    for name in (".env", "a/.env", "a/notes.md"):
        ground.project.write(name, TOKEN)
    ground.patch.chdir(ground.project.path)
    with pytest.raises(SnapshotError) as refused:
        push_code(allow_secrets=["a/.env"])
    assert refused.value.paths == (".env (by its name)",)
    with pytest.raises(SnapshotError) as refused:
        push_code(allow_secrets=["a/.env", ".env"])
    assert refused.value.paths == ("a/notes.md (line 1: GitHub token)",)
    assert "‹allow_secrets› PATH" in str(refused.value.hint)
    assert push_code(allow_secrets=["a/.env", ".env", "a/notes.md"])["commit"]
