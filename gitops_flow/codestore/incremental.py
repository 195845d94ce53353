"""Snapshots of a working tree that is watched: only what changed is looked at and hashed.

The last tree is kept, and only the directories above a changed file are rewritten, so that the
time does not grow with the repository. The result is that of a full snapshot; wherever that is
not sure, a full one is taken.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from gitops_flow import files
from gitops_flow.codestore import scan, select, snapshot
from gitops_flow.files import MAX_DEPTH
from gitops_flow.git import command, environment
from gitops_flow.git.formats import pointer
from gitops_flow.git.objects import DIRECTORY, EXECUTABLE, FILE, Entry, Objects
from gitops_flow.model import FileChange

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gitops_flow.codestore.snapshot import Options, Taken
    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Repository
    from gitops_flow.model import Snapshot

# Where one of these changes, other files can be in or out, or be hashed in another way.
_RULES = {b".gitignore", b".gitattributes", b".gitmodules", b".git"}
_RULES |= set(map(os.fsencode, scan.EXTRA_IGNORE_FILES))
# Names that git may refuse on some system, or that a file system may hold in two forms.
_ODD_NAME = re.compile(rb"(?i)(?:^|/)\.?git|[^\x20-\x7e]|\\")
# Reasons to leave out a file that hold whatever is in it.
_BY_NAME = {"ignored", "bytecode or litter", select.CI_FILE}
_FALSE = {"false", "no", "off", "0", ""}

_Signature = dict[str, tuple[int, int, int] | None]


class _UnsureError(Exception):
    """A full snapshot has to be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class _Last:
    """The last snapshot, and what its successor has to know.

    ``base`` is the tree of the source commit. ``left_out`` are reasons by path. ``staged`` are
    the paths whose index differs from HEAD, ``unwatched`` those that git does not look at.
    ``signature`` is the state of the files that decide on more than themselves.
    """

    objects: Objects
    taken: Taken
    snapshot: Snapshot
    base: str | None
    left_out: Mapping[bytes, str]
    staged: frozenset[bytes]
    unwatched: frozenset[bytes]
    signature: _Signature
    settings: Mapping[str, str]


class Incremental:
    """Takes snapshots of one working tree, again and again; for one thread.

    ``full_because`` says why the last one was a full one; it is None after an incremental one.
    """

    def __init__(
        self, repo: Repository, store: PrivateStore, options: Options, *, source: str, author: str
    ) -> None:
        """The arguments are those of :func:`gitops_flow.codestore.snapshot.take`."""
        self.full_because: str | None = None
        self._repo, self._store, self._options = repo, store, options
        self._source, self._author = source, author
        self._last: _Last | None = None

    def take(self, changed: Iterable[str | bytes | os.PathLike[str]]) -> Snapshot:
        """Snapshot the working tree.

        Args:
            changed: every path that may have been made, edited, moved or deleted since the last
                call: relative to the top of the working tree, or absolute.

        Raises:
            SnapshotError: as in a full snapshot; the next one is a full one then.
        """
        with self._store.locked():
            last, self._last = self._last, None
            try:
                self._last = self._after(last, changed)
                self.full_because = None
            except _UnsureError as unsure:
                self.full_because = str(unsure)
                self._last = self._full()
        return self._last.snapshot

    def _full(self) -> _Last:
        # Before anything is looked at: what changes meanwhile shows the next time.
        origins, settings = _configuration(self._repo, self._store)
        signature = _signature((*_deciding(self._repo, settings), *origins))
        taken = snapshot.working_tree(self._repo, self._store, self._options)
        objects, commit = self._store.objects(), taken.scan.commit
        return _Last(
            objects,
            taken,
            self._made(objects, taken),
            objects.commit(commit).tree if commit else None,
            {os.fsencode(each.path): each.reason for each in taken.left_out},
            frozenset(each.path for each in taken.scan.tracked if each.index != each.head),
            frozenset(each.path for each in taken.scan.unwatched),
            signature,
            settings,
        )

    def _made(self, objects: Objects, taken: Taken) -> Snapshot:
        ref = taken.scan.ref
        return snapshot.made(objects, taken, source=self._source, author=self._author, ref=ref)

    def _after(
        self, last: _Last | None, changed: Iterable[str | bytes | os.PathLike[str]]
    ) -> _Last:
        if last is None:
            raise _UnsureError("there is no snapshot before it")
        if _signature(last.signature) != last.signature:
            raise _UnsureError("HEAD, the index or a setting of git changed")
        self._check_kind(last)
        if not last.objects.has(last.taken.tree):
            raise _UnsureError("the cache was emptied")
        look = _Look(self._repo, self._store, self._options, last)
        for path in {look.inside(each) for each in changed}:
            look.at(path)
        entries = look.finish()
        if not entries:
            return last
        taken = self._laid_over(last, entries)
        return replace(last, taken=taken, snapshot=self._made(last.objects, taken))

    def _check_kind(self, last: _Last) -> None:
        """Some repositories are too much for a shortcut."""
        state, settings = last.taken.scan, last.settings
        if self._options.clean or self._options.lfs:
            raise _UnsureError("HEAD alone, or the content of large files, is asked for")
        if state.submodules:
            raise _UnsureError("there are submodules")
        present = (path for path, about in last.signature.items() if about)
        attributes = any(path.endswith("attributes") for path in present)
        if state.has_attributes or attributes or "core.attributesfile" in settings:
            raise _UnsureError("there are attributes")
        if settings.get("core.autocrlf", "false").lower() not in _FALSE:
            raise _UnsureError("core.autocrlf is set")
        if settings.get("core.filemode", "true").lower() in _FALSE:
            raise _UnsureError("core.fileMode is off")

    def _laid_over(self, last: _Last, entries: Mapping[bytes, Entry | None]) -> Taken:
        """The last tree with ``entries``; those that are not as committed are checked."""
        objects = last.objects
        changes = {os.fsencode(each.path): each for each in last.taken.changes}
        others = dict(last.taken.sizes)
        fresh = []
        for path, entry in entries.items():
            name = os.fsdecode(path)
            before = objects.find(last.base, path) if last.base else None
            changes.pop(path, None)
            others.pop(name, None)
            if kind := snapshot.change(before, entry):
                changes[path] = FileChange(name, kind)
            if entry and (kind or path in last.staged):
                fresh.append(path)
        sizes = select.names_and_sizes(self._repo, fresh, self._options, "", others)
        select.contents(objects, fresh, entries, self._options, "")
        return replace(
            last.taken,
            tree=objects.overlay(last.taken.tree, entries),
            changes=tuple(changes[path] for path in sorted(changes)),
            sizes=sizes,
        )


