"""Facts about the user's repository, read by the git program; nothing is written."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow.errors import GitError
from gitops_flow.git import command, url
from gitops_flow.git.formats import is_whole
from gitops_flow.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Repository settings that decide how a server is reached; a private store has to
# know them too (a CI checkout keeps its token in one).
_NETWORK = (
    "credential.",
    "http.",
    "url.",
    "ssh.",
    "core.sshcommand",
    "core.gitproxy",
    "core.askpass",
)


# Where CI systems say the branch, and the commit that they mean: GitHub, GitLab, Bitbucket, Azure
# (whose short name lacks all before the last slash) and Jenkins.
_CI = (
    ("GITHUB_REF_NAME", "GITHUB_SHA"),
    ("CI_COMMIT_REF_NAME", "CI_COMMIT_SHA"),
    ("BITBUCKET_BRANCH", "BITBUCKET_COMMIT"),
    ("BUILD_SOURCEBRANCH", "BUILD_SOURCEVERSION"),
    ("BUILD_SOURCEBRANCHNAME", "BUILD_SOURCEVERSION"),
    ("BRANCH_NAME", "GIT_COMMIT"),
)
_MERGE = "CI_MERGE_REQUEST_"

_QUESTION = (
    "rev-parse",
    "--is-bare-repository",
    "--show-object-format",
    "--absolute-git-dir",
    "--git-path",
    "objects",
    "--show-toplevel",
)


@dataclass(frozen=True, slots=True)
class Author:
    """Who deploys, as far as the environment tells.

    What is None is taken from git's configuration; ``login`` is for where that has no name.
    """

    name: str | None = None
    mail: str | None = None
    login: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Author:
        """As git's variables say, or CI's or the system's."""
        login = environ.get("GITHUB_ACTOR") or environ.get("USER") or environ.get("LOGNAME")
        return cls(environ.get("GIT_AUTHOR_NAME"), environ.get("GIT_AUTHOR_EMAIL"), login)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with a working tree or a bare one, or a plain folder (``git_dir`` None).

    ``root`` is the top of the working tree, of a bare repository that itself;
    ``objects`` its object database.
    ``config`` holds every setting that applies, in order: (scope, key, value)
    with key names in lower case as git prints them. ``own`` are directories of
    gitflow's, which are no part of the code wherever they are.
    """

    root: Path
    git_dir: Path | None = None
    objects: Path | None = None
    config: tuple[tuple[str, str, str], ...] = ()
    own: tuple[Path, ...] = ()

    @property
    def is_bare(self) -> bool:
        """Whether there is no working tree."""
        return self.root == self.git_dir

    def setting(self, key: str) -> str | None:
        """The last value of ``key`` (section and variable in lower case), or None."""
        last = None
        for _, name, value in self.config:
            if name == key:
                last = value
        return last

    def fetch_url(self, name: str) -> str | None:
        """The address that git would fetch from for the remote ``name``, or None."""
        return next(iter(self._all(f"remote.{name}.url")), None)

    def push_url(self, name: str) -> str | None:
        """The address, or the first of several, that git would push to for ``name``, or None."""
        return next(iter(self._all(f"remote.{name}.pushurl")), None) or self.fetch_url(name)

    def remote_urls(self, name: str) -> tuple[str, ...]:
        """Every address of the remote ``name``."""
        return (*self._all(f"remote.{name}.url"), *self._all(f"remote.{name}.pushurl"))

    def _all(self, key: str) -> list[str]:
        """The values of ``key``; an empty one takes back those before it, as in git."""
        values: list[str] = []
        for _, name, value in self.config:
            if name == key:
                values = [*values, value] if value else []
        return values

    def remotes(self) -> tuple[str, ...]:
        """Names of the configured remotes, in the order of the configuration."""
        names = dict.fromkeys(
            key[len("remote.") : -len(".url")]
            for _, key, _ in self.config
            if key.startswith("remote.") and key.endswith(".url")
        )
        return tuple(names)

    def network_config(self) -> tuple[tuple[str, str], ...]:
        """Settings local to this repository that a server connection needs."""
        pairs = []
        for scope, key, value in self.config:
            if scope not in ("local", "worktree"):
                continue
            promisor = key.startswith("remote.") and key.endswith(
                (".promisor", ".partialclonefilter", ".url", ".proxy")
            )
            if key.startswith(_NETWORK) or (promisor and self._is_promisor(key)):
                pairs.append((key, value))
        return tuple(pairs)

    def _is_promisor(self, key: str) -> bool:
        name = key.rsplit(".", 1)[0]
        return self.setting(f"{name}.promisor") == "true"

    def commits_of(self, name: str, remotes: Iterable[str] = ()) -> dict[str, str]:
        """The commits that ``name`` stands for, by the full name of the branch or tag.

        Branches and tags of this repository, and what is known here of the branches of
        ``remotes``. Empty for a name that git does not take.
        """
        try:
            url.check_branch(name)
        except GitError:
            return {}
        names = [f"refs/heads/{name}", f"refs/tags/{name}"]
        names += [f"refs/remotes/{remote}/{name}" for remote in remotes]
        form = "--format=%(refname) %(objectname) %(*objectname)"
        told = command.run(["for-each-ref", form, *names], cwd=self.root, timeout=60).stdout
        lines = [line.split() for line in os.fsdecode(told).splitlines()]
        # A pattern also finds what is below it; of an annotated tag its commit comes last.
        return {line[0]: line[-1] for line in lines if line[0] in names}

    def identity(self, author: Author) -> str:
        """Who deploys: ``Name <mail>`` as git knows them, else the login name."""
        name = author.name or self.setting("user.name")
        mail = author.mail or self.setting("user.email")
        name = name or author.login or "unknown"
        return f"{name} <{mail}>" if mail else name


def branch_of_ci(environ: Mapping[str, str], commit: str) -> str | None:
    """The branch that a CI job says it runs for; None where it says none, or of another commit.

    Most check a commit out and no branch. A job may have checked out something else
    than what it was started for: then what it says is not about ``commit``.
    """
    if environ.get("GITHUB_REF_TYPE") == "tag" or environ.get("CI_COMMIT_TAG"):
        return None
    # A fork has branches of the same names.
    if environ.get(f"{_MERGE}SOURCE_PROJECT_ID") != environ.get(f"{_MERGE}PROJECT_ID"):
        return None
    for name, of in _CI:
        if (branch := environ.get(name)) and environ.get(of, commit) == commit:
            branch = branch.removeprefix("refs/heads/")
            if branch.startswith("refs/") or branch == environ.get("TAG_NAME"):
                return None
            with contextlib.suppress(GitError):
                return url.check_branch(branch)
    return None


def discover(start: Path, own: tuple[Path, ...] = ()) -> Repository:
    """Find the repository that holds the directory ``start``; ``own`` is handed on.

    Returns a :class:`Repository` without ``git_dir`` when there is none.

    Raises:
        GitError: a bare repository, one that git refuses, or one with SHA-256 ids.
    """
    start = start.resolve()
    # Two questions at once: starting git is most of what an answer costs.
    with Threads(1) as side:
        settings = side.submit(_config, start)
        answer = command.run(_QUESTION, cwd=start, timeout=60, check=False)
    if answer.stdout.startswith(b"true"):
        raise GitError(
            "this is a bare repository, which has no working tree to deploy",
            where=str(start),
            hint="run gitflow in a clone of it",
        )
    if answer.returncode != 0:
        _explain_refusal(start, answer)
        return Repository(root=start, config=settings.result(), own=own)
    _, object_format, git_dir, objects, root = os.fsdecode(answer.stdout).split("\n", 4)
    _check_format(start, object_format)
    _refuse_inside(start, Path(git_dir))
    return Repository(
        root=Path(root.removesuffix("\n")),
        git_dir=Path(git_dir),
        objects=(start / objects).resolve(),
        config=settings.result(),
        own=own,
    )


def bare(git_dir: Path) -> Repository:
    """The bare repository at ``git_dir``, of which commits can be deployed.

    Raises:
        GitError: there is none, or one with SHA-256 ids.
    """
    git_dir = git_dir.resolve()
    if not is_whole(git_dir):
        raise GitError("there is no bare git repository", where=str(git_dir))
    made = Repository(git_dir, git_dir, git_dir / "objects", _config(git_dir, git_dir))
    _check_format(git_dir, made.setting("extensions.objectformat") or "sha1")
    return made


def _check_format(where: Path, object_format: str) -> None:
    if object_format != "sha1":
        raise GitError(
            f"the repository uses {object_format} object ids, which are not supported",
            where=str(where),
            hint="only SHA-1 repositories can be deployed at present",
        )


def _explain_refusal(start: Path, answer: command.Result) -> None:
    """Raise unless git's refusal only means that there is no repository here."""
    text = answer.stderr
    if "not a git repository" in text:
        broken = next((p / ".git" for p in (start, *start.parents) if (p / ".git").exists()), None)
        if broken is None:
            return
        raise GitError(
            f"the repository here is damaged, git does not know it: {command.tidy(text)}",
            where=str(broken),
            hint="mend it, or remove it to deploy the directory as a plain folder",
        )
    if "must be run in a work tree" in text:
        raise _own_files(start)
    if "dubious ownership" in text:
        raise GitError(
            "git refuses this repository because another user owns it",
            where=str(start),
            hint=f"git config --global --add safe.directory '{start}'",
        )
    raise GitError(f"git cannot read this repository: {command.tidy(text)}", where=str(start))


def _refuse_inside(start: Path, git_dir: Path) -> None:
    # A directory that a clone brought along may pose as a repository, settings and all.
    if start.is_relative_to(git_dir.resolve()):
        raise _own_files(start)


def _own_files(start: Path) -> GitError:
    return GitError(
        "this directory is inside a repository's own files, not its working tree",
        where=str(start),
        hint="run gitflow in the working tree",
    )


def _config(start: Path, git_dir: Path | None = None) -> tuple[tuple[str, str, str], ...]:
    answer = command.run(
        ["config", "--list", "-z", "--show-scope", "--includes"],
        cwd=start,
        env={"GIT_DIR": str(git_dir)} if git_dir else {},
        timeout=60,
        check=False,
    )
    if answer.returncode != 0:
        raise GitError(
            f"git's configuration cannot be read: {command.tidy(answer.stderr)}", where=str(start)
        )
    fields = os.fsdecode(answer.stdout).split("\0")
    items = []
    for scope, pair in zip(fields[::2], fields[1::2], strict=False):
        key, _, value = pair.partition("\n")
        items.append((scope, key, value))
    return tuple(items)
