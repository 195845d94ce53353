"""A snapshot of a large repository with three changed files, against git's own commands.

The second last row is one of a watched working tree: the next snapshot when three files were edited
again. The last is of a tree of which git knows nothing yet: the first snapshot, against ``git add``.

git's way: ``git add -A`` into a temporary index, ``write-tree``, ``commit-tree``. The index is a
copy of the user's with its time kept, which is the fastest start that git can have (and one that
can miss changes; an index made by ``read-tree`` is the safe one, and is shown too).
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from support import command, compare, in_turns, isolate, seconds

from gitops_flow.codestore import snapshot
from gitops_flow.codestore.incremental import Incremental
from gitops_flow.codestore.store import open_store
from gitops_flow.git import environment, repository


def edited(path: Path, count: int) -> list[Path]:
    """The three files that are edited."""
    return [
        path / f"pkg{number // 1000}" / f"mod{number // 100 % 10}" / f"file{number}.py"
        for number in (3, count // 2, count - 5)
    ]


def make(path: Path, count: int) -> None:
    """A repository of ``count`` Python-like files in a few hundred directories, three edited."""
    chooser = random.Random(count)
    path.mkdir()
    command("git", "init", "-q", cwd=path)
    for number in range(count):
        file = path / f"pkg{number // 1000}" / f"mod{number // 100 % 10}" / f"file{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        body = "".join(f"value_{chooser.getrandbits(40):x} = {n}\n" for n in range(20))
        file.write_text(body)
    command("git", "add", "-A", cwd=path)
    command("git", "commit", "-qm", "all", cwd=path)
    time.sleep(1.1)
    for file in edited(path, count):
        file.write_text(file.read_text() + "edited = True\n")


@environment.using(environment.GitEnvironment(os.environ))
def main() -> None:
    for count in [int(arg) for arg in sys.argv[1:]] or [1_000, 10_000, 50_000]:
        with tempfile.TemporaryDirectory() as directory:
            base = Path(directory)
            isolate(base)
            repo_path = base / "repo"
            make(repo_path, count)
            measure(base, repo_path, count)
            measure_first(base, repo_path, count)


def measure(base: Path, repo_path: Path, count: int) -> None:
    tree_of = {}

    def ours() -> None:
        repo = repository.discover(repo_path)
        store = open_store(base / "cache", repo, "bench")
        taken = snapshot.take(repo, store, snapshot.Options(), source="bench", author="b <b@b>")
        tree_of["ours"] = taken.tree

    def gits(prepare: str) -> None:
        index = base / "index"
        index.unlink(missing_ok=True)
        env = {"GIT_INDEX_FILE": str(index)}
        if prepare == "copy":
            shutil.copy2(repo_path / ".git/index", index)
        else:
            command("git", "read-tree", "HEAD", cwd=repo_path, **env)
        command("git", "add", "-A", cwd=repo_path, **env)
        tree = command("git", "write-tree", cwd=repo_path, **env).decode().strip()
        command("git", "commit-tree", "-m", "snapshot", tree, cwd=repo_path, **env)
        tree_of["git"] = tree

    ours()
    gits("copy")
    if tree_of["ours"] != tree_of["git"]:
        sys.exit("the two trees differ")
    name = f"snapshot, {count} files, 3 changed"
    compare(name, *in_turns(ours, lambda: gits("copy"), rounds=9), "git, copied index")
    compare(name, *in_turns(ours, lambda: gits("read"), rounds=3), "git, read-tree   ")
    measure_watched(base, repo_path, count)


def measure_watched(base: Path, repo_path: Path, count: int) -> None:
    repo = repository.discover(repo_path)
    store = open_store(base / "cache", repo, "bench")
    taker = Incremental(repo, store, snapshot.Options(), source="bench", author="b <b@b>")
    files = edited(repo_path, count)
    taker.take([])

    def next_one() -> None:
        taker.take(files)

    def whole() -> None:
        snapshot.take(repo, store, snapshot.Options(), source="bench", author="b <b@b>")

    ours, theirs = [], []
    for _ in range(15):
        for file in files:
            file.write_text(file.read_text() + "edited = True\n")
        ours.append(seconds(next_one))
        theirs.append(seconds(whole))
    if taker.full_because:
        sys.exit(f"a full snapshot was taken: {taker.full_because}")
    name = f"the next one of {count} watched files, 3 changed"
    compare(name, statistics.median(ours), statistics.median(theirs), "a full one")


def measure_first(base: Path, repo_path: Path, count: int) -> None:
    shutil.rmtree(repo_path / ".git")
    command("git", "init", "-q", cwd=repo_path)
    repo = repository.discover(repo_path)
    times = iter(range(100))

    def take(key: str) -> None:
        store = open_store(base / "cache", repo, key)
        snapshot.take(repo, store, snapshot.Options(), source="bench", author="b <b@b>")

    def gits() -> None:
        place = base / f"objects{next(times)}"
        place.mkdir()
        env = {"GIT_OBJECT_DIRECTORY": str(place), "GIT_INDEX_FILE": str(place / "index")}
        command("git", "add", "-A", cwd=repo_path, **env)
        command("git", "write-tree", cwd=repo_path, **env)

    first = in_turns(lambda: take(f"first{next(times)}"), gits, rounds=3)
    compare(f"the first of {count} files that git does not know", *first, "git add         ")
    take("again")
    again = seconds(lambda: take("again"))
    compare(
        f"the second of {count} files that git does not know", again, first[0], "the first one   "
    )


if __name__ == "__main__":
    os.umask(0o022)
    main()
