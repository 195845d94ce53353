"""Which symbolic links stay inside a tree. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# As many as the kernel follows; more are a circle.
_MOST = 40


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
    while left and followed < _MOST:
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
