"""The objects of one pull: a bare store that lives as long as the pull, and what reads it.

Each object is hashed by us as it comes: what git says is not believed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

from gitops_flow.errors import CheckoutError
from gitops_flow.git import command, formats
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# Larger objects pass through in pieces of this many bytes.
PIECE = 1 << 20
# Below this many objects a second process costs more than it brings.
_WORTH_A_SECOND = 1000
# Bytes that an idle process's pipe takes in without waiting.
_FITS = 32 << 10


@dataclass(frozen=True, slots=True)
class Store:
    """A bare repository without refs, remotes or configuration of its own."""

    path: Path

    # Keep what was fetched as one pack, and don't wait for the disk: the store is
    # thrown away in a moment.
    FETCH_CONFIG: ClassVar[tuple[tuple[str, str], ...]] = (
        ("fetch.unpackLimit", "1"),
        ("core.fsync", "none"),
    )

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make an empty store at ``path``."""
        formats.make_bare(path)
        return cls(path)

    def borrow(self, repository: str, commit: str) -> bool:
        """Read the objects of a repository on this machine where they are.

        Nothing of its configuration is read, and every object is hashed by the
        reader, so it need not be trusted. False if ``repository`` is no plain
        path or lacks ``commit``; a fetch then says what is wrong.
        """
        place = objects_of(repository)
        if place is None:
            return False
        self.lend([place])
        if command.run(["cat-file", "-e", commit], env=self.environment(), check=False).returncode:
            formats.borrow(self.path, ())
            return False
        return True

    def lend(self, places: Iterable[Path], commits: Iterable[str] = ()) -> None:
        """Read the objects in ``places`` as well, in which ``commits`` are complete.

        As refs, they are what git tells a server that we have; 40 hex digits each.
        """
        formats.borrow(self.path, [place.resolve() for place in places])
        refs = "".join(f"{commit} refs/held/{commit}\n" for commit in sorted(commits))
        (self.path / "packed-refs").write_text(f"# pack-refs with: sorted \n{refs}")

    def forget_remotes(self) -> None:
        """Drop what a filtered fetch wrote into the configuration.

        With it, git would go to the network by itself for each missing object.
        """
        (self.path / "config").write_text(formats.CONFIG)

    def held(self, oids: Iterable[str]) -> set[str]:
        """Those of ``oids`` that are here."""
        out = command.run(
            ["cat-file", "--batch-check=%(objectname)", "--buffer"],
            env=self.environment(),
            stdin="".join(f"{oid}\n" for oid in oids).encode(),
        ).stdout
        return {line.decode() for line in out.splitlines() if b" " not in line}

    def packs(self, suffix: str = ".pack") -> list[Path]:
        """The files of that kind of its own packs, not of those lent to it."""
        return list((self.path / "objects" / "pack").glob(f"pack-*{suffix}"))

    def environment(self, tree: Path | None = None) -> dict[str, str]:
        """Variables for a git that reads this store and no configuration but ours.

        The worker's own settings (autocrlf, filters, attributes) would change
        bytes or run programs. ``tree`` is where attributes are looked up.
        """
        environment = {
            "GIT_DIR": str(self.path),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        return environment | ({"GIT_WORK_TREE": str(tree)} if tree else {})


def objects_of(repository: str) -> Path | None:
    """Where a repository has its objects, if it is one on this machine, given by a plain path."""
    if Path(repository).is_absolute():
        for place in (Path(repository, "objects"), Path(repository, ".git", "objects")):
            with contextlib.suppress(OSError):  # if it may not be read, a fetch says so
                if place.is_dir():
                    return place
    return None


class DamagedError(CheckoutError):
    """An object is missing, of another type, or does not hash to its id."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the code store's objects cannot be read: {reason}",
            hint="check the repository with: git fsck",
        )


def _stretches(count: int) -> list[range]:
    """Positions ``0..count`` in one or two runs of neighbours, one for each thread."""
    # Neighbours are often stored as differences of each other, so each process
    # gets a stretch of its own.
    threads = 2 if count >= _WORTH_A_SECOND and (os.cpu_count() or 1) > 1 else 1
    size = max(-(-count // threads), 1)
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


@contextlib.contextmanager
def opened(store: Store, timeout: float) -> Iterator[Reader]:
    """Yield a reader of ``store``; its processes end with the block or after ``timeout`` s."""
    reader = Reader(store)
    timer = threading.Timer(timeout, reader.stop)
    timer.daemon = True
    timer.start()
    try:
        yield reader
    finally:
        timer.cancel()
        reader.stop()
        reader.close()


class Reader:
    """Reads objects through ``git cat-file``; see :func:`opened`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pipes: list[_Pipe] = []
        self._small: _Pipe | None = None
        self._stopped = False

    def stop(self) -> None:
        """End all processes; a read under way then fails."""
        self._stopped = True
        for pipe in self._pipes:
            pipe.kill()

    def close(self) -> None:
        """Let go of what nobody reads any more."""
        for pipe in self._pipes:
            pipe.close()

    def each(
        self, oids: Sequence[str], kind: str, take: Callable[[int, bytes | Iterator[bytes]], None]
    ) -> None:
        """Call ``take(position, content)`` for each of ``oids`` (40 hex digits), of type ``kind``.

        Many objects are read by two threads, so ``take`` is called from both,
        and positions come in any order. An object over ``PIECE`` bytes comes as
        an iterator of pieces, to be used up in the call; its hash is checked
        after the last piece.

        Raises:
            CheckoutError: an object is missing, damaged or of another type.
            BaseException: what ``take`` raises, in either thread.
        """
        runs = _stretches(len(oids))
        pipes = [self._start("--buffer") for _ in runs]
        failed: list[BaseException] = []

        def pass_on(pipe: _Pipe, stretch: range) -> None:
            try:
                pipe.ask(oids[stretch.start : stretch.stop], last=True)
                for at in stretch:
                    take(at, pipe.next(oids[at], kind))
            except BaseException as error:  # noqa: BLE001 - raised again below
                failed.append(error)
                for each in pipes:
                    each.kill()

        others = [
            threading.Thread(target=pass_on, args=pair, daemon=True)
            for pair in zip(pipes[1:], runs[1:], strict=True)
        ]
        for thread in others:
            thread.start()
        try:
            for pair in zip(pipes[:1], runs[:1], strict=True):
                pass_on(*pair)
            for thread in others:
                thread.join()
        finally:
            # Nobody may still write when the caller clears away.
            for pipe in pipes:
                pipe.kill()
            for thread in others:
                thread.join()
        if failed:
            raise failed[0]

    def whole(self, oids: Sequence[str], kind: str, limit: int) -> Iterator[bytes]:
        """The contents of ``oids`` in order, none over ``limit`` bytes; for few or small objects.

        Raises:
            CheckoutError: as for :meth:`each`, or an object is larger.
        """
        small, self._small = self._small or self._start(), None
        small.ask(oids)
        for oid in oids:
            content = small.next(oid, kind)
            data = bytearray()
            for piece in (content,) if isinstance(content, bytes) else content:
                data += piece
                if len(data) > limit:
                    raise CheckoutError(f"the {kind} {oid} is larger than {limit} bytes")
            yield bytes(data)
        # One that has not given all its answers is asked no more.
        self._small = small

    def _start(self, *options: str) -> _Pipe:
        pipe = _Pipe(self._store, options)
        self._pipes.append(pipe)
        if self._stopped:
            pipe.kill()
        return pipe


class _Pipe:
    """One ``git cat-file --batch`` and the thread that asks it."""

    def __init__(self, store: Store, options: Sequence[str]) -> None:
        self._process = command.start(
            ["cat-file", "--batch", *options], env=store.environment(), pipe_stdin=True
        )
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._stdin: IO[bytes] = self._process.stdin
        # Its own, as another thread may end the process and close the other while we read.
        self._lines = open(os.dup(self._process.stdout.fileno()), "rb", PIECE)  # noqa: PTH123, SIM115
        with contextlib.suppress(AttributeError, OSError):
            # Let git read ahead while we write; the default pipe holds 64 KiB.
            fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, PIECE)
        self._killed = False

    def ask(self, oids: Sequence[str], *, last: bool = False) -> None:
        """Ask for ``oids``, without waiting until git has taken them all in."""
        questions = "".join(f"{oid}\n" for oid in oids).encode()
        if len(questions) <= _FITS and not last:
            self._feed(questions, last=False)
        else:
            threading.Thread(target=self._feed, args=(questions, last), daemon=True).start()

    def _feed(self, questions: bytes, last: bool) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stdin.write(questions)
            self._stdin.flush()
            if last:
                self._stdin.close()

    def kill(self) -> None:
        if not self._killed:
            self._killed = True
            command.kill(self._process)

    def close(self) -> None:
        self._lines.close()

    def next(self, oid: str, kind: str) -> bytes | Iterator[bytes]:
        head = self._lines.readline().split()
        if len(head) != 3 or self._killed:
            raise self._failed(oid, head)
        size = int(head[2])
        if head[1].decode() != kind:
            raise DamagedError(f"{oid} is a {head[1].decode()}, not a {kind}")
        prefix = b"%s %d\0" % (head[1], size)
        if size > PIECE:
            return self._pieces(oid, size, hashlib.sha1(prefix, usedforsecurity=False))
        data = self._lines.read(size + 1)
        if len(data) != size + 1 or self._killed:
            raise self._failed(oid, [])
        data = data[:-1]
        if hashlib.sha1(prefix + data, usedforsecurity=False).hexdigest() != oid:
            raise DamagedError(f"{oid} does not hash to its id")
        return data

    def _pieces(self, oid: str, size: int, digest: hashlib._Hash) -> Iterator[bytes]:
        left = size
        while left:
            piece = self._lines.read(min(PIECE, left))
            if not piece or self._killed:
                raise self._failed(oid, [])
            digest.update(piece)
            left -= len(piece)
            yield piece
        self._lines.read(1)
        if digest.hexdigest() != oid:
            raise DamagedError(f"{oid} does not hash to its id")

    def _failed(self, oid: str, head: list[bytes]) -> CheckoutError:
        if self._killed:
            return CheckoutError("reading the code store's objects took too long", retry=True)
        if head[1:] == [b"missing"]:
            return DamagedError(f"{oid} is missing")
        self._killed = True
        with contextlib.suppress(OSError, ValueError):
            self._stdin.close()
        error = self._process.stderr.read() if self._process.stderr else b""
        command.kill(self._process)
        return DamagedError(command.tidy(redact(error.decode("utf-8", "replace"))))
