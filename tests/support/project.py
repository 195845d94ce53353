"""A project that is deployed by the real command, and its runs on a real worker."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gitops_flow.cli import boundary
from tests.support.prefect import SharedServer
from tests.support.repo import Repo

_FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Project:
    """A repository with a ``prefect.yaml``, and the ``gitflow`` command in it."""

    def __init__(self, path: Path, server: SharedServer, api_url: str | None = None) -> None:
        self.repo = Repo(path)
        self.server = server
        self.api_url = api_url or server.api_url

    def start(
        self, *args: str, cwd: str = ".", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start ``gitflow ARGS`` in the repository."""
        return subprocess.Popen(
            [sys.executable, "-m", "gitops_flow", *args],
            cwd=self.repo.path / cwd,
            env={**os.environ, "PREFECT_API_URL": self.api_url, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def gitflow(
        self, *args: str, code: int = 0, cwd: str = ".", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``gitflow ARGS``; it must end with ``code``, and never with a traceback."""
        done = self._done(*args, cwd=cwd, env=env)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def _done(
        self, *args: str, cwd: str, env: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*args, cwd=cwd, env=env)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def answered(self, answer: str, *args: str) -> int:
        """The exit code of ``gitflow ARGS`` on a terminal where ``answer`` is typed."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "gitops_flow", *args],
            cwd=self.repo.path,
            env={**os.environ, "PREFECT_API_URL": self.api_url},
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.write(master, answer.encode())
        process.communicate(timeout=60)
        os.close(master)
        os.close(slave)
        return process.returncode

    def deploy(self, *args: str, **options: Any) -> dict[str, Any]:
        """``gitflow deploy ARGS --json``, as a mapping."""
        result: dict[str, Any] = json.loads(
            self.gitflow("deploy", *(args or ("--all",)), "--json", **options).stdout
        )
        return result

    def live(self, flow: str, name: str) -> dict[str, Any]:
        """What the server has of a deployment."""
        found: dict[str, Any] = self.server.call("GET", f"/deployments/name/{flow}/{name}")
        return found

    def pin(self, flow: str, name: str) -> str:
        """The commit that a deployment's pull step names."""
        for step in self.live(flow, name)["pull_steps"]:
            if inputs := step.get("gitops_flow.steps.pull_code"):
                return str(inputs["commit"])
        raise AssertionError("no pinned step")

    def run(self, flow: str, name: str, parameters: dict[str, Any] | None = None) -> str:
        """Run a deployment on the worker; the run's log once it has COMPLETED."""
        deployment = self.live(flow, name)["id"]
        run = self.server.call(
            "POST",
            f"/deployments/{deployment}/create_flow_run",
            {"parameters": parameters or {}},
        )["id"]
        state = {}
        until = time.monotonic() + 90
        while time.monotonic() < until:
            state = self.server.call("GET", f"/flow_runs/{run}")
            if state["state_type"] in _FINAL:
                break
            time.sleep(0.2)
        log = self._log(run, lambda text: state["state_type"] != "COMPLETED" or "Finished" in text)
        assert state["state_type"] == "COMPLETED", f"{state['state']}\n{log}"
        return log

    def _log(self, run: str, complete: Any) -> str:
        until = time.monotonic() + 15
        text = ""
        while time.monotonic() < until:
            lines = self.server.call(
                "POST",
                "/logs/filter",
                {
                    "logs": {"flow_run_id": {"any_": [run]}},
                    "sort": "TIMESTAMP_ASC",
                    "limit": 200,
                    "offset": 0,
                },
            )
            text = "\n".join(line["message"] for line in lines)
            if complete(text):
                return text
            time.sleep(0.3)
        return text


class NearProject(Project):
    """The same, but ``gitflow`` is run in this process, which has loaded it already.

    That spares half a second each time. What a process of its own adds, its streams and
    its end, is told in test_cli.py.
    """

    def _done(
        self, *args: str, cwd: str, env: Mapping[str, str] | None
    ) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            _signals_kept(),
            Path(os.devnull).open() as nothing,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "stdin", nothing)
            patch.chdir(self.repo.path / cwd)
            for name, value in {"PREFECT_API_URL": self.api_url, **(env or {})}.items():
                patch.setenv(name, value)
            code = boundary.run(args)
        return subprocess.CompletedProcess(args, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handlers that a command sets for itself."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
