"""What was read of flows before, by the content of every file that was looked at."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitops_flow import files
from gitops_flow.errors import LockedError
from gitops_flow.model import FlowInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gitops_flow.model import Json

    BlobId = Callable[[str], str | None]

# One entry for each state of the code that is gone back and forth between.
_MOST_STATES = 4
_MOST_ENTRIES = 64
# Seconds for which others may hold the lock; they write a small file.
_PATIENCE = 5.0


class Cache:
    """Results on disk, in a directory that may be deleted at any time.

    Several processes may share it. What cannot be read there is read from the
    sources again; that it cannot be written is no error.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / _readers_version()
        self._shards: dict[str, dict[str, Any]] = {}

    def get(self, entrypoint: str, flow_name: str | None, blob_id: BlobId) -> FlowInfo | None:
        """The result for files of the same content, or None."""
        key, shard = _place(entrypoint, flow_name)
        states = self._shard(shard).get(key)
        for state in states if isinstance(states, list) else ():
            with contextlib.suppress(KeyError, TypeError, AttributeError):
                if all(blob_id(path) == known for path, known in state["files"].items()):
                    return _info(state["info"])
        return None

    def put(
        self,
        entrypoint: str,
        flow_name: str | None,
        looked_at: Mapping[str, str | None],
        info: FlowInfo,
    ) -> None:
        """Remember a result and the files that it depends on: None for those that are absent."""
        key, shard = _place(entrypoint, flow_name)
        state: dict[str, Json] = {"files": dict(looked_at), "info": asdict(info)}
        try:
            json.dumps(state, allow_nan=False)
            with files.locked(self._directory / "lock", _PATIENCE):
                entries = self._read(shard)
                states = entries.pop(key, [])
                entries[key] = [state, *(states if isinstance(states, list) else [])][:_MOST_STATES]
                entries = dict(list(entries.items())[-_MOST_ENTRIES:])
                self._write(shard, entries)
        except (OSError, ValueError, LockedError):
            return
        self._shards[shard] = entries

    def _shard(self, shard: str) -> dict[str, Any]:
        if shard not in self._shards:
            self._shards[shard] = self._read(shard)
        return self._shards[shard]

    def _read(self, shard: str) -> dict[str, Any]:
        try:
            entries = json.loads((self._directory / f"{shard}.json").read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def _write(self, shard: str, entries: dict[str, Any]) -> None:
        handle, name = tempfile.mkstemp(prefix=f".{shard}-", dir=self._directory)
        aside = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entries, file, separators=(",", ":"))
            aside.replace(self._directory / f"{shard}.json")
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def read_cached(
    cache: Cache,
    read_file: Callable[[str], bytes | None],
    blob_id: BlobId,
    entrypoint: str,
    *,
    flow_name: str | None = None,
) -> FlowInfo:
    """As :func:`read`, but what is known already is not read again.

    Args:
        cache: where results are kept.
        read_file: as for :func:`read`; not called when the result is known.
        blob_id: a cheap id of a file's content, the same for the same content
            everywhere; None if there is no such file.
        entrypoint: as for :func:`read`.
        flow_name: as for :func:`read`.

    Raises:
        FlowError: as :func:`read` does; errors are not remembered.
    """
    known = cache.get(entrypoint, flow_name, blob_id)
    if known is not None:
        return known
    from gitops_flow.flows import reading

    looked_at: dict[str, str | None] = {}

    def noted(path: str) -> bytes | None:
        if path not in looked_at:
            looked_at[path] = blob_id(path)
        return read_file(path)

    info = reading.read(noted, entrypoint, flow_name=flow_name)
    cache.put(entrypoint, flow_name, looked_at, info)
    return info


def _place(entrypoint: str, flow_name: str | None) -> tuple[str, str]:
    # One file for each entrypoint is many to open; one for all is much to write each time.
    shard = hashlib.sha256(entrypoint.encode("utf-8", "surrogateescape")).hexdigest()[:2]
    return json.dumps([entrypoint, flow_name]), shard


def _info(stored: dict[str, Any]) -> FlowInfo:
    info = FlowInfo(**stored | {"notes": tuple(stored["notes"])})
    if not isinstance(info.name, str) or not isinstance(info.parameter_schema, dict):
        raise TypeError
    return info


@functools.cache
def _readers_version() -> str:
    """A name for everything but the sources that a result depends on."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    parts = [f"{sys.version_info.major}.{sys.version_info.minor}"]
    parts += [metadata.version(name) for name in ("pydantic", "typing_extensions")]
    return "-".join([*parts, digest.hexdigest()[:16]])
