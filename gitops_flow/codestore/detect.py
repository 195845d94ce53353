"""What looks like a secret, by the rules of ``secrets.json`` (made by ``tools/secretrules``).

Most secrets are long tokens, so most of a text is never searched: only what
surrounds a run of sixteen or more characters that is no word, and there only
by the rules one of whose keywords stands there. Passwords are shorter; the few
rules for them ask the whole text for their keywords.
"""

from __future__ import annotations

import codecs
import functools
import hashlib
import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_RULES = Path(__file__).with_name("secrets.json")

_RUN = re.compile(rb"(?<![0-9A-Za-z_+-])[0-9A-Za-z_+-]{16,}")
_DIGIT = re.compile(rb"[0-9]")
# Letters alone are a token when their case follows no word.
_CHANGES = re.compile(rb"[A-Z]{16}|(?:[a-z][A-Z].{0,16}?){4}")
# `key: str = "..."` reads like `key = "..."` to every rule.
_ANNOTATION = re.compile(rb":[ \t]*[A-Za-z_][\w.\[\]| ]{0,40}=(?!=)")
_BLOB = re.compile(rb"[0-9A-Za-z+/=]+")
_BEFORE, _AFTER = 200, 80  # bytes around a run that a rule may look at
_LONGEST = 4096  # of a run; a longer one is a picture or the like, and only its head is read

# Values that documentation uses, and what stands for a value that is filled in later.
_EXAMPLE = re.compile(
    rb"""(?ix) example | placeholder | change[-_]?me | replace[-_]?me | redacted | dummy | insert[-_]
    | your[-_]?(own[-_])?(api|access|secret|token|key|pass|user|account|client)
    | my[-_](secret|password|token|api|key) | fake | foobar | lorem | abcdefghijkl | abcdef0?123456
    | 0?123456789 | 987654321 | deadbeef | cafebabe | \.\.\.
    | (?P<one>.)(?P=one){7} | (?P<few>\S{2,6})(?P=few){4}
    | ^(true|false|null|none)$ | ^\$[A-Za-z_]+$ | ^% | \$\{ | \{\{ | \$\( | ^<.*>$ | ^\{.*\}$
    | 4eC39HqLyjWDarjtT1zdp7dc | eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lI
    | eyJzb21lIjoicGF5bG9hZCJ9 | czZCaGRSa3F0Mz
    """
)
# Passwords that are no secret: the word itself, or what examples and test databases use.
_PASSWORD = re.compile(
    rb"""(?ix) (my|the|a|an|some|your|test|db|user|new|old|x|url|proxy|http|super|top)?[-_.]?
    (pass(w(or)?d?)?(phrase)?|pwd?|passwort|secret|token|api[-_]?key|key|auth|credentials?|pswd|code)
    [-_]?(here|value|word)? [0-9!@]{0,4}
    | (postgres(ql)?|mysql|maria(db)?|root|admin|administrator|guest|user(name)?|test(er|ing)?|foo|bar|baz
      |qux|spam|eggs|ham|s3cr3t|s3cret|secret|docker|prefect|airflow|rabbitmq|mongo(db)?|redis|sa|demo
      |default|changeit|letmein|hunter2|hello|world|dev|development|local|sample|none|null|me|scott|joe|bob|alice
      |x-oauth-basic|oauth2?|github|gitlab|git|bearer|port|host|number|string|abc|xyz|pw|pass|minioadmin|minio
      |neo4j|elastic|kafka|celery|django|flask|wordpress|qwerty)[0-9!@]{0,4}
    | x+ | \*+ | \.+ | [0-9]{1,6} | (?P<one>.)(?P=one)+ | [a-z]{1,3} | tiger.* | .*example.* | .*\$.* | %[sdr0-9(].* | \[.*\]?"""
)
_HOST = re.compile(
    rb"""(?ix) localhost | (.*\.)?localhost | 127\.[0-9.]+ | 0\.0\.0\.0 | ::1 | \[.* | \* | (.*\.)?example
    | (.*\.)?example\.[a-z.]+ | (.*\.)?(test|invalid|example)
    | (.*\.)?(foo|bar|baz|domain|yourdomain|mydomain|host|hostname|server|myserver|some|site|website)\.[a-z]{2,5}
    | (my|your|some|the|a|db|proxy|remote|test|private)?[-_.]?(host|hostname|server|domain|machine|address|site|proxy|ip|url|website)[0-9]?
    | (my|your)[-_]?[a-z]*(\.[a-z]{2,4})? | [a-z] | (x|y|z)\.[a-z] | db | database | postgres(ql)? | mysql | mariadb | mongo(db)? | redis | rabbit(mq)?
    | proxy | broker | cache | foo | bar | baz | hostname | hosts? | .*[<${%].* | a\.b(\.c)? | user | h\d"""
)


