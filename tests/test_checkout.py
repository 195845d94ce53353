"""From a pin to a directory: exactly those bytes, or a clear error and nothing."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_flow import checkout
from gitops_flow import files as leftovers
from gitops_flow.checkout import objects, tree, write
from gitops_flow.checkout.objects import DamagedError, Store, opened
from gitops_flow.errors import CheckoutError, GitError, RemoteError
from tests.support import gitservers
from tests.support.repo import Repo

if TYPE_CHECKING:
    pass

PNG = bytes(range(256)) * 40


@pytest.fixture(params=["path", "file://"])
def address(request: pytest.FixtureRequest, repo: Repo) -> str:
    """The repository as a path, whose objects are borrowed, and as a URL, which is fetched."""
    return f"file://{repo.path}" if request.param == "file://" else str(repo.path)


def make(address: str, commit: str, here: Path, **more: object) -> checkout.Checkout:
    return checkout.make(address, commit, here, pauses=(), **more)  # type: ignore[arg-type]


def content(root: Path) -> dict[bytes, tuple[str, bytes, bool]]:
    """Every file and link below ``root`` (without .git): kind, content, executable."""
    found = {}
    base = os.fsencode(root)
    for directory, directories, files in os.walk(base):
        if directory == base and b".git" in directories:
            directories.remove(b".git")
        for name in files + [d for d in directories if os.path.islink(os.path.join(directory, d))]:
            path = os.path.join(directory, name)
            key = os.path.relpath(path, base)
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path), False)
            else:
                executable = bool(os.stat(path).st_mode & stat.S_IXUSR)
                found[key] = ("file", Path(os.fsdecode(path)).read_bytes(), executable)
    return found


def raw_commit(repo: Repo, *entries: tuple[str, bytes, str]) -> str:
    """A commit of a tree with ``(mode, name, id)`` that git itself would refuse to make."""
    data = b"".join(
        f"{mode} ".encode() + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in entries
    )
    made = repo.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)
    return repo.git("commit-tree", made, "-m", "x")


def blob(repo: Repo, data: bytes) -> str:
    return repo.git("hash-object", "-w", "--stdin", stdin=data)


def test_the_directory_is_byte_for_byte_the_working_tree(
    repo: Repo, address: str, here: Path
) -> None:
    repo.write("flow.py", "print('hello')\n").write("run.sh", "#!/bin/sh\n", executable=True)
    repo.write("a/b/deep.bin", PNG).write("empty", b"").symlink("a/link", "../flow.py")
    repo.write("crlf.txt", b"one\r\ntwo\n").symlink("dirlink", "a/b").symlink("dangling", "none")
    commit = repo.commit()
    made = make(address, commit, here)
    assert content(made.directory) == content(repo.path)
    assert made.files == 5


def test_any_file_name_is_kept(repo: Repo, address: str, here: Path) -> None:
    for name in [
        b"-dash",
        b"sp ace",
        b"new\nline",
        b"quo'te\"s",
        b"\xff\xfe",
        b"tab\t",
        b"back\\slash",
        b"\xc3\xa9",
        b"e\xcc\x81",
        b".github/x",
        b"gitlab",
        b"git~2",
        b"...",
    ]:
        repo.write(name, name)
    made = make(address, repo.commit(), here)
    assert content(made.directory) == content(repo.path)


def test_a_file_larger_than_one_piece_is_complete(repo: Repo, address: str, here: Path) -> None:
    repo.write("large", os.urandom(3_500_001)).write("after", "x")
    made = make(address, repo.commit(), here)
    assert content(made.directory) == content(repo.path)


def test_files_that_two_threads_write_are_all_there(repo: Repo, address: str, here: Path) -> None:
    for number in range(1500):
        repo.write(f"d{number % 7}/f{number}", f"{number}")
    made = make(address, repo.commit(), here)
    assert content(made.directory) == content(repo.path)


@pytest.mark.parametrize("number", [0, 1499], ids=["first half", "second half"])
def test_a_missing_object_among_many_is_named_and_leaves_nothing(
    repo: Repo, here: Path, number: int
) -> None:
    for at in range(1500):
        repo.write(f"d{at % 7}/{at:04}", f"{at}\n")
    commit = repo.commit("many")
    listed = sorted(repo.git("ls-tree", "-r", commit).splitlines(), key=lambda line: line[53:])
    lost = listed[number].split()[2]
    (repo.path / ".git/objects" / lost[:2] / lost[2:]).unlink()
    with pytest.raises(CheckoutError, match=f"{lost} is missing"):
        make(str(repo.path), commit, here)
    assert list(here.iterdir()) == []


def test_a_commit_without_files_is_an_empty_directory(repo: Repo, address: str, here: Path) -> None:
    made = make(address, repo.commit(), here)
    assert list(made.directory.iterdir()) == []


def test_nothing_of_git_is_left_in_or_beside_the_directory(
    repo: Repo, address: str, here: Path
) -> None:
    repo.write("x", "1")
    made = make(address, repo.commit(), here)
    assert sorted(p.name for p in made.directory.iterdir()) == ["x"]
    assert list(here.iterdir()) == [made.directory]


def test_the_name_tells_repository_and_commit_and_is_new_each_time(repo: Repo, here: Path) -> None:
    commit = repo.write("x").commit()
    names = {make(str(repo.path), commit, here).directory.name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith(f"project-{commit[:12]}-") for name in names)


def test_a_repositorys_name_may_be_as_long_as_the_disk_takes(tmp_path: Path, here: Path) -> None:
    repo = Repo(tmp_path / ("x" * 250))
    assert content(make(str(repo.path), repo.write("x").commit(), here).directory)


def test_the_umask_applies_as_git_applies_it(repo: Repo, here: Path) -> None:
    repo.write("x").write("run", executable=True)
    commit = repo.commit()
    before = os.umask(0o027)
    try:
        made = make(str(repo.path), commit, here).directory
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((made / name).stat().st_mode) for name in ("x", "run", ".")}
    assert modes == {"x": 0o640, "run": 0o750, ".": 0o750}


# What the worker is set up to do must not matter.


@pytest.fixture
def hostile_worker(home: Path, tmp_path: Path) -> Path:
    """Settings on the worker that would change bytes or run programs; the file they would make."""
    ran = tmp_path / "ran"
    for key, value in {
        "core.autocrlf": "true",
        "core.eol": "crlf",
        "core.attributesFile": str(tmp_path / "attributes"),
        "filter.evil.smudge": f"touch {ran}; tr a-z A-Z",
        "filter.evil.process": f"touch {ran}",
        "filter.evil.required": "true",
        "core.hooksPath": str(tmp_path / "hooks"),
        "init.templateDir": str(tmp_path / "template"),
    }.items():
        subprocess.run(["git", "config", "--global", key, value], check=True)
    (tmp_path / "attributes").write_text("* filter=evil eol=crlf\n")
    (tmp_path / "hooks").mkdir()
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        (tmp_path / "hooks" / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (tmp_path / "hooks" / name).chmod(0o755)
    return ran


def test_the_workers_git_settings_change_nothing(
    repo: Repo, address: str, here: Path, hostile_worker: Path
) -> None:
    lines = b"one\ntwo\n"
    oid = blob(repo, lines)
    commit = raw_commit(repo, ("100644", b"file.txt", oid))
    made = make(address, commit, here)
    assert (made.directory / "file.txt").read_bytes() == lines
    assert not hostile_worker.exists()


def test_a_filter_that_the_worker_knows_is_not_run_but_told(
    repo: Repo, address: str, here: Path, hostile_worker: Path
) -> None:
    entries = [
        (
            "100644",
            b".gitattributes",
            blob(repo, b"*.dat filter=evil\n*.crlf filter=evil eol=crlf\n"),
        ),
        ("100644", b"a.dat", blob(repo, b"stored\n")),
        ("100644", b"b.crlf", blob(repo, b"stored\n")),
    ]
    made = make(address, raw_commit(repo, *entries), here)
    assert (made.directory / "a.dat").read_bytes() == b"stored\n"
    assert (made.directory / "b.crlf").read_bytes() == b"stored\r\n"
    assert not hostile_worker.exists()
    assert len(made.warnings) == 1
    assert "2 file(s) such as 'a.dat' belong to the filter 'evil'" in made.warnings[0]


def test_attributes_convert_as_git_checkout_does(
    repo: Repo, address: str, here: Path, tmp_path: Path
) -> None:
    repo.write(
        ".gitattributes",
        "*.bat eol=crlf\n*.u16 working-tree-encoding=UTF-16LE text\n"
        "*.id ident\n*.auto text=auto\n*.raw -text eol=crlf\n[attr]win text eol=crlf\n",
    )
    repo.write("a.bat", b"one\r\ntwo\r\n").write("sub/b b.bat", b"x\r\n").write(
        b"new\nline.bat", b"1\r\n"
    )
    repo.write("t.u16", "caf\u00e9\n".encode("utf-16-le")).write("v.id", b"$Id$\n")
    repo.write("m.auto", b"one\n").write("r.raw", b"one\ntwo\r\n").write("empty.bat", b"")
    repo.write("in/.gitattributes", "*.txt win\n").write("in/w.txt", b"w\r\n", executable=True)
    commit = repo.commit()
    repo.git("clone", "-q", str(repo.path), str(tmp_path / "clone"))
    made = make(address, commit, here)
    assert content(made.directory) == content(tmp_path / "clone")
    assert (made.directory / "a.bat").read_bytes() == b"one\r\ntwo\r\n"
    assert (made.directory / "t.u16").read_bytes() == "caf\u00e9\n".encode("utf-16-le")


@pytest.mark.parametrize("name", [b" x", b"\tx", b"x\r", b" d/x", b"x\n y", b"x ", b"-x"])
def test_attributes_of_any_file_name_are_those_of_the_whole_name(
    repo: Repo, here: Path, name: bytes
) -> None:
    repo.write(name, "one\n").write(name.strip(), "one\n")
    quoted = name.replace(b"\r", b"\\r").replace(b"\n", b"\\n").replace(b"\t", b"\\t")
    repo.write(".gitattributes", b'"/%s" text eol=crlf\n' % quoted)
    made = make(str(repo.path), repo.commit(), here)
    assert (made.directory / os.fsdecode(name)).read_bytes() == b"one\r\n"
    if name != name.strip():
        assert (made.directory / os.fsdecode(name.strip())).read_bytes() == b"one\n"


def test_attributes_that_are_converted_themselves_are_read_before(repo: Repo, here: Path) -> None:
    repo.write("new\nline.bat", "one\n").write("x.bat", "one\n")
    attributes = "* text\n*.bat eol=crlf\n.gitattributes working-tree-encoding=UTF-16LE\n"
    oid = blob(repo, attributes.encode())
    repo.git("add", "-A")
    repo.git("update-index", "--add", "--cacheinfo", f"100644,{oid},.gitattributes")
    made = make(str(repo.path), repo.commit(add=False), here)
    assert (made.directory / ".gitattributes").read_bytes() == attributes.encode("utf-16-le")
    for name in ("new\nline.bat", "x.bat"):
        assert (made.directory / name).read_bytes() == b"one\r\n"


# Content that must not become files.


@pytest.mark.parametrize("name", [
    b".git", b".GIT", b".Git ", b".git.", b"git~1", b"GIT~1", b".git:stream", b".git\\x",
    ".g\u200cit".encode(), "\u200d.git".encode(), b"..", b".", b"a/b", b"../escape",
])  # fmt: skip
def test_a_name_that_some_disk_takes_for_git_or_another_directory_is_refused(
    repo: Repo, address: str, here: Path, name: bytes
) -> None:
    commit = raw_commit(repo, ("100644", name, blob(repo, b"x")))
    with pytest.raises(CheckoutError, match="does not allow"):
        make(address, commit, here)
    assert list(here.iterdir()) == []


def test_an_entry_without_a_name_is_refused(repo: Repo, here: Path) -> None:
    with pytest.raises(CheckoutError, match="does not allow"):
        make(str(repo.path), raw_commit(repo, ("100644", b"", blob(repo, b"x"))), here)


def test_one_name_as_a_link_and_as_a_directory_is_refused(
    repo: Repo, here: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    inner = repo.git("mktree", stdin=f"100644 blob {blob(repo, b'x')}\tfile\n".encode())
    commit = raw_commit(
        repo, ("120000", b"a", blob(repo, os.fsencode(outside))), ("40000", b"a", inner)
    )
    with pytest.raises(CheckoutError, match="there twice"):
        make(str(repo.path), commit, here)
    assert list(outside.iterdir()) == []


def test_a_submodule_is_refused(repo: Repo, address: str, here: Path) -> None:
    commit = raw_commit(repo, ("160000", b"sub", "1" * 40))
    with pytest.raises(CheckoutError, match="'sub' is a submodule"):
        make(address, commit, here)


def test_an_unknown_mode_is_refused(repo: Repo, here: Path) -> None:
    with pytest.raises(CheckoutError, match="unknown mode 777"):
        make(str(repo.path), raw_commit(repo, ("777", b"x", blob(repo, b""))), here)


@pytest.mark.parametrize("target", ["/etc/passwd", "..", "../x", "a/../../x", "", "./../.."])
def test_a_link_that_leads_out_is_refused(
    repo: Repo, address: str, here: Path, target: str
) -> None:
    commit = raw_commit(repo, ("120000", b"link", blob(repo, target.encode())))
    with pytest.raises(CheckoutError, match="link 'link' leads out"):
        make(address, commit, here)
    assert list(here.iterdir()) == []


def test_a_link_that_leads_out_through_another_link_is_refused(repo: Repo, here: Path) -> None:
    repo.symlink("a/b/up", "../..").symlink("out", "a/b/up/../secret")
    commit = repo.commit()
    with pytest.raises(CheckoutError, match="'out' leads out"):
        make(str(repo.path), commit, here)


def test_links_that_stay_inside_or_turn_in_circles_are_made(repo: Repo, here: Path) -> None:
    repo.write("a/x").symlink("root", ".").symlink("a/up", "..").symlink("loop", "loop")
    made = make(str(repo.path), repo.commit(), here)
    assert content(made.directory) == content(repo.path)


def test_a_tree_that_multiplies_is_refused_before_it_fills_the_disk(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_ENTRIES", 5000)
    inner = repo.git("mktree", stdin=f"100644 blob {blob(repo, b'x')}\tf\n".encode())
    for _ in range(5):
        inner = repo.git(
            "mktree", stdin="".join(f"040000 tree {inner}\td{n}\n" for n in range(10)).encode()
        )
    commit = repo.git("commit-tree", inner, "-m", "bomb")
    with pytest.raises(CheckoutError, match="expands to more than"):
        make(str(repo.path), commit, here)
    assert list(here.iterdir()) == []


# Damage, and everything that is not there.


def test_a_tampered_object_is_found(repo: Repo, here: Path) -> None:
    repo.write("x", "good")
    commit = repo.commit()
    oid, evil = blob(repo, b"good"), blob(repo, b"evil")
    objects = repo.path / ".git/objects"
    target = objects / oid[:2] / oid[2:]
    target.chmod(0o644)
    target.write_bytes((objects / evil[:2] / evil[2:]).read_bytes())
    with pytest.raises(CheckoutError, match="cannot be read"):
        make(str(repo.path), commit, here)
    assert list(here.iterdir()) == []


def test_a_git_that_answers_with_other_bytes_is_found(
    repo: Repo, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write("x", "good content")
    commit = repo.commit()
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = subprocess.run(
        ["which", "git"], check=True, capture_output=True, text=True
    ).stdout.strip()
    fake.write_text(f"#!/bin/sh\n{real} \"$@\" | sed -u 's/good content/evil content/'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(CheckoutError, match="does not hash to its id"):
        make(str(repo.path), commit, here)


def test_a_git_that_dies_while_it_is_asked_is_told(
    repo: Repo, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        repo.write(f"f{number}", f"{number}")
    commit = repo.commit()
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *--batch*) echo "fatal: gone" >&2; exit 128; esac\n'
        f'exec {shutil.which("git")} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    ask = objects._Pipe.ask

    def dead_by_then(self: objects._Pipe, *rest: object, **more: object) -> None:
        self._process.wait()
        ask(self, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(objects._Pipe, "ask", dead_by_then)
    with pytest.raises(DamagedError, match="fatal: gone"):
        make(str(repo.path), commit, here)
    assert list(here.iterdir()) == []


def test_reading_that_takes_too_long_is_not_taken_for_damage(repo: Repo, tmp_path: Path) -> None:
    commit = repo.write("x").commit()
    store = Store.create(tmp_path / "store")
    assert store.borrow(str(repo.path), commit)
    with opened(store, 60.0) as reader:
        reader.stop()
        with pytest.raises(CheckoutError, match="too long") as caught:
            list(reader.whole([commit], "commit", 1 << 20))
    assert caught.value.retry
    assert not isinstance(caught.value, DamagedError)


def test_a_pin_that_is_no_commit_is_refused(repo: Repo, here: Path) -> None:
    with pytest.raises(CheckoutError, match="is a blob, not a commit"):
        make(str(repo.path), blob(repo, b"x"), here)


def test_a_missing_object_is_named(repo: Repo, here: Path) -> None:
    commit = raw_commit(repo, ("100644", b"x", "1" * 40))
    with pytest.raises(CheckoutError, match="1111 is missing"):
        make(str(repo.path), commit, here)
    assert list(here.iterdir()) == []


def test_a_commit_that_the_repository_lacks_is_missing(
    repo: Repo, address: str, here: Path
) -> None:
    repo.write("x").commit()
    with pytest.raises(RemoteError) as caught:
        make(address, "a" * 40, here)
    assert (caught.value.kind, caught.value.retry) == ("missing", False)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("repository", "commit"), [
    ("--upload-pack=touch x", "a" * 40), ("ext::sh -c touch% x", "a" * 40), ("relative", "a" * 40),
    ("/x", "main"), ("/x", "-h"), ("/x", "a" * 39), ("/x", "A" * 40), ("/x", "a" * 40 + "\n"),
])  # fmt: skip
def test_a_malformed_pin_never_reaches_git(
    here: Path, repository: str, commit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitError) as caught:
        make(repository, commit, here)
    assert "not found on PATH" not in caught.value.message
    assert list(here.iterdir()) == []


def test_an_unreachable_server_is_asked_again_after_each_pause(here: Path) -> None:
    url = f"git://127.0.0.1:{gitservers.refused_port()}/x.git"
    started = time.monotonic()
    with pytest.raises(RemoteError) as caught:
        checkout.make(url, "a" * 40, here, pauses=(0.1, 0.2))
    assert time.monotonic() - started >= 0.3
    assert caught.value.retry
    assert list(here.iterdir()) == []


def test_a_hanging_server_is_given_up_once_and_in_time(here: Path) -> None:
    with gitservers.hanging() as port:
        started = time.monotonic()
        with pytest.raises(RemoteError, match=r"did not finish within 0\.5 s") as caught:
            checkout.make(
                f"git://127.0.0.1:{port}/x", "a" * 40, here, timeout=0.5, pauses=(1.0, 1.0)
            )
    assert time.monotonic() - started < 4
    assert caught.value.retry
    assert list(here.iterdir()) == []


def test_without_git_the_error_says_so(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.write("x").commit()
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(GitError, match="git program was not found"):
        make(str(repo.path), commit, here)


def test_a_commit_behind_others_comes_alone(repo: Repo, here: Path) -> None:
    for number in range(5):
        repo.write("x", f"{number}").commit()
    middle = repo.git("rev-parse", "HEAD~2")
    made = make(f"file://{repo.path}", middle, here)
    assert (made.directory / "x").read_text() == "2"


# A full disk, and a killed worker.


def test_a_full_disk_is_told_and_leaves_nothing(repo: Repo, address: str, small_disk: Path) -> None:
    for number in range(10):
        repo.write(f"f{number}", os.urandom(50_000))
    with pytest.raises((CheckoutError, RemoteError), match="disk is full") as caught:
        make(address, repo.commit(), small_disk)
    assert caught.value.retry
    assert list(small_disk.iterdir()) == []


def test_a_file_over_the_processs_limit_is_told_as_a_full_disk(repo: Repo, here: Path) -> None:
    repo.write("large", os.urandom(200_000))
    commit = repo.commit()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CheckoutError, match="disk is full"):
            make(str(repo.path), commit, here)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(here.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_told(repo: Repo, here: Path) -> None:
    commit = repo.write("x").commit()
    with pytest.raises(CheckoutError, match="cannot write") as caught:
        make(str(repo.path), commit, here / "none")
    assert caught.value.where == str(here / "none")


def test_a_killed_pull_leaves_no_final_name_and_the_next_sweeps_up(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3000):
        repo.write(f"d{number % 50}/f{number}", f"{number}" * 50)
    commit = repo.commit()
    code = (
        "import os, pathlib\n"
        "from gitops_flow import checkout\n"
        "from gitops_flow.git import environment\n"
        "with environment.using(environment.GitEnvironment(os.environ)):\n"
        f"    checkout.make({str(repo.path)!r}, {commit!r}, pathlib.Path({str(here)!r}))"
    )
    victim = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while not list(here.glob(".*.partial-*/tree/*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    victim.kill()
    victim.wait()
    left = [path.name for path in here.iterdir()]
    assert [name for name in left if ".partial-" in name] == left != []
    made = make(str(repo.path), commit, here)
    assert list(here.iterdir()) == [made.directory]


def test_what_is_left_of_clearing_away_still_has_its_lock(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, **_: object) -> None:
        raise SystemExit

    commit = repo.write("x").commit()
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "remove", killed)
        with pytest.raises(SystemExit):
            make(str(repo.path), commit, here)
    assert [path.name for path in here.glob(".*.partial-*/*")].count(leftovers.LOCK) == 1
    make(str(repo.path), commit, here)
    assert list(here.glob(".*")) == []


def test_what_was_killed_before_it_had_a_lock_is_swept_up(repo: Repo, here: Path) -> None:
    left = here / ".project-aaaaaaaaaaaa.partial-abcdefgh"
    left.mkdir()
    os.utime(left, (1, 1))
    make(str(repo.path), repo.write("x").commit(), here)
    assert list(here.glob(".*")) == []


def test_a_directory_of_somebody_else_with_such_a_name_stays(repo: Repo, here: Path) -> None:
    theirs = here / ".theirs.partial-results"
    theirs.mkdir()
    (theirs / "x").touch()
    os.utime(theirs, (1, 1))
    make(str(repo.path), repo.write("x").commit(), here)
    assert (theirs / "x").exists()


def test_a_pull_under_way_is_not_swept_up(
    repo: Repo, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.write("x").commit()
    with write.made_aside(here, "other") as work:
        make(str(repo.path), commit, here)
        assert work.tree.is_dir()
    assert not work.aside.exists()


def test_the_repository_that_is_borrowed_from_stays_as_it_is(repo: Repo, here: Path) -> None:
    commit = repo.write("x", "1").commit()

    def state() -> dict[str, str]:
        files = [path for path in repo.path.rglob("*") if path.is_file()]
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    before = state()
    make(str(repo.path), commit, here)
    assert state() == before
