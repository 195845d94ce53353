"""What the reports of several commands tell alike: the code, the pointer, warnings, what is next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitops_flow.plan import Conflict, Delete, Held, Update
from gitops_flow.redact import redact
from gitops_flow.report.words import count, names_within, printable, safe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitops_flow.codestore.changes import CodeChange
    from gitops_flow.codestore.history import Entry
    from gitops_flow.model import Deployment, FileChange, LeftOut, Problem, Snapshot, Source
    from gitops_flow.plan import Plan
    from gitops_flow.settings import Settings

    # The command that was asked for once more, as another verb and with other options.
    Again = Callable[..., str]

_SHOWN = 8


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


def code_document(change: CodeChange) -> dict[str, Any]:
    """What lies between two snapshots, as ``--json`` prints it."""
    return {
        "before": change.before,
        "after": change.after,
        "files": [{"path": safe(file.path), "kind": file.kind} for file in change.files],
        "insertions": change.insertions,
        "deletions": change.deletions,
    }


def code_text(change: CodeChange) -> str:
    """``code: 1a2b3c4d5e6f -> 6f5e4d3c2b1a, 2 files, 10 lines added, 3 removed``."""
    return (
        f"code: {change.before[:12]} -> {change.after[:12]}, "
        f"{count(len(change.files), 'file')}, "
        f"{count(change.insertions, 'line')} added, {change.deletions} removed"
    )


def restored_lines(release: Entry | None) -> list[str]:
    """To which release this goes back, if it does."""
    return [f"back to release {release.id[:12]} of {release.origin.author}"] if release else []


def change_lines(changes: Sequence[FileChange]) -> list[str]:
    """The first files that differ, one a line."""
    lines = [f"  {change.kind[0].upper()} {change.path}" for change in changes[:_SHOWN]]
    more = len(changes) - _SHOWN
    return [*lines, f"  and {more} more (‹json› lists all)"] if more > 0 else lines


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


def orphan_lines(orphans: Sequence[Deployment], again: Again | None) -> list[str]:
    """What the source owns and its manifest has no more: a fact, and how to look at it."""
    lines = [f"not in the manifest any more: {item.full_name}" for item in orphans]
    if again is None or not lines:
        return lines
    look = redact(again("plan", prune=True))
    return [*lines, f"  left alone; to see what deleting would mean: {look}"]


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
        before = str(_commit(pointer.before))[:12] if pointer.exists else "something else"
        was = "new, at" if pointer.before is None else f"{before} ->"
        code = f"{was} {str(_commit(pointer.after))[:12]}"
        if pointer.exists and _commit(pointer.before) == _commit(pointer.after):
            code = f"{before}, with another signature"
        number = sum(isinstance(each, Update) and each.by_pointer for each in planned.actions)
        gain = f", new code for {count(number, 'deployment')} with one write" if number else ""
        lines.append(f"release pointer {pointer.name}: {code}{gain}")
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
