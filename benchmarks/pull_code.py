"""A cold pull of one pinned snapshot, against Prefect's ``git_clone`` with ``commit_sha``.

The code store holds 10,000 files of 0.1 to 2.5 KB and 300 snapshots of them, three files changed
in each. Both start with nothing on the worker's side; finished directories are kept until the end,
because some file systems are slow to reuse what was deleted a moment ago.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from support import command, compare, in_turns, isolate

from gitops_flow.steps import pull_code

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = 10_000
SNAPSHOTS = 300
ROUNDS = 5


def build(path: Path) -> str:
    """Make the code store at ``path``; the id of the middle one of its snapshots."""
    chooser = random.Random(7)

    def source() -> bytes:
        lines = range(chooser.randint(5, 120))
        return "".join(f"value_{chooser.getrandbits(40):x} = {n}\n" for n in lines).encode()

    command("git", "init", "-q", "--bare", "-b", "code-store", path)
    command("git", "config", "uploadpack.allowFilter", "true", cwd=path)
    stream = [b"reset refs/heads/build\n"]
    for number in range(SNAPSHOTS):
        stream.append(b"commit refs/heads/build\ncommitter a <a@b> 0 +0000\ndata 0\n")
        for file in range(FILES) if number == 0 else chooser.sample(range(FILES), 3):
            data = source()
            name = f"pkg{file % 20:02}/mod{file // 20 % 25:02}/file_{file:05}.py"
            stream.append(f"M 644 inline {name}\ndata {len(data)}\n".encode() + data + b"\n")
    importer = ["git", "fast-import", "--quiet"]
    subprocess.run(importer, cwd=path, input=b"".join(stream), check=True)
    snapshots = ledger(path)
    command("git", "update-ref", "-d", "refs/heads/build", cwd=path)
    command("git", "repack", "-adq", cwd=path)
    return snapshots[SNAPSHOTS // 2]


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


@contextlib.contextmanager
def daemon(root: Path) -> Iterator[str]:
    """A real git server on loopback; its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    args = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={root}"]
    args += ["--export-all", str(root)]
    quiet = subprocess.DEVNULL  # it remarks on the probe of its port
    process = subprocess.Popen(args, start_new_session=True, stderr=quiet)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.02)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def measure(work: Path, repository: str, commit: str, label: str) -> None:
    """Print one row for pulls of ``commit`` from ``repository`` into new directories of ``work``."""
    from prefect.deployments.steps import git_clone

    made: list[Path] = []

    def ours() -> None:
        made.append(Path(pull_code(repository, commit)["directory"]))

    def theirs() -> None:
        name = f"clone-{uuid.uuid4()}"
        git_clone(repository=repository, commit_sha=commit, clone_directory_name=name)
        made.append(work / name)

    os.chdir(work)
    ours(), theirs()
    counts = {sum(len(files) for _, _, files in os.walk(path / "pkg00")) for path in made}
    if counts != {FILES // 20}:
        sys.exit(f"not the same files: {counts}")
    compare(label, *in_turns(ours, theirs, ROUNDS), "git_clone")


def main() -> None:
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        isolate(base)
        store = base / "store.git"
        commit = build(store)
        work = base / "work"
        work.mkdir()
        what = f"pull_code, {FILES:,} files behind {SNAPSHOTS} snapshots"
        measure(work, str(store), commit, f"{what}, a path")
        with daemon(base) as address:
            measure(work, f"{address}/store.git", commit, f"{what}, a server")
        os.chdir(base.parent)
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
