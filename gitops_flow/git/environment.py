"""What git and ssh inherit: given once by whoever has an environment, and nothing else."""

from __future__ import annotations

import contextlib
import contextvars
import os
import shlex
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# Inherited GIT_* would redirect us to another repository, index or configuration
# (a hook sets several); these few say how to reach a server, who answers for
# credentials or where the user's configuration is, and are kept.
_KEPT = frozenset(
    "GIT_" + name
    for name in [
        "SSH",
        "SSH_COMMAND",
        "SSH_VARIANT",
        "ASKPASS",
        "PROXY_COMMAND",
        "EXEC_PATH",
        "SSL_CAINFO",
        "SSL_CAPATH",
        "SSL_CERT",
        "SSL_KEY",
        "SSL_NO_VERIFY",
        "SSL_VERSION",
        "SSL_CIPHER_LIST",
        "SSL_CERT_PASSWORD_PROTECTED",
        "PROXY_SSL_CERT",
        "PROXY_SSL_KEY",
        "PROXY_SSL_CERT_PASSWORD_PROTECTED",
        "PROXY_SSL_CAINFO",
        "HTTP_PROXY_AUTHMETHOD",
        "CONFIG_GLOBAL",
        "CONFIG_SYSTEM",
        "CONFIG_NOSYSTEM",
        "ALLOW_PROTOCOL",
    ]
)


@dataclass(frozen=True, slots=True)
class GitEnvironment:
    """What the git of one deploy runs with.

    Args:
        environ: the variables to inherit, without most of git's own.
        ssh_key: a private key's file, the only one that is tried.
        known_hosts: the hosts that ssh may talk to, and no other.
        ca_file: certificates that https servers are checked with.
    """

    environ: Mapping[str, str] = field(repr=False)
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    ca_file: Path | None = None

    @property
    def path(self) -> str:
        """Where programs are looked for."""
        return self.environ.get("PATH", os.defpath)

    @property
    def ssh_command(self) -> str | None:
        """What git calls for ssh, None where its configuration decides."""
        command = self.environ.get("GIT_SSH_COMMAND")
        options: list[str] = []
        if self.ssh_key is not None:
            options += ["-i", str(self.ssh_key), "-o", "IdentitiesOnly=yes"]
        if self.known_hosts is not None:
            options += ["-o", f"UserKnownHostsFile={_option(self.known_hosts)}"]
            options += ["-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes"]
        return f"{command or 'ssh'} {shlex.join(options)}" if options else command

    def variables(self) -> dict[str, str]:
        """What git inherits."""
        env = {k: v for k, v in self.environ.items() if not k.startswith("GIT_") or k in _KEPT}
        if (command := self.ssh_command) is not None:
            env["GIT_SSH_COMMAND"] = command
        if self.ca_file is not None:
            env["GIT_SSL_CAINFO"] = str(self.ca_file)
        return env

    def config(self) -> list[tuple[str, str]]:
        """Settings that the environment carries (CI systems pass credentials this way)."""
        try:
            count = min(int(self.environ.get("GIT_CONFIG_COUNT", "0")), 1000)
        except ValueError:
            return []
        pairs = []
        for number in range(count):
            key = self.environ.get(f"GIT_CONFIG_KEY_{number}")
            if key is not None:
                pairs.append((key, self.environ.get(f"GIT_CONFIG_VALUE_{number}", "")))
        return pairs


_current: ContextVar[GitEnvironment] = ContextVar("gitflow_git_environment")


@contextlib.contextmanager
def using(environment: GitEnvironment) -> Iterator[None]:
    """Have every git that this thread starts in the block run with ``environment``.

    Threads that it starts know of it when they are
    :class:`~gitops_flow.threads.Threads`.
    """
    token = _current.set(environment)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def unless_given(environ: Mapping[str, str]) -> Iterator[None]:
    """As :func:`using` with ``environ`` alone, where nobody has said anything else."""
    known = _current in contextvars.copy_context()
    with using(_current.get() if known else GitEnvironment(environ)):
        yield


def current() -> GitEnvironment:
    """The environment of this thread.

    Raises:
        RuntimeError: nobody gave one; the process's own is never taken in its place.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("git is used outside of git.environment.using") from None


def _option(path: Path) -> str:
    """A path in an option of ssh, which splits lists at blanks and knows quotes and percents."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text
