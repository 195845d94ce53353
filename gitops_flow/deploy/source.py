"""What is deployed, as a value: a working tree, or a release that is gone back to."""

from __future__ import annotations

import contextlib
import itertools
import os
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import manifest, names
from gitops_flow.codestore import address
from gitops_flow.errors import GitError, UsageError
from gitops_flow.git import repository
from gitops_flow.git.objects import DIRECTORY, GITLINK, SYMLINK, Objects
from gitops_flow.git.objects import Entry as TreeEntry
from gitops_flow.model import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.codestore.history import Entry
    from gitops_flow.codestore.snapshot import Options
    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.git.repository import Author, Repository
    from gitops_flow.manifest import DeploymentConfig, Manifest
    from gitops_flow.model import Snapshot
    from gitops_flow.settings import Settings

NAME = "prefect.yaml"
_MOST_LINKS = 10
# Files among which a misspelt name is looked for.
_MOST_FILES = 5000


@dataclass(frozen=True, slots=True)
class File:
    """A manifest's content, and its name in messages; ``folder`` is the name of what holds it."""

    data: bytes
    shown: str
    folder: str = ""


@dataclass(frozen=True, slots=True)
class WorkingTree:
    """The files on disk around ``manifest``, which is absolute; see :func:`working_tree`.

    Args:
        directory: where the user is: messages are relative to it, and entrypoints may be.
        manifest: the ``prefect.yaml``.
        clean: HEAD instead of what is on disk.
    """

    directory: Path
    manifest: Path
    clean: bool = False

    @property
    def has_steps(self) -> bool:
        """Whether build and push steps run."""
        return True

    def repository(self, settings: Settings) -> tuple[Repository, str]:
        """The repository, and the manifest's path in it.

        Raises:
            GitflowError: git refuses the repository, or the manifest is not in it.
        """
        path = self.manifest
        repo = repository.discover(path.parent, own=(settings.cache_dir, settings.data_dir))
        if repo.git_dir is None and self.directory.resolve() != path.parent:
            with contextlib.suppress(GitError):
                here = repository.discover(self.directory)
                if here.git_dir is not None:
                    _refuse_beside(here.root, path)
        return repo, inside(repo.root.resolve(), path).as_posix()

    def file(self) -> File:
        """The manifest as it is on disk.

        Raises:
            ManifestError: it cannot be read.
        """
        shown = _relative(self.manifest, self.directory)
        return File(manifest.content(self.manifest, shown), shown, self.manifest.parent.name)

    def current(self, root: Path) -> str | None:
        """The current directory relative to ``root``, "" for that; None outside."""
        root, directory = root.resolve(), self.directory.resolve()
        if not directory.is_relative_to(root):
            return None
        path = directory.relative_to(root).as_posix()
        return "" if path == "." else path

    def snapshot(
        self,
        project: Project,
        store: PrivateStore,
        options: Options,
        author: Author,
        environ: Mapping[str, str],
    ) -> Snapshot:
        """Take it; its objects are in ``store`` alone, and nothing else is written.

        Raises:
            SnapshotError: the working tree cannot be snapshotted.
        """
        from gitops_flow.codestore import snapshot

        snap = snapshot.take(
            project.repository,
            store,
            replace(options, clean=self.clean),
            source=project.source.name,
            author=project.repository.identity(author),
        )
        origin = snap.provenance
        if origin.ref is not None or origin.commit is None:
            return snap
        branch = repository.branch_of_ci(environ, origin.commit)
        return replace(snap, provenance=replace(origin, ref=branch))