class _Rule(NamedTuple):
    """One rule; see ``tools/secretrules/own.toml``."""

    id: str
    keywords: tuple[bytes, ...]
    pattern: bytes
    entropy: float
    short: bool
    place: bool
    digit: bool


class Finding(NamedTuple):
    """A rule's name, and the line (from 1) where what it is about begins."""

    rule: str
    line: int


def secret_in(data: bytes) -> Finding | None:
    """The first thing in ``data`` that looks like a secret, or None."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.replace(b"\0", b"")
    lowered = data.lower()
    short, words = _short_rules()
    if any(map(lowered.__contains__, words)):
        for rule in short:
            if any(keyword in lowered for keyword in rule.keywords):
                for start in _matches(rule, data):
                    return Finding(rule.id, data.count(b"\n", 0, start) + 1)
    for offset, part in _surroundings(data):
        part = _ANNOTATION.sub(b"=", part)
        for rule in _asked(part.lower()):
            for start in _matches(rule, part):
                line = data.count(b"\n", 0, offset) + part.count(b"\n", 0, start)
                return Finding(rule.id, line + 1)
    return None


def digest() -> str:
    """What tells these rules from others."""
    return hashlib.sha256(_RULES.read_bytes() + Path(__file__).read_bytes()).hexdigest()


def secret_name(path: str) -> bool:
    """Whether the name of the file at ``path`` alone says that it holds a secret."""
    names = _names()
    path = f"/{path.lower()}"
    directory, _, name = path.rpartition("/")
    name = _without(name, names["copies"])
    if name in names["exact"] or (not directory and name in names["top"]):
        return True
    known = (
        name.endswith(names["endings"])
        or f"{directory}/{name}".endswith(names["paths"])
        or bool(names["patterns"].search(name))
        or any(part in path for part in names["directories"])
    )
    return known and not names["harmless"].intersection(re.split(r"[._-]", name))


def _without(name: str, copies: tuple[str, ...]) -> str:
    if name.startswith("#") and name.endswith("#"):
        name = name[1:-1]
    for ending in copies if name.endswith(copies) else ():
        if name.endswith(ending) and name != ending:
            if ending == ".swp":
                name = name.removeprefix(".") if name.startswith("..") else name
            return name[: -len(ending)]
    return name


def _surroundings(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What lies around long tokens: offsets and pieces that do not overlap."""
    start = end = 0
    for run in _RUN.finditer(data):
        first, last = run.span()
        head = min(last, first + _LONGEST)
        if not _DIGIT.search(data, first, last) and not _CHANGES.search(data, first, head):
            continue
        if first - _BEFORE > end:
            if end:
                yield start, data[start:end]
            start = first - _BEFORE
        end = head + _AFTER
    if end:
        yield start, data[start:end]


def _matches(rule: _Rule, data: bytes) -> Iterator[int]:
    """Where ``rule`` finds a secret that is no example."""
    for match in _compiled(rule.pattern).finditer(data):
        secret = _secret(match)
        if (
            _entropy(secret) >= rule.entropy
            and not _EXAMPLE.search(secret)
            and not (rule.digit and not _DIGIT.search(secret))
            and not (not rule.short and _in_blob(data, match.start()))
            and not (rule.place and _is_example_place(secret, match["host"]))
        ):
            yield match.start()


