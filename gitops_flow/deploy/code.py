"""The code to deploy: its snapshot, its files by path, and what the flows in it say of themselves."""

from __future__ import annotations

import itertools
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import buildsteps, flows, manifest, names
from gitops_flow.codestore import address, guard, snapshot
from gitops_flow.codestore.store import open_store
from gitops_flow.deploy import choice
from gitops_flow.errors import FlowError
from gitops_flow.git.objects import DIRECTORY, GITLINK, SYMLINK, Entry, Objects
from gitops_flow.pin import Pin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gitops_flow.codestore.store import PrivateStore
    from gitops_flow.deploy.request import Options, Which
    from gitops_flow.deploy.source import Project
    from gitops_flow.git.repository import Author
    from gitops_flow.manifest import Answers, DeploymentConfig
    from gitops_flow.model import FlowInfo, Snapshot

_MOST_LINKS = 10
# Files among which a misspelt name is looked for.
_MOST_FILES = 5000


class Files:
    """Files of a snapshot's tree, by path with "/"; what a worker will find."""

    def __init__(self, objects: Objects, tree: str) -> None:
        self._objects = objects
        self._tree = tree

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
        found = self._walk(directory) if directory else ("", "", Entry(DIRECTORY, self._tree))
        if found is None or found[2].mode != DIRECTORY:
            return None
        known = list(itertools.islice(self._python_files(found[2].id, ""), _MOST_FILES))
        same_name = [each for each in known if posixpath.basename(each) == posixpath.basename(path)]
        return names.nearest(path, known) or (same_name[0] if same_name else None)

    def _python_files(self, tree: str, prefix: str) -> Iterator[str]:
        for name, entry in self._objects.tree(tree).items():
            path = prefix + _text(name)
            if entry.mode == DIRECTORY:
                yield from self._python_files(entry.id, f"{path}/")
            elif path.endswith(".py"):
                yield path

    def _walk(self, path: str) -> tuple[str, str, Entry] | None:
        """How far ``path`` leads without following a link, what is left of it, and what is there."""
        parts = path.encode("utf-8", "surrogateescape").split(b"/")
        entry: Entry | None = Entry(DIRECTORY, self._tree)
        for at, name in enumerate(parts):
            if entry is None or entry.mode not in (DIRECTORY, SYMLINK):
                return None
            if entry.mode == SYMLINK:
                reached, rest = b"/".join(parts[:at]), b"/".join(parts[at:])
                return _text(reached), _text(rest), entry
            entry = self._objects.tree(entry.id).get(name)
        return (path, "", entry) if entry is not None else None


def directory_of(files: Files, entrypoint: str, base: str, here: str | None = None) -> str:
    """The directory that ``entrypoint`` is relative to: the manifest's, the root, or the current one.

    Real manifests use all of them; the choice is the first in which the file exists.
    ``base`` is the manifest's directory, "" at the root; ``here`` the current one, None
    outside the repository.
    """
    module = entrypoint.rsplit(":", 1)[0]
    if module.endswith(".py"):
        candidates = [module]
    else:
        dotted = module if ":" in entrypoint else entrypoint.rsplit(".", 1)[0]
        path = dotted.replace(".", "/")
        candidates = [
            f"{top}{path}{end}" for top in ("", "src/") for end in (".py", "/__init__.py")
        ]
    for directory in dict.fromkeys((base, "", base if here is None else here)):
        if any(files.blob_id(posixpath.join(directory, path)) for path in candidates):
            return directory
    return base


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


Key = tuple[str, "str | None"]

_TIMEOUT = 120.0  # seconds, for all flows of a directory


@dataclass(frozen=True, slots=True)
class Code:
    """A snapshot, the store that holds its objects, and its flows.

    ``flows`` are by entrypoint and the manifest's ``flow_name``, which counts
    where the code computes the name; ``directories`` say what an entrypoint is
    relative to.
    """

    snapshot: Snapshot
    store: PrivateStore
    flows: Mapping[Key, FlowInfo | FlowError]
    directories: Mapping[str, str]


