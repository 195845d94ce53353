"""Releases of a code store, listed, shown, compared and dropped, as text and as JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gitops_flow.redact import redact
from gitops_flow.report.facts import change_lines, code_text
from gitops_flow.report.words import columns, count, fitted, names_within, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitops_flow.codestore.changes import CodeChange
    from gitops_flow.codestore.history import Entry
    from gitops_flow.codestore.sign import Signer
    from gitops_flow.deploy.gc import Collected
    from gitops_flow.deploy.releases import Releases

_INDENT = "    "
# Columns for an author.
_AUTHOR = 16
_SHOWN = 20


def document(entry: Entry, signer: Signer | None) -> dict[str, Any]:
    """A release as ``--json`` prints it."""
    origin = entry.origin
    return {
        "id": entry.id,
        "snapshot": entry.snapshot,
        "time": _time(entry),
        "author": safe(redact(origin.author)),
        "source": safe(origin.source),
        "mark": entry.mark or None,
        "commit": origin.commit,
        "ref": origin.ref,
        "dirty": origin.dirty,
        "files": entry.files,
        "changes": [{"path": safe(c.path), "kind": c.kind} for c in entry.changes],
        "deployments": list(entry.deployments),
        "rollback": entry.rollback,
        "overrides": list(entry.overrides),
        "signed": {"by": safe(signer.name), "state": signer.state} if signer else None,
    }


def text(entry: Entry, signer: Signer | None, change: CodeChange | None) -> list[str]:
    """One release, and what changed since the one before, for people."""
    lines = [
        f"release    {entry.id}",
        f"snapshot   {entry.snapshot}",
        f"made       {_time(entry)} by {entry.origin.author}",
        f"source     {entry.origin.source}, {_whence(entry)}",
    ]
    lines += [f"signed     {_signed(signer)}"] if signer else []
    lines += [f"went back  to release {entry.rollback}"] if entry.rollback else []
    lines += [f"with       {text}" for text in entry.overrides]
    lines += [f"pinned     {name}" for name in entry.deployments]
    if entry.files:
        lines.append(f"{count(entry.files, 'file')} not committed:")
        lines += change_lines(entry.changes)
    if change is not None:
        lines += [code_text(change), *change_lines(change.files)]
    return lines


def rows(
    found: Releases, entry: Entry, signer: Signer | None, now: Sequence[str], width: int
) -> Iterator[str]:
    """One release on a few lines: which, when and whose; its code; what it pinned, and pins now."""
    head = [
        f"@{found.entries.index(entry) + 1}",
        entry.id[:12],
        _time(entry)[:16].replace("T", " ") + "Z",
        fitted(entry.origin.author.partition(" <")[0], _AUTHOR),
    ]
    start = "  ".join(head)
    yield f"{start}  {_whence(entry, 8, width - columns(start) - 2)}"
    more = [f"snapshot {entry.snapshot[:12]}"]
    more += [f"back to {entry.rollback[:12]}"] if entry.rollback else []
    more += [f"signed {_signed(signer)}"] if signer else []
    yield _INDENT + ", ".join(more)
    if entry.deployments and set(now) != set(entry.deployments):
        yield f"{_INDENT}pinned: {names_within(entry.deployments, width - 12)}"
    if now:
        yield f"{_INDENT}pinned now: {names_within(now, width - 16)}"


def _whence(entry: Entry, digits: int = 12, room: int = 1000) -> str:
    """``main 0123456789ab + 2 files`` or ``main 0123456789ab, clean``; the branch gives way."""
    origin = entry.origin
    if origin.commit is None:
        return "no commit"
    rest = f" {origin.commit[:digits]}"
    rest += f" + {count(entry.files, 'file')}" if origin.dirty else ", clean"
    return fitted(origin.ref or "detached", max(room - columns(rest), 1)) + rest


def _signed(signer: Signer) -> str:
    told = {"good": "", "unknown": " (nothing here says whose key that is)", "bad": " (BAD)"}
    return f"by {signer.name}{told[signer.state]}"


def _time(entry: Entry) -> str:
    if not entry.when:
        return "unknown"
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.when))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def dropped_document(done: Collected) -> dict[str, object]:
    """What gc drops and keeps, as ``--json`` prints it."""
    return {
        "ok": True,
        "dropped": [{"id": e.id, "snapshot": e.snapshot} for e in done.sorted.dropped],
        "kept": [{"id": e.id, "snapshot": e.snapshot} for e in done.sorted.kept],
        "kept_because_pinned": [e.id for e in done.sorted.pinned],
        "kept_because_young": [e.id for e in done.sorted.young],
        "servers": [redact(server) for server in done.servers],
        "done": done.tip is not None,
        "entry": done.tip,
    }


def dropped_text(done: Collected, really: bool) -> list[str]:
    """What gc drops, or would drop, and how many releases stay."""
    gone = done.sorted.dropped
    lines = [f"server {each}" for each in done.servers]
    if not gone:
        return [*lines, f"nothing to drop: {_kept(done)}"]
    lines += [
        f"- {e.id[:12]}  snapshot {e.snapshot[:12]}  {e.origin.source}" for e in gone[:_SHOWN]
    ]
    lines += [f"and {len(gone) - _SHOWN} more"] if len(gone) > _SHOWN else []
    word = "dropped" if really else "to drop"
    lines.append(f"{count(len(gone), 'release')} {word}; {_kept(done)}")
    if not really:
        lines.append("nothing was changed; ‹yes› drops them")
    return lines


def _kept(done: Collected) -> str:
    """How many stay, and for what reasons other than the options."""
    kept = f"{count(len(done.sorted.kept), 'release')} stay"
    if done.sorted.pinned:
        kept += f", {len(done.sorted.pinned)} of them because something is pinned to them"
    if done.sorted.young:
        kept += f", {len(done.sorted.young)} of them because nothing of the last hour is dropped"
    return kept
