"""What a forge starts its CI by stays out of snapshots, and is listed."""

from __future__ import annotations

import pytest

from gitops_flow.codestore import select
from tests.support.repo import Repo

CI_FILES = [
    ".github/workflows/ci.yml",
    ".github/workflows/release.yaml",
    ".gitea/workflows/ci.yml",
    ".forgejo/workflows/ci.yaml",
    ".gitlab-ci.yml",
    "bitbucket-pipelines.yml",
    "azure-pipelines.yml",
    ".circleci/config.yml",
    "Jenkinsfile",
    ".travis.yml",
    ".drone.yml",
    ".woodpecker.yml",
    ".woodpecker/test.yaml",
    ".buildkite/pipeline.yml",
    "appveyor.yml",
    ".cirrus.yml",
    ".semaphore/semaphore.yml",
    ".build.yml",
    ".builds/debian.yml",
    ".onedev-buildspec.yml",
    ".tekton/push.yaml",
]
REASON = select.CI_FILE


@pytest.fixture
def repo(repo: Repo) -> Repo:
    repo.write("flow.py", "print('one')\n").write("lib/helper.py", "x = 1\n").commit()
    return repo


@pytest.mark.parametrize("path", CI_FILES)
def test_a_committed_ci_file_is_left_out_and_listed(repo: Repo, take, path: str) -> None:
    repo.write(path, "on: push\n").commit()
    taken = take(repo.path)
    assert path.encode() not in taken.files()
    assert taken.left_out == {path: REASON}


@pytest.mark.parametrize(
    "path",
    [
        "app/.github/workflows/ci.yml",
        "docs/.gitlab-ci.yml",
        ".github/workflows/flow.py",
        ".github/actions/build/action.yml",
        ".github/CODEOWNERS",
        ".pre-commit-config.yaml",
        ".circleci/helper.py",
        "azure/pipelines.yml",
    ],
)
def test_what_no_forge_starts_by_itself_is_in(repo: Repo, take, path: str) -> None:
    repo.write(path, "x\n").commit()
    assert path.encode() in take(repo.path).files()


@pytest.mark.parametrize("clean", [False, True])
def test_uncommitted_ci_files_are_left_out_once_and_for_one_reason(
    repo: Repo,
    take,
    clean: bool,
) -> None:
    repo.write(".gitlab-ci.yml", "a\n").commit()
    repo.write(".gitlab-ci.yml", "b\n").write(".github/workflows/new.yml", "c\n")
    taken = take(repo.path, clean=clean)
    assert taken.left_out == {".gitlab-ci.yml": REASON, ".github/workflows/new.yml": REASON}
    assert sorted(taken.files()) == [b"flow.py", b"lib/helper.py"]


def test_an_edit_of_a_ci_file_changes_nothing(repo: Repo, take) -> None:
    repo.write(".github/workflows/ci.yml", "a\n").commit()
    before = take(repo.path)
    repo.write(".github/workflows/ci.yml", "b\n")
    after = take(repo.path)
    assert after.snap.commit == before.snap.commit
    assert not after.snap.provenance.dirty
    assert after.changes == {}


def test_a_ci_file_that_was_deleted_is_not_listed_twice(repo: Repo, take) -> None:
    repo.write("Jenkinsfile", "x\n").commit()
    repo.remove("Jenkinsfile")
    taken = take(repo.path)
    assert b"Jenkinsfile" not in taken.files()
    assert taken.changes == {}


def test_a_secret_in_a_ci_file_is_no_matter(repo: Repo, take) -> None:
    token = "ghp_" + "aK3jD9fLq2ZxV7bN1mQ8wE5rT6yU4iO0pAsD"
    repo.write(".github/workflows/ci.yml", token)
    assert take(repo.path).left_out == {".github/workflows/ci.yml": REASON}


def test_ci_files_are_in_when_they_are_wanted(repo: Repo, take) -> None:
    repo.write(".github/workflows/ci.yml", "a\n").commit()
    repo.write(".gitlab-ci.yml", "b\n")
    taken = take(repo.path, ci_files=True)
    assert {b".github/workflows/ci.yml", b".gitlab-ci.yml"} <= taken.files().keys()
    assert taken.left_out == {}
    assert taken.changes == {".gitlab-ci.yml": "added"}


def test_a_plain_folder_leaves_them_out_too(tmp_path, take) -> None:
    folder = tmp_path / "plain"
    (folder / ".github/workflows").mkdir(parents=True)
    (folder / ".github/workflows/ci.yml").write_text("x\n")
    (folder / "flow.py").write_text("x\n")
    taken = take(folder)
    assert list(taken.files()) == [b"flow.py"]
    assert taken.left_out == {".github/workflows/ci.yml": REASON}
