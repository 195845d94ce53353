"""Paths and links that lead out: each attack is mounted, with its defences and without.

As in test_attacks.py, the table names every defence of an attack.
"""

from __future__ import annotations

import os
import re
import time
from functools import partial

from gitops_flow.codestore import publish, snapshot
from gitops_flow.codestore.ledger import Release
from gitops_flow.codestore.store import open_store
from gitops_flow.git import repository
from tests.support.attacks import (
    FLOW,
    MANIFEST,
    SECRET,
    Attack,
    Ground,
    Mounted,
    defence,
    written_links,
)

# 3: paths.


def a_manifest_that_is_a_link(ground: Ground) -> bool:
    """Messages about a manifest quote it."""
    repo = ground.repo().symlink("prefect.yaml", "../outside/secret")
    return SECRET in ground.told(lambda: ground.gitflow(repo.path, "plan"))


def an_entrypoint_outside(ground: Ground, entrypoint: str) -> bool:
    (ground.outside / "evil.py").write_text(f"open({str(ground.canary)!r}, 'w')\n{FLOW}")
    entrypoint = entrypoint.replace("/OUTSIDE", str(ground.outside))
    repo = ground.repo().write("prefect.yaml", MANIFEST % entrypoint)
    repo.symlink("link.py", "../outside/evil.py")
    ground.gitflow(repo.path, "plan", "--import-flows")
    return ground.ran


def a_directory_outside_of_the_checkout(ground: Ground, directory: str) -> bool:
    repo = ground.repo().write("sub/x")
    commit = repo.commit()
    directory = directory.replace("/OUTSIDE", str(ground.outside))
    found = ground.pull(str(repo.path), commit, directory=directory)
    return found is not None and (found / "secret").resolve() == ground.outside / "secret"


def a_file_that_poses_as_the_note_of_a_run(ground: Ground, note: str) -> bool:
    """The pull step clears away finished runs beside it."""
    repo = ground.repo().write("x")
    commit = repo.commit()
    precious = [ground.here / "src" / "x", ground.here.parent / "other" / "x"]
    for path in precious:
        path.parent.mkdir()
        path.touch()
    (ground.here / note).touch()
    os.utime(ground.here / note, (1, 1))
    ground.pull(str(repo.path), commit)
    return not all(path.exists() for path in precious)


# 4: links, from a working tree through the code store to a worker.


def a_link_that_leaves(ground: Ground, target: str, reads: str = "") -> bool:
    shop = ground.shop()
    shop.repo.symlink("a/b/up", "../..")
    shop.repo.symlink("sub/link", target.replace("/OUTSIDE", str(ground.outside)))
    # As far from the files outside as the working tree was.
    ground.patch.chdir(shop.base)
    repo = repository.discover(shop.repo.path)
    store = open_store(shop.base / "cache", repo, shop.target.url)
    taken = snapshot.take(repo, store, snapshot.Options(), source="s", author="a")
    publish.publish(store, shop.target, Release(taken, (), int(time.time())))
    made = ground.pull(shop.target.url, taken.commit)
    if made is None:
        return False
    found = made / "sub/link" / reads
    return bool(found.is_file() and found.read_bytes() and not found.resolve().is_relative_to(made))


# The defences. What stands there instead is what a program without the thought would do.

MANIFEST_PATH = defence(
    "gitops_flow.deploy.source.inside", instead=lambda root, path: path.relative_to(root)
)
ENTRYPOINT = defence("gitops_flow.deploy.code._shipped", instead=lambda *_: True)
DIRECTORY = defence("gitops_flow.steps.pull._below", instead=lambda root, name: root / name)
NOTE = defence("gitops_flow.checkout.sweep._NOTE", instead=re.compile(r"\.(.*)\.run"))
LINKS = (
    defence("gitops_flow.codestore.select.leaves_tree", instead=lambda *_: False),
    defence("gitops_flow.checkout.write.links", instead=written_links),
)

ATTACKS = (
    Attack(3, a_manifest_that_is_a_link, (MANIFEST_PATH,)),
    *(
        Attack(3, partial(an_entrypoint_outside, entrypoint=f"{path}:hello"), (ENTRYPOINT,), name)
        for path, name in (
            ("../outside/evil.py", "relative"),
            ("/OUTSIDE/evil.py", "absolute"),
            ("link.py", "link"),
        )
    ),
    *(
        Attack(3, partial(a_directory_outside_of_the_checkout, directory=path), (DIRECTORY,), name)
        for path, name in (("../../../../outside", "relative"), ("/OUTSIDE", "absolute"))
    ),
    *(
        Attack(3, partial(a_file_that_poses_as_the_note_of_a_run, note=note), (NOTE,), note)
        for note in (".src.run", "....run")
    ),
    *(
        Attack(4, partial(a_link_that_leaves, target=target, reads=reads), LINKS, name)
        for target, reads, name in (
            ("../../../outside/secret", "", "file"),
            ("../../../outside", "secret", "directory"),
            ("/OUTSIDE/secret", "", "absolute"),
            ("../a/b/up/../../outside/secret", "", "through another link"),
            ("/proc/self/environ", "", "environment"),
        )
    ),
)


class TestAttacks(Mounted):
    attacks = ATTACKS
