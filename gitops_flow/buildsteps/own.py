"""Prefect's own steps that need no Prefect: a directory, shell commands, requirements."""

from __future__ import annotations

import os
import shlex
import string
from typing import TYPE_CHECKING

from gitops_flow.buildsteps import process
from gitops_flow.buildsteps.console import Lines
from gitops_flow.buildsteps.step import Failed, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gitops_flow.buildsteps.step import Here
    from gitops_flow.model import Json

_OPERATORS = frozenset(["|", "||", "&&", ";", "&", ">", ">>", "<", "2>&1", "2>"])
_COMMAND_SHOWN = 200


def set_working_directory(here: Here, *, directory: Json) -> dict[str, Json]:
    """Where the deployment's later steps run; ``directory`` may be relative."""
    found = here.inside(text("directory", directory))
    if not os.access(found, os.X_OK):
        raise Failed(f"the directory {directory!r} may not be entered", where=str(here.cwd))
    return {"directory": str(found.resolve())}


def run_shell_script(
    here: Here,
    *,
    script: Json,
    directory: Json = None,
    env: Json = None,
    stream_output: Json = True,
    expand_env_vars: Json = False,
    shell: Json = False,
) -> dict[str, Json]:
    """Run each line of ``script`` as a command, until one fails.

    A line is split as a shell would, and its program is started without one
    unless ``shell`` is true. ``env`` is set on top; ``expand_env_vars`` fills
    in ``$NAME`` first.

    Returns:
        ``stdout`` and ``stderr`` of all lines, stripped.
    """
    where = here.inside(directory)
    environ = {**here.environ, **_variables(env)}
    captured = bytearray(), bytearray()
    for line in text("script", script).splitlines():
        filled = string.Template(line).safe_substitute(environ) if expand_env_vars else line
        command = filled.strip() if shell else _split(here, filled)
        if command:
            _run(here, command, where, environ, live=bool(stream_output), captured=captured)
    return _captured(captured)


def pip_install_requirements(
    here: Here,
    *,
    directory: Json = None,
    requirements_file: Json = "requirements.txt",
    stream_output: Json = True,
) -> dict[str, Json]:
    """Install a requirements file into the user's Python.

    Returns:
        ``stdout`` and ``stderr`` of pip, stripped.
    """
    where = here.inside(directory)
    wanted = text("requirements_file", requirements_file)
    if not (where / wanted).is_file() and "://" not in wanted:
        raise Failed(f"there is no file {wanted!r}", where=str(where))
    command = [here.python(), "-m", "pip", "install", "-r", wanted]
    captured = bytearray(), bytearray()
    _run(here, command, where, here.environ, live=bool(stream_output), captured=captured)
    return _captured(captured)


def _run(
    here: Here,
    command: str | Sequence[str],
    cwd: Path,
    environ: Mapping[str, str],
    *,
    live: bool,
    captured: tuple[bytearray, bytearray],
) -> None:
    try:
        started = process.start(command, cwd=cwd, environ=environ)
    except (OSError, ValueError) as error:
        raise _not_started(command, error) from None
    lines = [Lines(here.console, live=live) for _ in captured]

    def taker(number: int) -> process.Take:
        def take(data: bytes) -> None:
            captured[number].extend(data)
            lines[number].feed(data)

        return take

    status = process.finish(started, taker(0), taker(1))
    for line in lines:
        line.close()
    if status:
        shown = command if isinstance(command, str) else shlex.join(command)
        shown = here.console.masked(shown)[:_COMMAND_SHOWN]
        hint = _shell_hint(command)
        raise Failed(f"{process.describe(status)}: {shown}", status=status, hint=hint)


def _captured(captured: tuple[bytearray, bytearray]) -> dict[str, Json]:
    stdout, stderr = (data.decode("utf-8", "replace").strip() for data in captured)
    return {"stdout": stdout, "stderr": stderr}


def _variables(env: Json) -> dict[str, str]:
    if env is None:
        return {}
    if not isinstance(env, dict):
        raise Failed("the input 'env' is not a mapping of names to texts")
    return {str(name): text(f"env.{name}", value) for name, value in env.items()}


def _split(here: Here, command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        shown = here.console.masked(command)[:_COMMAND_SHOWN]
        raise Failed(
            f"the line cannot be split into words ({str(error).lower()}): {shown}",
            hint="each line of a script is a command of its own; "
            "put longer ones into a file and run that",
        ) from None


def _not_started(command: str | Sequence[str], error: OSError | ValueError) -> Failed:
    program = command if isinstance(command, str) else command[0]
    if isinstance(error, FileNotFoundError):
        hint = (
            "a script's lines are run without a shell, which knows comments and built-ins; "
            "'shell: true' asks for one"
        )
        return Failed(f"there is no program {program!r}", status=127, hint=hint)
    if isinstance(error, PermissionError):
        return Failed(
            f"{program!r} is not executable",
            status=126,
            hint=f"chmod +x {program}, or name the program that reads it: bash {program}",
        )
    reason = getattr(error, "strerror", None) or error
    return Failed(f"{program!r} could not be started: {reason}")


def _shell_hint(command: str | Sequence[str]) -> str | None:
    if isinstance(command, str):
        return None
    found = next((word for word in command[1:] if word in _OPERATORS), None)
    if found is None:
        return None
    return f"{found!r} was handed to the program as a word; 'shell: true' runs the line in a shell"
