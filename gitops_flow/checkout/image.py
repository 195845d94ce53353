"""One snapshot's objects in one file: what a cached checkout reads instead of asking git.

The objects lie one after the other, followed by an index and a tail. Nothing in the file
is believed: every object is hashed when it is read, as those that come from git are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
from typing import TYPE_CHECKING

from gitops_flow.checkout.objects import PIECE, DamagedError, stretches
from gitops_flow.errors import CheckoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gitops_flow.checkout.objects import Source

_MAGIC = b"gitflow image 1\n"
_RECORD = struct.Struct("<20sQQ")  # id, offset, size
_TAIL = struct.Struct("<Q16s")  # offset of the index, magic
_WINDOW = 256 << 10


class Image:
    """A finished image, open for reading; see :func:`opened`."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        start, magic = _TAIL.unpack(self._bytes(size - _TAIL.size, _TAIL.size))
        length = size - _TAIL.size - start
        if magic != _MAGIC or length < 0 or length % _RECORD.size:
            raise DamagedError("an image of the cache is malformed")
        self._end = start
        index = self._bytes(start, length)
        self._where = {oid: (at, size) for oid, at, size in _RECORD.iter_unpack(index)}

    def __contains__(self, oid: str) -> bool:
        return bytes.fromhex(oid) in self._where

    def each(
        self, oids: Sequence[str], kind: str, take: Callable[[int, bytes | Iterator[bytes]], None]
    ) -> None:
        """As :meth:`objects.Reader.each`."""
        failed: list[BaseException] = []

        def pass_on(stretch: range) -> None:
            window = _Window(self._bytes)
            try:
                for at in stretch:
                    if failed:
                        return
                    take(at, self._content(oids[at], kind, window))
            except BaseException as error:  # noqa: BLE001 - raised again below
                failed.append(error)

        own, *others = stretches(len(oids)) or [range(0)]
        threads = [threading.Thread(target=pass_on, args=(other,)) for other in others]
        for thread in threads:
            thread.start()
        pass_on(own)
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def whole(self, oids: Sequence[str], kind: str, limit: int) -> Iterator[bytes]:
        """As :meth:`objects.Reader.whole`."""
        window = _Window(self._bytes)
        for oid in oids:
            if self._place(oid)[1] > limit:
                raise CheckoutError(f"the {kind} {oid} is larger than {limit} bytes")
            content = self._content(oid, kind, window)
            yield content if isinstance(content, bytes) else b"".join(content)

    def __len__(self) -> int:
        return len(self._where)

    def raw(self) -> tuple[Iterator[bytes], dict[bytes, tuple[int, int]]]:
        """All objects in large pieces, unchecked; and the offset and size of each, by its id."""
        pieces = (self._bytes(at, min(PIECE, self._end - at)) for at in range(0, self._end, PIECE))
        return pieces, self._where

    def _place(self, oid: str) -> tuple[int, int]:
        try:
            return self._where[bytes.fromhex(oid)]
        except KeyError:
            raise DamagedError(f"{oid} is missing in an image of the cache") from None

    def _content(self, oid: str, kind: str, window: _Window) -> bytes | Iterator[bytes]:
        at, size = self._place(oid)
        digest = hashlib.sha1(b"%s %d\0" % (kind.encode(), size), usedforsecurity=False)
        if size > PIECE:
            return self._pieces(oid, at, size, digest)
        data = window.get(at, size)
        digest.update(data)
        _check(oid, digest)
        return data

    def _pieces(self, oid: str, at: int, size: int, digest: hashlib._Hash) -> Iterator[bytes]:
        end = at + size
        while at < end:
            piece = self._bytes(at, min(PIECE, end - at))
            digest.update(piece)
            at += len(piece)
            yield piece
        _check(oid, digest)

    def _bytes(self, at: int, size: int) -> bytes:
        # Not by mmap: a file that became shorter would end the process.
        data = os.pread(self._fd, size, at) if 0 <= at < 1 << 62 else b""
        if len(data) != size:
            raise DamagedError("an image of the cache is cut off")
        return data


