"""Every test runs cut off from the machine; real servers are shared by the tests of a process."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import hypothesis
import pytest

from gitops_flow import local
from gitops_flow.errors import ApiError
from gitops_flow.git import environment
from tests.support import reruns
from tests.support.prefect import (
    DATABASE,
    PYTHON,
    Owner,
    SharedServer,
    SharedWorker,
    connect,
    foreign_variables,
    isolated_environment,
)
from tests.support.repo import Repo
from tests.support.snapshots import Taken, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.attacks import Ground

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("gitflow", deadline=None)
hypothesis.settings.load_profile("gitflow")

_OWNER = pytest.StashKey[Owner]()
_ADDRESS = "gitflow_owner"
_counter = itertools.count()
# A step that logs in a test process would start a temporary server, in the background, to log to.
_NO_LOGS = ("PREFECT_LOGGING_TO_API_ENABLED", "false")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repository without a commit."""
    return Repo(tmp_path / "project")


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., Taken]:
    """Snapshots a working tree: ``take(path, cache="cache", **options)``."""
    return lambda path, cache="cache", **options: look(path, tmp_path / cache, **options)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory for checkouts."""
    path = tmp_path / "worker"
    path.mkdir()
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the cache of checkouts will be."""
    return tmp_path / "cache" / "checkout"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(path)]
    if os.getuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small tmpfs here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def ground(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Ground:
    """Where an attack takes place."""
    from tests.support.attacks import Ground

    return Ground(tmp_path, monkeypatch, capsys, caplog)


def pytest_configure(config: pytest.Config) -> None:
    """Make the owner of the shared servers; it starts none until one is asked for."""
    # A run in the background of a script ignores Ctrl-C, and so would all that it starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Hundreds of commands are started, and each would compile all of gitops_flow.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    config.pluginmanager.register(reruns)
    if not hasattr(config, "workerinput"):
        config.stash[_OWNER] = Owner()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the shared servers, whatever became of the tests."""
    if owner := config.stash.get(_OWNER, None):
        owner.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell each pytest-xdist worker where the owner listens."""
    node.workerinput[_ADDRESS] = node.config.stash[_OWNER].address  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment that session fixtures see, and the parent of every test's home.

    libgit2 reads HOME once per process, so it must not be the machine's even then.
    """
    home = tmp_path_factory.mktemp("home")
    patch = pytest.MonkeyPatch()
    for name in foreign_variables():
        patch.delenv(name)
    for name, value in isolated_environment(home).items():
        patch.setenv(name, value)
    patch.setenv("PREFECT_HOME", str(home / ".prefect"))
    patch.setenv(*_NO_LOGS)
    with environment.using(environment.GitEnvironment(os.environ)):
        yield home
    patch.undo()


@pytest.fixture(autouse=True)
def home(_session_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This test's own HOME; XDG, git and Prefect look nowhere else."""
    own = _session_home / str(next(_counter))
    own.mkdir()
    for name in foreign_variables():
        monkeypatch.delenv(name)
    for name, value in isolated_environment(own).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PREFECT_HOME", str(own / ".prefect"))
    monkeypatch.setenv(*_NO_LOGS)
    return own


def _ask(config: pytest.Config, what: str, *more: object) -> object:
    question = (what, os.environ.get("PYTEST_XDIST_WORKER", "main"), *more)
    if owner := config.stash.get(_OWNER, None):
        return owner.ask(*question)
    return connect(config.workerinput[_ADDRESS], *question)  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def prefect_server(request: pytest.FixtureRequest) -> SharedServer:
    """A real Prefect server, one for all tests of this process: on SQLite it serves two badly.

    Names on it must be made with ``namespace``.
    """
    server = _ask(request.config, "server")
    assert isinstance(server, SharedServer)
    request.config.stash[reruns.LOG] = server.log_path
    return server


@pytest.fixture
def prefect_home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A PREFECT_HOME for a server of this test alone, which need not migrate its database."""
    home = tmp_path / "prefect"
    home.mkdir()
    shutil.copy(str(_ask(request.config, "database")), home / DATABASE)
    return home


@pytest.fixture
def prefect_api_url(prefect_server: SharedServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shared server's address, which PREFECT_API_URL also names in this test."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.api_url)
    return prefect_server.api_url


@pytest.fixture(scope="session")
def prefect_worker(request: pytest.FixtureRequest) -> Callable[..., SharedWorker]:
    """``prefect_worker(pool)``: a real process worker on a pool of ``prefect_server``, shared too.

    Pools cost a process of 128 MB each: use the default one unless the test is
    about pools. It polls every 0.5 s.
    """

    def start(pool: str = "gitflow-tests") -> SharedWorker:
        worker = _ask(request.config, "worker", pool)
        assert isinstance(worker, SharedWorker)
        return worker

    return start


@pytest.fixture
def own_worker(
    prefect_server: SharedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., local.Worker]]:
    """``own_worker(pool, env=None, cwd=None)``: a worker of this test alone, ended after it."""
    started: list[local.Worker] = []

    def start(
        pool: str, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> local.Worker:
        base = tmp_path_factory.mktemp("worker")
        started.append(
            local.start_worker(
                prefect_server.api_url,
                pool,
                cwd or base,
                base / "prefect",
                env,
                environ=os.environ,
                python=PYTHON,
            )
        )
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A prefix, unique in this run, for names on the shared server.

    What bears it is deleted after the test: schedules that go on would keep the
    server busy, and every other test waiting.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw")
    short = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:30].strip("-")
    name = f"{short}-{worker}-{next(_counter)}"
    yield name
    if "prefect_server" in request.fixturenames:
        _delete(request.getfixturevalue("prefect_server"), name)


def _delete(server: SharedServer, name: str) -> None:
    # With a flow go its runs, and a worker of Prefect 3.2 ends when one that it has just
    # finished with is gone: other versions keep their flows.
    for kind, named in (
        ("flows" if PYTHON is None else "deployments", "flows"),
        ("deployments", "deployments"),
    ):
        query = {named: {"name": {"like_": name}}, "limit": 200}
        for item in server.call("POST", f"/{kind}/filter", query):
            with contextlib.suppress(ApiError):
                server.call("DELETE", f"/{kind}/{item['id']}")
