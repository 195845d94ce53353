"""The last snapshot as the beginning of the next one: copied, and changed where they differ."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from gitops_flow.checkout import copying, image, shared, tree
from gitops_flow.checkout.objects import DamagedError
from gitops_flow.checkout.tree import File, Listing
from gitops_flow.checkout.workspace import NoWayError
from gitops_flow.errors import GitflowError

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_flow.checkout.copying import Copy
    from gitops_flow.checkout.fetching import Order
    from gitops_flow.checkout.image import Image
    from gitops_flow.checkout.objects import Source
    from gitops_flow.checkout.shared import Key
    from gitops_flow.checkout.workspace import Workspace

# With more than this part of the files to write, all are written.
_TOO_MANY = 0.5
# An image with more than so many objects for each name is not the beginning of another.
_TOO_LARGE = 2


class Rest(NamedTuple):
    """What of a listing has yet to be written, always the links; and the files that are there."""

    listing: Listing
    missing: Listing
    kept: frozenset[bytes] = frozenset()

    @classmethod
    def all_of(cls, listing: Listing) -> Rest:
        """Nothing is there."""
        return cls(listing, listing)


class Base:
    """A copy of the last sealed tree under way, and the image of its snapshot.

    ``advanced`` says whether it was used.
    """

    def __init__(self, key: Key, copy: Copy, objects: Image) -> None:
        self.image = objects
        self.advanced = False
        self._key = key
        self._copy = copy
        self._listing: Listing | None = None
        # While git waits for the server.
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def advance(self, root: Path, source: Source, commit: str) -> Rest | None:
        """Remove from the copy, which is in ``root``, what is not in ``commit``, and all links.

        None if it does not help here; then it has ended.
        """
        self.join()
        old = self._listing
        # Images only grow from snapshot to snapshot, until one is read whole.
        if old and len(self.image) <= _TOO_LARGE * len(old):
            rest = _rest(old, tree.read(source, commit, self._key.directories, old))
            with contextlib.suppress(NoWayError, shared.BrokenError):
                if rest:
                    self._copy.finish()
                    _remove(root, old, rest)
                    self.advanced = True
                    return rest
        self._copy.stop()
        return None

    def join(self) -> None:
        """Wait until the image is read from no more."""
        self._reading.join()

    def _read(self) -> None:
        with contextlib.suppress(GitflowError, OSError, shared.BrokenError):
            self._listing = tree.read(self.image, self._key.commit, self._key.directories)
            self._copy.check()


def begun(
    stack: contextlib.ExitStack, key: Key | None, order: Order, work: Workspace
) -> Base | None:
    """Begin to copy the tree of ``key`` into ``work``, if it and its image can be used here."""
    if key is None or not (key.shelf.is_private() and copying.possible(work)):
        return None
    with contextlib.suppress(NoWayError, DamagedError):
        path = key.shelf.image(key.commit, key.directories)
        objects = stack.enter_context(image.opened(path))
        found = shared.held(key) if objects else None
        if objects and found:
            stack.callback(found.close)
            copy = stack.enter_context(copying.started(found, work, order.places[-1].timeout))
            base = Base(key, copy, objects)
            stack.callback(base.join)
            return base
    return None


def _rest(old: Listing, new: Listing) -> Rest | None:
    """What of ``new`` is not in ``old``; None if it is much, or converted in another way."""
    if _attributes(old) != _attributes(new):
        return None
    there = {file.path: file for file in old.files}
    known = set(old.directories)
    missing = Listing(
        new.commit,
        [path for path in new.directories if path not in known],
        [file for file in new.files if there.get(file.path) != file],
        new.links,
    )
    if len(missing.files) > _TOO_MANY * len(new.files):
        return None
    paths = {file.path for file in new.files}
    return Rest(new, missing, frozenset(paths.difference(file.path for file in missing.files)))


def _attributes(listing: Listing) -> list[File]:
    return [file for file in listing.files if file.path.endswith(b".gitattributes")]


def _remove(root: Path, old: Listing, rest: Rest) -> None:
    base = os.fsencode(root) + b"/"
    gone = [file.path for file in old.files if file.path not in rest.kept]
    for path in (*gone, *(link.path for link in old.links)):
        os.unlink(base + path)  # noqa: PTH108
    stay = set(rest.listing.directories)
    # A directory comes after the one that it is in.
    for path in reversed(old.directories):
        if path not in stay:
            os.rmdir(base + path)  # noqa: PTH106
