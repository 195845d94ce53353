"""Starting, watching and ending a guarded child process."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gitops_flow.errors import LocalPrefectError
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")
_LOOPBACK = "127.0.0.1,localhost,::1"

# Seconds between SIGTERM and SIGKILL. A worker takes 2 s to cancel its runs.
GRACE = 8.0


@dataclass(frozen=True)
class Child:
    """A running command and the guard that ends it with us.

    ``pid`` is the command's own process id; it leads its process group.
    """

    name: str
    pid: int
    log_path: Path
    _guard: subprocess.Popen[str] = field(repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative signals appear as 128 + their number."""
        return self._guard.poll()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its output, without colours and secrets."""
        try:
            data = self.log_path.read_bytes()[-20_000:]
        except OSError:
            return ""
        text = [line.rstrip() for line in data.decode("utf-8", "replace").splitlines()]
        return redact("\n".join([line for line in text if line][-lines:]))

    def stop(self) -> None:
        """End it and everything it started; return when all of it is gone."""
        with self._lock:
            with contextlib.suppress(OSError):
                if self._guard.stdin:
                    self._guard.stdin.close()
            try:
                self._guard.wait(GRACE + 5)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait()
            if self._guard.stdout:
                self._guard.stdout.close()


@dataclass(frozen=True)
class Running:
    """What runs as a child of ours until it is stopped; use it as a context manager."""

    child: Child

    @property
    def pid(self) -> int:
        """Its own process id."""
        return self.child.pid

    @property
    def log_path(self) -> Path:
        """Where its output goes, and that of what it starts."""
        return self.child.log_path

    def stop(self) -> None:
        """End it and everything it started; return when they are gone. Harmless when repeated."""
        self.child.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def spawn(
    name: str,
    arguments: Sequence[str],
    *,
    cwd: Path,
    log_path: Path,
    env: Mapping[str, str],
    python: str | None,
) -> Child:
    """Start ``python -m prefect ARGUMENTS`` below a guard; ``python`` None is this Python.

    Raises:
        LocalPrefectError: Prefect is not installed, or the process did not start.
    """
    if python is None and importlib.util.find_spec("prefect") is None:
        raise LocalPrefectError(
            "Prefect is not installed in this environment, so no server can be started",
            hint="pip install '.[prefect]' in a checkout of gitops-flow",
        )
    command = [sys.executable, "-I", "-S", str(_GUARD), str(GRACE), str(log_path)]
    command += [python or sys.executable, "-m", "prefect", *arguments]
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.touch()
        # A session of its own, so that Ctrl-C in a terminal reaches only the
        # caller, who then ends it in order.
        guard = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise LocalPrefectError(
            f"the Prefect {name} could not be started: {error.strerror or error}",
            where=redact(str(error.filename or cwd)),
        ) from error
    try:
        line = guard.stdout.readline() if guard.stdout else ""
        return Child(name, int(line), log_path, guard)
    except BaseException as error:
        guard.kill()
        guard.communicate()
        if isinstance(error, ValueError):
            raise LocalPrefectError(f"the Prefect {name} could not be started") from None
        raise


def environment(environ: Mapping[str, str], home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment ``environ`` without its Prefect settings, plus private ones.

    ``home`` becomes PREFECT_HOME. Telemetry is off, and loopback is never
    reached through a proxy.
    """
    env = {k: v for k, v in environ.items() if not k.startswith("PREFECT_")}
    no_proxy = ",".join(filter(None, [env.get("NO_PROXY") or env.get("no_proxy"), _LOOPBACK]))
    env.update(
        PREFECT_HOME=str(home),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
        PREFECT_LOGGING_COLORS="false",
        PREFECT_CLI_COLORS="false",
        PREFECT_CLI_PROMPT="false",
        NO_COLOR="1",
        NO_PROXY=no_proxy,
        no_proxy=no_proxy,
        PYTHONUNBUFFERED="1",
    )
    env.update(extra)
    return env


def wait_until(
    child: Child,
    ready: Callable[[], bool],
    *,
    timeout: float,
    on_wait: Callable[[float], None] | None,
    interval: float = 0.1,
) -> None:
    """Poll ``ready`` until it is true; ``on_wait`` gets the seconds waited so far.

    Raises:
        LocalPrefectError: the child ended, or ``timeout`` seconds went by. The
            message ends with the last lines of its log.
    """
    started = time.monotonic()
    while not ready():
        waited = time.monotonic() - started
        if child.exit_status is not None:
            raise LocalPrefectError(
                f"the Prefect {child.name} ended with status {child.exit_status} "
                f"before it was ready; its last lines:\n{child.log_tail()}",
                where=str(child.log_path),
            )
        if waited > timeout:
            raise LocalPrefectError(
                f"the Prefect {child.name} was not ready within {timeout:g} s; "
                f"its last lines:\n{child.log_tail()}",
                where=str(child.log_path),
                hint="the machine may be too busy",
                retry=True,
            )
        if on_wait:
            on_wait(waited)
        time.sleep(interval)
