"""Parts that the reports of several commands share."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import TYPE_CHECKING, Any

from gitops_flow.cli.streams import printable
from gitops_flow.deploy import Phase, StepLine
from gitops_flow.plan import Conflict, Delete, Held, Update
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.cli.options import Again
    from gitops_flow.codestore.history import Entry
    from gitops_flow.deploy import Event
    from gitops_flow.model import Deployment, FileChange, LeftOut, Problem, Snapshot, Source
    from gitops_flow.plan import Plan
    from gitops_flow.settings import Settings

_SHOWN = 8
_ID = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})[0-9a-f]{28}(?![0-9a-f])")


class Talk:
    """What is being done, as one live line on a terminal; nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._live = not quiet and sys.stderr.isatty()

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._write("")

    def say(self, what: str) -> None:
        """Show ``what`` is being done."""
        self._write(f"{what} ...")

    def event(self, event: Event) -> None:
        """Show what a deploy tells of itself; what became of a deployment is told in its report."""
        if isinstance(event, Phase):
            self.say(event.value)
        elif isinstance(event, StepLine):
            self.line(event.text)

    def clear(self) -> None:
        """Make room for something else on the terminal."""
        self._write("")

    def line(self, text: str) -> None:
        """Pass on a line that a step printed; always on standard error."""
        self._write("")
        sys.stderr.write(f"  | {printable(redact(text))}\n")
        sys.stderr.flush()

    def _write(self, shown: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{shown}")
            sys.stderr.flush()


def server_line(settings: Settings) -> str:
    """``server http://127.0.0.1:4200/api (prefect.toml: api.url)``: which, and who says so."""
    connection = settings.require_prefect()
    named_by = f" ({connection.named_by})" if connection.named_by else ""
    return printable(redact(f"server {connection.api_url}{named_by}"))


def server(settings: Settings) -> str:
    """The server's address as ``--json`` prints it."""
    return safe(redact(settings.require_prefect().api_url))


def source_document(source: Source, snapshot: Snapshot) -> dict[str, Any]:
    """Where the code comes from, as ``--json`` prints it."""
    origin = snapshot.provenance
    return {
        "name": source.name,
        "manifest": safe(source.manifest),
        "mark": source.mark,
        "commit": origin.commit,
        "ref": origin.ref,
        "dirty": origin.dirty,
        "author": safe(origin.author),
    }


def snapshot_document(snapshot: Snapshot) -> dict[str, Any]:
    """What is shipped, as ``--json`` prints it."""
    return {
        "commit": snapshot.commit,
        "tree": snapshot.tree,
        "changes": [{"path": safe(c.path), "kind": c.kind} for c in snapshot.changes],
        "left_out": [{"path": safe(o.path), "reason": o.reason} for o in snapshot.left_out],
    }


def snapshot_text(snapshot: Snapshot) -> str:
    """``snapshot 1a2b3c4d5e6f (0123456789ab + 2 uncommitted files)``."""
    origin = snapshot.provenance
    state = origin.commit[:12] if origin.commit else "no commit"
    if origin.dirty:
        state += f" + {count(len(snapshot.changes), 'uncommitted file')}"
    return f"snapshot {snapshot.commit[:12]} ({state})"


def restored_lines(release: Entry | None) -> list[str]:
    """To which release this goes back, if it does."""
    return [f"back to release {release.id[:12]} of {release.origin.author}"] if release else []


def change_lines(changes: Sequence[FileChange]) -> list[str]:
    """The first files that differ, one a line."""
    lines = [f"  {change.kind[0].upper()} {change.path}" for change in changes[:_SHOWN]]
    more = len(changes) - _SHOWN
    return [*lines, f"  and {more} more (--json lists all)"] if more > 0 else lines


def left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    """What is not in the snapshot, by reason; things that are hardly a surprise only counted."""
    by_reason: dict[str, list[str]] = {}
    for item in left_out:
        by_reason.setdefault(item.reason, []).append(item.path)
    lines = []
    for reason, paths in by_reason.items():
        shown = ", ".join(paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        lines.append(f"left out, {reason}: {shown}{more}")
    return lines


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """``warning: place: what``, each only once: at the first place, with how many there are."""
    alike: dict[tuple[str, str, str | None], list[Problem]] = {}
    for each in problems:
        said = each.message.removeprefix(each.subject)
        alike.setdefault((each.severity, said, each.hint), []).append(each)
    return [
        f"{severity}: {redact(str(found[0]))}"
        + (f" (the first of {len(found)} places)" if len(found) > 1 else "")
        for (severity, _, _), found in alike.items()
    ]


def next_lines(command: str | None) -> list[str]:
    """``next: COMMAND``; nothing for one that would not work as it can be printed."""
    if command is None or printable(redact(command)) != command:
        return []
    return [f"next: {command}"]


def orphan_lines(orphans: Sequence[Deployment], again: Again) -> list[str]:
    """What the source owns and its manifest has no more: a fact, and how to look at it."""
    if not orphans:
        return []
    look = again("plan", prune=True)
    return [
        *(f"not in the manifest any more: {item.full_name}" for item in orphans),
        f"  left alone; to see what deleting would mean: {redact(look)}",
    ]


def kept_lines(planned: Plan) -> list[str]:
    """Which deployments keep the code they have, though there is other code."""
    kept = [
        action.full_name
        for action in planned.actions
        if not isinstance(action, Delete | Held | Conflict) and action.desired.keeps_code
    ]
    if not kept:
        return []
    told = f"unchanged (code outside {'its' if len(kept) == 1 else 'their'} paths): "
    return [told + names_within(kept, 200)]


def pointer_document(planned: Plan) -> dict[str, Any]:
    """The release pointer and who does without it, as ``--json`` prints them."""
    pointer = planned.pointer
    return {
        "release_pointer": pointer
        and {
            "name": pointer.name,
            "before": _commit(pointer.before),
            "after": _commit(pointer.after),
        },
        "literal": [{"name": name, "reason": reason} for name, reason in planned.literal],
    }


def pointer_lines(planned: Plan) -> list[str]:
    """Where the release pointer goes, and who names a commit although there is one."""
    pointer, lines = planned.pointer, list[str]()
    if pointer is not None and pointer.after is None:
        lines.append(f"release pointer {pointer.name}: deleted, nothing names it any more")
    elif pointer is not None:
        before, after = _commit(pointer.before), str(_commit(pointer.after))
        code = f"{before[:12]} -> {after[:12]}" if before else f"new, at {after[:12]}"
        number = sum(isinstance(each, Update) and each.by_pointer for each in planned.actions)
        lines.append(
            f"release pointer {pointer.name}: {code}, "
            f"new code for {count(number, 'deployment')} with one write"
        )
    reasons: dict[str, list[str]] = {}
    for name, reason in planned.literal:
        reasons.setdefault(reason, []).append(name)
    lines += [
        f"with a commit of {'its' if len(names) == 1 else 'their'} own ({reason}): "
        f"{names_within(names, 200)}"
        for reason, names in reasons.items()
    ]
    return lines


def _commit(value: Any) -> str | None:
    """The commit in a release pointer's value, None where there is none."""
    commit = value.get("commit") if isinstance(value, dict) else None
    return commit if isinstance(commit, str) else None


def names_within(names: Sequence[str], room: int) -> str:
    """``a, b and 3 more``: as many names as fit into ``room`` columns, at least one."""
    for shown in range(len(names), 0, -1):
        more = len(names) - shown
        text = ", ".join(names[:shown]) + (f" and {more} more" if more else "")
        if columns(text) <= room:
            return text
    return fitted(text, room) if names else ""


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def fitted(text: str, room: int) -> str:
    """``text`` in at most ``room`` columns, its end cut off where it is longer."""
    if columns(text) <= room:
        return text
    while text and columns(text) > room - 1:
        text = text[:-1]
    return f"{text}…"


def short_ids(text: str) -> str:
    """``text`` with 12 digits of each id of 40."""
    return _ID.sub(r"\1", text)


def count(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def safe(value: str) -> str:
    """A path or name as JSON can carry it: bytes that are not UTF-8 are escaped."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
