"""The ledger: the first-parent chain of the code store's branch. Pure, but for reading objects.

It starts with a constant, empty, parentless commit. Every entry after it is a
commit with the snapshot's tree and exactly the parents (previous entry,
snapshot); its trailers say who, when, from what, and which deployments.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.errors import GitError
from gitops_flow.git.objects import EMPTY_TREE, Objects
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitops_flow.model import Snapshot

ROOT_IDENT = "gitops-flow <ledger@gitops-flow.invalid> 0 +0000"
ROOT_MESSAGE = (
    "code store\n"
    "\n"
    "This branch is written by gitflow (gitops-flow). Each of its entries names a\n"
    "snapshot of code as its second parent; Prefect workers fetch those snapshots.\n"
)
_TRAILER = "Gitflow-Snapshot"
# What GitHub, GitLab, Bitbucket, Gitea, CircleCI and others look for in a commit's first line.
_SKIP_CI = "[skip ci]"
_FILES_SHOWN = 200
# A date of twelve digits would be after the year 5000.
_DATED = re.compile(r"[^<>\0\n]* <[^<>\0\n]*> ([0-9]{1,11}) [+-][0-9]{4}")
_LOOKED_AT = 100
# Seconds that a predecessor's date may lie ahead of our clock and still be believed; a date
# of next year would make every later entry as young as itself.
_CLOCK_SKEW = 86400


@dataclass(frozen=True, slots=True)
class Release:
    """What an entry says of itself, besides the snapshot.

    ``when`` is in seconds since 1970. ``deployments`` are the full names that
    were to be pinned, ``mark`` is their source's. ``author`` is who releases,
    when that is not the snapshot's. ``rollback`` is the entry that this one
    goes back to, ``signature`` a signed tag of the snapshot (its whole text). ``overrides``
    say what was not as in the manifest, without secrets.
    """

    snapshot: Snapshot
    deployments: tuple[str, ...]
    when: int
    mark: str = ""
    author: str | None = None
    rollback: str | None = None
    signature: str | None = None
    overrides: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        deployments: Iterable[str] = (),
        *,
        mark: str = "",
        author: str | None = None,
        rollback: str | None = None,
    ) -> Release:
        """A release of ``snapshot`` that is made now."""
        now = int(time.time())
        return cls(snapshot, tuple(deployments), now, mark, author, rollback)


def write_root(objects: Objects) -> str:
    """Write the constant first commit; its id is the same everywhere."""
    objects.write_tree({})
    return objects.write_commit(EMPTY_TREE, (), ROOT_MESSAGE, ROOT_IDENT)


def write_entry(objects: Objects, previous: str, release: Release) -> str:
    """Write the entry for ``release`` on top of ``previous`` and return its id.

    It is never dated before ``previous``, whatever the publisher's clock says.
    """
    snapshot = release.snapshot
    before = made_at(objects.commit(previous).committer)
    when = before if release.when < before <= release.when + _CLOCK_SKEW else release.when
    return objects.write_commit(
        snapshot.tree,
        (previous, snapshot.commit),
        message(release),
        f"{_ident(_author(release))} {when} +0000",
        # The header in which git itself keeps a signed tag that was merged.
        headers={"mergetag": release.signature} if release.signature else None,
    )


def _author(release: Release) -> str:
    return release.author or release.snapshot.provenance.author


def message(release: Release) -> str:
    """The message of an entry: a subject, the files that differ, and trailers."""
    snapshot = release.snapshot
    origin = snapshot.provenance
    count = len(snapshot.changes)
    state = f"{count} uncommitted file{'' if count == 1 else 's'}" if origin.dirty else "clean"
    subject = f"{_line(origin.source)}: snapshot {snapshot.commit[:12]} ({state}) {_SKIP_CI}"
    shown = [f"{c.kind[0].upper()} {_line(c.path)}" for c in snapshot.changes[:_FILES_SHOWN]]
    if count > _FILES_SHOWN:
        shown.append(f"and {count - _FILES_SHOWN} more")
    trailers = [
        (_TRAILER, snapshot.commit),
        ("Gitflow-Source", origin.source),
        ("Gitflow-Source-Commit", origin.commit or "none"),
        ("Gitflow-Source-Ref", origin.ref or "none"),
        ("Gitflow-Dirty", "true" if origin.dirty else "false"),
        ("Gitflow-Author", _author(release)),
        *([("Gitflow-Mark", release.mark)] if release.mark else []),
        *([("Gitflow-Rollback", release.rollback)] if release.rollback else []),
        *(("Gitflow-Override", text) for text in release.overrides),
        *(("Gitflow-Deployment", name) for name in release.deployments),
    ]
    body = [subject, "", *shown, ""] if shown else [subject, ""]
    return "\n".join([*body, *(f"{key}: {_line(value)}" for key, value in trailers), ""])


def quiet(message: str) -> str:
    """An entry's message that starts no CI; those of older versions did not say so."""
    subject, newline, rest = message.partition("\n")
    return message if _SKIP_CI in subject else f"{subject} {_SKIP_CI}{newline}{rest}"


