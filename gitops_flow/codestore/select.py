"""What of a working tree or a commit is in a snapshot, what is left out, and what is refused."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from typing import TYPE_CHECKING

from gitops_flow.codestore import detect, guard
from gitops_flow.errors import SnapshotError
from gitops_flow.files import MAX_DEPTH
from gitops_flow.git.formats import pointer
from gitops_flow.git.objects import DIRECTORY, GITLINK, SYMLINK, Entry, Objects
from gitops_flow.model import LeftOut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_flow.codestore.scan import Scan
    from gitops_flow.codestore.snapshot import Options
    from gitops_flow.git.repository import Repository

CI_FILE = "CI configuration, which no run needs (‹ci_files› ships it)"

# Files by which a forge starts its CI do harm in a code store: GitHub refuses a push that
# brings them unless the token may change workflows, and other forges would start pipelines on
# code that nobody committed. Where each forge or service looks, from the top of a repository:
_CI_PATH = re.compile(
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
_CI_DIRECTORIES = frozenset(
    {b".github", b".gitea", b".forgejo", b".circleci", b".woodpecker", b".buildkite"}
    | {b".semaphore", b".builds", b".tekton"}
)

# As many links as the kernel follows; more are a circle.
_MOST_LINKS = 40


def deep_files(paths: Iterable[bytes], prefix: str) -> None:
    """Refuse files that lie deeper than any worker would take.

    Raises:
        SnapshotError: there are some.
    """
    if deep := list(paths):
        raise SnapshotError(
            f"a file lies more than {MAX_DEPTH} directories deep",
            paths=tuple(f"{(prefix + os.fsdecode(path))[:80]}..." for path in deep[:10]),
            hint="move it up; one that git does not track can be listed in .gitflowignore",
        )


def names_and_sizes(
    repo: Repository,
    paths: Iterable[bytes],
    options: Options,
    prefix: str,
    others: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Refuse files by their names and sizes, before any content is read; returns the sizes.

    ``others`` are the sizes of files that were checked before, and count in the sum.

    Raises:
        SnapshotError: some look like secrets, or are too large.
    """
    top = os.fsencode(repo.root)
    sizes = dict(others or {})
    names: dict[str, str] = {}
    for path in paths:
        shown = prefix + os.fsdecode(path)
        try:
            info = os.lstat(os.path.join(top, path))  # noqa: PTH118
        except OSError:
            continue
        if stat.S_ISREG(info.st_mode):
            sizes[shown] = info.st_size
            if detect.secret_name(shown) and not options.allow.allows(shown):
                names[shown] = "by its name"
    guard.check_sizes(sizes, options.allow)
    guard.refuse_secrets(names)
    return sizes


def contents(
    objects: Objects,
    paths: Iterable[bytes],
    entries: Mapping[bytes, Entry | None],
    options: Options,
    prefix: str,
    harmless: guard.Harmless | None = None,
) -> set[str]:
    """Refuse files with secrets in exactly what would be published (after filters).

    Returns:
        The files that turn out to be Git LFS pointers.

    Raises:
        SnapshotError: some hold what looks like a secret.
    """
    reasons: dict[str, str] = {}
    pointers = set()
    for path in paths:
        entry = entries.get(path)
        shown = prefix + os.fsdecode(path)
        if entry is None or entry.mode in (SYMLINK, GITLINK) or options.allow.allows(shown):
            continue
        if harmless and harmless.has(entry.id):
            continue
        data = objects.data(entry.id)
        if pointer(data):
            pointers.add(shown)
        secret = harmless.search(entry.id, data) if harmless else detect.secret_in(data)
        if secret:
            reasons[shown] = f"line {secret.line}: {secret.rule}"
    if harmless:
        harmless.keep()
    guard.refuse_secrets(reasons)
    return pointers


def is_ci_file(path: bytes) -> bool:
    """Whether a forge that has ``path`` (from the top, with "/") would start CI by it."""
    return bool(_CI_PATH.fullmatch(path))


