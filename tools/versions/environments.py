"""Environments for other Prefects and other Pythons, each made once and kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]

# Prefect's own requirements admit versions of these that its server does not start or
# schedule with.
_SQLALCHEMY = "sqlalchemy[asyncio]<2.1"
_FASTAPI_OF_2025 = "fastapi<0.120"
# Imported by these versions and not required by them.
_METADATA = "importlib_metadata"
# What is installed for each version of the server; the last of its minor version each.
# 3.8.8 and the newest 3.9 have exactly what the extra `prefect` says.
SERVERS: dict[str, tuple[str, ...]] = {
    "3.2": ("prefect==3.2.15", _FASTAPI_OF_2025, "pydantic<2.12", _SQLALCHEMY, _METADATA),
    "3.4": ("prefect==3.4.25", _FASTAPI_OF_2025, "pydantic<2.13", _SQLALCHEMY, _METADATA),
    "3.6": ("prefect==3.6.29", "fastapi<0.130", "starlette<1", _SQLALCHEMY, _METADATA),
    "3.8": ("prefect==3.8.8",),
    "3.9": ("prefect>=3.9,<3.10",),
}
# Of these the extra is installed, so that its range is tried at both ends.
IN_EXTRA = ("3.8", "3.9")
PYTHONS = ("3.12", "3.13")


def for_server(cache: Path, name: str) -> Path:
    """The Python of an environment with Prefect ``name``, a key of :data:`SERVERS`."""
    extra = "[prefect]" if name in IN_EXTRA else ""
    return _made(cache, f"prefect-{name}", sys.executable, (f".{extra}", *SERVERS[name]))


def for_python(cache: Path, name: str, interpreter: str) -> Path:
    """The Python of an environment with everything that the tests need, as `make` installs it."""
    constraints = ("-c", "constraints.txt")
    return _made(cache, f"python-{name}", interpreter, (*constraints, ".[prefect,controller,dev]"))


def interpreter(name: str) -> str | None:
    """A Python of minor version ``name`` (``3.12``) on this machine; None without one."""
    return next((path for path in _candidates(name) if _usable(path, name)), None)


def prefect_of(python: Path) -> str:
    """The version of Prefect in an environment."""
    return _said(python, "import importlib.metadata as m; print(m.version('prefect'))")


def python_of(python: Path | str) -> str:
    """The version of a Python, ``3.12.1``."""
    return _said(python, "import platform; print(platform.python_version())")


def _candidates(name: str) -> Iterator[str]:
    """Where Pythons are: on PATH, and where pyenv and uv keep those that are not on it."""
    if on_path := shutil.which(f"python{name}"):
        yield on_path
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or home / ".local/share/uv/python")
    for folder, pattern in ((pyenv, f"{name}.*"), (uv, f"cpython-{name}.*")):
        for found in sorted(folder.glob(pattern), reverse=True):
            yield str(found / "bin" / f"python{name}")


def _usable(path: str, name: str) -> bool:
    # A shim of pyenv is there for every version, and works for the chosen ones only.
    check = f"import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != {name!r})"
    try:
        done = subprocess.run([path, "-c", check], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _made(cache: Path, name: str, interpreter: str, wanted: Sequence[str]) -> Path:
    """Make the environment, unless the one that is there was made for the same requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {"all": project["dependencies"], **project["optional-dependencies"]}
    pinned = (ROOT / "constraints.txt").read_text() if "-c" in wanted else ""
    key = repr((python_of(interpreter), str(ROOT), wanted, sorted(ours.items()), pinned))
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    place = cache / f"{name}-{digest}"
    python, whole = place / "bin" / "python", place / "installed"
    if whole.exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([interpreter, "-m", "venv", str(place)], check=True)
    # Editable, so that workers run the code of this tree.
    editable = [part for item in wanted for part in (("-e",) if item[0] == "." else ()) + (item,)]
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *editable], cwd=ROOT, check=True)
    # Where the environment keeps pip from it, Prefect would be compiled at every start.
    compile_all = [str(python), "-m", "compileall", "-q", str(place / "lib")]
    subprocess.run(compile_all, stdout=subprocess.DEVNULL, check=False)
    whole.touch()
    return python


def _said(python: Path | str, code: str) -> str:
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
