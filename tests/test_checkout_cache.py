"""Pulls that share a cache: always the pin's files, whatever happened to the cache."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_flow import checkout
from gitops_flow.checkout import cache, sealed, sweep
from gitops_flow.errors import CheckoutError, RemoteError
from gitops_flow.git import diagnosis, remote
from tests.support import gitservers
from tests.support.checkouts import AS_A_STEP, only_shelf, parentless, pull
from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_a_snapshot_that_was_pulled_needs_no_server_again(
    repo: Repo, here: Path, root: Path
) -> None:
    repo.write("flow.py", "x").write("run.sh", "#!/bin/sh\n", executable=True)
    repo.write("large", os.urandom(2_500_000)).symlink("link", "flow.py").write("empty")
    commit = parentless(repo)
    first = pull(repo, commit, here, root)
    shutil.move(repo.path, repo.path.with_name("away"))
    again = pull(repo, commit, here, root)
    assert (first.origin, again.origin, again.received) == ("fetched", "cached", 0)
    assert files(again.directory) == files(first.directory)
    assert os.access(again.directory / "run.sh", os.X_OK)
    assert (again.directory / "link").readlink() == Path("flow.py")
    assert again.directory != first.directory


def test_the_next_snapshot_brings_only_what_differs(repo: Repo, here: Path, root: Path) -> None:
    for number in range(300):
        repo.write(f"d{number % 10}/f{number}", os.urandom(2000))
    whole = pull(repo, parentless(repo), here, root)
    changed = 0
    for number in range(3):
        repo.write(f"d{number}/f{number}", os.urandom(2000))
        changed += 2000
    made = pull(repo, parentless(repo), here, root)
    assert made.origin == "updated"
    assert changed < made.received < 2 * changed < whole.received
    assert files(made.directory) == files(repo.path)


def test_what_a_run_writes_reaches_no_other(repo: Repo, here: Path, root: Path) -> None:
    commit = parentless(repo.write("a/x", "pinned").write("y", "pinned"))
    for _ in range(3):
        made = pull(repo, commit, here, root).directory
        assert files(made) == {"a/x": b"pinned", "y": b"pinned"}
        (made / "a/x").write_text("overwritten")
        (made / "y").unlink()


def test_line_endings_come_out_of_the_cache_as_attributes_ask(
    repo: Repo, here: Path, root: Path
) -> None:
    repo.write(".gitattributes", "*.bat text eol=crlf\n").write("a.bat", "one\ntwo\n")
    commit = parentless(repo)
    for origin in ("fetched", "cached"):
        made = pull(repo, commit, here, root)
        assert made.origin == origin
        assert (made.directory / "a.bat").read_bytes() == b"one\r\ntwo\r\n"


def test_a_repository_on_this_machine_is_cached_as_well(repo: Repo, here: Path, root: Path) -> None:
    commit = parentless(repo.write("x", "1"))
    origins = [checkout.make(str(repo.path), commit, here, cache=root).origin for _ in range(2)]
    assert origins == ["read in place", "cached"]


@pytest.mark.parametrize("directories", [[], ["d"]])
def test_what_was_read_in_place_is_fetched_by_an_address_that_is_no_path(
    repo: Repo,
    here: Path,
    root: Path,
    caplog: pytest.LogCaptureFixture,
    directories: list[str],
) -> None:
    commit = parentless(repo.write("d/x", "1"))
    checkout.make(str(repo.path), commit, here, cache=root, directories=directories)
    made = pull(repo, commit, here, root, directories=directories)
    assert (made.origin, files(made.directory)) == ("fetched", {"d/x": b"1"})
    assert caplog.messages == []


@pytest.mark.parametrize("damage", ["changed", "cut", "emptied", "gone"])
def test_a_damaged_cache_is_rebuilt(repo: Repo, here: Path, root: Path, damage: str) -> None:
    for number in range(50):
        repo.write(f"f{number}", os.urandom(1000))
    first = parentless(repo)
    pull(repo, first, here, root)
    for path in (only_shelf(root).path / "objects/pack").iterdir():
        if damage == "gone":
            path.unlink()
            continue
        data = path.read_bytes()
        path.chmod(0o600)
        middle = len(data) // 2
        torn = {
            "changed": data[:middle] + bytes(b ^ 255 for b in data[middle:]),
            "cut": data[:middle],
            "emptied": b"",
        }
        path.write_bytes(torn[damage])
    assert files(pull(repo, first, here, root).directory) == files(repo.path)
    second = parentless(repo.write("f0", "new"))
    assert files(pull(repo, second, here, root).directory) == files(repo.path)
    assert pull(repo, second, here, root).origin == "cached"


@pytest.mark.parametrize("kind", ["blob", "tree"])
def test_the_next_snapshot_rebuilds_a_cache_that_lost_an_object(
    repo: Repo, here: Path, root: Path, kind: str
) -> None:
    first = parentless(repo.write("d/same", "1").write("x", "1"))
    pull(repo, first, here, root)
    loose(only_shelf(root).path / "objects", root / "loose")
    oid = repo.git("rev-parse", f"{first}:d" + ("/same" if kind == "blob" else ""))
    (only_shelf(root).path / "objects" / oid[:2] / oid[2:]).unlink()
    commit = parentless(repo.write("x", "2"))
    assert files(pull(repo, commit, here, root).directory) == {"d/same": b"1", "x": b"2"}
    assert pull(repo, commit, here, root).origin == "cached"


def loose(objects: Path, aside: Path) -> None:
    """Unpack the one pack in ``objects``."""
    (pack,) = objects.glob("pack/*.pack")
    data = pack.read_bytes()
    for path in objects.glob("pack/*"):
        path.unlink()
    subprocess.run(["git", "init", "-q", "--bare", aside], check=True)
    subprocess.run(["git", "-C", aside, "unpack-objects", "-q"], input=data, check=True)
    shutil.copytree(aside / "objects", objects, dirs_exist_ok=True)
    shutil.rmtree(aside)


def test_a_server_that_refuses_costs_the_cache_nothing(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = parentless(repo.write("x", "1"))
    pull(repo, first, here, root)
    commit = parentless(repo.write("x", "2"))

    def refused(*_: object, **__: object) -> None:
        raise diagnosis.explain("fatal: The requested URL returned error: 403", "https://h/x")

    with monkeypatch.context() as patch:
        patch.setattr(remote, "fetch", refused)
        with pytest.raises(RemoteError):
            pull(repo, commit, here, root)
    assert pull(repo, first, here, root).origin == "cached"


def test_an_object_of_the_cache_that_is_not_what_its_name_says_is_never_handed_over(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("flow.py", "print('right')\n"))
    pull(repo, commit, here, root)
    objects = only_shelf(root).path / "objects"
    loose(objects, root / "loose")
    oid = repo.git("rev-parse", f"{commit}:flow.py")
    blob = objects / oid[:2] / oid[2:]
    blob.chmod(0o600)
    blob.write_bytes(zlib.compress(b"blob 15\0print('wrong')\n"))
    made = pull(repo, commit, here, root)
    assert (made.directory / "flow.py").read_text() == "print('right')\n"
    assert made.origin == "fetched"


def test_a_cache_on_a_full_disk_is_done_without(repo: Repo, here: Path, small_disk: Path) -> None:
    for number in range(10):
        repo.write(f"f{number}", os.urandom(50_000))
    commit = parentless(repo)
    for _ in range(2):
        made = pull(repo, commit, here, small_disk / "checkout")
        assert files(made.directory) == files(repo.path)


@pytest.mark.parametrize("address", ["path", "file://"])
def test_a_shared_directory_that_the_cache_has_no_room_for_is_done_without(
    repo: Repo, small_disk: Path, address: str
) -> None:
    for number in range(10):
        repo.write(f"f{number}", os.urandom(50_000))
    commit = parentless(repo)
    place = checkout.Place(f"file://{repo.path}" if address == "file://" else str(repo.path))
    with pytest.raises(cache.UnusableError):
        checkout.make_shared([place], commit, small_disk / "checkout", pauses=())
    assert not list((small_disk / "checkout").glob("*/trees/*"))


def test_a_cache_that_may_only_be_read_is_done_without_and_told_once(
    repo: Repo, here: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commit = parentless(repo.write("x", "1"))
    for _ in range(2):
        pull(repo, commit, here, small_disk / "checkout")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    made = pull(repo, commit, here, small_disk / "checkout")
    assert (made.origin, files(made.directory)) == ("fetched", {"x": b"1"})
    assert caplog.messages == ["the cache of checkouts is not used: Read-only file system"]


@pytest.mark.parametrize("kind", ["file", "unwritable"])
def test_a_cache_that_cannot_be_made_is_done_without(
    repo: Repo, here: Path, tmp_path: Path, kind: str
) -> None:
    commit = parentless(repo.write("x", "1"))
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" if kind == "file" else Path("/proc/none")
    assert files(pull(repo, commit, here, place).directory) == {"x": b"1"}


def test_the_directories_of_the_cache_are_for_their_owner_alone(
    repo: Repo, here: Path, root: Path
) -> None:
    pull(repo, parentless(repo.write("x", "1")), here, root)
    assert root.stat().st_mode & 0o077 == 0


def test_in_a_directory_that_a_group_shares_all_is_for_the_group(
    repo: Repo, here: Path, tmp_path: Path
) -> None:
    base = tmp_path / "group"
    base.mkdir()
    base.chmod(0o2770)
    pull(repo, parentless(repo.write("x", "1")), here, base / "checkout")
    for path in (base / "checkout").rglob("*"):
        if path.is_dir():
            assert path.stat().st_mode & 0o2070 == 0o2070, path


def test_what_is_put_into_a_groups_cache_can_be_read_by_the_group_whatever_the_umask(
    repo: Repo, here: Path, tmp_path: Path
) -> None:
    base = tmp_path / "group"
    base.mkdir()
    base.chmod(0o2770)
    before = os.umask(0o077)
    try:
        pull(repo, parentless(repo.write("x", "1")), here, base / "checkout")
    finally:
        os.umask(before)
    packs = list(only_shelf(base / "checkout").path.glob("objects/pack/*"))
    assert packs
    assert all(path.stat().st_mode & 0o040 for path in packs)


@pytest.fixture
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that root shares with the group of nobody."""
    if os.getuid():
        pytest.skip("only root can become another user")
    base = Path("/tmp") / f"gitflow-test-{os.getpid()}"
    base.mkdir()
    os.chown(base, 0, 65534)
    base.chmod(0o2770)
    (base / "other").mkdir()
    os.chown(base / "other", 65534, 65534)
    yield base
    shutil.rmtree(base)


