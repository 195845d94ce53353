"""Which Python runs the steps that are not ours: the user's, where their packages are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASK = "import importlib.util as u, sys; sys.exit(u.find_spec('prefect') is None)"


def find(environ: Mapping[str, str]) -> str:
    """The path of the user's Python.

    That of the activated virtual environment; else the first ``python3`` or
    ``python`` on PATH that has Prefect; else our own.
    """
    if active := environ.get("VIRTUAL_ENV"):
        for name in ("python", "python3"):
            own = Path(active, "bin", name)
            if own.is_file():
                return str(own)
    for name in ("python3", "python"):
        found = shutil.which(name, path=environ.get("PATH", ""))
        if found and _has_prefect(found, environ):
            return found
    return sys.executable


def _has_prefect(python: str, environ: Mapping[str, str]) -> bool:
    """Whether Prefect is installed there; it is looked for, not imported."""
    try:
        # From "/", where no directory named prefect can be taken for it.
        done = subprocess.run(
            [python, "-c", _ASK],
            cwd="/",
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
