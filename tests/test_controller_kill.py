"""kill -9 of a controller in each phase: the next one converges, and what is pinned is released.

``GITFLOW_TESTS_ROUNDS=20`` kills twenty times in each phase.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitops_flow.deploy import Phase
from gitops_flow.errors import ApiError
from tests.support.controller import FLOW, Place, Pushed
from tests.support.daemon import Daemon
from tests.support.held import HeldGit
from tests.support.prefect import SharedServer
from tests.support.proxy import Proxy

pytestmark = [pytest.mark.real, pytest.mark.timeout(1500)]

_ROUNDS = int(os.environ.get("GITFLOW_TESTS_ROUNDS", "1"))
_NAMES: tuple[str, ...] = ("one", "two", "three")
_MANIFEST = """\
name: {name}
build:
- prefect.deployments.steps.run_shell_script: {{script: "{build}"}}
deployments:
"""
_DEPLOYMENT = "- {{name: {one}, entrypoint: 'flow.py:work', work_pool: {{name: gitflow-tests}}}}\n"


class Killed:
    """A controller with one source of three deployments, which is killed and started again."""

    def __init__(self, directory: Path, name: str, server: SharedServer, proxy: Proxy) -> None:
        self.name, self.server, self.proxy = name, server, proxy
        self.pushed = Pushed(directory, name)
        self.git = HeldGit(directory / "git")
        self.began = directory / "began"
        self._numbers = itertools.count(1)
        self.names = _NAMES
        self.commit = self.push()
        self.place = Place(directory, proxy.api_url)
        self.place.environ["PATH"] = self.git.path
        self.configure()
        self.daemon = Daemon(self.place)
        self.converges(set())

    def configure(self, interval: float = 600) -> None:
        """Have the file say how often the source is looked at."""
        more = {
            "prune": True,
            "heal": True,
            "steps": ["prefect.deployments.steps.run_shell_script"],
            # A deploy of a source that may be frozen is marked as begun; this one no longer is.
            "freeze": [{"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}],
        }
        self.place.source(self.pushed, interval=interval, **more)

    def push(self, build: str = "true") -> str:
        """Push other code, with the deployments ``names``; the commit."""
        flow = FLOW.format(name=self.name, number=next(self._numbers))
        self.pushed.clone.write("flow.py", flow)
        text = _MANIFEST.format(name=self.name, build=build)
        text += "".join(_DEPLOYMENT.format(one=one) for one in self.names)
        self.commit = self.pushed.push_file("prefect.yaml", text)
        return self.commit

    def sync(self) -> None:
        """Have the source looked at now."""
        self.daemon.ask("POST", f"/api/sources/{self.name}/sync")

    def is_in(self, *phases: Phase | str) -> None:
        """Assert that the controller says that it is in one of these phases."""
        assert self.daemon.source(self.name)["phase"] in [
            each.value if isinstance(each, Phase) else each for each in phases
        ]

    def pins(self) -> dict[str, str]:
        """The pinned snapshots on the server, by the names of the deployments."""
        query = {"flows": {"name": {"any_": [self.name]}}}
        found = {}
        for item in self.server.call("POST", "/deployments/filter", query):
            steps = [step.get("gitops_flow.steps.pull_code") for step in item["pull_steps"]]
            found[item["name"]] = next(str(each["commit"]) for each in steps if each)
        return found

    def published(self) -> set[str]:
        """Every snapshot that the ledger holds."""
        listed = self.pushed.origin.git("rev-list", "--max-parents=0", "code-store", check=False)
        return set(listed.splitlines())

    def kill(self) -> set[str]:
        """``kill -9``; what stands then is released. The releases until now."""
        released = self.published()
        self.daemon.kill()
        assert set(self.pins().values()) <= self.published()
        return released

    def converges(self, released: set[str]) -> None:
        """The controller that runs deploys what git has; no release is lost."""
        told = self.daemon.wait(
            self.name, lambda told: told["deployed"] == self.commit and told["word"] == "synced"
        )
        snapshot = told["snapshots"]["prefect.yaml"]
        assert self.pins() == dict.fromkeys(self.names, snapshot)
        assert {*released, snapshot} <= self.published()
        self.pushed.origin.git("fsck", "--strict", "--no-dangling")

    def killed_when(
        self, reach: Callable[[], None], *phases: Phase | str, release: Callable[[], None]
    ) -> None:
        """Kill it once ``reach`` has returned, let what it left behind go on, and start it again."""
        reach()
        self.is_in(*phases)
        released = self.kill()
        release()
        self.daemon.restart()
        self.converges(released)

    def killed_in_request(self, *phases: Phase | str, method: str, path: str, nth: int = 1) -> None:
        """Kill it while the server is at such a request."""
        rule = self.proxy.rule("hold", method, path, nth=nth)

        def reach() -> None:
            self.push()
            self.sync()
            assert rule.reached.wait(60)

        self.killed_when(reach, *phases, release=rule.release.set)


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: SharedServer
) -> Iterator[Killed]:
    with contextlib.suppress(ApiError):
        prefect_server.call("POST", "/work_pools/", {"name": "gitflow-tests", "type": "process"})
    directory = tmp_path_factory.mktemp("killed")
    with Proxy(prefect_server.api_url) as proxy:
        made = Killed(directory, f"killed-{os.getpid()}", prefect_server, proxy)
        try:
            yield made
            assert made.daemon.end() == 0
            assert "Traceback" not in made.daemon.log
        finally:
            made.git.release()
            made.daemon.kill()
    query = {"flows": {"name": {"any_": [made.name]}}}
    for item in prefect_server.call("POST", "/deployments/filter", query):
        prefect_server.call("DELETE", f"/deployments/{item['id']}")


@pytest.mark.parametrize("_", range(_ROUNDS))
@pytest.mark.parametrize(
    ("when", "git", "phases"),
    [
        ("before", "fetch *", [""]),
        ("after", "fetch *", [""]),
        ("before", "update-ref refs/gitflow/begun*", [""]),
        ("before", "ls-tree *", [Phase.SNAPSHOT]),
        ("before", "ls-remote *code-store", [Phase.PUBLISH]),
        ("before", "push *code-store*", [Phase.PUBLISH]),
        ("after", "push *code-store*", [Phase.PUBLISH]),
        ("before", "update-ref refs/gitflow/deployed*", [Phase.CONFIRM]),
        ("before", "update-ref -d refs/gitflow/begun*", [Phase.CONFIRM]),
    ],
)
def test_killed_while_git_works(
    killed: Killed, when: str, git: str, phases: list[Phase | str], _: int
) -> None:
    def reach() -> None:
        killed.git.hold(when, git)
        killed.push()
        killed.sync()
        killed.git.reached()

    killed.killed_when(reach, *phases, release=killed.git.release)


@pytest.mark.parametrize("_", range(_ROUNDS))
@pytest.mark.parametrize(
    ("method", "path", "nth", "phases"),
    [
        # The server is asked while the snapshot is taken.
        ("POST", "/deployments/filter", 1, [Phase.SNAPSHOT, Phase.COMPARE]),
        ("PATCH", "/deployments/", 1, [Phase.APPLY]),
        ("PATCH", "/deployments/", 2, [Phase.APPLY]),
    ],
    ids=["asked", "first-write", "second-write"],
)
def test_killed_while_the_server_is_asked_or_written_to(
    killed: Killed, method: str, path: str, nth: int, phases: list[Phase | str], _: int
) -> None:
    killed.killed_in_request(*phases, method=method, path=path, nth=nth)


@pytest.mark.parametrize("_", range(_ROUNDS))
def test_killed_while_a_deployment_is_created_or_deleted(killed: Killed, _: int) -> None:
    killed.names = (*_NAMES, "four")
    killed.killed_in_request(Phase.APPLY, method="POST", path="/deployments/$")
    killed.names = _NAMES
    killed.killed_in_request(Phase.APPLY, method="DELETE", path="/deployments/")


@pytest.mark.parametrize("_", range(_ROUNDS))
def test_killed_while_the_release_is_confirmed(killed: Killed, _: int) -> None:
    rule = killed.proxy.rule("hold", "PATCH", "/deployments/", nth=3)

    def reach() -> None:
        killed.push()
        killed.sync()
        assert rule.reached.wait(60)
        killed.git.hold("before", "ls-remote *code-store*")
        rule.release.set()
        killed.git.reached()

    killed.killed_when(reach, Phase.CONFIRM, release=killed.git.release)


@pytest.mark.parametrize("_", range(_ROUNDS))
def test_killed_while_the_code_store_takes_the_push(killed: Killed, _: int) -> None:
    reached, release = killed.began.with_name("reached"), killed.began.with_name("release")
    hook = killed.pushed.origin.path / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)

    def reach() -> None:
        killed.push()
        hook.write_text(
            f"#!/bin/sh\ntouch {reached}\nuntil [ -e {release} ]; do sleep 0.02; done\n"
        )
        hook.chmod(0o755)
        killed.sync()
        _wait_for(reached)

    def let_go() -> None:
        hook.unlink()
        release.touch()

    killed.killed_when(reach, Phase.PUBLISH, release=let_go)
    reached.unlink()
    release.unlink()


@pytest.mark.parametrize("_", range(_ROUNDS))
def test_killed_while_a_build_step_runs(killed: Killed, _: int) -> None:
    killed.began.unlink(missing_ok=True)

    def reach() -> None:
        killed.push(build=f"touch {killed.began}\\nsleep 2")
        killed.sync()
        _wait_for(killed.began)

    killed.killed_when(reach, Phase.BUILD, release=lambda: None)


@pytest.mark.parametrize("_", range(_ROUNDS))
def test_killed_while_it_takes_back_what_somebody_changed(killed: Killed, _: int) -> None:
    item = killed.server.call("GET", f"/deployments/name/{killed.name}/{killed.names[0]}")
    rule = killed.proxy.rule("hold", "PATCH", "/deployments/")

    def reach() -> None:
        killed.server.call("PATCH", f"/deployments/{item['id']}", {"description": "by hand"})
        killed.configure(interval=1)
        assert rule.reached.wait(60)

    killed.killed_when(reach, Phase.APPLY, release=rule.release.set)
    until = time.monotonic() + 60
    while (live := killed.server.call("GET", f"/deployments/{item['id']}"))["description"]:
        assert time.monotonic() < until, live
        time.sleep(0.1)
    killed.configure()


@pytest.mark.parametrize("number", range(2 * _ROUNDS))
def test_killed_at_any_moment(killed: Killed, number: int) -> None:
    killed.push()
    killed.sync()
    time.sleep(random.Random(number).random())
    released = killed.kill()
    killed.daemon.restart()
    killed.converges(released)


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} was not reached"
        time.sleep(0.02)


@pytest.mark.skipif(_ROUNDS == 1, reason="a lease takes 30 s to end; GITFLOW_TESTS_ROUNDS=2 waits")
def test_of_two_controllers_with_a_lease_the_other_takes_over_when_one_is_killed(
    tmp_path: Path, prefect_server: SharedServer, namespace: str
) -> None:
    pushed = Pushed(tmp_path, namespace)
    pushed.push(1)
    with Proxy(prefect_server.api_url) as proxy:
        rule = proxy.rule("hold", "POST", "/deployments/$")
        daemons = []
        try:
            for number, api_url in enumerate((proxy.api_url, prefect_server.api_url)):
                (tmp_path / str(number)).mkdir()
                place = Place(tmp_path / str(number), api_url)
                place.environ["XDG_CACHE_HOME"] = str(tmp_path / str(number) / "cache")
                place.source(pushed)
                daemons.append(Daemon(place, "--lease"))
                if not number:
                    assert rule.reached.wait(60)
            first, second = daemons
            assert first.source(namespace)["phase"] == Phase.APPLY.value
            # While the first one works, the second one leaves it alone.
            second.wait(namespace, lambda told: told["commit"] is not None)
            assert second.source(namespace)["deployed"] is None
            released = pushed.origin.git("rev-list", "--max-parents=0", "code-store").split()
            first.kill()
            rule.release.set()
            commit = pushed.push(2)
            told = second.wait(namespace, lambda told: told["deployed"] == commit, 120)
            live = prefect_server.call("GET", f"/deployments/name/{namespace}/main")
            assert live["pull_steps"][-1]["gitops_flow.steps.pull_code"]["commit"] in (
                told["snapshots"].values()
            )
            now = pushed.origin.git("rev-list", "--max-parents=0", "code-store").split()
            assert {*released, *told["snapshots"].values()} <= {*now}
            assert second.end() == 0
        finally:
            for each in daemons:
                each.kill()
