"""The ledger read back: its releases, newest first, from a copy that holds commits only."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.codestore import ledger, store
from gitops_flow.errors import CodeStoreError, GitError, UsageError
from gitops_flow.git import command, remote
from gitops_flow.git.objects import DamagedError, Objects, parse_commit
from gitops_flow.model import FileChange, Provenance, Snapshot, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.git.repository import Repository
    from gitops_flow.model import Source

_REF = "refs/gitflow/ledger"
# Lets git accept commits without their files; it has no address, so that nothing is ever
# fetched behind our back.
_PROMISOR = "ledger"
_CONFIG = f"""\
[remote "{_PROMISOR}"]
\tpromisor = true
\tpartialclonefilter = tree:0
"""
_KINDS = {"A": "added", "M": "modified", "D": "deleted"}
_RELEASE = re.compile(r"@[1-9][0-9]{0,8}|[0-9a-f]{4,40}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One release as its ledger entry tells it.

    ``id``, ``snapshot``, ``tree`` and ``rollback`` (the entry that was gone
    back to) are 40 hex digits; ``when`` is in seconds since 1970, 0 if it does not tell. ``origin``
    says where the code is from; its author is who made this release.
    ``changes`` are the first files that differed from the source commit,
    ``more`` counts the others. ``signature`` is a signed tag's text. ``overrides`` say
    what was not as in the manifest.
    """

    id: str
    snapshot: str
    tree: str
    when: int
    origin: Provenance
    mark: str
    changes: tuple[FileChange, ...]
    more: int
    deployments: tuple[str, ...]
    rollback: str | None
    signature: str | None
    message: str
    overrides: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """How many files differed from the source commit."""
        return len(self.changes) + self.more

    def of_source(self, source: Source) -> bool:
        """Whether ``source`` made it; older entries only know the source's name."""
        if self.mark:
            # By digest, as for deployments: a renamed source keeps its releases.
            own = map(digest_of, (source.mark, *source.former_marks))
            return digest_of(self.mark) in own
        return self.origin.source == source.name

    def restored(self) -> Snapshot:
        """The snapshot as it was when it was released."""
        return Snapshot(self.snapshot, self.tree, self.origin, self.changes)


@dataclass(frozen=True, slots=True)
class Chain:
    """The whole ledger, newest first, and the copy (a bare repository) that holds its commits."""

    tip: str | None
    entries: tuple[Entry, ...]
    path: Path


def read(cache_dir: Path, repository: Repository, target: CodeStore) -> Chain:
    """Fetch what is new of the ledger and read it; commits only, where the server allows it.

    Raises:
        CodeStoreError: the branch is no ledger.
        RemoteError: the server cannot be asked.
        GitflowError: the cache cannot be written.
    """
    with store.writing(cache_dir / "ledgers"):
        try:
            return _read(_copy(cache_dir, target), repository, target)
        except GitError as error:
            # A power cut can leave empty objects behind; all of it can be fetched again.
            # git looks for what it misses at the remote that has no address.
            if not isinstance(error, DamagedError) and f"'{_PROMISOR}'" not in error.message:
                raise
            files.remove(_copy(cache_dir, target))
            return _read(_copy(cache_dir, target), repository, target)


def _read(path: Path, repository: Repository, target: CodeStore) -> Chain:
    config = repository.network_config()
    with files.locked(path / "gitflow.lock"):
        tip = _tip(target, config)
        if tip is None:
            return Chain(None, (), path)
        if not Objects(path).has(tip):
            _check(path)
            remote.fetch(
                path,
                target.url,
                [f"+{target.ref}:{_REF}"],
                filter="tree:0",
                auth=target.auth,
                config=config,
            )
            # It may have moved on since it was asked for.
            answer = command.run(["rev-parse", _REF], env={"GIT_DIR": str(path)}, timeout=60)
            tip = answer.stdout.decode("ascii").strip()
        return Chain(tip, tuple(_entries(Objects(path), tip, target)), path)


def _check(path: Path) -> None:
    """Refuse a copy whose own commits cannot be read.

    A fetch into it would look for each of them at the remote that has no
    address, again and again, for a minute or two.

    Raises:
        DamagedError: it has to be made anew.
    """
    ref = path / _REF
    if ref.exists():
        newest = ref.read_text("ascii", "replace").strip()
        try:
            Objects(path).data(newest)
        except ValueError as error:
            raise DamagedError(f"{_REF} does not name a commit: {error}") from error


def _tip(target: CodeStore, config: Sequence[tuple[str, str]]) -> str | None:
    try:
        if target.embedded and not Path(target.url).exists():
            return None  # nothing was ever published
    except OSError as error:
        raise CodeStoreError(
            f"the embedded code store cannot be read: {error.strerror}",
            where=target.url,
            hint="set GITFLOW_DATA_DIR to the directory in which it was made",
        ) from error
    return remote.ls_remote(target.url, target.ref, auth=target.auth, config=config)


