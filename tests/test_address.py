"""Where the code store is, from settings and remotes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitops_flow.codestore import address
from gitops_flow.errors import UsageError
from gitops_flow.git import environment
from gitops_flow.git.repository import Repository
from gitops_flow.model import CodeStoreSettings


def _repository(**remotes: str) -> Repository:
    config = tuple(("local", f"remote.{name}.url", url) for name, url in remotes.items())
    return Repository(Path("/srv/shop"), Path("/srv/shop/.git"), None, config)


def _resolve(repository: Repository, **said: str) -> address.CodeStore:
    return address.resolve(repository, CodeStoreSettings(**said), Path("/data"))


def test_origin_is_the_default() -> None:
    found = _resolve(_repository(up="https://h/up.git", origin="https://h/own.git"))
    assert (found.url, found.branch, found.embedded) == ("https://h/own.git", "code-store", False)


def test_the_only_remote_is_taken_whatever_its_name() -> None:
    assert _resolve(_repository(upstream="https://h/x.git")).url == "https://h/x.git"


def test_several_remotes_without_origin_are_a_question() -> None:
    with pytest.raises(UsageError, match=r"no origin, but a, b"):
        _resolve(_repository(a="https://h/a", b="https://h/b"))


def test_a_named_remote_wins() -> None:
    found = _resolve(_repository(origin="https://h/x", lan="ssh://git@nas/x"), remote="lan")
    assert found.url == "ssh://git@nas/x"


def test_a_name_that_is_no_remote_is_an_error_that_lists_them() -> None:
    with pytest.raises(UsageError) as error:
        _resolve(_repository(origin="https://h/x"), remote="orign")
    assert "the remotes are: origin" in str(error.value.hint)


def test_without_a_remote_the_store_is_embedded_under_the_data_directory() -> None:
    found = _resolve(_repository())
    assert found.embedded
    assert found.url.startswith("/data/code-stores/shop-")


def test_a_password_in_the_address_goes_to_git_alone() -> None:
    found = _resolve(_repository(origin="https://me:s3cret@h/x.git"))
    assert found.url == found.pull_url == "https://h/x.git"
    assert found.auth is not None
    assert (found.auth.username, found.auth.secret) == ("me", "s3cret")
    assert "s3cret" not in repr(found)


def test_a_token_as_user_name_is_a_secret() -> None:
    found = _resolve(_repository(origin="https://t0ken@h/x.git"))
    assert found.auth is not None
    assert (found.auth.username, found.auth.secret) == (None, "t0ken")


def test_credentials_for_workers_must_be_a_placeholder() -> None:
    with pytest.raises(UsageError, match="not a placeholder") as error:
        _resolve(_repository(origin="https://h/x"), credentials="hunter22")
    assert "hunter22" not in str(error.value)
    found = _resolve(_repository(origin="https://h/x"), credentials="{{ prefect.blocks.secret.t }}")
    assert found.credentials == "{{ prefect.blocks.secret.t }}"


def test_workers_may_have_another_address() -> None:
    found = _resolve(_repository(origin="https://out/x"), pull_url="http://in/x")
    assert (found.url, found.pull_url) == ("https://out/x", "http://in/x")


def test_workers_may_have_several_addresses_each_once_and_without_passwords() -> None:
    settings = CodeStoreSettings(pull_url=("http://u:pw@in/x", "https://out/x", "http://in/x"))
    found = address.resolve(_repository(origin="https://o/x"), settings, Path("/data"))
    assert found.pull_input == ["http://in/x", "https://out/x"]
    assert (found.pull_url, found.mirrors) == ("http://in/x", ("https://out/x",))


def test_one_address_for_workers_stays_plain_text_in_the_step() -> None:
    settings = CodeStoreSettings(pull_url=("http://in/x",))
    found = address.resolve(_repository(origin="https://o/x"), settings, Path("/data"))
    assert found.pull_input == "http://in/x"


def test_each_of_several_addresses_is_checked() -> None:
    settings = CodeStoreSettings(pull_url=("http://in/x", "ext::sh -c id"))
    with pytest.raises(UsageError):
        address.resolve(_repository(origin="https://o/x"), settings, Path("/data"))


@pytest.mark.parametrize("remote", ["ext::sh -c id", "--upload-pack=/x", "foo://h/x", "a\nb/c"])
def test_an_address_that_git_could_run_is_refused(remote: str) -> None:
    with pytest.raises(UsageError):
        _resolve(_repository(), remote=remote)


@pytest.mark.parametrize("place", ["remote", "pull_url"])
def test_a_secret_in_a_query_is_refused_and_not_repeated(place: str) -> None:
    with pytest.raises(UsageError, match=r"h/x\.git\?token=\*\*\*\*: git does not log in") as error:
        _resolve(_repository(origin="https://h/x"), **{place: "http://h/x.git?token=hunter2"})
    assert "hunter2" not in str(error.value)


def test_a_path_at_home_is_in_the_home_of_who_deploys_and_not_of_the_process() -> None:
    with environment.using(environment.GitEnvironment({"HOME": "/theirs"})):
        assert _resolve(_repository(), remote="~/store.git").url == "/theirs/store.git"


def test_a_path_that_begins_with_another_users_name_is_one_in_the_repository() -> None:
    assert _resolve(_repository(), remote="~nobody/x.git").url == "/srv/shop/~nobody/x.git"


@pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "x.lock", "HEAD", "a~1", "refs//x", "@"])
def test_a_branch_name_that_git_would_not_take_is_refused(branch: str) -> None:
    with pytest.raises(UsageError, match="not a valid branch name"):
        _resolve(_repository(origin="https://h/x"), branch=branch)


@pytest.mark.parametrize(
    "spelling",
    [
        "https://github.com/a/b.git",
        "https://user:token@GitHub.com/a/b",
        "git@github.com:a/b.git",
        "ssh://git@github.com:22/a/b/",
        "git://github.com/a/b",
    ],
)
def test_one_repository_has_one_identity(spelling: str) -> None:
    assert address.identities(_repository(origin=spelling))[0] == "github.com/a/b"


def test_a_repository_without_a_remote_is_known_by_its_path() -> None:
    assert address.identities(_repository()) == ("/srv/shop",)


@pytest.mark.parametrize(
    ("origin", "remote", "hosts"),
    [
        ("https://h/x", "origin", ()),
        ("https://h/x", "https://h/other", ()),
        ("http://h:3000/x", "http://h:3000/other", ()),
        ("git@h:a/b.git", "https://h/a/b", ()),
        ("https://me:s3cret@h/x", "https://h:443/x", ()),
        ("https://h/x", "https://else/x", ("else",)),
        ("https://h/x", "https://else:8443/x", ("h", "else:8443")),
        ("https://h/x", "http://else/x", ("http://else",)),
        ("https://h/x", "https://else/x", ("https://else/named-by-a-flag",)),
        ("https://h/x", "https://h/x", ("origin",)),
        ("/srv/x", "https://[::1]:8443/x", ("[::1]:8443",)),
    ],
)
def test_the_token_goes_to_the_host_that_it_is_for(
    origin: str, remote: str, hosts: tuple[str, ...]
) -> None:
    said = CodeStoreSettings(remote=remote, token="s3cret", token_for=hosts)
    found = address.resolve(_repository(origin=origin), said, Path("/data"))
    assert found.auth is not None
    assert found.auth.secret == "s3cret"


@pytest.mark.parametrize(
    ("origin", "remote", "hosts"),
    [
        ("https://h/x", "https://evil/x", ()),
        ("https://h/x", "https://h.evil/x", ()),
        ("https://h/x", "https://h@evil/x", ()),
        ("https://h/x", "https://evil#@h/x", ()),
        ("https://h/x", "https://h:8443/x", ()),
        ("https://h/x", "http://h/x", ()),
        ("git@h:a/b.git", "http://h/a/b", ()),
        ("https://h/x", "http://else/x", ("else",)),
        ("https://h/x", "https://h/x", ("else",)),
        ("/srv/x", "https://evil/x", ()),
    ],
)
def test_the_token_goes_to_no_other_host(origin: str, remote: str, hosts: tuple[str, ...]) -> None:
    said = CodeStoreSettings(remote=remote, token="s3cret", token_for=hosts)
    with pytest.raises(UsageError, match="GITFLOW_CODE_STORE_TOKEN is for") as error:
        address.resolve(_repository(origin=origin), said, Path("/data"))
    assert "GITFLOW_CODE_STORE_TOKEN_HOST=http" in str(error.value.hint)
    assert "s3cret" not in f"{error.value} {error.value.hint} {error.value.where}"


def test_no_one_of_several_remotes_is_trusted_with_the_token() -> None:
    with pytest.raises(UsageError, match="is for no host that is known"):
        _resolve(_repository(a="https://h/a", b="https://h/b"), remote="b", token="s3cret")