def snapshot_of(objects: Objects, entry: str) -> str | None:
    """The snapshot that a commit releases; None when it is the root or no ledger entry."""
    commit = objects.commit(entry)
    if len(commit.parents) != 2:
        return None
    trailer = re.search(rf"^{_TRAILER}: ([0-9a-f]{{40}})$", commit.message, re.MULTILINE)
    return trailer[1] if trailer and trailer[1] == commit.parents[1] else None


def is_ledger(objects: Objects, tip: str) -> bool:
    """Whether ``tip`` can be the newest commit of a ledger."""
    commit = objects.commit(tip)
    is_root = not commit.parents and commit.tree == EMPTY_TREE and commit.message == ROOT_MESSAGE
    return is_root or snapshot_of(objects, tip) is not None


def holds(
    objects: Objects,
    tip: str,
    snapshot: str,
    *,
    since: float = 0.0,
    signed: bool = False,
    newest_of: str | None = None,
) -> bool:
    """Whether ``snapshot`` is released in the newest part of the ledger that is here.

    False only means "not known": the private store may not have the whole
    chain, and a long one is not walked to its end on every publish. ``since``
    (seconds since 1970) wants an entry at least as new, ``signed`` a signed one,
    ``newest_of`` (a source's mark) one of that source, with no other snapshot of it after it.
    """
    entry = tip
    for _ in range(_LOOKED_AT):
        if not objects.has(entry):
            return False
        try:
            released = snapshot_of(objects, entry)
        except GitError:
            return False
        if released is None:
            return False
        commit = objects.commit(entry)
        of_source = newest_of is None or f"\nGitflow-Mark: {newest_of}\n" in commit.message
        if of_source and released == snapshot and made_at(commit.committer) >= since:
            return not signed or commit.signature is not None
        if of_source and newest_of is not None:
            return False
        entry = commit.parents[0]
    return False


def made_at(ident: str) -> int:
    """The seconds since 1970 in ``Name <mail> seconds +0000``; 0 if there is no such date."""
    date = _DATED.fullmatch(ident)
    return int(date[1]) if date else 0


def dated(ident: str) -> str:
    """``ident``, a committer as it was read, in a form that servers accept."""
    return ident if _DATED.fullmatch(ident) else f"{_ident('')} 0 +0000"


def _ident(author: str) -> str:
    """``Name <mail>`` in the form that fsck accepts."""
    name, _, mail = author.partition(" <")
    clean = re.compile(r"[\x00-\x1f\x7f<>]")
    name = clean.sub("", name).strip() or "unknown"
    mail = clean.sub("", mail).strip()
    return f"{name} <{mail}>"


def _line(text: str) -> str:
    """One line of printable text, without secrets; other bytes are escaped."""
    plain = redact(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\x{ord(m[0]):02x}", plain)
