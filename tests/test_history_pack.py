"""Loose objects become a pack once there are many, and nothing is lost on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitops_flow.codestore.store import drop_unreachable, tidy
from tests.support.releases import Shop
from tests.support.repo import Repo


@pytest.fixture
def store(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "store.git", bare=True)
    names = "\n".join(str(number) for number in range(600))
    for name in names.split("\n"):
        (tmp_path / name).write_text(name)
    paths = "\n".join(str(tmp_path / name) for name in names.split("\n"))
    made.git("hash-object", "-w", "--stdin-paths", stdin=paths.encode())
    return made


def _listed(store: Repo) -> set[str]:
    return set(store.git("cat-file", "--batch-all-objects", "--batch-check").splitlines())


def _loose(store: Repo) -> int:
    return int(store.git("count-objects").split()[0])


def test_objects_are_packed_when_there_are_more_than_the_limit(store: Repo) -> None:
    before = _listed(store)
    assert tidy(store.path, limit=100)
    assert _loose(store) == 0
    assert _listed(store) == before
    assert not tidy(store.path, limit=100)


def test_a_few_loose_objects_are_left_alone(store: Repo) -> None:
    assert not tidy(store.path)
    assert _loose(store) == 600


def test_what_cannot_be_packed_stays_as_it_is(store: Repo) -> None:
    (damaged,) = list(store.path.glob("objects/17/*"))[:1]
    damaged.chmod(0o644)
    damaged.write_bytes(b"damaged")
    assert not tidy(store.path, limit=100)
    assert _loose(store) == 600


def test_releases_go_on_from_a_packed_private_store(shop: Shop) -> None:
    shop.release("1\n")
    (store,) = (shop.base / "cache/stores").glob("*.git")
    tidy(store, limit=-1)
    assert shop.release("2\n").pushed
    assert not shop.release("1\n").pushed
    shop.server.git("fsck", "--strict")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_unreachable_objects_of_an_embedded_store_go_after_a_while_only(store: Repo) -> None:
    drop_unreachable(store.path, 3600)
    assert len(_listed(store)) == 600
    for path in store.path.glob("objects/??/*"):
        os.utime(path, (0, 0))
    drop_unreachable(store.path, 3600)
    assert _listed(store) == set()
