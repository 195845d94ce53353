"""The controller: a sweep over sources in which nothing is new, idling, a commit, a failing neighbour.

    python benchmarks/controller.py [SOURCES]

Each of the sources (1,000 unless said otherwise) is a bare repository of its own with one flow, on
this machine, as is the Prefect server. The first deploy of all of them takes most of the time; it is
printed, and no figure of ours: it is the server's SQLite that is written to.
"""

from __future__ import annotations

import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from support import command, compare, isolate, seconds

from gitops_flow import local
from gitops_flow.controller.run import WORKERS, Controller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COMMITS = 15
NEIGHBOURS = 50
INTERVAL = 300.0
IDLE = 120.0
ROUNDS = 7
SETTLED = 0.5
LONGEST = 3600.0

FLOW = "from prefect import flow\n\n@flow(name='{name}')\ndef work(number: int = {number}): ...\n"
MANIFEST = """\
name: {name}
deployments: [{{name: main, entrypoint: 'flow.py:work', work_pool: {{name: bench}}}}]
"""


def commit(repository: Path, name: str, number: int) -> None:
    """Put a commit with a flow and a manifest on the main branch of a bare repository."""
    stream = f"commit refs/heads/main\ncommitter b <b@b> {1_700_000_000 + number} +0000\ndata 0\n"
    for path, text in (("flow.py", FLOW), ("prefect.yaml", MANIFEST)):
        content = text.format(name=name, number=number)
        stream += f"M 100644 inline {path}\ndata {len(content)}\n{content}\n"
    importing = ["git", "-C", repository, "fast-import", "--quiet", "--force"]
    subprocess.run(importing, input=stream.encode(), check=True)


def sources(base: Path, count: int) -> dict[str, Path]:
    """Make repositories; by name."""
    made = {f"bench-{number}": base / f"bench-{number}.git" for number in range(count)}
    for name, path in made.items():
        command("git", "init", "-q", "--bare", "--template=", path)
        commit(path, name, 0)
    return made


def write(path: Path, api_url: str, addresses: dict[str, str]) -> None:
    """Write a ``gitflow.yaml``."""
    config = {
        "data": "data",
        "prefect": {"api_url": api_url},
        "defaults": {"interval": INTERVAL, "ref": "main"},
        "sources": {name: {"repository": address} for name, address in addresses.items()},
    }
    path.write_text(yaml.safe_dump(config))


def wait(test: Callable[[], bool]) -> None:
    """Return once ``test`` says so."""
    until = time.monotonic() + LONGEST
    while not test():
        if time.monotonic() > until:
            sys.exit("it took too long")
        time.sleep(0.005)


def spent() -> float:
    """Seconds of CPU until now, of this process and of the gits that it started."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def memory() -> float:
    """Megabytes that are resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def sweep(controller: Controller, names: Iterable[str]) -> float:
    """Look at each of some sources; seconds until all have been looked at."""
    names, before, looked = list(names), time.monotonic(), controller.reconciler.looked
    for name in names:
        controller.queue.add(name)
    wait(lambda: all(looked[name] > before for name in names))
    # Looks that were handed back, since another one asked the server, are taken again.
    wait(lambda: time.monotonic() - max(looked[name] for name in names) > SETTLED)
    return max(looked[name] for name in names) - before


def by_git(repositories: dict[str, Path]) -> float:
    """Seconds of bare ``git ls-remote`` for each, as many at once as the controller has workers."""
    with ThreadPoolExecutor(WORKERS) as pool:
        paths = repositories.values()
        return seconds(
            lambda: list(pool.map(lambda path: command("git", "ls-remote", path, "main"), paths))
        )


def to_deployed(controller: Controller, repository: Path, name: str) -> list[float]:
    """Seconds from a look that sees a commit to the deployment that is pinned to it, many times."""
    times = []
    for number in range(1, COMMITS + 1):
        commit(repository, name, number)
        before = controller.state.get(name)
        started = time.monotonic()
        controller.queue.add(name)
        wait(lambda: controller.state.get(name).deployed != before.deployed)  # type: ignore[union-attr]  # noqa: B023
        times.append(time.monotonic() - started)
    return times


def beside(controller: Controller, names: list[str], bad: str) -> float:
    """How many times as long a sweep over some sources takes while ``bad`` is tried all the time."""
    alone = [sweep(controller, names) for _ in range(ROUNDS)]
    together = []
    for _ in range(ROUNDS):
        controller.resume(bad)
        together.append(sweep(controller, names))
    controller.suspend(bad, reason="it was measured", author="")
    alone += [sweep(controller, names) for _ in range(ROUNDS)]
    return statistics.median(together) / statistics.median(alone)


def measure(base: Path, api_url: str, count: int) -> None:
    """Measure and print all of it."""
    repositories = sources(base, count)
    addresses = {name: str(path) for name, path in repositories.items()}
    names, path = list(repositories), base / "gitflow.yaml"
    write(path, api_url, addresses)
    controller = Controller(path, os.environ, base)
    started = time.monotonic()
    controller.start()
    wait(lambda: all(each.word == "synced" for each in controller.state.all()))
    print(f"first deploy of {count} sources: {time.monotonic() - started:.0f} s", flush=True)
    print(f"the first sweep, which compares everything: {sweep(controller, names):.1f} s")
    cpu = spent()
    took = sweep(controller, names)
    cpu = spent() - cpu
    print(f"{cpu:.1f} s of CPU for a sweep, {memory():.0f} MB resident")
    compare(f"{count} sources, nothing new, one sweep", took, by_git(repositories), "ls-remote")
    cpu = spent()
    time.sleep(IDLE)
    share = (spent() - cpu) / IDLE
    print(f"idle at intervals of 5 minutes: {100 * share:.1f} % of a core, {memory():.0f} MB")
    times = to_deployed(controller, repositories["bench-0"], "bench-0")
    print(
        f"a poll that sees a commit until it is pinned: median {statistics.median(times):.2f} s, "
        f"longest of {len(times)} {max(times):.2f} s"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        troubles = {"refused": "git://127.0.0.1:9/x", "hanging": f"git://127.0.0.1:{port}/x"}
        write(path, api_url, addresses | troubles)
        wait(lambda: all(controller.state.get(each) for each in troubles))
        for bad in troubles:
            controller.suspend(bad, reason="its turn comes", author="")
        few = names[1:NEIGHBOURS]
        for bad in troubles:
            print(
                f"{len(few)} sources beside one that is {bad}: {beside(controller, few, bad):.2f} x"
            )
        controller.stop(1)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        isolate(base)
        with local.start_server(base / "server", environ=os.environ, ui=False) as server:
            local.call(server.api_url, "POST", "/work_pools/", {"name": "bench", "type": "process"})
            measure(base, server.api_url, count)


if __name__ == "__main__":
    main()
