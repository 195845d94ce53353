"""Hostile input and repositories: each attack is mounted, with its defences and without.

The table at the end names every defence of an attack: each alone stops it, and with all of
them taken out it comes through. Paths and links are in test_attacks_paths.py, tokens and
secret files in test_attacks_secrets.py.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from gitops_flow.checkout.objects import Reader, Store
from gitops_flow.checkout.tree import Listing
from gitops_flow.errors import GitflowError
from tests.support.attacks import (
    FLOW,
    MANIFEST,
    Attack,
    Ground,
    Layer,
    Mounted,
    argument,
    defence,
    setting,
    written_links,
)
from tests.support.repo import Repo
from tests.test_checkout import blob, raw_commit

# 1: what could be taken for an option or a command.


def a_commit_that_is_an_option(ground: Ground) -> bool:
    repo = ground.repo().write("flow.py")
    repo.commit()
    ground.pull(f"file://{repo.path}", f"--upload-pack={ground.script()};git-upload-pack")
    return ground.ran


def an_address_that_is_an_option(ground: Ground) -> bool:
    ground.pull(f"--upload-pack={ground.script()}", "a" * 40)
    return ground.ran


def an_address_that_is_a_command(ground: Ground) -> bool:
    ground.pull(f"ext::{ground.script()}", "a" * 40)
    return ground.ran


def a_code_store_in_the_manifest_that_is_a_command(ground: Ground) -> bool:
    shop = ground.shop()
    said = f"gitflow: {{code_store: {{remote: 'ext::{ground.script()}'}}}}\n"
    shop.repo.write("prefect.yaml", MANIFEST % "flow.py:hello" + said)
    ground.gitflow(shop.repo.path, "history")
    return ground.ran


# 2: a repository that somebody made to be fetched, checked out or worked in.


def a_tree_that_holds_a_git_directory(ground: Ground) -> bool:
    """Whoever calls git in the checkout runs what its configuration says."""
    repo = ground.repo()
    settings = f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = {ground.script()}\n"
    empty = repo.git("mktree", stdin=b"")
    entries = [
        ("100644", b"HEAD", blob(repo, b"ref: refs/heads/main\n")),
        ("100644", b"config", blob(repo, settings.encode())),
        *(("40000", name, empty) for name in (b"objects", b"refs")),
    ]
    inner = repo.git("rev-parse", raw_commit(repo, *entries) + "^{tree}")
    made = ground.pull(str(repo.path), raw_commit(repo, ("40000", b".git", inner)))
    if made is not None:
        subprocess.run(["git", "status"], cwd=made, capture_output=True, check=False)
    return ground.ran


def a_name_that_some_disk_takes_for_git(ground: Ground, name: bytes) -> bool:
    repo = ground.repo()
    return (
        ground.pull(str(repo.path), raw_commit(repo, ("100644", name, blob(repo, b"")))) is not None
    )


def a_name_that_leads_out(ground: Ground) -> bool:
    repo = ground.repo()
    commit = raw_commit(repo, ("100644", b"../../written", blob(repo, b"x")))
    ground.pull(str(repo.path), commit)
    return (ground.here / "written").exists()


def a_file_that_is_written_through_a_link(ground: Ground) -> bool:
    repo = ground.repo()
    target = blob(repo, os.fsencode(ground.outside))
    commit = raw_commit(
        repo, ("120000", b"sub", target), ("100644", b"sub/written", blob(repo, b"x"))
    )
    ground.pull(str(repo.path), commit)
    return (ground.outside / "written").exists()


def a_filter_that_the_worker_knows(ground: Ground) -> bool:
    subprocess.run(
        ["git", "config", "--global", "filter.evil.smudge", str(ground.script())], check=True
    )
    repo = ground.repo()
    attributes = blob(repo, b"*.dat filter=evil eol=crlf\n")
    data = blob(repo, b"stored\n")
    commit = raw_commit(repo, ("100644", b".gitattributes", attributes), ("100644", b"a.dat", data))
    ground.pull(str(repo.path), commit)
    return ground.ran


def a_hook_of_the_working_tree(ground: Ground) -> bool:
    shop = ground.shop()
    ground.script("shop/shop/.git/hooks/post-index-change")
    shop.release("edited\n")
    return ground.ran


def a_hook_of_the_template(ground: Ground) -> bool:
    """A code store that is made here would have it, and a push into it run it."""
    shop = ground.shop()
    ground.script("template/hooks/pre-receive")
    template = str(ground.base / "template")
    subprocess.run(["git", "config", "--global", "init.templateDir", template], check=True)
    shop.repo.git("remote", "remove", "origin")
    shop.attach()
    with contextlib.suppress(GitflowError):
        shop.release("edited\n")
    return ground.ran


def _made_by_git(path: Path, config: str = "") -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(path)], check=True)
    with (path / "config").open("a") as file:
        file.write(config)


def a_monitor_of_a_submodule(ground: Ground) -> bool:
    library = ground.repo("library").write("lib.py")
    library.commit()
    shop = ground.shop()
    shop.repo.git("-c", "protocol.file.allow=always", "submodule", "add", library.path, "library")
    shop.repo.commit()
    inner = Repo(shop.repo.path / "library", init=False)
    inner.git("config", "core.fsmonitor", str(ground.script()))
    ground.gitflow(shop.repo.path, "plan", "--submodules")
    return ground.ran


def a_directory_that_poses_as_a_repository(ground: Ground) -> bool:
    """Git takes it for a bare one and believes its configuration."""
    pose = ground.repo().write("flow.py").path / "sub"
    for folder in ("objects", "refs"):
        (pose / folder).mkdir(parents=True)
    settings = f'[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = ../sub\n[filter "x"]\n\tclean = {ground.script()}\n'
    files = {
        "HEAD": "ref: refs/heads/main\n",
        "config": settings,
        ".gitattributes": "*.py filter=x\n",
        "prefect.yaml": MANIFEST % "flow.py:hello",
        "flow.py": FLOW,
    }
    for name, content in files.items():
        (pose / name).write_text(content)
    ground.gitflow(pose, "plan")
    return ground.ran


# The defences. What stands there instead is what a program without the thought would do.


def _links_first(files: object) -> object:
    def write(root: Path, listing: Listing, source: Reader) -> None:
        written_links(root, listing, source)
        files(root, listing, source)  # type: ignore[operator]

    return write


def _with_the_workers_settings(environment: object) -> object:
    def read(store: Store, tree: Path | None = None) -> dict[str, str]:
        given: dict[str, str] = environment(store, tree)  # type: ignore[operator]
        return {key: value for key, value in given.items() if key != "GIT_CONFIG_GLOBAL"}

    return read


def _filters_on(many: object) -> object:
    def convert(root: Path, files: object, store: Store, config: object, timeout: float) -> object:
        kept = tuple(pair for pair in config if not pair[0].startswith("filter."))  # type: ignore[attr-defined]
        return many(root, files, store, kept, timeout)  # type: ignore[operator]

    return convert


def _anything(value: object) -> object:
    return value


COMMIT = defence("gitops_flow.git.url.check_commit", instead=_anything)
ADDRESS = defence("gitops_flow.git.url.check_address", instead=_anything)
OPERANDS = argument("--")
PROTOCOLS = setting("protocol.", protocol_allow="always")
NAMES = defence("gitops_flow.checkout.tree._safe", instead=lambda name: True)

ATTACKS = (
    Attack(1, a_commit_that_is_an_option, (COMMIT, OPERANDS)),
    Attack(1, an_address_that_is_an_option, (ADDRESS, OPERANDS)),
    Attack(1, an_address_that_is_a_command, (ADDRESS, PROTOCOLS)),
    Attack(1, a_code_store_in_the_manifest_that_is_a_command, (ADDRESS, PROTOCOLS)),
    Attack(2, a_tree_that_holds_a_git_directory, (NAMES,)),
    *(
        Attack(2, partial(a_name_that_some_disk_takes_for_git, name=name), (NAMES,), variant)
        for name, variant in (
            (b".GIT", "case"),
            (b".git ", "space"),
            (b"GIT~1", "short name"),
            (b".git::$INDEX_ALLOCATION", "stream"),
            (".g\u200cit".encode(), "HFS-ignorable"),
        )
    ),
    Attack(2, a_name_that_leads_out, (NAMES,)),
    Attack(
        2,
        a_file_that_is_written_through_a_link,
        (
            NAMES,
            Layer("gitops_flow.checkout.write.files", _links_first, "links are written last"),
        ),
    ),
    Attack(
        2,
        a_filter_that_the_worker_knows,
        (
            Layer(
                "gitops_flow.checkout.objects.Store.environment",
                _with_the_workers_settings,
                "no settings of the worker's",
            ),
            Layer("gitops_flow.checkout.convert._many", _filters_on, "each filter is off"),
        ),
    ),
    Attack(2, a_hook_of_the_working_tree, (setting("core.hooksPath"),)),
    Attack(
        2,
        a_hook_of_the_template,
        (defence("gitops_flow.git.formats.make_bare", instead=_made_by_git),),
    ),
    Attack(2, a_monitor_of_a_submodule, (setting("core.fsmonitor"),)),
    Attack(
        2,
        a_directory_that_poses_as_a_repository,
        (defence("gitops_flow.git.repository._refuse_inside", instead=lambda *_: None),),
    ),
)


class TestAttacks(Mounted):
    attacks = ATTACKS


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_settings_of_a_repository_that_is_fetched_from_run_nothing(
    ground: Ground, scheme: str
) -> None:
    """Here the defence is git's own, which reads these only where the user wrote them."""
    repo = ground.repo().write("flow.py", "x")
    commit = repo.commit()
    lines = "".join(
        f"[{section}]\n\t{key} = {ground.script()}\n"
        for section, key in (
            ("core", "fsmonitor"),
            ("core", "sshCommand"),
            ("core", "alternateRefsCommand"),
            ("uploadpack", "packObjectsHook"),
        )
    )
    (ground.base / "included").write_text(lines)
    repo.git("config", "include.path", str(ground.base / "included"))
    objects = repo.path / ".git/objects"
    objects.rename(ground.base / "objects")
    objects.symlink_to(ground.base / "objects")
    made = ground.pull(f"{scheme}{repo.path}", commit)
    assert made is not None
    assert (made / "flow.py").read_text() == "x"
    assert not ground.ran
