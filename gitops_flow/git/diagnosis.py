"""What git's messages mean: from the text on stderr to an error with a hint."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gitops_flow.errors import GitError, RemoteError
from gitops_flow.git.command import tidy
from gitops_flow.redact import redact


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    kind: str
    message: str
    hint: str
    retry: bool = False


def _rule(pattern: str, kind: str, message: str, hint: str, *, retry: bool = False) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), kind, message, hint, retry)


# The first that matches wins: git ends many different failures with the same
# "Could not read from remote repository" or "the remote end hung up".
_RULES = (
    _rule(
        r"refusing to allow an? .{1,60} to (create|update|create or update) (workflow|\.github)",
        "refused",
        "GitHub does not let this token push workflow files (.github/workflows)",
        "leave them out, as by default (without ‹ci_files›, gitflow: {ci_files: exclude}); or push with a "
        "token that may change workflows: the scope `workflow`, or `Workflows: write` of a "
        "fine-grained token. The GITHUB_TOKEN of a workflow can never have it",
    ),
    _rule(
        r"HTTP 413|returned error: 413|pack exceeds maximum allowed size|GH001|"
        r"exceeds .{0,60}(file|size|push) (size )?limit|push (size|is) .{0,30}too large",
        "too-large",
        "the server refuses a push of this size",
        "leave large files out (.gitflowignore), or raise the server's limit "
        "(receive.maxInputSize, client_max_body_size)",
    ),
    _rule(
        r"dubious ownership",
        "ownership",
        "the repository belongs to another user, so git does not read it",
        "as the user that runs this: git config --global --add safe.directory <the repository>",
    ),
    _rule(
        r"host key verification failed|host identification has changed",
        "host-key",
        "the ssh host key of the server is not known or has changed",
        "check the key, then add it to ~/.ssh/known_hosts (for example by ssh-keyscan)",
    ),
    _rule(
        r"dumb http transport",
        "unsupported",
        "the server hands out plain files (git's dumb protocol), which cannot give one commit",
        "serve the repository by git http-backend, ssh, git daemon, or a forge",
    ),
    _rule(
        r"could not read (username|password)",
        "auth",
        "the server asks for credentials and none were found",
        "pass a token (credentials), or set up a git credential helper or GIT_ASKPASS",
    ),
    _rule(
        r"authentication failed|returned error: 401|access denied$|permission denied \((publickey|"
        r"password|keyboard|gssapi)|invalid (username|credentials)",
        "auth",
        "the server does not accept the credentials",
        "check that the token or key is valid, not expired, and may read this repository",
    ),
    _rule(
        r"certificate|gnutls_handshake|SSL_ERROR|SSL routines",
        "tls",
        "the server's TLS certificate is not accepted",
        "install its CA certificate, or name it in GIT_SSL_CAINFO",
    ),
    _rule(
        r"fsck error|error in packed object|(missing|bad|zero-padded)[A-Za-z]*(date|email|tree|name)",
        "rejected-object",
        "the server's object checks (receive.fsckObjects) refuse the commit",
        "see the server's message; file names such as .git cannot be published",
    ),
    _rule(
        r"hook declined|protected branch|GH006|not allowed to (push|force push)|"
        r"prohibited by|deny updating|denying (non-fast-forward|ref)",
        "refused",
        "the server refuses to update the branch",
        "let this account push to the branch (branch protection, server hooks), "
        "or choose another branch for the code store",
    ),
    _rule(
        r"not our ref|couldn't find remote ref|no such remote ref|unadvertised object|"
        r"not a valid object",
        "missing",
        "the commit is not on the server",
        "it was published to another repository, or dropped there since; publish it again",
    ),
    _rule(
        r"repository .*not found|does not appear to be a git repository|returned error: 404|"
        r"repository not exported|project you were looking for could not be found|"
        r"no such file or directory: .*\.git",
        "not-found",
        "the repository was not found on the server",
        "check the address; many servers also answer so when the credentials may not read it",
    ),
    _rule(
        r"no space left on device|disk quota exceeded|file too large|file size limit",
        "disk",
        "the disk is full",
        "free some space and try again",
        retry=True,
    ),
    _rule(
        r"returned error: 403|denied to|read[- ]only|write access .{0,40}(denied|not granted)|"
        r"insufficient permission|unable to create temporary|access denied or repository|"
        r"permission denied|service not enabled",
        "read-only",
        "the server does not allow this on the repository",
        "give this account permission (write, to publish), or check the repository's settings",
    ),
    _rule(
        r"could not resolve|unable to look up|name or service not known|temporary failure in name",
        "network",
        "the server's name cannot be resolved",
        "check the address and the network",
        retry=True,
    ),
    _rule(
        r"failed to connect|couldn't connect|unable to connect|connection refused|"
        r"no route to host|network is unreachable|connection timed out|connect to host",
        "network",
        "the server cannot be reached",
        "check the address and the network",
        retry=True,
    ),
    _rule(
        r"operation too slow|timed out|timeout",
        "timeout",
        "the server stopped answering",
        "check that the server is well and the network is not too slow",
        retry=True,
    ),
    _rule(
        r"repository corruption|pack-objects died|bad object|unable to read tree|"
        r"remote did not send all necessary objects",
        "damaged",
        "the server's repository is damaged",
        "check it with git fsck; publishing again may replace what is broken",
    ),
    _rule(
        r"returned error: (429|5\d\d)|RPC failed|early EOF|hung up unexpectedly|empty reply|"
        r"connection (reset|closed)|unexpected disconnect|broken pipe|recv failure|send failure",
        "network",
        "the connection to the server broke",
        "check that the server is well",
        retry=True,
    ),
)

_OTHER = _rule("", "other", "git failed", "see git's message")


def explain(stderr: str, repository: str) -> RemoteError:
    """The error for a git that failed to talk to ``repository``.

    The error's message ends in what git said, redacted.
    """
    stderr = redact(stderr)
    rule = next((rule for rule in _RULES if rule.pattern.search(stderr)), _OTHER)
    return RemoteError(
        f"{rule.message} ({_told(stderr, rule)})",
        kind=rule.kind,
        where=redact(repository),
        hint=rule.hint,
        retry=rule.retry,
    )


def timed_out(error: GitError, repository: str) -> RemoteError:
    """The error for a git that was ended because it took too long."""
    return RemoteError(
        error.message, kind="timeout", where=redact(repository), hint=error.hint, retry=True
    )


def _told(stderr: str, rule: _Rule) -> str:
    remote = [
        line.split(":", 1)[1].strip()
        for line in stderr.splitlines()
        if line.startswith("remote:") and line.split(":", 1)[1].strip()
    ]
    if remote and rule.kind in ("refused", "rejected-object", "too-large", "read-only"):
        return "the server said: " + "; ".join(remote[:4])
    matching = [line.strip() for line in stderr.splitlines() if rule.pattern.search(line)]
    return matching[0] if matching and rule is not _OTHER else tidy(stderr)
