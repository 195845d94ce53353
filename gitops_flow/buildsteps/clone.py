"""Prefect's ``git_clone`` step, by the git program, without a secret in an argument or a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitops_flow import files, stop
from gitops_flow.buildsteps.step import Failed, text
from gitops_flow.errors import RemoteError
from gitops_flow.git import command, diagnosis
from gitops_flow.git import credentials as given
from gitops_flow.git.url import check_address, normalise, origin, split_userinfo

if TYPE_CHECKING:
    from gitops_flow.buildsteps.step import Here
    from gitops_flow.git.command import Auth, Result
    from gitops_flow.model import Json

_TIMEOUT = 1800.0
# Seconds between attempts when a server cannot be reached for the moment.
_PAUSES = (1.0, 3.0)
# A clone is the user's: files that Git LFS keeps are fetched, as git alone would.
_ENVIRONMENT = {"GIT_LFS_SKIP_SMUDGE": "0"}


@dataclass(frozen=True, slots=True)
class _Clone:
    """What is to be in the directory ``path``. ``url`` holds no password."""

    path: Path
    url: str
    auth: Auth | None
    user: str | None
    branch: str | None
    commit: str | None
    submodules: bool
    directories: tuple[str, ...]

    def git(self, *args: str, inside: bool = True) -> Result:
        """Run git; a failure that the network is to blame for is tried again.

        Raises:
            RemoteError: what git said, explained.
        """
        named = [(f"credential.{origin(self.url)}.username", self.user)] if self.user else []
        pauses = iter(_PAUSES)
        while True:
            done = command.run(
                args,
                cwd=self.path if inside else self.path.parent,
                env=_ENVIRONMENT,
                config=named,
                auth=self.auth,
                timeout=_TIMEOUT,
                check=False,
            )
            if done.returncode == 0:
                return done
            error = diagnosis.explain(done.stderr, self.url)
            pause = next(pauses, None)
            if pause is None or error.kind != "network":
                raise error
            stop.pause(pause)


def git_clone(
    here: Here,
    *,
    repository: Json,
    branch: Json = None,
    commit_sha: Json = None,
    include_submodules: Json = False,
    access_token: Json = None,
    credentials: Json = None,
    directories: Json = None,
    clone_directory_name: Json = None,
) -> dict[str, Json]:
    """Clone ``repository`` below the working directory, or bring an earlier clone up to date.

    Without ``branch`` or ``commit_sha`` it is the default branch; of a branch
    only the last commit. ``directories`` are all that is checked out beside the
    files at the root.

    Returns:
        ``directory``: its name, relative to the working directory.
    """
    wanted = _wanted(here, text("repository", repository), branch, commit_sha, directories)
    name = _name(wanted.url, wanted.branch, clone_directory_name)
    path = here.cwd / name
    if path.resolve() == here.cwd.resolve() or not path.resolve().is_relative_to(
        here.cwd.resolve()
    ):
        raise Failed(f"{name!r} is not the name of a directory below the working directory")
    clone = _Clone(
        path=path,
        url=wanted.url,
        auth=_auth(wanted, access_token, credentials),
        user=wanted.user,
        branch=wanted.branch,
        commit=wanted.commit,
        submodules=bool(include_submodules),
        directories=wanted.directories,
    )
    command.require_version()
    if (path / ".git").exists():
        _update(clone)
    else:
        _create(clone)
    return {"directory": name}


@dataclass(frozen=True, slots=True)
class _Wanted:
    address: str
    url: str
    user: str | None
    branch: str | None
    commit: str | None
    directories: tuple[str, ...]


def _wanted(here: Here, repository: str, branch: Json, commit: Json, directories: Json) -> _Wanted:
    if branch and commit:
        raise Failed("it has both a branch and a commit_sha", hint="keep one of them")
    branch = text("branch", branch) if branch else None
    commit = text("commit_sha", commit) if commit else None
    if branch is not None and branch.startswith("-"):
        raise Failed(f"{branch!r} is not the name of a branch")
    if commit is not None and not re.fullmatch(r"[0-9a-fA-F]{4,64}", commit):
        raise Failed(
            f"the commit_sha {commit!r} is not 4 to 64 hexadecimal digits",
            hint="the name of a branch or tag belongs under 'branch'",
        )
    chosen = [directories] if isinstance(directories, str) else directories or []
    if not isinstance(chosen, list):
        raise Failed("the input 'directories' is not a list of directories")
    nearby = here.cwd / repository
    if "://" not in repository and nearby.exists():
        repository = str(nearby.resolve())
    url, user, _ = split_userinfo(check_address(repository))
    names = tuple(text("directories", name) for name in chosen)
    return _Wanted(repository, url, user, branch, commit, names)


def _auth(wanted: _Wanted, token: Json, credentials: Json) -> Auth | None:
    if token and credentials:
        raise Failed("it has both an access_token and credentials", hint="keep one of them")
    if not wanted.url.lower().startswith(("http://", "https://")):
        return None
    return given.resolve(token or credentials or None, wanted.address)


def _name(url: str, branch: str | None, given_name: Json) -> str:
    """The name that Prefect gives to a clone's directory."""
    if given_name:
        return text("clone_directory_name", given_name)
    last = urlsplit(url).path.split("/")[-1].replace(".git", "")
    return f"{last}-{branch.replace('/', '-')}" if branch else last


