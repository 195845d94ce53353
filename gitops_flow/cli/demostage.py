"""Where the demo happens: a directory, a server and a worker that end with it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from gitops_flow import files, local
from gitops_flow.cli import demoproject
from gitops_flow.errors import GitflowError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

_LEAST = 1 << 20  # bytes; with less the disk is full


class _CancelledError(Exception):
    """The demo ended while a thread was still starting something."""


class Starter:
    """Starts server and worker in threads, and ends both, half-started or not."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._threads = ThreadPoolExecutor(2)
        self._cancelled = threading.Event()
        self._children: list[local.Server | local.Worker] = []

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *_: object) -> None:
        self._cancelled.set()
        with contextlib.ExitStack() as each:
            each.callback(lambda: [child.stop() for child in reversed(self._children)])
            each.callback(self._threads.shutdown)

    def start_server(self) -> Future[local.Server]:
        """Start a server of its own."""

        def start() -> local.Server:
            env = {"TMPDIR": str(self._base / "tmp")}
            server = local.start_server(
                self._home, environ=os.environ, env=env, on_wait=self._check
            )
            self._children.append(server)
            return server

        return self._threads.submit(start)

    def start_worker(self, server: local.Server, env: dict[str, str]) -> Future[local.Worker]:
        """Start a worker on the demo's pool; its runs inherit ``env``."""

        def start() -> local.Worker:
            worker = local.start_worker(
                server.api_url,
                demoproject.POOL,
                self._base / "worker",
                self._home,
                env,
                environ=os.environ,
                on_wait=self._check,
            )
            self._children.append(worker)
            return worker

        return self._threads.submit(start)

    @property
    def _home(self) -> Path:
        return self._base / "prefect"

    def _check(self, _: float) -> None:
        if self._cancelled.is_set():
            raise _CancelledError


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Yield a temporary directory, which is removed with the block.

    Raises:
        GitflowError: there is no place for one, or it became full.
    """
    with files.temporary("gitflow-demo-") as made:
        base = made.resolve()
        for name in ("tmp", "worker"):
            (base / name).mkdir()
        try:
            yield base
        except GitflowError as error:
            # Whatever failed first: of a full disk, programs say a lot, and often nothing.
            if shutil.disk_usage(base).free < _LEAST:
                raise files.no_room(base, os.strerror(errno.ENOSPC)) from error
            raise


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo through its clean-up."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