def drop_ci_files(state: Scan) -> list[bytes]:
    """Take CI files out of what is taken from the working tree; which are there, on disk."""
    there = [path for path in state.untracked if is_ci_file(path)]
    there += [t.path for t in state.tracked if t.content != "deleted" and is_ci_file(t.path)]
    state.untracked = [path for path in state.untracked if not is_ci_file(path)]
    state.tracked = [each for each in state.tracked if not is_ci_file(each.path)]
    return there


def ci_files(objects: Objects, tree: str) -> Iterator[bytes]:
    """The CI files of a tree. Only the directories that can hold some are read."""
    for name, entry in objects.tree(tree).items():
        if entry.mode != DIRECTORY:
            if is_ci_file(name):
                yield name
        elif name in _CI_DIRECTORIES:
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


def left_out(state: Scan, prefix: str) -> list[LeftOut]:
    """What of a working tree is no part of its code."""
    groups = (
        (state.ignored, "ignored"),
        (state.nested, "a repository of its own"),
        (state.litter, "bytecode or litter"),
        (state.environments, "a virtual environment, which works on this machine only"),
        (state.own, "gitflow's own"),
    )
    return [LeftOut(prefix + os.fsdecode(p), why) for paths, why in groups for p in sorted(paths)]


def uncommitted(state: Scan, prefix: str) -> list[LeftOut]:
    """What of a working tree differs from its commit, which is taken instead."""
    differing = [
        (each.path, "deleted" if each.content == "deleted" else "modified")
        for each in state.tracked
    ]
    differing += [(path, "untracked") for path in state.untracked]
    differing += [(path, "in conflict") for path in state.conflicts]
    return [
        LeftOut(prefix + os.fsdecode(path), f"not committed ({why})")
        for path, why in sorted(differing)
    ]


def taken_out(
    objects: Objects, state: Scan, entries: Mapping[bytes, Entry | None], prefix: str
) -> tuple[dict[bytes, Entry | None], list[LeftOut]]:
    """What is not to be in the tree: our own, and links that leave it; a worker refuses these."""
    links = {path: object_id for path, object_id in state.links if path not in entries}
    links |= {p: e.id for p, e in entries.items() if e is not None and e.mode == SYMLINK}
    targets = {path: objects.data(found) for path, found in links.items() if objects.has(found)}
    removed: dict[bytes, Entry | None] = {place.rstrip(b"/"): None for place in state.own}
    leaving = [path for path in sorted(targets) if leaves_tree(path, targets)]
    removed |= dict.fromkeys(leaving)
    why = "a link that leaves the repository"
    return removed, [LeftOut(prefix + os.fsdecode(path), why) for path in leaving]


def leaves_tree(path: bytes, targets: Mapping[bytes, bytes]) -> bool:
    """Whether the link at ``path`` points outside the tree's root, by itself or through others.

    Args:
        path: one of ``targets``.
        targets: every link of the tree, and what it says.
    """
    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), targets[path]))
    if targets[path].startswith(b"/") or where == b".." or where.startswith(b"../"):
        return True
    here, left = path.split(b"/")[:-1], targets[path].split(b"/")[::-1]
    followed = 0
    while left and followed < _MOST_LINKS:
        name = left.pop()
        if name == b"..":
            if not here:
                return True
            here.pop()
        elif name not in (b"", b"."):
            here.append(name)
            if (target := targets.get(b"/".join(here))) is not None:
                if target.startswith(b"/"):
                    return True
                followed += 1
                here.pop()
                left += target.split(b"/")[::-1]
    return False


def submodules(
    links: list[bytes],
    options: Options,
    prefix: str,
    removed: dict[bytes, Entry | None],
    listed: list[LeftOut],
) -> list[bytes]:
    """The submodules that are not ignored; the others are noted in ``removed`` and ``listed``."""
    kept = []
    for path in links:
        shown = prefix + os.fsdecode(path)
        if options.ignores_submodule(shown):
            removed[path] = None
            listed.append(LeftOut(shown, "a submodule that is ignored"))
        else:
            kept.append(path)
    return kept
