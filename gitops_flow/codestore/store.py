"""The private store: where new objects live, so that the user's repository stays untouched.

A bare repository under the cache directory, one for each pair of source
directory and code store. It borrows the user's objects and may be deleted at
any time: everything in it can be made or fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow import files
from gitops_flow.errors import CodeStoreError, GitError, GitflowError, SnapshotError
from gitops_flow.git import command, formats, url
from gitops_flow.git.objects import DamagedError, Objects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gitops_flow.git.repository import Repository

_DAMAGE = re.compile(
    r"object file \S+ is empty|loose object \S+ .*is corrupt|packfile \S+ .*(corrupt|cannot be)|"
    r"(unable to|cannot|could not) (read|parse) (object|tree|[0-9a-f]{40})|bad (tree )?object|"
    r"missing blob|not a git repository|reference broken|index file|bad signature|bad index"
)

# What an embedded code store lets its workers and deployers do.
_SERVED = """\
[uploadpack]
\tallowAnySHA1InWant = true
\tallowFilter = true
[receive]
\tfsckObjects = true
"""

# Written indexes must not leave shared parts in the user's repository, and the
# cache need not survive a power cut.
_INDEX_CONFIG = (
    ("core.splitIndex", "false"),
    ("core.untrackedCache", "false"),
    ("index.sparse", "false"),
    ("index.version", "2"),
    ("core.fsync", "none"),
)


# A snapshot that changes one file adds about six objects.
LOOSE_LIMIT = 4096
_BUCKETS = 256
_ID_REST = re.compile(r"[0-9a-f]{38}")


@dataclass(frozen=True, slots=True)
class PrivateStore:
    """One private store. ``path`` is the bare repository, ``alternates`` what it borrows.

    ``lent`` grows while a snapshot is taken: the objects of the submodules in it.
    ``own`` is the code store itself, where it may lie inside the working tree.
    """

    path: Path
    repository: Repository
    alternates: tuple[Path, ...]
    own: tuple[Path, ...] = ()
    lent: list[Path] = field(default_factory=list)

    def objects(self) -> Objects:
        """Open the object database, the borrowed ones included."""
        return Objects(self.path, (*self.alternates, *self.lent))

    def env(self) -> dict[str, str]:
        """Environment of a git that works *in* the private store."""
        return {"GIT_DIR": str(self.path), **self._borrow()}

    def worktree_env(self, repository: Repository, index: Path | None = None) -> dict[str, str]:
        """Environment of a git that reads the working tree of ``repository``.

        Whatever it writes (a blob it hashes, an object it fetches lazily from a
        partial clone's remote) lands in the private store.
        """
        env = {"GIT_OBJECT_DIRECTORY": str(self.path / "objects"), **self._borrow()}
        if repository.is_bare:
            env["GIT_DIR"] = str(repository.git_dir)
        elif repository.git_dir is None:
            env["GIT_DIR"] = str(self.path)
            env["GIT_WORK_TREE"] = str(repository.root)
            env["GIT_INDEX_FILE"] = str(self.path / "worktree-index")
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        return env

    @property
    def worktree_config(self) -> tuple[tuple[str, str], ...]:
        """Settings of a git that reads the working tree.

        Git LFS's filter, which git runs on each large file, keeps what it read
        below the repository; here it does so below the private store.
        """
        return (*_INDEX_CONFIG, ("lfs.storage", str(self.path / "lfs")))

    def borrow(self, objects: Path) -> None:
        """Read one more object database (a submodule's), to publish from it too."""
        if objects not in self.lent:
            self.lent.append(objects)

    def lend(self, place: Path) -> Path:
        """Make a bare repository at ``place`` that has every object of this store, by borrowing."""
        formats.make_bare(place)
        formats.borrow(place, [self.path / "objects", *self.alternates, *self.lent])
        return place

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock; lock files of a git that was killed are cleared away."""
        with writing(self.path), files.locked(self.path / "gitflow.lock"):
            for name in ("shallow.lock", "worktree-index.lock", "config.lock"):
                (self.path / name).unlink(missing_ok=True)
            try:
                yield
            except (GitError, SnapshotError) as error:
                if not self._is_damage(error):
                    raise
                # A power cut can leave empty objects behind; all of it can be made again.
                files.remove(self.path)
                raise CodeStoreError(
                    f"the cache was damaged and has been removed: {error.message}",
                    where=str(self.path),
                    hint="run the same command again",
                    retry=True,
                ) from error
            finally:
                # What was read of large files is of no use any more.
                files.remove(self.path / "lfs")

    def _is_damage(self, error: GitflowError) -> bool:
        if isinstance(error, SnapshotError):  # mostly about the user's own repository
            return str(self.path) in error.message and bool(_DAMAGE.search(error.message))
        return isinstance(error, DamagedError) or bool(_DAMAGE.search(error.message))

    def _borrow(self) -> dict[str, str]:
        borrowed = [*self.alternates, *self.lent]
        if not borrowed:
            return {}
        return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(map(formats.quoted, borrowed))}


def open_store(
    cache_dir: Path, repository: Repository, store_address: str, *, key: str | None = None
) -> PrivateStore:
    """Open, or make, the private store of ``repository`` for one code store.

    Args:
        cache_dir: the cache directory; a ``stores`` directory is made in it.
        repository: whose working tree or commits are snapshotted.
        store_address: the code store's address without credentials.
        key: what tells the store from others; the repository's path by default.

    Raises:
        GitflowError: the cache directory cannot be written.
    """
    whole_key = f"{key or repository.root}\n{store_address}".encode("utf-8", "surrogateescape")
    path = cache_dir / "stores" / f"{hashlib.sha256(whole_key).hexdigest()[:16]}.git"
    try:
        make(path)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    alternates = (repository.objects,) if repository.objects else ()
    return PrivateStore(path, repository, alternates, _served_from(store_address))


def _served_from(address: str) -> tuple[Path, ...]:
    """The directory of a bare repository; git itself knows the others for repositories."""
    place = url.local_path(address)
    whole = place is not None and formats.is_whole(place) and ".git" not in place.parts
    return (place,) if place and whole else ()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say what to do when ``path``, in the cache, cannot be written in the block.

    Raises:
        GitflowError: it is full, or may not be written, or something is in its way.
    """
    try:
        yield
    except (OSError, GitError, SnapshotError) as error:
        if (reason := files.unwritten(path, error)) is None:
            raise
        raise _unwritable(path, reason) from error


def _unwritable(path: Path, reason: str) -> GitflowError:
    return GitflowError(
        f"the cache cannot be written: {reason}",
        where=str(path),
        hint="free some space, or set GITFLOW_CACHE_DIR to a directory you may write",
    )


def make(path: Path, config: str = "") -> None:
    """Make a bare repository of the cache, unless it is there; see :func:`gitops_flow.git.formats.make_bare`."""
    if formats.is_whole(path):
        return
    with files.locked(path.parent / "making.lock"):
        if formats.is_whole(path):
            return  # another deployer's, as good as ours
        # What is left of one that was removed in part is of no use.
        if path.is_dir():
            files.remove(path)
        path.unlink(missing_ok=True)
        with files.built_aside(path) as aside:
            formats.make_bare(aside, config)


def make_embedded(path: Path) -> None:
    """Make the bare repository that is the code store when no remote is configured."""
    try:
        if (path / "HEAD").exists():
            return
        with files.built_aside(path) as aside:
            formats.make_bare(aside, _SERVED)
    except OSError as error:
        if _there(path / "HEAD"):
            return  # another deployer's, as good as ours
        if _there(path):
            raise GitflowError(
                "the embedded code store is damaged: there is no git repository in it",
                where=str(path),
                hint="put it back from a backup; or move it away, and deploy all that uses it again",
            ) from error
        raise GitflowError(
            f"the embedded code store cannot be made: {error.strerror or error}",
            where=str(path),
            hint="free some space, or set GITFLOW_DATA_DIR to a directory you may write",
        ) from error


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def tidy(git_dir: Path, limit: int = LOOSE_LIMIT) -> bool:
    """Pack the loose objects of ``git_dir`` if there are more than ``limit``; whether it did.

    A failure is none of the caller's: the objects stay as they are.
    """
    if not _many(git_dir, limit):
        return False
    env = {"GIT_DIR": str(git_dir)}
    listed = "".join(f"{name}\n" for name in _loose(git_dir)).encode("ascii")
    with contextlib.suppress(GitError):
        # By id and not by reachability: what is borrowed from the user's
        # repository may be gone, and must not be copied.
        command.run(
            ["pack-objects", "--quiet", "--threads=2", str(git_dir / "objects/pack/pack")],
            env=env,
            stdin=listed,
            timeout=300,
        )
        command.run(["prune-packed", "--quiet"], env=env, timeout=300)
        return True
    return False


def _many(git_dir: Path, limit: int) -> bool:
    """An estimate from one of the 256 directories; ids are spread evenly over them."""
    try:
        return sum(1 for _ in (git_dir / "objects/17").iterdir()) * _BUCKETS > limit
    except OSError:
        return False


def _loose(git_dir: Path) -> Iterator[str]:
    for number in range(_BUCKETS):
        directory = git_dir / "objects" / f"{number:02x}"
        with contextlib.suppress(OSError):
            for item in directory.iterdir():
                if _ID_REST.fullmatch(item.name):
                    yield f"{number:02x}{item.name}"


def drop_unreachable(git_dir: Path, grace: int) -> None:
    """Drop unreachable objects older than ``grace`` seconds from an embedded code store.

    Raises:
        GitError: with what git said.
    """
    command.run(
        ["gc", "--quiet", f"--prune={grace}.seconds.ago"],
        env={"GIT_DIR": str(git_dir)},
        timeout=3600,
    )
