"""Talking to a git server: ask for a ref, fetch, push; every failure as an error with a hint."""

from __future__ import annotations

import enum
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gitops_flow.errors import GitError, RemoteError
from gitops_flow.git import command, diagnosis
from gitops_flow.git.command import Auth
from gitops_flow.git.url import check_address, check_commit, origin, split_userinfo
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_REF = re.compile(r"refs/[^\x00-\x20\x7f~^:?*\[\\]+|HEAD")
_SHA = re.compile(rb"([0-9a-f]{40})\t(.+)")
# How pushes that lost a race are told (seen with 16 pushers at once on path,
# http and ssh, and in the messages of other servers' implementations).
_STALE = re.compile(
    r"stale info|fetch first|remote ref updated since checkout|"
    r"is at [0-9a-f]{40} but expected|reference already exists|"
    r"incorrect old value|failed to update ref|failed to lock|"
    r"unable to create '.*\.lock'|non-fast-forward",
    re.IGNORECASE,
)
_OCCUPIED = re.compile(r"'(refs/[^']+)' exists; cannot create '(refs/[^']+)'")


class PushOutcome(enum.Enum):
    """Whether a push moved the ref, or somebody else had moved it first."""

    OK = "ok"
    STALE = "stale"


def ls_remote(
    repository: str,
    ref: str,
    *,
    auth: Auth | None = None,
    config: Sequence[tuple[str, str]] = (),
    timeout: float = 60.0,
) -> str | None:
    """The commit (40 hex digits) at ``ref`` (``refs/heads/x`` or ``HEAD``), None if absent.

    ``config`` is set on top of the machine's, here and below.

    Raises:
        RemoteError: the server cannot be asked.
    """
    _check_ref(ref)
    commits, _ = list_refs(repository, [ref], auth=auth, config=config, timeout=timeout)
    return commits.get(ref)


def list_refs(
    repository: str,
    patterns: Sequence[str],
    *,
    auth: Auth | None = None,
    config: Sequence[tuple[str, str]] = (),
    timeout: float = 60.0,
) -> tuple[dict[str, str], str | None]:
    """The commits of all refs that one of ``patterns`` names, and the ref that HEAD stands for.

    A pattern is ``HEAD`` or a full name, in which ``*`` is any text; ``<tag>^{}`` is the commit
    of an annotated tag. The second is None where HEAD was not asked for.

    Raises:
        RemoteError: the server cannot be asked.
    """
    for pattern in patterns:
        _check_ref(pattern.replace("*", "x").removesuffix("^{}"))
    args = ["ls-remote", "--symref"]
    talked = _talk(args, repository, patterns, auth=auth, config=config, timeout=timeout)
    commits, head = {}, None
    # git lists what only ends in a pattern, too.
    wanted = re.compile("|".join(re.escape(each).replace(r"\*", ".*") for each in patterns))
    for line in talked.stdout.splitlines():
        if ref := _SHA.fullmatch(line):
            name = os.fsdecode(ref[2])
            if wanted.fullmatch(name):
                commits[name] = ref[1].decode()
        elif line.startswith(b"ref: ") and line.endswith(b"\tHEAD"):
            head = os.fsdecode(line[len(b"ref: ") : -len(b"\tHEAD")])
    return commits, head


def fetch(
    git_dir: Path,
    repository: str,
    refspecs: Sequence[str],
    *,
    depth: int | None = None,
    filter: str | None = None,  # noqa: A002
    auth: Auth | None = None,
    env: Mapping[str, str] | None = None,
    config: Sequence[tuple[str, str]] = (),
    timeout: float = 600.0,
) -> None:
    """Fetch ``refspecs`` (refs, ``<ref>:<ref>`` or commit ids) into ``git_dir``.

    Nothing else is written there: no tags, no FETCH_HEAD, no remote, no
    configuration. ``filter`` is a partial-clone filter such as ``blob:none``;
    ``env`` is set on top (object directories and the like).

    Raises:
        RemoteError: the server cannot be reached, refuses, or has no such commit.
    """
    args = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap="]
    args += ["--no-recurse-submodules", "--no-auto-maintenance"]
    args += [f"--depth={depth:d}"] if depth is not None else []
    args += [f"--filter={filter}"] if filter is not None else []
    environment = {"GIT_DIR": str(git_dir), **(env or {})}
    _talk(args, repository, refspecs, auth=auth, env=environment, config=config, timeout=timeout)


