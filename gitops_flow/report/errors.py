"""An understood failure as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_flow.errors import ProblemsError, SnapshotError, StoppedError
from gitops_flow.redact import redact
from gitops_flow.report.words import printable

if TYPE_CHECKING:
    from gitops_flow.errors import GitflowError


def document(error: GitflowError) -> dict[str, Any]:
    """An error as ``--json`` prints it."""
    told: dict[str, Any] = {
        "message": redact(error.message),
        "where": redact(error.where) if error.where else None,
        "hint": redact(error.hint) if error.hint else None,
        "retry": error.retry,
    }
    if isinstance(error, ProblemsError):
        told["problems"] = [redact(problem) for problem in error.lines]
    if isinstance(error, SnapshotError):
        told["paths"] = [printable(path) for path in error.paths]
    return told


def plain_document(message: str, hint: str | None = None) -> dict[str, Any]:
    """The document of what is no error of ours."""
    return {"message": message, "where": None, "hint": hint, "retry": False}


def text(error: GitflowError) -> str:
    """An error for people, on lines of its own: each problem, what happened, what to do."""
    lines = list(error.lines) if isinstance(error, ProblemsError | StoppedError) else []
    where = f"{error.where}: " if error.where else ""
    if isinstance(error, StoppedError):
        lines.insert(0, f"{where}{error.message}")
    else:
        lines.append(f"error: {where}{error.message}")
    if isinstance(error, SnapshotError):
        lines += [f"  {printable(path)}" for path in error.paths]
    lines += [f"hint: {error.hint}"] if error.hint else []
    lines += ["Trying again may help."] if error.retry else []
    return printable(redact("\n".join(lines)), keep="\n") + "\n"
