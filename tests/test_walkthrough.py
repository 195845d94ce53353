"""The pages that lead somebody by the hand are followed to the letter, with real parts."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitops_flow import local
from gitops_flow.pin import PULL_CODE
from tests.support.controller import Pushed
from tests.support.prefect import PYTHON, SharedServer, SharedWorker
from tests.support.repo import Repo
from tests.support.walkthrough import Reader, blocks

DOCS = Path(__file__).parent.parent / "docs"
ETL = """from prefect import flow


@flow(name="etl", log_prints=True)
def nightly(target: str = "here"):
    print(f"loading into {target}")
"""
MANIFEST = """name: etl
deployments:
  - name: nightly
    entrypoint: etl.py:nightly
    work_pool: {name: gitflow-tests}
"""


def _environ(**more: str) -> dict[str, str]:
    own = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{own}:{os.environ['PATH']}", **more}


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def reader(tmp_path: Path, prefect_home: Path) -> Iterator[Reader]:
    """Somebody with an empty directory, and a server and worker that they start themselves."""
    port = _free_port()
    (tmp_path / "desk").mkdir()
    made = Reader(
        tmp_path / "desk",
        _environ(
            PREFECT_HOME=str(prefect_home),
            PREFECT_SERVER_API_PORT=port,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_SERVER_UI_ENABLED="false",
            PREFECT_WORKER_QUERY_SECONDS="1",
        ),
        f"http://127.0.0.1:{port}/api",
    )
    yield made
    made.close()


@pytest.mark.real
def test_getting_started_leads_from_nothing_to_an_uncommitted_edit_that_a_worker_runs(
    reader: Reader,
) -> None:
    reader.follow(DOCS / "getting-started.md")
    shown = reader.terminals()
    assert "counting the orders of today" in shown
    assert "adding up the orders of yesterday" in shown


@pytest.mark.real
def test_the_page_on_migrating_takes_over_what_prefect_deploy_made_and_gives_it_back(
    prefect_server: SharedServer, prefect_worker: Callable[..., SharedWorker], tmp_path: Path
) -> None:
    prefect_worker()
    repo = Repo(tmp_path / "desk").write("etl.py", ETL).write("prefect.yaml", MANIFEST)
    repo.commit()
    made = Reader(repo.path, _environ(PREFECT_API_URL=prefect_server.api_url), "")
    made.do("prefect deploy --all")
    before = prefect_server.call("GET", "/deployments/name/etl/nightly")
    made.follow(DOCS / "migrating.md")
    after = prefect_server.call("GET", "/deployments/name/etl/nightly")
    assert after["id"] == before["id"]
    assert after["pull_steps"] == before["pull_steps"]
    assert any("(adopted)" in text for text in made.printed)
    prefect_server.call("DELETE", f"/flows/{after['flow_id']}")


@pytest.mark.real
def test_the_page_on_the_controller_leads_from_a_file_to_a_deployed_commit(
    prefect_server: SharedServer, namespace: str, tmp_path: Path
) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    pushed = Pushed(tmp_path, namespace)
    pushed.push()
    (desk / "shop.git").symlink_to(pushed.origin.path)
    environ = _environ(PREFECT_API_URL=prefect_server.api_url)
    made = Reader(desk, environ, prefect_server.api_url, f"127.0.0.1:{_free_port()}")
    made.do("prefect work-pool create --overwrite --type process gitflow-tests")
    try:
        made.follow(DOCS / "controller.md")
        made.do("until gitflow controller status | grep '^synced  *shop'; do sleep 0.2; done")
    finally:
        made.close()
    assert prefect_server.call("GET", f"/deployments/name/{namespace}/main")["entrypoint"]
    shown = made.terminals()
    assert "INFO shop: suspended" in shown
    assert shown.endswith("INFO ended\n")


@pytest.mark.real
def test_the_page_on_environments_deploys_to_two_servers_and_beside_the_original(
    prefect_server: SharedServer, prefect_home: Path, tmp_path: Path
) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    production = local.start_server(prefect_home, environ=os.environ, ui=False, python=PYTHON)
    try:
        made = Reader(desk, _environ(), "")
        for block in blocks(DOCS / "environments.md"):
            text = block.text.replace("http://127.0.0.1:4200/api", prefect_server.api_url)
            text = text.replace("http://127.0.0.1:4201/api", production.api_url)
            if block.file:
                (desk / block.file).write_text(text)
            else:
                made.do(text)
        staging, prod = (
            local.call(url, "GET", "/deployments/name/etl/nightly")
            for url in (prefect_server.api_url, production.api_url)
        )
        assert [each["parameters"]["target"] for each in (staging, prod)] == [
            "staging",
            "warehouse",
        ]
        assert [len(each["schedules"]) for each in (staging, prod)] == [0, 1]
        pins = [each["pull_steps"][0][PULL_CODE]["commit"] for each in (staging, prod)]
        assert pins[0] == pins[1]
        listed = prefect_server.call("POST", "/deployments/filter", {"limit": 200})
        assert not [each for each in listed if each["name"].endswith("-kim")]
        shown = "".join(made.printed)
        assert "work_pool: local -> production" in shown
        assert "etl/nightly-kim" in shown
        prefect_server.call("DELETE", f"/flows/{staging['flow_id']}")
    finally:
        production.stop()


def test_the_pages_have_something_to_do() -> None:
    assert len(blocks(DOCS / "getting-started.md")) >= 10
