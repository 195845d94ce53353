"""Where things are: the manifest in the working tree, and files in a snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.deploy import locate, sources
from gitops_flow.errors import UsageError
from gitops_flow.git.objects import Objects
from tests.support.repo import Repo


@pytest.fixture
def files(tmp_path: Path) -> sources.SnapshotFiles:
    repo = Repo(tmp_path / "r").write("real/deep/flow.py", "code\n")
    repo.symlink("flows", "real").symlink("real/again", "deep").symlink("out", "../elsewhere")
    repo.symlink("loop", "loop")
    repo.commit()
    return sources.SnapshotFiles(Objects(repo.path / ".git"), repo.git("rev-parse", "HEAD^{tree}"))


@pytest.mark.parametrize(
    "path",
    ["real/deep/flow.py", "flows/deep/flow.py", "flows/again/flow.py", "./flows/deep/flow.py"],
)
def test_a_file_is_found_through_links_to_directories(
    files: sources.SnapshotFiles, path: str
) -> None:
    assert files.read(path) == b"code\n"


@pytest.mark.parametrize(
    "path", ["out/flow.py", "loop/flow.py", "loop", "real", "flows", "../x", "/x"]
)
def test_what_is_no_file_of_the_snapshot_is_not_found(
    files: sources.SnapshotFiles, path: str
) -> None:
    assert files.read(path) is None


def test_a_manifest_outside_the_working_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside the repository's working tree"):
        locate.inside(tmp_path / "tree", tmp_path / "prefect.yaml")


@pytest.mark.parametrize(
    ("directory", "path", "near"),
    [
        ("", "real/deep/flwo.py", "real/deep/flow.py"),
        ("real", "dep/flow.py", "deep/flow.py"),
        ("", "flow.py", "real/deep/flow.py"),
        ("", "other.py", None),
        ("none", "flow.py", None),
    ],
)
def test_a_misspelt_file_has_a_nearest_name(
    files: sources.SnapshotFiles, directory: str, path: str, near: str | None
) -> None:
    assert files.nearest(directory, path) == near
