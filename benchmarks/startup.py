"""``gitflow --version`` against ``prefect --version``: what every command pays before it works."""

from __future__ import annotations

import tempfile
from pathlib import Path

from support import BIN, command, compare, in_turns, isolate


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        isolate(Path(directory))
        ours, theirs = in_turns(
            lambda: command(BIN / "gitflow", "--version"),
            lambda: command(BIN / "prefect", "--version"),
            rounds=7,
        )
        compare("--version", ours, theirs, "prefect")


if __name__ == "__main__":
    main()
