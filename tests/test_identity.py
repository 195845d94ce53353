"""One repository is one source, whichever of its addresses is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_flow import plan
from gitops_flow.codestore import address
from gitops_flow.git import identity, repository
from gitops_flow.git.repository import Repository
from gitops_flow.git.url import normalise
from gitops_flow.model import CodeStoreSettings, Deployment, Source
from gitops_flow.pin import Pin
from tests.support.repo import Repo

SAME = {
    "GitHub": [
        "https://github.com/Acme/Shop.git",
        "https://GITHUB.com/acme/shop",
        "https://www.github.com/acme/shop/",
        "git@github.com:ACME/shop.git",
        "ssh://git@github.com/acme/shop.git",
        "ssh://git@ssh.github.com:443/acme/shop.git",
        "github.com/acme/shop",
    ],
    "GitLab": [
        "https://gitlab.com/Acme/Group/Shop.git",
        "git@gitlab.com:acme/group/shop.git",
        "ssh://git@altssh.gitlab.com:443/acme/group/shop.git",
    ],
    "Bitbucket": [
        "https://bitbucket.org/Acme/shop.git",
        "https://someone@bitbucket.org/acme/shop.git",
        "git@bitbucket.org:acme/shop.git",
        "ssh://git@altssh.bitbucket.org:443/acme/shop.git",
    ],
    "Bitbucket Data Center": [
        "https://git.example.com/scm/ACME/shop.git",
        "ssh://git@git.example.com:7999/acme/shop.git",
    ],
    "Azure": [
        "https://dev.azure.com/Acme/My%20Shop/_git/Web",
        "https://acme@dev.azure.com/acme/My%20Shop/_git/web",
        "git@ssh.dev.azure.com:v3/acme/My%20Shop/web",
        "https://acme.visualstudio.com/My%20Shop/_git/web",
        "https://acme.visualstudio.com/DefaultCollection/My%20Shop/_git/web",
        "acme@vs-ssh.visualstudio.com:v3/acme/My%20Shop/web",
    ],
    "Azure, a project's own repository": [
        "https://dev.azure.com/acme/_git/web",
        "https://dev.azure.com/acme/web/_git/web",
        "git@ssh.dev.azure.com:v3/acme/web/web",
    ],
    "a server of one's own": [
        "https://git.example.com/Team/shop.git",
        "ssh://git@git.example.com:2222/Team/shop.git",
        "git@git.example.com:Team/shop.git",
        "http://git.example.com/Team/shop",
        "git.example.com/Team/shop",
    ],
}
OTHERS = [
    ("https://git.example.com/Team/shop", "https://git.example.com/team/shop"),
    ("https://git.example.com:8443/a/b", "https://git.example.com:9443/a/b"),
    ("ssh://git@127.0.0.1:2222/a/b", "ssh://git@127.0.0.1:2223/a/b"),
    ("ssh://git@localhost:2222/a/b", "https://localhost/a/b"),
    ("https://github.com/a/b", "https://gitlab.com/a/b"),
    ("https://github.com/a/b", "https://github.com/a/c"),
    ("https://dev.azure.com/a/b/_git/c", "https://dev.azure.com/a/c/_git/b"),
    ("/srv/Shop", "/srv/shop"),
]


@pytest.mark.parametrize("host", SAME)
def test_every_spelling_of_an_address_is_the_same_repository(host: str) -> None:
    assert len({identity.of(spelling) for spelling in SAME[host]}) == 1


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_what_may_be_two_repositories_stays_two(one: str, other: str) -> None:
    assert identity.of(one) != identity.of(other)


@given(st.text(max_size=60))
def test_any_text_has_an_identity_that_is_its_own_identity(text: str) -> None:
    assert isinstance(identity.of(text), str)


def repo(*config: tuple[str, str]) -> Repository:
    lines = tuple(("local", key, value) for key, value in config)
    return Repository(Path("/srv/shop"), Path("/srv/shop/.git"), None, lines)


def source(found: Repository, named: str | None = None) -> Source:
    first, *former = address.identities(found, named)
    return Source("shop", first, "prefect.yaml", str(found.root), tuple(former))


def test_the_manifests_name_for_the_source_beats_the_address() -> None:
    one = source(repo(("remote.origin.url", "https://one.example/shop")), "github.com/Acme/Shop")
    other = source(repo(("remote.origin.url", "https://two.example/shop")), "github.com/acme/shop")
    assert one.mark == other.mark
    assert one.mark == source(repo(("remote.origin.url", "git@github.com:acme/shop.git"))).mark


def test_a_source_that_is_given_a_name_keeps_what_it_owns_by_its_address() -> None:
    found = repo(("remote.origin.url", "https://one.example/shop"))
    assert source(found).mark in source(found, "shop").former_marks


@pytest.mark.parametrize(
    "url", ["https://github.com/Acme/Shop.git", "ssh://git@git.example.com:2222/a/b.git"]
)
def test_a_source_keeps_what_it_owns_from_when_each_spelling_was_one_of_its_own(url: str) -> None:
    before = Source("shop", normalise(url), "prefect.yaml", "/srv/shop")
    now = source(repo(("remote.origin.url", url)))
    assert now.mark != before.mark
    assert before.mark in now.repository_marks
    live = Deployment("f", "d", "f.py:f", tags=(before.mark,), id="1", flow_id="2")
    made = plan.make(
        [Deployment("f", "d", "f.py:f")],
        [live],
        source_mark=now.mark,
        former_marks=now.former_marks,
        adopt=False,
    )
    (action,) = made.actions
    assert isinstance(action, plan.Update)
    assert not action.adopts
    assert [(line.path, line.before, line.after) for line in plan.lines(action)] == [
        ("tags", before.mark, now.mark)
    ]


def test_an_address_whose_spelling_was_the_usual_one_gives_the_mark_that_it_gave() -> None:
    now = source(repo(("remote.origin.url", "https://github.com/acme/shop.git")))
    before = Source("shop", "github.com/acme/shop", "prefect.yaml")
    assert now.mark == before.mark
    assert now.repository_marks == (before.mark,)


def test_a_mark_of_another_spelling_is_recognised_and_its_adoption_offered() -> None:
    def pinned(address_: str) -> tuple[dict[str, object], ...]:
        return (Pin((address_,), "a" * 40).step(),)

    def reason(their_mark: str, their_address: str) -> str:
        live = Deployment("f", "d", "f.py:f", tags=(their_mark,), pull_steps=pinned(their_address))
        wanted = Deployment("f", "d", "f.py:f", pull_steps=pinned("git@github.com:acme/shop.git"))
        made = plan.make([wanted], [live], source_mark="gitflow:shop-00000000", adopt=False)
        (conflict,) = made.conflicts
        return conflict.reason

    same = reason("gitflow:shop-11111111", "https://github.com/Acme/Shop")
    assert "‹adopt› takes it over" in same
    assert "--adopt" not in reason("gitflow:shop-11111111", "https://github.com/acme/other")
    assert "--adopt" not in reason("gitflow:other-11111111", "https://github.com/Acme/Shop")


def test_workers_get_the_fetch_address_of_a_remote_that_is_pushed_to_by_another() -> None:
    found = repo(
        ("remote.origin.url", "https://git.example.com/a/b"),
        ("remote.origin.pushurl", "git@push.example.com:a/b"),
    )
    for said in (CodeStoreSettings(), CodeStoreSettings(remote="origin")):
        store = address.resolve(found, said, Path("/data"))
        assert (store.url, store.pull_url) == (
            "git@push.example.com:a/b",
            "https://git.example.com/a/b",
        )


def test_an_address_to_push_to_does_not_change_the_mark_and_the_one_of_before_is_known() -> None:
    plain = ("remote.origin.url", "https://git.example.com/a/b")
    pushed = source(repo(plain, ("remote.origin.pushurl", "git@push.example.com:a/b")))
    assert pushed.mark == source(repo(plain)).mark
    assert Source("shop", "push.example.com/a/b", "prefect.yaml").mark in pushed.former_marks


def test_of_several_addresses_the_first_is_taken(tmp_path: Path) -> None:
    made = Repo(tmp_path / "r")
    made.git("remote", "add", "origin", "https://one.example/a")
    made.git("remote", "set-url", "--add", "origin", "https://two.example/a")
    made.git("remote", "set-url", "--add", "--push", "origin", "https://three.example/a")
    made.git("remote", "set-url", "--add", "--push", "origin", "https://four.example/a")
    found = repository.discover(made.path)
    assert found.fetch_url("origin") == made.git("remote", "get-url", "origin")
    assert found.push_url("origin") == made.git("remote", "get-url", "--push", "origin")
    assert address.identities(found)[0] == "one.example/a"


@pytest.fixture
def ssh_config(tmp_path: Path) -> str:
    (tmp_path / "config").write_text(
        "Host github.com-work\n  HostName github.com\n"
        "Host forge\n  HostName git.example.com\n  Port 2222\n"
        "Host inside\n  HostName 10.0.0.5\n"
        "Host git.example.org\n  HostName bastion.example.org\n"
    )
    return f"ssh -F {tmp_path / 'config'}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("git@github.com-work:acme/shop.git", "github.com/acme/shop"),
        ("forge:a/b.git", "git.example.com/a/b"),
        ("ssh://git@FORGE/a/b.git", "git.example.com/a/b"),
        ("inside:a/b.git", "inside/a/b"),
        ("git@git.example.org:a/b.git", "git.example.org/a/b"),
        ("nobody:a/b.git", "nobody/a/b"),
        ("https://forge/a/b.git", "forge/a/b"),
    ],
)
def test_an_alias_of_ssh_stands_for_its_host(ssh_config: str, url: str, expected: str) -> None:
    found = repo(("remote.origin.url", url), ("core.sshcommand", ssh_config))
    assert address.identities(found)[0] == expected


@pytest.mark.parametrize("command", ["/none/ssh", "plink -batch", "ssh '", "false"])
def test_an_ssh_that_does_not_answer_leaves_the_address_as_it_is(command: str) -> None:
    found = repo(("remote.origin.url", "forge:a/b"), ("core.sshcommand", command))
    assert address.identities(found)[0] == "forge/a/b"
