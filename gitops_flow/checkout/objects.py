"""Objects out of a store, each hashed by us as it comes: what git says is not believed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from typing import IO, TYPE_CHECKING

from gitops_flow.errors import CheckoutError
from gitops_flow.git import command
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gitops_flow.checkout.store import Store

# Larger objects pass through in pieces of this many bytes.
PIECE = 1 << 20
# Below this many objects a second process costs more than it brings.
_WORTH_A_SECOND = 1000
# Bytes that an idle process's pipe takes in without waiting.
_FITS = 32 << 10


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
