"""Git LFS: the content of large files in the place of the pointers that git keeps.

The pointer names the content by SHA-256, so wherever it is found (the working
tree, git-lfs's own storage) it is proven to be that content. No server is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.codestore import guard
from gitops_flow.errors import SnapshotError
from gitops_flow.git import command
from gitops_flow.git.formats import FILTER, pointer
from gitops_flow.git.objects import EXECUTABLE, FILE, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.formats import Pointer
    from gitops_flow.git.objects import Objects
    from gitops_flow.git.repository import Repository

LEFT_OUT = "the content of a Git LFS file: its pointer is shipped (‹lfs› ships the content)"


def contents(
    repo: Repository,
    store: PrivateStore,
    base: str | None,
    entries: Mapping[bytes, Entry | None] | None,
    allow: guard.Allowance,
    prefix: str = "",
) -> dict[bytes, Entry]:
    """The large files of a tree, each with its content stored as a blob.

    Args:
        repo: whose working tree it is; never written to.
        store: receives the blobs.
        base: the tree that ``entries`` go on top of, or None.
        entries: what differs from ``base``, None for what is not there. Without any the
            attributes of ``base`` itself count, else those of the working tree.
        allow: the limits on sizes, which hold for committed large files as well.
        prefix: what messages put before a path.

    Raises:
        SnapshotError: a content is nowhere on this machine, or it is too large.
    """
    objects = store.objects()
    pointers: dict[bytes, tuple[Entry, Pointer]] = {}
    for path, entry in _filtered(repo, store, objects, base, entries):
        if entry and entry.mode in (FILE, EXECUTABLE):
            wanted_content = pointer(objects.data(entry.id))
            if wanted_content and wanted_content.size:
                pointers[path] = (entry, wanted_content)
    guard.check_sizes({prefix + os.fsdecode(p): of.size for p, (_, of) in pointers.items()}, allow)
    made: dict[bytes, Entry] = {}
    missing = []
    for path, (entry, wanted) in pointers.items():
        blob = _blob(repo, store, objects, path, entry.id, wanted)
        if blob is None:
            missing.append(prefix + os.fsdecode(path))
        else:
            made[path] = Entry(entry.mode, blob)
    if missing:
        raise SnapshotError(
            "the content of Git LFS files is not on this machine",
            paths=tuple(missing),
            hint="fetch it with: git lfs pull",
        )
    return made


def pointers(
    repo: Repository,
    store: PrivateStore,
    base: str | None,
    entries: Mapping[bytes, Entry | None] | None,
    prefix: str = "",
) -> set[str]:
    """The files of a tree that are shipped as pointers; for the arguments see :func:`contents`."""
    objects = store.objects()
    shipped = set()
    for path, entry in _filtered(repo, store, objects, base, entries):
        # A partial clone may not have it; nothing is fetched for a message.
        here = entry and entry.mode in (FILE, EXECUTABLE) and objects.has(entry.id)
        if entry and here and pointer(objects.data(entry.id)):
            shipped.add(prefix + os.fsdecode(path))
    return shipped


def _filtered(
    repo: Repository,
    store: PrivateStore,
    objects: Objects,
    base: str | None,
    entries: Mapping[bytes, Entry | None] | None,
) -> Iterator[tuple[bytes, Entry | None]]:
    """The paths whose attributes name the filter ``lfs``, and what is there."""
    changed = entries or {}
    paths = {path for path, entry in changed.items() if entry is not None}
    if base:
        listed = command.run(["ls-tree", "-r", "-z", "--name-only", base], env=store.env())
        paths.update(listed.stdout.split(b"\0"))
    paths -= {b"", *(path for path, entry in changed.items() if entry is None)}
    if not paths:
        return
    for path in _with_filter(repo, store, base if entries is None else None, sorted(paths)):
        if path in changed:
            yield path, changed[path]
        elif base:
            yield path, objects.find(base, path)


def _with_filter(
    repo: Repository, store: PrivateStore, tree: str | None, paths: list[bytes]
) -> list[bytes]:
    """Those of ``paths`` that the attributes of ``tree``, or of the working tree, let LFS keep."""
    with contextlib.ExitStack() as stack:
        cached, env = [], store.worktree_env(repo)
        if tree:
            directory, _ = stack.enter_context(files.aside(store.path, "gitflow-index-"))
            env = store.worktree_env(repo, directory / "index")
            command.run(["read-tree", tree], cwd=repo.root, env=env, config=store.worktree_config)
            cached = ["--cached"]
        answer = command.run(
            ["check-attr", "-z", "--stdin", *cached, "filter"],
            cwd=repo.root,
            env=env,
            stdin=b"\0".join([*paths, b""]),
        )
    fields = answer.stdout.split(b"\0")
    return [p for p, value in zip(fields[0::3], fields[2::3], strict=False) if value == FILTER]


def _blob(
    repo: Repository,
    store: PrivateStore,
    objects: Objects,
    path: bytes,
    pointer_id: str,
    wanted: Pointer,
) -> str | None:
    """The id of the blob with the content, made if it is not known yet; None if it is nowhere."""
    known = store.path / "lfs-blobs" / pointer_id
    if known.exists():
        blob = known.read_text("ascii").strip()
        if objects.has(blob):
            return blob
    for place in _places(repo, path, wanted):
        data = _read(place, wanted)
        if data is not None:
            blob = objects.write_blob(data)
            known.parent.mkdir(exist_ok=True)
            known.write_text(blob, "ascii")
            return blob
    return None


def _places(repo: Repository, path: bytes, wanted: Pointer) -> Iterable[Path]:
    """Where the content may be: on disk as the user sees it, or as git-lfs keeps it."""
    if not repo.is_bare:
        yield repo.root / os.fsdecode(path)
    if repo.git_dir is not None and repo.objects is not None:
        storage = repo.objects.parent / (repo.setting("lfs.storage") or "lfs")
        name = wanted.sha256
        yield storage / "objects" / name[:2] / name[2:4] / name


def _read(place: Path, wanted: Pointer) -> bytes | None:
    try:
        if place.stat().st_size != wanted.size:
            return None
        data = place.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == wanted.sha256 else None