def as_nobody(do: Callable[[], bool]) -> bool:
    """What ``do`` says in a process of the user nobody."""

    def become() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        sys.exit(not do())

    child = multiprocessing.get_context("fork").Process(target=become)
    child.start()
    child.join(60)
    return child.exitcode == 0


def test_two_users_of_one_cache_get_the_pins_files(repo: Repo, tmp_path: Path, group: Path) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, tmp_path, group / "checkout")

    def same() -> bool:
        made = pull(repo, commit, group / "other", group / "checkout")
        return made.origin == "cached" and files(made.directory) == {"x": b"1"}

    assert as_nobody(same)


def test_two_users_who_share_directories_have_one_each(repo: Repo, group: Path) -> None:
    commit, root = parentless(repo.write("x", "1")), group / "checkout"
    ours = give(repo, commit, root).directory

    def twice() -> bool:
        theirs = [give(repo, commit, root).directory for _ in range(2)]
        return theirs[0] == theirs[1] != ours and files(theirs[0]) == {"x": b"1"}

    assert as_nobody(twice)
    assert give(repo, commit, root).directory == ours


def test_each_user_of_a_cache_clears_away_what_is_his(repo: Repo, group: Path) -> None:
    commit, root = parentless(repo.write("x", "1")), group / "checkout"
    pull(repo, commit, group, root)
    sweep_now(root)

    def made_and_swept() -> bool:
        made = give(repo, commit, root).directory
        sealed._kept.pop(made).close()
        sweep.cache(root, sweep.Limits(size=0))
        return not made.exists()

    assert as_nobody(made_and_swept)


