"""The files of a snapshot or commit by path, and which directory an entrypoint is relative to."""

from __future__ import annotations

import itertools
import posixpath
from typing import TYPE_CHECKING

from gitops_flow import names
from gitops_flow.git.objects import DIRECTORY, GITLINK, SYMLINK, Entry, Objects

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINKS = 10
# Files among which a misspelt name is looked for.
_MOST_FILES = 5000


class Files:
    """Files of a snapshot's tree, by path with "/"; what a worker will find."""

    def __init__(self, objects: Objects, tree: str) -> None:
        self._objects = objects
        self._tree = tree

    def read(self, path: str) -> bytes | None:
        """The content of a file, following links inside the tree; None if there is none."""
        found = self.blob_id(path)
        return None if found is None else self._objects.data(found)

    def blob_id(self, path: str) -> str | None:
        """The object id of a file's content, following links inside the tree."""
        for _ in range(_MOST_LINKS):
            normal = posixpath.normpath(path)
            if normal.startswith(("../", "/")) or normal in ("..", "."):
                return None
            found = self._walk(normal)
            if found is None:
                return None
            reached, rest, entry = found
            if entry.mode in (DIRECTORY, GITLINK):
                return None
            if entry.mode != SYMLINK:
                return entry.id
            target = self._objects.data(entry.id).decode("utf-8", "surrogateescape")
            path = posixpath.join(posixpath.dirname(reached), target, rest)
        return None

    def nearest(self, directory: str, path: str) -> str | None:
        """The Python file below ``directory`` whose path is most like ``path``."""
        found = self._walk(directory) if directory else ("", "", Entry(DIRECTORY, self._tree))
        if found is None or found[2].mode != DIRECTORY:
            return None
        known = list(itertools.islice(self._python_files(found[2].id, ""), _MOST_FILES))
        same_name = [each for each in known if posixpath.basename(each) == posixpath.basename(path)]
        return names.nearest(path, known) or (same_name[0] if same_name else None)

    def _python_files(self, tree: str, prefix: str) -> Iterator[str]:
        for name, entry in self._objects.tree(tree).items():
            path = prefix + _text(name)
            if entry.mode == DIRECTORY:
                yield from self._python_files(entry.id, f"{path}/")
            elif path.endswith(".py"):
                yield path

    def _walk(self, path: str) -> tuple[str, str, Entry] | None:
        """How far ``path`` leads without following a link, what is left of it, and what is there."""
        parts = path.encode("utf-8", "surrogateescape").split(b"/")
        entry: Entry | None = Entry(DIRECTORY, self._tree)
        for at, name in enumerate(parts):
            if entry is None or entry.mode not in (DIRECTORY, SYMLINK):
                return None
            if entry.mode == SYMLINK:
                reached, rest = b"/".join(parts[:at]), b"/".join(parts[at:])
                return _text(reached), _text(rest), entry
            entry = self._objects.tree(entry.id).get(name)
        return (path, "", entry) if entry is not None else None


def directory_of(files: Files, entrypoint: str, base: str, here: str | None = None) -> str:
    """The directory that ``entrypoint`` is relative to: the manifest's, the root, or the current one.

    Real manifests use all of them; the choice is the first in which the file exists.
    ``base`` is the manifest's directory, "" at the root; ``here`` the current one, None
    outside the repository.
    """
    module = entrypoint.rsplit(":", 1)[0]
    if module.endswith(".py"):
        candidates = [module]
    else:
        dotted = module if ":" in entrypoint else entrypoint.rsplit(".", 1)[0]
        path = dotted.replace(".", "/")
        candidates = [
            f"{top}{path}{end}" for top in ("", "src/") for end in (".py", "/__init__.py")
        ]
    for directory in dict.fromkeys((base, "", base if here is None else here)):
        if any(files.blob_id(posixpath.join(directory, path)) for path in candidates):
            return directory
    return base


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
