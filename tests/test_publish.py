"""Publishing: one atomic compare-and-swap push, and nothing lost whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops_flow.cli import demoproject
from gitops_flow.codestore import address, ledger, publish, snapshot
from gitops_flow.codestore.store import make_embedded, open_store
from gitops_flow.errors import CodeStoreError, GitflowError, SnapshotError
from gitops_flow.git import environment, repository
from gitops_flow.model import CodeStoreSettings, Snapshot
from tests.support.repo import Repo, fingerprint


@pytest.fixture
def server(tmp_path: Path) -> Repo:
    bare = Repo(tmp_path / "server.git", bare=True)
    bare.git("config", "receive.fsckObjects", "true")
    bare.git("config", "uploadpack.allowFilter", "true")
    return bare


@pytest.fixture
def repo(tmp_path: Path, server: Repo) -> Repo:
    made = Repo(tmp_path / "repo").write("flow.py", "one\n").write("lib/x.py", "x\n")
    made.commit()
    made.git("remote", "add", "origin", str(server.path))
    made.git("push", "-q", "origin", "main")
    return made


def test_an_embedded_code_store_and_the_demo_have_ids_of_sha1_whatever_gits_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A git whose default is another one; only the newest take it from their configuration.
    real, fake = shutil.which("git"), tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nGIT_DEFAULT_HASH=sha256 exec {real} "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    make_embedded(tmp_path / "store.git")
    demo = Repo(demoproject.make(tmp_path / "demo").root, init=False)
    for made in (Repo(tmp_path / "store.git", init=False), demo):
        assert made.git("rev-parse", "--show-object-format") == "sha1"


@environment.using(environment.GitEnvironment(os.environ))
def ship(path: Path, base: Path, cache: str = "cache", submodules: bool = False, **said: str):
    """Snapshot and publish the repository at ``path``."""
    repo = repository.discover(path)
    target = address.resolve(repo, CodeStoreSettings(**said), base / "data")
    store = open_store(base / cache, repo, target.url)
    snap = snapshot.take(
        repo, store, snapshot.Options(submodules=submodules), source="s", author="A <a@b>"
    )
    release = ledger.Release(snap, ("flow/d",), 1_700_000_000)
    return snap, publish.publish(store, target, release)


@pytest.fixture
def publish_it(tmp_path: Path) -> Callable[..., tuple[Snapshot, publish.Publication]]:
    return lambda path, cache="cache", **said: ship(path, tmp_path, cache, **said)


def entries(server: Repo, branch: str = "code-store") -> list[str]:
    """The ledger's commits, oldest first."""
    return server.git("rev-list", "--first-parent", "--reverse", branch).splitlines()


