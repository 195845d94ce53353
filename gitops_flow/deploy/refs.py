"""Whether the branch, tag or commit that a pull step names is the code that is deployed.

A snapshot takes the place of such a step. What the manifest says is taken at its word:
a deployment that names other code is refused, never given this.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gitops_flow import manifest
from gitops_flow.git import identity
from gitops_flow.manifest.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops_flow.deploy.source import Project
    from gitops_flow.git.repository import Repository
    from gitops_flow.manifest import Answers
    from gitops_flow.model import Problem, Snapshot

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


def problems(project: Project, snap: Snapshot, answers: Answers) -> list[Problem]:
    """An error for each pull step of the chosen deployments that names other code than ``snap``."""
    target = project.target
    return manifest.other_code(
        project.manifest,
        project.chosen,
        answers,
        is_own(project.repository),
        (target.url, target.pull_url, *target.mirrors),
        _CheckedOut(project, snap).differs,
    )


def is_own(repository: Repository) -> Callable[[str], bool]:
    """Whether an address is one of a repository's remotes."""
    own = set[str]().union(*_remotes(repository).values())
    return lambda address: identity.of(address) in own


def _remotes(repository: Repository) -> dict[str, set[str]]:
    """What the addresses of each remote stand for, by its name."""
    return {
        name: set(map(identity.of, repository.remote_urls(name))) for name in repository.remotes()
    }


class _CheckedOut:
    """What is checked out, and how it compares with what a pull step names."""

    def __init__(self, project: Project, snap: Snapshot) -> None:
        self._repository = project.repository
        self._snapshot = snap
        self._origin = snap.provenance
        self._remotes = _remotes(project.repository)
        self._answers: dict[tuple[str, str, str], tuple[str, str] | None] = {}

    def differs(self, address: str, key: str, value: str) -> tuple[str, str] | None:
        """What is wrong with a step that names ``value``, and what to do; None when nothing is."""
        asked = (address, key, value)
        if asked not in self._answers:
            self._answers[asked] = self._differs(*asked)
        return self._answers[asked]

    def _differs(self, address: str, key: str, value: str) -> tuple[str, str] | None:
        if key == "branch" and value == self._origin.ref:
            return None
        message = f"{quoted(value, 100)} is not what is deployed, which is {self._shown()}"
        if key == "commit":
            if value == self._snapshot.commit:
                return None
            return message, "take the line out: a deploy writes the pin"
        if not self._is_at_head(address, key, value):
            what = "that commit" if key == "commit_sha" else quoted(value, 100)
            return message, f"check {what} out and deploy from there, or take the line out"
        if self._origin.dirty:
            return message, "commit the changes, leave them out with ‹clean›, or take the line out"
        return None

    def _is_at_head(self, address: str, key: str, value: str) -> bool:
        """Whether a name stands for the commit that is checked out."""
        commit = self._origin.commit
        if commit is None:
            return False
        if key == "commit_sha":
            return bool(_COMMIT.fullmatch(value.lower())) and commit.startswith(value.lower())
        same = [name for name, own in self._remotes.items() if identity.of(address) in own]
        found = self._repository.commits_of(value, same if key == "branch" else ())
        # `git clone --branch` takes tags as well.
        return commit in [
            each for name, each in found.items() if key == "branch" or name.startswith("refs/tags/")
        ]

    def _shown(self) -> str:
        origin = self._origin
        if origin.commit is None:
            where = f"branch {origin.ref!r} without a commit" if origin.ref else "a plain folder"
        elif origin.ref:
            where = f"branch {origin.ref!r} at {origin.commit[:12]}"
        else:
            where = f"commit {origin.commit[:12]}, on no branch"
        return f"{where} with uncommitted changes" if origin.commit and origin.dirty else where
