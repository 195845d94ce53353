"""The last sealed tree as the beginning of the next snapshot: copied, and changed where they differ."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from gitops_flow.checkout import copying, shared, tree
from gitops_flow.checkout.objects import DamagedError
from gitops_flow.checkout.workspace import NoWayError

if TYPE_CHECKING:
    from pathlib import Path

    from gitops_flow.checkout.copying import Copy
    from gitops_flow.checkout.fetching import Order
    from gitops_flow.checkout.objects import Reader
    from gitops_flow.checkout.shared import Key
    from gitops_flow.checkout.tree import Kind, Listing
    from gitops_flow.checkout.workspace import Workspace

# With more than this part of the files to write, all are written.
_TOO_MANY = 0.5


class Rest(NamedTuple):
    """What has yet to be made, and all that is there then."""

    missing: Listing
    kinds: dict[bytes, Kind]

    @classmethod
    def all_of(cls, listing: Listing) -> Rest:
        """Nothing is there."""
        return cls(listing, listing.kinds())


class Base:
    """A copy of the tree of ``key``, which has so many ``files``, under way."""

    def __init__(self, key: Key, copy: Copy, files: int) -> None:
        self._key = key
        self._copy = copy
        self._files = files
        # While git waits for the server.
        self._checking = threading.Thread(target=self._check, daemon=True)
        self._checking.start()

    def advance(self, root: Path, source: Reader, commit: str) -> Rest | None:
        """Remove from the copy, which is in ``root``, what ``commit`` lacks or has otherwise.

        None if it does not help here; then it has ended.
        """
        with contextlib.suppress(DamagedError, NoWayError, shared.BrokenError, OSError):
            gone, made = tree.compare(source, self._key.commit, commit, self._key.directories)
            many = len(made.files) > _TOO_MANY * self._files
            if not many and not _converts_otherwise(gone, made):
                self.join()
                kinds = self._copy.finish()
                if _hides_attributes(root, kinds):
                    return None
                _remove(root, gone)
                for path in gone.kinds():
                    del kinds[path]
                return Rest(made, kinds | made.kinds())
        self._copy.stop()
        return None

    def join(self) -> None:
        """Wait until nothing is read any more."""
        self._checking.join()

    def _check(self) -> None:
        with contextlib.suppress(shared.BrokenError):
            self._copy.check()


def begun(
    stack: contextlib.ExitStack, key: Key | None, order: Order, work: Workspace
) -> Base | None:
    """Begin to copy the tree of ``key`` into ``work``, if it is another one and can be used here."""
    if key is None or key.commit == order.commit:
        return None
    if not (key.shelf.is_private() and copying.possible(work)):
        return None
    with contextlib.suppress(NoWayError):
        found = shared.held(key)
        if found:
            stack.callback(found.close)
            copy = stack.enter_context(copying.started(found, work, order.places[-1].timeout))
            base = Base(key, copy, found.files)
            stack.callback(base.join)
            return base
    return None


def _converts_otherwise(gone: Listing, made: Listing) -> bool:
    """Whether attributes changed, by which files that did not are converted."""
    return any(file.path.endswith(b".gitattributes") for file in (*gone.files, *made.files))


def _hides_attributes(root: Path, kinds: dict[bytes, Kind]) -> bool:
    """Whether attributes are in an encoding (UTF-16, say) in which git does not read them."""
    base = os.fsencode(root) + b"/"
    for path, kind in kinds.items():
        if kind == "file" and path.endswith(b".gitattributes"):
            with open(base + path, "rb") as attributes:  # noqa: PTH123
                if b"\0" in attributes.read():
                    return True
    return False


def _remove(root: Path, gone: Listing) -> None:
    base = os.fsencode(root) + b"/"
    for path, kind in gone.kinds().items():
        if kind != "directory":
            os.unlink(base + path)  # noqa: PTH108
    # A directory comes after the one that it is in.
    for path in reversed(gone.directories):
        os.rmdir(base + path)  # noqa: PTH106
