"""Line endings, encodings and $Id$ as .gitattributes asks for them, applied by git itself."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING

from gitops_flow.checkout.tree import shown
from gitops_flow.checkout.write import write_all
from gitops_flow.errors import CheckoutError
from gitops_flow.git import command
from gitops_flow.git.formats import FILTER, LARGEST, pointer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gitops_flow.checkout.objects import Store
    from gitops_flow.checkout.tree import File

_NAMES = ("eol", "working-tree-encoding", "ident", "filter")
# Without one of these in a .gitattributes, git writes the stored bytes as they are.
_TELLING = re.compile(rb"crlf|working-tree-encoding|ident|filter=")
# What git would not take as a whole when it reads paths line by line.
_UNASKABLE = re.compile(rb"\n|^[ \t]|\r\Z")
_LF: tuple[tuple[str, str], ...] = (
    ("core.autocrlf", "false"),
    ("core.eol", "lf"),
    ("core.attributesFile", os.devnull),
)


def apply(
    root: Path, paths: Sequence[bytes], written: Sequence[File], store: Store, timeout: float
) -> tuple[str, ...]:
    """Convert the files ``written`` in ``root`` that attributes say so for.

    Filter programs (``filter=``) are never run. ``paths`` are all files, the others converted
    already.

    Returns:
        Warnings: files that a filter would have changed.
    """
    if not any(_tells(root, path) for path in paths):
        return ()
    convert, filtered = _wanted(root, paths, written, store, timeout)
    off = tuple(
        setting
        for name in filtered
        for setting in (
            (f"filter.{name}.smudge", ""),
            (f"filter.{name}.process", ""),
            (f"filter.{name}.required", "false"),
        )
    )
    config = (*_LF, *off)
    batch = [file for file in convert if not _UNASKABLE.search(file.path)]
    others = [file for file in convert if _UNASKABLE.search(file.path)]
    # All before the first is written: what attributes say of themselves would change them.
    data = _many(root, batch, store, config, timeout)
    data += [_one(root, file, store, config, timeout) for file in others]
    for file, converted in zip((*batch, *others), data, strict=True):
        _rewrite(root, file, converted)
    stored = {
        name: [path for path in paths if name != FILTER.decode() or _is_pointer(root, path)]
        for name, paths in sorted(filtered.items())
    }
    return tuple(_warning(name, paths) for name, paths in stored.items() if paths)


def _is_pointer(root: Path, path: bytes) -> bool:
    """Whether it is a pointer of Git LFS; a snapshot may hold the content itself."""
    with open(os.fsencode(root) + b"/" + path, "rb") as written:  # noqa: PTH123
        return pointer(written.read(LARGEST)) is not None


def _tells(root: Path, path: bytes) -> bool:
    if path.rsplit(b"/", 1)[-1] != b".gitattributes":
        return False
    with open(os.fsencode(root) + b"/" + path, "rb") as attributes:  # noqa: PTH123
        return _TELLING.search(attributes.read()) is not None


def _wanted(
    root: Path, paths: Sequence[bytes], written: Sequence[File], store: Store, timeout: float
) -> tuple[list[File], dict[str, list[bytes]]]:
    """What git's own reading of the attributes asks for: files to convert, and those of filters."""
    out = command.run(
        ["check-attr", "-z", "--stdin", *_NAMES],
        cwd=root,
        env=store.environment(root),
        config=_LF,
        stdin=b"".join(path + b"\0" for path in paths),
        timeout=timeout,
    ).stdout
    values = out.split(b"\0")[2::3]
    convert: set[bytes] = set()
    filtered: dict[str, list[bytes]] = {}
    for number, path in enumerate(paths):
        eol, encoding, ident, filter_ = values[4 * number : 4 * number + 4]
        if eol == b"crlf" or ident == b"set" or encoding not in (b"unspecified", b"unset", b"set"):
            convert.add(path)
        if filter_ not in (b"unspecified", b"unset", b"set"):
            name = filter_.decode("utf-8", "surrogateescape")
            filtered.setdefault(name, []).append(path)
    return [file for file in written if file.path in convert], filtered


def _many(
    root: Path,
    files: list[File],
    store: Store,
    config: tuple[tuple[str, str], ...],
    timeout: float,
) -> list[bytes]:
    """The converted contents of ``files``, whose names git reads from a line."""
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


def _warning(name: str, paths: list[bytes]) -> str:
    first = shown(min(paths))
    return (
        f"{len(paths)} file(s) such as {first} belong to the filter {name!r}; filters do not run "
        "here, so they hold what the filter stored (for Git LFS: a pointer)"
    )
