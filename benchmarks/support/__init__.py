"""Shared by the benchmarks: timing two things in turns, and a line that compares them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turns(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """The median seconds of each, run alternately so that both see the same machine."""
    a, b = [], []
    for _ in range(rounds):
        a.append(seconds(ours))
        b.append(seconds(theirs))
    return statistics.median(a), statistics.median(b)


def compare(work: str, ours: float, theirs: float, against: str) -> None:
    """Print one row: both figures, and how many times as fast ours is."""
    print(
        f"{work:<58} ours {ours * 1000:9.1f} ms   {against} {theirs * 1000:9.1f} ms   "
        f"{theirs / ours:6.2f} x as fast",
        flush=True,
    )


def command(*args: str | Path, cwd: Path | None = None, **env: str) -> bytes:
    """Run a program to its end; its output. Loud when it fails."""
    done = subprocess.run(
        args, cwd=cwd, env={**os.environ, **env}, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"{args}: {done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout


def isolate(base: Path) -> None:
    """Keep this process and its children away from the machine's own configuration."""
    for name in [n for n in os.environ if n.startswith(("PREFECT_", "GITFLOW_", "GIT_"))]:
        if "SSL" not in name:
            del os.environ[name]
    config = base / "gitconfig"
    config.write_text(
        "[user]\n\tname = Bench\n\temail = bench@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"
    )
    os.environ.update(
        HOME=str(base),
        GIT_CONFIG_GLOBAL=str(config),
        GIT_CONFIG_NOSYSTEM="1",
        XDG_CACHE_HOME=str(base / "cache"),
        XDG_DATA_HOME=str(base / "data"),
        PREFECT_HOME=str(base / "prefect"),
    )
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