def read_code(project: Project, options: Options, answers: Answers, author: Author) -> Code:
    """Take the snapshot (or a release's) and read the chosen deployments' flows in it.

    Raises:
        GitflowError: the working tree cannot be snapshotted.
    """
    store = open_store(project.settings.cache_dir, project.repository, project.target.url)
    snap = take(project, store, options, author, answers.environ)
    files = Files(store.objects(), snap.tree)
    infos, directories = _flows(project, answers, files)
    if project.restored is None:
        if options.import_flows:
            with project.origin.on_disk(project.repository, store, snap) as root:
                infos |= _imported(root, options.python, answers.environ, files, infos, directories)
        else:
            infos = {key: _or_imported(info) for key, info in infos.items()}
    return Code(snap, store, infos, directories)


def take(
    project: Project,
    store: PrivateStore,
    options: Options,
    author: Author,
    environ: Mapping[str, str],
) -> Snapshot:
    """The snapshot of ``project``, with what the command line and the manifest say of it.

    Raises:
        GitflowError: the working tree cannot be snapshotted.
    """
    how = snapshot_options(project, options)
    return project.origin.snapshot(project, store, how, author, environ)


def _flows(
    project: Project, answers: Answers, files: Files
) -> tuple[dict[Key, FlowInfo | FlowError], dict[str, str]]:
    cache = flows.Cache(project.settings.cache_dir / "flows")
    directories: dict[str, str] = {}
    infos: dict[Key, FlowInfo | FlowError] = {}
    entrypoints = manifest.entrypoints(project.manifest, answers)
    for item in project.chosen:
        entrypoint = entrypoints[item.index]
        if entrypoint is None or (entrypoint, item.spec.flow_name) in infos:
            continue
        if entrypoint not in directories:
            directories[entrypoint] = directory_of(files, entrypoint, project.base, project.current)
        infos[entrypoint, item.spec.flow_name] = _read(
            cache, files, directories[entrypoint], entrypoint, item.spec.flow_name
        )
    return infos, directories


def _or_imported(info: FlowInfo | FlowError) -> FlowInfo | FlowError:
    """``info``, with the way to ask the code itself where only running it would tell."""
    if not isinstance(info, FlowError) or not isinstance(info, flows.ComputedError):
        return info
    return FlowError(info.message, where=info.where, hint=f"{info.hint}, or use ‹import_flows›")


def narrowed(project: Project, which: Which, code: Code, answers: Answers) -> Project:
    """``project`` with the deployments that are meant, now that their flows' names are known.

    Raises:
        UsageError: a name that matches nothing.
    """
    entrypoints = manifest.entrypoints(project.manifest, answers)

    def flow_of(item: DeploymentConfig) -> str | None:
        known, key = code.flows, (entrypoints[item.index] or "", item.spec.flow_name)
        if key not in known and item not in project.chosen:
            # What the flow of one that was not chosen says, to tell why it was not.
            only = replace(project, chosen=(item,))
            files = Files(code.store.objects(), code.snapshot.tree)
            known = _flows(only, answers, files)[0]
        info = known.get(key)
        return None if info is None or isinstance(info, FlowError) else info.name

    names = choice.unsuffixed(which, project).names
    chosen = choice.narrow(project.chosen, names, flow_of, project.manifest, tags=which.tags)
    return replace(project, chosen=tuple(chosen))


def _shipped(files: Files, directory: str, entrypoint: str) -> bool:
    """False for a file that no worker will find, so that it is not imported here either."""
    path = entrypoint.rpartition(":")[0]
    return not path.endswith(".py") or files.blob_id(posixpath.join(directory, path)) is not None


