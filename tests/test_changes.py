"""What lies between two snapshots."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.codestore import address, changes, ledger, publish, snapshot
from gitops_flow.codestore.address import CodeStore
from gitops_flow.codestore.store import PrivateStore, open_store
from gitops_flow.git import repository
from gitops_flow.model import CodeStoreSettings, FileChange
from tests.support.repo import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "project")
    made.write("kept", "1\n").write("edited", "1\n2\n3\n").write("gone", "1\n2\n")
    made.write("picture", bytes(range(256)))
    made.commit()
    return made


def stores(repo: Repo, base: Path, cache: str = "cache") -> tuple[PrivateStore, CodeStore]:
    found = repository.discover(repo.path)
    target = address.resolve(found, CodeStoreSettings(), base / "data")
    return open_store(base / cache, found, target.url), target


def take(repo: Repo, store: PrivateStore) -> str:
    found = repository.discover(repo.path)
    return snapshot.take(found, store, snapshot.Options(), source="s", author="A").commit


def test_files_and_lines_are_counted(repo: Repo, tmp_path: Path) -> None:
    store, target = stores(repo, tmp_path)
    before = take(repo, store)
    repo.write("edited", "1\n2\nthree\nfour\n").write("new\tünï", "1\n")
    repo.write("picture", bytes(range(255)))
    (repo.path / "gone").unlink()
    found = changes.between(store, target, before, take(repo, store))
    assert found is not None
    assert found.files == (
        FileChange("edited", "modified"),
        FileChange("gone", "deleted"),
        FileChange("new\tünï", "added"),
        FileChange("picture", "modified"),
    )
    assert (found.insertions, found.deletions) == (3, 3)


def test_one_snapshot_has_nothing_between_it_and_itself(repo: Repo, tmp_path: Path) -> None:
    store, target = stores(repo, tmp_path)
    commit = take(repo, store)
    found = changes.between(store, target, commit, commit)
    assert found is not None
    assert (found.files, found.insertions, found.deletions) == ((), 0, 0)


def test_a_snapshot_that_another_machine_published_is_fetched(repo: Repo, tmp_path: Path) -> None:
    theirs, target = stores(repo, tmp_path)
    found = repository.discover(repo.path)
    snap = snapshot.take(found, theirs, snapshot.Options(), source="s", author="A")
    publish.publish(theirs, target, ledger.Release.of(snap))
    repo.write("kept", "2\n")
    ours, _ = stores(repo, tmp_path, "other-cache")
    change = changes.between(ours, target, snap.commit, take(repo, ours))
    assert change is not None
    assert change.files == (FileChange("kept", "modified"),)


def test_a_snapshot_that_nobody_has_gives_no_answer(repo: Repo, tmp_path: Path) -> None:
    store, target = stores(repo, tmp_path)
    assert changes.between(store, target, "0" * 39 + "1", take(repo, store)) is None


def test_ci_files_that_older_snapshots_hold_are_no_deletions(repo: Repo, tmp_path: Path) -> None:
    store, target = stores(repo, tmp_path)
    repo.write(".github/workflows/ci.yml", "1\n").commit()
    found = repository.discover(repo.path)
    options = snapshot.Options(ci_files=True)
    before = snapshot.take(found, store, options, source="s", author="A").commit
    repo.write("edited", "2\n")
    between = changes.between(store, target, before, take(repo, store))
    assert between is not None
    assert between.files == (FileChange("edited", "modified"),)
    assert (between.insertions, between.deletions) == (0, 2)
    shown = changes.patch(store, target, between.before, between.after, 10_000)
    assert shown is not None
    assert b"edited" in shown
    assert b"workflows" not in shown


def test_a_ci_file_that_is_shipped_is_compared(repo: Repo, tmp_path: Path) -> None:
    store, target = stores(repo, tmp_path)
    found = repository.discover(repo.path)
    taken = []
    for text in ("1\n", "2\n"):
        repo.write(".gitlab-ci.yml", text)
        options = snapshot.Options(ci_files=True)
        taken.append(snapshot.take(found, store, options, source="s", author="A").commit)
    between = changes.between(store, target, *taken)
    assert between is not None
    assert between.files == (FileChange(".gitlab-ci.yml", "modified"),)
