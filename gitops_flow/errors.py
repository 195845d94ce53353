"""What can go wrong, as users see it.

Every error says what happened, where, what to do about it, and whether trying
again can help. They are raised anywhere and reported at one boundary: the
command line's (:mod:`gitops_flow.cli`), or Prefect's log on a worker.

::

    GitflowError                exit code 1
    ├── UsageError              2: the command line or the settings are wrong
    ├── ProblemsError           several things are wrong, each with its place
    │   ├── ManifestError       the manifest has problems (all of them, at once)
    │   └── RefusedError        the server's state forbids it: pools, conflicts, prune limits
    ├── FlowError               a flow cannot be read from its source
    ├── SnapshotError           the working tree cannot be snapshotted
    ├── GitError                the git program failed
    │   └── RemoteError         a git server refused, failed or is away
    ├── StepError               a build or push step failed; nothing was applied
    ├── CodeStoreError          publishing failed
    ├── CheckoutError           a pinned commit cannot be made into a directory
    ├── LockedError             another process or thread held a lock for too long
    ├── LocalPrefectError       a server or worker of our own did not start
    ├── StoppedError            it was ended: a command while writing, a deploy by its caller
    └── ApiError                the Prefect server refused, failed or is away
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path


# What has to happen before the same call can succeed: nothing that helps, other files, something
# on a server (the one that was asked), or only some time.
Heals = Literal["never", "new commit", "server", "time"]


class GitflowError(Exception):
    """An understood failure.

    Args:
        message: what happened, one sentence, no secrets.
        where: ``file:line:column``, a URL or a path; None when it is obvious.
        hint: what to do about it.
        retry: whether the same call may succeed later without any change.
        heals: what has to happen before it can; by default what the class says.
    """

    exit_code = 1
    # What heals an error of the class: one that is worth trying again, and any other.
    healed_later: Heals = "time"
    healed_by: Heals = "never"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        retry: bool = False,
        heals: Heals | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.retry = retry
        self.heals = heals or (self.healed_later if retry else self.healed_by)

    def __str__(self) -> str:
        """The whole error on a few lines, as a worker's log shows it."""
        lines = [f"{self.where}: {self.message}" if self.where else self.message]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        if self.retry:
            lines.append("Trying again may help.")
        return "\n".join(lines)


class UsageError(GitflowError):
    """The command line or the settings cannot be understood."""

    exit_code = 2


class ProblemsError(GitflowError):
    """Several things are wrong; ``problems`` holds a :class:`~gitops_flow.model.Problem` each."""

    def __init__(
        self,
        message: str,
        problems: tuple[Any, ...],
        *,
        hint: str | None = None,
        heals: Heals | None = None,
    ) -> None:
        super().__init__(message, hint=hint, heals=heals)
        self.problems = problems

    @property
    def lines(self) -> tuple[str, ...]:
        """Each problem as a line of text."""
        return tuple(map(str, self.problems))

    def __str__(self) -> str:
        """Every problem on its own line, then the summary."""
        return "\n".join((*self.lines, super().__str__()))


class ManifestError(ProblemsError):
    """The manifest has problems."""

    healed_by = "new commit"


class RefusedError(ProblemsError):
    """The manifest is right, but what is on the server forbids to carry it out."""

    healed_by = "server"


class FlowError(GitflowError):
    """A flow cannot be read from its source; ``where`` is file:line[:column]."""

    healed_by = "new commit"


class SnapshotError(GitflowError):
    """The working tree cannot be snapshotted as it is; ``paths`` says which files."""

    healed_by = "new commit"

    def __init__(
        self, message: str, *, paths: tuple[str, ...] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.paths = paths


class GitError(GitflowError):
    """The git program failed, or is missing."""


class RemoteError(GitError):
    """A git server refused a request, failed, or could not be reached.

    ``kind`` is ``network``, ``timeout``, ``auth``, ``host-key``, ``tls``,
    ``not-found`` (the repository), ``missing`` (a commit or branch in it),
    ``read-only``, ``refused`` (a hook or a protected branch), ``too-large``,
    ``rejected-object`` (the server's object checks), ``damaged`` (its
    repository), ``ownership``, ``disk`` or ``other``.
    """

    healed_later = "server"

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        where: str | None = None,
        hint: str | None = None,
        retry: bool = False,
    ) -> None:
        super().__init__(message, where=where, hint=hint, retry=retry)
        self.kind = kind


class StepError(GitflowError):
    """A build or push step failed, so nothing was applied.

    ``status`` is the exit status of the program that failed (negative: the
    signal that ended it), None when none did. The message ends in its last lines.
    """

    healed_by = "new commit"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        where: str | None = None,
        hint: str | None = None,
        retry: bool = False,
    ) -> None:
        super().__init__(message, where=where, hint=hint, retry=retry)
        self.status = status


class CodeStoreError(GitflowError):
    """A snapshot could not be published."""


class CheckoutError(GitflowError):
    """A pinned commit could not be made into a directory."""


class LockedError(GitflowError):
    """The lock on ``path`` was not to be had within ``seconds``."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(
            f"another process, or another thread of this one ({os.getpid()}), has held this lock "
            f"for the {seconds:g} s that we waited",
            where=str(path),
            hint="`fuser -v` with that file shows who holds it; end it if it hangs",
            retry=True,
        )


class LocalPrefectError(GitflowError):
    """A Prefect server or worker that we start ourselves did not start or did not last."""


class StoppedError(GitflowError):
    """What ran was ended before its end: a command by a signal or an error, a deploy by its caller.

    Args:
        message: what ended it.
        exit_code: the command's.
        lines: what was written and what was not, for people.
        document: the same as data, to stand beside the error in ``--json``.
        hint: as for every error.
    """

    def __init__(
        self,
        message: str,
        *,
        exit_code: int = 1,
        lines: tuple[str, ...] = (),
        document: dict[str, object] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.lines = lines
        self.document = document or {}


class ApiError(GitflowError):
    """The Prefect server refused a request, failed, or could not be reached.

    ``status`` is the HTTP status, or None when there was no answer. ``lost`` says
    that the request may have been carried out although it was not confirmed.
    """

    healed_later = "server"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        where: str | None = None,
        hint: str | None = None,
        retry: bool = False,
        lost: bool = False,
    ) -> None:
        super().__init__(message, where=where, hint=hint, retry=retry)
        self.status = status
        self.lost = lost
