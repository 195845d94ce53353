"""A Prefect server on SQLite, on loopback."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.errors import ApiError, LocalPrefectError
from gitops_flow.local.api import call
from gitops_flow.local.processes import Child, Running, environment, spawn, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_HOST = "127.0.0.1"
# Between finding a free port and the server's bind, seconds go by.
_PORT_ATTEMPTS = 3


@dataclass(frozen=True)
class Server(Running):
    """A running server. ``api_url`` ends in ``/api``."""

    api_url: str
    ui_url: str
    home: Path


def start_server(
    home: Path,
    *,
    environ: Mapping[str, str],
    port: int = 0,
    ui: bool = True,
    env: Mapping[str, str] | None = None,
    python: str | None = None,
    timeout: float = 180.0,
    on_wait: Callable[[float], None] | None = None,
) -> Server:
    """Start a server whose database and settings live in ``home``; return when it answers.

    Args:
        home: its PREFECT_HOME, made if absent. A new database takes about
            16 s (migrations), an existing one 6 s.
        environ: the caller's environment, which it inherits without Prefect's settings.
        port: TCP port on loopback; 0 takes a free one.
        ui: whether it serves Prefect's pages.
        env: variables on top of the clean environment.
        python: the Python whose Prefect is started, None for this one.
        timeout: seconds until it must answer.
        on_wait: called about ten times a second with the seconds waited.

    Raises:
        LocalPrefectError: Prefect is not installed, the port is taken, or the
            server ended or did not answer in time.
    """
    home.mkdir(parents=True, exist_ok=True)
    attempt = 1
    while True:
        chosen = _free_port(port)
        try:
            return _start(home, environ, chosen, ui, env or {}, python, timeout, on_wait)
        except LocalPrefectError:
            if port or attempt == _PORT_ATTEMPTS or not _taken(chosen):
                raise
        attempt += 1


def _start(
    home: Path,
    environ: Mapping[str, str],
    port: int,
    ui: bool,
    env: Mapping[str, str],
    python: str | None,
    timeout: float,
    on_wait: Callable[[float], None] | None,
) -> Server:
    base = f"http://{_HOST}:{port}"
    child = spawn(
        "server",
        ["server", "start", "--host", _HOST, "--port", str(port), "--ui" if ui else "--no-ui"],
        # A .env, prefect.toml or pyproject.toml of the caller's directory would
        # be read by the server.
        cwd=home,
        log_path=home / "server.log",
        env=environment(environ, home, {"PREFECT_API_URL": f"{base}/api", **env}),
        python=python,
    )
    with stopped_on_error(child):
        wait_until(child, lambda: _healthy(f"{base}/api"), timeout=timeout, on_wait=on_wait)
    return Server(child, f"{base}/api", base, home)


@contextlib.contextmanager
def stopped_on_error(child: Child) -> Iterator[None]:
    """End ``child`` when the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        child.stop()
        raise


def _healthy(api_url: str) -> bool:
    try:
        return call(api_url, "GET", "/health", timeout=5) is True
    except ApiError:
        return False


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        # As servers do: a port whose last connections still linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, wanted))
        except OSError as error:
            raise LocalPrefectError(
                f"port {wanted} on {_HOST} cannot be used: {error.strerror}",
                hint="stop what listens there, or let a free port be chosen",
            ) from error
        port: int = probe.getsockname()[1]
        return port


def _taken(port: int) -> bool:
    try:
        _free_port(port)
    except LocalPrefectError:
        return True
    return False
