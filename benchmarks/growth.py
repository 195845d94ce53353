"""A thousand releases of a large repository, one file changed each: bytes and time of each publish.

The code store's bytes are those of the bare repository on the server; the private store's those of
the cache. Both should grow by the changed file and the directories above it, and the thousandth
publish should take as long as the tenth.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from support import command, isolate

from gitops_flow.codestore import address, history, ledger, publish, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.git import environment, repository
from gitops_flow.model import CodeStoreSettings

FILES = 10_000


def make(path: Path, server: Path) -> list[Path]:
    """A repository of ``FILES`` files in a thousand directories, and its remote."""
    files = []
    for number in range(FILES):
        file = path / f"pkg{number // 1000}" / f"mod{number // 10 % 100}" / f"file{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"value_{number}_{n} = {n}\n" for n in range(20)))
        files.append(file)
    command("git", "init", "-q", "--bare", str(server), cwd=path)
    command("git", "init", "-q", cwd=path)
    command("git", "add", "-A", cwd=path)
    command("git", "commit", "-qm", "all", cwd=path)
    command("git", "remote", "add", "origin", str(server), cwd=path)
    return files


def size(path: Path) -> int:
    """Bytes of all files below ``path``."""
    return sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())


@environment.using(environment.GitEnvironment(os.environ))
def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        isolate(base)
        (base / "repo").mkdir()
        files = make(base / "repo", base / "server.git")
        measure(base, files, count)


def measure(base: Path, files: list[Path], count: int) -> None:
    """Release ``count`` times and print what it came to."""
    found = repository.discover(base / "repo")
    target = address.resolve(found, CodeStoreSettings(), base / "data")
    seconds: list[float] = []
    sizes: list[int] = []
    for number in range(count):
        file = files[number * 7919 % FILES]
        file.write_text(f"{file.read_text()}release = {number}\n")
        store = open_store(base / "cache", found, target.url)
        snap = snapshot.take(found, store, snapshot.Options(), source="bench", author="b <b@b>")
        started = time.perf_counter()
        publish.publish(store, target, ledger.Release.of(snap, ["flow/main"], mark="gitflow:b"))
        seconds.append(time.perf_counter() - started)
        if number + 1 in (1, 10, 100, count) or (number + 1) % 250 == 0:
            sizes.append(size(base / "server.git"))
            print(
                f"release {number + 1:5}: publish {1000 * seconds[-1]:6.0f} ms, code store "
                f"{sizes[-1] / 1e6:7.2f} MB, private store {size(store.path) / 1e6:7.2f} MB",
                flush=True,
            )
    early, late = statistics.median(seconds[5:15]), statistics.median(seconds[-10:])
    print(f"median of releases 6-15: {1000 * early:.0f} ms, of the last ten: {1000 * late:.0f} ms")
    print(f"a release adds {(sizes[-1] - sizes[0]) / max(1, count - 1):.0f} bytes to the store")
    for when in ("first", "again"):
        started = time.perf_counter()
        entries = history.read(base / "cache", found, target).entries
        print(f"history of {len(entries)} releases, {when}: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
