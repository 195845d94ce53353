"""Many sources, random commits and random faults: in the end the servers are equal to git.

``GITFLOW_TESTS_SOAK=600`` lets it go on for ten minutes, with 50 sources, and
``GITFLOW_TESTS_SEED=N`` does again what a run has printed its seed of.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitops_flow.errors import ApiError
from gitops_flow.prefect.clients import MOST_IDLE
from tests.support.controller import Place, Pushed, wait_until
from tests.support.daemon import Daemon, descendants, resident
from tests.support.prefect import DATABASE, SharedServer
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.real, pytest.mark.timeout(3000)]

_SECONDS = float(os.environ.get("GITFLOW_TESTS_SOAK", "30"))
_SOURCES = 50 if _SECONDS > 100 else 12
_SEED = int(os.environ.get("GITFLOW_TESTS_SEED", str(random.randrange(10**6))))
# What a fresh process may still load, and what an allocator does not give back, in MB.
_SLACK = 40.0


class Faults:
    """What happens to sources and to what they need; each is made good before the next one."""

    def __init__(self, many: list[Pushed], daemon: Daemon, server: SharedServer, proxy: Proxy):
        self.random = random.Random(_SEED)
        self.many, self.daemon, self.server, self.proxy = many, daemon, server, proxy
        self.number = 0
        self.done: dict[str, int] = {}

    def commit(self, pushed: Pushed) -> None:
        self.number += 1
        pushed.push(self.number, tag=self.random.choice(["one", "two"]))

    def broken_manifest(self, pushed: Pushed) -> None:
        pushed.push_file("prefect.yaml", self.random.choice(["", "deployments: 3\n"]))

    def force_push(self, pushed: Pushed) -> None:
        pushed.clone.git("reset", "-q", "--hard", "HEAD~1", check=False)
        pushed.clone.git("push", "-q", "--force", "origin", "HEAD:refs/heads/main")

    def changed_by_hand(self, pushed: Pushed) -> None:
        for each in _live(self.server, pushed):
            with contextlib.suppress(ApiError):
                self.server.call("PATCH", f"/deployments/{each}", {"description": "by hand"})

    def deleted_by_hand(self, pushed: Pushed) -> None:
        for each in _live(self.server, pushed):
            with contextlib.suppress(ApiError):
                self.server.call("DELETE", f"/deployments/{each}")

    def repository_away(self, pushed: Pushed) -> None:
        away = pushed.origin.path.with_suffix(".away")
        pushed.origin.path.rename(away)
        time.sleep(self.random.random() * 2)
        away.rename(pushed.origin.path)

    def server_unavailable(self, _: Pushed) -> None:
        self.proxy.rule("status", times=self.random.randrange(1, 12))

    def answers_lost(self, _: Pushed) -> None:
        self.proxy.rule("drop-after", times=self.random.randrange(1, 4))

    def database_locked(self, _: Pushed) -> None:
        database = sqlite3.connect(self.server.home / DATABASE, timeout=5)
        with contextlib.closing(database), contextlib.suppress(sqlite3.OperationalError):
            database.execute("BEGIN IMMEDIATE")
            time.sleep(self.random.random() * 2)
            database.rollback()

    def cache_deleted(self, _: Pushed) -> None:
        shutil.rmtree(self.daemon.place.environ["XDG_CACHE_HOME"], ignore_errors=True)

    def store_unwritable(self, pushed: Pushed) -> None:
        # A disk without room cannot be had without mounting one; this refuses every write, too.
        objects = pushed.origin.path / "objects"
        away = objects.with_suffix(".away")
        objects.rename(away)
        objects.touch()
        time.sleep(self.random.random())
        objects.unlink()
        away.rename(objects)

    def killed(self, _: Pushed) -> None:
        self.daemon.kill()
        self.daemon.restart()

    def any(self, *, kills: bool) -> None:
        """One of them, to one source."""
        kinds = [
            *[self.commit] * 5,
            self.broken_manifest,
            self.force_push,
            self.changed_by_hand,
            self.deleted_by_hand,
            self.repository_away,
            self.server_unavailable,
            self.answers_lost,
            self.database_locked,
            self.cache_deleted,
            self.store_unwritable,
            *[self.killed] * (3 * kills),
        ]
        kind, pushed = self.random.choice(kinds), self.random.choice(self.many)
        self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1
        kind(pushed)

    def go_on(self, seconds: float, *, kills: bool) -> None:
        """One after the other, for so long; then wait until all is as git says."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.any(kills=kills)
            time.sleep(self.random.random() * 0.5)
        for pushed in self.many:
            if _number(pushed) is None:
                self.commit(pushed)
        for pushed in self.many:
            self._is_as_git_says(pushed)

    def _is_as_git_says(self, pushed: Pushed) -> None:
        head = pushed.origin.git("rev-parse", "main")
        told = self.daemon.wait(
            pushed.name,
            lambda told: (told["word"], told["deployed"]) == ("synced", head),
            seconds=300,
        )
        until = time.monotonic() + 60  # a change by hand may have come after the last look
        tag = pushed.origin.git("show", "main:prefect.yaml").split("tags: [")[1].split("]")[0]
        expected = (_number(pushed), None, True, told["snapshots"]["prefect.yaml"])
        while (live := _deployed(self.server, pushed, tag)) != expected:
            assert time.monotonic() < until, (live, expected, self.daemon.log)
            time.sleep(0.2)
        assert expected[3] in pushed.origin.git("rev-list", "--max-parents=0", "code-store")
        pushed.origin.git("fsck", "--strict", "--no-dangling")


