"""No secret in anything that is shown."""

from __future__ import annotations

import pytest

from gitops_flow.redact import forms, is_secret_key, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fatal: https://me:hunter2@host/x not found", "fatal: https://****@host/x not found"),
        ("https://ghp_token@host/x", "https://****@host/x"),
        ("http://a:b@c@host/x", "http://****@host/x"),
        ("postgresql+asyncpg://u:p@db/x", "postgresql+asyncpg://****@db/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:secret@host/x", "ssh://****@host/x"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ****"),
        ("authorization: bearer abc.def", "authorization: bearer ****"),
        ("https://me:pa/ss@host/x", "https://****@host/x"),
        ("https://me:pa#s?s@host/x", "https://****@host/x"),
        ("'http://h/x.git?token=hunter2/' not found", "'http://h/x.git?token=****' not found"),
        ("http://h/x?a=1&private_token=s&b=2", "http://h/x?a=1&private_token=****&b=2"),
        ("http://h/x?API_KEY=s#l", "http://h/x?API_KEY=****#l"),
        ("http://h/x?X-Amz-Signature=s", "http://h/x?X-Amz-Signature=****"),
        (
            "http://h/x?sig=s%2Ft http://h/x?password=p",
            "http://h/x?sig=**** http://h/x?password=****",
        ),
        ("http://h/x#access_token=s", "http://h/x#access_token=****"),
        ("http://h/x?keyword=a&tokens=3&design=b", "http://h/x?keyword=a&tokens=3&design=b"),
        ("https://host/a@b", "https://host/a@b"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_secrets_in_addresses_and_headers_are_masked(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("text", ["http://h/x?token=secret", "http://u:secret@h/x"])
def test_what_is_masked_already_stays_as_it_is(text: str) -> None:
    once = f"{redact(text)}: not found"
    assert redact(once) == once


def test_known_secrets_are_masked_wherever_they_are() -> None:
    assert redact("token s3cr3t-value in text", ("s3cr3t-value",)) == "token **** in text"


def test_a_login_that_a_server_repeats_is_known_in_each_form() -> None:
    told = "me:s3/cret is s3%2Fcret in an address and bWU6czMvY3JldA== in a header"
    assert (
        redact(told, forms("me", "s3/cret")) == "me:**** is **** in an address and **** in a header"
    )


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    assert redact("abcdefgh", ("abcd", "abcdefgh")) == "****"


def test_a_very_short_secret_does_not_hide_the_message() -> None:
    assert redact("a banana", ("a",)) == "a banana"


@pytest.mark.parametrize(
    "text", ["a" * 2_000_000, "a.b-" * 500_000, "x://" * 300_000, "://" * 300_000, "?a." * 300_000]
)
def test_a_megabyte_without_a_break_is_no_trap(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "key", ["password", "API_KEY", "github_token", "auth_string", "credentials"]
)
def test_keys_that_name_secrets_are_known(key: str) -> None:
    assert is_secret_key(key)


def test_an_ordinary_key_is_no_secret() -> None:
    assert not is_secret_key("entrypoint")
