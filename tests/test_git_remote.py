"""What real git servers answer, and what we make of it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from gitops_flow.errors import GitError, RemoteError
from gitops_flow.git import objects, remote
from gitops_flow.git.command import Auth
from gitops_flow.git.remote import PushOutcome
from gitops_flow.threads import Threads
from tests.support import gitservers
from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REF = "refs/heads/code-store"
AWAY = "a" * 40


class Sender:
    """A repository with commits to push."""

    def __init__(self, path: Path) -> None:
        self.path = gitservers.bare(path)

    def commit(self, content: bytes, *parents: str) -> str:
        blob = self._git("hash-object", "-w", "--stdin", stdin=content)
        tree = self._git("mktree", stdin=f"100644 blob {blob}\tfile\n".encode())
        return self._git("commit-tree", tree, "-m", "x", *(f"-p{p}" for p in parents))

    def push(self, url: str, commit: str, expect: str | None = None, **more: object) -> PushOutcome:
        return remote.push(self.path, url, f"{commit}:{REF}", expect=expect, **more)  # type: ignore[arg-type]

    def _git(self, *args: str, stdin: bytes = b"") -> str:
        identity = {
            f"GIT_{who}_{what}": "a"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        command = ["git", "-C", str(self.path), *args]
        environment = {**os.environ, **identity}
        return (
            subprocess.run(command, input=stdin, env=environment, check=True, capture_output=True)
            .stdout.decode()
            .strip()
        )


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return Sender(tmp_path / "sender.git")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "srv").mkdir()
    return gitservers.bare(tmp_path / "srv" / "store.git")


def failure(action: Callable[[], object]) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        action()
    assert caught.value.hint
    return caught.value


def race(sender: Sender, url: str, expect: str | None, commits: list[str]) -> list[object]:
    outcomes: list[object] = [None] * len(commits)

    def one(number: int) -> None:
        try:
            outcomes[number] = sender.push(url, commits[number], expect)
        except RemoteError as error:
            outcomes[number] = error

    with Threads(len(commits)) as pool:
        list(pool.map(one, range(len(commits))))
    return outcomes


def one_of_many_wins(sender: Sender, url: str) -> None:
    for expect in (None, "moved"):
        base = remote.ls_remote(url, REF) if expect else None
        rivals = [
            sender.commit(f"{expect}{n}".encode(), *([base] if base else [])) for n in range(16)
        ]
        outcomes = race(sender, url, base, rivals)
        assert sorted(map(str, outcomes)) == [str(PushOutcome.OK), *[str(PushOutcome.STALE)] * 15]
        assert remote.ls_remote(url, REF) == rivals[outcomes.index(PushOutcome.OK)]


def test_an_absent_ref_has_no_commit(store: Path) -> None:
    assert remote.ls_remote(str(store), REF) is None


def test_only_the_ref_of_exactly_that_name_is_answered(store: Path, sender: Sender) -> None:
    commit = sender.commit(b"1")
    remote.push(sender.path, str(store), f"{commit}:refs/heads/refs/heads/code-store", expect=None)
    assert remote.ls_remote(str(store), REF) is None


def test_a_confirmed_push_is_what_the_server_then_has(store: Path, sender: Sender) -> None:
    commit = sender.commit(b"1")
    assert sender.push(str(store), commit) is PushOutcome.OK
    assert remote.ls_remote(str(store), REF) == commit


def test_pushing_what_is_already_there_is_fine(store: Path, sender: Sender) -> None:
    commit = sender.commit(b"1")
    sender.push(str(store), commit)
    assert sender.push(str(store), commit, commit) is PushOutcome.OK


def test_a_moved_branch_is_stale_and_stays_as_it_is(store: Path, sender: Sender) -> None:
    first, second = sender.commit(b"1"), sender.commit(b"2")
    sender.push(str(store), first)
    assert sender.push(str(store), second, None) is PushOutcome.STALE
    assert sender.push(str(store), second, AWAY) is PushOutcome.STALE
    assert remote.ls_remote(str(store), REF) == first


def test_a_ref_that_is_locked_right_now_is_stale(store: Path, sender: Sender) -> None:
    (store / "refs/heads/code-store.lock").touch()
    assert sender.push(str(store), sender.commit(b"1")) is PushOutcome.STALE


def test_of_16_pushers_to_a_path_one_wins_and_15_are_stale(store: Path, sender: Sender) -> None:
    one_of_many_wins(sender, str(store))


@pytest.mark.real
def test_of_16_pushers_over_http_one_wins_and_15_are_stale(
    store: Path, sender: Sender, tmp_path: Path
) -> None:
    with gitservers.smart_http(store.parent, tmp_path / "http", login=None) as server:
        one_of_many_wins(sender, server.url("store.git"))


@pytest.mark.real
def test_of_16_pushers_over_ssh_one_wins_and_15_are_stale(
    store: Path, sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gitservers.ssh(store.parent, tmp_path / "ssh") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        one_of_many_wins(sender, server.url("store.git"))


def test_a_branch_below_another_branch_is_refused_and_not_retried(
    store: Path, sender: Sender
) -> None:
    commit = sender.commit(b"1")
    sender.push(str(store), commit)
    below = f"{commit}:{REF}/below"
    error = failure(lambda: remote.push(sender.path, str(store), below, expect=None))
    assert (error.kind, error.retry) == ("refused", False)


def test_a_declining_hook_is_quoted(store: Path, sender: Sender) -> None:
    hook = store / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho 'code-store is a protected branch' >&2\nexit 1\n")
    hook.chmod(0o755)
    error = failure(lambda: sender.push(str(store), sender.commit(b"1")))
    assert error.kind == "refused"
    assert "code-store is a protected branch" in error.message


def test_a_server_that_forbids_rewinding_is_a_refusal_and_no_race(
    tmp_path: Path, sender: Sender
) -> None:
    store = gitservers.bare(tmp_path / "nff.git", receive_denyNonFastForwards="true")
    first = sender.commit(b"1")
    sender.push(str(store), first)
    assert failure(lambda: sender.push(str(store), sender.commit(b"2"), first)).kind == "refused"


def test_a_pack_over_the_servers_limit_is_too_large(tmp_path: Path, sender: Sender) -> None:
    store = gitservers.bare(tmp_path / "small.git", receive_maxInputSize="10000")
    error = failure(lambda: sender.push(str(store), sender.commit(os.urandom(50_000))))
    assert error.kind == "too-large"
    assert error.hint is not None
    assert ".gitflowignore" in error.hint


def test_a_commit_that_fails_the_servers_fsck_is_rejected(tmp_path: Path, sender: Sender) -> None:
    store = gitservers.bare(tmp_path / "fsck.git", receive_fsckObjects="true")
    tree = sender._git("mktree")
    text = f"tree {tree}\nauthor a <a> 0 +0000\ncommitter a 0 +0000\n\nx".encode()
    bad = sender._git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=text)
    assert failure(lambda: sender.push(str(store), bad)).kind == "rejected-object"


def test_a_path_without_a_repository_is_not_found(tmp_path: Path) -> None:
    assert failure(lambda: remote.ls_remote(str(tmp_path / "no.git"), REF)).kind == "not-found"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give a directory away")
def test_a_repository_of_another_user_comes_with_the_setting_that_allows_it(store: Path) -> None:
    os.chown(store, 65534, 65534)
    error = failure(lambda: remote.ls_remote(str(store), REF))
    assert error.kind == "ownership"
    assert error.hint is not None
    assert "safe.directory" in error.hint


def test_a_commit_the_server_does_not_have_is_missing(store: Path, tmp_path: Path) -> None:
    into = gitservers.bare(tmp_path / "into.git")
    error = failure(lambda: remote.fetch(into, str(store), [AWAY], depth=1))
    assert (error.kind, error.retry) == ("missing", False)


def test_a_fetch_of_one_commit_brings_nothing_else(
    store: Path, sender: Sender, tmp_path: Path
) -> None:
    old = sender.commit(b"old")
    new = sender.commit(b"new", old)
    sender.push(str(store), new)
    into = gitservers.bare(tmp_path / "into.git")
    before = (into / "config").read_bytes()
    remote.fetch(into, f"file://{store}", [new], depth=1)
    objects = subprocess.run(
        ["git", "-C", str(into), "cat-file", "--batch-all-objects", "--batch-check"],
        check=True,
        capture_output=True,
    ).stdout
    assert len(objects.splitlines()) == 3
    assert (into / "config").read_bytes() == before
    assert not (into / "FETCH_HEAD").exists()


@pytest.mark.parametrize("scheme", ["http", "ssh", "git"])
def test_a_refused_connection_is_the_networks_and_may_be_retried(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{gitservers.refused_port()}/x.git"
    error = failure(lambda: remote.ls_remote(url, REF))
    assert (error.kind, error.retry, error.where) == ("network", True, url)


@pytest.mark.parametrize("scheme", ["https", "ssh", "git"])
def test_an_unknown_host_is_the_networks(scheme: str) -> None:
    error = failure(lambda: remote.ls_remote(f"{scheme}://no-such-host.invalid/x.git", REF))
    assert (error.kind, error.retry) == ("network", True)


@pytest.mark.parametrize("scheme", ["http", "git", "ssh"])
def test_a_server_that_never_answers_is_given_up_in_time(scheme: str) -> None:
    with gitservers.hanging() as port:
        url = f"{scheme}://127.0.0.1:{port}/x.git"
        started = time.monotonic()
        error = failure(lambda: remote.ls_remote(url, REF, timeout=0.5))
    assert time.monotonic() - started < 4
    assert (error.kind, error.retry) == ("timeout", True)


@pytest.mark.real
def test_http_credentials(store: Path, sender: Sender, tmp_path: Path) -> None:
    with gitservers.smart_http(store.parent, tmp_path / "http") as server:
        url, commit = server.url("store.git"), sender.commit(b"1")
        right = Auth(url, server.password, server.username)
        assert sender.push(url, commit, auth=right) is PushOutcome.OK
        assert remote.ls_remote(url, REF, auth=right) == commit
        inside = url.replace("://", f"://{server.username}:{server.password}@")
        assert remote.ls_remote(inside, REF) == commit
        assert failure(lambda: remote.ls_remote(url, REF)).kind == "auth"
        wrong = Auth(url, "wr0ng-passw0rd", server.username)
        error = failure(lambda: remote.ls_remote(url, REF, auth=wrong))
        assert error.kind == "auth"
        assert "wr0ng" not in str(error)


@pytest.mark.real
def test_what_an_http_server_refuses_is_told_apart(
    store: Path, sender: Sender, tmp_path: Path
) -> None:
    gitservers.bare(store.parent / "readonly.git", http_receivepack="false")
    with gitservers.smart_http(
        store.parent, tmp_path / "http", login=None, body_limit="20k"
    ) as server:
        large = sender.commit(os.urandom(100_000))
        kinds = {
            "store.git": "too-large",
            "readonly.git": "read-only",
            "none.git": "not-found",
        }
        for name, kind in kinds.items():
            error = failure(functools.partial(sender.push, server.url(name), large))
            assert error.kind == kind


@pytest.mark.real
def test_what_an_ssh_server_refuses_is_told_apart(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gitservers.ssh(store.parent, tmp_path / "ssh") as server:
        works = server.environment["GIT_SSH_COMMAND"]
        monkeypatch.setenv("GIT_SSH_COMMAND", works)
        assert remote.ls_remote(server.url("store.git"), REF) is None
        assert failure(lambda: remote.ls_remote(server.url("none.git"), REF)).kind == "not-found"
        monkeypatch.setenv("GIT_SSH_COMMAND", works.replace("/client ", "/nokey "))
        assert failure(lambda: remote.ls_remote(server.url("store.git"), REF)).kind == "auth"
        monkeypatch.setenv("GIT_SSH_COMMAND", works.replace("/known_hosts", "/none"))
        assert failure(lambda: remote.ls_remote(server.url("store.git"), REF)).kind == "host-key"


@pytest.mark.real
def test_a_read_only_daemon_refuses_a_push(store: Path, sender: Sender, tmp_path: Path) -> None:
    with gitservers.git_daemon(store.parent, tmp_path / "daemon") as server:
        url = server.url("store.git")
        assert remote.ls_remote(url, REF) is None
        assert failure(lambda: sender.push(url, sender.commit(b"1"))).retry is False


@pytest.mark.parametrize("ref", ["-x", "code-store", "refs/heads/a b", "refs/heads/a*", ""])
def test_what_is_no_full_ref_never_reaches_git(store: Path, ref: str) -> None:
    with pytest.raises(GitError, match="not a full ref name"):
        remote.ls_remote(str(store), ref)


def test_without_git_the_error_says_how_to_get_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="git program was not found"):
        remote.ls_remote(str(store), REF)


def test_a_git_that_would_ignore_our_settings_is_refused(
    store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "bin/git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    with pytest.raises(GitError, match=r"git 2\.30\.2 is too old: 2\.31 or newer"):
        remote.ls_remote(str(store), REF)
    assert shutil.which("git") == str(old)


def test_the_refs_of_a_repository_here_are_read_as_git_tells_them(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "r.git", bare=True)
    names = ["HEAD", "refs/heads/*", "refs/tags/v1", "refs/tags/v1^{}", "refs/heads/none"]
    assert objects.refs(repo.path, names) == remote.list_refs(str(repo.path), names) == ({}, None)
    clone = Repo(tmp_path / "clone")
    clone.git("commit", "-q", "--allow-empty", "-m", "first")
    for ref in ("refs/heads/main", "refs/heads/a/b", "refs/tags/v2"):
        clone.git("push", "-q", repo.path, f"HEAD:{ref}")
    clone.git("tag", "-a", "-m", "a tag", "v1")
    clone.git("push", "-q", repo.path, "v1")
    repo.git("symbolic-ref", "HEAD", "refs/heads/main")
    for packed in (False, True):
        if packed:
            repo.git("pack-refs", "--all")
        assert objects.refs(repo.path, names) == remote.list_refs(str(repo.path), names)
    assert len(objects.refs(repo.path, names)[0]) == 5
    repo.git("update-ref", "-d", "refs/heads/main")
    assert objects.refs(repo.path, ["HEAD"])[0] == remote.list_refs(str(repo.path), ["HEAD"])[0]
    with pytest.raises(GitError, match="the refs cannot be read"):
        objects.refs(tmp_path, names)
