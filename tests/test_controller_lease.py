"""A lease on a real repository: one winner, whoever's clock says what."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gitops_flow.controller.lease import Lease
from gitops_flow.controller.repository import Login
from gitops_flow.errors import StoppedError
from gitops_flow.git import environment, formats, remote
from tests.support.repo import Repo

REF = "refs/gitflow/lease"


class Contender:
    """A controller on a machine of its own."""

    def __init__(self, directory: Path, server: Repo, seconds: float = 30.0) -> None:
        self.now = 0.0
        formats.make_bare(directory)
        login = Login(str(server.path), git=environment.current())
        self.lease = Lease(directory, lambda: login, REF, clock=lambda: self.now, seconds=seconds)
        self.address = str(server.path)

    def look(self) -> bool:
        """Look at the ref, as a poll does; whether the lease is free."""
        self.lease.seen(remote.ls_remote(self.address, REF), self.now)
        return self.lease.is_free

    def work(self) -> bool:
        """Whether it could be taken."""
        with self.lease.held() as stop:
            return stop is not None


@pytest.fixture
def server(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "server.git", bare=True)


def test_it_is_whose_it_is_until_it_has_not_moved_for_its_time_by_the_clock_of_who_watches(
    tmp_path: Path, server: Repo
) -> None:
    one, other = Contender(tmp_path / "1", server), Contender(tmp_path / "2", server)
    other.now = 1e9  # its clock is years off
    assert one.look()
    assert one.work()
    assert not other.look()
    assert not other.work()
    other.now += 29
    assert not other.look()
    assert one.work()
    other.now += 2
    assert not other.look()
    other.now += 30
    assert other.look()
    assert other.work()
    assert not one.work()
    assert not one.look()


def test_of_eight_contenders_one_wins_each_round(tmp_path: Path, server: Repo) -> None:
    contenders = [Contender(tmp_path / str(number), server) for number in range(8)]
    with environment.using(environment.current()), ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for each in contenders:
                each.look()
                each.now += 60
            assert sum(pool.map(Contender.work, contenders)) == 1


def test_it_is_renewed_while_it_is_worked_and_not_while_there_is_nothing_to_do(
    tmp_path: Path, server: Repo
) -> None:
    one = Contender(tmp_path / "1", server, seconds=0.3)
    one.look()
    values = set()
    with one.lease.held():
        for _ in range(40):
            values.add(remote.ls_remote(one.address, REF))
            if len(values) == 3:
                break
    assert len(values) == 3
    value = remote.ls_remote(one.address, REF)
    threading.Event().wait(0.3)
    assert remote.ls_remote(one.address, REF) == value


def test_an_old_answer_of_the_server_takes_nobodys_lease_away(tmp_path: Path, server: Repo) -> None:
    one = Contender(tmp_path / "1", server)
    one.look()
    before = one.now
    one.now += 5
    with one.lease.held() as stop:
        one.lease.seen(None, one.now + 1)
        assert one.lease.is_free
        assert stop is not None
    one.lease.seen("0" * 40, before)
    assert one.work()


def test_whoever_lost_it_is_stopped_at_once(tmp_path: Path, server: Repo) -> None:
    one = Contender(tmp_path / "1", server, seconds=0.3)
    other = Contender(tmp_path / "2", server)
    one.look()
    with one.lease.held() as stop:
        assert stop is not None
        other.look()
        other.now += 60
        while not other.work():  # as one of the two may be renewing it at this moment
            other.look()
            other.now += 60
        with pytest.raises(StoppedError, match="another controller has taken the lease"):
            stop.wait(20)


def test_whoever_cannot_renew_it_stops_before_anybody_else_can_take_it(
    tmp_path: Path, server: Repo
) -> None:
    one = Contender(tmp_path / "1", server, seconds=0.3)
    one.look()
    with one.lease.held() as stop:
        assert stop is not None
        server.path.rename(tmp_path / "away")
        one.now += 0.2
        with pytest.raises(StoppedError, match="could not be renewed"):
            stop.wait(20)
