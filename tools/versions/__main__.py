"""``python -m tools.versions prefect|python [VERSION ...]``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tools.versions import environments, outcome, table

if TYPE_CHECKING:
    from collections.abc import Iterable

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitops-flow-versions"
_PARALLEL = ("--dist", "loadfile", "--no-loadscope-reorder", "-n")


def main() -> int:
    """Try the versions that are named, or all; 1 when a test failed or nothing was tried."""
    parser = argparse.ArgumentParser(prog="python -m tools.versions")
    parser.add_argument("what", choices=("prefect", "python"))
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="such as 3.4")
    parser.add_argument(
        "--part", choices=tuple(outcome.PARTS), action="append", help="not all of the tests"
    )
    parser.add_argument("--jobs", default="2", help="tests at a time")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="where environments are kept")
    asked = parser.parse_args()
    known = tuple(environments.SERVERS) if asked.what == "prefect" else environments.PYTHONS
    if unknown := set(asked.versions) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: the versions are {', '.join(known)}")
    if asked.part and asked.what == "python":
        parser.error("--part is for prefect only")
    chosen = asked.versions or known
    counts = [
        _prefect(asked.cache, name, asked.jobs, asked.part or list(outcome.PARTS))
        if asked.what == "prefect"
        else _python(asked.cache, name, asked.jobs)
        for name in chosen
    ]
    tried = [count for count in counts if count is not None]
    return 0 if tried and all(each.passed and not each.failed for each in tried) else 1


def _prefect(cache: Path, name: str, jobs: str, parts: Iterable[str]) -> outcome.Count:
    try:
        python = environments.for_server(cache, name)
    except subprocess.CalledProcessError as error:
        return _not_made(name, error)
    version = environments.prefect_of(python)
    _say(f"Prefect {version}")
    counts = outcome.run(
        sys.executable,
        [*_PARALLEL, jobs, *_files(parts)],
        {"GITFLOW_TESTS_PREFECT_PYTHON": str(python)},
    )
    cells = [str(outcome.total(counts, files)) for files in outcome.PARTS.values()]
    if counts:
        table.write("prefect", ["Prefect", *outcome.PARTS], {version: cells})
    return outcome.total(counts)


def _python(cache: Path, name: str, jobs: str) -> outcome.Count | None:
    interpreter = environments.interpreter(name)
    if interpreter is None:
        _say(f"Python {name} is not installed here: not tried")
        return None
    try:
        python = environments.for_python(cache, name, interpreter)
    except subprocess.CalledProcessError as error:
        return _not_made(name, error)
    version = environments.python_of(python)
    _say(f"Python {version}")
    fast = outcome.total(outcome.run(python, ["-m", "not real", "-n", jobs], {}))
    arguments = ["-m", "real", *_PARALLEL, jobs, *_files(outcome.PARTS)]
    real = outcome.total(outcome.run(python, arguments, {}))
    if fast.passed or real.passed:
        heads = ["Python", "fast tests", "end to end"]
        table.write("python", heads, {version: [str(fast), str(real)]})
    return outcome.total({"fast": fast, "real": real})


def _files(parts: Iterable[str]) -> list[str]:
    return [file for part in parts for file in outcome.PARTS[part]]


def _not_made(name: str, error: subprocess.CalledProcessError) -> outcome.Count:
    _say(f"{name}: its environment cannot be made ({error})")
    return outcome.Count(failed=1)


def _say(line: str) -> None:
    sys.stdout.write(f"== {line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
