"""A commit of a bare repository gives the snapshot that a clean clone of it gives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops_flow.codestore import lfs, snapshot
from gitops_flow.codestore.store import PrivateStore, open_store
from gitops_flow.errors import GitError, SnapshotError
from gitops_flow.git import repository
from gitops_flow.model import Snapshot
from tests.support.repo import Repo, fingerprint
from tests.support.snapshots import look

CONTENT = b"large\n"
OID = hashlib.sha256(CONTENT).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(CONTENT)}\n"
DEEP = "/".join("d" * 250)


def links(repo: Repo) -> None:
    repo.symlink("out", "/etc/passwd").symlink("a/b/up", "../..").symlink("on", "a/b/up/../x")
    repo.symlink("in", "flow.py").symlink("loop", "loop/x")


def ci_files(repo: Repo) -> None:
    repo.write(".github/workflows/ci.yml", "on: push\n").write(".github/x.py", "x\n")
    repo.write("sub/.gitlab-ci.yml", "x\n").write("Jenkinsfile", "x\n")


def only_ci_files_below(repo: Repo) -> None:
    repo.write(".circleci/config.yml", "x\n")


def submodule(repo: Repo) -> None:
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},vendor/in")
    repo.commit(add=False)


def large_files(repo: Repo) -> None:
    repo.write(".gitattributes", "*.bin filter=lfs\n[attr]big filter=lfs\n*.dat big\n")
    repo.write("a/model.bin", POINTER).write("a/x.dat", POINTER).write("a/text.txt", POINTER)


def deep(repo: Repo) -> None:
    repo.write(f"{DEEP}/x.py", "x\n")


def modes_and_names(repo: Repo) -> None:
    repo.write("run.sh", "#!/bin/sh\n", executable=True).write(b"\xff\n.py", "x\n")
    repo.write(".gitignore", "*.log\n").write(".gitflowignore", "flow.py\n")
    repo.write("kept.log", "x\n").write("__pycache__/x.pyc", "x\n").git("add", "-f", ".")


@pytest.fixture
def origin(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "origin")
    made.write("flow.py", "print('one')\n").write("lib/helper.py", "x = 1\n").commit()
    return made


def bare_store(origin: Repo, tmp_path: Path, **more: str) -> PrivateStore:
    bare = tmp_path / "bare.git"
    if not bare.exists():
        origin.clone(bare, "--bare")
    return open_store(tmp_path / "cache", repository.bare(bare), "store", **more)


def take(store: PrivateStore, commit: str, **options: object) -> Snapshot:
    chosen = snapshot.Options(**options)  # type: ignore[arg-type]
    return snapshot.of_commit(store, commit, chosen, source="s", author="A <a@b>", ref="main")


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (links, {}),
        (ci_files, {}),
        (ci_files, {"ci_files": True}),
        (only_ci_files_below, {}),
        (submodule, {"ignore_submodules": ("vendor/*",)}),
        (submodule, {"ignore_submodules": ("*",), "submodules": True}),
        (large_files, {}),
        (large_files, {"lfs": True}),
        (deep, {}),
        (modes_and_names, {}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_commit_of_a_bare_repository_is_the_snapshot_of_a_clean_clone(
    origin: Repo, tmp_path: Path, change: Callable[[Repo], None], options: dict[str, object]
) -> None:
    change(origin)
    if change is not submodule:
        origin.commit()
    store = bare_store(origin, tmp_path)
    clone = origin.clone(tmp_path / "clone")
    for git_dir in (store.repository.root, clone.path / ".git"):
        kept = git_dir / "lfs/objects" / OID[:2] / OID[2:4]
        kept.mkdir(parents=True)
        (kept / OID).write_bytes(CONTENT)
    before = fingerprint(store.repository.root)
    snap = take(store, origin.head, **options)
    assert fingerprint(store.repository.root) == before
    there = look(clone.path, clone.path / ".cache", clean=True, **options).snap
    assert (snap.commit, snap.provenance) == (there.commit, there.provenance)
    own = {(".cache/", "gitflow's own")}
    assert {(o.path, o.reason) for o in there.left_out} - own == {
        (o.path, o.reason) for o in snap.left_out
    }


def test_large_files_are_found_by_the_attributes_of_the_commit(
    origin: Repo, tmp_path: Path
) -> None:
    large_files(origin)
    commit = origin.commit()
    origin.remove(".gitattributes").commit()
    snap = take(bare_store(origin, tmp_path), commit)
    listed = {each.path for each in snap.left_out if each.reason == lfs.LEFT_OUT}
    assert listed == {"a/model.bin", "a/x.dat"}


@pytest.mark.parametrize("options", [{}, {"submodules": True}], ids=["refused", "included"])
def test_submodules_of_a_commit_are_refused_by_name(
    origin: Repo, tmp_path: Path, options: dict[str, bool]
) -> None:
    submodule(origin)
    with pytest.raises(SnapshotError, match="submodule") as error:
        take(bare_store(origin, tmp_path), origin.head, **options)
    assert error.value.paths == ("vendor/in",)
    assert "‹ignore_submodules› vendor/in" in str(error.value.hint)


def test_a_commit_with_a_file_too_deep_is_refused(origin: Repo, tmp_path: Path) -> None:
    origin.write("/".join("d" * 257) + "/x.py", "x\n").commit()
    with pytest.raises(SnapshotError, match="directories deep"):
        take(bare_store(origin, tmp_path), origin.head)


def test_a_commit_that_is_not_there_is_told_and_the_cache_stays(
    origin: Repo, tmp_path: Path
) -> None:
    store = bare_store(origin, tmp_path)
    with pytest.raises(SnapshotError, match=f"does not have the commit {'b' * 40}"):
        take(store, "b" * 40)
    assert store.path.is_dir()


def test_an_older_commit_leaves_out_what_is_gitflows_own_in_the_working_tree(
    origin: Repo, tmp_path: Path
) -> None:
    cache = origin.write(".cache/stores/note", "1\n").path / ".cache"
    commit = origin.commit()
    expected = look(origin.path, cache, clean=True).snap.commit
    origin.write("flow.py", "later\n").commit()
    origin.write("flow.py", "edited\n")
    found = repository.discover(origin.path, own=(cache,))
    snap = take(open_store(cache, found, "store"), commit)
    assert snap.commit == expected
    assert snap.provenance.commit == commit


def test_a_link_that_leaves_is_left_out_of_head_though_the_index_lost_it(
    origin: Repo, tmp_path: Path
) -> None:
    origin.symlink("out", "/etc/passwd").commit()
    origin.git("rm", "-q", "--cached", "out")
    taken = look(origin.path, tmp_path / "cache", clean=True)
    assert b"out" not in taken.files()


def test_what_left_the_index_and_is_the_same_on_disk_is_no_change(
    origin: Repo, tmp_path: Path
) -> None:
    origin.git("rm", "-q", "--cached", "flow.py")
    snap = look(origin.path, tmp_path / "cache").snap
    assert (snap.changes, snap.provenance.dirty) == ((), False)


def test_the_same_key_is_the_same_store_wherever_the_repository_is(
    origin: Repo, tmp_path: Path
) -> None:
    first = bare_store(origin, tmp_path, key="shop")
    (tmp_path / "bare.git").rename(tmp_path / "moved.git")
    moved = repository.bare(tmp_path / "moved.git")
    again = open_store(tmp_path / "cache", moved, "store", key="shop")
    assert again.path == first.path
    assert take(again, origin.head).commit


def test_a_directory_that_is_no_bare_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="no bare git repository"):
        repository.bare(tmp_path)


def test_a_bare_repository_with_longer_ids_is_refused(tmp_path: Path) -> None:
    made = Repo(tmp_path / "long.git", init=False)
    tmp_path.joinpath("long.git").mkdir()
    made.git("init", "-q", "--bare", "--object-format=sha256")
    with pytest.raises(GitError, match="sha256 object ids"):
        repository.bare(made.path)
