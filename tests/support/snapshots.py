"""Snapshots as tests take them, and a look into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_flow.codestore import guard, snapshot
from gitops_flow.codestore.store import PrivateStore, open_store
from gitops_flow.git import repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitops_flow.git.objects import Objects
    from gitops_flow.model import Snapshot


class Taken:
    """A snapshot together with a way to look into it."""

    def __init__(self, snap: Snapshot, store: PrivateStore) -> None:
        self.snap = snap
        self.store = store

    @property
    def objects(self) -> Objects:
        return self.store.objects()

    def files(self) -> dict[bytes, tuple[int, bytes]]:
        return dict(self._walk(self.snap.tree, b""))

    def _walk(self, tree: str, prefix: bytes) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
        for name, entry in self.objects.tree(tree).items():
            if entry.mode == 0o040000:
                yield from self._walk(entry.id, prefix + name + b"/")
            else:
                yield prefix + name, (entry.mode, self.objects.data(entry.id))

    def content(self, path: bytes) -> bytes:
        return self.files()[path][1]

    @property
    def left_out(self) -> dict[str, str]:
        return {item.path: item.reason for item in self.snap.left_out}

    @property
    def changes(self) -> dict[str, str]:
        return {change.path: change.kind for change in self.snap.changes}


def look(path: Path, cache: Path, store: str = "store", **options: Any) -> Taken:
    """Snapshot the working tree at ``path``; options of ``Options`` and of ``Allowance``."""
    limits = ("secrets", "file_limit", "total_limit")
    allow = guard.Allowance(**{key: options.pop(key) for key in limits if key in options})
    repo = repository.discover(path, own=(cache,))
    private = open_store(cache, repo, store)
    chosen = snapshot.Options(allow=allow, **options)
    return Taken(snapshot.take(repo, private, chosen, source="s", author="A <a@b>"), private)
