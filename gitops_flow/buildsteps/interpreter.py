"""Which Python runs the steps that are not ours: the user's, where their packages are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASK = "import importlib.util as u, sys; sys.exit(u.find_spec({!r}) is None)"


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
        if found and has_package(found, "prefect", environ):
            return found
    return sys.executable


def has_package(python: str, name: str, environ: Mapping[str, str]) -> bool:
    """Whether that Python has the package ``name``; it is looked for, not imported."""
    try:
        # From "/", where no directory of that name can be taken for it.
        done = subprocess.run(
            [python, "-c", _ASK.format(name)],
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
