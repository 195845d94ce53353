"""What is deployed, as a value: a working tree, a commit, or a release that is gone back to."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import files, manifest, names
from gitops_flow.codestore import address
from gitops_flow.deploy.code import Files
from gitops_flow.errors import GitError, ManifestError, UsageError
from gitops_flow.git import repository
from gitops_flow.git.objects import Objects
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
_ID = re.compile(r"[0-9a-f]{40}")


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
        suffix: what the names of its deployments end in, as :func:`gitops_flow.names.suffix`
            has it; None leaves it to the manifest. Nothing of it runs by itself then.
        environment: one of the manifest's, which is laid over the deployments.
    """

    directory: Path
    manifest: Path
    clean: bool = False
    suffix: str | None = None
    environment: str | None = None

    def repository(self, settings: Settings) -> tuple[Repository, str]:
        """The repository, and the manifest's path in it.

        Raises:
            GitflowError: git refuses the repository, or the manifest is not in it.
        """
        path = self.manifest
        # It may be gone with the directories that it was in.
        around = next(each for each in path.parents if each.is_dir())
        repo = repository.discover(around, own=(settings.cache_dir, settings.data_dir))
        if repo.git_dir is None and self.directory.resolve() != path.parent:
            with contextlib.suppress(GitError):
                here = repository.discover(self.directory)
                if here.git_dir is not None:
                    _refuse_beside(here.root, path)
        return repo, inside(repo.root.resolve(), path).as_posix()

    def file(self, _repository: Repository | None = None) -> File:
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

    @contextlib.contextmanager
    def on_disk(self, repo: Repository, _store: PrivateStore, _snap: Snapshot) -> Iterator[Path]:
        """Where steps run and flows are imported: the working tree itself."""
        yield repo.root


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of a bare repository; no working tree is needed, and none is made but for steps.

    Args:
        git_dir: the bare repository, which is never written to.
        sha: the commit, 40 hex digits.
        manifest: its ``prefect.yaml``, relative to the root, with "/".
        branch: the branch that it was taken from.
        identity: which repository this is, unless the manifest says so; None for what the
            address of its remote says. What has one identity has one mark.
        suffix: as for a working tree; the branch's name will do.
        environment: as for a working tree. Nothing is asked of the server that it names: where
            Prefect is, the settings say.
    """

    git_dir: Path
    sha: str
    manifest: str = NAME
    branch: str | None = None
    identity: str | None = None
    suffix: str | None = None
    environment: str | None = None

    def repository(self, _settings: Settings) -> tuple[Repository, str]:
        """The repository, and the manifest's path in it.

        Raises:
            GitError: it is no bare repository, or one with ids of another kind.
            UsageError: the manifest's path leads out of it.
        """
        path = posixpath.normpath(self.manifest)
        if path.startswith(("../", "/")) or path in ("..", "."):
            raise UsageError("the manifest is outside the repository", where=self.manifest)
        return repository.bare(self.git_dir), path

    def file(self, repo: Repository) -> File:
        """The manifest in the commit.

        Raises:
            GitError: the repository does not have the commit.
            UsageError: that is no commit's id, or the commit has no such file.
        """
        objects = Objects(self.git_dir)
        if not _ID.fullmatch(self.sha):
            raise UsageError(f"{self.sha!r} is no commit's id", hint="give all 40 digits")
        if not objects.has(self.sha):
            raise GitError(
                f"the repository does not have the commit {self.sha}",
                where=str(self.git_dir),
                hint="fetch it first",
            )
        path = posixpath.normpath(self.manifest)
        data = Files(objects, objects.commit(self.sha).tree).read(path)
        if data is None:
            raise UsageError(f"the commit {self.sha[:12]} has no {path}", where=str(self.git_dir))
        folder = posixpath.basename(posixpath.dirname(path)) or address.name_of(repo)
        return File(data, path, folder)

    def current(self, _root: Path) -> str | None:
        """None: nobody is in a bare repository."""
        return None

    def snapshot(
        self,
        project: Project,
        store: PrivateStore,
        options: Options,
        author: Author,
        _environ: Mapping[str, str],
    ) -> Snapshot:
        """As of a clone that has the commit checked out, without any uncommitted work.

        Raises:
            SnapshotError: the commit has submodules or files that are refused.
        """
        from gitops_flow.codestore import snapshot

        return snapshot.of_commit(
            store,
            self.sha,
            options,
            source=project.source.name,
            author=project.repository.identity(author),
            ref=self.branch,
        )

    @contextlib.contextmanager
    def on_disk(self, _repo: Repository, store: PrivateStore, snap: Snapshot) -> Iterator[Path]:
        """Where steps run and flows are imported: the snapshot's files, gone after the block."""
        from gitops_flow import checkout  # seldom needed, and slow to load

        with files.temporary("gitflow-code-") as top:
            lender = store.lend(top / "snapshot.git")
            yield checkout.make(str(lender), snap.commit, top).directory


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

    of: WorkingTree | Commit
    to: str | None = None
    code_only: bool = False
    hold: bool = False
    entry: Entry | None = None

    def repository(self, settings: Settings) -> tuple[Repository, str]:
        """Those of the source that it is a release of."""
        return self.of.repository(settings)

    def file(self, repo: Repository) -> File:
        """The manifest of the source as it is now, which says where the releases are."""
        return self.of.file(repo)

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

    def on_disk(
        self, repo: Repository, store: PrivateStore, snap: Snapshot
    ) -> contextlib.AbstractContextManager[Path]:
        """As for the source."""
        return self.of.on_disk(repo, store, snap)


