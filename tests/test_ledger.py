"""The ledger's commits: what they say, and what is recognised as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.codestore import ledger
from gitops_flow.git.objects import EMPTY_TREE, FILE, Entry, Objects
from gitops_flow.model import FileChange, Provenance, Snapshot
from tests.support.repo import Repo


@pytest.fixture
def bare(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "bare.git", bare=True)


@pytest.fixture
def objects(bare: Repo) -> Objects:
    return Objects(bare.path)


def _snapshot(objects: Objects, content: bytes, **origin: object) -> Snapshot:
    tree = objects.write_tree({b"f": Entry(FILE, objects.write_blob(content))})
    commit = objects.write_commit(tree, (), "snapshot\n", "s <s@s> 0 +0000")
    facts = {"source": "shop", "commit": "c" * 40, "dirty": True, "author": "A <a@b>", **origin}
    return Snapshot(commit, tree, Provenance(**facts), (FileChange("f", "modified"),))


def _release(snapshot: Snapshot, **changed: object) -> ledger.Release:
    facts = {"deployments": ("flow/a", "flow/b"), "when": 1_700_000_000}
    return ledger.Release(snapshot=snapshot, **{**facts, **changed})


def test_the_root_is_the_same_commit_everywhere(objects: Objects, tmp_path: Path) -> None:
    other = Objects(Repo(tmp_path / "other.git", bare=True).path)
    root = ledger.write_root(objects)
    assert root == ledger.write_root(other)
    assert objects.commit(root).parents == ()
    assert objects.commit(root).tree == EMPTY_TREE


def test_an_entry_has_the_previous_entry_and_the_snapshot_as_parents(objects: Objects) -> None:
    root = ledger.write_root(objects)
    snap = _snapshot(objects, b"1")
    entry = ledger.write_entry(objects, root, _release(snap))
    assert objects.commit(entry).parents == (root, snap.commit)
    assert objects.commit(entry).tree == snap.tree
    assert ledger.snapshot_of(objects, entry) == snap.commit


def test_an_entry_says_who_when_from_what_and_for_which_deployments(
    objects: Objects, bare: Repo
) -> None:
    snap = _snapshot(objects, b"1", ref="main")
    entry = ledger.write_entry(objects, ledger.write_root(objects), _release(snap))
    shown = bare.git("show", "-s", "--format=%an|%ae|%at%n%B", entry)
    assert shown.splitlines() == [
        "A|a@b|1700000000",
        f"shop: snapshot {snap.commit[:12]} (1 uncommitted file) [skip ci]",
        "",
        "M f",
        "",
        f"Gitflow-Snapshot: {snap.commit}",
        "Gitflow-Source: shop",
        f"Gitflow-Source-Commit: {'c' * 40}",
        "Gitflow-Source-Ref: main",
        "Gitflow-Dirty: true",
        "Gitflow-Author: A <a@b>",
        "Gitflow-Deployment: flow/a",
        "Gitflow-Deployment: flow/b",
    ]


def test_git_reads_the_trailers(objects: Objects, bare: Repo) -> None:
    snap = _snapshot(objects, b"1")
    entry = ledger.write_entry(objects, ledger.write_root(objects), _release(snap))
    message = bare.git("show", "-s", "--format=%(trailers:key=Gitflow-Snapshot,valueonly)", entry)
    assert message.strip() == snap.commit


@pytest.mark.parametrize(
    "author", ["", "a\nGitflow-Dirty: false", "<<>>", "x <y> <z>", "tab\t <m\x00@x>", "ü <é@x>"]
)
def test_any_author_makes_a_commit_that_fsck_accepts(
    objects: Objects, bare: Repo, author: str
) -> None:
    snap = _snapshot(objects, b"1", author=author)
    entry = ledger.write_entry(objects, ledger.write_root(objects), _release(snap))
    bare.git("update-ref", "refs/heads/x", entry)
    bare.git("fsck", "--strict", "--no-dangling")
    trailers = bare.git("show", "-s", "--format=%(trailers:key=Gitflow-Dirty,valueonly)", entry)
    assert trailers.strip() == "true"


def test_a_message_holds_no_secret(objects: Objects) -> None:
    snap = _snapshot(objects, b"1", source="https://user:hunter2@host/x")
    assert "hunter2" not in ledger.message(_release(snap))


def test_many_changed_files_are_counted_not_listed(objects: Objects) -> None:
    snap = _snapshot(objects, b"1")
    many = tuple(FileChange(f"f{number}", "added") for number in range(1000))
    big = Snapshot(snap.commit, snap.tree, snap.provenance, many)
    text = ledger.message(_release(big))
    assert "and 800 more" in text
    assert len(text) < 10_000


def test_a_ledger_is_recognised_by_its_root_or_its_entry(objects: Objects) -> None:
    root = ledger.write_root(objects)
    entry = ledger.write_entry(objects, root, _release(_snapshot(objects, b"1")))
    assert ledger.is_ledger(objects, root)
    assert ledger.is_ledger(objects, entry)


def test_other_commits_are_no_ledger(objects: Objects) -> None:
    snap = _snapshot(objects, b"1")
    ident = "s <s@s> 0 +0000"
    message = f"x\n\nGitflow-Snapshot: {snap.commit}\n"
    root = ledger.write_root(objects)
    assert not ledger.is_ledger(objects, snap.commit)
    assert not ledger.is_ledger(objects, objects.write_commit(snap.tree, (root,), message, ident))
    wrong = objects.write_commit(snap.tree, (snap.commit, root), message, ident)
    assert not ledger.is_ledger(objects, wrong)


def test_a_released_snapshot_is_found_however_far_back(objects: Objects) -> None:
    tip = ledger.write_root(objects)
    snaps = [_snapshot(objects, b"%d" % number) for number in range(20)]
    for snap in snaps:
        tip = ledger.write_entry(objects, tip, _release(snap))
    assert ledger.holds(objects, tip, snaps[0].commit)
    assert not ledger.holds(objects, tip, _snapshot(objects, b"never").commit)


def test_an_entry_of_an_older_version_starts_no_ci_once_it_is_written_anew() -> None:
    old = "shop: snapshot 0123 (clean)\n\nGitflow-Snapshot: x\n"
    new = "shop: snapshot 0123 (clean) [skip ci]\n\nGitflow-Snapshot: x\n"
    assert ledger.quiet(old) == new
    assert ledger.quiet(new) == new
