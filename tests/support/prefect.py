"""Real Prefect servers for a whole test run: one for each process that runs tests.

The controlling pytest process owns them (with pytest-xdist that is the one that
runs no tests), so they end with the run, whatever becomes of the others. Test
processes ask over a socket; the first question of each starts its server.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_flow import local
from gitops_flow.errors import ApiError, GitflowError

if TYPE_CHECKING:
    from collections.abc import Callable

# On SQLite the server's own services now and then keep each other, and every request,
# waiting for a minute: so those are off at which no test looks (the scheduler stays), and
# workers ask less often, since each question makes the server write.
_QUIET = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    # Its log tells of each request that a locked database refused, see reruns.py.
    "PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true",
} | {
    f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false"
    for name in (
        "CANCELLATION_CLEANUP",
        "EVENT_PERSISTER",
        "FOREMAN",
        "PAUSE_EXPIRATIONS",
        "TASK_RUN_RECORDER",
        "TRIGGERS",
    )
}

# The Python whose Prefect server and workers the tests use, None for the tests' own;
# gitops-flow is installed there too. `make versions` sets it.
PYTHON = os.environ.get("GITFLOW_TESTS_PREFECT_PYTHON")

# In PREFECT_HOME. A new server migrates it, which takes 10 s; with a copy of one that is
# migrated already it starts in 6 s.
DATABASE = "prefect.db"


def patiently(ask: Callable[[], Any]) -> Any:
    """What ``ask`` answers, asked again while the server is busy (ten times at most)."""
    for pause in range(1, 10):
        try:
            return ask()
        except ApiError as error:
            if not error.retry:
                raise
            time.sleep(0.2 * pause)
    return ask()


def make_block(ask: Callable[..., Any], slug: str, name: str, data: Any) -> str:
    """Make a block of a type that the server has; its id."""
    kind = ask("GET", f"/block_types/slug/{slug}")["id"]
    query = {"block_schemas": {"block_type_id": {"any_": [kind]}}, "limit": 1}
    schema = ask("POST", "/block_schemas/filter", query)[0]["id"]
    body = {"name": name, "data": data, "block_type_id": kind, "block_schema_id": schema}
    return str(ask("POST", "/block_documents/", body)["id"])


@dataclass(frozen=True)
class SharedServer:
    """The server of a test process, as tests see it."""

    api_url: str
    home: Path
    pid: int
    log_path: Path

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One JSON request; the decoded answer."""
        # SQLite answers 503 when its services write at the same moment.
        return patiently(lambda: local.call(self.api_url, method, path, body))

    def secret(self, name: str, value: str) -> str:
        """Keep a secret in a block of that name; the placeholder that stands for it."""
        make_block(self.call, "secret", name, {"value": value})
        return f"{{{{ prefect.blocks.secret.{name} }}}}"


@dataclass(frozen=True)
class SharedWorker:
    """A process worker that serves one pool for the whole run."""

    name: str
    pool: str
    cwd: Path
    pid: int
    log_path: Path


