"""What ends a command before its end, told to a person and as ``--json``; the exit codes."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import typer

from gitops_flow.cli import streams
from gitops_flow.errors import GitflowError, StoppedError
from gitops_flow.report import errors, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.apply import Result

BUG = 3
INTERRUPTED = 130
TERMINATED = 143
HUNG_UP = 129
STOPPED = {INTERRUPTED: "interrupted", TERMINATED: "terminated", HUNG_UP: "terminal closed"}


def show(error: GitflowError, form: str, verb: str) -> None:
    """Print an error: as JSON on standard output, else its lines on standard error.

    With them, the Markdown of ``gitflow VERB --markdown`` is on standard output, too;
    and the JSON of a command that was stopped while it wrote.
    """
    beside = error.document if isinstance(error, StoppedError) else None
    if form == "json" and written(errors.document(error), beside) and beside is None:
        return
    if form == "markdown":
        from gitops_flow.report import markdown

        with contextlib.suppress(streams.OutputError):
            streams.out("\n".join(markdown.error(error, verb)) + "\n")
    streams.err(errors.text(error))


def show_stopped(how: str, as_json: bool) -> None:
    """Print that a signal ended the command; ``how`` is one of :data:`STOPPED`."""
    if as_json:
        written(errors.plain_document(how))
    streams.err(f"{how}\n")


def written(error: dict[str, Any], beside: Mapping[str, object] | None = None) -> bool:
    """Print an error's document; False when standard output does not take it."""
    try:
        streams.out(json.dumps({"ok": False, "error": error, **(beside or {})}) + "\n")
    except streams.OutputError:
        return False
    return True


class Written(list["Result"]):
    """What became of each deployment so far; told when something ends the writing.

    Raises:
        StoppedError: in the place of the signal or error that ended it.
    """

    def __enter__(self) -> Written:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or not self:
            return
        from gitops_flow.report.deploy import result_document, results_text

        lines = results_text(self)
        document: dict[str, object] = {"deployments": [result_document(each) for each in self]}
        message, code = how_it_ended(error)
        if code == BUG:
            # Whoever reads the log of a bug learns this beside it.
            streams.err("\n".join(map(words.printable, lines)) + "\n")
            return
        hint = "run the same command again: it converges"
        if isinstance(error, GitflowError) and error.hint:
            hint = f"{error.hint}; then {hint}"
        raise StoppedError(
            message, exit_code=code, lines=tuple(lines), document=document, hint=hint
        ) from error


def how_it_ended(error: BaseException) -> tuple[str, int]:
    """What ended a command, in a few words, and the exit code for it."""
    if isinstance(error, GitflowError):
        return error.message, error.exit_code
    code = error.exit_code if isinstance(error, typer.Exit) else BUG
    code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else code
    return STOPPED.get(code, "bug"), code
