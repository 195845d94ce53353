"""``gitflow controller run`` as a process of its own, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.controller import Place


class Daemon:
    """A controller that follows ``place``; ``started`` anew as often as it is killed.

    Args:
        place: its configuration; ``listen`` must be port 0.
        args: of the command, on top.
        name: its log is ``place.directory / name``.
    """

    def __init__(self, place: Place, *args: str, name: str = "controller.log") -> None:
        self.place = place
        self._args = args
        self._log = place.directory / name
        self._from = 0
        self.sessions: set[int] = set()
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        self._from = self._log.stat().st_size if self._log.exists() else 0
        command = [sys.executable, "-m", "gitops_flow", "controller", "run", *self._args]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--config", str(self.place.path)],
                env=self.place.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.place.directory,
                start_new_session=True,
            )
        self.sessions.add(process.pid)
        return process

    def restart(self) -> None:
        """Start it again, once it has ended."""
        assert self.process.poll() is not None
        self.process = self._started()

    def kill(self) -> None:
        """``kill -9``; what it has started goes on."""
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 60) -> int:
        """SIGTERM; its exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    @property
    def log(self) -> str:
        """What it has logged since it was last started."""
        return self._log.read_bytes()[self._from :].decode("utf-8", "replace")

    @property
    def address(self) -> str:
        """Where it answers; waits until it does."""
        until = time.monotonic() + 60
        while not (told := re.search(r" INFO (http://\S+): \d+ source", self.log)):
            assert time.monotonic() < until, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        return told[1]

    def ask(self, method: str, path: str) -> dict[str, Any]:
        """One request; the decoded answer."""
        request = urllib.request.Request(
            self.address + path,
            b"{}" if method == "POST" else None,
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            told: dict[str, Any] = json.loads(answer.read())
        return told

    def source(self, name: str) -> dict[str, Any]:
        """How a source is."""
        return self.ask("GET", f"/api/sources/{name}")

    def sources(self) -> dict[str, dict[str, Any]]:
        """How all sources are, by their names."""
        return {each["name"]: each for each in self.ask("GET", "/api/sources")["sources"]}

    def wait(
        self, name: str, test: Callable[[dict[str, Any]], bool], seconds: float = 60
    ) -> dict[str, Any]:
        """How a source is, once ``test`` says that it is so."""
        until = time.monotonic() + seconds
        while not test(told := self.source(name)):
            assert time.monotonic() < until, f"{told}\n{self.log}"
            time.sleep(0.05)
        return told


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children: list[int] = []
    with contextlib.suppress(OSError):  # it may end meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (task / "children").read_text().split())
    return children + [each for child in children for each in descendants(child)]


def resident(pid: int) -> float:
    """Megabytes of memory that a process uses."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