def _create(clone: _Clone) -> None:
    if clone.path.exists() and (not clone.path.is_dir() or any(clone.path.iterdir())):
        raise Failed(
            f"{clone.path.name!r} is in the way of the clone, and is no clone",
            hint="remove it, or choose a clone_directory_name",
        )
    args = ["clone", "--quiet"]
    args += ["--recurse-submodules"] if clone.submodules else []
    args += ["--sparse"] if clone.directories else []
    args += ["--filter=blob:none", "--no-checkout"] if clone.commit else ["--depth=1"]
    args += [f"--branch={clone.branch}"] if clone.branch else []
    try:
        # With a depth, git insists on an address for a path as well.
        address = Path(clone.url).as_uri() if Path(clone.url).is_absolute() else clone.url
        clone.git(*args, "--", address, str(clone.path), inside=False)
        clone.git("remote", "set-url", "origin", clone.url)
        _checkout(clone)
    except BaseException:
        files.remove(clone.path)
        raise


def _update(clone: _Clone) -> None:
    """Bring an earlier clone to what is wanted now; changes made in it are not lost."""
    there = clone.git("config", "--get", "remote.origin.url").stdout.decode().strip()
    if normalise(split_userinfo(there)[0]) != normalise(clone.url):
        raise Failed(
            f"{clone.path.name!r} is a clone of another repository",
            hint="remove it, or choose a clone_directory_name",
        )
    if clone.git("status", "--porcelain", "--untracked-files=no").stdout.strip():
        raise Failed(
            f"the clone {clone.path.name!r} has uncommitted changes",
            hint="commit or remove them, or remove the directory",
        )
    if not clone.commit:
        shallow = clone.git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
        depth = ["--depth=1"] if shallow else []
        clone.git("fetch", "--quiet", *depth, "origin", clone.branch or "HEAD")
        clone.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    _checkout(clone)


def _checkout(clone: _Clone) -> None:
    if clone.directories:
        clone.git("sparse-checkout", "set", "--", *clone.directories)
    if clone.commit:
        clone.git("checkout", "--quiet", "--detach", _resolved(clone, clone.commit))
    if clone.submodules:
        clone.git("submodule", "--quiet", "update", "--init", "--recursive")


def _resolved(clone: _Clone, commit: str) -> str:
    """The full id of ``commit``, fetched if it is on no branch."""
    ask = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{commit}^{{commit}}")
    full = len(commit) in (40, 64)
    if full:
        # git takes any full id for granted; what is not here is fetched by its id.
        if not _has(clone, commit):
            clone.git("fetch", "--quiet", "origin", commit)
        return commit
    try:
        return clone.git(*ask).stdout.decode().strip()
    except RemoteError:
        clone.git("fetch", "--quiet", "--filter=blob:none", "origin")
    try:
        return clone.git(*ask).stdout.decode().strip()
    except RemoteError:
        raise Failed(
            f"no branch of {clone.url} has a commit {commit!r}",
            hint="write all 40 digits, and check that it was pushed",
        ) from None


def _has(clone: _Clone, commit: str) -> bool:
    # Offline: a partial clone would otherwise go and ask the server.
    done = command.run(
        ["rev-list", "--quiet", "--exclude-promisor-objects", "-1", commit],
        cwd=clone.path,
        check=False,
        timeout=_TIMEOUT,
    )
    return done.returncode == 0
