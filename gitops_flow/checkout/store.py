"""The objects of one pull: a bare store that lives as long as the pull."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gitops_flow.git import bare, command

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Store:
    """A bare repository without refs, remotes or configuration of its own."""

    path: Path

    # Keep what was fetched as one pack, and don't wait for the disk: the store is
    # thrown away in a moment.
    FETCH_CONFIG: ClassVar[tuple[tuple[str, str], ...]] = (
        ("fetch.unpackLimit", "1"),
        ("core.fsync", "none"),
    )

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make an empty store at ``path``."""
        bare.make(path)
        return cls(path)

    def borrow(self, repository: str, commit: str) -> bool:
        """Read the objects of a repository on this machine where they are.

        Nothing of its configuration is read, and every object is hashed by the
        reader, so it need not be trusted. False if ``repository`` is no plain
        path or lacks ``commit``; a fetch then says what is wrong.
        """
        place = objects_of(repository)
        if place is None:
            return False
        self.lend([place])
        if command.run(["cat-file", "-e", commit], env=self.environment(), check=False).returncode:
            bare.borrow(self.path, ())
            return False
        return True

    def lend(self, places: Iterable[Path], commits: Iterable[str] = ()) -> None:
        """Read the objects in ``places`` as well, in which ``commits`` are complete.

        As refs, they are what git tells a server that we have; 40 hex digits each.
        """
        bare.borrow(self.path, [place.resolve() for place in places])
        refs = "".join(f"{commit} refs/held/{commit}\n" for commit in sorted(commits))
        (self.path / "packed-refs").write_text(f"# pack-refs with: sorted \n{refs}")

    def forget_remotes(self) -> None:
        """Drop what a filtered fetch wrote into the configuration.

        With it, git would go to the network by itself for each missing object.
        """
        (self.path / "config").write_text(bare.CONFIG)

    def held(self, oids: Iterable[str]) -> set[str]:
        """Those of ``oids`` that are here."""
        out = command.run(
            ["cat-file", "--batch-check=%(objectname)", "--buffer"],
            env=self.environment(),
            stdin="".join(f"{oid}\n" for oid in oids).encode(),
        ).stdout
        return {line.decode() for line in out.splitlines() if b" " not in line}

    def packs(self, suffix: str = ".pack") -> list[Path]:
        """The files of that kind of its own packs, not of those lent to it."""
        return list((self.path / "objects" / "pack").glob(f"pack-*{suffix}"))

    def environment(self, tree: Path | None = None) -> dict[str, str]:
        """Variables for a git that reads this store and no configuration but ours.

        The worker's own settings (autocrlf, filters, attributes) would change
        bytes or run programs. ``tree`` is where attributes are looked up.
        """
        environment = {
            "GIT_DIR": str(self.path),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        return environment | ({"GIT_WORK_TREE": str(tree)} if tree else {})


def objects_of(repository: str) -> Path | None:
    """Where a repository has its objects, if it is one on this machine, given by a plain path."""
    if Path(repository).is_absolute():
        for place in (Path(repository, "objects"), Path(repository, ".git", "objects")):
            with contextlib.suppress(OSError):  # if it may not be read, a fetch says so
                if place.is_dir():
                    return place
    return None
