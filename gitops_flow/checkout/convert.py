"""Line endings, encodings and $Id$ as .gitattributes asks for them, applied by git itself."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitops_flow.checkout.tree import shown
from gitops_flow.checkout.write import write_all
from gitops_flow.errors import CheckoutError
from gitops_flow.git import command
from gitops_flow.git.lfs import FILTER, LARGEST, pointer

if TYPE_CHECKING:
    from collections.abc import Container
    from pathlib import Path

    from gitops_flow.checkout.objects import Source
    from gitops_flow.checkout.store import Store
    from gitops_flow.checkout.tree import File, Listing

_NAMES = ("eol", "working-tree-encoding", "ident", "filter")
# Without one of these in a .gitattributes, git writes the stored bytes as they are.
_TELLING = re.compile(rb"crlf|working-tree-encoding|ident|filter=")
# Whatever was published can be converted; this only bounds one mistake's memory.
_LARGEST = 1 << 32
_LF: tuple[tuple[str, str], ...] = (
    ("core.autocrlf", "false"),
    ("core.eol", "lf"),
    ("core.attributesFile", os.devnull),
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    convert: list[File]
    filtered: dict[str, list[File]]


def apply(
    root: Path,
    listing: Listing,
    store: Store,
    timeout: float,
    source: Source | None = None,
    done: Container[bytes] = (),
) -> tuple[str, ...]:
    """Convert the written files of ``listing`` in ``root`` that attributes say so for.

    Filter programs (``filter=``) are never run. ``source`` has the objects if ``store``
    has not; the paths ``done`` are converted already.

    Returns:
        Warnings: files that a filter would have changed.
    """
    if not any(_tells(root, file) for file in listing.files):
        return ()
    wanted = _wanted(root, listing, store, timeout)
    convert = [file for file in wanted.convert if file.path not in done]
    off = tuple(
        setting
        for name in wanted.filtered
        for setting in (
            (f"filter.{name}.smudge", ""),
            (f"filter.{name}.process", ""),
            (f"filter.{name}.required", "false"),
        )
    )
    config = (*_LF, *off)
    if source:
        oids = [file.oid for file in convert]
        for oid, data in zip(oids, source.whole(oids, "blob", _LARGEST), strict=True):
            store.put(oid, "blob", data)
    batch = [file for file in convert if b"\n" not in file.path]
    for file, data in zip(batch, _many(root, batch, store, config, timeout), strict=True):
        _rewrite(root, file, data)
    for file in convert:
        if b"\n" in file.path:
            _rewrite(root, file, _one(root, file, store, config, timeout))
    stored = {
        name: [file for file in files if name != FILTER.decode() or _is_pointer(root, file)]
        for name, files in sorted(wanted.filtered.items())
    }
    return tuple(_warning(name, files) for name, files in stored.items() if files)


def _is_pointer(root: Path, file: File) -> bool:
    """Whether it is a pointer of Git LFS; a snapshot may hold the content itself."""
    with open(os.fsencode(root) + b"/" + file.path, "rb") as written:  # noqa: PTH123
        return pointer(written.read(LARGEST)) is not None


def _tells(root: Path, file: File) -> bool:
    if file.path.rsplit(b"/", 1)[-1] != b".gitattributes":
        return False
    with open(os.fsencode(root) + b"/" + file.path, "rb") as attributes:  # noqa: PTH123
        return _TELLING.search(attributes.read()) is not None


def _wanted(root: Path, listing: Listing, store: Store, timeout: float) -> _Wanted:
    """Which files git's own reading of the attributes asks to change."""
    out = command.run(
        ["check-attr", "-z", "--stdin", *_NAMES],
        cwd=root,
        env=store.environment(root),
        config=_LF,
        stdin=b"".join(file.path + b"\0" for file in listing.files),
        timeout=timeout,
    ).stdout
    values = out.split(b"\0")[2::3]
    wanted = _Wanted([], {})
    for number, file in enumerate(listing.files):
        eol, encoding, ident, filter_ = values[4 * number : 4 * number + 4]
        if eol == b"crlf" or ident == b"set" or encoding not in (b"unspecified", b"unset", b"set"):
            wanted.convert.append(file)
        if filter_ not in (b"unspecified", b"unset", b"set"):
            name = filter_.decode("utf-8", "surrogateescape")
            wanted.filtered.setdefault(name, []).append(file)
    return wanted


def _many(
    root: Path,
    files: list[File],
    store: Store,
    config: tuple[tuple[str, str], ...],
    timeout: float,
) -> list[bytes]:
    """The converted contents of ``files``, whose names are free of newlines."""
    if not files:
        return []
    # The size in git's answer is that of the stored bytes, so it does not say where
    # the converted ones end. An object that cannot exist, asked for in between, does.
    mark = secrets.token_hex(24).encode()
    lines = (file.oid.encode() + b" " + file.path + b"\n" + mark + b" x\n" for file in files)
    out = command.run(
        ["cat-file", "--batch", "--filters", "--buffer"],
        cwd=root,
        env=store.environment(root),
        config=config,
        stdin=b"".join(lines),
        timeout=timeout,
    ).stdout
    parts = out.split(b"\n" + mark + b" missing\n")
    if len(parts) != len(files) + 1 or parts.pop():
        raise CheckoutError("git did not convert the files that .gitattributes names")
    return [part.split(b"\n", 1)[1] for part in parts]


def _one(
    root: Path,
    file: File,
    store: Store,
    config: tuple[tuple[str, str], ...],
    timeout: float,
) -> bytes:
    return command.run(
        ["cat-file", "--filters", b"--path=" + file.path, file.oid],
        cwd=root,
        env=store.environment(root),
        config=config,
        timeout=timeout,
    ).stdout


def _rewrite(root: Path, file: File, data: bytes) -> None:
    fd = os.open(
        os.fsencode(root) + b"/" + file.path,
        os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
    )
    try:
        if data:
            write_all(fd, data)
    finally:
        os.close(fd)


def _warning(name: str, files: list[File]) -> str:
    first = shown(files[0].path)
    return (
        f"{len(files)} file(s) such as {first} belong to the filter {name!r}; filters do not run "
        "here, so they hold what the filter stored (for Git LFS: a pointer)"
    )
