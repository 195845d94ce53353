"""A Prefect worker."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from gitops_flow.errors import ApiError
from gitops_flow.local.api import call
from gitops_flow.local.processes import Running, environment, spawn, wait_until
from gitops_flow.local.server import stopped_on_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Worker(Running):
    """A running worker. ``name`` is how the server knows it."""

    name: str
    pool: str
    cwd: Path


def start_worker(
    api_url: str,
    pool: str,
    cwd: Path,
    home: Path,
    env: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str],
    kind: str = "process",
    python: str | None = None,
    timeout: float = 90.0,
    on_wait: Callable[[float], None] | None = None,
) -> Worker:
    """Start a worker on ``pool`` (made if absent); return when it is online.

    Args:
        api_url: the server's address, ending in ``/api``.
        pool: name of the work pool.
        cwd: directory it runs in; Prefect gives each run one of its own.
        home: its PREFECT_HOME, made if absent.
        env: variables on top of the clean environment; runs inherit them.
        environ: the caller's environment, as for a server.
        kind: the worker's type, and that of the pool if it is made.
        python: the Python whose Prefect is started, None for this one.
        timeout: seconds until the server must call it online.
        on_wait: called about ten times a second with the seconds waited.

    Raises:
        LocalPrefectError: Prefect is not installed, or the worker ended or was
            not online in time.
    """
    home.mkdir(parents=True, exist_ok=True)
    name = f"gitflow-{secrets.token_hex(4)}"
    arguments = ["worker", "start", "--pool", pool, "--type", kind, "--name", name]
    settings = {"PREFECT_API_URL": api_url, "PREFECT_WORKER_QUERY_SECONDS": "0.5"}
    child = spawn(
        "worker",
        [*arguments, "--install-policy", "never"],
        cwd=cwd,
        log_path=home / f"worker-{name}.log",
        env=environment(environ, home, {**settings, **(env or {})}),
        python=python,
    )
    with stopped_on_error(child):
        wait_until(child, lambda: _online(api_url, pool, name), timeout=timeout, on_wait=on_wait)
    return Worker(child, name, pool, cwd)


def _online(api_url: str, pool: str, name: str) -> bool:
    query = {"workers": {"status": {"any_": ["ONLINE"]}}, "limit": 200}
    try:
        path = f"/work_pools/{quote(pool, safe='')}/workers/filter"
        return any(worker["name"] == name for worker in call(api_url, "POST", path, query))
    except ApiError:
        # No such pool yet, or the server is busy; the deadline is the caller's.
        return False
