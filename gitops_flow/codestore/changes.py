"""What lies between two snapshots: files and lines, as git counts them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.codestore import select
from gitops_flow.errors import GitError
from gitops_flow.git import command, remote
from gitops_flow.model import FileChange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.store import PrivateStore

_KINDS: dict[str, Literal["added", "modified", "deleted"]] = {"A": "added", "D": "deleted"}
_COMPARE = ["diff-tree", "-r", "-z", "--raw", "--numstat", "--no-renames"]
_PLAIN = ["--no-ext-diff", "--no-textconv"]


@dataclass(frozen=True, slots=True)
class CodeChange:
    """From snapshot ``before`` to ``after`` (40 hex digits each).

    ``insertions`` and ``deletions`` are lines; binary files have none.
    """

    before: str
    after: str
    files: tuple[FileChange, ...]
    insertions: int
    deletions: int


def between(store: PrivateStore, target: CodeStore, before: str, after: str) -> CodeChange | None:
    """Compare two snapshots, fetching what is not here, and nothing else.

    None when the code store does not give it out (any more).
    """
    if not have(store, target, before) or not have(store, target, after):
        return None
    answer = command.run(
        [
            *_COMPARE,
            *_PLAIN,
            f"{before}^{{tree}}",
            f"{after}^{{tree}}",
            *_shipped(store, before, after),
        ],
        env=store.env(),
        timeout=120,
        check=False,
    )
    if answer.returncode:
        return None
    files, inserted, deleted = [], 0, 0
    for kind, more, less, path in _parse(os.fsdecode(answer.stdout)):
        if kind:
            files.append(FileChange(path, _KINDS.get(kind, "modified")))
        inserted, deleted = inserted + more, deleted + less
    return CodeChange(before, after, tuple(files), inserted, deleted)


def patch(
    store: PrivateStore, target: CodeStore, before: str, after: str, most: int
) -> bytes | None:
    """The first ``most`` bytes of what git shows between two snapshots; None as in :func:`between`."""
    if not have(store, target, before) or not have(store, target, after):
        return None
    trees = [f"{before}^{{tree}}", f"{after}^{{tree}}"]
    trees += _shipped(store, before, after)
    return command.head(["diff-tree", "-r", "-p", "-M", *_PLAIN, *trees], most, env=store.env())


def _shipped(store: PrivateStore, before: str, after: str) -> list[str]:
    """Arguments that leave out of a comparison what nobody deleted.

    These are the CI files of an older snapshot, when the newer one was taken without any.
    """
    objects = store.objects()
    old, new = (select.ci_files(objects, objects.commit(each).tree) for each in (before, after))
    gone = [] if any(True for _ in new) else [f":(exclude,literal){os.fsdecode(p)}" for p in old]
    return ["--", ".", *gone] if gone else []


def have(store: PrivateStore, target: CodeStore, commit: str) -> bool:
    """Have a snapshot's objects in the private store; False when no server gives them out."""
    if store.objects().has(commit):
        return True
    try:
        remote.fetch(
            store.path,
            target.url,
            [commit],
            depth=1,
            auth=target.auth,
            env=store.env(),
            config=store.repository.network_config(),
            timeout=120,
        )
    except GitError:
        return False
    return True


def _parse(text: str) -> Iterator[tuple[str, int, int, str]]:
    """``(kind, 0, 0, path)`` for each file and ``("", added, removed, path)`` for its lines."""
    fields = iter(text.split("\0"))
    for item in fields:
        if item.startswith(":"):
            yield item.rsplit(" ", 1)[1][:1], 0, 0, next(fields)
        elif item:
            more, less, path = item.split("\t", 2)
            yield "", int(more) if more != "-" else 0, int(less) if less != "-" else 0, path
