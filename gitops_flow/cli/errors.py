"""Errors as a person and as ``--json`` get them, and the exit codes that go with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from gitops_flow.cli import streams
from gitops_flow.errors import GitflowError, ProblemsError, SnapshotError, StoppedError
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

BUG = 3
INTERRUPTED = 130
TERMINATED = 143
HUNG_UP = 129
STOPPED = {INTERRUPTED: "interrupted", TERMINATED: "terminated", HUNG_UP: "terminal closed"}


def error_document(error: GitflowError) -> dict[str, Any]:
    """An error as ``--json`` prints it."""
    document: dict[str, Any] = {
        "message": redact(error.message),
        "where": redact(error.where) if error.where else None,
        "hint": redact(error.hint) if error.hint else None,
        "retry": error.retry,
    }
    if isinstance(error, ProblemsError):
        document["problems"] = [redact(problem) for problem in error.lines]
    if isinstance(error, SnapshotError):
        document["paths"] = [streams.printable(path) for path in error.paths]
    return document


def how_it_ended(error: BaseException) -> tuple[str, int]:
    """What ended a command, in a few words, and the exit code for it."""
    if isinstance(error, GitflowError):
        return error.message, error.exit_code
    code = error.exit_code if isinstance(error, typer.Exit) else BUG
    code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else code
    return STOPPED.get(code, "bug"), code


def show(error: GitflowError, as_json: bool) -> None:
    """Print an error: its document on standard output, else its lines on standard error."""
    if isinstance(error, StoppedError):
        _show_standing(error, as_json)
        return
    if as_json and written(error_document(error)):
        return
    lines = []
    if isinstance(error, ProblemsError):
        lines += list(error.lines)
    where = f"{error.where}: " if error.where else ""
    lines.append(f"error: {where}{error.message}")
    if isinstance(error, SnapshotError):
        lines += [f"  {streams.printable(path)}" for path in error.paths]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    if error.retry:
        lines.append("Trying again may help.")
    streams.err(streams.printable(redact("\n".join(lines)), keep="\n") + "\n")


def _show_standing(error: StoppedError, as_json: bool) -> None:
    """Tell what stands; on standard error in any case."""
    if as_json:
        written(error_document(error), error.document)
    lines = [error.message, *error.lines, f"hint: {error.hint}"]
    streams.err(streams.printable(redact("\n".join(lines)), keep="\n") + "\n")


def show_stopped(how: str, as_json: bool) -> None:
    """Print that a signal ended the command; ``how`` is one of :data:`STOPPED`."""
    if as_json:
        written(plain_document(how))
    streams.err(f"{how}\n")


def written(error: dict[str, Any], beside: Mapping[str, object] | None = None) -> bool:
    """Print an error's document; False when standard output does not take it."""
    try:
        streams.out(json.dumps({"ok": False, "error": error, **(beside or {})}) + "\n")
    except streams.OutputError:
        return False
    return True


def plain_document(message: str, hint: str | None = None) -> dict[str, Any]:
    """The document of what is no error of ours."""
    return {"message": message, "where": None, "hint": hint, "retry": False}
