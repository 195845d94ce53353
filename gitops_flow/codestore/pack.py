"""Keeping a repository of ours small: loose objects become a pack once there are many.

Only the private store and the embedded code store are packed, never the
user's repository. Nothing is deleted that is not in the new pack.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from gitops_flow.errors import GitError
from gitops_flow.git import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A snapshot that changes one file adds about six objects.
LOOSE_LIMIT = 4096
_BUCKETS = 256
_ID_REST = re.compile(r"[0-9a-f]{38}")


def tidy(git_dir: Path, limit: int = LOOSE_LIMIT) -> bool:
    """Pack the loose objects of ``git_dir`` if there are more than ``limit``; whether it did.

    A failure is none of the caller's: the objects stay as they are.
    """
    if not _many(git_dir, limit):
        return False
    env = {"GIT_DIR": str(git_dir)}
    listed = "".join(f"{name}\n" for name in _loose(git_dir)).encode("ascii")
    with contextlib.suppress(GitError):
        # By id and not by reachability: what is borrowed from the user's
        # repository may be gone, and must not be copied.
        command.run(
            ["pack-objects", "--quiet", "--threads=2", str(git_dir / "objects/pack/pack")],
            env=env,
            stdin=listed,
            timeout=300,
        )
        command.run(["prune-packed", "--quiet"], env=env, timeout=300)
        return True
    return False


def _many(git_dir: Path, limit: int) -> bool:
    """An estimate from one of the 256 directories; ids are spread evenly over them."""
    try:
        return sum(1 for _ in (git_dir / "objects/17").iterdir()) * _BUCKETS > limit
    except OSError:
        return False


def _loose(git_dir: Path) -> Iterator[str]:
    for number in range(_BUCKETS):
        directory = git_dir / "objects" / f"{number:02x}"
        with contextlib.suppress(OSError):
            for item in directory.iterdir():
                if _ID_REST.fullmatch(item.name):
                    yield f"{number:02x}{item.name}"


def collect(git_dir: Path, grace: int) -> None:
    """Drop unreachable objects older than ``grace`` seconds from an embedded code store.

    Raises:
        GitError: with what git said.
    """
    command.run(
        ["gc", "--quiet", f"--prune={grace}.seconds.ago"],
        env={"GIT_DIR": str(git_dir)},
        timeout=3600,
    )
