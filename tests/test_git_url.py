"""What may be handed to git, and nothing else."""

from __future__ import annotations

import subprocess
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gitops_flow.errors import GitError, GitflowError
from gitops_flow.git import url


@pytest.mark.parametrize("address", [
    "https://github.com/a/b.git", "http://127.0.0.1:8080/x", "http://[::1]:80/x", "ssh://git@host:22/x.git",
    "git://host/x", "file:///srv/store.git", "/srv/store.git", "/srv/with space/-x", "git@github.com:a/b.git",
    "host:path", "git@[::1]:x", "https://user:pass@host/x", "/srv/ext::x",
])  # fmt: skip
def test_an_ordinary_address_passes_unchanged(address: str) -> None:
    assert url.check_address(address) == address


@pytest.mark.parametrize("address", [
    "", "-x", "--upload-pack=touch /tmp/x", "-oProxyCommand=x", "relative/path", "../up", ".",
    "ext::sh -c 'touch x'", "ext::ssh://host/x", "fd::17", "transport::https://host/x", "a::b:c",
    "ftp://host/x", "ext://x", "javascript://x", "git+ssh://host/x",
    "ssh://-oProxyCommand=x/y", "ssh://%2doProxyCommand=x/y", "ssh://-l@host/x", "ssh://%2dl@host/x",
    "-oProxyCommand=x@host:path", "user@-host:path", "host:-path", "git://-x/y",
    "https://", "https:///x", "http://[", "http://[::1", "http://host:99999/x", "http://host:port/x", "http://host:0/x",
    "ssh://git:s3cret@host/x", "git://me:s3cret@host/x", "file://-x", "file://host/x", "file://", "https://host/a\nb", "/srv/\0", "https://host/\x7f",
])  # fmt: skip
def test_what_git_could_take_for_an_option_or_a_program_is_refused(address: str) -> None:
    with pytest.raises(GitError):
        url.check_address(address)


def test_a_refused_address_is_shown_without_its_password() -> None:
    with pytest.raises(GitError) as caught:
        url.check_address("ftp://me:s3cret@host/x")
    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=60))
@example("http://[")
@example("//[::")
def test_any_text_is_an_address_or_an_error_of_ours(text: str) -> None:
    try:
        address = url.check_address(text)
    except GitflowError:
        return
    assert not address.startswith("-")
    url.normalise(address)
    url.name_of(address)
    url.origin(address)
    url.split_userinfo(address)


@given(st.text(max_size=40))
def test_a_repositorys_name_is_one_safe_path_component(text: str) -> None:
    name = url.name_of(text)
    assert name
    assert name not in (".", "..")
    assert not set(name) & set("/\\\0\n ")
    assert not name.startswith(("-", "."))


@pytest.mark.parametrize(
    "commit", ["", "a" * 39, "a" * 41, "A" * 40, "g" * 40, "a" * 40 + "\n", "-" * 40, "HEAD", None]
)
def test_only_40_lower_case_hex_digits_are_a_commit(commit: str) -> None:
    with pytest.raises(GitError, match="not a full commit id"):
        url.check_commit(commit)


def test_a_full_commit_id_passes() -> None:
    assert url.check_commit("0123456789" * 4) == "0123456789" * 4


@settings(max_examples=60)
@given(
    st.text(alphabet=st.sampled_from("ab/.-@{~^:?*[\\ lock\x7f\u00e9HEAD"), min_size=1, max_size=10)
)
@example("a/")
@example("a.lock")
@example("a.lock/b")
@example("@")
@example("a@{b")
@example("HEAD")
@example("-x")
@example("a//b")
def test_a_branch_name_is_judged_as_git_judges_it(branch: str) -> None:
    verdict = subprocess.run(
        ["git", "check-ref-format", f"refs/heads/{branch}"], check=False, capture_output=True
    ).returncode
    # Stricter on purpose: what git's commands would take for an option or for HEAD.
    allowed = verdict == 0 and not branch.startswith("-") and branch not in ("HEAD", "@")
    try:
        url.check_branch(branch)
    except GitError:
        assert not allowed
    else:
        assert allowed


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_userinfo_comes_out_as_it_went_in(user: str, secret: str) -> None:
    try:
        address = f"https://{quote(user, safe='')}:{quote(secret, safe='')}@host:8443/a/b.git"
    except UnicodeEncodeError:
        return
    assert url.split_userinfo(address) == ("https://host:8443/a/b.git", user, secret)


@pytest.mark.parametrize(
    "address", ["ssh://git@host/x", "git@host:x", "/srv/x", "https://host/x", "file:///x@y"]
)
def test_an_address_without_http_userinfo_stays(address: str) -> None:
    assert url.split_userinfo(address) == (address, None, None)


@pytest.mark.parametrize(("address", "origin"), [
    ("https://host/a", "https://host"), ("http://me:pw@host:8080/a", "http://host:8080"),
    ("https://me:p@ss@host/a", "https://host"), ("https://[::1]:8/a", "https://[::1]:8"), ("/srv/x", "/srv/x"),
])  # fmt: skip
def test_the_origin_is_scheme_and_host_alone(address: str, origin: str) -> None:
    assert url.origin(address) == origin


@pytest.mark.parametrize("spelling", [
    "https://github.com/a/b.git", "https://github.com/a/b", "https://github.com/a/b/", "https://me:pw@GitHub.com:443/a/b.git",
    "git@github.com:a/b.git", "ssh://git@github.com/a/b", "ssh://git@github.com:22/a/b.git", "github.com:a/b", "git://github.com/a/b.git/",
])  # fmt: skip
def test_all_spellings_of_one_repository_are_one(spelling: str) -> None:
    assert url.normalise(spelling) == "github.com/a/b"


def test_repositories_on_other_ports_or_paths_stay_apart() -> None:
    addresses = ["https://h/a", "https://h:8443/a", "https://h/b", "/h/a", "https://h/A"]
    assert len({url.normalise(address) for address in addresses}) == len(addresses)
