"""Files by which a forge starts its CI: no run needs them, and in a code store they do harm.

GitHub refuses a push that brings them unless the token may change workflows, and
other forges would start pipelines on code that nobody committed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gitops_flow.git.objects import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitops_flow.codestore.worktree import Scan
    from gitops_flow.git.objects import Objects

LEFT_OUT = "CI configuration, which no run needs (--ci-files ships it)"

# Where each forge or service looks, from the top of a repository.
_PATH = re.compile(
    rb"""(?x)
    \.(github|gitea|forgejo)/workflows/[^/]+\.ya?ml
    | \.gitlab-ci\.yml
    | bitbucket-pipelines\.yml
    | \.?(azure-pipelines|vsts-ci)\.ya?ml
    | \.circleci/.+\.ya?ml
    | Jenkinsfile
    | \.travis\.yml
    | \.drone\.(ya?ml|star|jsonnet)
    | \.woodpecker(\.ya?ml|/.+\.ya?ml)
    | \.buildkite/pipeline[^/]*\.(ya?ml|json)
    | \.?appveyor\.ya?ml
    | \.cirrus\.(yml|star)
    | \.semaphore/.+\.ya?ml
    | \.build(\.yml|s/[^/]+\.yml)
    | \.onedev-buildspec\.yml
    | \.tekton/.+\.ya?ml
    """
)
_DIRECTORIES = frozenset(
    {b".github", b".gitea", b".forgejo", b".circleci", b".woodpecker", b".buildkite"}
    | {b".semaphore", b".builds", b".tekton"}
)


def is_ci_file(path: bytes) -> bool:
    """Whether a forge that has ``path`` (from the top, with "/") would start CI by it."""
    return bool(_PATH.fullmatch(path))


def drop(state: Scan) -> list[bytes]:
    """Take CI files out of what is taken from the working tree; which are there, on disk."""
    there = [path for path in state.untracked if is_ci_file(path)]
    there += [t.path for t in state.tracked if t.content != "deleted" and is_ci_file(t.path)]
    state.untracked = [path for path in state.untracked if not is_ci_file(path)]
    state.tracked = [each for each in state.tracked if not is_ci_file(each.path)]
    return there


def below(objects: Objects, tree: str) -> Iterator[bytes]:
    """The CI files of a tree. Only the directories that can hold some are read."""
    for name, entry in objects.tree(tree).items():
        if entry.mode != DIRECTORY:
            if is_ci_file(name):
                yield name
        elif name in _DIRECTORIES:
            for path in _files(objects, entry.id, name):
                if is_ci_file(path):
                    yield path


def _files(objects: Objects, tree: str, prefix: bytes) -> Iterator[bytes]:
    for name, entry in objects.tree(tree).items():
        path = prefix + b"/" + name
        if entry.mode == DIRECTORY:
            yield from _files(objects, entry.id, path)
        else:
            yield path
