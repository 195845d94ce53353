"""Copies of sealed trees: as if every file had been written, or written after all."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_flow import checkout
from gitops_flow.checkout import sealed, sweep, write
from gitops_flow.checkout.sealed import Copy
from gitops_flow.errors import CheckoutError
from tests.support.checkouts import AS_A_STEP, content, only_shelf, parentless, pull
from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The trees that were copied to the end, so far."""
    done: list[Path] = []
    finish = Copy.finish

    def noted(self: Copy) -> object:
        found = finish(self)
        done.append(self._tree.directory)
        return found

    monkeypatch.setattr(Copy, "finish", noted)
    return done


def trees(root: Path) -> list[Path]:
    return [path for path in (only_shelf(root).path / "trees").iterdir() if path.is_dir()]


def kept(repo: Repo, here: Path, root: Path) -> str:
    """A snapshot of the working tree that the cache has as a sealed tree."""
    commit = parentless(repo)
    pull(repo, commit, here, root)
    pull(repo, commit, here, root)
    assert trees(root)
    return commit


def varied(repo: Repo) -> None:
    """Names, modes and contents that a copy could get wrong."""
    for name in (
        b"-rf",
        b"sp ace",
        b"new\nline",
        b"\xff\xfe",
        b"quo'te\"",
        b"d/--help",
        b"...",
        b"~",
    ):
        repo.write(name, name)
    repo.write("run.sh", "#!/bin/sh\n", executable=True).write("d/e/run", "", executable=True)
    repo.write("empty").write("large", os.urandom(2_500_000)).write("holes", bytes(300_000))
    repo.symlink("link", "d/e").symlink("dangling", "none").symlink("d/up", "../run.sh")
    repo.write(".gitattributes", "*.bat text eol=crlf\n").write("a.bat", "one\ntwo\n")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o027, 0o000])
def test_a_copy_is_what_writing_every_file_would_have_made(
    repo: Repo, here: Path, root: Path, copies: list[Path], umask: int
) -> None:
    varied(repo)
    commit = kept(repo, here, root)
    copies.clear()
    before = os.umask(umask)
    try:
        copied, written = (pull(repo, commit, here, place) for place in (root, None))
        assert content(copied.directory) == content(written.directory)
        (copied.directory / "d/e/run").write_text("a run may write")
        again = pull(repo, commit, here, root)
    finally:
        os.umask(before)
    assert content(again.directory) == content(written.directory)
    assert (again.origin, again.files) == ("cached", written.files)
    assert copies == trees(root) * 2


def test_the_first_pull_makes_no_tree_to_copy(repo: Repo, here: Path, root: Path) -> None:
    pull(repo, parentless(repo.write("x", "1")), here, root)
    assert trees(root) == []


