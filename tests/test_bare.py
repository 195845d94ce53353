"""Bare repositories made by hand are what git takes for one, and hold ids of 40 digits."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.git import formats
from tests.support.repo import Repo


def test_git_takes_it_for_a_repository_of_short_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    formats.make_bare(tmp_path / "made.git", "[receive]\n\tfsckObjects = true\n")
    made = Repo(tmp_path / "made.git", init=False)
    asked = ("--is-bare-repository", "--show-object-format")
    assert made.git("rev-parse", *asked).split() == ["true", "sha1"]
    assert made.git("config", "receive.fsckObjects") == "true"
    assert made.git("fsck", "--strict") == ""
    assert formats.is_whole(made.path)


@pytest.mark.parametrize("name", ["plain", "new\nline", 'quo"te', "co:lon", "back\\slash"])
def test_it_reads_the_objects_of_others_wherever_they_are(tmp_path: Path, name: str) -> None:
    other = Repo(tmp_path / name).write("x", "borrowed\n")
    commit = other.commit()
    formats.make_bare(tmp_path / "made.git")
    made = Repo(tmp_path / "made.git", init=False)
    formats.borrow(made.path, [other.path / ".git/objects"])
    assert made.show("x", commit) == "borrowed"
    formats.borrow(made.path, [])
    assert made.git("cat-file", "-t", commit, check=False) == ""
