"""A plugin for pytest: a test is run again only where the server's database was locked.

Now and then the services of a Prefect server lock its SQLite database for a minute, and every
request with them. A run in which that has happened too often fails, whatever became of its tests.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.support.prefect import DATABASE

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

MOST = 3
DELAY = 5.0
_LOCKED = "database is locked"
# The log of the server that the tests of this process use, and how much of it was looked at.
LOG = pytest.StashKey["Path"]()
_READ = pytest.StashKey[int]()


class LockedError(Exception):
    """A test failed while the server said that its database is locked."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what uses the shared server be run twice more."""
    again = pytest.mark.flaky(reruns=2, reruns_delay=DELAY, only_rerun=[_LOCKED])
    for item in items:
        if _uses_server(item):
            item.add_marker(again)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Look at the server's log when a fixture fails."""
    with _watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Look at the server's log when the test fails."""
    with _watched(item):
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how often it was, in the process that knows of all tests."""
    number = _number(terminalreporter)
    terminalreporter.write_line(f"reruns because the server's {_LOCKED}: {number} (at most {MOST})")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail what was rerun too often."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and session.exitstatus == 0 and _number(reporter) > MOST:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _number(reporter: pytest.TerminalReporter) -> int:
    return len(reporter.stats.get("rerun", ()))


@contextlib.contextmanager
def _watched(item: pytest.Item) -> Iterator[None]:
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        if _LOCKED in _said(item):
            raise LockedError(f"the server says: {_LOCKED}") from error
        raise
    _said(item)


def _said(item: pytest.Item) -> str:
    """What the server logged since it was asked last, and what its database says now."""
    place = item.config.stash.get(LOG, None)
    if place is None or not _uses_server(item):
        return ""
    with place.open(errors="replace") as log:
        log.seek(item.config.stash.get(_READ, 0))
        text = log.read()
        item.config.stash[_READ] = log.tell()
    # The server says so after a minute, when a test has given up long before.
    try:
        with contextlib.closing(sqlite3.connect(place.parent / DATABASE, timeout=1)) as database:
            database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        text += str(error)
    return text


def _uses_server(item: pytest.Item) -> bool:
    return "prefect_server" in getattr(item, "fixturenames", ())