@dataclass(frozen=True, slots=True)
class Release:
    """A release of a source instead of what the source holds now.

    Args:
        of: the source, which says where its releases are.
        to: which (``@2``, an id's beginning); None for the one before what is pinned.
        code_only: change the pins and leave the configuration as it is.
        hold: hold the deployments there until the hold is released.
        entry: the release itself, once it has been looked up.
    """

    of: WorkingTree
    to: str | None = None
    code_only: bool = False
    hold: bool = False
    entry: Entry | None = None

    @property
    def has_steps(self) -> bool:
        """False: they would build today's code."""
        return False

    def repository(self, settings: Settings) -> tuple[Repository, str]:
        """Those of the source that it is a release of."""
        return self.of.repository(settings)

    def file(self) -> File:
        """The manifest of the source as it is now, which says where the releases are."""
        return self.of.file()

    def current(self, root: Path) -> str | None:
        """As for the source."""
        return self.of.current(root)

    def snapshot(
        self,
        _project: Project,
        _store: PrivateStore,
        _options: Options,
        _author: Author,
        _environ: Mapping[str, str],
    ) -> Snapshot:
        """The snapshot that was released."""
        if self.entry is None:
            raise ValueError("the release has not been looked up")
        return self.entry.restored()


AnySource = WorkingTree | Release


@dataclass(frozen=True, slots=True)
class Project:
    """A source that has been found: its manifest, and where its code comes from and goes to.

    ``base`` is the manifest's directory relative to the repository's root, ""
    at the root; ``current`` the one that the user is in, None outside.
    ``chosen`` are the deployments that are meant, once that is known. Nothing has been
    written so far.
    """

    origin: AnySource
    settings: Settings
    manifest: Manifest
    repository: Repository
    source: Source
    base: str
    current: str | None
    target: CodeStore
    chosen: tuple[DeploymentConfig, ...] = ()

    @property
    def restored(self) -> Entry | None:
        """The release that is gone back to, if this is one."""
        return self.origin.entry if isinstance(self.origin, Release) else None


def working_tree(directory: Path, named: Path | None = None, *, clean: bool = False) -> WorkingTree:
    """The source around ``directory``: its manifest is ``named``, or the nearest ``prefect.yaml``.

    Raises:
        UsageError: there is none from there upwards.
    """
    if named is not None:
        return WorkingTree(directory, _named(directory, named), clean)
    top = directory.resolve()
    for place in (top, *top.parents):
        if (place / NAME).is_file():
            return WorkingTree(directory, place / NAME, clean)
        if (place / ".git").exists():
            break
    raise UsageError(
        f"there is no {NAME} here",
        where=str(directory),
        hint="write one (README.md shows how), or name yours with --file",
    )


def find(origin: AnySource, settings: Settings) -> Project:
    """What ``origin`` is, and where its releases are, whatever is wrong with its deployments.

    Raises:
        GitflowError: what says the source in the manifest, the repository or the code store.
    """
    return _project(origin, settings, strict=False, source_only=True)


def read(origin: AnySource, settings: Settings, *, strict: bool = False) -> Project:
    """What ``origin`` is, with its whole manifest; of a release, with what says its source.

    Raises:
        GitflowError: the manifest, the repository or the code store.
    """
    return _project(origin, settings, strict=strict, source_only=isinstance(origin, Release))


def _project(origin: AnySource, settings: Settings, *, strict: bool, source_only: bool) -> Project:
    # Before the manifest is read: messages about it quote it.
    repo, path = origin.repository(settings)
    file = origin.file()
    document = manifest.parse(
        file.data, file.shown, strict=strict, directory=file.folder, source_only=source_only
    )
    # A clone may be in a directory of any name; what it was cloned from is the same for all.
    identity, *former = address.identities(repo, document.gitflow.source)
    name = document.name or address.name_of(repo)
    return Project(
        origin=origin,
        settings=settings,
        manifest=document,
        repository=repo,
        source=Source(name, identity, path, str(repo.root), tuple(former)),
        base=path.rpartition("/")[0],
        current=origin.current(repo.root),
        target=address.resolve(
            repo, settings.code_store.over(document.gitflow.code_store), settings.data_dir
        ),
    )


def _named(directory: Path, named: Path) -> Path:
    path = directory / named
    try:
        if path.is_dir():
            path = path / NAME
        if path.is_file():
            return path.parent.resolve() / path.name
    except OSError as error:
        reason = f"the manifest cannot be read: {error.strerror}"
        raise UsageError(reason, where=str(named)) from None
    raise UsageError("there is no such manifest", where=str(named))