class _Window:
    """Bytes read ahead: neighbours are asked for one after the other."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._start = 0
        self._data = b""

    def get(self, at: int, size: int) -> bytes:
        first = at - self._start
        if first < 0 or first + size > len(self._data):
            try:
                self._data = self._read(at, max(size, _WINDOW))
            except DamagedError:
                self._data = self._read(at, size)  # near the end of the file
            self._start, first = at, 0
        return self._data[first : first + size]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image | None]:
    """Yield the image at ``path``, None if there is none; it may be deleted meanwhile.

    Raises:
        DamagedError: it is no image.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield Image(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


class Recording:
    """Passes objects on from a source and writes them to a new image on the way.

    A full disk ends the recording, not the reading.
    """

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self._path = path
        self._lock = threading.Lock()
        self._at = 0
        self._index: dict[bytes, tuple[int, int]] = {}
        self._file = path.open("xb", buffering=PIECE)
        self._broken = False

    def each(
        self, oids: Sequence[str], kind: str, take: Callable[[int, bytes | Iterator[bytes]], None]
    ) -> None:
        """As :meth:`objects.Reader.each`."""

        def both(at: int, content: bytes | Iterator[bytes]) -> None:
            if isinstance(content, bytes):
                self._add(oids[at], (content,))
                take(at, content)
            else:
                take(at, self._passing(oids[at], content))

        self._source.each(oids, kind, both)

    def whole(self, oids: Sequence[str], kind: str, limit: int) -> Iterator[bytes]:
        """As :meth:`objects.Reader.whole`."""
        for oid, content in zip(oids, self._source.whole(oids, kind, limit), strict=True):
            self._add(oid, (content,))
            yield content

    def take_over(self, image: Image) -> None:
        """Add all of ``image`` as it is: whoever reads it hashes it."""
        pieces, where = image.raw()
        start = self._at
        for piece in pieces:
            self._write((piece,))
        self._index = {oid: (start + at, size) for oid, (at, size) in where.items()} | self._index

    def finish(self, target: Path) -> None:
        """Give the image its final name, unless the disk was too full for it."""
        with contextlib.suppress(OSError):
            records = b"".join(_RECORD.pack(oid, *place) for oid, place in self._index.items())
            self._write((records, _TAIL.pack(self._at, _MAGIC)))
            self._file.close()
            if not self._broken:
                self._path.replace(target)

    def close(self) -> None:
        """Let go of the file, whatever became of it."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _passing(self, oid: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        with self._lock:
            start = self._at
            for piece in pieces:
                self._write((piece,))
                yield piece
            self._index[bytes.fromhex(oid)] = (start, self._at - start)

    def _add(self, oid: str, data: tuple[bytes]) -> None:
        key = bytes.fromhex(oid)
        with self._lock:
            if key not in self._index:
                self._index[key] = (self._at, len(data[0]))
                self._write(data)

    def _write(self, pieces: Sequence[bytes]) -> None:
        try:
            for piece in () if self._broken else pieces:
                self._file.write(piece)
                self._at += len(piece)
        except OSError:
            self._broken = True


class Layered:
    """Two sources as one: what the image lacks comes from the other."""

    def __init__(self, image: Image, rest: Source) -> None:
        self._image = image
        self._rest = rest

    def each(
        self, oids: Sequence[str], kind: str, take: Callable[[int, bytes | Iterator[bytes]], None]
    ) -> None:
        """As :meth:`objects.Reader.each`."""
        for source, wanted in ((self._image, True), (self._rest, False)):
            places = [at for at, oid in enumerate(oids) if (oid in self._image) is wanted]
            if places:
                _each_of(source, oids, places, kind, take)

    def whole(self, oids: Sequence[str], kind: str, limit: int) -> Iterator[bytes]:
        """As :meth:`objects.Reader.whole`."""
        rest = self._rest.whole([oid for oid in oids if oid not in self._image], kind, limit)
        here = self._image.whole([oid for oid in oids if oid in self._image], kind, limit)
        for oid in oids:
            yield next(here) if oid in self._image else next(rest)


def _each_of(
    source: Source,
    oids: Sequence[str],
    places: list[int],
    kind: str,
    take: Callable[[int, bytes | Iterator[bytes]], None],
) -> None:
    source.each([oids[at] for at in places], kind, lambda at, content: take(places[at], content))


def _check(oid: str, digest: hashlib._Hash) -> None:
    if digest.hexdigest() != oid:
        raise DamagedError(f"{oid} does not hash to its id in an image of the cache")