class _Look:
    """A look at the changed paths: what becomes of each in the tree."""

    def __init__(self, repo: Repository, store: PrivateStore, options: Options, last: _Last):
        self._repo, self._store, self._options = repo, store, options
        self._last, self._objects = last, last.objects
        self._top = os.fsencode(repo.root) + b"/"
        self._own = tuple(last.taken.scan.own)
        self._looked_at: set[bytes] = set()
        self._new: list[bytes] = []
        self._entries: dict[bytes, Entry | None] = {}

    def inside(self, path: str | bytes | os.PathLike[str]) -> bytes:
        """The path relative to the top of the working tree."""
        name = os.fsencode(path)
        if name.startswith(b"/"):
            if not name.startswith(self._top):
                _unsure("a path outside of the working tree changed", name)
            name = name[len(self._top) :]
        if any(part in (b"", b".", b"..") for part in name.split(b"/")):
            _unsure("it is not plain which path changed", name)
        return name

    def at(self, path: bytes) -> None:
        """Note the new entry of ``path``, if its change is one of the snapshot."""
        if self._is_apart(path):
            return
        if path in self._last.unwatched:
            _unsure("git does not look at a path that changed", path)
        self._check_parents(path)
        before, reason = self._before(path), self._last.left_out.get(path)
        try:
            about = os.lstat(self._top + path)
        except (FileNotFoundError, NotADirectoryError):
            about = None
        except OSError as error:
            _unsure(f"a path cannot be read ({error.strerror})", path)
        if reason and (before or about is None or reason not in _BY_NAME):
            _unsure("a path that was left out or noted changed", path)
        if about is not None and not stat.S_ISREG(about.st_mode):
            _unsure("a directory, link or special file changed", path)
        if before and before.mode not in (FILE, EXECUTABLE):
            _unsure("a directory or link changed", path)
        if reason or (before is None and about is None):
            return
        if before is None:
            self._check_new(path)
        self._entries[path] = self._hashed(path, about) if about else None

    def finish(self) -> dict[bytes, Entry | None]:
        """What differs from the last tree, by path; None for what is gone."""
        if self._new:
            answer = command.run(
                ["check-ignore", "-z", "--stdin"],
                cwd=self._repo.root,
                env=self._store.worktree_env(self._repo),
                stdin=b"\0".join([*self._new, b""]),
                check=False,
            )
            if answer.returncode != 1:
                raise _UnsureError("a new path is ignored")
        return self._entries

    def _is_apart(self, path: bytes) -> bool:
        """Whether ``path`` is below something that is no part of the snapshot, and stays so."""
        parts = path.split(b"/")
        if parts[0] == b".git" and self._repo.git_dir is not None:
            return True  # what counts in there is in the signature
        if any(path.startswith(own) and os.path.isdir(self._top + own) for own in self._own):  # noqa: PTH112
            return True
        for above in _above(path):
            reason = self._last.left_out.get(above + b"/")
            # An empty directory is not listed among what is ignored.
            if reason == "ignored" and any(files for *_, files in os.walk(self._top + above)):
                return True
            if reason:
                _unsure("a path that was left out changed", path)
        if not _RULES.isdisjoint(parts):
            _unsure("a file that decides on others changed", path)
        return False

    def _check_parents(self, path: bytes) -> None:
        """The directories above must be plain ones, without rules for what is in them."""
        for above in (b"", *_above(path)):
            if above in self._looked_at:
                continue
            directory = self._top + above
            try:
                if not stat.S_ISDIR(os.lstat(directory).st_mode):
                    _unsure("a directory became something else", above)
            except FileNotFoundError:
                return
            except OSError as error:
                _unsure(f"a directory cannot be read ({error.strerror})", above)
            if os.path.lexists(os.path.join(directory, b".gitattributes")):  # noqa: PTH118
                _unsure("there are attributes", above)
            if above and os.path.lexists(os.path.join(directory, b".git")):  # noqa: PTH118
                _unsure("a directory is a repository of its own", above)
            self._looked_at.add(above)

    def _before(self, path: bytes) -> Entry | None:
        entry = Entry(DIRECTORY, self._last.taken.tree)
        for name in path.split(b"/"):
            if entry.mode != DIRECTORY:
                _unsure("a file became a directory", path)
            below = self._objects.tree(entry.id).get(name)
            if below is None:
                return None
            entry = below
        return entry

    def _check_new(self, path: bytes) -> None:
        """A path that the last tree does not have must not be one to leave out."""
        settings = self._last.settings
        names = ("core.ignorecase", "core.precomposeunicode")
        if any(settings.get(name, "false").lower() not in _FALSE for name in names):
            _unsure("names may be written in several ways here", path)
        if path.count(b"/") > MAX_DEPTH or _ODD_NAME.search(path) or scan.is_by_product(path):
            _unsure("a new path has an unusual name", path)
        if select.is_ci_file(path) and not self._options.ci_files:
            _unsure("a new path is a CI file", path)
        for above in (b"", *_above(path)):
            for name in scan.EXTRA_IGNORE_FILES:
                file = os.path.join(self._top + above, os.fsencode(name))  # noqa: PTH118
                if os.path.lexists(file):
                    _unsure(f"a {name} may say that a new path is ignored", path)
        self._new.append(path)

    def _hashed(self, path: bytes, about: os.stat_result) -> Entry:
        if about.st_size > self._options.allow.file_limit:
            _unsure("a file is large", path)
        try:
            descriptor = os.open(self._top + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123
                data = file.read()
        except OSError as error:
            _unsure(f"a file cannot be read ({error.strerror})", path)
        if pointer(data):
            _unsure("a file is a pointer of Git LFS", path)
        mode = EXECUTABLE if about.st_mode & stat.S_IXUSR else FILE
        return Entry(mode, self._objects.write_blob(data))


def _unsure(why: str, path: bytes) -> NoReturn:
    raise _UnsureError(f"{why}: {os.fsdecode(path)}")


def _above(path: bytes) -> Iterator[bytes]:
    """The directories above ``path``, from the top."""
    at = path.find(b"/")
    while at > 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _configuration(repo: Repository, store: PrivateStore) -> tuple[list[Path], dict[str, str]]:
    """The files that git's settings are in, and the settings."""
    answer = command.run(
        ["config", "--list", "-z", "--show-origin", "--includes"],
        cwd=repo.root,
        env=store.worktree_env(repo),
        timeout=60,
    )
    fields = os.fsdecode(answer.stdout).split("\0")
    origins = {name.removeprefix("file:") for name in fields[::2] if name.startswith("file:")}
    pairs = (pair.partition("\n") for pair in fields[1::2])
    # A key without a value is true.
    settings = {key: value if found else "true" for key, found, value in pairs}
    return [repo.root / name for name in origins], settings


def _deciding(repo: Repository, settings: Mapping[str, str]) -> Iterator[Path]:
    """The files that decide on more than themselves and are no part of the working tree."""
    environ = environment.current().environ
    home = files.from_home("~", environ)
    yield home / ".gitconfig"
    for place in (Path(environ.get("XDG_CONFIG_HOME", "")), home / ".config"):
        yield from (place / "git" / name for name in ("config", "ignore", "attributes"))
    yield Path("/etc/gitconfig")
    yield Path("/etc/gitattributes")
    if excludes := settings.get("core.excludesfile"):
        yield repo.root / files.from_home(excludes, environ)
    if repo.git_dir is None or repo.objects is None:
        yield repo.root / ".git"
        return
    for name in ("HEAD", "index", "config.worktree", "info/sparse-checkout"):
        yield repo.git_dir / name
    common = repo.objects.parent
    for name in (
        "config",
        "packed-refs",
        "reftable/tables.list",
        "info/exclude",
        "info/attributes",
    ):
        yield common / name
    head = (repo.git_dir / "HEAD").read_bytes().strip()
    if head.startswith(b"ref: "):
        yield common / os.fsdecode(head[5:])


def _signature(paths: Iterable[Path | str]) -> _Signature:
    signature: _Signature = {}
    for path in paths:
        try:
            about = Path(path).stat()
        except OSError:
            signature[str(path)] = None
        else:
            signature[str(path)] = (about.st_mtime_ns, about.st_size, about.st_ino)
    return signature
