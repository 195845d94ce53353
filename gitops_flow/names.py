"""Which deployments a name means, and which of the known words a wrong one was meant to be."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import re
from typing import TYPE_CHECKING, TypeVar

from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Key = TypeVar("Key")
# Longer ones are no slip of the finger, and comparing them takes its time.
_LONGEST_WORD = 200
_LONGEST_SUFFIX = 60
_SUFFIX_DIGEST = re.compile(r"\.[0-9a-f]{8}$")


def suffix(text: str) -> str:
    """What the names of a copy's deployments end in, for ``kim`` as for ``-kim``: ``-kim``.

    A letter or digit beyond ASCII, and all else that a name, a tag or a glob might trip over,
    becomes ``-``. Then, as with what is too long, some digits of the text's digest end it, so
    that no two texts (branches ``a/b`` and ``a-b``) have one suffix.

    Raises:
        ValueError: nothing of it is left.
    """
    asked = text.removeprefix("-")
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", asked)
    if not any(map(str.isalnum, asked)):
        raise ValueError("a suffix has at least one letter or digit")
    if plain != asked or len(plain) > _LONGEST_SUFFIX or _SUFFIX_DIGEST.search(plain):
        digest = hashlib.sha256(asked.encode("utf-8", "surrogateescape")).hexdigest()
        plain = f"{plain[: _LONGEST_SUFFIX - 9]}.{digest[:8]}"
    return f"-{plain}"


def both(full_name: str, suffix: str = "") -> tuple[str, ...]:
    """The names of the deployment ``flow/name``: ``name``, ``flow/name``, and without ``suffix``."""
    names: tuple[str, ...] = (full_name.partition("/")[2], full_name)
    if suffix and full_name.endswith(suffix):
        names += tuple(each.removesuffix(suffix) for each in names)
    return names


def matching(known: Mapping[Key, Sequence[str]], wanted: str) -> set[Key]:
    """The keys of ``known`` whose words ``wanted`` means.

    Args:
        known: the words (names or tags) of each key.
        wanted: a word, which then means no other one, or a glob (``*``, ``?``, ``[...]``).
    """
    exact = {key for key, words in known.items() if wanted in words}
    return exact or {
        key
        for key, words in known.items()
        if any(fnmatch.fnmatchcase(word, wanted) for word in words)
    }


def called(known: Mapping[Key, Sequence[str]], wanted: str) -> set[Key]:
    """The deployments that ``wanted`` means: with a slash in it by ``flow/name``, as in Prefect.

    Args:
        known: of each deployment its ``name``, then its ``flow/name``, of which there may be
            several.
        wanted: a name or a glob, as for :func:`matching`.
    """
    whole = "/" in wanted
    return matching(
        {key: words[1:] if whole else words[:1] for key, words in known.items()}, wanted
    )


def may_be_called(name: str, wanted: str) -> bool:
    """Whether ``wanted`` can mean the deployment ``flow/name`` for some flow."""
    flow, _, own = wanted.rpartition("/")
    return bool(flow) and bool(matching({name: (name,)}, own))


def nearest(word: str, words: Iterable[str], closeness: float = 0.6) -> str | None:
    """The known word that ``word`` was probably meant to be, or None.

    Args:
        word: what was written.
        words: what would be right.
        closeness: from 0 (anything) to 1 (equal).
    """
    if len(word) > _LONGEST_WORD:
        return None
    close = difflib.get_close_matches(word, list(words), 1, closeness)
    return close[0] if close else None


def did_you_mean(word: str, words: Iterable[str], closeness: float = 0.6) -> str | None:
    """A hint that names the nearest known word, or None."""
    close = nearest(word, words, closeness)
    return f"did you mean {redact(close)!r}?" if close else None
