"""Snapshots: what is in them, in every state a repository can be in."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitops_flow import manifest
from gitops_flow.cli import options
from gitops_flow.deploy import code
from gitops_flow.errors import GitError, SnapshotError
from tests.support.gitservers import bare
from tests.support.repo import Repo, fingerprint
from tests.support.snapshots import look


@pytest.fixture
def repo(repo: Repo) -> Repo:
    repo.write("flow.py", "print('one')\n").write("lib/helper.py", "x = 1\n").commit()
    return repo


def test_a_clean_tree_is_heads_tree(repo: Repo, take) -> None:
    taken = take(repo.path)
    assert taken.snap.tree == repo.git("rev-parse", "HEAD^{tree}")
    assert not taken.snap.provenance.dirty
    assert taken.snap.provenance.commit == repo.head


def test_a_modified_file_is_taken_from_disk(repo: Repo, take) -> None:
    repo.write("flow.py", "print('two')\n")
    taken = take(repo.path)
    assert taken.content(b"flow.py") == b"print('two')\n"
    assert taken.changes == {"flow.py": "modified"}
    assert taken.snap.provenance.dirty


def test_an_untracked_file_is_in(repo: Repo, take) -> None:
    repo.write("new/module.py", "y = 2\n")
    taken = take(repo.path)
    assert taken.content(b"new/module.py") == b"y = 2\n"
    assert taken.changes == {"new/module.py": "added"}


def test_a_staged_file_is_in_as_it_is_on_disk(repo: Repo, take) -> None:
    repo.write("staged.py", "index\n").git("add", "staged.py")
    repo.write("staged.py", "disk\n")
    repo.write("only.py", "index only\n").git("add", "only.py")
    taken = take(repo.path)
    assert taken.content(b"staged.py") == b"disk\n"
    assert taken.content(b"only.py") == b"index only\n"


def test_a_deleted_file_is_out(repo: Repo, take) -> None:
    repo.remove("lib/helper.py")
    taken = take(repo.path)
    assert list(taken.files()) == [b"flow.py"]
    assert taken.changes == {"lib/helper.py": "deleted"}


def test_a_file_deleted_from_the_index_only_is_still_in(repo: Repo, take) -> None:
    repo.git("rm", "-q", "--cached", "flow.py")
    assert take(repo.path).content(b"flow.py") == b"print('one')\n"


def test_a_renamed_file_has_its_new_name_only(repo: Repo, take) -> None:
    repo.git("mv", "flow.py", "renamed.py")
    assert sorted(take(repo.path).files()) == [b"lib/helper.py", b"renamed.py"]


def test_a_file_that_became_a_directory(repo: Repo, take) -> None:
    repo.remove("flow.py").write("flow.py/inner.py", "z\n")
    assert sorted(take(repo.path).files()) == [b"flow.py/inner.py", b"lib/helper.py"]


def test_a_directory_that_became_a_file(repo: Repo, take) -> None:
    repo.remove("lib/helper.py")
    (repo.path / "lib").rmdir()
    repo.write("lib", "now a file\n")
    assert take(repo.path).files()[b"lib"] == (0o100644, b"now a file\n")


def test_the_tree_is_what_git_add_would_write(repo: Repo, take, tmp_path: Path) -> None:
    repo.write("flow.py", "two").write("a b/c", "1").write("d\ne", "2").remove("lib/helper.py")
    taken = take(repo.path)
    repo.git("add", "-A")
    assert taken.snap.tree == repo.git("write-tree")


def test_executable_bits_are_kept(repo: Repo, take) -> None:
    repo.write("run.sh", "#!/bin/sh\n", executable=True)
    (repo.path / "flow.py").chmod(0o755)
    modes = {path: mode for path, (mode, _) in take(repo.path).files().items()}
    assert modes[b"run.sh"] == 0o100755
    assert modes[b"flow.py"] == 0o100755


def test_links_are_links(repo: Repo, take) -> None:
    repo.symlink("lib/link.py", "../flow.py")
    assert take(repo.path).files()[b"lib/link.py"] == (0o120000, b"../flow.py")


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "lib/../../x"])
def test_a_link_that_leaves_the_repository_is_left_out(repo: Repo, take, target: str) -> None:
    repo.symlink("escape", target)
    taken = take(repo.path)
    assert b"escape" not in taken.files()
    assert taken.left_out["escape"] == "a link that leaves the repository"


def test_a_link_that_leaves_the_repository_through_others_is_left_out(repo: Repo, take) -> None:
    repo.symlink("a/b/up", "../..").symlink("out", "a/b/up/../secret").symlink("next", "out/x")
    repo.symlink("loop", "loop/x").symlink("in", "a/b/up/lib")
    taken = take(repo.path)
    assert set(taken.left_out) == {"out", "next"}
    assert {b"a/b/up", b"in", b"loop"} <= set(taken.files())


def test_a_committed_link_that_leaves_the_repository_is_left_out(repo: Repo, take) -> None:
    repo.symlink("escape", "/etc/passwd").commit()
    taken = take(repo.path)
    assert b"escape" not in taken.files()
    assert "escape" in taken.left_out


@pytest.mark.parametrize(
    "name",
    [
        b"with space.py",
        b"new\nline.py",
        b'quo"te.py',
        b"apo'strophe.py",
        b"\xff\xfe.py",
        b"-dash.py",
        b"--all",
        b"tab\there",
        b"back\\slash",
        "ünïcode.py".encode(),
        b"[glob]*?.py",
        b":(exclude)x",
    ],
)
def test_any_file_name_is_in(repo: Repo, take, name: bytes) -> None:
    repo.write(name, "content\n")
    repo.write(b"dir/" + name, "inner\n")
    taken = take(repo.path)
    assert taken.content(name) == b"content\n"
    assert taken.content(b"dir/" + name) == b"inner\n"
    repo.commit()
    repo.write(name, "changed\n")
    assert take(repo.path).content(name) == b"changed\n"


def test_gitignored_files_are_left_out_and_listed(repo: Repo, take) -> None:
    repo.write(".gitignore", "*.log\nbuild/\n").write("a.log").write("build/x/y")
    taken = take(repo.path)
    assert sorted(taken.files()) == [b".gitignore", b"flow.py", b"lib/helper.py"]
    assert taken.left_out == {"a.log": "ignored", "build/": "ignored"}


def test_a_nested_gitignore_counts(repo: Repo, take) -> None:
    repo.write("lib/.gitignore", "secret*\n").write("lib/secret1").write("secret1", "kept")
    files = take(repo.path).files()
    assert b"lib/secret1" not in files
    assert b"secret1" in files


def test_info_exclude_counts(repo: Repo, take) -> None:
    (repo.path / ".git/info").mkdir(exist_ok=True)
    (repo.path / ".git/info/exclude").write_text("private\n")
    repo.write("private", "x")
    assert take(repo.path).left_out == {"private": "ignored"}


def test_the_users_global_excludes_count(repo: Repo, take, tmp_path: Path) -> None:
    (tmp_path / "excludes").write_text("*.swp\n")
    subprocess.run(
        ["git", "config", "--global", "core.excludesFile", tmp_path / "excludes"], check=True
    )
    repo.write("x.swp", "x")
    assert take(repo.path).left_out == {"x.swp": "ignored"}


@pytest.mark.parametrize("name", [".prefectignore", ".gitflowignore"])
def test_our_ignore_files_count_nested_too(repo: Repo, take, name: str) -> None:
    repo.write(name, "*.tmp\n/data/\n!keep.tmp\n")
    repo.write("a.tmp").write("keep.tmp").write("data/big").write("lib/data/small")
    repo.write(f"lib/{name}", "only-here\n").write("lib/only-here").write("only-here")
    taken = take(repo.path)
    new = {p.decode() for p in taken.files()} - {"flow.py", "lib/helper.py", name, f"lib/{name}"}
    assert new == {"keep.tmp", "lib/data/small", "only-here"}
    assert set(taken.left_out) == {"a.tmp", "data/big", "lib/only-here"}


def test_our_ignore_files_and_gitignore_work_together(repo: Repo, take) -> None:
    repo.write(".gitignore", "venv/\n[odd]*/\n").write(".gitflowignore", "*.bin\n")
    repo.write("venv/x.bin").write("[odd]*/y").write("m.bin").write("ok")
    taken = take(repo.path)
    assert set(taken.left_out) == {"venv/", "m.bin"}
    assert b"[odd]*/y" in taken.files()


def test_a_tracked_file_stays_in_though_ignored(repo: Repo, take) -> None:
    repo.write(".gitignore", "flow.py\n")
    repo.write("flow.py", "changed\n")
    assert take(repo.path).content(b"flow.py") == b"changed\n"


def test_bytecode_is_left_out_without_any_ignore_rule(repo: Repo, take) -> None:
    repo.write("lib/__pycache__/helper.cpython-311.pyc", b"\0").write("x.pyc", b"\0")
    taken = take(repo.path)
    assert sorted(taken.files()) == [b"flow.py", b"lib/helper.py"]
    assert len(taken.left_out) == 2


def test_eol_attributes_apply_as_in_git_add(repo: Repo, take) -> None:
    repo.write(".gitattributes", "*.txt text\n*.bat text eol=crlf\n*.bin -text\n")
    repo.write("a.txt", b"1\r\n2\r\n").write("b.bat", b"1\r\n").write("c.bin", b"1\r\n")
    taken = take(repo.path)
    assert taken.content(b"a.txt") == b"1\n2\n"
    assert taken.content(b"b.bat") == b"1\n"
    assert taken.content(b"c.bin") == b"1\r\n"
    repo.git("add", "-A")
    assert taken.snap.tree == repo.git("write-tree")


def test_crlf_that_is_committed_stays_crlf_under_text_auto(repo: Repo, take) -> None:
    repo.write("dos.txt", b"1\r\n").commit()
    repo.write(".gitattributes", "*.txt text=auto\n").write("dos.txt", b"1\r\n2\r\n")
    taken = take(repo.path)
    assert taken.content(b"dos.txt") == b"1\r\n2\r\n"
    repo.git("add", "-A")
    assert taken.snap.tree == repo.git("write-tree")


def test_crlf_that_is_committed_stays_crlf_in_many_files_at_once(repo: Repo, take) -> None:
    for number in range(150):
        repo.write(f"dos/{number}.txt", b"1\r\n")
    repo.commit()
    repo.write(".gitattributes", "*.txt text=auto\n")
    for number in range(150):
        repo.write(f"dos/{number}.txt", b"1\r\n2\r\n")
    taken = take(repo.path)
    repo.git("add", "-A")
    assert taken.snap.tree == repo.git("write-tree")


@pytest.fixture
def many(repo: Repo) -> Repo:
    """More new files than git writes one by one, of every kind that git itself has to look at."""
    repo.git("config", "filter.hide.clean", "tr a-z n-za-m")
    repo.write(".gitattributes", "*.txt text\n*.form filter=hide\n")
    for number in range(1_000):
        repo.write(f"new/{number % 7}/{number}.py", f"x = {number}\n", executable=number % 5 == 0)
    repo.write("dos.txt", b"1\r\n").write("my.form", "uryyb\n").write("large", b"1" * 1_100_000)
    repo.write("flow.py", "print('two')\n").write("empty", "").symlink("link", "new/1/1.py")
    return repo


def test_many_new_files_make_the_tree_of_git_add_and_few_objects(many: Repo, take) -> None:
    taken, again = take(many.path), take(many.path)
    many.git("add", "-A")
    assert taken.snap.tree == many.git("write-tree") == again.snap.tree
    objects = taken.store.path / "objects"
    assert len(list(objects.glob("??/*"))) < 50
    assert len(list(objects.glob("pack/*.idx"))) == 1


def test_a_git_without_fast_import_makes_the_same_of_many_new_files(
    many: Repo, take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = take(many.path)
    git = Repo(tmp_path / "bin", init=False).write(
        "git",
        f'#!/bin/sh\n[ "$1" = fast-import ] && exit 1\nexec {shutil.which("git")} "$@"\n',
        executable=True,
    )
    monkeypatch.setenv("PATH", f"{git.path}:{os.environ['PATH']}")
    taken = take(many.path, cache="another")
    assert taken.snap == whole.snap
    assert list(taken.store.path.glob("objects/pack/*")) == []


def test_working_tree_encoding_applies(repo: Repo, take) -> None:
    repo.write(".gitattributes", "*.txt working-tree-encoding=UTF-16LE text\n")
    repo.write("a.txt", "häh\n".encode("utf-16-le"))
    assert take(repo.path).content(b"a.txt") == "häh\n".encode()


def test_a_clean_filter_is_run_by_git(repo: Repo, take) -> None:
    repo.git("config", "filter.hide.clean", "tr a-z n-za-m")
    repo.git("config", "filter.hide.required", "true")
    repo.write(".gitattributes", "*.form filter=hide\n").write("my.form", "uryyb\n")
    taken = take(repo.path)
    assert taken.content(b"my.form") == b"hello\n"


def test_a_required_filter_that_fails_is_an_error(repo: Repo, take) -> None:
    repo.git("config", "filter.hide.clean", "false")
    repo.git("config", "filter.hide.required", "true")
    repo.write(".gitattributes", "*.form filter=hide\n").write("my.form", "x\n")
    with pytest.raises(SnapshotError, match="hide failed"):
        take(repo.path)


def test_a_plain_folder_needs_no_repository(tmp_path: Path, take) -> None:
    folder = tmp_path / "plain"
    (folder / "sub").mkdir(parents=True)
    (folder / "flow.py").write_text("x\n")
    (folder / "sub/.gitignore").write_text("no\n")
    (folder / "sub/no").write_text("x")
    taken = take(folder)
    assert sorted(taken.files()) == [b"flow.py", b"sub/.gitignore"]
    assert taken.snap.provenance.commit is None
    assert not (folder / ".git").exists()


def test_a_plain_folder_is_read_again_when_it_changes(tmp_path: Path, take) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a").write_text("1")
    (folder / "b").write_text("1")
    first = take(folder)
    (folder / "a").write_text("2")
    (folder / "b").unlink()
    (folder / "c").write_text("3")
    second = take(folder)
    assert second.files() == {b"a": (0o100644, b"2"), b"c": (0o100644, b"3")}
    (folder / "c").unlink()
    (folder / "a").write_text("1")
    (folder / "b").write_text("1")
    assert take(folder).snap.commit == first.snap.commit


def test_a_repository_without_any_commit(tmp_path: Path, take) -> None:
    fresh = Repo(tmp_path / "fresh").write("a", "1").write("b", "2")
    fresh.git("add", "a")
    taken = take(fresh.path)
    assert sorted(taken.files()) == [b"a", b"b"]
    assert taken.snap.provenance.commit is None
    assert taken.snap.provenance.dirty


def test_a_detached_head(repo: Repo, take) -> None:
    first = repo.head
    repo.write("flow.py", "later").commit()
    repo.git("checkout", "-q", first)
    taken = take(repo.path)
    assert taken.snap.provenance.commit == first
    assert taken.content(b"flow.py") == b"print('one')\n"


def test_a_linked_worktree_has_its_own_state(repo: Repo, take, tmp_path: Path) -> None:
    repo.git("worktree", "add", "-q", "-b", "side", tmp_path / "side")
    (tmp_path / "side/flow.py").write_text("side\n")
    before = fingerprint(repo.path)
    assert take(tmp_path / "side").content(b"flow.py") == b"side\n"
    assert take(repo.path).content(b"flow.py") == b"print('one')\n"
    assert fingerprint(repo.path) == before


def test_a_shallow_clone(repo: Repo, take, tmp_path: Path) -> None:
    repo.write("flow.py", "two").commit()
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")
    shallow.write("new.py", "n")
    before = fingerprint(shallow.path)
    taken = take(shallow.path)
    assert sorted(taken.files()) == [b"flow.py", b"lib/helper.py", b"new.py"]
    assert fingerprint(shallow.path) == before


def test_a_sparse_checkout_keeps_what_is_not_on_disk(repo: Repo, take) -> None:
    repo.write("far/away.py", "far\n").commit()
    repo.git("sparse-checkout", "set", "lib")
    assert not (repo.path / "far").exists()
    repo.write("lib/helper.py", "changed\n")
    taken = take(repo.path)
    assert taken.content(b"far/away.py") == b"far\n"
    assert taken.content(b"lib/helper.py") == b"changed\n"


def test_a_partial_clone_is_left_partial(repo: Repo, take, tmp_path: Path) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.write("old.txt", "first\n").commit()
    repo.write("old.txt", "second\n").commit()
    partial = repo.clone(tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    partial.git("sparse-checkout", "set", "lib")
    partial.git("checkout", "-q", "main")
    partial.write("lib/helper.py", "changed\n")
    before = fingerprint(partial.path)
    taken = take(partial.path)
    assert fingerprint(partial.path) == before
    repo.write("lib/helper.py", "changed\n").git("add", "-A")
    assert taken.snap.tree == repo.git("write-tree")


def test_a_merge_with_conflicts_is_refused_with_its_files(repo: Repo, take) -> None:
    repo.git("checkout", "-q", "-b", "other")
    repo.write("flow.py", "other\n").commit()
    repo.git("checkout", "-q", "main")
    repo.write("flow.py", "main\n").commit()
    repo.git("merge", "-q", "other", check=False)
    with pytest.raises(SnapshotError, match="merge with conflicts") as error:
        take(repo.path)
    assert error.value.paths == ("flow.py",)


@pytest.mark.parametrize("kind", ["a repository", "a plain folder"])
@pytest.mark.parametrize("place", ["real", "link"])
def test_a_cache_inside_the_project_is_left_out_and_named_once(
    repo: Repo, tmp_path: Path, kind: str, place: str
) -> None:
    repo.write(".gitignore", "*.lock\n").symlink("link", "real").write("real/mine.py", "1\n")
    if kind == "a plain folder":
        shutil.rmtree(repo.path / ".git")
    cache = repo.path / place / "gitflow"
    first = look(repo.path, cache)
    assert first.left_out == {"real/gitflow/": "gitflow's own"}
    assert {b"flow.py", b"real/mine.py"} <= first.files().keys()
    assert look(repo.path, cache).snap.commit == first.snap.commit


@pytest.mark.parametrize("clean", [False, True])
def test_a_cache_that_was_committed_is_left_out(repo: Repo, clean: bool) -> None:
    cache = repo.write(".cache/stores/note", "1\n").path / ".cache"
    repo.commit()
    repo.write(".cache/stores/note", "2\n")
    taken = look(repo.path, cache, clean=clean)
    assert taken.files().keys() == {b"flow.py", b"lib/helper.py"}
    assert taken.left_out == {".cache/": "gitflow's own"}


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_code_store_inside_the_project_is_left_out_and_named(
    repo: Repo, tmp_path: Path, form: str
) -> None:
    address = form.format(bare(repo.path / "stores/code.git"))
    first = look(repo.path, tmp_path / "cache", store=address)
    assert first.left_out == {"stores/code.git/": "gitflow's own"}
    assert first.files().keys() == {b"flow.py", b"lib/helper.py"}
    repo.commit("with the store in it")
    again = look(repo.path, tmp_path / "cache", store=address)
    assert again.snap.commit == first.snap.commit
    assert again.left_out == first.left_out


def test_a_code_store_that_is_the_projects_own_repository_is_no_part_of_it(
    repo: Repo, tmp_path: Path
) -> None:
    for place in (repo.path, repo.path / ".git"):
        taken = look(repo.path, tmp_path / "cache", store=str(place))
        assert (taken.files().keys(), taken.left_out) == ({b"flow.py", b"lib/helper.py"}, {})


def test_a_cache_inside_a_submodule_is_left_out(repo: Repo, tmp_path: Path) -> None:
    _with_submodule(repo, tmp_path)
    cache = repo.path / "vendor/in/.cache"
    first = look(repo.path, cache, submodules=True)
    assert first.left_out == {"vendor/in/.cache/": "gitflow's own"}
    assert look(repo.path, cache, submodules=True).snap.commit == first.snap.commit


def test_a_project_that_is_the_cache_is_refused(repo: Repo) -> None:
    with pytest.raises(SnapshotError, match="also gitflow's cache"):
        look(repo.path, repo.path)


def _with_submodule(repo: Repo, tmp_path: Path) -> Repo:
    inner = Repo(tmp_path / "inner")
    inner.write("mod.py", "inner\n").commit()
    repo.git(
        "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(inner.path), "vendor/in"
    )
    repo.commit("submodule")
    return inner


def test_submodules_are_refused_with_a_hint(repo: Repo, take, tmp_path: Path) -> None:
    _with_submodule(repo, tmp_path)
    with pytest.raises(SnapshotError, match="has submodules") as error:
        take(repo.path)
    assert error.value.paths == ("vendor/in",)
    assert "‹submodules›" in str(error.value.hint)


def test_submodules_are_included_on_request_as_they_are_on_disk(
    repo: Repo, take, tmp_path: Path
) -> None:
    _with_submodule(repo, tmp_path)
    repo.write("vendor/in/mod.py", "edited\n").write("vendor/in/new.py", "new\n")
    before = fingerprint(repo.path)
    taken = take(repo.path, submodules=True)
    assert taken.content(b"vendor/in/mod.py") == b"edited\n"
    assert taken.content(b"vendor/in/new.py") == b"new\n"
    assert taken.changes == {"vendor/in/mod.py": "modified", "vendor/in/new.py": "added"}
    assert fingerprint(repo.path) == before


def test_a_submodule_that_is_not_checked_out_is_an_error(repo: Repo, take, tmp_path: Path) -> None:
    _with_submodule(repo, tmp_path)
    clone = repo.clone(tmp_path / "clone")
    with pytest.raises(SnapshotError, match="not checked out") as error:
        take(clone.path, submodules=True)
    assert error.value.paths == ("vendor/in",)


CODE = [b"flow.py", b"lib/helper.py"]


def _stray(repo: Repo) -> Repo:
    """A repository with a submodule of which no .gitmodules tells and nothing is on disk."""
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},vendor/stray")
    repo.commit(add=False)
    (repo.path / "vendor/stray").mkdir(parents=True)
    return repo


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("glob", ["*", "vendor/*", "vendor/stray"])
def test_an_ignored_submodule_that_is_not_checked_out_is_left_out_and_listed(
    repo: Repo, take, clean: bool, glob: str
) -> None:
    _stray(repo)
    before = fingerprint(repo.path)
    taken = take(repo.path, ignore_submodules=(glob,), clean=clean)
    assert list(taken.files()) == CODE
    assert taken.left_out == {"vendor/stray": "a submodule that is ignored"}
    assert taken.changes == {}
    assert fingerprint(repo.path) == before


@pytest.mark.parametrize("broken", ["gitdir: /nowhere\n", "not git\n"])
def test_an_ignored_submodule_whose_repository_is_broken_is_in_nobodys_way(
    repo: Repo, take, broken: str
) -> None:
    _stray(repo).write("vendor/stray/.git", broken)
    assert list(take(repo.path, ignore_submodules=("*",)).files()) == CODE
    with pytest.raises(SnapshotError, match="a submodule") as error:
        take(repo.path, submodules=True)
    assert "‹ignore_submodules› vendor/stray" in str(error.value.hint)


def test_an_ignored_submodule_beside_an_included_one(repo: Repo, take, tmp_path: Path) -> None:
    _with_submodule(repo, tmp_path)
    _stray(repo).write("vendor/in/new.py", "new\n")
    taken = take(repo.path, submodules=True, ignore_submodules=("vendor/stray",))
    assert taken.content(b"vendor/in/new.py") == b"new\n"
    assert not [path for path in taken.files() if path.startswith(b"vendor/stray")]


def test_a_submodule_that_was_just_removed_is_still_one_of_head(repo: Repo, take) -> None:
    _stray(repo).git("rm", "-q", "--cached", "vendor/stray")
    assert list(take(repo.path).files()) == CODE
    with pytest.raises(SnapshotError, match="has submodules"):
        take(repo.path, clean=True)
    assert list(take(repo.path, clean=True, ignore_submodules=("*",)).files()) == CODE


def test_a_file_in_the_place_of_a_submodule_is_shipped(repo: Repo, take) -> None:
    _stray(repo)
    (repo.path / "vendor/stray").rmdir()
    repo.write("vendor/stray", "now a file\n")
    assert take(repo.path).content(b"vendor/stray") == b"now a file\n"


@pytest.mark.parametrize(
    ("said", "given", "expected"),
    [
        ("submodules: ignore", {}, (False, ("*",))),
        ("submodules: ignore", {"submodules": True}, (True, ())),
        (
            "submodules: include, ignore_submodules: [a]",
            {"ignore_submodule": ["b"]},
            (True, ("a", "b")),
        ),
        ("submodules: include, ignore_submodules: [a]", {"submodules": False}, (False, ("a",))),
    ],
)
def test_flags_and_the_manifest_say_which_submodules_are_ignored(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    given: dict[str, Any],
    expected: tuple[bool, tuple[str, ...]],
) -> None:
    read = manifest.parse(f"gitflow: {{{said}}}\ndeployments: []\n".encode(), "p.yaml")
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.chdir(tmp_path)
    asked = options.request(given).options
    project = SimpleNamespace(manifest=read, chosen=())
    taken = code.snapshot_options(project, asked)  # type: ignore[arg-type]
    assert (taken.submodules, taken.ignore_submodules) == expected


@pytest.mark.parametrize("declared", [False, True])
def test_the_hint_for_a_submodule_that_is_not_checked_out_leads_somewhere(
    repo: Repo, take, tmp_path: Path, declared: bool
) -> None:
    if declared:
        _with_submodule(repo, tmp_path)
        path = repo.clone(tmp_path / "clone").path
    else:
        path = _stray(repo).path
    with pytest.raises(SnapshotError, match="not checked out") as error:
        take(path, submodules=True)
    told = "git submodule update --init -- vendor/in" if declared else "git rm --cached -- vendor"
    assert told in str(error.value.hint)
    assert "‹ignore_submodules› vendor/" in str(error.value.hint)


def test_a_nested_repository_is_left_out_and_listed(repo: Repo, take) -> None:
    Repo(repo.path / "nested").write("x", "1").commit()
    taken = take(repo.path)
    assert taken.left_out == {"nested/": "a repository of its own"}
    assert not [path for path in taken.files() if path.startswith(b"nested")]


def test_the_inner_of_two_repositories_is_taken_alone(repo: Repo, take) -> None:
    inner = Repo(repo.path / "nested").write("x", "1")
    inner.commit()
    assert list(take(inner.path).files()) == [b"x"]


def test_a_subdirectory_stands_for_its_whole_repository(repo: Repo, take) -> None:
    assert take(repo.path / "lib").snap.commit == take(repo.path).snap.commit


def test_a_bare_repository_is_refused(tmp_path: Path, take) -> None:
    bare = Repo(tmp_path / "bare.git", bare=True)
    with pytest.raises(GitError, match="bare repository"):
        take(bare.path)


def test_a_damaged_repository_is_not_taken_for_a_plain_folder(repo: Repo, take) -> None:
    (repo.path / ".git/HEAD").unlink()
    with pytest.raises(GitError, match="the repository here is damaged"):
        take(repo.path)


def test_an_empty_folder_is_refused(tmp_path: Path, take) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SnapshotError, match="no file to deploy"):
        take(tmp_path / "empty")


def test_clean_takes_head_and_lists_what_it_leaves_out(repo: Repo, take) -> None:
    repo.write("flow.py", "edited").write("new.py", "n").remove("lib/helper.py")
    taken = take(repo.path, clean=True)
    assert taken.snap.tree == repo.git("rev-parse", "HEAD^{tree}")
    assert not taken.snap.provenance.dirty
    assert taken.left_out == {
        "flow.py": "not committed (modified)",
        "lib/helper.py": "not committed (deleted)",
        "new.py": "not committed (untracked)",
    }


def test_clean_without_a_commit_is_refused(tmp_path: Path, take) -> None:
    fresh = Repo(tmp_path / "fresh").write("a", "1")
    with pytest.raises(SnapshotError, match="no commit yet"):
        take(fresh.path, clean=True)


UNWATCHED = pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])


@UNWATCHED
def test_what_git_was_told_not_to_look_at_is_shipped_as_it_is_on_disk(
    repo: Repo, take, flag: str
) -> None:
    repo.git("update-index", flag, "flow.py", "lib/helper.py")
    repo.write("flow.py", "hidden change\n")
    before = fingerprint(repo.path)
    taken = take(repo.path)
    assert taken.content(b"flow.py") == b"hidden change\n"
    assert taken.changes == {"flow.py": "modified"}
    assert fingerprint(repo.path) == before
    clean = take(repo.path, clean=True)
    assert clean.content(b"flow.py") == b"print('one')\n"
    assert clean.left_out == {"flow.py": "not committed (modified)"}


def test_a_staged_edit_below_a_hidden_one_is_not_what_is_shipped(repo: Repo, take) -> None:
    repo.write("flow.py", "staged\n").git("add", "-A")
    repo.git("update-index", "--skip-worktree", "flow.py")
    repo.write("flow.py", "on disk\n")
    assert take(repo.path).content(b"flow.py") == b"on disk\n"


@UNWATCHED
def test_a_file_that_git_does_not_look_at_and_that_is_not_there_is_taken_from_the_commit(
    repo: Repo, take, flag: str
) -> None:
    repo.git("update-index", flag, "flow.py")
    repo.remove("flow.py")
    taken = take(repo.path)
    assert taken.content(b"flow.py") == b"print('one')\n"
    assert taken.changes == {}


def test_many_files_that_git_does_not_look_at(repo: Repo, take) -> None:
    for number in range(200):
        repo.write(f"many/{number}", f"{number}\r\n")
    repo.write(".gitattributes", "*.txt text\n").commit()
    repo.git("update-index", "--skip-worktree", *repo.git("ls-files", "many").splitlines())
    repo.write("many/7", "other").symlink("many/8x", "7")
    assert take(repo.path).changes == {"many/7": "modified", "many/8x": "added"}


def test_a_secret_in_a_file_that_git_does_not_look_at_is_refused(repo: Repo, take) -> None:
    repo.git("update-index", "--skip-worktree", "flow.py")
    repo.write("flow.py", "key = '" + "AKIA" + "QWERTYUIOPASDFGH" + "'\n")
    with pytest.raises(SnapshotError, match="secret"):
        take(repo.path)


def test_a_same_second_edit_of_the_same_size_is_seen(repo: Repo, take) -> None:
    for number in range(20):
        content = f"print('{number:03d}')\n"
        repo.write("flow.py", content)
        repo.git("add", "flow.py")
        edited = f"PRINT('{number:03d}')\n"
        repo.write("flow.py", edited)
        assert take(repo.path).content(b"flow.py") == edited.encode()


def test_the_same_tree_has_the_same_id_everywhere(repo: Repo, take, tmp_path: Path) -> None:
    repo.write("flow.py", "edited\n").write("new.py", "n\n")
    here = take(repo.path)
    plain = tmp_path / "elsewhere/copy"
    for path, (_, data) in here.files().items():
        target = plain / os.fsdecode(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        os.utime(target, (1, 1))
    assert take(plain, cache="another-cache").snap.commit == here.snap.commit
    repo.commit("now it is committed")
    assert take(repo.path, cache="third").snap.commit == here.snap.commit


def test_a_snapshot_commit_has_no_parent_and_constant_idents(repo: Repo, take) -> None:
    taken = take(repo.path)
    raw = taken.objects.data(taken.snap.commit).decode()
    ident = "gitops-flow <snapshot@gitops-flow.invalid> 0 +0000"
    assert raw == (f"tree {taken.snap.tree}\nauthor {ident}\ncommitter {ident}\n\nsnapshot\n")


@pytest.mark.parametrize(
    "setting", ["core.fileMode", "core.untrackedCache", "core.fsmonitor", "core.splitIndex"]
)
def test_the_repository_is_untouched(repo: Repo, take, setting: str) -> None:
    repo.git("config", setting, "true")
    repo.write("flow.py", "edited\n").write("new.py", "n\n").write("staged.py", "s\n")
    repo.git("add", "staged.py")
    repo.git("stash", "push", "-q", "--", "staged.py")
    # Touched, not changed: git status would refresh the index here.
    os.utime(repo.path / "lib/helper.py", (1, 1))
    before = fingerprint(repo.path)
    take(repo.path)
    take(repo.path, clean=True)
    after = fingerprint(repo.path)
    for path in [path for path in before if path.startswith("sharedindex.")]:
        # Whoever reads a split index marks its shared part as used, by its time alone.
        after[path] = (*after[path][:2], before[path][2], after[path][3])
    assert after == before


def test_hooks_and_fsmonitor_programs_are_not_run(repo: Repo, take, tmp_path: Path) -> None:
    spy = tmp_path / "spy"
    spy.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    spy.chmod(0o755)
    repo.git("config", "core.fsmonitor", str(spy))
    (repo.path / ".git/hooks").mkdir(exist_ok=True)
    for hook in ("post-index-change", "pre-commit", "post-checkout"):
        (repo.path / ".git/hooks" / hook).symlink_to(spy)
    repo.write("flow.py", "edited\n")
    (tmp_path / "ran").unlink(missing_ok=True)
    take(repo.path)
    assert not (tmp_path / "ran").exists()


def test_inherited_git_variables_do_not_redirect_us(
    repo: Repo, take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repo(tmp_path / "other").write("wrong", "1")
    other.commit()
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git/index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.path))
    assert b"flow.py" in take(repo.path).files()


def test_what_git_passes_over_is_listed(repo: Repo, take) -> None:
    os.mkfifo(repo.path / "lib/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(repo.path / "app.sock"))
        repo.write("git~1", "x\n").write(".gitignore", "out/\n").write("out/x", "x\n")
        os.mkfifo(repo.path / "out/pipe")
        left_out = take(repo.path).left_out
    assert left_out == {
        "app.sock": "a socket, pipe or device",
        "lib/pipe": "a socket, pipe or device",
        "git~1": "git refuses its name",
        "out/": "ignored",
    }


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("marker", ["pyvenv.cfg", "conda-meta/history"])
def test_a_virtual_environment_is_left_out(
    repo: Repo, take, tmp_path: Path, plain: bool, marker: str
) -> None:
    folder = tmp_path / "plain" if plain else repo.path
    environment = folder / "tools/.venv"
    (environment / marker).parent.mkdir(parents=True)
    (environment / marker).write_text("x\n")
    (environment / "lib.py").write_text("x\n")
    (folder / "kept.py").write_text("x\n")
    taken = take(folder)
    assert b"kept.py" in taken.files()
    assert not any(path.startswith(b"tools") for path in taken.files())
    assert list(taken.left_out) == ["tools/.venv/"]


def test_a_virtual_environment_that_is_committed_is_shipped(repo: Repo, take) -> None:
    repo.write("env/pyvenv.cfg", "x\n").write("env/lib.py", "x\n").commit()
    assert b"env/lib.py" in take(repo.path).files()