def test_links_that_another_user_makes_in_the_cache_are_not_followed(
    repo: Repo, group: Path, tmp_path: Path
) -> None:
    root = group / "checkout"
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, group, root)
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    (victim / "key").touch(mode=0o600)
    shelf = only_shelf(root).path
    (shelf / "making").rmdir()
    (shelf / "home").symlink_to(victim)
    (shelf / "locks" / "database").unlink()
    (shelf / "locks" / "database").symlink_to(victim / "key")
    assert files(pull(repo, commit, group, root).directory) == {"x": b"1"}
    modes = [path.stat().st_mode & 0o7777 for path in (victim, victim / "key")]
    assert modes == [0o700, 0o600]


def test_addresses_of_one_repository_share_and_credentials_do_not_count(root: Path) -> None:
    of = {
        cache.shelf(root, address).path
        for address in (
            "https://git.example.org/a/b.git",
            "https://user:token@git.example.org/a/b",
            "git@git.example.org:a/b.git",
        )
    }
    assert len(of) == 1
    assert cache.shelf(root, "https://git.example.org/a/c.git").path not in of
    assert not [path for path in root.rglob("*") if "token" in path.name]


# Some directories of a large repository.


@pytest.mark.parametrize("filters", ["true", "false"])
def test_chosen_directories_are_all_that_comes_if_the_server_can_filter(
    repo: Repo, here: Path, root: Path, filters: str
) -> None:
    repo.git("config", "uploadpack.allowFilter", filters)
    repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    for number in range(100):
        repo.write(f"d{number % 10}/f{number}", os.urandom(2000))
    commit = parentless(repo)
    made = pull(repo, commit, here, root, directories=["d3"])
    assert files(made.directory) == {
        name: data for name, data in files(repo.path).items() if name.startswith("d3/")
    }
    assert (made.received < 60_000) == (filters == "true")
    assert pull(repo, commit, here, root, directories=["d3"]).origin == "cached"
    assert files(pull(repo, commit, here, root).directory) == files(repo.path)