def test_runs_that_copy_and_runs_that_share_have_one_tree(
    repo: Repo, here: Path, root: Path, copies: list[Path]
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    made = checkout.make_shared([checkout.Place(f"file://{repo.path}")], commit, root)
    assert (made.origin, [made.directory]) == ("shared", trees(root))
    assert copies == [made.directory]


def test_some_directories_are_copied_of_a_tree_of_these_alone(
    repo: Repo, here: Path, root: Path, copies: list[Path]
) -> None:
    commit = kept(repo.write("a/x", "1").write("b/y", "2"), here, root)
    copies.clear()
    for _ in range(2):
        made = pull(repo, commit, here, root, directories=["a"])
        assert set(content(made.directory)) == {b"", b"a", b"a/x"}
    assert len(set(copies)) == 1
    assert len(trees(root)) == 2


def rewritten(tree: Path) -> None:
    (tree / "x").chmod(0o644)
    before = (tree / "x").stat()
    (tree / "x").write_text("!")
    (tree / "x").chmod(0o444)
    os.utime(tree / "x", ns=(before.st_atime_ns, before.st_mtime_ns))


def added(tree: Path) -> None:
    tree.chmod(0o755)
    (tree / "d").chmod(0o755)
    (tree / "d" / "new.pyc").write_text("!")


def removed(tree: Path) -> None:
    tree.chmod(0o755)
    (tree / "x").unlink()


@pytest.mark.parametrize("change", [rewritten, added, removed, sealed.remove])
def test_a_changed_tree_is_not_copied_but_made_again(
    repo: Repo, here: Path, root: Path, copies: list[Path], change: Callable[[Path], None]
) -> None:
    commit = kept(repo.write("x", "1").write("d/y", "2"), here, root)
    (tree,) = trees(root)
    change(tree)
    copies.clear()
    for _ in range(2):
        made = pull(repo, commit, here, root)
        assert content(made.directory) == content(pull(repo, commit, here, None).directory)
    assert copies
    assert tree not in copies


def test_a_seal_under_the_name_of_another_snapshot_is_not_believed(
    repo: Repo, here: Path, root: Path
) -> None:
    first = kept(repo.write("x", "1"), here, root)
    second = kept(repo.write("x", "2"), here, root)
    one, other = (sealed.Key(only_shelf(root), commit, ()).seal for commit in (first, second))
    one.replace(other)
    assert (pull(repo, second, here, root).directory / "x").read_text() == "2"


def test_a_pipe_in_the_place_of_a_seal_is_not_waited_for(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    seal = sealed.Key(only_shelf(root), commit, ()).seal
    seal.unlink()
    os.mkfifo(seal)
    assert (pull(repo, commit, here, root).directory / "x").read_text() == "1"


def test_a_seal_is_not_written_through_a_link(
    repo: Repo, here: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    (tmp_path / "victim").write_text("precious")
    read_only = sealed._read_only

    def then_linked(tree: Path) -> None:
        read_only(tree)
        tree.with_name(f".{tree.name}.seal-partial").symlink_to(tmp_path / "victim")

    monkeypatch.setattr(sealed, "_read_only", then_linked)
    assert pull(repo, commit, here, root).origin == "cached"
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_name_that_appears_while_a_tree_is_copied_is_not_handed_over(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    names = sealed.Tree.names

    def then_written(self: sealed.Tree) -> dict[bytes, int]:
        found = names(self)
        (aside,) = here.glob(".*.partial-*/tree")
        (aside / "new.pyc").write_text("!")
        return found

    monkeypatch.setattr(sealed.Tree, "names", then_written)
    made = pull(repo, commit, here, root)
    assert set(content(made.directory)) == {b"", b"x"}
    assert list(here.glob(".*")) == []


# Without cp, everything is as it was.


def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None) -> None:
    """Leave git and what it needs on PATH, and ``script`` as cp, if any."""
    programs = tmp_path / "programs"
    programs.mkdir()
    git = shutil.which("git")
    assert git
    (programs / "git").symlink_to(git)
    if script is not None:
        (programs / "cp").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "cp").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))


@pytest.mark.parametrize(
    "script",
    [
        None,
        "exit 1",
        "exit 0",
        'echo "cp: unrecognized option: no-preserve=mode" >&2; exit 1',
        'for target; do :; done; echo half > "$target/half"; exit 1',
        'for target; do :; done; echo wrong > "$target/wrong"',
        "kill -9 $$",
    ],
    ids=["none", "fails", "does nothing", "busybox", "half", "other files", "killed"],
)
def test_without_a_cp_that_works_the_files_are_written(
    repo: Repo,
    here: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str | None,
) -> None:
    varied(repo)
    commit = parentless(repo)
    on_path(tmp_path, monkeypatch, script)
    first, *others = (pull(repo, commit, here, root) for _ in range(3))
    assert [made.origin for made in others] == ["cached", "cached"]
    for made in others:
        assert content(made.directory) == content(first.directory)
    assert list(here.glob(".*")) == []
    assert caplog.messages == []


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        'for target; do :; done; echo wrong > "$target/wrong"',
        'for target; do :; done; mkdir "$target/d1"; echo wrong > "$target/d1/f1"',
    ],
    ids=["does nothing", "other files", "half"],
)
def test_without_a_cp_that_works_the_next_snapshot_is_written_too(
    repo: Repo,
    here: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
) -> None:
    many(repo)
    kept(repo, here, root)
    commit = parentless(repo.write("d1/f1", "new"))
    on_path(tmp_path, monkeypatch, script)
    made = pull(repo, commit, here, root)
    assert content(made.directory) == content(pull(repo, commit, here, None).directory)
    assert made.origin == "updated"


