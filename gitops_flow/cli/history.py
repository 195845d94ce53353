"""``gitflow history``, ``show``, ``diff RELEASE RELEASE`` and ``checkout``."""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, Any

from gitops_flow.cli import options, streams
from gitops_flow.cli.parts import (
    change_lines,
    columns,
    count,
    fitted,
    names_within,
    problem_lines,
    safe,
    server,
    server_line,
)
from gitops_flow.cli.plan import code_document, code_text
from gitops_flow.cli.streams import printable
from gitops_flow.deploy.releases import check_out as make
from gitops_flow.deploy.releases import releases
from gitops_flow.model import Problem
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gitops_flow.codestore.history import Entry
    from gitops_flow.codestore.sign import Signer
    from gitops_flow.deploy.releases import Releases
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.model import CodeStoreSettings

_INDENT = "    "
# Columns for an author, and for a line at the least.
_AUTHOR = 16
_NARROWEST = 40
_LONGEST_PATCH = 5_000_000


def listing(
    source: AnySource,
    names: Sequence[str],
    environ: Mapping[str, str],
    *,
    profile: str | None,
    code_store: CodeStoreSettings,
    everything: bool,
    limit: int,
    as_json: bool,
) -> int:
    """List the newest ``limit`` releases that pinned one of the named deployments."""
    said = options.settings(source, environ, profile=profile, code_store=code_store)
    found = releases(source, said, everything=everything, live=True)
    now, warnings = found.pinned_now(), _not_asked(found)
    chosen = found.of(names)
    shown = [(entry, found.signer(entry)) for entry in chosen[:limit]]
    if as_json:
        pinned = [None if now is None else now.get(entry.id, []) for entry, _ in shown]
        told = [
            {**document(*each), "pinned_now": names}
            for each, names in zip(shown, pinned, strict=True)
        ]
        said_too = [redact(str(each)) for each in warnings]
        whole = {"ok": True, "total": len(chosen), "releases": told, "warnings": said_too}
        whole["server"] = server(said) if said.prefect else None
        streams.out(json.dumps(whole) + "\n")
        return 0
    width = max(shutil.get_terminal_size().columns, _NARROWEST)
    lines = [
        fitted(printable(redact(line)), width)
        for entry, signer in shown
        for line in _rows(found, entry, signer, (now or {}).get(entry.id, []), width)
    ]
    lines[:0] = [server_line(said)] if lines and now is not None else []
    more = len(chosen) - len(shown)
    lines += [f"and {more} older (--limit N)"] if more else []
    lines += problem_lines(warnings) if chosen else []
    _print(lines or ["there is no release yet; gitflow deploy --all makes one"])
    return 0


def _not_asked(found: Releases) -> list[Problem]:
    """A warning when the server did not say what is pinned; the list is as good without it."""
    error = found.live.problem
    if error is None:
        return []
    place = f"{error.where}: " if error.where else ""
    message = f"it is not known which releases are pinned now: {place}{error.message}"
    return [Problem(message, None, hint=error.hint, severity="warning")]


def show(
    source: AnySource,
    environ: Mapping[str, str],
    release: str,
    *,
    code_store: CodeStoreSettings,
    as_json: bool,
) -> int:
    """Show one release and what changed since the one before."""
    found = _read(source, environ, code_store)
    entry = found.find(release)
    signer, previous = found.signer(entry), found.before(entry)
    change = found.compare(previous, entry) if previous else None
    if as_json:
        told = {"ok": True, **document(entry, signer)}
        told["changed"] = code_document(change) if change else None
        streams.out(json.dumps(told) + "\n")
        return 0
    origin = entry.origin
    lines = [
        f"release    {entry.id}",
        f"snapshot   {entry.snapshot}",
        f"made       {_time(entry)} by {origin.author}",
        f"source     {origin.source}, {_whence(entry)}",
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
    _print(lines)
    return 0


def are_releases(names: Sequence[str]) -> bool:
    """Whether these arguments of ``gitflow diff`` can name two releases."""
    from gitops_flow.codestore.history import looks_like_release

    return len(names) == 2 and all(map(looks_like_release, names))


def diff(
    source: AnySource,
    names: Sequence[str],
    environ: Mapping[str, str],
    *,
    code_store: CodeStoreSettings,
    as_json: bool,
    exit_code: bool,
    patch: bool = False,
) -> int:
    """Compare the code of the two releases that are named, line by line with ``patch``."""
    found = _read(source, environ, code_store)
    one, other = map(found.find, names)
    change = found.compare(one, other)
    if patch:
        _print_patch(found.patch(one, other, _LONGEST_PATCH))
    elif as_json:
        streams.out(json.dumps({"ok": True, **code_document(change)}) + "\n")
    else:
        listed = [f"  {file.kind[0].upper()} {file.path}" for file in change.files]
        _print([code_text(change), *listed])
    return 4 if exit_code and change.files else 0


def _print_patch(patch: bytes) -> None:
    """Print a patch: to a program as it is, to a terminal without what could steer it."""
    if streams.is_terminal():
        text = patch.decode("utf-8", "surrogateescape")
        streams.show(printable(line, keep="\t") for line in text.split("\n")[:-1])
    else:
        streams.out_bytes(patch)
    if len(patch) == _LONGEST_PATCH:
        size = f"{_LONGEST_PATCH // 1_000_000} MB"
        streams.err(f"the patch is longer than {size}; gitflow checkout gives both releases\n")


def check_out(
    source: AnySource,
    environ: Mapping[str, str],
    release: str,
    directory: Path,
    *,
    code_store: CodeStoreSettings,
) -> int:
    """Write a release's files to ``directory``."""
    found = _read(source, environ, code_store)
    entry = found.find(release)
    files = make(found, entry, directory)
    _print([f"{count(files, 'file')} of release {entry.id[:12]} in {directory}"])
    return 0


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


def _read(
    source: AnySource,
    environ: Mapping[str, str],
    code_store: CodeStoreSettings,
) -> Releases:
    said = options.settings(source, environ, code_store=code_store)
    return releases(source, said)


def _rows(
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


def _print(lines: Sequence[str]) -> None:
    streams.show(printable(redact(line)) for line in lines)