def test_a_chosen_directory_may_have_any_name(repo: Repo, here: Path, root: Path) -> None:
    name = os.fsdecode(b"\xff\xfe")
    commit = parentless(repo.write(f"{name}/x", "1").write("b/y", "2"))
    for place in (root, root, None):
        made = pull(repo, commit, here, place, directories=[name])
        assert files(made.directory) == {f"{name}/x": b"1"}


def test_a_chosen_directory_that_no_disk_can_have_is_told(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("a/x", "1"))
    for place in (root, None):
        with pytest.raises(CheckoutError, match="no name of a directory"):
            pull(repo, commit, here, place, directories=["\ud800"])
    assert list(here.iterdir()) == []


def test_another_choice_of_directories_is_not_answered_from_the_first(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("a/x", "1").write("b/y", "2"))
    for name in ("a", "b"):
        made = pull(repo, commit, here, root, directories=[name])
        assert [path.name for path in made.directory.iterdir()] == [name]


# Several addresses.


def test_the_first_address_that_answers_is_used(repo: Repo, here: Path, root: Path) -> None:
    commit = parentless(repo.write("x", "1"))
    dead = f"git://127.0.0.1:{gitservers.refused_port()}/x"
    with gitservers.hanging() as port:
        places = [
            checkout.Place(dead),
            checkout.Place(f"git://127.0.0.1:{port}/x", timeout=0.5),
            checkout.Place(f"file://{repo.path}"),
        ]
        made = checkout.make(places, commit, here, pauses=(), cache=root)
    assert files(made.directory) == {"x": b"1"}


def test_when_no_address_answers_the_error_names_all(here: Path, root: Path) -> None:
    urls = [f"git://127.0.0.1:{gitservers.refused_port()}/{name}" for name in "ab"]
    with pytest.raises(RemoteError, match="none of 2 addresses") as caught:
        checkout.make([checkout.Place(url) for url in urls], "a" * 40, here, pauses=(), cache=root)
    assert all(url in str(caught.value) for url in urls)
    assert caught.value.retry


# One directory for all runs.


def give(repo: Repo, commit: str, root: Path, **more: object) -> checkout.Checkout:
    place = checkout.Place(f"file://{repo.path}")
    return checkout.make_shared([place], commit, root, pauses=(), **more)  # type: ignore[arg-type]


