"""Masking of secrets in anything that is shown, logged or stored."""

from __future__ import annotations

import base64
import logging
import re
from urllib.parse import quote

MASK = "****"

# userinfo of a URL: everything between scheme:// and the last @ before the path.
# Bounded, so that a megabyte without a break costs no more than it must.
_USERINFO = re.compile(
    r"(?<![A-Za-z0-9+.-])(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20}://)"
    r"(?P<userinfo>[^/\s?#'\"]{0,4096}"
    # A password that should have been quoted: what follows the colon is no port.
    r"|[^/\s?#'\":@]{0,4096}:(?!\d{0,5}[/?#])[^\s'\"]{0,256})@"
)
# A parameter of a query or a fragment that by its name is a secret.
_PARAMETER = re.compile(
    r"(?i)([?&;#](?:[a-z0-9._-]{0,40}[._-])?(?:token|key|apikey|secret|passw(?:or)?d|passphrase|pwd|"
    r"pass|sig|signature|credentials?|auth|authorization)=)(?!\*{4}\W)[^&;#\s'\"<>]+"
)
_HEADER = re.compile(r"(?i)(authorization\s*:\s*)(basic|bearer|token)\s+[^\s'\"]+")
_SECRET_KEY = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|api[_-]?key|auth[_-]?string|private[_-]?key|credential)"
)


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return ``text`` with what URLs and authorization headers hold, and ``secrets``, masked.

    Of a URL that is the userinfo, and parameters whose names are those of secrets.

    Short secrets (under 4 characters) are not replaced: masking every "a" in a
    message would hide the message and reveal the secret.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    text = _USERINFO.sub(lambda m: _mask_userinfo(m["scheme"], m["userinfo"]), text)
    text = _PARAMETER.sub(rf"\g<1>{MASK}", text)
    return _HEADER.sub(rf"\1\2 {MASK}", text)


def _mask_userinfo(scheme: str, userinfo: str) -> str:
    # ssh://git@host is an account name, not a secret; http user names often are tokens.
    if scheme.lower() in ("ssh://", "git+ssh://") and ":" not in userinfo:
        return f"{scheme}{userinfo}@"
    return f"{scheme}{MASK}@"


def forms(user: str, secret: str) -> tuple[str, ...]:
    """The secret in every form in which a server that repeats a request shows it."""
    login = f"{user}:{secret}".encode("utf-8", "surrogateescape")
    return (secret, quote(secret, safe=""), base64.b64encode(login).decode())


def is_secret_key(key: str) -> bool:
    """Whether a mapping key by its name is likely to hold a secret."""
    return bool(_SECRET_KEY.search(key))


class RedactingFilter(logging.Filter):
    """Masks secrets in the finished message of each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace the message by its masked form; nothing is dropped."""
        record.msg = redact(record.getMessage())
        record.args = ()
        return True


def get_logger(name: str) -> logging.Logger:
    """Return the logger ``gitops_flow.<name>``, redacting."""
    logger = logging.getLogger(f"gitops_flow.{name}")
    if not any(isinstance(f, RedactingFilter) for f in logger.filters):
        logger.addFilter(RedactingFilter())
    return logger
