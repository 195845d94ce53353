"""Deploys from many threads of one process, as a controller makes them, on a real server."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_flow import deploy, settings
from gitops_flow.deploy import Deployed, DeployRequest, Phase, StepLine, Which, verify
from gitops_flow.errors import StoppedError
from gitops_flow.flows import module
from gitops_flow.git.repository import Author
from gitops_flow.stop import Stop
from tests.support.prefect import isolated_environment
from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.deploy import Event
    from tests.support.prefect import SharedServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
_SOURCES = 8
# GITFLOW_TESTS_ROUNDS=50 is what finds a slow leak.
_ROUNDS = int(os.environ.get("GITFLOW_TESTS_ROUNDS", "5"))
_MANIFEST = """
name: {name}
build:
  - prefect.deployments.steps.run_shell_script:
      id: told
      script: printenv OWN
deployments:
  - name: main
    entrypoint: flow.py:work
    description: "{{{{ $OWN }}}} in {{{{ told.stdout }}}}"
    work_pool: {{name: {pool}}}
"""
_FLOW = "from prefect import flow\n\n@flow(name={name!r})\ndef work(number: int = {number}): ...\n"


@dataclass
class Place:
    """A repository of a user of its own, whose environment nobody else has."""

    repo: Repo
    name: str
    environ: dict[str, str]

    def deploy(self, number: int, stop: Stop | None = None) -> list[Event]:
        """Change the code, look at the plan, and deploy; what was told."""
        self.repo.write("flow.py", _FLOW.format(name=self.name, number=number))
        request = DeployRequest(deploy.working_tree(self.repo.path), Which(everything=True))
        found = settings.load(self.environ, self.repo.path)
        author = Author.of(self.environ)
        policy = deploy.every_step(found, self.environ)
        preview = deploy.preview(request, found, self.environ, author=author, policy=policy)
        assert preview.source.name == self.name
        events: list[Event] = []
        report = deploy.run(
            request,
            found,
            self.environ,
            author=author,
            policy=policy,
            on_event=events.append,
            stop=stop,
        )
        assert report.ok, report.results
        assert report.snapshot.tree == preview.snapshot.tree
        assert report.snapshot.provenance.author == f"{self.name} <own@example.invalid>"
        assert report.published.url.startswith(self.environ["XDG_DATA_HOME"])
        return events


@pytest.fixture
def places(tmp_path: Path, prefect_server: SharedServer, namespace: str) -> Iterator[list[Place]]:
    pool = f"{namespace}-pool"
    prefect_server.call("POST", "/work_pools/", {"name": pool, "type": "process"})
    made = []
    for number in range(_SOURCES):
        name, home = f"{namespace}-{number}", tmp_path / f"home-{number}"
        home.mkdir()
        repo = Repo(tmp_path / f"repo-{number}")
        repo.write("prefect.yaml", _MANIFEST.format(name=name, pool=pool)).commit()
        environ = {
            **isolated_environment(home),
            "PATH": os.environ["PATH"],
            "PREFECT_API_URL": prefect_server.api_url,
            "PREFECT_CLIENT_CUSTOM_HEADERS": f'{{"x-source": "{number}"}}',
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": "own@example.invalid",
            "OWN": name,
        }
        made.append(Place(repo, name, environ))
    yield made
    prefect_server.call("DELETE", f"/work_pools/{pool}")


def _held() -> dict[str, int]:
    """What a process must not gather."""
    module._parsed.clear()  # what is kept of sources has a bound, which these few do not reach
    gc.collect()
    return {
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "temporary files": len(list(Path(tempfile.gettempdir()).glob("gitflow-*"))),
        "objects": len(gc.get_objects()),
    }


def test_eight_threads_deploy_eight_sources_again_and_again(
    places: list[Place],
    prefect_server: SharedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    directory, environ = Path.cwd(), dict(os.environ)
    held: list[dict[str, int]] = []
    for number in range(_ROUNDS):
        with ThreadPoolExecutor(_SOURCES) as pool:
            told = list(pool.map(lambda place: place.deploy(number), places))  # noqa: B023
        for place, events in zip(places, told, strict=True):
            lines = [each.text for each in events if isinstance(each, StepLine)]
            assert place.name in lines
            assert not {other.name for other in places if other is not place}.intersection(lines)
            assert [each.result.full_name for each in events if isinstance(each, Deployed)] == [
                f"{place.name}/main"
            ]
            live = prefect_server.call("GET", f"/deployments/name/{place.name}/main")
            assert live["description"] == f"{place.name} in {place.name}"
            schema = live["parameter_openapi_schema"]
            assert schema["properties"]["number"]["default"] == number
        held.append(_held())
    # What is loaded and kept is there after the first rounds.
    for what, before in held[1].items():
        spare = before // 100 if what == "objects" else 0
        assert held[-1][what] <= before + spare, (what, held)
    assert (Path.cwd(), dict(os.environ)) == (directory, environ)


def test_what_looks_at_or_changes_what_is_live_ends_when_it_is_stopped(
    places: list[Place], prefect_server: SharedServer
) -> None:
    place = places[0]
    place.deploy(1)
    found = settings.load(place.environ, place.repo.path)
    origin, everything = deploy.working_tree(place.repo.path), Which(everything=True)
    before = prefect_server.call("GET", f"/deployments/name/{place.name}/main")
    looking, deleting, holding = Stop(), Stop(), Stop()

    def confirm(*_: object) -> bool:
        deleting.set("removed")
        return True

    def tell(_: str) -> None:
        looking.set("removed")

    with pytest.raises(StoppedError, match="removed"):
        verify.run(origin, everything, found, place.environ, tell=tell, stop=looking)
    with pytest.raises(StoppedError, match="removed"):
        deploy.destroy(origin, found, confirm=confirm, stop=deleting)
    holding.set("removed")
    with pytest.raises(StoppedError, match="removed"):
        deploy.switch(origin, everything, found, hold=True, stop=holding)
    assert prefect_server.call("GET", f"/deployments/name/{place.name}/main") == before


def test_a_deploy_that_is_stopped_writes_nothing_more(
    places: list[Place], prefect_server: SharedServer
) -> None:
    place, stop = places[0], Stop()
    place.repo.write("flow.py", _FLOW.format(name=place.name, number=1))
    told: list[Event] = []

    def end(event: Event) -> None:
        told.append(event)
        if event is Phase.PUBLISH:
            stop.set("the source was removed")

    found = settings.load(place.environ, place.repo.path)
    request = DeployRequest(deploy.working_tree(place.repo.path), Which(everything=True))
    # Its thread has the process's environment for git, as tests do: a thread of its own has none.
    with ThreadPoolExecutor(1) as pool, pytest.raises(StoppedError, match="source was removed"):
        pool.submit(
            deploy.run,
            request,
            found,
            place.environ,
            author=Author(),
            policy=deploy.every_step(found, place.environ),
            on_event=end,
            stop=stop,
        ).result()
    assert told[-1] is Phase.PUBLISH
    query = {"flows": {"name": {"any_": [place.name]}}}
    assert prefect_server.call("POST", "/deployments/filter", query) == []
