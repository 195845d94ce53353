"""From what a step is given as credentials to a user name and a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from gitops_flow.errors import CheckoutError
from gitops_flow.git.command import Auth
from gitops_flow.git.url import split_userinfo

# A JSON value, or one of Prefect's blocks.
Json = Any

# In the order in which Prefect's own steps look for them; a Secret block has a value.
_SECRETS = ("access_token", "token", "password", "value")
# What a host wants as the user name beside a bare token; elsewhere any name will do.
_USERNAMES = (("bitbucket", "x-token-auth"), ("gitlab", "oauth2"))


def resolve(credentials: Json, repository: str) -> Auth | None:
    """The credentials for ``repository``, None for none.

    Args:
        credentials: a token, ``user:secret``, a mapping or a Prefect block with
            a token, access_token, password or value, and perhaps a username.
        repository: its address; a user name in it is used, a password only
            without ``credentials``.

    Raises:
        CheckoutError: they hold no usable secret; its value is never told.
    """
    url, inside_user, inside_secret = split_userinfo(repository)
    if credentials is None:
        return Auth(url, inside_secret, inside_user) if inside_secret else None
    secret = _plain(credentials)
    username = None
    if secret is None:
        secret = next((text for key in _SECRETS if (text := _plain(_part(credentials, key)))), None)
        username = _plain(_part(credentials, "username"))
    if secret is None:
        raise CheckoutError(
            "the credentials hold no token or password",
            hint=f"pass a token, or a mapping or block with one of: {', '.join(_SECRETS)}",
        )
    if not username and ":" in secret:
        username, _, secret = secret.partition(":")
    _check(secret, username or "")
    return Auth(url, secret, username or inside_user or _default_username(url))


def _plain(value: Json) -> str | None:
    """The text of a string or of an object that guards one; None for anything else."""
    if isinstance(value, str):
        return value.strip()
    if hasattr(value, "get_secret_value"):  # pydantic's SecretStr
        return _plain(value.get_secret_value())
    if hasattr(value, "get") and not isinstance(value, Mapping):  # Prefect's Secret block
        return _plain(value.get())
    return None


def _part(value: Json, key: str) -> Json:
    return value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)


def _check(secret: str, username: str) -> None:
    if "{{" in secret or "{{" in username:
        raise CheckoutError(
            "the credentials still hold a placeholder ({{ ... }}) that Prefect did not fill in",
            hint="check that the block, variable or environment variable it names exists",
        )
    if not secret:
        raise CheckoutError("the credentials are empty", hint="put the token into the block")
    if any(ord(character) < 32 or ord(character) == 127 for character in secret + username):
        raise CheckoutError(
            "the credentials contain a line break or another control character",
            hint="store the token alone",
        )


def _default_username(url: str) -> str | None:
    host = urlsplit(url).hostname or ""
    return next((name for part, name in _USERNAMES if part in host), None)
