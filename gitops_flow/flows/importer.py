"""What Prefect itself says of flows, asked of the user's Python in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_flow import stop
from gitops_flow.errors import FlowError
from gitops_flow.model import FlowInfo, finite
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class NotReachedError(FlowError):
    """A flow that was not looked at, because another one before it ended the process."""


_SCRIPT = Path(__file__).with_name("import_script.py")
_LONGEST_MESSAGE = 500
_WITHOUT = "deploy without ‹import_flows›"


def ask(
    python: str,
    root: Path,
    entrypoints: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout: float,
) -> dict[str, FlowInfo | FlowError]:
    """Have flows imported, and say what Prefect makes of each when it deploys them.

    One process runs ``python`` in ``root``; it is killed with all that it
    started when it is done or the time is over.

    Args:
        python: the Python that has Prefect and what the flows need.
        root: the directory that entrypoints are relative to.
        entrypoints: in the forms that Prefect takes.
        environ: the process's whole environment.
        timeout: for all of them together, in seconds.

    Returns:
        for each entrypoint what the flow says, or why it could not be imported;
        a :class:`NotReachedError` for those after one that ended the process.
    """
    answers = _answers(python, root, entrypoints, environ, timeout, as_worker=False)
    return {
        entrypoint: answer
        if isinstance(answer, FlowError)
        else _error(python, entrypoint, answer, _WITHOUT)
        or FlowInfo(**answer | {"parameter_schema": finite(answer["parameter_schema"])})
        for entrypoint, answer in answers.items()
    }


def load(
    python: str,
    root: Path,
    entrypoints: Sequence[str],
    *,
    environ: Mapping[str, str],
    timeout: float,
    instead: str,
) -> dict[str, FlowError | None]:
    """Have flows loaded as a run of theirs loads them; otherwise as :func:`ask`.

    A run is content with a function that is no flow, which a deploy is not.
    ``instead`` is what else to do about a package that ``python`` does not have.

    Returns:
        for each entrypoint why it does not load, None where it does.
    """
    answers = _answers(python, root, entrypoints, environ, timeout, as_worker=True)
    return {
        entrypoint: answer
        if isinstance(answer, FlowError)
        else _error(python, entrypoint, answer, instead)
        for entrypoint, answer in answers.items()
    }


def _answers(
    python: str,
    root: Path,
    entrypoints: Sequence[str],
    environ: Mapping[str, str],
    timeout: float,
    *,
    as_worker: bool,
) -> dict[str, dict[str, Any] | FlowError]:
    """What the script answered for each entrypoint, or why it did not."""
    try:
        process = subprocess.Popen(
            [python, str(_SCRIPT)],
            cwd=root,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        reason = f"{python} cannot be started: {error.strerror}"
        hint = "name the Python that your flows run with"
        return {each: FlowError(reason, where=each, hint=hint) for each in entrypoints}
    question = {"entrypoints": list(dict.fromkeys(entrypoints)), "as_worker": as_worker}
    late = False
    try:
        with stop.current().calling(lambda: _kill(process)):
            out, _ = process.communicate(json.dumps(question).encode(), timeout)
    except subprocess.TimeoutExpired as error:
        late, out = True, error.output or b""
        reason = f"importing it did not end within {timeout:g} seconds"
        hint = "look at what the file does when it is imported, or allow more time"
    else:
        reason = f"the process that imports it ended with {_exit(process.returncode)}"
        hint = "import the file with that Python to see what it does"
    finally:
        # The whole group: what the user's code started would outlive it.
        _kill(process)
        process.communicate()
    answers: dict[str, dict[str, Any] | FlowError] = {}
    for line in out.splitlines():
        # Python's own start may have printed something there.
        with contextlib.suppress(ValueError, TypeError):
            entrypoint, answer = json.loads(line)
            if isinstance(answer, dict):
                answers[entrypoint] = answer
    kind = FlowError
    for entrypoint in entrypoints:
        if entrypoint not in answers:
            answers[entrypoint] = kind(reason, where=entrypoint, hint=hint, retry=late)
            if kind is FlowError:
                # Only the first one can be where it ended.
                kind, reason = (
                    NotReachedError,
                    f"not imported: another flow came first, and {reason}",
                )
    return {each: answers[each] for each in entrypoints}


def _exit(code: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _error(python: str, entrypoint: str, answer: dict[str, Any], instead: str) -> FlowError | None:
    """Why the flow could not be imported; None when it could.

    ``instead`` is what else to do about a package that ``python`` does not have.
    """
    if "error" not in answer:
        return None
    if answer["no_prefect"]:
        hint = "name the Python that your flows run with"
        return FlowError(f"{python} has no prefect", where=entrypoint, hint=hint)
    message = redact(" ".join(str(answer["message"]).split()))[:_LONGEST_MESSAGE]
    why = f"{answer['error']}: {message}" if message else str(answer["error"])
    advice = None
    if answer["error"] in ("ModuleNotFoundError", "ImportError"):
        advice = f"install what it needs where {python} finds it, or {instead}"
    return FlowError(
        f"importing the flow failed: {why}", where=answer["where"] or entrypoint, hint=advice
    )
