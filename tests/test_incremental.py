"""Snapshots after a change are those that a look at everything gives, and seldom need one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitops_flow.codestore import guard, snapshot
from gitops_flow.codestore.incremental import Incremental
from gitops_flow.codestore.store import open_store
from gitops_flow.errors import GitflowError
from gitops_flow.git import repository
from tests.support.repo import Repo, fingerprint
from tests.support.snapshots import Taken, look

TOKEN = "ghp_" + "aK3jD9fLq2ZxV7bN1mQ8wE5rT6yU4iO0pAsD"


class Watched:
    """A working tree with incremental snapshots, compared with full ones in another cache."""

    def __init__(self, path: Path, base: Path, **options: object) -> None:
        self.path, self._cache, self._options = path, base / "full", options
        self.found = repository.discover(path, own=(self._cache,))
        limits = ("secrets", "file_limit", "total_limit")
        allow = guard.Allowance(**{k: options[k] for k in limits if k in options})  # type: ignore[arg-type]
        others = {k: v for k, v in options.items() if k not in limits}
        self.store = open_store(base / "incremental", self.found, "store")
        chosen = snapshot.Options(allow=allow, **others)  # type: ignore[arg-type]
        self.taker = Incremental(self.found, self.store, chosen, source="s", author="A <a@b>")

    def full(self) -> Taken:
        return look(self.path, self._cache, **self._options)

    def check(self, *changed: str | bytes | Path) -> str | None:
        """Take one after ``changed``; equal to a full one, and why it was a full one itself."""
        try:
            snap = self.taker.take(changed)
        except GitflowError as error:
            refused = error
        else:
            assert snap == self.full().snap
            assert Taken(snap, self.store).files() is not None  # every object is there
            return self.taker.full_because
        with pytest.raises(type(refused)) as told:
            self.full()
        assert str(told.value) == str(refused)
        return f"refused: {refused.message}"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    made.write("flow.py", "print('one')\n").write("lib/helper.py", "x = 1\n")
    made.write("lib/deep/er.py", "x = 2\n").write(".gitignore", "*.log\nbuild/\n")
    made.write("run.sh", "#!/bin/sh\n", executable=True).commit()
    return made


@pytest.fixture
def watched(repo: Repo, tmp_path: Path) -> Watched:
    made = Watched(repo.path, tmp_path)
    assert made.check() == "there is no snapshot before it"
    assert made.check() is None
    return made


def test_edits_additions_modes_and_deletions_need_no_look_at_the_rest(
    repo: Repo, watched: Watched
) -> None:
    repo.write("flow.py", "print('two')\n")
    assert watched.check("flow.py") is None
    repo.write("lib/new/one.py", "1\n").write("top.py", "2\n", executable=True)
    assert watched.check("lib/new/one.py", repo.path / "top.py") is None
    (repo.path / "lib/helper.py").chmod(0o755)
    assert watched.check(b"lib/helper.py") is None
    repo.remove("lib/deep/er.py")
    (repo.path / "lib/deep").rmdir()
    assert watched.check("lib/deep/er.py") is None
    (repo.path / "top.py").rename(repo.path / "lib/moved.py")
    assert watched.check("top.py", "lib/moved.py", "never/there.py") is None
    repo.write("flow.py", "print('one')\n").write("lib/deep/er.py", "x = 2\n")
    assert watched.check("flow.py", "lib/deep/er.py") is None


def test_the_repository_is_not_written_to(repo: Repo, watched: Watched) -> None:
    before = fingerprint(repo.path)
    (repo.path / "lib/helper.py").chmod(0o755)
    repo.write("flow.py", "print('two')\n").write("new.py", "x = 1\n")
    assert watched.taker.take(["flow.py", "lib/helper.py", "new.py"]).changes
    assert fingerprint(repo.path) == before


def test_what_is_left_out_may_change_without_a_look_at_the_rest(repo: Repo, tmp_path: Path) -> None:
    repo.write("build/x/y.o", "1\n").write("a.log", "1\n").write("Jenkinsfile", "1\n")
    watched = Watched(repo.path, tmp_path)
    watched.check()
    repo.write("build/x/y.o", "2\n").write("build/z.o", "1\n").write("a.log", "2\n")
    repo.write("Jenkinsfile", "2\n")
    paths = ("build/x/y.o", "build/z.o", "a.log", "Jenkinsfile", ".git/index.lock")
    assert watched.check(*paths) is None
    repo.remove("build/x/y.o")
    assert watched.check("build/x/y.o") is None
    repo.remove("build/z.o")
    assert watched.check("build/z.o")


def test_a_plain_folder_needs_no_look_at_the_rest_either(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.py").write_text("1\n")
    watched = Watched(folder, tmp_path)
    watched.check()
    (folder / "a.py").write_text("2\n")
    (folder / "b.py").write_text("2\n")
    assert watched.check("a.py", "b.py") is None
    Repo(folder)
    assert watched.taker.take(["a.py"])
    assert "HEAD" in str(watched.taker.full_because)


def staged(repo: Repo) -> list[str]:
    repo.write("flow.py", "staged\n").git("add", "-A")
    return ["flow.py"]


def committed(repo: Repo) -> list[str]:
    repo.write("flow.py", "committed\n").commit()
    return ["flow.py"]


def other_branch(repo: Repo) -> list[str]:
    repo.git("symbolic-ref", "HEAD", "refs/heads/other")
    repo.git("update-ref", "refs/heads/other", "refs/heads/main")
    return []


def ignore_file(name: str) -> Callable[[Repo], list[str]]:
    def change(repo: Repo) -> list[str]:
        repo.write("lib/new.txt", "x\n").write(f"lib/{name}", "*.txt\n")
        return [f"lib/{name}", "lib/new.txt"]

    return change


def excluded(repo: Repo) -> list[str]:
    (repo.path / ".git/info").mkdir(exist_ok=True)
    (repo.path / ".git/info/exclude").write_text("private\n")
    repo.write("private", "x\n")
    return ["private"]


def attributes(repo: Repo) -> list[str]:
    repo.write(".gitattributes", "*.py text eol=lf\n").write("flow.py", "x\r\n")
    return ["flow.py", ".gitattributes"]


def unreported_attributes(repo: Repo) -> list[str]:
    repo.write("lib/.gitattributes", "*.py text eol=lf\n").write("lib/deep/er.py", "x\r\n")
    return ["lib/deep/er.py"]


def info_attributes(repo: Repo) -> list[str]:
    (repo.path / ".git/info").mkdir(exist_ok=True)
    (repo.path / ".git/info/attributes").write_text("*.py text\n")
    repo.write("flow.py", "x\r\n")
    return ["flow.py"]


def autocrlf(repo: Repo) -> list[str]:
    repo.git("config", "core.autocrlf", "input")
    repo.write("flow.py", "x\r\n")
    return ["flow.py"]


def global_settings(repo: Repo) -> list[str]:
    repo.git("config", "--global", "core.autocrlf", "input")
    repo.write("flow.py", "x\r\n")
    return ["flow.py"]


def no_modes(repo: Repo) -> list[str]:
    repo.git("config", "core.fileMode", "false")
    (repo.path / "flow.py").chmod(0o755)
    return ["flow.py"]


def symlink(repo: Repo) -> list[str]:
    repo.symlink("out", "/etc/passwd")
    return ["out"]


def linked_directory(repo: Repo) -> list[str]:
    shutil.move(repo.path / "lib", repo.path.parent / "lib")
    (repo.path / "lib").symlink_to(repo.path.parent / "lib")
    return ["lib/helper.py"]


def nested(repo: Repo) -> list[str]:
    Repo(repo.path / "inner").write("x.py", "x\n").commit()
    return ["inner/x.py"]


def around_a_file(repo: Repo) -> list[str]:
    repo.write("new/a.py", "x\n")
    return ["new"]


def directory_gone(repo: Repo) -> list[str]:
    shutil.rmtree(repo.path / "lib")
    return ["lib"]


def file_to_directory(repo: Repo) -> list[str]:
    repo.remove("flow.py").write("flow.py/x", "x\n")
    return ["flow.py/x"]


def ignored(repo: Repo) -> list[str]:
    repo.write("new.log", "x\n")
    return ["new.log"]


def bytecode(repo: Repo) -> list[str]:
    repo.write("lib/__pycache__/x.pyc", "x\n")
    return ["lib/__pycache__/x.pyc"]


def ci_file(repo: Repo) -> list[str]:
    repo.write(".travis.yml", "x\n")
    return [".travis.yml"]


def environment(repo: Repo) -> list[str]:
    repo.write("env/pyvenv.cfg", "x\n").write("env/x.py", "x\n")
    return ["env/x.py", "env/pyvenv.cfg"]


def pipe(repo: Repo) -> list[str]:
    repo.remove("flow.py")
    os.mkfifo(repo.path / "flow.py")
    return ["flow.py"]


def refused_name(repo: Repo) -> list[str]:
    repo.write("lib/git~1", "x\n")
    return ["lib/git~1"]


def hidden(repo: Repo) -> list[str]:
    repo.git("update-index", "--assume-unchanged", "flow.py")
    repo.remove("flow.py")
    return ["flow.py"]


def pointer(repo: Repo) -> list[str]:
    oid = "0" * 64
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 5\n"
    repo.write("flow.py", text)
    return ["flow.py"]


def submodules(repo: Repo) -> list[str]:
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},vendor/in")
    repo.write("flow.py", "x\n")
    return ["flow.py"]


@pytest.mark.parametrize(
    "change",
    [staged, committed, other_branch, excluded, attributes, unreported_attributes]
    + [ignore_file(name) for name in (".gitignore", ".prefectignore", ".gitflowignore")]
    + [info_attributes, autocrlf, global_settings, no_modes, symlink, linked_directory, nested]
    + [around_a_file, directory_gone, file_to_directory, ignored, bytecode, ci_file, environment]
    + [pipe, refused_name, hidden, pointer, submodules],
    ids=lambda change: change.__name__,
)
def test_where_it_is_not_sure_everything_is_looked_at(
    repo: Repo, watched: Watched, change: Callable[[Repo], list[str]]
) -> None:
    assert watched.check(*change(repo))
    # What follows counts on it as well.
    repo.write("lib/other.py", "x\n")
    watched.check("lib/other.py")


def test_new_files_below_our_ignore_files_are_looked_at_fully(repo: Repo, tmp_path: Path) -> None:
    repo.write(".gitflowignore", "*.txt\n")
    watched = Watched(repo.path, tmp_path)
    watched.check()
    repo.write("flow.py", "edited\n")
    assert watched.check("flow.py") is None
    repo.write("notes.txt", "x\n")
    assert watched.check("notes.txt")


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("flow.py", f"key = '{TOKEN}'\n", {}),
        ("new.py", f"key = '{TOKEN}'\n", {}),
        ("lib/id_rsa", "x\n", {}),
        ("flow.py", "x" * 3000, {"file_limit": 2000}),
        ("flow.py", "x" * 1500, {"total_limit": 2000}),
    ],
    ids=["secret", "new secret", "name", "size", "sum of sizes"],
)
def test_what_a_full_snapshot_refuses_is_refused_until_it_is_gone(
    repo: Repo, tmp_path: Path, name: str, content: str, options: dict[str, object]
) -> None:
    repo.write("before.py", "x" * 1000)
    watched = Watched(repo.path, tmp_path, **options)
    watched.check()
    old = repo.path.joinpath(name).read_bytes() if repo.path.joinpath(name).exists() else None
    repo.write(name, content)
    assert str(watched.check(name)).startswith("refused")
    assert str(watched.check()).startswith("refused")
    repo.remove(name) if old is None else repo.write(name, old)
    assert watched.check(name)
    assert watched.check() is None


def test_a_committed_secret_that_is_put_back_is_no_matter(repo: Repo, tmp_path: Path) -> None:
    repo.write("known.py", TOKEN).commit()
    watched = Watched(repo.path, tmp_path)
    watched.check()
    repo.write("known.py", "x\n")
    assert watched.check("known.py") is None
    repo.write("known.py", TOKEN)
    assert watched.check("known.py") is None


def test_a_path_outside_of_the_working_tree_is_looked_at_fully(
    watched: Watched, tmp_path: Path
) -> None:
    assert watched.check(tmp_path / "elsewhere.py")
    assert watched.check("../elsewhere.py")


def test_a_cache_that_lost_its_objects_is_filled_again(watched: Watched, repo: Repo) -> None:
    repo.write("flow.py", "edited\n").write("lib/helper.py", "edited too\n")
    watched.check("flow.py", "lib/helper.py")
    for path in (watched.store.path / "objects").glob("??"):
        shutil.rmtree(path)
    repo.write("flow.py", "edited again\n")
    assert watched.check("flow.py") == "the cache was emptied"


NAMES = ("flow.py", "lib/helper.py", "lib/deep/er.py", "run.sh", "new.py", "lib/n.log", "a/b/c.py")
PLACES = ("", "lib/", "a/b/")
CHANGES = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from(["1\n", "2\r\n", ""])),
    st.tuples(st.just("delete"), st.sampled_from(NAMES)),
    st.tuples(st.just("move"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("mode"), st.sampled_from(NAMES)),
    st.tuples(st.just("link"), st.sampled_from(NAMES), st.sampled_from(["flow.py", "../../x"])),
    st.tuples(
        st.just("rules"),
        st.sampled_from(PLACES),
        st.sampled_from([".gitignore", ".gitflowignore", ".prefectignore", ".gitattributes"]),
        st.sampled_from(["*.py\n", "b/\n", "*.log\n!n.log\n", "* text=auto\n", None]),
    ),
    st.tuples(st.just("add"), st.sampled_from(NAMES)),
    st.tuples(st.just("forget"), st.sampled_from(NAMES)),
    st.tuples(st.just("commit")),
)


def apply(repo: Repo, change: tuple[str, ...]) -> list[str]:
    """Do ``change``; the paths that a watcher would tell of."""
    kind, *args = change
    path = repo.path / args[0] if args else repo.path
    there = os.path.lexists(path)
    if kind == "write":
        if path.is_symlink():
            path.unlink()
        repo.write(*args)
    elif kind == "delete" and there:
        path.unlink()
    elif kind == "move" and there:
        target = repo.path / args[1]
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        return args
    elif kind == "mode" and path.is_file():
        path.chmod(path.stat().st_mode ^ 0o111)
    elif kind == "link" and not there:
        repo.symlink(*args)
    elif kind == "rules":
        name = args[0] + args[1]
        if args[2] is not None:
            repo.write(name, args[2])
        else:
            (repo.path / name).unlink(missing_ok=True)
        return [name]
    elif kind == "add":
        repo.git("add", "-f", args[0], check=False)
    elif kind == "forget":
        repo.git("rm", "-q", "--cached", args[0], check=False)
    elif kind == "commit":
        repo.commit(add=False)
    return args[:1]


@settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.lists(CHANGES, min_size=1, max_size=3), min_size=1, max_size=6))
def test_after_any_changes_it_is_what_a_full_snapshot_is(
    repo: Repo, tmp_path: Path, steps: list[list[tuple[str, ...]]]
) -> None:
    here = tmp_path / "example"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(repo.path, here / "repo", symlinks=True)
    copy = Repo(here / "repo", init=False)
    watched = Watched(copy.path, here)
    watched.check()
    for step in steps:
        watched.check(*(path for change in step for path in apply(copy, change)))
