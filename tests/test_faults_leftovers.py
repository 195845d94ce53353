"""Deep trees, and what killed processes leave: bounded, deleted whatever it is, in nobody's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitops_flow import checkout, files
from gitops_flow.checkout import sweep
from gitops_flow.errors import CheckoutError, GitflowError, SnapshotError
from gitops_flow.git.objects import DIRECTORY, FILE, Entry, Objects
from tests.support.repo import Repo
from tests.support.snapshots import Taken

Take = Callable[..., Taken]


def deep_commit(repo: Repo, depth: int) -> str:
    """A commit of one file below ``depth`` directories."""
    objects = Objects(repo.path / ".git")
    name, entry = b"x", Entry(FILE, objects.write_blob(b"x"))
    for _ in range(depth):
        name, entry = b"a", Entry(DIRECTORY, objects.write_tree({name: entry}))
    tree = objects.write_tree({name: entry})
    return objects.write_commit(tree, (), "deep\n", "A <a@x> 0 +0000")


def deep_directory(path: Path, depth: int) -> None:
    """``depth`` directories in each other, with a read-only one and a file at the end."""
    fd = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=fd)
        inner = os.open("a", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.fchmod(fd, 0o555)
    os.close(fd)


def pull(repo: Repo, commit: str, here: Path, **more: Path) -> Path:
    return checkout.make(str(repo.path), commit, here, pauses=(), **more).directory


# A commit that is too deep.


@pytest.mark.parametrize("cached", [False, True], ids=["alone", "cached"])
def test_a_commit_that_is_too_deep_is_refused_with_a_short_path_and_leaves_nothing(
    repo: Repo, here: Path, tmp_path: Path, cached: bool
) -> None:
    commit = deep_commit(repo, 600)
    cache = {"cache": tmp_path / "cache"} if cached else {}
    with pytest.raises(CheckoutError, match="more than 256 directories deep") as caught:
        pull(repo, commit, here, **cache)
    assert len(str(caught.value)) < 400
    assert list(here.iterdir()) == []


def test_a_commit_as_deep_as_is_allowed_is_pulled(repo: Repo, here: Path) -> None:
    made = pull(repo, deep_commit(repo, files.MAX_DEPTH), here)
    assert (made / ("a/" * files.MAX_DEPTH) / "x").read_text() == "x"


def test_a_path_that_is_too_long_for_the_disk_is_told_as_that(repo: Repo, here: Path) -> None:
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"x")
    tree = repo.git("mktree", "-z", stdin=f"100644 blob {blob}\t{'x' * 5000}\0".encode())
    commit = repo.git("commit-tree", tree, "-m", "long")
    with pytest.raises(CheckoutError, match="File name too long") as caught:
        pull(repo, commit, here)
    assert "shorten" in str(caught.value.hint)
    assert len(str(caught.value)) < 500


def test_a_file_that_is_too_deep_is_refused_before_it_is_published(repo: Repo, take: Take) -> None:
    repo.write("flow.py").commit()
    repo.write("a/" * (files.MAX_DEPTH + 1) + "x", "x")
    for _ in range(2):  # untracked, then in the index
        with pytest.raises(SnapshotError, match="more than 256 directories deep") as caught:
            take(repo.path)
        assert len(caught.value.paths[0]) < 100
        repo.git("add", "-A")
    assert b"flow.py" in take(repo.path, clean=True).files()


def test_a_committed_file_that_is_too_deep_is_refused_until_it_is_deleted(
    repo: Repo, take: Take
) -> None:
    repo.write("flow.py").write("a/" * (files.MAX_DEPTH + 1) + "x", "x").commit()
    for clean in (False, True):
        with pytest.raises(SnapshotError, match="directories deep"):
            take(repo.path, clean=clean)
    repo.remove("a/" * (files.MAX_DEPTH + 1) + "x")
    assert list(take(repo.path).files()) == [b"flow.py"]


# Deleting.


def test_a_directory_of_any_depth_is_deleted(here: Path) -> None:
    deep_directory(here, 3000)
    files.remove(here)
    assert not here.exists()


def test_deleting_follows_no_link(here: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "x").touch()
    (here / "link").symlink_to(kept)
    files.remove(here)
    assert (kept / "x").exists()
    (tmp_path / "link").symlink_to(kept)
    files.remove(tmp_path / "link")
    assert (kept / "x").exists()
    assert not (tmp_path / "link").is_symlink()


# What is left by one process, and the next one.


def leftover(parent: Path, name: str) -> Path:
    """What a process that was killed leaves: a directory with a lock that nobody holds."""
    path = parent / name
    path.mkdir()
    (path / files.LOCK).touch()
    return path


def test_a_deep_leftover_fails_no_later_pull_and_goes(repo: Repo, here: Path) -> None:
    deep_directory(leftover(here, ".project-aaaaaaaaaaaa.partial-abcdefgh"), 3000)
    made = pull(repo, repo.write("x").commit(), here)
    assert list(here.iterdir()) == [made]


def test_leftovers_that_cannot_be_opened_or_are_no_directory_fail_no_pull(
    repo: Repo, here: Path
) -> None:
    commit = repo.write("x").commit()
    os.mkfifo(here / ".pipe.partial-abcdefgh")
    (here / ".file.partial-abcdefgh").touch()
    (here / ".link.partial-abcdefgh").symlink_to(repo.path)
    odd = here / ".odd.partial-abcdefgh"
    odd.mkdir()
    os.mkfifo(odd / files.LOCK)
    assert pull(repo, commit, here).is_dir()
    assert (repo.path / "x").exists()


def test_a_finished_run_that_cannot_be_deleted_fails_no_pull(here: Path) -> None:
    note = here / f".project-{'a' * 12}-{'b' * 8}.run"
    note.mkdir()
    assert sweep.finished_runs(here, 0.0) == 0


def killed_inside(code: str, ready: Callable[[], bool]) -> None:
    """Run Python ``code`` that waits at its end, and kill it as soon as it is ``ready``."""
    victim = subprocess.Popen([sys.executable, "-c", f"{code}\nimport time; time.sleep(60)"])
    try:
        deadline = time.monotonic() + 20
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert ready()
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()


def test_a_temporary_directory_whose_process_was_killed_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "from gitops_flow import files\n"
        "made = files.temporary('gitflow-code-'); path = made.__enter__(); (path / 'x').touch()"
    )
    killed_inside(code, lambda: bool(list(tmp_path.glob("gitflow-code-*/x"))))
    with files.temporary("gitflow-verify-") as other:
        assert list(tmp_path.iterdir()) == [other]


def test_what_is_built_aside_and_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "from gitops_flow import files; import pathlib\n"
        f"made = files.built_aside(pathlib.Path({str(tmp_path / 'a')!r})); path = made.__enter__()\n"
        "(path / 'x').touch()"
    )
    killed_inside(code, lambda: bool(list(tmp_path.glob(".a.partial-*/tree/x"))))
    with files.built_aside(tmp_path / "b") as made:
        (made / "y").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_live_one_stays_however_old_it_is(tmp_path: Path) -> None:
    with files.aside(tmp_path, "gitflow-code-") as (path, _):
        os.utime(path, (1, 1))
        os.utime(path / files.LOCK, (1, 1))
        with files.aside(tmp_path, "gitflow-code-"):
            assert path.is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["gitflow-notes", "gitflow-code-abcdefgh", ".x.partial-results"])
def test_a_directory_of_the_users_own_with_a_name_like_ours_stays(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "x").touch()
    with files.aside(tmp_path, "gitflow-code-"):
        pass
    assert (tmp_path / name / "x").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_a_leftover_of_another_user_stays(tmp_path: Path) -> None:
    theirs = leftover(tmp_path, "gitflow-code-abcdefgh")
    os.chown(theirs, 12345, 12345)
    with files.aside(tmp_path, "gitflow-code-"):
        pass
    assert theirs.is_dir()


def test_a_store_that_is_built_is_its_owners_alone(tmp_path: Path) -> None:
    with files.built_aside(tmp_path / "store"):
        pass
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0


def test_no_place_for_a_temporary_directory_is_an_understood_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(GitflowError, match="no temporary directory"), files.temporary("gitflow-x-"):
        pass
