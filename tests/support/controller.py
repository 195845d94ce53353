"""A controller in the test's process, over real repositories."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from gitops_flow.controller.run import Controller
from gitops_flow.controller.state import SourceState
from tests.support.repo import Repo

FLOW = "from prefect import flow\n\n@flow(name={name!r})\ndef work(number: int = {number}): ...\n"
MANIFEST = """\
name: {name}
deployments:
- name: main
  entrypoint: flow.py:work
  tags: [{tag}]
  work_pool: {{name: gitflow-tests}}
"""


class Pushed:
    """A bare repository that is pushed to, with one flow and one deployment ``<name>/main``."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.origin = Repo(directory / f"{name}.git", bare=True)
        self.clone = Repo(directory / f"{name}-clone")
        self.clone.git("remote", "add", "origin", self.origin.path.as_uri())

    def push(self, number: int = 0, *, tag: str = "one", branch: str = "main") -> str:
        """Commit and push another flow; the commit."""
        self.clone.write("flow.py", FLOW.format(name=self.name, number=number))
        return self.push_file("prefect.yaml", MANIFEST.format(name=self.name, tag=tag), branch)

    def push_file(self, path: str, content: str, branch: str = "main") -> str:
        """Commit and push one file; the commit."""
        sha = self.clone.write(path, content).commit()
        self.clone.git("push", "-q", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return sha


class Place:
    """A ``gitflow.yaml``, and controllers that follow it."""

    def __init__(self, directory: Path, api_url: str = "http://127.0.0.1:9/api") -> None:
        self.directory = directory
        self.path = directory / "gitflow.yaml"
        self.environ = {**os.environ, "PREFECT_API_URL": api_url}
        self.sources: dict[str, dict[str, object]] = {}

    def source(self, pushed: Pushed, **section: object) -> None:
        """Have ``pushed`` in the file, as a source of its name."""
        self.sources[pushed.name] = {
            "repository": pushed.origin.path.as_uri(),
            "ref": "main",
            "interval": 1,
            **section,
        }
        self.write()

    def write(self) -> None:
        """Write the file anew."""
        self.path.write_text(
            yaml.safe_dump({"listen": "127.0.0.1:0", "data": "data", "sources": self.sources})
        )

    @contextlib.contextmanager
    def running(self, **options: object) -> Iterator[Controller]:
        """A controller for as long as the block lasts."""
        made = Controller(self.path, self.environ, self.directory, **options)  # type: ignore[arg-type]
        made.start()
        try:
            yield made
        finally:
            assert made.stop(10)


def wait_until(
    controller: Controller, name: str, test: Callable[[SourceState], bool], seconds: float = 60
) -> SourceState:
    """The state of a source, once ``test`` says that it is so."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        state = controller.state.get(name)
        if state is not None and test(state):
            return state
        time.sleep(0.02)
    raise AssertionError(f"it is not so after {seconds} s: {controller.state.get(name)}")
