"""Snapshots made up at random, pulled in any order: always what git itself checks out."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from gitops_flow import checkout
from tests.support.checkouts import content, pull
from tests.support.repo import Repo

# A path's mode and stored bytes.
Files = dict[bytes, tuple[bytes, bytes]]

NAMES = (
    *(b"a", b"b", b"A", b"x.bat", b"y.txt", b" lead", b"trail ", b"cr\r", b"new\nline.bat", b"-rf"),
    *(b"\xff\xfe.bat", b".gitattributes", b"...", b"gitx", b'q"uo.bat', b"e\xcc\x81", b"\ttab"),
)
PATTERNS = (b"*", b"*.bat", b"a/*", b"/b/**", b"[ab]", b'" lead"', b'"cr\\r"', b".gitattributes")
ATTRIBUTES = (
    *(b"text eol=crlf", b"eol=lf", b"-text", b"text=auto eol=crlf", b"ident", b"filter=foo"),
    *(b"working-tree-encoding=UTF-16LE text", b"working-tree-encoding=ISO-8859-1", b"!eol"),
)
CONTENTS = (b"", b"one\ntwo\n", b"one\r\ntwo\n", b"$Id$\n", bytes(range(256)), b"caf\xc3\xa9\n")


class Chance(random.Random):
    """What is made up."""

    def path(self) -> bytes:
        return b"/".join(self.choice(NAMES) for _ in range(self.choice((1, 1, 2, 2, 3, 6))))

    def file(self, path: bytes) -> tuple[bytes, bytes]:
        mode = self.choice((b"100644", b"100644", b"100644", b"100755", b"120000"))
        if path.endswith(b".gitattributes"):
            lines = (self.choice(PATTERNS) + b" " + self.choice(ATTRIBUTES) for _ in range(2))
            return b"100644", b"\n".join((*lines, b""))
        if mode == b"120000":
            return mode, self.choice((b"none", b"x.bat", b"./a"))
        return mode, b"%d\n" % self.randrange(3) + self.choice(CONTENTS)

    def changed(self, files: Files) -> Files:
        files = dict(files)
        for _ in range(self.choice((1, 1, 3, 6))):
            path = self.choice([*files, self.path()])
            if self.random() < 0.3:
                files.pop(path, None)
                continue
            if self.random() < 0.2:
                path += b"/" + self.choice(NAMES)
            above = [path[:at] for at, byte in enumerate(path) if byte == ord("/")]
            for gone in [key for key in files if key in above or key.startswith(path + b"/")]:
                del files[gone]
            files[path] = self.file(path)
        return files

    def directories(self, files: Files) -> list[str]:
        below = sorted({key.rpartition(b"/")[0] for key in files} - {b""})
        return [os.fsdecode(self.choice(below))] if below and self.random() < 0.3 else []


def stored(repo: Repo, snapshots: list[Files]) -> list[str]:
    """The commits of ``snapshots``."""
    lines: list[bytes] = []
    for number, files in enumerate(snapshots):
        lines.append(
            b"commit refs/heads/s%d\ncommitter x <x> %d +0000\ndata 0\n" % (number, number)
        )
        for path, (mode, data) in files.items():
            quoted = "".join(f"\\{byte:03o}" for byte in path).encode()
            lines.append(b'M %s inline "%s"\ndata %d\n%s\n' % (mode, quoted, len(data), data))
    repo.git("fast-import", "--quiet", stdin=b"".join(lines))
    return [repo.git("rev-parse", f"s{number}") for number in range(len(snapshots))]


def truth(repo: Repo, commit: str, top: Path) -> dict[bytes, tuple[int, bytes]]:
    """What git makes of ``commit`` in the directory ``top``."""
    top.mkdir()
    environment = {**os.environ, "GIT_DIR": f"{repo.path}/.git", "GIT_INDEX_FILE": f"{top}.index"}
    for command in (["read-tree", commit], ["checkout-index", "-a"]):
        subprocess.run(["git", *command], cwd=top, env=environment, check=True, capture_output=True)
    return content(top)


def chosen(path: bytes, mode: int, directories: list[str]) -> bool:
    """Whether a pull of ``directories`` has ``path``."""
    above = path.rpartition(b"/")[0]
    for name in map(os.fsencode, directories):
        inside = path == name or path.startswith(name + b"/")
        on_the_way = name.startswith(path + b"/") if stat.S_ISDIR(mode) else False
        beside = not stat.S_ISDIR(mode) and (not above or name.startswith(above + b"/"))
        if inside or on_the_way or beside:
            return True
    return not directories


@pytest.mark.parametrize("seed", range(3))
def test_snapshots_in_any_order_are_what_git_checks_out(tmp_path: Path, seed: int) -> None:
    chance = Chance(seed)
    repo, here, root = Repo(tmp_path / "project"), tmp_path / "here", tmp_path / "cache"
    here.mkdir()
    snapshots: list[Files] = [{}]
    for _ in range(40):
        snapshots[0] = chance.changed(snapshots[0])
    for _ in range(24):
        snapshots.append(chance.changed(chance.choice(snapshots[-3:])))
    commits = stored(repo, snapshots)
    expected = [truth(repo, each, tmp_path / f"truth{n}") for n, each in enumerate(commits)]
    for number in range(60):
        at = min(number // 2, 24) if chance.random() < 0.8 else chance.randrange(25)
        directories = chance.directories(snapshots[at])
        # By path now and then, and rarely without the cache.
        address = chance.choice((f"file://{repo.path}", f"file://{repo.path}", str(repo.path)))
        place = root / "checkout" if chance.random() < 0.9 else None
        made = checkout.make(address, commits[at], here, directories=directories, cache=place)
        wanted = {
            path: (mode, data)
            for path, (mode, data) in expected[at].items()
            if not path or chosen(path, mode, directories)
        }
        assert content(made.directory) == wanted, (number, commits[at], directories, made.origin)
        shutil.rmtree(made.directory)


def test_attributes_that_the_last_tree_has_re_encoded_are_still_obeyed(tmp_path: Path) -> None:
    repo, here, root = Repo(tmp_path / "project"), tmp_path / "here", tmp_path / "cache"
    here.mkdir()
    attributes = b"*.bat text eol=crlf\n.gitattributes working-tree-encoding=UTF-16LE text\n"
    files = {b"f%d" % number: (b"100644", b"same\n") for number in range(9)}
    files[b".gitattributes"] = (b"100644", attributes)
    commits = stored(repo, [files | {b"x.bat": (b"100644", text)} for text in (b"1\n", b"2\n")])
    for commit in (commits[0], commits[0], commits[1]):
        made = pull(repo, commit, here, root)
    assert (made.directory / "x.bat").read_bytes() == b"2\r\n"
