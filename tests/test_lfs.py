"""Git LFS, by the real git-lfs: pointers by default, the content when it is asked for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gitops_flow import checkout, manifest
from gitops_flow.deploy import plan
from gitops_flow.deploy.code import Code
from gitops_flow.errors import SnapshotError
from gitops_flow.git.formats import pointer
from tests.support import gitservers
from tests.support.repo import Repo, fingerprint
from tests.support.snapshots import Taken, look

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMITTED = b"committed \x00\xff" * 3000
EDITED = b"edited \x00\xfe" * 5000
FLAG = "the content of a Git LFS file: its pointer is shipped (‹lfs› ships the content)"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A committed large file, and one beside it that nothing keeps outside."""
    gitservers.program("git-lfs", "git-lfs")
    made = Repo(tmp_path / "repo")
    made.git("lfs", "install", "--local", "--skip-smudge")
    made.git("lfs", "track", "*.bin")
    made.write("data/model.bin", COMMITTED).write("flow.py", "print(1)\n").commit()
    return made


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Taken]:
    return lambda repo, **options: look(repo.path, tmp_path / "cache", **options)


def test_by_default_the_pointer_is_shipped_and_the_report_says_so(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    repo.write("data/model.bin", EDITED)
    taken = take(repo)
    found = pointer(taken.content(b"data/model.bin"))
    assert found
    assert found.size == len(EDITED)
    assert taken.left_out == {"data/model.bin": FLAG}


@pytest.mark.parametrize("clean", [False, True])
def test_committed_pointers_are_listed_as_well(
    repo: Repo, take: Callable[..., Taken], clean: bool
) -> None:
    assert take(repo, clean=clean).left_out == {"data/model.bin": FLAG}
    assert take(repo, clean=clean, lfs=True).left_out == {}


def test_a_deploy_of_pointers_is_warned_of_with_their_names(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    for number in range(4):
        repo.write(f"{number}.bin", COMMITTED)
    taken = take(repo.write("data/model.bin", EDITED))
    made = Code(taken.snap, taken.store, {}, {})
    (warning,) = plan.pointers(made)
    assert "5 Git LFS files are deployed without the content" in warning.message
    assert "0.bin, 1.bin, 2.bin and others" in warning.message
    assert plan.pointers(replace(made, snapshot=take(repo, lfs=True).snap)) == []


@pytest.mark.parametrize("process", [True, False], ids=["one process", "one for each file"])
def test_a_machine_without_git_lfs_is_told_what_to_install(
    repo: Repo,
    take: Callable[..., Taken],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    process: bool,
) -> None:
    if not process:
        repo.git("config", "filter.lfs.process", "")
    repo.write("data/model.bin", EDITED)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(SnapshotError, match="the program 'git-lfs' is not installed") as error:
        take(repo)
    assert "install what it needs" in str(error.value.hint)
    assert repo.head  # git itself works there
    assert take(repo, clean=True).files()


def test_a_filter_that_fails_is_named_with_the_file(repo: Repo, take: Callable[..., Taken]) -> None:
    repo.git("config", "filter.locked.clean", "exit 3")
    repo.git("config", "filter.locked.required", "true")
    repo.write(".gitattributes", "*.form filter=locked\n").write("a.form", "x")
    with pytest.raises(SnapshotError, match="says: locked failed") as error:
        take(repo)
    assert error.value.paths == ("a.form",)


@pytest.mark.parametrize("lfs", [False, True], ids=["pointers", "content"])
def test_the_repository_and_its_large_files_storage_are_left_alone(
    repo: Repo, take: Callable[..., Taken], lfs: bool
) -> None:
    repo.write("data/model.bin", EDITED).write("data/new.bin", EDITED)
    before = fingerprint(repo.path)
    take(repo, lfs=lfs)
    assert fingerprint(repo.path) == before


@pytest.mark.parametrize("content", [COMMITTED, EDITED], ids=["committed", "edited"])
def test_what_is_on_disk_is_shipped_when_it_is_asked_for(
    repo: Repo, take: Callable[..., Taken], content: bytes
) -> None:
    repo.write("data/model.bin", content)
    taken = take(repo, lfs=True)
    assert taken.content(b"data/model.bin") == content
    assert taken.left_out == {}


def test_an_untracked_large_file_is_shipped_too(repo: Repo, take: Callable[..., Taken]) -> None:
    taken = take(repo.write("data/new.bin", EDITED), lfs=True)
    assert taken.content(b"data/new.bin") == EDITED
    assert taken.changes == {"data/new.bin": "added"}


def test_a_deleted_large_file_stays_deleted(repo: Repo, take: Callable[..., Taken]) -> None:
    taken = take(repo.remove("data/model.bin"), lfs=True)
    assert b"data/model.bin" not in taken.files()


def test_head_is_shipped_with_the_content_that_it_points_to(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    taken = take(repo.write("data/model.bin", EDITED), lfs=True, clean=True)
    assert taken.content(b"data/model.bin") == COMMITTED


def test_the_content_is_found_where_git_lfs_keeps_it(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    repo.write("data/model.bin", repo.show("data/model.bin") + "\n")
    assert take(repo, lfs=True).content(b"data/model.bin") == COMMITTED


def test_content_that_is_nowhere_is_an_error_that_says_how_to_get_it(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    repo.write("data/model.bin", repo.show("data/model.bin") + "\n")
    shutil.rmtree(repo.path / ".git/lfs/objects")
    with pytest.raises(SnapshotError, match="not on this machine") as caught:
        take(repo, lfs=True)
    assert caught.value.paths == ("data/model.bin",)
    assert caught.value.hint == "fetch it with: git lfs pull"


def test_content_that_is_not_what_the_pointer_names_does_not_count(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    repo.write("data/model.bin", repo.show("data/model.bin") + "\n")
    (kept,) = (p for p in (repo.path / ".git/lfs/objects").rglob("*") if p.is_file())
    kept.chmod(0o644)
    kept.write_bytes(COMMITTED.swapcase())
    with pytest.raises(SnapshotError, match="not on this machine"):
        take(repo, lfs=True)


def test_the_limits_hold_for_committed_large_files_as_well(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    with pytest.raises(SnapshotError) as caught:
        take(repo, lfs=True, file_limit=1000)
    assert "data/model.bin" in caught.value.paths[0]


def test_a_secret_in_an_uncommitted_large_file_is_refused(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    repo.write("data/new.bin", "ghp_" + "a1B2c3D4e5" * 4)
    with pytest.raises(SnapshotError, match="secret"):
        take(repo, lfs=True)


def test_a_text_that_looks_like_a_pointer_and_is_none_stays_as_it_is(
    repo: Repo, take: Callable[..., Taken]
) -> None:
    text = repo.show("data/model.bin") + "\n"
    taken = take(repo.write("pointer.txt", text), lfs=True)
    assert taken.content(b"pointer.txt") == text.encode()


def test_the_same_tree_gives_the_same_snapshot_wherever_the_content_was_found(
    repo: Repo, take: Callable[..., Taken], tmp_path: Path
) -> None:
    first = take(repo, lfs=True).snap.commit
    assert look(repo.path, tmp_path / "other", lfs=True, clean=True).snap.commit == first
    repo.write("data/model.bin", repo.show("data/model.bin") + "\n")
    assert look(repo.path, tmp_path / "third", lfs=True).snap.commit == first


def test_the_large_files_of_a_submodule_are_included_with_it(
    repo: Repo, take: Callable[..., Taken], tmp_path: Path
) -> None:
    outer = Repo(tmp_path / "outer").write("flow.py", "print(2)\n")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repo.path), "lib")
    inner = Repo(outer.path / "lib", init=False)
    inner.write("data/model.bin", COMMITTED)
    outer.commit()
    taken = take(outer, lfs=True, submodules=True)
    assert taken.content(b"lib/data/model.bin") == COMMITTED


@pytest.mark.parametrize("lfs", [False, True], ids=["pointers", "content"])
def test_a_worker_gets_the_content_or_is_warned_of_the_pointer(
    repo: Repo, take: Callable[..., Taken], tmp_path: Path, lfs: bool
) -> None:
    taken = take(repo.write("data/model.bin", EDITED), lfs=lfs)
    store = taken.store.lend(tmp_path / "store.git")
    made = checkout.make(str(store), taken.snap.commit, tmp_path, pauses=())
    written = (made.directory / "data/model.bin").read_bytes()
    assert (written == EDITED) == lfs
    assert any("pointer" in warning for warning in made.warnings) != lfs


@pytest.mark.parametrize(
    ("said", "included"), [("", False), ("{lfs: pointers}", False), ("{lfs: include}", True)]
)
def test_the_manifest_says_whether_large_files_are_included(
    tmp_path: Path, said: str, included: bool
) -> None:
    path = tmp_path / "prefect.yaml"
    path.write_text(f"gitflow: {said}\ndeployments: []\n")
    assert manifest.load(path, "prefect.yaml").gitflow.lfs == included