def test_submodules_are_published_with_what_they_have_committed(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    inner = Repo(tmp_path / "inner").write("deep/x.py", "inner\n")
    inner.commit()
    add = ("-c", "protocol.file.allow=always", "submodule", "-q", "add")
    repo.git(*add, str(inner.path), "vendor")
    repo.commit()
    snap, _ = publish_it(repo.path, submodules=True)
    assert server.git("show", f"{snap.commit}:vendor/deep/x.py") == "inner"


def test_the_first_publish_creates_the_branch(repo: Repo, server: Repo, publish_it) -> None:
    snap, done = publish_it(repo.path)
    assert (done.pushed, done.created) == (True, True)
    root, entry = entries(server)
    assert entry == done.entry
    assert server.git("rev-parse", f"{entry}^2") == snap.commit
    assert server.git("rev-list", "--parents", "-1", root) == root


def test_published_content_is_what_is_on_disk(repo: Repo, server: Repo, publish_it) -> None:
    repo.write("flow.py", "edited\n").write("new.py", "new\n")
    snap, _ = publish_it(repo.path)
    assert server.show("flow.py", snap.commit) == "edited"
    assert server.files(snap.commit) == ["flow.py", "lib/x.py", "new.py"]


def test_published_content_is_not_pushed_again(repo: Repo, server: Repo, publish_it) -> None:
    _, first = publish_it(repo.path)
    before = fingerprint(server.path)
    _, again = publish_it(repo.path)
    assert (again.pushed, again.entry) == (False, first.entry)
    assert fingerprint(server.path) == before


def test_older_content_is_not_pushed_again_either(repo: Repo, server: Repo, publish_it) -> None:
    publish_it(repo.path)
    repo.write("flow.py", "two\n")
    publish_it(repo.path)
    repo.write("flow.py", "one\n")
    _, done = publish_it(repo.path)
    assert not done.pushed


def test_another_machine_knows_that_content_is_published(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    publish_it(repo.path)
    other = server.clone(tmp_path / "other")
    _, done = publish_it(other.path, cache="other-machine")
    assert not done.pushed


def test_another_machine_adds_to_the_same_ledger(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    publish_it(repo.path)
    other = server.clone(tmp_path / "other", "--depth=1")
    other.write("flow.py", "from another machine\n")
    publish_it(other.path, cache="other-machine")
    repo.write("flow.py", "and back\n")
    publish_it(repo.path)
    assert len(entries(server)) == 4
    server.git("fsck", "--strict")


def test_publishing_leaves_the_repository_untouched(repo: Repo, publish_it) -> None:
    repo.write("flow.py", "edited\n").write("new.py", "new\n")
    before = fingerprint(repo.path)
    publish_it(repo.path)
    repo.write("new.py", "newer\n")
    publish_it(repo.path)
    assert fingerprint(repo.path) == before


def test_the_second_push_sends_only_what_is_new(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    for number in range(200):
        repo.write(f"data/{number}", f"{number}\n" * 50)
    publish_it(repo.path)
    (server.path / "hooks").mkdir(exist_ok=True)
    hook = server.path / "hooks/pre-receive"
    hook.write_text(
        '#!/bin/sh\nfind "$GIT_OBJECT_DIRECTORY" -type f -name "??????*" | wc -l > '
        f"{tmp_path}/count\n"
    )
    hook.chmod(0o755)
    repo.write("flow.py", "edited\n")
    publish_it(repo.path)
    # entry, snapshot, root tree, blob
    assert int((tmp_path / "count").read_text()) == 4


def test_a_fresh_machine_sends_only_what_is_new(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    for number in range(200):
        repo.write(f"data/{number}", f"{number}\n" * 50)
    repo.commit()
    publish_it(repo.path)
    hook = server.path / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        '#!/bin/sh\nfind "$GIT_OBJECT_DIRECTORY" -type f -name "??????*" | wc -l > '
        f"{tmp_path}/count\n"
    )
    hook.chmod(0o755)
    repo.write("flow.py", "edited\n")
    publish_it(repo.path, cache="fresh-machine")
    assert int((tmp_path / "count").read_text()) == 4


def test_without_a_remote_an_embedded_store_is_made(tmp_path: Path, publish_it, home: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "flow.py").write_text("x\n")
    snap, done = publish_it(folder)
    assert done.created
    (store,) = (tmp_path / "data/code-stores").iterdir()
    assert Repo(store, init=False).files(snap.commit) == ["flow.py"]


def test_a_branch_that_is_no_ledger_is_never_overwritten(
    repo: Repo, server: Repo, publish_it
) -> None:
    repo.git("push", "-q", "origin", "main:code-store")
    before = server.git("rev-parse", "code-store")
    with pytest.raises(CodeStoreError, match="is not a code store; it was left as it is"):
        publish_it(repo.path)
    assert server.git("rev-parse", "code-store") == before


def test_a_deleted_branch_is_made_again(repo: Repo, server: Repo, publish_it) -> None:
    publish_it(repo.path)
    server.git("branch", "-D", "code-store")
    snap, done = publish_it(repo.path)
    assert (done.pushed, done.created) == (True, True)
    assert server.git("rev-parse", "code-store^2") == snap.commit


def test_a_rewound_branch_gets_the_snapshot_again(repo: Repo, server: Repo, publish_it) -> None:
    publish_it(repo.path)
    first = server.git("rev-parse", "code-store")
    repo.write("flow.py", "two\n")
    snap, _ = publish_it(repo.path)
    server.git("update-ref", "refs/heads/code-store", first)
    again, done = publish_it(repo.path)
    assert done.pushed
    assert again.commit == snap.commit
    assert server.git("rev-parse", "code-store^") == first


def test_a_hook_that_declines_is_quoted(repo: Repo, server: Repo, publish_it) -> None:
    hook = server.path / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'code-store is protected here' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(GitflowError, match="code-store is protected here"):
        publish_it(repo.path)


def test_a_server_that_is_away_is_an_error_with_its_address(repo: Repo, publish_it) -> None:
    repo.git("remote", "set-url", "origin", "http://127.0.0.1:9/x.git")
    with pytest.raises(GitflowError) as error:
        publish_it(repo.path)
    assert error.value.retry
    assert "127.0.0.1" in str(error.value)


def test_a_missing_remote_repository_is_an_error(repo: Repo, tmp_path: Path, publish_it) -> None:
    repo.git("remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with pytest.raises(GitflowError, match="gone"):
        publish_it(repo.path)


def test_a_partial_clone_publishes_what_it_does_not_have(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    repo.write("old.txt", "first\n").commit()
    repo.write("far/away.txt", "far\n").commit()
    repo.git("push", "-q", "origin", "main")
    store = Repo(tmp_path / "store.git", bare=True)
    partial = server.clone(tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    partial.git("sparse-checkout", "set", "lib")
    partial.git("checkout", "-q", "main")
    partial.write("lib/x.py", "changed\n")
    before = fingerprint(partial.path)
    snap, _ = publish_it(partial.path, remote=str(store.path))
    assert store.show("far/away.txt", snap.commit) == "far"
    assert store.show("lib/x.py", snap.commit) == "changed"
    assert fingerprint(partial.path) == before
    store.git("fsck", "--strict")


@pytest.mark.parametrize("gone", ["HEAD", "objects"])
def test_a_cache_that_was_deleted_in_part_is_made_again(
    repo: Repo, publish_it, tmp_path: Path, gone: str
) -> None:
    publish_it(repo.path)
    [store] = (tmp_path / "cache" / "stores").glob("*.git")
    subprocess.run(["rm", "-r", str(store / gone)], check=True)
    repo.write("flow.py", "two\n")
    assert publish_it(repo.path)[1].pushed


def test_a_cache_that_cannot_be_written_is_told(repo: Repo, publish_it, tmp_path: Path) -> None:
    publish_it(repo.path)
    [store] = (tmp_path / "cache" / "stores").glob("*.git")
    (store / "gitflow.lock").unlink()
    (store / "gitflow.lock").mkdir()
    with pytest.raises(GitflowError, match="the cache cannot be written: Is a directory"):
        publish_it(repo.path)


def test_a_full_disk_is_not_blamed_on_a_file_of_the_user(repo: Repo, tmp_path: Path) -> None:
    store = open_store(tmp_path / "cache", repository.discover(repo.path), "store")
    with (
        pytest.raises(GitflowError, match="the cache cannot be written: No space left") as error,
        store.locked(),
    ):
        raise SnapshotError("fatal: unable to write loose object file: No space left on device")
    assert "GITFLOW_CACHE_DIR" in str(error.value.hint)


def test_a_broken_ref_in_the_cache_does_not_outlive_one_try(
    repo: Repo, publish_it, tmp_path: Path
) -> None:
    publish_it(repo.path)
    [store] = (tmp_path / "cache" / "stores").glob("*.git")
    (store / "refs" / "gitflow" / "tip").write_bytes(b"")
    repo.write("flow.py", "two\n")
    with pytest.raises(CodeStoreError, match="the cache was damaged and has been removed"):
        publish_it(repo.path)
    assert publish_it(repo.path)


def test_an_empty_index_of_a_plain_folder_does_not_outlive_one_try(
    publish_it, tmp_path: Path
) -> None:
    folder = Repo(tmp_path / "plain", init=False).write("flow.py", "one\n").path
    publish_it(folder)
    [store] = (tmp_path / "cache" / "stores").glob("*.git")
    (store / "worktree-index").write_bytes(b"x")
    with pytest.raises(CodeStoreError, match="the cache was damaged and has been removed"):
        publish_it(folder)
    assert publish_it(folder)


def test_a_damaged_embedded_store_is_said_to_be_damaged(tmp_path: Path, publish_it) -> None:
    folder = Repo(tmp_path / "plain", init=False).write("flow.py", "one\n").path
    publish_it(folder)
    [store] = (tmp_path / "data" / "code-stores").glob("*.git")
    (store / "HEAD").unlink()
    with pytest.raises(GitflowError, match="the embedded code store is damaged"):
        publish_it(folder)


def test_a_damaged_cache_is_made_again(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    publish_it(repo.path)
    repo.write("flow.py", "two\n")
    for path in (tmp_path / "cache").rglob("objects/??/*"):
        path.chmod(0o644)
        path.write_bytes(b"")
    with pytest.raises(CodeStoreError, match="the cache was damaged and has been removed") as error:
        publish_it(repo.path)
    assert error.value.retry
    snap, _ = publish_it(repo.path)
    assert server.show("flow.py", snap.commit) == "two"


def _deploy_once(path: str, base: str, number: int) -> str:
    snap, _ = ship(Path(path), Path(base), f"cache-{number}")
    return snap.commit


def test_sixteen_deployers_at_once_make_sixteen_releases(
    repo: Repo, server: Repo, tmp_path: Path
) -> None:
    clones = []
    for number in range(16):
        clone = server.clone(tmp_path / f"clone-{number}")
        clone.write("mine.py", f"number = {number}\n")
        clones.append(clone)
    with multiprocessing.get_context("spawn").Pool(16) as pool:
        commits = pool.starmap(
            _deploy_once, [(str(c.path), str(tmp_path), n) for n, c in enumerate(clones)]
        )
    assert len(set(commits)) == 16
    ledger_entries = entries(server)[1:]
    released = [server.git("rev-parse", f"{entry}^2") for entry in ledger_entries]
    assert sorted(released) == sorted(commits)
    server.git("fsck", "--strict")


def test_two_deployers_in_one_directory_do_not_disturb_each_other(
    repo: Repo, server: Repo, tmp_path: Path
) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        commits = pool.starmap(_ship_here, [(str(repo.path), str(tmp_path))] * 4)
    assert len(set(commits)) == 1
    assert len(entries(server)) == 2


def _ship_here(path: str, base: str) -> str:
    snap, _ = ship(Path(path), Path(base))
    return snap.commit


def test_git_clone_of_the_branch_alone_works(
    repo: Repo, server: Repo, publish_it, tmp_path: Path
) -> None:
    snap, _ = publish_it(repo.path)
    subprocess.run(
        ["git", "clone", "-q", "-b", "code-store", str(server.path), str(tmp_path / "c")],
        check=True,
    )
    assert (tmp_path / "c/flow.py").read_text() == "one\n"
    assert snap.tree == Repo(tmp_path / "c").git("rev-parse", "HEAD^{tree}")
