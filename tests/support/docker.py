"""A Docker daemon of one's own with a Prefect image, made without any registry.

It takes minutes at first, so it is made only in a directory that
GITFLOW_TESTS_DOCKER names, where the next run finds it again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gitservers import running

VARIABLE = "GITFLOW_TESTS_DOCKER"
# Read now, for no test sees such a variable.
_NAMED = os.environ.get(VARIABLE)
BASE, STOCK, OURS = "gitflow-base:1", "gitflow-prefect:1", "gitflow-ours:1"
_ROOT = Path(__file__).parent.parent.parent
_PACKAGES = ("prefect-docker==0.7.4", "python-on-whales")
_PLACE = "/usr/local/lib/python3.11/dist-packages"
_SYSTEM = "python3,python3-pip,ca-certificates,git"
_PREFECT = f"""\
FROM {BASE}
COPY site {_PLACE}
RUN printf '#!/usr/bin/python3\\nfrom prefect.cli import app\\napp()\\n' > /usr/local/bin/prefect \\
 && chmod 755 /usr/local/bin/prefect
"""
_WITH_GITFLOW = f"""\
FROM {STOCK}
COPY *.whl /tmp/
RUN pip install --no-index --no-deps --break-system-packages /tmp/*.whl
"""


@dataclass(frozen=True)
class Docker:
    """A running daemon; ``environment`` makes clients, and Python's ``prefect_docker``, find it."""

    environment: dict[str, str]

    def run(self, *args: str) -> str:
        """``docker ARGS``; what it prints."""
        done = subprocess.run(
            ["docker", *args],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docker {args[0]}: {done.stdout}{done.stderr}"
        return done.stdout.strip()


@contextlib.contextmanager
def docker() -> Iterator[Docker]:
    """The daemon, with the images ``STOCK`` (Prefect alone) and ``OURS`` (gitops-flow as well).

    Skips the test, with the reason, where it cannot be had.
    """
    kept = _kept()
    socket, daemon = kept / "docker.sock", kept / "daemon"
    arguments = ["dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false"]
    arguments += ["--ip-forward=false", "--ip-masq=false", f"--host=unix://{socket}"]
    arguments += [f"--data-root={daemon}", f"--exec-root={kept}/exec", f"--pidfile={kept}/pid"]
    environment = {
        "DOCKER_HOST": f"unix://{socket}",
        "DOCKER_BUILDKIT": "0",
        "PYTHONPATH": str(_packages(kept)),
    }
    made = Docker(environment)
    path = f"{os.environ['PATH']}:/usr/sbin"
    with (
        _unmounted(kept / "exec/netns/default"),
        # runc keeps files there when something is executed in a container.
        running(
            arguments, kept, {**os.environ, "PATH": path, "XDG_RUNTIME_DIR": str(kept)}
        ) as process,
    ):
        until = time.monotonic() + 30
        while not socket.exists() or not _answers(made):
            if process.poll() is not None or time.monotonic() > until:
                tail = (kept / "dockerd.out").read_text()[-300:]
                pytest.skip(f"dockerd does not start on this machine: {tail}")
            time.sleep(0.1)
        _images(made, kept)
        yield made


@contextlib.contextmanager
def _unmounted(place: Path) -> Iterator[None]:
    """What the daemon leaves mounted would keep its directory from being removed."""
    try:
        yield
    finally:
        if place.exists():
            subprocess.run(["umount", place], capture_output=True, check=False)


def _kept() -> Path:
    if not _NAMED:
        pytest.skip(f"{VARIABLE} names no directory to keep a Docker daemon and its images in")
    if os.getuid() != 0:
        pytest.skip("dockerd needs root")
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the image of Debian 12 has Python 3.11, and takes its packages from here")
    for program, package in (
        ("docker", "docker.io"),
        ("dockerd", "docker.io"),
        ("mmdebstrap",) * 2,
    ):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.skip(f"{program} is not installed (Debian package {package})")
    kept = Path(_NAMED).resolve()
    kept.mkdir(parents=True, exist_ok=True)
    return kept


def _packages(kept: Path) -> Path:
    """What Prefect's Docker worker needs, beside what is installed here."""
    place = kept / "packages"
    if not place.exists():
        _or_skip([*_PIP, "install", "--no-deps", "--target", str(place), *_PACKAGES])
    return place


def _images(made: Docker, kept: Path) -> None:
    if not made.run("images", "--quiet", BASE):
        tar = kept / "base.tar"
        if not tar.exists():
            # By its name alone, it would be taken for a directory.
            options = ["--quiet", "--format=tar", "--variant=minbase", f"--include={_SYSTEM}"]
            _or_skip(["mmdebstrap", *options, "bookworm", f"{tar}.new"])
            Path(f"{tar}.new").rename(tar)
        made.run("import", str(tar), BASE)
    if not made.run("images", "--quiet", STOCK):
        with _context(kept, _PREFECT) as context:
            unwanted = shutil.ignore_patterns(
                "__pycache__",
                "__editable__*",
                "gitops_flow*",
                "*gitops_flow*",
                "pip",
                "mypy*",
                "ruff*",
            )
            shutil.copytree(sysconfig.get_path("purelib"), context / "site", ignore=unwanted)
            made.run("build", "--quiet", "--network=host", f"--tag={STOCK}", str(context))
    with _context(kept, _WITH_GITFLOW) as context:
        _or_skip([*_PIP, "wheel", "--no-deps", "--wheel-dir", str(context), str(_ROOT)])
        made.run("build", "--quiet", "--network=host", f"--tag={OURS}", str(context))


@contextlib.contextmanager
def _context(kept: Path, dockerfile: str) -> Iterator[Path]:
    context = kept / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    (context / "Dockerfile").write_text(dockerfile)
    yield context
    shutil.rmtree(context)


_PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


def _or_skip(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(command[:4])} ... failed: {done.stderr.strip()[-300:]}")


def _answers(made: Docker) -> bool:
    done = subprocess.run(
        ["docker", "info"],
        env={**os.environ, **made.environment},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0
