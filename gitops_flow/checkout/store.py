"""The objects of one pull: a bare store that lives as long as the pull."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gitops_flow.git import command


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
        """Make an empty store at ``path``, by hand: ``git init`` would take longer than a pull."""
        for directory in ("objects/info", "objects/pack", "refs"):
            (path / directory).mkdir(parents=True)
        (path / "HEAD").write_text("ref: refs/heads/none\n")
        (path / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        return cls(path)

    def borrow(self, repository: str, commit: str) -> bool:
        """Read the objects of a repository on this machine where they are.

        Nothing of its configuration is read, and every object is hashed by the
        reader, so it need not be trusted. False if ``repository`` is no plain
        path or lacks ``commit``; a fetch then says what is wrong.
        """
        if not Path(repository).is_absolute():
            return False
        for place in (Path(repository, "objects"), Path(repository, ".git", "objects")):
            if place.is_dir():
                break
        else:
            return False
        alternates = self.path / "objects" / "info" / "alternates"
        alternates.write_bytes(os.fsencode(place.resolve()) + b"\n")
        if command.run(["cat-file", "-e", commit], env=self.environment(), check=False).returncode:
            alternates.unlink()
            return False
        return True

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
