"""Which tests of ours are run again, and how often that may be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

_CONFTEST = """
import pytest
from tests.support import reruns

reruns.DELAY = 0

def pytest_configure(config):
    config.pluginmanager.register(reruns)

@pytest.fixture(scope="session")
def prefect_server(request, tmp_path_factory):
    log = request.config.stash[reruns.LOG] = tmp_path_factory.getbasetemp() / "server.log"
    log.touch()
    return log

@pytest.fixture
def locks(prefect_server):
    def lock():
        with prefect_server.open("a") as file:
            file.write("sqlite3.OperationalError: database is locked\\n")
    return lock
"""
_COUNTED = "reruns because the server's database is locked:"
_TESTS = """
import pathlib
import sqlite3
import pytest

def first(name):
    place = pathlib.Path(__file__).parent / name
    place.touch() if (new := not place.exists()) else None
    return new

@pytest.mark.parametrize("number", range(4))
def test_locked(locks, number):
    if first(f"locked-{number}"):
        locks()
        pytest.fail("not there")

@pytest.fixture
def refused(locks):
    if first("setup"):
        locks()
        raise OSError("refused")

def test_setup(refused): ...

held = {}

def test_held(prefect_server):
    if first("held"):
        database = held["it"] = sqlite3.connect(prefect_server.parent / "prefect.db")
        database.execute("BEGIN EXCLUSIVE")
        assert False
    held["it"].close()

def test_other(prefect_server):
    assert not first("other")

def test_later(locks):
    locks()

def test_later_other(prefect_server):
    assert not first("later")
"""


def _pytest(place: Path, *arguments: str) -> tuple[int, str]:
    (place / "conftest.py").write_text(_CONFTEST)
    (place / "test_small.py").write_text(_TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return done.returncode, done.stdout


def test_only_a_locked_database_is_a_reason_to_run_a_test_again(tmp_path: Path) -> None:
    status, told = _pytest(tmp_path, "-k", "setup or held or other")
    assert status == 1, told
    assert re.findall(r"^FAILED test_small.py::(\w+)", told, re.M) == [
        "test_other",
        "test_later_other",
    ]
    assert f"{_COUNTED} 2 (" in told, told


@pytest.mark.parametrize(
    ("how", "most", "code"),
    [((), 3, 0), ((), 4, 1), (("-n2",), 4, 1)],
    ids=["three", "four", "four of two processes"],
)
def test_more_than_three_reruns_fail_a_run_of_which_every_test_passes(
    tmp_path: Path, how: tuple[str, ...], most: int, code: int
) -> None:
    chosen = " or ".join(f"locked and {number}" for number in range(most))
    status, told = _pytest(tmp_path, *how, "-k", chosen)
    assert "failed" not in told
    assert f"{_COUNTED} {most} (at most 3)" in told, told
    assert status == code