def inside(root: Path, path: Path) -> Path:
    """The manifest's path relative to the working tree's root.

    Raises:
        UsageError: it is outside (core.worktree can say so, or a link).
    """
    if not path.is_relative_to(root):
        raise UsageError(
            f"the manifest is outside the repository's working tree, {root}",
            where=str(path),
            hint="move it there, or correct core.worktree in the repository's configuration",
        )
    if not path.resolve().is_relative_to(root):
        raise UsageError(
            f"the manifest is a link that leaves the repository's working tree, {root}",
            where=str(path),
            hint="put the file itself there",
        )
    return path.relative_to(root)


def _refuse_beside(root: Path, path: Path) -> None:
    """Refuse a manifest that is in no repository, named from within the one at ``root``."""
    if not path.resolve().is_relative_to(root.resolve()):
        raise UsageError(
            f"the manifest is outside the repository that you are in, {root}, "
            "so it would not be released with its code",
            where=str(path),
            hint="move it into the repository; or run gitflow in the manifest's directory, "
            "to deploy that as a plain folder",
        )


def _relative(path: Path, directory: Path) -> str:
    try:
        return os.path.relpath(path, directory)
    except ValueError:
        return str(path)


class Files:
    """Files of a snapshot's tree, by path with "/"; what a worker will find."""

    def __init__(self, objects: Objects, tree: str) -> None:
        self._objects = objects
        self._tree = tree
        self._trees: dict[str, dict[bytes, TreeEntry]] = {}

    def read(self, path: str) -> bytes | None:
        """The content of a file, following links inside the tree; None if there is none."""
        found = self.blob_id(path)
        return None if found is None else self._objects.data(found)

    def blob_id(self, path: str) -> str | None:
        """The object id of a file's content, following links inside the tree."""
        for _ in range(_MOST_LINKS):
            normal = posixpath.normpath(path)
            if normal.startswith(("../", "/")) or normal in ("..", "."):
                return None
            found = self._walk(normal)
            if found is None:
                return None
            reached, rest, entry = found
            if entry.mode in (DIRECTORY, GITLINK):
                return None
            if entry.mode != SYMLINK:
                return entry.id
            target = self._objects.data(entry.id).decode("utf-8", "surrogateescape")
            path = posixpath.join(posixpath.dirname(reached), target, rest)
        return None

    def nearest(self, directory: str, path: str) -> str | None:
        """The Python file below ``directory`` whose path is most like ``path``."""
        found = self._walk(directory) if directory else ("", "", TreeEntry(DIRECTORY, self._tree))
        if found is None or found[2].mode != DIRECTORY:
            return None
        known = list(itertools.islice(self._python_files(found[2].id, ""), _MOST_FILES))
        same_name = [each for each in known if posixpath.basename(each) == posixpath.basename(path)]
        return names.nearest(path, known) or (same_name[0] if same_name else None)

    def _python_files(self, tree: str, prefix: str) -> Iterator[str]:
        for name, entry in self._entries(tree).items():
            path = prefix + _text(name)
            if entry.mode == DIRECTORY:
                yield from self._python_files(entry.id, f"{path}/")
            elif path.endswith(".py"):
                yield path

    def _walk(self, path: str) -> tuple[str, str, TreeEntry] | None:
        """How far ``path`` leads without following a link, what is left of it, and what is there."""
        names = path.encode("utf-8", "surrogateescape").split(b"/")
        entry: TreeEntry | None = TreeEntry(DIRECTORY, self._tree)
        for at, name in enumerate(names):
            if entry is None or entry.mode not in (DIRECTORY, SYMLINK):
                return None
            if entry.mode == SYMLINK:
                reached, rest = b"/".join(names[:at]), b"/".join(names[at:])
                return _text(reached), _text(rest), entry
            entry = self._entries(entry.id).get(name)
        return (path, "", entry) if entry is not None else None

    def _entries(self, tree: str) -> dict[bytes, TreeEntry]:
        if tree not in self._trees:
            self._trees[tree] = self._objects.tree(tree)
        return self._trees[tree]


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