def _number(pushed: Pushed) -> int | None:
    """What the flow at the branch's head says; None where its manifest is broken."""
    if "tags:" not in pushed.origin.git("show", "main:prefect.yaml"):
        return None
    return int(pushed.origin.git("show", "main:flow.py").split("int = ")[1].split(")")[0])


def _live(server: SharedServer, pushed: Pushed) -> list[str]:
    query = {"flows": {"name": {"any_": [pushed.name]}}}
    return [each["id"] for each in server.call("POST", "/deployments/filter", query)]


def _deployed(server: SharedServer, pushed: Pushed, tag: str) -> tuple[object, ...] | None:
    """Number, description, whether it is tagged, and pin of the only deployment of a source."""
    found = _live(server, pushed)
    if len(found) != 1:
        return None
    item = server.call("GET", f"/deployments/{found[0]}")
    number = item["parameter_openapi_schema"]["properties"]["number"]["default"]
    pins = [step.get("gitops_flow.steps.pull_code") for step in item["pull_steps"]]
    return number, item["description"], tag in item["tags"], pins[-1]["commit"]


def _held(daemon: Daemon) -> dict[str, float]:
    """The least of what the process has in some seconds: between two looks that is what it keeps."""
    process, held = Path(f"/proc/{daemon.process.pid}"), []
    until = time.monotonic() + 5
    while time.monotonic() < until:
        now = {
            "processes": len(descendants(daemon.process.pid)),
            "threads": len(list((process / "task").iterdir())),
            "descriptors": len(list((process / "fd").iterdir())),
            "megabytes": resident(daemon.process.pid),
        }
        held.append(now)
        time.sleep(0.01)
    return {what: min(each[what] for each in held) for what in held[0]}


def _left(directory: Path, sessions: set[int]) -> list[str]:
    """Temporary files, locks and processes that nobody needs any more."""
    left = [str(each) for each in (directory / "tmp").iterdir()]
    # Of git's locks, a file is the lock; of ours, it is what is locked.
    refs = Path(os.environ["XDG_CACHE_HOME"]).glob("**/refs/**/*.lock")
    left += [str(each) for each in refs]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) in sessions:
                left.append(str(stat))
    return left


@pytest.fixture
def many(tmp_path: Path, namespace: str, prefect_server: SharedServer) -> list[Pushed]:
    with contextlib.suppress(ApiError):
        prefect_server.call("POST", "/work_pools/", {"name": "gitflow-tests", "type": "process"})
    made = [Pushed(tmp_path, f"{namespace}-{number}") for number in range(_SOURCES)]
    for each in made:
        each.push()
    return made


@pytest.fixture
def place(tmp_path: Path, many: list[Pushed], proxy: Proxy) -> Place:
    made = Place(tmp_path, proxy.api_url)
    (tmp_path / "tmp").mkdir()
    made.environ["TMPDIR"] = str(tmp_path / "tmp")
    for each in many:
        made.source(each, heal=True, interval=2)
    return made


@pytest.fixture
def proxy(prefect_server: SharedServer) -> Iterator[Proxy]:
    with Proxy(prefect_server.api_url) as made:
        yield made


def test_whatever_happens_the_server_is_equal_to_git_in_the_end_and_nothing_is_left(
    tmp_path: Path, many: list[Pushed], place: Place, prefect_server: SharedServer, proxy: Proxy
) -> None:
    print(f"GITFLOW_TESTS_SEED={_SEED}")
    daemon = Daemon(place)
    try:
        faults = Faults(many, daemon, prefect_server, proxy)
        faults.go_on(_SECONDS / 2, kills=True)
        before = _held(daemon)
        faults.go_on(_SECONDS / 2, kills=False)
        held = _held(daemon)
        print(faults.done, before, held)
        assert held["processes"] == 0
        assert held["threads"] <= before["threads"]
        assert held["descriptors"] <= before["descriptors"] + MOST_IDLE
        assert held["megabytes"] <= before["megabytes"] + _SLACK
        assert "bug" not in daemon.log
        assert daemon.end() == 0
    finally:
        daemon.kill()
    assert _left(tmp_path, daemon.sessions) == []


def test_a_clock_that_jumps_keeps_nobody_from_being_looked_at(
    many: list[Pushed], place: Place
) -> None:
    jumped = timedelta(0)
    with place.running(now=lambda: datetime.now(UTC) + jumped) as controller:
        for jumped in (timedelta(0), timedelta(days=400), timedelta(days=-400)):
            commit = many[0].push(int(jumped.days) + 1000)
            state = wait_until(
                controller,
                many[0].name,
                lambda state: state.deployed == commit,  # noqa: B023
            )
            assert state.word == "synced"