def _copy(cache_dir: Path, target: CodeStore) -> Path:
    """A repository for commits alone: the private store must know of no missing objects."""
    key = f"{target.url}\n{target.branch}".encode("utf-8", "surrogateescape")
    path = cache_dir / "ledgers" / f"{hashlib.sha256(key).hexdigest()[:16]}.git"
    store.make(path, _CONFIG)
    return path


def _entries(objects: Objects, tip: str, target: CodeStore) -> Iterator[Entry]:
    at = tip
    while True:
        data = objects.data(at)
        entry = parse(at, data)
        if entry is None:
            if not ledger.is_ledger(objects, at):
                raise CodeStoreError(
                    f"the branch {target.branch!r} is not a code store", where=target.url
                )
            return
        yield entry[0]
        at = entry[1]


def parse(entry_id: str, data: bytes) -> tuple[Entry, str] | None:
    """An entry's commit and the id of the one before it; None when it is no entry."""
    commit = parse_commit(data)
    if commit is None or len(commit.parents) != 2:
        return None
    text, _, tail = commit.message.rstrip("\n").rpartition("\n\n")
    trailers = [line.partition(": ")[::2] for line in tail.split("\n")]
    said = dict(reversed(trailers))
    if said.get("Gitflow-Snapshot") != commit.parents[1]:
        return None
    changes, more = _changes(text.partition("\n\n")[2])
    entry = Entry(
        id=entry_id,
        snapshot=commit.parents[1],
        tree=commit.tree,
        when=ledger.made_at(commit.committer),
        origin=Provenance(
            source=said.get("Gitflow-Source", ""),
            commit=_or_none(said.get("Gitflow-Source-Commit")),
            dirty=said.get("Gitflow-Dirty") == "true",
            author=said.get("Gitflow-Author", ""),
            ref=_or_none(said.get("Gitflow-Source-Ref")),
        ),
        mark=said.get("Gitflow-Mark", ""),
        changes=changes,
        more=more,
        deployments=tuple(value for key, value in trailers if key == "Gitflow-Deployment"),
        rollback=said.get("Gitflow-Rollback"),
        overrides=tuple(value for key, value in trailers if key == "Gitflow-Override"),
        signature=commit.signature,
        message=commit.message,
    )
    return entry, commit.parents[0]


def _or_none(text: str | None) -> str | None:
    return None if text in (None, "none") else text


def _changes(text: str) -> tuple[tuple[FileChange, ...], int]:
    changes, more = [], 0
    for line in text.splitlines():
        kind = _KINDS.get(line[:2].strip())
        if kind and line[1:2] == " ":
            changes.append(FileChange(line[2:], kind))  # type: ignore[arg-type]
        elif counted := re.fullmatch(r"and ([0-9]{1,9}) more", line):
            more = int(counted[1])
    return tuple(changes), more


def looks_like_release(text: str) -> bool:
    """Whether ``text`` can name a release: ``@2``, or the beginning of an id."""
    return bool(_RELEASE.fullmatch(text))


def find(entries: Sequence[Entry], text: str) -> Entry:
    """The release that ``text`` names: ``@1`` (the newest) and so on, or an id's beginning.

    Ids are those of entries or of snapshots; of a snapshot that was released
    more than once, the newest entry counts.

    Raises:
        UsageError: none is called that, or several are.
    """
    if not looks_like_release(text):
        hint = "write @1 for the newest, or 4 or more digits of an id from `gitflow history`"
        raise UsageError(f"{text!r} does not name a release", hint=hint)
    if text.startswith("@"):
        number = int(text[1:])
        if number > len(entries):
            raise UsageError(f"there is no release {text}: there are {len(entries)}")
        return entries[number - 1]
    hits = {each.id: each for each in entries if each.id.startswith(text)}
    for each in entries:
        if each.snapshot.startswith(text) and not any(
            other.snapshot == each.snapshot for other in hits.values()
        ):
            hits[each.id] = each
    if not hits:
        raise UsageError(f"there is no release {text!r}", hint="gitflow history lists them")
    if len(hits) > 1:
        listed = ", ".join(sorted(hit[:12] for hit in hits))
        raise UsageError(f"{text!r} names several releases: {listed}", hint="write more digits")
    return next(iter(hits.values()))


def before(entries: Sequence[Entry], snapshot: str) -> Entry | None:
    """The release that preceded ``snapshot``'s; None when there is none.

    Going back twice leads further back: a release that is itself a rollback
    counts as the one it went back to.
    """
    left = list(entries)
    while left and left[0].snapshot != snapshot:
        del left[0]
    while left and (back := left[0].rollback):
        older = [number for number, each in enumerate(left) if number and each.id == back]
        # Its own entry may have been dropped; one of the same code is as good.
        older += [n for n, each in enumerate(left) if n and each.snapshot == snapshot]
        if not older:
            break
        del left[: older[0]]
    return next((each for each in left[1:] if each.snapshot != snapshot), None)