def push(
    git_dir: Path,
    repository: str,
    refspec: str,
    *,
    expect: str | None,
    auth: Auth | None = None,
    env: Mapping[str, str] | None = None,
    config: Sequence[tuple[str, str]] = (),
    timeout: float = 600.0,
) -> PushOutcome:
    """Push ``<commit>:<ref>`` if the server's ref still is ``expect`` (None: absent).

    Returns:
        ``OK`` once the server has confirmed the ref, ``STALE`` if the ref was
        moved, made or held by somebody else.

    Raises:
        RemoteError: everything else; the server's own words are in the message.
            ``kind`` network or timeout leaves open whether the ref has moved.
    """
    commit, _, ref = refspec.partition(":")
    check_commit(commit)
    _check_ref(ref)
    lease = f"--force-with-lease={ref}:{check_commit(expect) if expect else ''}"
    args = ["push", "--porcelain", "--atomic", "--no-thin", "--no-verify", "--no-signed"]
    args += ["--no-follow-tags", "--no-progress", lease]
    # A body that fits the buffer goes up in one request with a length; some
    # servers and proxies refuse chunked ones.
    config = (*config, ("http.postBuffer", str(64 << 20)), ("push.default", "nothing"))
    environment = {"GIT_DIR": str(git_dir), **(env or {})}
    result = _talk(
        args,
        repository,
        [refspec],
        auth=auth,
        env=environment,
        config=config,
        timeout=timeout,
        check=False,
    )
    flag, summary = _porcelain(result.stdout, ref)
    if result.returncode == 0 and flag is not None and flag != "!":
        return PushOutcome.OK
    return _refusal(flag, summary, result.stderr, repository)


def _talk(
    args: Sequence[str],
    repository: str,
    operands: Sequence[str],
    *,
    auth: Auth | None,
    timeout: float,
    env: Mapping[str, str] | None = None,
    config: Sequence[tuple[str, str]] = (),
    check: bool = True,
) -> command.Result:
    url, auth, extra = _credentials(repository, auth)
    command.require_version()
    try:
        result = command.run(
            [*args, "--", url, *operands],
            env=env,
            config=[*config, *extra],
            auth=auth,
            timeout=timeout,
            check=False,
        )
    except command.GitTimeoutError as error:
        raise diagnosis.timed_out(error, url) from None
    if check and result.returncode != 0:
        raise diagnosis.explain(result.stderr, url)
    # The reason for which a push is refused is the server's, too.
    said = redact(result.stdout.decode("utf-8", "surrogateescape"), auth.forms if auth else ())
    return replace(result, stdout=said.encode("utf-8", "surrogateescape"))


def _credentials(
    repository: str, auth: Auth | None
) -> tuple[str, Auth | None, list[tuple[str, str]]]:
    """The address without userinfo, and what was in it in a form that ``ps`` does not show."""
    url, user, password = split_userinfo(check_address(repository))
    if auth is not None:
        return url, Auth(url, auth.secret, auth.username or user), []
    if password is not None:
        return url, Auth(url, password, user), []
    return url, None, [(f"credential.{origin(url)}.username", user)] if user else []


def _check_ref(ref: str) -> None:
    if not _REF.fullmatch(ref):
        raise GitError(f"{ref!r} is not a full ref name", hint="such as refs/heads/code-store")


def _porcelain(stdout: bytes, ref: str) -> tuple[str | None, str]:
    """Flag and summary of ``ref`` in ``git push --porcelain``; the flag is None without a line."""
    for line in stdout.decode("utf-8", "replace").splitlines():
        parts = line.split("\t", 2)
        if len(parts) == 3 and parts[1].endswith(f":{ref}"):
            return parts[0].strip() or " ", parts[2]
    return None, ""


def _refusal(flag: str | None, summary: str, stderr: str, repository: str) -> PushOutcome:
    text = f"{stderr}\n{summary}"
    if occupied := _OCCUPIED.search(text):
        raise RemoteError(
            f"the branch {occupied[2]} cannot exist beside {occupied[1]}",
            kind="refused",
            where=redact(repository),
            hint="choose another branch for the code store",
        )
    # A server that refuses the move of a ref for good says so beside the same word.
    denied = "remote rejected" in summary and "non-fast-forward" in summary
    if flag == "!" and not denied and _STALE.search(text):
        return PushOutcome.STALE
    raise diagnosis.explain(text, repository)