class Owner:
    """Starts what is asked for, once, and ends it all. Lives in the controlling process."""

    def __init__(self) -> None:
        # Not under pytest's basetemp: a socket's path may have 107 characters at most.
        self._root = Path(tempfile.mkdtemp(prefix="gitflow-tests-"))
        self.address = str(self._root / "owner")
        self._lock = threading.Lock()
        self._closed = False
        self._numbers = itertools.count()
        self._database = self._root / DATABASE
        self._servers: dict[str, local.Server] = {}
        self._workers: dict[tuple[str, str], local.Worker] = {}
        self._listener = Listener(self.address, "AF_UNIX", backlog=64)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def ask(self, what: str, *arguments: Any) -> SharedServer | SharedWorker | Path:
        """Return what is asked for, making it if it is not there yet.

        ``"server", process``; ``"worker", process, pool``; ``"database", process``.
        """
        make = {
            "server": self._start_server,
            "worker": self._start_worker,
            "database": self._migrated,
        }[what]
        with self._lock:
            if self._closed:
                raise RuntimeError("the test run is over")
            return make(*arguments)

    def close(self) -> None:
        """End everything, workers first."""
        with self._lock:
            self._closed = True
            for worker in self._workers.values():
                worker.stop()
            for server in self._servers.values():
                server.stop()
        # A listener that is closed while it accepts does not wake; a visitor does.
        with contextlib.suppress(OSError), Client(self.address, "AF_UNIX"):
            pass
        self._thread.join(10)
        self._listener.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def _serve(self) -> None:
        while not self._closed:
            try:
                visitor = self._listener.accept()
            except OSError:
                continue
            threading.Thread(target=self._answer, args=(visitor,), daemon=True).start()

    def _answer(self, visitor: Connection) -> None:
        with visitor, contextlib.suppress(OSError, EOFError):
            question = visitor.recv()
            try:
                visitor.send(self.ask(*question))
            except (GitflowError, RuntimeError) as error:
                visitor.send(RuntimeError(str(error)))

    def _start_server(self, process: str) -> SharedServer:
        if process not in self._servers:
            home = self._root / f"server-{process}"
            home.mkdir()
            if self._database.exists():
                shutil.copy(self._database, home / DATABASE)
            server = local.start_server(
                home,
                environ=os.environ,
                ui=False,
                env={**self._environment(), **_QUIET},
                python=PYTHON,
                timeout=240,
            )
            self._servers[process] = server
            if not self._database.exists():
                _back_up(home / DATABASE, self._database)
        server = self._servers[process]
        return SharedServer(server.api_url, server.home, server.pid, server.log_path)

    def _migrated(self, process: str) -> Path:
        """Return the database of a new server, as it was when that answered first."""
        self._start_server(process)
        return self._database

    def _start_worker(self, process: str, pool: str) -> SharedWorker:
        server = self._start_server(process)
        if (process, pool) not in self._workers:
            # A number of its own also where the last start failed.
            base = self._root / f"worker-{next(self._numbers)}"
            cwd = base / "cwd"
            cwd.mkdir(parents=True)
            self._workers[process, pool] = local.start_worker(
                server.api_url,
                pool,
                cwd,
                base / "home",
                {**self._environment(), **_QUIET},
                environ=os.environ,
                python=PYTHON,
                timeout=180,
            )
        worker = self._workers[process, pool]
        return SharedWorker(worker.name, pool, worker.cwd, worker.pid, worker.log_path)

    def _environment(self) -> dict[str, str]:
        """Where the server, the worker and its runs keep and read their own things.

        The controlling process has the machine's own git configuration.
        """
        user = self._root / "user"
        user.mkdir(exist_ok=True)
        return isolated_environment(user)


def _back_up(database: Path, copy: Path) -> None:
    """Copy a database that is in use."""
    with (
        contextlib.closing(sqlite3.connect(database)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def connect(address: str, *question: Any) -> Any:
    """Ask the owner in another process."""
    with Client(address, "AF_UNIX") as owner:
        owner.send(question)
        answer = owner.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


GIT_CONFIG = """\
[user]
\tname = Test Author
\temail = author@example.invalid
[init]
\tdefaultBranch = main
"""


def isolated_environment(home: Path) -> dict[str, str]:
    """Variables that keep a program inside ``home`` (which exists)."""
    config = home / ".gitconfig"
    if not config.exists():
        config.write_text(GIT_CONFIG)
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_RUNTIME_DIR": str(home / ".run"),
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "DO_NOT_TRACK": "1",
    }


# How to reach the machine's certificates; everything else of git's is dropped.
_KEPT = frozenset({"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_EXEC_PATH"})
_FOREIGN = ("PREFECT_", "GITFLOW_", "GIT_")


def foreign_variables() -> list[str]:
    """Names of inherited variables that would change what the code under test does."""
    names = [k for k in os.environ if k.startswith(_FOREIGN) and k not in _KEPT]
    return [*names, *(k for k in ("NO_COLOR", "FORCE_COLOR", "COLUMNS") if k in os.environ)]
