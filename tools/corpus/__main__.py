"""``python -m tools.corpus FOLDER``: one line per manifest, and a summary."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

from gitops_flow import local
from tests.support.differential import caller
from tools.corpus import world
from tools.corpus.verdict import judge

# What is ours to mend or to document.
_WRONG = ("TRACEBACK", "differ", "only we refuse")


def main() -> int:
    """Judge every manifest of a folder; 1 when something is ours to mend."""
    parser = argparse.ArgumentParser(prog="python -m tools.corpus")
    parser.add_argument("folder", type=Path, help="where the manifests (*.yaml) are")
    parser.add_argument("--select", default="*.yaml", metavar="GLOB", help="which of them")
    parser.add_argument("--only-ours", action="store_true", help="without prefect deploy")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for each command")
    asked = parser.parse_args()
    manifests = sorted(path for path in asked.folder.glob(asked.select) if path.is_file())
    if not manifests:
        parser.error(f"no file of {asked.folder} matches {asked.select}")
    counts: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(prefix="gitflow-corpus-server-") as home,
        local.start_server(Path(home), environ=os.environ, ui=False) as server,
    ):
        ask = caller(server.api_url)
        world.remove(ask)
        for path in manifests:
            verdict = judge(
                ask, server.api_url, path, only_ours=asked.only_ours, timeout=asked.timeout
            )
            counts[verdict.kind] += 1
            _say(f"{path.name}: {verdict.kind}: {verdict.detail}")
    _say(", ".join(f"{count} {kind}" for kind, count in counts.most_common()))
    return 1 if any(counts[kind] for kind in _WRONG) else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
