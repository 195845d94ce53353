"""A page of the documents as something to do: its files are written, its commands run in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from gitops_flow import local
from gitops_flow.errors import ApiError

# A block of a page, with the last line before it.
_BLOCK = re.compile(r"([^\n]*)\n\n```(\w+)\n(.*?)```", re.DOTALL)
_FILE = re.compile(r"`([\w./-]+)`:?$")
_OWN_TERMINAL = re.compile(r"terminal of its own|with the same `PREFECT_API_URL`")
ADDRESS = "http://127.0.0.1:4200"
CONTROLLER = "127.0.0.1:4300"
# The tests run in an environment where this is done.
_INSTALLING = re.compile(r"-m venv|bin/activate|pip install")


@dataclass(frozen=True)
class Block:
    """One block: the ``commands`` of a console, or the text of a file called ``file``."""

    text: str
    file: str | None = None
    terminal: bool = False


def blocks(page: Path) -> list[Block]:
    """What a reader of ``page`` types and saves, in order."""
    listed = []
    for before, language, text in _BLOCK.findall(page.read_text()):
        named = _FILE.search(before)
        if language == "console" and not _INSTALLING.search(text):
            listed.append(Block(text, terminal=bool(_OWN_TERMINAL.search(before))))
        elif language in ("python", "yaml") and named:
            listed.append(Block(text, file=named[1]))
    return listed


class Reader:
    """Somebody who does what a page says, with one terminal, and more where the page asks for it.

    Args:
        directory: where the reader begins.
        environ: of all terminals.
        api_url: the server's address in the place of the page's.
        controller: the same of the controller.
    """

    def __init__(
        self, directory: Path, environ: dict[str, str], api_url: str, controller: str = ""
    ) -> None:
        self._cwd = directory
        self._directory = directory
        self._environ = environ
        self._base = api_url.removesuffix("/api")
        self._controller = controller
        self._background: list[subprocess.Popen[bytes]] = []
        self.printed: list[str] = []

    def follow(self, page: Path) -> None:
        """Do everything that ``page`` says; a command that fails ends it."""
        for block in blocks(page):
            if block.file:
                (self._cwd / block.file).write_text(self._here(block.text))
            elif block.terminal:
                self._open_terminal(block.text)
            else:
                self.do(block.text)

    def terminals(self) -> str:
        """What the terminals beside the first one show."""
        logs = sorted(self._directory.glob("terminal-*"))
        return "".join(log.read_text(errors="replace") for log in logs)

    def close(self) -> None:
        """End what still runs in other terminals."""
        for process in reversed(self._background):
            os.killpg(process.pid, signal.SIGINT)
        for process in reversed(self._background):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def do(self, commands: str) -> None:
        """Type ``commands``, which must work."""
        # The next block goes on in the directory that this one ends in, with what it exports.
        state = self._directory / "state"
        script = f"{self._here(commands)}\npwd >{state}.cwd; export -p >{state}.sh\n"
        if Path(f"{state}.sh").exists():
            script = f". {state}.sh\n{script}"
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self._cwd,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        self.printed.append(done.stdout)
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        assert "Traceback" not in done.stdout
        self._cwd = Path(Path(f"{state}.cwd").read_text().strip())

    def _open_terminal(self, commands: str) -> None:
        with (self._directory / f"terminal-{len(self._background)}").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-euc", self._here(commands)],
                cwd=self._cwd,
                env={**self._environ, "PREFECT_API_URL": f"{self._base}/api"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._background.append(process)
        if "server start" in commands:
            self._wait_for_server(process)
        while "controller run" in commands and b": 1 source" not in Path(log.name).read_bytes():
            assert process.poll() is None, "the controller did not start"
            time.sleep(0.1)

    def _wait_for_server(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert process.poll() is None, "the server did not start"
            try:
                if local.call(f"{self._base}/api", "GET", "/health"):
                    return
            except ApiError:
                time.sleep(0.3)
        raise AssertionError("the server was not ready within two minutes")

    def _here(self, commands: str) -> str:
        return commands.replace(ADDRESS, self._base).replace(CONTROLLER, self._controller)
