"""Pulls of pinned snapshots, against Prefect's ``git_clone`` with ``commit_sha``.

The code store holds 1,000 or 10,000 files of 0.1 to 2.5 KB and 300 snapshots of them, three files
changed in each and each pushed by itself, behind nginx and ``git http-backend``. Measured are a
first pull with nothing on the worker's side (also by path, and of the same store repacked into one
pack, as a host's maintenance leaves it), one of a cached snapshot, one of the next snapshot, and
twenty at once of one that is cached or new to the machine; each ``git_clone`` is in a fresh
directory, as a process worker has it. Finished directories are kept until the end, because some
file systems are slow to reuse what was deleted a moment ago. The first argument, if any, is the
directory to work in: the disk matters.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from support import command, compare, in_turns, isolate

from gitops_flow.steps import pull_code

if TYPE_CHECKING:
    from collections.abc import Callable

SNAPSHOTS = 300
ROUNDS = 5
AT_ONCE = 20
_FORK = multiprocessing.get_context("fork")


def build(root: Path, count: int) -> list[str]:
    """Make code stores of ``count`` files, pushed.git and packed.git; their snapshots' ids."""
    pushed, packed = root / "pushed.git", root / "packed.git"
    for path in (pushed, packed):
        command("git", "init", "-q", "--bare", "-b", "code-store", path)
        command("git", "config", "uploadpack.allowFilter", "true", cwd=path)
    importer = ["git", "fast-import", "--quiet"]
    subprocess.run(importer, cwd=packed, input=stream(count), check=True)
    snapshots = ledger(packed)
    command("git", "update-ref", "-d", "refs/heads/build", cwd=packed)
    entries = command("git", "rev-list", "--first-parent", "--reverse", "code-store", cwd=packed)
    for entry in entries.decode().split():
        command("git", "push", "-q", pushed, f"{entry}:refs/heads/code-store", cwd=packed)
    command("git", "repack", "-adq", cwd=packed)
    return snapshots


def stream(count: int) -> bytes:
    """What git fast-import makes the trees of the snapshots of."""
    chooser = random.Random(7)

    def source() -> bytes:
        lines = range(chooser.randint(5, 120))
        return "".join(f"value_{chooser.getrandbits(40):x} = {n}\n" for n in lines).encode()

    stream = [b"reset refs/heads/build\n"]
    for number in range(SNAPSHOTS):
        stream.append(b"commit refs/heads/build\ncommitter a <a@b> 0 +0000\ndata 0\n")
        for file in range(count) if number == 0 else chooser.sample(range(count), 3):
            data = source()
            name = f"pkg{file % 20:02}/mod{file // 20 % 25:02}/file_{file:05}.py"
            stream.append(f"M 644 inline {name}\ndata {len(data)}\n".encode() + data + b"\n")
    return b"".join(stream)


def ledger(path: Path) -> list[str]:
    """Parentless snapshots of the imported trees, and the branch that leads to them."""
    listing = command("git", "log", "--reverse", "--format=%T", "refs/heads/build", cwd=path)
    when = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}

    def commit(tree: str, *parents: str) -> str:
        args = [arg for parent in parents for arg in ("-p", parent)]
        done = command("git", "commit-tree", tree, *args, "-m", "x", cwd=path, **when)
        return done.decode().strip()

    snapshots: list[str] = []
    tip = commit(command("git", "mktree", cwd=path).decode().strip())
    for tree in listing.decode().split():
        snapshots.append(commit(tree))
        tip = commit(tree, tip, snapshots[-1])
    command("git", "update-ref", "refs/heads/code-store", tip, cwd=path)
    return snapshots


