"""Deploys from many threads of one process, as a controller makes them, on a real server."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitops_flow import deploy, prefect, settings
from gitops_flow.deploy import Deployed, DeployRequest, Phase, StepLine, Which, verify
from gitops_flow.errors import StoppedError
from gitops_flow.flows import module
from gitops_flow.git.repository import Author
from gitops_flow.stop import Stop
from tests.support.prefect import isolated_environment
from tests.support.proxy import Proxy
from tests.support.repo import Repo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gitops_flow.deploy import Event, Preview, Report
    from gitops_flow.prefect import Clients
    from tests.support.prefect import SharedServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
_SOURCES = 8
_ROUNDS = 50
# In every so many rounds, the code is another one.
_CHANGED = 10
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
    """A repository of a user of its own, with a server and an environment that nobody else has."""

    repo: Repo
    name: str
    environ: dict[str, str]
    server: Proxy

    @property
    def settings(self) -> settings.Settings:
        return settings.load(self.environ, self.repo.path)

    @property
    def request(self) -> DeployRequest:
        return DeployRequest(deploy.working_tree(self.repo.path), Which(everything=True))

    def write(self, number: int) -> None:
        """Change the code."""
        self.repo.write("flow.py", _FLOW.format(name=self.name, number=number))

    def deploy(self, clients: Clients | None = None) -> tuple[Report, list[Event]]:
        """Deploy; what was told."""
        events: list[Event] = []
        found = self.settings
        report = deploy.run(
            self.request,
            found,
            self.environ,
            author=Author.of(self.environ),
            policy=deploy.every_step(found, self.environ),
            clients=clients,
            on_event=events.append,
        )
        assert report.ok, report.results
        assert report.snapshot.provenance.author == f"{self.name} <own@example.invalid>"
        assert report.published.url.startswith(self.environ["XDG_DATA_HOME"])
        return report, events

    def preview(self, clients: Clients | None = None) -> Preview:
        """What a deploy would do."""
        found, author = self.settings, Author.of(self.environ)
        policy = deploy.every_step(found, self.environ)
        return deploy.preview(
            self.request, found, self.environ, author=author, policy=policy, clients=clients
        )


@pytest.fixture
def make_place(
    tmp_path: Path, prefect_server: SharedServer, namespace: str
) -> Iterator[Callable[[int], Place]]:
    pool = f"{namespace}-pool"
    prefect_server.call("POST", "/work_pools/", {"name": pool, "type": "process"})
    with ExitStack() as stack:

        def make(number: int) -> Place:
            name, home = f"{namespace}-{number}", tmp_path / f"home-{number}"
            home.mkdir()
            repo = Repo(tmp_path / f"repo-{number}")
            repo.write("prefect.yaml", _MANIFEST.format(name=name, pool=pool)).commit()
            secret = f"key-{number}"
            login = b64encode(f"admin:{secret}".encode()).decode()
            demands = {
                "authorization": f"Bearer {secret}" if number % 2 else f"Basic {login}",
                "x-source": str(number),
            }
            server = stack.enter_context(Proxy(prefect_server.api_url, demands))
            environ = {
                **isolated_environment(home),
                "PATH": os.environ["PATH"],
                "PREFECT_API_URL": server.api_url,
                "PREFECT_CLIENT_CUSTOM_HEADERS": f'{{"x-source": "{number}"}}',
                "GIT_AUTHOR_NAME": name,
                "GIT_AUTHOR_EMAIL": "own@example.invalid",
                "OWN": name,
            }
            if number % 2:
                environ["PREFECT_API_KEY"] = secret
            else:
                environ["PREFECT_API_AUTH_STRING"] = f"admin:{secret}"
            return Place(repo, name, environ, server)

        yield make
    prefect_server.call("DELETE", f"/work_pools/{pool}")


def _held(place: Path) -> dict[str, int]:
    """What a process must not gather."""
    module._parsed.clear()  # what is kept of sources has a bound, which these few do not reach
    gc.collect()
    return {
        "threads": threading.active_count(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "temporary files": len(list(Path(tempfile.gettempdir()).iterdir())),
        "files": sum(len(names) for _, _, names in os.walk(place)),
        "objects": len(gc.get_objects()),
    }


def _deploy_changed(place: Place, number: int, clients: Clients, real: SharedServer) -> None:
    place.write(number)
    preview = place.preview(clients)
    assert preview.source.name == place.name
    report, events = place.deploy(clients)
    assert report.snapshot.tree == preview.snapshot.tree
    # Its own environment, and no line of another's step.
    assert [each.text for each in events if isinstance(each, StepLine)][1:] == [place.name]
    changed = [each.result.full_name for each in events if isinstance(each, Deployed)]
    assert changed == [f"{place.name}/main"]
    live = real.call("GET", f"/deployments/name/{place.name}/main")
    assert live["description"] == f"{place.name} in {place.name}"
    schema = live["parameter_openapi_schema"]
    assert schema["properties"]["number"]["default"] == number


def _deploy_unchanged(place: Place, clients: Clients) -> None:
    place.server.clear()
    report, _ = place.deploy(clients)
    assert [each.status for each in report.results] == ["unchanged"]
    assert place.server.writes == []


def test_eight_threads_deploy_eight_sources_to_eight_servers_again_and_again(
    make_place: Callable[[int], Place],
    prefect_server: SharedServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    places = [make_place(number) for number in range(_SOURCES)]
    directory, environ = Path.cwd(), dict(os.environ)
    held: list[dict[str, int]] = []
    with prefect.Clients() as clients:
        for number in range(_ROUNDS):

            def work(place: Place, number: int = number) -> None:
                if number % _CHANGED:
                    _deploy_unchanged(place, clients)
                else:
                    _deploy_changed(place, number, clients, prefect_server)

            with ThreadPoolExecutor(_SOURCES) as pool:
                list(pool.map(work, places))
            held.append(_held(tmp_path))
        kept = [connection for _, connection, _ in clients._idle]
    assert len(set(kept)) == len(kept) == _SOURCES
    assert [place.server.strangers for place in places] == [[]] * _SOURCES
    # What is loaded and kept is there after the first rounds of each kind.
    for what, after in held[-1].items():
        first = -2 if what == "files" else _CHANGED + 1
        spare = after // 100 if what == "objects" else 0
        assert after <= held[first][what] + spare, (what, held)
    assert (Path.cwd(), dict(os.environ)) == (directory, environ)


def test_what_looks_at_or_changes_what_is_live_ends_when_it_is_stopped(
    make_place: Callable[[int], Place], prefect_server: SharedServer
) -> None:
    place = make_place(0)
    place.write(1)
    place.deploy()
    found, origin, everything = place.settings, place.request.source, place.request.which
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
    make_place: Callable[[int], Place], prefect_server: SharedServer
) -> None:
    place, stop = make_place(0), Stop()
    place.write(1)
    told: list[Event] = []

    def end(event: Event) -> None:
        told.append(event)
        if event is Phase.PUBLISH:
            stop.set("the source was removed")

    # Its thread has the process's environment for git, as tests do: a thread of its own has none.
    with ThreadPoolExecutor(1) as pool, pytest.raises(StoppedError, match="source was removed"):
        pool.submit(
            deploy.run,
            place.request,
            place.settings,
            place.environ,
            author=Author(),
            policy=deploy.every_step(place.settings, place.environ),
            on_event=end,
            stop=stop,
        ).result()
    assert told[-1] is Phase.PUBLISH
    query = {"flows": {"name": {"any_": [place.name]}}}
    assert prefect_server.call("POST", "/deployments/filter", query) == []