AnySource = WorkingTree | Commit | Release


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


def working_tree(
    directory: Path,
    named: Path | None = None,
    *,
    clean: bool = False,
    suffix: str | None = None,
    environment: str | None = None,
    may_be_gone: bool = False,
) -> WorkingTree:
    """The source around ``directory``: its manifest is ``named``, or the nearest ``prefect.yaml``.

    With ``may_be_gone`` it need not be there any more; then it is the one that was at the top.

    Raises:
        UsageError: there is none from there upwards.
    """
    if named is not None:
        path = _named(directory, named, may_be_gone)
        return WorkingTree(directory, path, clean, suffix, environment)
    top = directory.resolve()
    for place in (top, *top.parents):
        if (place / NAME).is_file():
            return WorkingTree(directory, place / NAME, clean, suffix, environment)
        if (place / ".git").exists():
            break
    if may_be_gone:
        top = place if (place / ".git").exists() else top
        return WorkingTree(directory, top / NAME, clean, suffix, environment)
    raise UsageError(
        f"there is no {NAME} here",
        where=str(directory),
        hint="write one (README.md shows how), or name yours with ‹manifest›",
    )


def find(origin: AnySource, settings: Settings, *, may_be_gone: bool = False) -> Project:
    """What ``origin`` is, and where its releases are, whatever is wrong with its deployments.

    With ``may_be_gone``, a copy whose suffix is given needs no manifest that can be read: the
    repository says what it is then, and a warning among the manifest's problems says so.

    Raises:
        GitflowError: what says the source in the manifest, the repository or the code store.
    """
    return _project(origin, settings, source_only=True, may_be_gone=may_be_gone)


def read(origin: AnySource, settings: Settings, *, strict: bool = False) -> Project:
    """What ``origin`` is, with its whole manifest; of a release, with what says its source.

    Raises:
        GitflowError: the manifest, the repository or the code store.
    """
    return _project(origin, settings, strict=strict, source_only=isinstance(origin, Release))


def _project(
    origin: AnySource,
    settings: Settings,
    *,
    strict: bool = False,
    source_only: bool = False,
    may_be_gone: bool = False,
) -> Project:
    # Before the manifest is read: messages about it quote it.
    repo, path = origin.repository(settings)
    tree = origin.of if isinstance(origin, Release) else origin
    try:
        file = tree.file(repo)
        document = manifest.parse(
            file.data,
            file.shown,
            strict=strict,
            directory=file.folder,
            source_only=source_only,
            environment=tree.environment,
        )
    except (ManifestError, UsageError):
        if not may_be_gone or tree.suffix is None:
            raise
        document = manifest.unread(path)
    # A clone may be in a directory of any name; what it was cloned from is the same for all.
    named = document.gitflow.source or (tree.identity if isinstance(tree, Commit) else None)
    identity, *former = address.identities(repo, named)
    suffix = document.gitflow.suffix if tree.suffix is None else _suffix(tree.suffix)
    environment = tree.environment or ""
    name = document.name or address.name_of(repo)
    parts = dict.fromkeys(each for each in (environment, suffix.removeprefix("-")) if each)
    return Project(
        origin=origin,
        settings=settings,
        manifest=document,
        repository=repo,
        source=Source(
            "-".join((name, *parts)),
            identity,
            path,
            str(repo.root),
            tuple(former),
            environment=environment,
            suffix=suffix,
        ),
        base=path.rpartition("/")[0],
        current=origin.current(repo.root),
        target=address.resolve(
            repo, settings.code_store.over(document.gitflow.code_store), settings.data_dir
        ),
    )


def _suffix(text: str) -> str:
    try:
        return names.suffix(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no suffix: {error}") from None


def _named(directory: Path, named: Path, may_be_gone: bool) -> Path:
    path = directory / named
    try:
        if path.is_dir():
            path = path / NAME
        if path.is_file() or may_be_gone:
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
