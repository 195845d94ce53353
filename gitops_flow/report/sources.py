"""How the sources of a controller are, from its JSON, for people."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from gitops_flow.report.words import columns, count, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What somebody has to do something about is first.
_WORDS = ("degraded", "out-of-sync", "progressing", "suspended", "synced")
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def lines(document: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """A line for each source, and below it everything that is wrong with it."""
    if document["config_error"]:
        yield "degraded  gitflow.yaml as it is now is not followed"
        yield from _indented(document["config_error"])
        yield ""
    sources = sorted(document["sources"], key=_rank)
    rows = [_row(each, now) for each in sources]
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for source, row in zip(sources, rows, strict=True):
        yield "  ".join(map(_padded, row, widths)).rstrip()
        for text in _details(source, now):
            yield from _indented(text)
    words = [each["word"] for each in sources]
    told = [f"{words.count(word)} {word}" for word in _WORDS if word in words]
    yield f"{count(len(words), 'source')}: {', '.join(told)}" if words else "no sources"


def _rank(source: Mapping[str, Any]) -> tuple[int, str]:
    return _WORDS.index(source["word"]), source["name"]


def _row(source: Mapping[str, Any], now: datetime) -> Sequence[str]:
    commit = source["deployed"] or source["commit"]
    ref = source["ref"].removeprefix("refs/heads/").removeprefix("refs/tags/")
    looked = age(source["looked_at"], now)
    return (
        source["word"],
        shown(source["name"]),
        shown(ref) or "HEAD",
        commit[:12] if commit else "-",
        count(source["deployments"], "deployment"),
        f"seen {looked} ago" if looked else "not seen yet",
    )


def _details(source: Mapping[str, Any], now: datetime) -> Iterator[str]:
    if source["error"]:
        yield source["error"]
    if source["failures"] > 1:
        since = age(source["failing_since"], now)
        yield f"failed {source['failures']} times in {since}"
    if source["phase"]:
        yield f"{source['phase']} ..."
    if (suspension := source["suspension"]) is not None:
        yield _suspended(suspension)
    yield from source["differences"]
    yield from (f"{each} (left so: switched on purpose)" for each in source["switched"])
    if source["commit"] and source["deployed"] not in (None, source["commit"]):
        yield f"git has {source['commit'][:12]}"


def _suspended(suspension: Mapping[str, Any]) -> str:
    told = "suspended"
    told += f" by {suspension['author']}" if suspension["author"] else ""
    told += " in gitflow.yaml" if suspension["configured"] else ""
    told += f" until {suspension['until'][:16].replace('T', ' ')}" if suspension["until"] else ""
    return told + (f": {suspension['reason']}" if suspension["reason"] else "")


def age(when: str | None, now: datetime) -> str:
    """How long ago that was, in its largest unit: ``12s``, ``3h``; "" for never."""
    if when is None:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(when)).total_seconds()))
    unit, size = next((each for each in _UNITS if seconds >= each[1]), _UNITS[-1])
    return f"{seconds // size}{unit}"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _indented(text: str) -> Iterator[str]:
    yield from (f"  {shown(line)}" for line in text.splitlines())