def test_a_cp_that_hangs_is_given_up_in_time(
    repo: Repo, here: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    on_path(tmp_path, monkeypatch, "while :; do :; done")
    began = time.monotonic()
    assert pull(repo, commit, here, root, timeout=1.0).origin == "cached"
    assert 1.0 <= time.monotonic() - began < 20


def test_where_a_directory_hands_down_rights_they_are_handed_down(
    repo: Repo, here: Path, root: Path, copies: list[Path]
) -> None:
    commit = kept(repo.write("d/x", "1"), here, root)
    copies.clear()
    here.chmod(0o2775)
    made = pull(repo, commit, here, root).directory
    assert content(made) == content(pull(repo, commit, here, None).directory)
    assert copies == []


def test_a_cache_that_others_may_write_to_is_not_copied_from(
    repo: Repo, here: Path, root: Path, copies: list[Path]
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    copies.clear()
    root.chmod(0o2770)
    assert pull(repo, commit, here, root).origin == "cached"
    assert copies == []


def test_a_tree_that_the_cache_has_no_room_for_is_done_without(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch, copies: list[Path]
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    save = write.files

    def full(top: Path, *rest: object) -> None:
        if top.is_relative_to(root):
            raise OSError(28, "No space left on device")
        save(top, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(write, "files", full)
    made = pull(repo, commit, here, root)
    assert (made.origin, copies, trees(root)) == ("cached", [], [])
    assert list((only_shelf(root).path / "trees").glob(".*")) == []


def test_a_tree_that_cannot_be_sealed_is_removed(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)

    def full(_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gitops_flow.checkout.sealed.json.dumps", full)
    assert pull(repo, commit, here, root).origin == "cached"
    assert list((only_shelf(root).path / "trees").iterdir()) == []


# While others clear away or are killed.

PULL = (
    AS_A_STEP
    + """
import pathlib, sys
from gitops_flow import checkout
url, commit, here, root = sys.argv[1:]
checkout.make(url, commit, pathlib.Path(here), cache=pathlib.Path(root))
"""
)


def test_a_killed_copy_has_no_final_name_and_is_swept_up_when_cp_has_ended(
    repo: Repo, here: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    for made in here.iterdir():
        shutil.rmtree(made)
    cp = shutil.which("cp")
    pid, go = tmp_path / "pid", tmp_path / "go"
    with monkeypatch.context() as patch:
        slow = f'echo $$ > {pid}; while ! test -e {go}; do :; done; {cp} "$@"; echo > {go}ne'
        on_path(tmp_path, patch, slow)
        arguments = [f"file://{repo.path}", commit, str(here), str(root)]
        victim = subprocess.Popen([sys.executable, "-c", PULL, *arguments])
        until(pid.exists)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    (left,) = here.iterdir()
    made = pull(repo, commit, here, root).directory
    assert set(here.iterdir()) == {left, made}, "cp is still at work in it"
    go.touch()
    until((tmp_path / "gone").exists)
    until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())
    second = pull(repo, commit, here, root).directory
    assert set(here.iterdir()) == {made, second}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def swept(root: Path) -> None:
    (root / f".swept-{os.geteuid()}").unlink(missing_ok=True)
    sweep.cache(root, sweep.Limits(size=0))


def test_a_tree_is_not_cleared_away_while_it_is_copied(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    finish = Copy.finish

    def swept_first(self: Copy) -> object:
        swept(root)
        assert len(trees(root)) == 1
        return finish(self)

    monkeypatch.setattr(Copy, "finish", swept_first)
    pull(repo, commit, here, root)
    swept(root)
    assert trees(root) == []


def test_what_a_killed_making_of_a_tree_left_is_cleared_away(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = kept(repo.write("x", "1"), here, root)
    (tree,) = trees(root)
    sealed.lock_of(tree).unlink()
    sealed.Key(only_shelf(root), commit, ()).seal.unlink()
    swept(root)
    assert trees(root) == [tree], "somebody may be about to seal it"
    monkeypatch.setattr(sweep, "_SELDOM", 0.0)
    swept(root)
    assert trees(root) == []


def test_twenty_at_once_make_one_tree_and_copy_it(repo: Repo, here: Path, root: Path) -> None:
    for number in range(50):
        repo.write(f"d{number % 5}/f{number}", f"{number}")
    commit = parentless(repo)
    expected = content(pull(repo, commit, here, root).directory)
    fork = multiprocessing.get_context("fork")
    runs = [fork.Process(target=pull, args=(repo, commit, here, root)) for _ in range(20)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0] * 20
    assert len(list(here.iterdir())) == 21
    assert all(content(made) == expected for made in here.iterdir())
    assert len(trees(root)) == 1


# The next snapshot begins with a copy of the last one.


def many(repo: Repo) -> None:
    for number in range(40):
        repo.write(f"d{number % 4}/f{number}", f"{number}\n")


def modified(repo: Repo) -> None:
    repo.write("d1/f1", "new\n")


def extended(repo: Repo) -> None:
    repo.write("d1/more", "1").write("new/deep/x", "2").write("new/deep/run", "", executable=True)


def deleted(repo: Repo) -> None:
    (repo.path / "d1/f1").unlink()
    shutil.rmtree(repo.path / "d2")


def file_becomes_directory(repo: Repo) -> None:
    (repo.path / "d1/f1").unlink()
    repo.write("d1/f1/x", "1")


def directory_becomes_file(repo: Repo) -> None:
    shutil.rmtree(repo.path / "d1")
    repo.write("d1", "1")


def file_becomes_link(repo: Repo) -> None:
    (repo.path / "d1/f1").unlink()
    repo.symlink("d1/f1", "f5")


def link_becomes_file(repo: Repo) -> None:
    (repo.path / "link").unlink()
    repo.write("link", "1")


def link_becomes_directory(repo: Repo) -> None:
    (repo.path / "link").unlink()
    repo.write("link/f0", "1")


def directory_becomes_link(repo: Repo) -> None:
    shutil.rmtree(repo.path / "d1")
    repo.symlink("d1", "d2")


def link_leads_elsewhere(repo: Repo) -> None:
    (repo.path / "link").unlink()
    repo.symlink("link", "d3")


def mode_changed(repo: Repo) -> None:
    (repo.path / "d1/f1").chmod(0o755)
    (repo.path / "run").chmod(0o644)


def renamed(repo: Repo) -> None:
    (repo.path / "d1").rename(repo.path / "moved")


def converted_changed(repo: Repo) -> None:
    repo.write("a.bat", "three\nfour\n")


@pytest.mark.parametrize(
    "change",
    [
        modified,
        extended,
        deleted,
        file_becomes_directory,
        directory_becomes_file,
        file_becomes_link,
        link_becomes_file,
        link_becomes_directory,
        directory_becomes_link,
        link_leads_elsewhere,
        mode_changed,
        renamed,
        converted_changed,
    ],
)
def test_the_next_snapshot_is_the_last_one_with_its_changes(
    repo: Repo, here: Path, root: Path, copies: list[Path], change: Callable[[Repo], None]
) -> None:
    many(repo)
    repo.write("run", "", executable=True).symlink("link", "d0").symlink("gone", "none")
    repo.write(".gitattributes", "*.bat text eol=crlf\n").write("a.bat", "one\ntwo\n")
    repo.write("b.bat", "same\n")
    kept(repo, here, root)
    change(repo)
    commit = parentless(repo)
    copies.clear()
    made = pull(repo, commit, here, root)
    assert content(made.directory) == content(pull(repo, commit, here, None).directory)
    assert (made.origin, copies) == ("updated", trees(root))
    # All of it is in the cache: the next ones need no server, whatever becomes of the trees.
    repo.path.rename(repo.path.with_name("away"))
    for tree in trees(root):
        sealed.remove(tree)
    for _ in range(2):
        again = pull(repo, commit, here, root)
        assert content(again.directory) == content(made.directory)
        assert again.origin == "cached"


def attributes_changed(repo: Repo) -> None:
    repo.write("d1/.gitattributes", "* text eol=crlf\n")


def most_changed(repo: Repo) -> None:
    for number in range(30):
        repo.write(f"d{number % 4}/f{number}", f"new {number}\n")


@pytest.mark.parametrize("change", [attributes_changed, most_changed])
def test_a_snapshot_unlike_the_last_one_is_written_whole(
    repo: Repo, here: Path, root: Path, copies: list[Path], change: Callable[[Repo], None]
) -> None:
    many(repo)
    kept(repo, here, root)
    change(repo)
    commit = parentless(repo)
    copies.clear()
    made = pull(repo, commit, here, root)
    assert content(made.directory) == content(pull(repo, commit, here, None).directory)
    assert (made.origin, copies) == ("updated", [])
    assert pull(repo, commit, here, root).origin == "cached"


@pytest.mark.parametrize("change", [rewritten, added, removed])
def test_the_next_snapshot_does_not_begin_with_a_changed_tree(
    repo: Repo, here: Path, root: Path, copies: list[Path], change: Callable[[Path], None]
) -> None:
    many(repo)
    kept(repo.write("x", "1").write("d/y", "2"), here, root)
    change(trees(root)[0])
    copies.clear()
    commit = parentless(repo.write("d1/f1", "new"))
    made = pull(repo, commit, here, root)
    assert content(made.directory) == content(pull(repo, commit, here, None).directory)
    assert copies == []


def test_the_next_snapshot_of_some_directories_begins_with_these_of_the_last(
    repo: Repo, here: Path, root: Path, copies: list[Path]
) -> None:
    many(repo)
    first = parentless(repo)
    for _ in range(2):
        pull(repo, first, here, root, directories=["d1", "d2"])
    repo.write("d1/f1", "new").write("d3/f3", "new")
    commit = parentless(repo)
    copies.clear()
    made = pull(repo, commit, here, root, directories=["d2", "d1"])
    whole = pull(repo, commit, here, None, directories=["d1", "d2"])
    assert content(made.directory) == content(whole.directory)
    assert len(copies) == 1
    assert not (copies[0] / "d3").exists()


def test_a_long_row_of_snapshots_stays_right(repo: Repo, here: Path, root: Path) -> None:
    many(repo)
    for number in range(30):
        for file in range(8):
            repo.write(f"d1/f{4 * file + 1}", f"{number} {file}" * 100)
        commit = parentless(repo)
        made = [pull(repo, commit, here, root) for _ in range(2)]
        assert all((each.directory / "d1/f29").read_text() == f"{number} 7" * 100 for each in made)


def test_a_link_that_leads_out_is_refused_in_the_next_snapshot_too(
    repo: Repo, here: Path, root: Path
) -> None:
    many(repo)
    kept(repo.symlink("d1/a", "../d2").symlink("d3/b", "../d1/a/f2"), here, root)
    count = len(list(here.iterdir()))
    (repo.path / "d1/a").unlink()
    repo.symlink("d1/a", "../../../etc")
    for _ in range(2):
        with pytest.raises(CheckoutError, match="leads out"):
            pull(repo, parentless(repo), here, root)
    assert len(list(here.iterdir())) == count


def test_one_name_as_a_link_and_as_a_directory_is_refused_in_the_next_snapshot_too(
    repo: Repo, here: Path, root: Path
) -> None:
    many(repo)
    repo.symlink("a", "d1")
    kept(repo, here, root)
    listed = repo.git("ls-tree", parentless(repo)).splitlines()
    oid = next(line.split()[2] for line in listed if line.endswith("\td2"))
    data = b"".join(
        f"{mode.lstrip('0')} {name}".encode() + b"\0" + bytes.fromhex(each)
        for mode, _, each, name in [
            *(line.replace("\t", " ").split(" ") for line in listed),
            ("40000", "tree", oid, "a"),
        ]
    )
    made = repo.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)
    commit = repo.git("commit-tree", made, "-m", "x")
    with pytest.raises(CheckoutError, match="is there twice"):
        checkout.make(str(repo.path), commit, here, cache=root)
    assert (repo.path / "d1").is_dir()


def test_twenty_pulls_of_the_next_snapshot_at_once_are_all_right(
    repo: Repo, here: Path, root: Path
) -> None:
    many(repo)
    kept(repo, here, root)
    for made in here.iterdir():
        shutil.rmtree(made)
    commit = parentless(repo.write("d1/f1", "new"))
    expected = content(pull(repo, commit, here, None).directory)
    fork = multiprocessing.get_context("fork")
    runs = [fork.Process(target=pull, args=(repo, commit, here, root)) for _ in range(20)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0] * 20
    assert all(content(made) == expected for made in here.iterdir())