def test_shared_runs_get_one_read_only_directory(repo: Repo, root: Path) -> None:
    repo.write("a/x", "1").write("run", "#!/bin/sh\n", executable=True).symlink("l", "a")
    commit = parentless(repo)
    first, second = give(repo, commit, root), give(repo, commit, root)
    assert first.directory == second.directory
    assert second.origin == "shared"
    assert second.files == 2
    for path in [first.directory, *first.directory.rglob("*")]:
        assert path.is_symlink() or path.stat().st_mode & 0o222 == 0, path
    assert os.access(first.directory / "run", os.X_OK)


def test_a_process_holds_a_shared_directory_only_once(repo: Repo, root: Path) -> None:
    commit = parentless(repo.write("x", "1"))
    give(repo, commit, root)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        give(repo, commit, root)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("change", ["rewritten", "added", "removed"])
def test_a_shared_directory_that_was_changed_is_not_handed_out_again(
    repo: Repo, root: Path, change: str
) -> None:
    commit = parentless(repo.write("x", "1").write("y", "2"))
    first = give(repo, commit, root).directory
    first.chmod(0o755)
    before = (first / "x").stat()
    if change == "rewritten":
        (first / "x").chmod(0o644)
        (first / "x").write_text("!")
        (first / "x").chmod(0o444)
        os.utime(first / "x", ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "added":
        (first / "__pycache__").mkdir()
    else:
        (first / "y").unlink()
    first.chmod(0o555)
    second = give(repo, commit, root)
    assert second.directory != first
    assert files(second.directory) == {"x": b"1", "y": b"2"}


# Clearing away.


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def sweep_now(root: Path, **limits: float) -> None:
    (root / f".swept-{os.geteuid()}").unlink(missing_ok=True)
    sweep.cache(root, sweep.Limits(**limits))


def trees(root: Path, shelf: str = "*") -> set[str]:
    """The snapshots that have a sealed tree."""
    return {path.name[:40] for path in root.glob(f"{shelf}/trees/*.seal")}


def test_trees_go_by_age_and_then_by_size_the_least_used_first(
    repo: Repo, here: Path, root: Path
) -> None:
    commits = [parentless(repo.write("x", os.urandom(50_000))) for _ in range(4)]
    for commit in commits * 2:
        checkout.make(str(repo.path), commit, here, cache=root)
    for days, commit in enumerate(reversed(commits)):
        aged(sealed.Key(only_shelf(root), commit, ()).seal, days * 86400 + 60)
    assert trees(root) == set(commits)
    sweep_now(root, age=2.5 * 86400)
    assert trees(root) == set(commits[1:])
    sweep_now(root, size=120_000)
    assert trees(root) == set(commits[2:])


def test_the_objects_go_when_nothing_of_them_was_used_for_long(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    sweep_now(root, age=86400)
    assert pull(repo, commit, here, root).origin == "cached"
    aged(only_shelf(root).path / "pulled" / commit, 2 * 86400)
    sweep_now(root, age=86400)
    assert list((only_shelf(root).path / "objects" / "pack").iterdir()) == []
    assert pull(repo, parentless(repo.write("x", "2")), here, root).origin == "fetched"


def test_the_objects_go_when_they_alone_take_too_much(repo: Repo, here: Path, root: Path) -> None:
    commit = parentless(repo.write("x", os.urandom(50_000)))
    pull(repo, commit, here, root)
    sweep_now(root, size=49_000)
    assert pull(repo, commit, here, root).origin == "fetched"


def test_objects_that_are_read_stay(repo: Repo, here: Path, root: Path) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    with only_shelf(root).claimed("database", 0.0, shared=True):
        sweep_now(root, size=0)
    assert pull(repo, commit, here, root).origin == "cached"


def test_a_cache_of_which_a_part_was_deleted_is_still_cleared_away(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    pull(repo, commit, here, root)
    (root / "another").mkdir()
    sweep_now(root, size=0)
    assert trees(root, "project-*") == set()


def test_a_pipe_in_the_place_of_a_seal_does_not_keep_the_cache_from_being_cleared_away(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    pull(repo, commit, here, root)
    os.mkfifo(only_shelf(root).path / "trees" / "a.seal")
    sweep_now(root, size=0)
    assert not [path for path in (only_shelf(root).path / "trees").iterdir() if path.is_dir()]


def test_while_the_packs_of_one_repository_are_read_the_rest_is_cleared_away(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    pull(repo, commit, here, root)
    monkeypatch.setattr(sweep, "_MANY_PACKS", 0)
    with only_shelf(root).claimed("database", 0.0, shared=True):
        sweep_now(root, size=0)
    assert trees(root) == set()


def test_what_a_link_in_the_cache_leads_to_is_not_cleared_away(
    repo: Repo, here: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_SELDOM", 0.0)
    pull(repo, parentless(repo.write("x", "1")), here, root)
    name = f"project-{'a' * 12}-{'b' * 8}"
    victim = tmp_path / "home" / "trees" / name
    victim.mkdir(parents=True)
    victim.chmod(0o755)
    (only_shelf(root).path / "trees" / name).symlink_to(victim)
    (root / "home").symlink_to(tmp_path / "home")
    sweep_now(root, size=0)
    assert victim.stat().st_mode & 0o777 == 0o755


def test_the_cache_is_looked_over_only_once_in_a_while(repo: Repo, here: Path, root: Path) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    sweep.cache(root, sweep.Limits())
    sweep.cache(root, sweep.Limits(size=0))
    assert pull(repo, commit, here, root).origin == "cached"


def test_many_packs_become_one_and_the_next_snapshot_still_builds_on_it(
    repo: Repo, here: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        repo.write(f"f{number}", os.urandom(1000))
    for number in range(4):
        pull(repo, parentless(repo.write("x", f"{number}")), here, root)
    monkeypatch.setattr(sweep, "_MANY_PACKS", 2)
    sweep_now(root)
    packs = only_shelf(root).path / "objects" / "pack"
    assert len(list(packs.glob("*.pack"))) == len(list(packs.glob("*.idx"))) == 1
    made = pull(repo, parentless(repo.write("x", "next")), here, root)
    assert made.origin == "updated"
    assert made.received < 5000
    assert files(made.directory) == files(repo.path)


USE_SHARED = (
    AS_A_STEP
    + """
import pathlib, sys, time
from gitops_flow import checkout
made = checkout.make_shared([checkout.Place(sys.argv[1])], sys.argv[2], pathlib.Path(sys.argv[3]))
print(made.directory, flush=True)
time.sleep(60)
"""
)


def test_a_shared_directory_goes_only_when_no_process_uses_it(repo: Repo, root: Path) -> None:
    commit = parentless(repo.write("x", "1"))
    arguments = [sys.executable, "-c", USE_SHARED, f"file://{repo.path}", commit, str(root)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        directory = Path(user.stdout.readline().strip())
        sweep_now(root, size=0)
        assert files(directory) == {"x": b"1"}
        user.kill()
    sweep_now(root, size=0)
    assert not directory.exists()
    assert sealed.find(sealed.Key(only_shelf(root), commit, ())) is None


RUN = """
import os, pathlib, sys, time
from gitops_flow.checkout import sweep
made = pathlib.Path(sys.argv[1]); made.mkdir(); sweep.register(made); print(flush=True)
time.sleep(60)
"""


def test_a_runs_directory_goes_only_after_the_run_and_its_age(here: Path) -> None:
    made = here / f"project-{'a' * 12}-{'b' * 8}"
    arguments = [sys.executable, "-c", RUN, str(made)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        run.stdout.readline()
        assert sweep.finished_runs(here, 0.0) == 0
        run.kill()
    assert sweep.finished_runs(here, 3600.0) == 0
    assert made.is_dir()
    assert sweep.finished_runs(here, 0.0) == 1
    assert list(here.iterdir()) == []


def test_a_directory_that_no_run_made_is_left_alone(repo: Repo, here: Path, root: Path) -> None:
    made = pull(repo, parentless(repo.write("x")), here, root).directory
    assert sweep.finished_runs(here, 0.0) == 0
    assert made.is_dir()


def test_directories_that_a_run_made_read_only_go_with_it(repo: Repo, group: Path) -> None:
    here = group / "other"

    def cleared() -> bool:
        made = here / f"project-{'a' * 12}-{'b' * 8}"
        (made / "locked").mkdir(parents=True)
        (made / "locked" / "x").touch()
        (made / "locked").chmod(0o555)
        sweep.register(made)
        os.close(sweep._running.pop())
        return sweep.finished_runs(here, 0.0) == 1 and list(here.iterdir()) == []

    assert as_nobody(cleared)


@pytest.mark.parametrize("note", [".src.run", "..run", "...run", "....run", ".src-1.run"])
def test_a_file_that_is_no_note_of_ours_deletes_nothing(here: Path, note: str) -> None:
    (here / "src").mkdir()
    (here / "src-1").mkdir()
    (here / note).touch()
    os.utime(here / note, (1, 1))
    assert sweep.finished_runs(here, 3600.0) == 0
    assert sorted(path.name for path in here.iterdir()) == sorted([note, "src", "src-1"])


# Many at once.

STORM = (
    AS_A_STEP
    + """
import pathlib, random, sys
from gitops_flow import checkout
url, here, root, seed, *commits = sys.argv[1:]
random.seed(seed)
for commit in random.sample(commits, 5):
    made = checkout.make(url, commit, pathlib.Path(here), cache=pathlib.Path(root), pauses=())
    print(commit, made.directory, flush=True)
"""
)


@pytest.mark.real
def test_fifty_runs_at_once_over_ten_snapshots_while_others_are_killed(
    repo: Repo, here: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chooser = random.Random(3)
    expected = {}
    for number in range(10):
        for _ in range(30):
            name = f"d{chooser.randrange(5)}/f{chooser.randrange(60)}"
            repo.write(name, f"{number} {chooser.random()}\n" * 20)
        commit = parentless(repo)
        expected[commit] = files(repo.path)
    with gitservers.git_daemon(tmp_path, tmp_path / "daemon") as server:
        arguments = [server.url("project"), str(here), str(root)]
        runs: list[tuple[subprocess.Popen[str], bool]] = []
        for number in range(50):
            command = [sys.executable, "-c", STORM, *arguments, str(number), *expected]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            runs.append((process, number % 3 == 0))
            if len([each for each, _ in runs if each.poll() is None]) >= 12:
                victims = [each for each, doomed in runs if doomed and each.poll() is None]
                time.sleep(chooser.random() * 0.3)
                for victim in victims[:2]:
                    victim.send_signal(signal.SIGKILL)
                while len([each for each, _ in runs if each.poll() is None]) >= 12:
                    time.sleep(0.02)
        for process, doomed in runs:
            out, _ = process.communicate(timeout=120)
            assert doomed or process.returncode == 0
            assert doomed or len(out.splitlines()) == 5
            for line in out.splitlines():
                commit, directory = line.split(" ", 1)
                assert files(Path(directory)) == expected[commit]
        # What the killed ones left has no final name, and the next pulls clear it away.
        for path in here.iterdir():
            if not path.name.startswith("."):
                assert files(path) in expected.values()
        last = next(iter(expected))
        made = checkout.make(arguments[0], last, here, cache=root)
        assert files(made.directory) == expected[last]
    assert not list(here.glob(".*.partial-*"))


def test_a_run_whose_snapshot_is_there_does_not_wait_for_a_download(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, commit, here, root)
    shelf = only_shelf(root)
    with shelf.claimed(commit[:3], 0.0), shelf.claimed("database", 0.0, shared=True):
        assert pull(repo, commit, here, root).origin == "cached"


def test_a_download_that_never_ends_is_waited_for_only_so_long(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("x", "1"))
    pull(repo, parentless(repo.write("x", "2")), here, root)
    place = checkout.Place(f"file://{repo.path}", timeout=5)
    with only_shelf(root).claimed(commit[:3], 0.0):
        began = time.monotonic()
        made = checkout.make([place], commit, here, cache=root)
    assert files(made.directory) == {"x": b"1"}
    assert time.monotonic() - began >= 5


def test_an_error_of_the_content_is_not_taken_for_a_damaged_cache(
    repo: Repo, here: Path, root: Path
) -> None:
    commit = parentless(repo.write("x", "1").symlink("out", "../../secret"))
    for _ in range(2):
        with pytest.raises(CheckoutError, match="leads out"):
            pull(repo, commit, here, root)
    assert list(here.iterdir()) == []