class Bench:
    """A code store at ``address``, and a worker's directory."""

    def __init__(self, work: Path, address: str, snapshots: list[str], count: int) -> None:
        self.work = work
        self.address = address
        self.snapshots = snapshots
        self.count = count
        self.made: list[Path] = []
        self.next = SNAPSHOTS // 2

    def ours(self, commit: str, **inputs: str) -> None:
        self.made.append(Path(pull_code(self.address, commit, **inputs)["directory"]))

    def theirs(self, commit: str) -> None:
        from prefect.deployments.steps import git_clone

        name = f"clone-{uuid.uuid4()}"
        git_clone(repository=self.address, commit_sha=commit, clone_directory_name=name)
        self.made.append(self.work / name)

    def first(self) -> None:
        """With an empty cache, which also has to be filled."""
        os.environ["XDG_CACHE_HOME"] = str(self.work / f"cache-{uuid.uuid4()}")
        self.ours(self.snapshots[self.next])

    def following(self) -> None:
        self.next += 1
        self.ours(self.snapshots[self.next])

    @property
    def pin(self) -> str:
        """The snapshot in the middle of the store's history."""
        return self.snapshots[SNAPSHOTS // 2]

    def row(self, what: str, ours: Callable[[], object]) -> None:
        """Print how long ``ours`` takes, and a ``git_clone``."""
        times = in_turns(ours, lambda: self.theirs(self.pin), ROUNDS)
        compare(f"pull_code, {self.count:,} files, {what}", *times, "git_clone")

    def floor(self) -> None:
        """git's own fetch of the commit, and two processes of git that write its files unchecked."""
        made = self.work / f"floor-{uuid.uuid4()}"
        store = made.with_suffix(".git")
        made.mkdir()
        command("git", "init", "-q", "--bare", store)
        fetch = ("fetch", "-q", "--no-tags", "--depth=1", self.address, self.pin)
        where = {"GIT_DIR": str(store), "GIT_WORK_TREE": str(made)}
        command("git", "-c", "fetch.unpackLimit=1", "-c", "core.fsync=none", *fetch, **where)
        command("git", "read-tree", self.pin, **where)
        names = command("git", "ls-files", "-z", **where).split(b"\0")[:-1]
        write = ["git", "checkout-index", "-z", "--stdin"]
        halves = [b"\0".join(half) for half in (names[: len(names) // 2], names[len(names) // 2 :])]
        writers = [
            subprocess.Popen(write, stdin=subprocess.PIPE, cwd=made, env={**os.environ, **where})
            for _ in halves
        ]
        for writer, half in zip(writers, halves, strict=True):
            writer.stdin.write(half)  # type: ignore[union-attr]
            writer.stdin.close()  # type: ignore[union-attr]
        if any(writer.wait() for writer in writers):
            sys.exit("git checkout-index failed")
        self.made.append(made)

    def first_row(self, what: str) -> None:
        """Print the row of first pulls alone, and of what git alone needs for one."""
        self.first(), self.theirs(self.pin), self.floor()
        self.check()
        self.row(f"first pull{what}", self.first)
        self.row(f"first pull{what}: git alone, unchecked", self.floor)

    def rows(self) -> None:
        """Print a row for each kind of pull."""
        self.first_row("")
        self.row("cached", lambda: self.ours(self.pin))
        self.row("cached, isolation: shared", lambda: self.ours(self.pin, isolation="shared"))
        self.row("next snapshot", self.following)
        self.check()

    def check(self) -> None:
        """End loudly if the two did not make the same files."""
        counts = {sum(len(files) for _, _, files in os.walk(made / "pkg00")) for made in self.made}
        if counts != {self.count // 20}:
            sys.exit(f"not the same files: {counts}")

    def together(self, *, new: bool, **inputs: str) -> None:
        """Twenty runs in processes of their own at once, against one."""
        emptied(self.work)

        def start(count: int) -> None:
            if new:
                os.environ["XDG_CACHE_HOME"] = str(self.work / f"cache-{uuid.uuid4()}")
            # Forked: what is measured is the pull, not Python's start.
            running = [
                _FORK.Process(target=self.ours, args=(self.pin,), kwargs=inputs)
                for _ in range(count)
            ]
            for process in running:
                process.start()
            for process in running:
                process.join()
                if process.exitcode:
                    sys.exit("a pull failed")

        start(1)
        one, many = in_turns(lambda: start(1), lambda: start(AT_ONCE), ROUNDS)
        what = f"{'new' if new else 'cached'}, {inputs.get('isolation', 'copies')}"
        print(
            f"pull_code, {self.count:,} files, {AT_ONCE} at once, {what}: one "
            f"{one * 1000:.0f} ms   all {many * 1000:.0f} ms   {many / one:.1f} x one",
            flush=True,
        )


def emptied(directory: Path) -> None:
    """Make room for what comes next, in memory if that is where it is."""
    for path, _, _ in os.walk(directory):
        Path(path).chmod(0o700)  # shared directories are read-only
    for child in directory.iterdir():
        shutil.rmtree(child)


def on_the_wire(store: Path, bench: Bench) -> None:
    """Print the bytes that a server sends for the next snapshot and for Prefect's clone."""
    from support.wire import counted

    with counted(bench.address) as (address, received):
        bench.address = address
        bench.first()
        sizes = []
        for _ in range(3):
            before = received()
            bench.following()
            sizes.append(received() - before)
        before = received()
        bench.theirs(bench.snapshots[bench.next])
        whole = received() - before
    names = command(
        "git", "diff", "--name-only", *bench.snapshots[bench.next - 1 : bench.next + 1], cwd=store
    ).split()
    changed = sum(
        len(command("git", "show", f"{bench.snapshots[bench.next]}:{name.decode()}", cwd=store))
        for name in names
    )
    print(
        f"bytes for the next snapshot: {sizes} (files that changed in the last: {changed}); "
        f"git_clone: {whole}",
        flush=True,
    )


def main() -> None:
    logging.disable(logging.WARNING)
    from tests.support import gitservers

    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        base = Path(directory)
        isolate(base)
        for count in (1_000, 10_000):
            root = base / f"served-{count}"
            root.mkdir()
            snapshots = build(root, count)
            work = base / f"work-{count}"
            work.mkdir()
            os.chdir(work)
            with gitservers.smart_http(root, base / f"http-{count}", login=None) as server:
                for what, address in (
                    (", one pack", server.url("packed.git")),
                    (", by path", str(root / "pushed.git")),
                ):
                    Bench(work, address, snapshots, count).first_row(what)
                bench = Bench(work, server.url("pushed.git"), snapshots, count)
                bench.rows()
                for new in (False, True):
                    bench.together(new=new)
                    bench.together(new=new, isolation="shared")
                on_the_wire(root / "pushed.git", bench)
            os.chdir(base.parent)
            emptied(work)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
