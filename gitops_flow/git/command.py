"""The only place that spawns git: a clean environment, argument lists, a timeout, an end."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow import stop
from gitops_flow.errors import GitError
from gitops_flow.git import environment
from gitops_flow.git.url import origin
from gitops_flow.redact import forms, redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

# The first that takes settings from its environment (GIT_CONFIG_COUNT); an older
# one would ignore every setting below without a word.
MINIMUM_VERSION = (2, 31)

# Beside a token, the large forges accept this name.
_ANY_USER = "x-access-token"

_CONFIG: tuple[tuple[str, str], ...] = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", os.devnull),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.quotePath", "true"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("push.gpgSign", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("protocol.version", "2"),
    ("protocol.allow", "never"),
    ("protocol.https.allow", "always"),
    ("protocol.http.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("protocol.git.allow", "always"),
    ("protocol.file.allow", "always"),
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "30"),
)


@dataclass(frozen=True, slots=True)
class Auth:
    """A user name and a secret for one server, handed to git in its environment only.

    ``url`` limits them to that address's scheme and host. ``username`` None
    means ``x-access-token``, which the large forges accept for a token.
    """

    url: str
    secret: str = field(repr=False)
    username: str | None = None

    @property
    def forms(self) -> tuple[str, ...]:
        """What must not be shown."""
        return forms(self.username or _ANY_USER, self.secret)


class GitTimeoutError(GitError):
    """Git was ended because it took longer than it was allowed to."""


@dataclass(frozen=True, slots=True)
class Result:
    """What git answered; ``stderr`` is decoded and redacted."""

    returncode: int
    stdout: bytes
    stderr: str


def run(
    args: Sequence[str | bytes],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    config: Iterable[tuple[str, str]] = (),
    auth: Auth | None = None,
    stdin: bytes | None = None,
    timeout: float = 600.0,
    check: bool = True,
) -> Result:
    """Run ``git *args`` and return its answer.

    Args:
        args: arguments after ``git``; never a shell string.
        cwd: directory to run in.
        env: variables set on top of the clean environment (``GIT_DIR`` and such).
        config: settings on top of the fixed ones, handed over in the environment.
        auth: credentials for the remote; never in the arguments or a file.
        stdin: bytes for standard input, which is closed otherwise.
        timeout: seconds, after which git and its children are killed.
        check: raise on a non-zero exit status.

    Raises:
        GitTimeoutError: git took longer than ``timeout``.
        GitError: git is missing, or (with ``check``) failed.
        StoppedError: it was ended, since all of it is to end.
    """
    process = start(args, cwd=cwd, env=env, config=config, auth=auth, pipe_stdin=stdin is not None)
    try:
        with stop.current().calling(lambda: _signal(process)):
            out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise GitTimeoutError(
            f"git {_verb(args)} did not finish within {timeout:g} s",
            hint="check that the server answers and is not overloaded",
            retry=True,
        ) from None
    except BaseException:
        kill(process)
        raise
    said = redact(err.decode("utf-8", "replace"), auth.forms if auth else ())
    result = Result(process.returncode, out, said.strip())
    if check and result.returncode != 0:
        raise failure(args, result)
    return result


def head(
    args: Sequence[str | bytes],
    most: int,
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 120.0,
) -> bytes:
    """The first ``most`` bytes that ``git *args`` writes; it is ended there.

    Raises:
        GitError: git failed, or took longer than ``timeout`` seconds.
    """
    process = start(args, env=env)
    timer = threading.Timer(timeout, kill, (process,))
    timer.start()
    try:
        out = process.stdout.read(most) if process.stdout else b""
        if len(out) < most and process.wait() != 0:
            raise GitError(f"git {_verb(args)} failed with status {process.returncode}")
    finally:
        timer.cancel()
        kill(process)
    return out


def start(
    args: Sequence[str | bytes],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    config: Iterable[tuple[str, str]] = (),
    auth: Auth | None = None,
    pipe_stdin: bool = False,
) -> subprocess.Popen[bytes]:
    """Start ``git *args`` with piped output; the caller waits for it (see :func:`run`).

    It leads a session of its own: it has no terminal to prompt on, and its
    helpers die with it.
    """
    program = shutil.which("git", path=environment.current().path)
    if program is None:
        raise GitError(
            "the git program was not found on PATH",
            hint="install git (for example: apt-get install git)",
        )
    try:
        return subprocess.Popen(
            [program, *args],
            cwd=cwd,
            env=_environment(env or {}, config, auth),
            stdin=subprocess.PIPE if pipe_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GitError(f"git could not be started: {reason}") from error


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a started git with everything it started, and reap it."""
    _signal(process)
    # A helper that left the session (a persistent ssh connection) may hold the
    # pipes open for minutes; it is not ours to wait for.
    with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
        process.communicate(timeout=2)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def _signal(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def failure(args: Sequence[str | bytes], result: Result) -> GitError:
    """The error for a git that ended with a non-zero status."""
    return GitError(
        f"git {_verb(args)} failed with status {result.returncode}: {tidy(result.stderr)}"
    )


def tidy(stderr: str) -> str:
    """The part of git's stderr that says what happened: its last fatal or error lines."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(fatal|error|remote: (error|fatal))\b", line)]
    return "; ".join((telling or lines)[-3:]) or "git said nothing"


def version() -> tuple[int, ...]:
    """The version of git as numbers, ``(2, 39, 5)``."""
    numbers = re.search(rb"(\d+(?:\.\d+)+)", run(["--version"], timeout=30).stdout)
    return tuple(int(part) for part in numbers[1].split(b".")) if numbers else (0,)


def require_version() -> None:
    """Raise GitError unless git is there and new enough; asked once per process and program."""
    _require_version(shutil.which("git", path=environment.current().path))


@functools.lru_cache(8)
def _require_version(_program: str | None) -> None:
    installed = version()
    if installed < MINIMUM_VERSION:
        raise GitError(
            f"git {_dotted(installed)} is too old: {_dotted(MINIMUM_VERSION)} or newer is needed",
            hint="upgrade git",
        )


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _verb(args: Sequence[str | bytes]) -> str:
    skip = False
    for arg in args:
        text = os.fsdecode(arg)
        if skip or text.startswith("-"):
            skip = text in ("-C", "-c", "--git-dir", "--work-tree") and not skip
            continue
        return text
    return ""


def _environment(
    extra: Mapping[str, str], config: Iterable[tuple[str, str]], auth: Auth | None
) -> dict[str, str]:
    inherited = environment.current()
    env = inherited.variables()
    env.update(
        LC_ALL="C",
        LANGUAGE="",
        GIT_TERMINAL_PROMPT="0",
        GIT_OPTIONAL_LOCKS="0",
        GIT_LFS_SKIP_SMUDGE="1",
        GCM_INTERACTIVE="never",
    )
    if "SSH_ASKPASS" not in env:
        # There is no terminal, for which ssh would look for a program of its own.
        env["SSH_ASKPASS_REQUIRE"] = "never"
    settings = [*inherited.config(), *_CONFIG, *config]
    if auth is not None:
        # The helper's text names variables; their values are only in the environment.
        scope = f"credential.{origin(auth.url)}"
        settings += [
            (f"{scope}.helper", ""),
            (
                f"{scope}.helper",
                (
                    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
                    '"$GITFLOW_GIT_USERNAME" "$GITFLOW_GIT_SECRET"; }; f'
                ),
            ),
        ]
        env["GITFLOW_GIT_USERNAME"] = auth.username or _ANY_USER
        env["GITFLOW_GIT_SECRET"] = auth.secret
    env["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (key, value) in enumerate(settings):
        env[f"GIT_CONFIG_KEY_{number}"] = key
        env[f"GIT_CONFIG_VALUE_{number}"] = value
    env.update(extra)
    return env
