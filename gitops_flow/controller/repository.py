"""The repositories that sources are in: one question for all refs of one, and a mirror of it."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.codestore import store
from gitops_flow.controller.queue import Alone
from gitops_flow.errors import GitError
from gitops_flow.git import command, environment, formats, objects, remote, url
from gitops_flow.git.environment import GitEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from pathlib import Path

    from gitops_flow.errors import GitflowError
    from gitops_flow.git.command import Auth

# Seconds for a question; a server that does not answer keeps a worker for that long.
ASK_SECONDS = 30.0
_MANY_PACKS = 40
# Seconds that git may need for a ref.
_STALE = 60.0
_HEADS, _TAGS = "refs/heads/", "refs/tags/"


@dataclass(frozen=True, slots=True)
class Login:
    """How a repository is reached."""

    address: str
    auth: Auth | None = None
    git: GitEnvironment = field(default_factory=lambda: GitEnvironment({}))


@dataclass(frozen=True, slots=True)
class Refs:
    """What a repository answered, or why it did not; ``asked`` is when the question began."""

    asked: float
    commits: dict[str, str]
    head: str | None = None
    error: GitflowError | None = None

    def find(self, ref: str | None) -> tuple[str, str] | None:
        """The full name and the commit of a branch, a tag, or None for HEAD; None if there is none."""
        if ref is None:
            found = self.commits.get("HEAD")
            return (self.head or "HEAD", found) if found else None
        names = [ref] if ref.startswith("refs/") else [_HEADS + ref, _TAGS + ref]
        for name in names:
            if found := self.commits.get(f"{name}^{{}}") or self.commits.get(name):
                return name, found
        return None

    def branches(self, glob: str) -> dict[str, str]:
        """The branches that a glob names, without ``refs/heads/``, and their commits.

        One whose name is no text is none: nothing that shows or keeps it could hold it.
        """
        glob = glob.removeprefix(_HEADS)
        return {
            name.removeprefix(_HEADS): commit
            for name, commit in self.commits.items()
            if name.startswith(_HEADS)
            and fnmatch.fnmatchcase(name.removeprefix(_HEADS), glob)
            and name.encode("utf-8", "ignore").decode() == name
        }


def patterns(ref: str | None) -> tuple[str, ...]:
    """What to ask a server for, to know of ``ref``."""
    if ref is None:
        return ("HEAD",)
    if "*" in ref:
        # With HEAD, an answer without any branch shows whether the repository is there at all.
        return (_HEADS + ref.removeprefix(_HEADS), "HEAD")
    if ref.startswith("refs/"):
        return (ref, f"{ref}^{{}}")
    return (_HEADS + ref, _TAGS + ref, f"{_TAGS}{ref}^{{}}")


class Repository:
    """One repository, for all the sources that are in it.

    Args:
        login: how it is reached.
        directory: where its mirror is, which may be deleted at any time.
        clock: seconds, which only go forward.
        login_key: what is the same for all sources that reach it in the same way.
    """

    def __init__(
        self, login: Login, directory: Path, clock: Callable[[], float], login_key: Hashable = None
    ) -> None:
        self.login = login
        self.login_key = login_key
        digest = hashlib.sha256(login.address.encode("utf-8", "surrogateescape")).hexdigest()
        self.mirror = directory / f"{url.name_of(login.address)}-{digest[:8]}.git"
        self.wanted: dict[str, tuple[str, ...]] = {}
        self._clock = clock
        self._asking, self._fetching = Alone(), Alone()
        self._answer: Refs | None = None

    def refs(self, since: float, call: Callable[[], None]) -> Refs | None:
        """What it answers to a question that was asked after ``since``, for all its sources.

        None while another worker asks: ``call`` is called once there is an answer.
        """
        with self._asking.entered(call) as entered:
            if not entered:
                return None
            if self._answer is None or self._answer.asked < since:
                names = dict.fromkeys(each for some in self.wanted.values() for each in some)
                self._answer = self._ask(self._clock(), tuple(names))
            return self._answer

    def _ask(self, asked: float, names: tuple[str, ...]) -> Refs:
        login = self.login
        place = url.local_path(login.address)
        try:
            if place is not None and formats.is_whole(place):
                with contextlib.suppress(GitError):
                    return Refs(asked, *objects.refs(place, names))
            with environment.using(login.git):
                found = remote.list_refs(login.address, names, auth=login.auth, timeout=ASK_SECONDS)
        except GitError as error:
            return Refs(asked, {}, error=error)
        return Refs(asked, *found)

    def fetch(self, ref: str, commit: str, call: Callable[[], None]) -> str | None:
        """Have ``ref``'s code in the mirror; its commit, which may be newer than ``commit``.

        None while another worker fetches: ``call`` is called afterwards.

        Raises:
            GitflowError: the server does not give it.
        """
        with self._fetching.entered(call) as entered:
            if not entered:
                return None
            # The remote says which repository it is, and where its releases go.
            config = f'[remote "origin"]\n\turl = {_value(self.login.address)}\n'
            store.make(self.mirror, config)
            with files.locked(self.mirror / "gitflow.lock"):
                self._unlock()
                if self.read(ref) != commit:
                    remote.fetch(
                        self.mirror,
                        self.login.address,
                        [f"+{ref}:{_kept(ref)}"],
                        depth=1,
                        auth=self.login.auth,
                        config=(("fetch.unpackLimit", "1"),),
                    )
                    self._tidy()
                found = self.read(ref)
        if found is None:
            raise GitError(
                f"the fetched {ref} is not in the mirror", where=str(self.mirror), retry=True
            )
        return found

    def read(self, ref: str) -> str | None:
        """The commit of ``ref`` that the mirror has; of a ref of ours under its own name."""
        try:
            name = f"{_kept(ref)}^{{commit}}"
            answer = self.git("rev-parse", "--verify", "--quiet", name, check=False)
        except GitError:
            return None
        return answer.decode("ascii").strip() or None

    def remember(self, ref: str, commit: str | None) -> None:
        """Keep ``commit`` under a ref of ours, which begins with ``refs/gitflow/``; None drops it."""
        self.git("update-ref", *(["-d", ref] if commit is None else [ref, commit]))

    def changed(self, old: str, new: str) -> tuple[str, ...]:
        """The files that differ between two commits that the mirror has."""
        told = self.git("diff-tree", "-r", "--name-only", "--no-renames", "-z", old, new)
        return tuple(os.fsdecode(told).split("\0")[:-1])

    def files(self, commit: str) -> tuple[str, ...]:
        """Every file of a commit."""
        told = self.git("ls-tree", "-r", "--name-only", "-z", commit)
        return tuple(os.fsdecode(told).split("\0")[:-1])

    def git(self, *args: str, check: bool = True, config: Iterable[tuple[str, str]] = ()) -> bytes:
        """What git says of the mirror."""
        env = {"GIT_DIR": str(self.mirror)}
        return command.run(list(args), env=env, check=check, config=config).stdout

    def _unlock(self) -> None:
        """Remove the lock files that a git left which was killed."""
        for lock in (*self.mirror.glob("*.lock"), *(self.mirror / "refs").rglob("*.lock")):
            with contextlib.suppress(OSError):
                old = time.time() - lock.stat().st_mtime > _STALE
                if old and lock.name != "gitflow.lock":
                    lock.unlink()

    def _tidy(self) -> None:
        """Make one pack of many. What no ref names any more goes, once it is a week old."""
        packs = list((self.mirror / "objects/pack").glob("*.pack"))
        if len(packs) > _MANY_PACKS:
            self.git("gc", "--quiet", "--prune=1.week.ago")


def own_ref(what: str, name: str) -> str:
    """A ref of ours in the mirror, for ``what`` of a branch or a source.

    Branches may be called ``a`` one day and ``a/b`` the next, and their names may be as long as
    a file's may be.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"refs/gitflow/{what}/{digest[:40]}"


def _kept(ref: str) -> str:
    return ref if ref.startswith("refs/gitflow/") else own_ref("fetched", ref)


def _value(text: str) -> str:
    """A value in a git configuration."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
