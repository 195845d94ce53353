"""The step that clones a repository before a deploy."""

from __future__ import annotations

import http.server
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.buildsteps import clone
from gitops_flow.git import environment
from tests.support import gitservers
from tests.support.repo import Repo
from tests.test_buildsteps import Runner, sh

CLONE = "prefect.deployments.steps.git_clone"
SECRET = "s3cret-passw0rd"


@pytest.fixture
def steps(tmp_path: Path) -> Runner:
    (tmp_path / "here").mkdir()
    return Runner(tmp_path / "here")


@pytest.fixture
def origin(tmp_path: Path) -> Repo:
    repo = Repo(tmp_path / "library.git")
    repo.write("root.py", "1").write("a/x.py", "1").write("b/c/y.py", "1").commit("one")
    repo.git("checkout", "-q", "-b", "feature/new")
    repo.write("root.py", "feature").commit("feature")
    repo.git("checkout", "-q", "main")
    repo.write("root.py", "2").commit("two")
    return repo


def ask(origin: Repo | str, **more: Any) -> dict[str, Any]:
    return {
        CLONE: {"repository": origin.path.as_uri() if isinstance(origin, Repo) else origin, **more}
    }


def files(place: Path) -> set[str]:
    return {
        path.relative_to(place).as_posix()
        for path in place.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_the_last_commit_of_the_default_branch_is_cloned_below_here(
    steps: Runner, origin: Repo
) -> None:
    assert steps.one({CLONE: {**ask(origin)[CLONE], "id": "lib"}}) == {
        "lib": {"directory": "library"},
        "directory": "library",
    }
    made = Repo(steps.cwd / "library", init=False)
    assert (made.path / "root.py").read_text() == "2"
    assert made.git("rev-list", "--count", "HEAD") == "1"


def test_a_branch_is_in_the_name_of_the_directory(steps: Runner, origin: Repo) -> None:
    outputs = steps.one(ask(origin, branch="feature/new"), sh("cat library-feature-new/root.py"))
    assert outputs["directory"] == "library-feature-new"
    assert outputs["stdout"] == "feature"


def test_the_directory_may_be_named(steps: Runner, origin: Repo) -> None:
    assert steps.one(ask(origin, clone_directory_name="mine"))["directory"] == "mine"
    assert files(steps.cwd / "mine") == {"root.py", "a/x.py", "b/c/y.py"}


@pytest.mark.parametrize("digits", [40, 8])
def test_a_commit_may_be_asked_for_in_full_or_short(
    steps: Runner, origin: Repo, digits: int
) -> None:
    commit = origin.git("rev-parse", "HEAD~1")
    steps.one(ask(origin, commit_sha=commit[:digits]))
    made = Repo(steps.cwd / "library", init=False)
    assert made.head == commit
    assert (made.path / "root.py").read_text() == "1"


def test_a_commit_on_no_branch_is_fetched_by_its_id(steps: Runner, origin: Repo) -> None:
    lost = origin.write("root.py", "lost").commit("lost")
    origin.git("reset", "-q", "--hard", "HEAD~1")
    origin.git("config", "uploadpack.allowAnySHA1InWant", "true")
    steps.one(ask(origin, commit_sha=lost))
    assert (steps.cwd / "library/root.py").read_text() == "lost"


def test_another_commit_in_an_earlier_clone_is_checked_out(steps: Runner, origin: Repo) -> None:
    old, new = origin.git("rev-parse", "HEAD~1"), origin.head
    for commit, text in ((new, "2"), (old, "1"), (new, "2")):
        steps.one(ask(origin, commit_sha=commit))
        assert (steps.cwd / "library/root.py").read_text() == text


def test_an_earlier_clone_is_brought_up_to_date(steps: Runner, origin: Repo) -> None:
    steps.one(ask(origin))
    origin.write("root.py", "3").remove("a/x.py").commit("three")
    (steps.cwd / "library/untracked").write_text("")
    steps.one(ask(origin))
    assert (steps.cwd / "library/root.py").read_text() == "3"
    assert files(steps.cwd / "library") == {"root.py", "b/c/y.py", "untracked"}


def test_changes_made_in_an_earlier_clone_are_not_lost(steps: Runner, origin: Repo) -> None:
    steps.one(ask(origin))
    (steps.cwd / "library/root.py").write_text("mine")
    assert "has uncommitted changes" in steps.fails(ask(origin)).message
    assert (steps.cwd / "library/root.py").read_text() == "mine"


@pytest.mark.parametrize("more", [{}, {"commit_sha": True}])
def test_only_the_named_directories_and_the_files_at_the_root_are_checked_out(
    steps: Runner, origin: Repo, more: dict[str, Any]
) -> None:
    more = {"commit_sha": origin.head} if more else {}
    steps.one(ask(origin, directories=["b/c"], **more))
    assert files(steps.cwd / "library") == {"root.py", "b/c/y.py"}


def test_submodules_are_checked_out_when_asked_for(
    steps: Runner, origin: Repo, tmp_path: Path
) -> None:
    other = Repo(tmp_path / "other")
    other.write("inside.py").commit()
    origin.git(
        "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.path), "sub"
    )
    origin.commit("with a submodule")
    steps.one(ask(origin, clone_directory_name="without"))
    assert "sub/inside.py" not in files(steps.cwd / "without")
    steps.one(ask(origin, clone_directory_name="with", include_submodules=True))
    assert "sub/inside.py" in files(steps.cwd / "with")
    steps.one(
        ask(origin, clone_directory_name="pin", include_submodules=True, commit_sha=origin.head)
    )
    assert "sub/inside.py" in files(steps.cwd / "pin")


def test_a_repository_beside_the_working_directory_may_be_named_by_a_path(
    steps: Runner, origin: Repo
) -> None:
    assert steps.one(ask("../library.git"))["directory"] == "library"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"branch": "main", "commit_sha": "a" * 40}, "both a branch and a commit_sha"),
        ({"commit_sha": "v1.0"}, "'v1.0' is not 4 to 64 hexadecimal digits"),
        ({"commit_sha": "abcdef12"}, "no branch of"),
        ({"branch": "--upload-pack=x"}, "is not the name of a branch"),
        ({"branch": "none"}, "Remote branch none not found"),
        ({"access_token": "a", "credentials": "b"}, "both an access_token and credentials"),
        ({"clone_directory_name": "../out"}, "'../out' is not the name of a directory below"),
        ({"clone_directory_name": "."}, "'.' is not the name of a directory below"),
        ({"clone_directory_name": "taken"}, "'taken' is in the way"),
        ({"directories": 3}, "'directories' is not a list"),
        ({"repository": "nowhere"}, "is not a repository address"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left(
    steps: Runner, origin: Repo, more: dict[str, Any], message: str
) -> None:
    (steps.cwd / "taken").write_text("")
    error = steps.fails(ask(origin, **more))
    assert message in error.message
    assert files(steps.cwd) == {"taken"}
    assert list(steps.cwd.iterdir()) == [steps.cwd / "taken"]


def test_a_clone_of_another_repository_is_left_alone(
    steps: Runner, origin: Repo, tmp_path: Path
) -> None:
    steps.one(ask(origin, clone_directory_name="x"))
    other = Repo(tmp_path / "other")
    other.commit()
    assert (
        "a clone of another repository" in steps.fails(ask(other, clone_directory_name="x")).message
    )
    assert (steps.cwd / "x/root.py").exists()


@pytest.mark.parametrize("way", ["access_token", "credentials", "url"])
@pytest.mark.real
def test_a_private_repository_is_cloned_and_its_password_kept_nowhere(
    steps: Runner, origin: Repo, tmp_path: Path, way: str
) -> None:
    origin.clone(tmp_path / "srv/library.git", "--bare")
    with gitservers.smart_http(
        tmp_path / "srv", tmp_path / "http", login=("bot", SECRET)
    ) as server:
        url = server.url("library.git")
        credentials = {"username": "bot", "password": SECRET}
        step = {
            "access_token": ask(url.replace("://", "://bot@"), access_token=SECRET),
            "credentials": ask(url, credentials=credentials),
            "url": ask(url.replace("://", f"://bot:{SECRET}@")),
        }[way]
        assert steps.one(step)["directory"] == "library"
        assert steps.one(step)["directory"] == "library"
        error = steps.fails(ask(url, access_token="wrong-token", clone_directory_name="no"))
    assert "wrong-token" not in str(error)
    assert not (steps.cwd / "no").exists()
    kept = b"".join(
        path.read_bytes() for path in (steps.cwd / "library/.git").rglob("*") if path.is_file()
    )
    assert SECRET.encode() not in kept


def test_a_server_that_is_overloaded_is_asked_three_times(
    steps: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clone, "_PAUSES", (0.01, 0.01))
    asked: list[str] = []

    class Overloaded(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Overloaded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        error = steps.fails(ask(f"http://127.0.0.1:{server.server_port}/x.git"))
        server.shutdown()
    assert len(asked) == 3
    assert "the connection to the server broke" in error.message
    assert error.retry
    assert list(steps.cwd.iterdir()) == []


def test_git_gets_the_environment_of_the_steps_and_no_other(steps: Runner, origin: Repo) -> None:
    bin_ = steps.cwd / "bin"
    bin_.mkdir()
    wrapped = f'#!/bin/sh\nenv >>{steps.cwd}/seen\nexec {shutil.which("git")} "$@"\n'
    (bin_ / "git").write_text(wrapped)
    (bin_ / "git").chmod(0o755)
    path = f"{bin_}:{os.environ['PATH']}"
    with environment.using(environment.GitEnvironment({**os.environ, "OUR_TOKEN": SECRET})):
        steps.one(ask(origin), environ={"PATH": path, "HOME": str(steps.cwd), "THEIRS": "1"})
    seen = (steps.cwd / "seen").read_text()
    assert "THEIRS=1" in seen
    assert "OUR_TOKEN" not in seen