def _is_example_place(password: bytes, host: bytes) -> bool:
    words = password.isalpha() and b"." not in host
    return words or bool(_PASSWORD.fullmatch(password) or _HOST.fullmatch(host))


def _in_blob(data: bytes, start: int) -> bool:
    """Whether a match that begins at ``start`` is a piece of something encoded, a picture say."""
    return start >= 100 and bool(_BLOB.fullmatch(data, start - 100, start))


def _secret(match: re.Match[bytes]) -> bytes:
    """The first group without a name that matched, else all of it."""
    named = set(match.re.groupindex.values())
    for number in range(1, (match.re.groups or 0) + 1):
        if number not in named and match[number]:
            return match[number]
    return match[0]


def _entropy(text: bytes) -> float:
    """Shannon entropy in bits per character."""
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values())


_compiled = functools.lru_cache(maxsize=None)(re.compile)


def _asked(lowered: bytes) -> Iterable[_Rule]:
    """The rules one of whose keywords stands in ``lowered``, each once."""
    pattern, rules = _keywords()
    return {rule: None for word in dict.fromkeys(pattern.findall(lowered)) for rule in rules[word]}


@functools.cache
def _short_rules() -> tuple[tuple[_Rule, ...], tuple[bytes, ...]]:
    """The rules for passwords, and their keywords, each once."""
    rules = tuple(rule for rule in _rules() if rule.short)
    return rules, tuple({keyword: None for rule in rules for keyword in rule.keywords})


@functools.cache
def _keywords() -> tuple[re.Pattern[bytes], Mapping[bytes, tuple[_Rule, ...]]]:
    """What finds the longest keyword at each place, and the rules that it stands for."""
    rules: dict[bytes, list[_Rule]] = {}
    for rule in _rules():
        for keyword in () if rule.short else rule.keywords:
            rules.setdefault(keyword, []).append(rule)
    # It stands for the shorter keywords that it begins with, too.
    whole = {
        word: tuple(rule for end in range(1, len(word) + 1) for rule in rules.get(word[:end], ()))
        for word in rules
    }
    return re.compile(b"(?=(" + _any_of(rules) + b"))"), whole


@functools.cache
def _data() -> dict[str, Any]:
    return json.loads(_RULES.read_text("utf-8"))  # type: ignore[no-any-return]


@functools.cache
def _names() -> Mapping[str, Any]:
    names = _data()["names"]
    return {
        "exact": frozenset(names["exact"]),
        "top": frozenset(names["top"]),
        "endings": tuple(names["endings"]),
        "paths": tuple(f"/{each}" for each in names["paths"]),
        "patterns": re.compile("|".join(names["patterns"])),
        "directories": tuple(f"/{each}/" for each in names["directories"]),
        "copies": tuple(names["copies"]),
        "harmless": frozenset(names["harmless"]),
    }


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    data = _data()
    return tuple(_rule(each) for each in (*data["rules"], *data["collection"]["rules"]))


def _rule(data: Mapping[str, Any]) -> _Rule:
    return _Rule(
        data["id"],
        tuple(word.encode() for word in data["keywords"]),
        data["pattern"].encode(),
        data.get("entropy", 0.0),
        data.get("short", False),
        data.get("place", False),
        data.get("digit", False),
    )


def _any_of(words: Iterable[bytes]) -> bytes:
    """A pattern for the longest of ``words`` at a place, as a tree: no word is tried by itself."""
    tree: dict[int, Any] = {}
    for word in words:
        node = tree
        for byte in word:
            node = node.setdefault(byte, {})
        node[-1] = {}

    def pattern(node: dict[int, Any]) -> bytes:
        ways = [
            re.escape(bytes([byte])) + pattern(below) for byte, below in node.items() if byte >= 0
        ]
        if not ways:
            return b""
        ended = b"?" if -1 in node else b""
        return b"(?:" + b"|".join(ways) + b")" + ended

    return pattern(tree)
