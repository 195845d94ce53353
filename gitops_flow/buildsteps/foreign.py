"""Steps that are not ours: one process of the user's Python for all of them."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_flow import stop
from gitops_flow.buildsteps import process
from gitops_flow.buildsteps.console import Lines
from gitops_flow.buildsteps.step import Failed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.buildsteps.step import Call, Here
    from gitops_flow.model import Json

_CHILD = Path(__file__).with_name("child.py")
_PIECE = 64 << 10
# What is read of the output after an answer, so that a program which a step left
# running and which never stops printing does not keep us.
_REST = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step left: its outputs (None: none), directory, and changed variables."""

    result: Mapping[str, Json] | None
    cwd: Path
    environ: Mapping[str, str | None]


class Interpreter:
    """The user's Python, started at the first call and again should it have ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def call(self, call: Call, here: Here) -> Answer:
        """Call the function that ``call`` names; what it prints goes to the console of ``here``.

        Raises:
            Failed: it is not there, failed, or ended its process.
        """
        question = {
            "name": call.name,
            "inputs": call.inputs,
            "requires": call.requires if here.anything else (),
            "cwd": str(here.cwd),
            # Else a module of the repository could take the place of the one that is allowed.
            "nearby": here.anything,
        }
        try:
            running, channel = self._running(here)
            answer = _ask(running, channel, question, here)
        except BaseException:
            self.stop(at_once=True)
            raise
        if answer is None:
            status = self.stop(at_once=True)
            how = process.describe(status) if status else "ended"
            raise Failed(f"its process {how} before the step was done", status=status)
        if error := answer.get("error"):
            raise _failure(call, here, error)
        return Answer(answer["result"], Path(answer["cwd"]), answer["environ"])

    def stop(self, *, at_once: bool = False) -> int | None:
        """End the process; its exit status. It is given time, not what it left running.

        ``at_once`` ends all that it started as well.
        """
        running, channel = self._process, self._channel
        self._process = self._channel = None
        if channel is not None:
            channel.close()
        if running is None:
            return None
        if not at_once:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(process.GRACE)
        else:
            # One that ended by itself has a moment to be collected, with its own status.
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.2)
        if at_once or running.returncode is None:
            process.end(running)
        process.close(running)
        return running.returncode

    def _running(self, here: Here) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._process is None or self._channel is None:
            self._start(here)
        assert self._process is not None  # noqa: S101
        assert self._channel is not None  # noqa: S101
        return self._process, self._channel

    def _start(self, here: Here) -> None:
        ours, theirs = socket.socketpair()
        python = here.python()
        command = [python, str(_CHILD), str(theirs.fileno())]
        try:
            self._process = process.start(
                command,
                cwd=here.cwd,
                environ=here.environ,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
            )
        except (OSError, ValueError) as error:
            ours.close()
            reason = getattr(error, "strerror", None) or error
            raise Failed(f"the Python {python} could not be started: {reason}") from None
        finally:
            theirs.close()
        self._channel = ours


def _ask(
    running: subprocess.Popen[bytes],
    channel: socket.socket,
    question: Mapping[str, Json],
    here: Here,
) -> dict[str, Any] | None:
    """The answer to one question; None when the process ended instead."""
    assert running.stdout is not None  # noqa: S101
    lines = Lines(here.console)
    answer = bytearray()
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(running.stdout, selectors.EVENT_READ)
            waiting.register(channel, selectors.EVENT_READ)
            # Steps may print while they are loaded, but nobody prints before being asked.
            with contextlib.suppress(BrokenPipeError):
                channel.sendall(json.dumps(question, default=str).encode() + b"\n")
            while not answer.endswith(b"\n"):
                stop.current().check()
                ended = running.poll() is not None
                for key, _ in waiting.select(0.5):
                    if key.fileobj is channel:
                        piece = channel.recv(_PIECE)
                        ended = ended or not piece
                        answer += piece
                    elif data := os.read(key.fd, _PIECE):
                        lines.feed(data)
                    else:
                        waiting.unregister(running.stdout)
                if ended and not answer.endswith(b"\n"):
                    return None
        return dict(json.loads(answer))
    except ConnectionResetError:
        return None
    finally:
        _drain(running, lines)
        lines.close()


def _drain(running: subprocess.Popen[bytes], lines: Lines) -> None:
    """Take what was printed before the answer came."""
    assert running.stdout is not None  # noqa: S101
    with selectors.DefaultSelector() as waiting:
        waiting.register(running.stdout, selectors.EVENT_READ)
        for _ in range(_REST // _PIECE):
            if not waiting.select(0) or not (data := os.read(running.stdout.fileno(), _PIECE)):
                return
            lines.feed(data)


def _failure(call: Call, here: Here, error: Mapping[str, Any]) -> Failed:
    installed = error.get("installed", 0)
    if error["kind"] == "module":
        return _no_module(call, here, error, installed)
    if error["kind"] == "function":
        near = f", did you mean {error['near']!r}?" if error["near"] else ""
        return Failed(
            f"the module {error['module']!r} has no function {error['function']!r}{near}",
            hint=f"it was looked for with {here.python()}",
        )
    if error["kind"] == "inputs":
        return Failed(f"its inputs do not fit: {error['message']}")
    kind, message = error["type"], here.console.masked(error["message"])
    if kind == "SystemExit":
        return Failed(
            "it ended its program by sys.exit", status=error["status"], where=error["where"]
        )
    hint = None
    if kind.endswith("ImportError"):
        hint = f"it was imported with {here.python()}"
    told = f"{kind}: {message}" if message else kind
    return Failed(told, status=error["status"], where=error["where"], hint=hint)


def _no_module(call: Call, here: Here, error: Mapping[str, Any], installed: int | None) -> Failed:
    python, module = here.python(), str(error["module"])
    if call.name.startswith("prefect.projects."):
        return Failed(
            "Prefect 3 has no 'prefect.projects'",
            hint=f"write prefect.deployments.steps.{call.short}",
        )
    package = module.partition(".")[0].replace("_", "-")
    said = f"{python} has no module {module!r}"
    hint = f"{python} -m pip install {package}"
    if not here.anything:
        return Failed(said, where=error["where"], hint=hint)
    if not call.requires:
        hint += f"; or have the step do it: 'requires: {package}'"
    hint += f". A module of your own is looked for in {here.cwd}"
    if call.requires and installed is None:
        said += ", and neither uv nor pip to install what the step requires"
    elif call.requires and installed:
        wanted = ", ".join(call.requires)
        said += f": installing {wanted} failed with exit status {installed}"
    elif call.requires:
        said += f", though {', '.join(call.requires)} was installed"
    return Failed(said, where=error["where"], hint=hint)