def _read(
    cache: flows.Cache,
    files: Files,
    directory: str,
    entrypoint: str,
    flow_name: str | None,
) -> FlowInfo | FlowError:
    try:
        return flows.read_cached(
            cache,
            lambda path: files.read(posixpath.join(directory, path)),
            lambda path: files.blob_id(posixpath.join(directory, path)),
            entrypoint,
            flow_name=flow_name,
        )
    except FlowError as error:
        path = entrypoint.rpartition(":")[0]
        if path.endswith(".py") and not files.blob_id(posixpath.join(directory, path)):
            near = files.nearest(directory, path)
            hint = f"did you mean {near!r}? {error.hint}" if near else error.hint
            return FlowError(error.message, where=error.where, hint=hint)
        return error


def _imported(
    root: Path,
    python: str | None,
    environ: Mapping[str, str],
    files: Files,
    known: Mapping[Key, FlowInfo | FlowError],
    directories: Mapping[str, str],
) -> dict[Key, FlowInfo | FlowError]:
    """What Prefect makes of those of ``known`` that could not be read, or not in full.

    One process for each directory below ``root`` imports them. Where
    that fails, what was read stands, with the reason beside it.
    """
    unsure = [
        key
        for key, info in known.items()
        if (isinstance(info, FlowError) or info.notes)
        and _shipped(files, directories[key[0]], key[0])
    ]
    if not unsure:
        return {}
    python = python or buildsteps.find_python(environ)
    answered: dict[Key, FlowInfo | FlowError] = {}
    for directory in sorted({directories[entrypoint] for entrypoint, _ in unsure}):
        here = [key for key in unsure if directories[key[0]] == directory]
        told = flows.ask(
            python,
            root / directory,
            sorted({entrypoint for entrypoint, _ in here}),
            environ=environ,
            timeout=_TIMEOUT,
        )
        answered |= {key: _better(known[key], told[key[0]]) for key in here}
    return answered


def _better(read: FlowInfo | FlowError, told: FlowInfo | FlowError) -> FlowInfo | FlowError:
    if not isinstance(told, FlowError):
        return told
    reason = f"not imported: {told.message}"
    if isinstance(read, FlowError):
        return FlowError(f"{read.message}; {reason}", where=read.where, hint=told.hint or read.hint)
    return replace(read, notes=(*read.notes, f"{told.where}: {reason}" if told.where else reason))


def snapshot_options(project: Project, options: Options) -> snapshot.Options:
    """How the snapshot is taken, by the command line and the manifest."""
    said = project.manifest.gitflow
    allow = guard.Allowance(
        secrets=(*said.allow_secrets, *options.allow_secrets),
        file_limit=options.max_file_size or said.max_file_size or guard.DEFAULT_FILE_LIMIT,
        total_limit=options.max_total_size or said.max_total_size or guard.DEFAULT_TOTAL_LIMIT,
    )
    submodules = options.submodules
    ignored = (*said.ignore_submodules, *options.ignore_submodules)
    if submodules is None:
        wanted = manifest.wants_submodules(project.manifest, project.chosen)
        submodules = said.submodules == "include" or wanted
        ignored += ("*",) if said.submodules == "ignore" else ()
    return snapshot.Options(
        allow,
        submodules=submodules,
        ignore_submodules=ignored,
        lfs=said.lfs if options.lfs is None else options.lfs,
        ci_files=said.ci_files if options.ci_files is None else options.ci_files,
    )


def pin_of(project: Project, snap: Snapshot) -> Pin:
    """What makes a worker run ``snap``."""
    target, stock = project.target, project.manifest.gitflow.checkout == "stock"
    return Pin(
        (target.pull_url,) if stock else (target.pull_url, *target.mirrors),
        snap.commit,
        target.credentials,
        signed=target.sign and not stock,
        stock=stock,
        requires=None if stock else project.manifest.gitflow.requires,
        origin=address.origin_inputs(snap.provenance),
    )


def version(snap: Snapshot) -> str:
    """The source commit as Prefect shortens it; for uncommitted work, the snapshot as well."""
    origin = snap.provenance
    if origin.commit is None:
        return f"snapshot-{snap.commit[:8]}"
    return f"{origin.commit[:8]}-dirty-{snap.commit[:8]}" if origin.dirty else origin.commit[:8]
