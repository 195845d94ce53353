"""``gitflow gc``: old releases that no deployment pins, listed or dropped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gitops_flow.cli import options, streams
from gitops_flow.cli.parts import count
from gitops_flow.cli.streams import printable
from gitops_flow.deploy.gc import collect
from gitops_flow.model import PrefectConnection
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.deploy.gc import Collected
    from gitops_flow.deploy.source import AnySource
    from gitops_flow.model import CodeStoreSettings

_SHOWN = 20


def run(
    origin: AnySource,
    environ: Mapping[str, str],
    *,
    profile: str | None,
    servers: Sequence[str],
    code_store: CodeStoreSettings,
    keep: int,
    older_than: float,
    really: bool,
    as_json: bool,
) -> int:
    """Say what would be dropped or, with ``really``, drop it."""
    found = options.settings(origin, environ, profile=profile, code_store=code_store)
    more = [_connection(name, origin, environ) for name in servers]
    done = collect(
        origin,
        found,
        more,
        keep=keep,
        older_than=older_than,
        really=really,
    )
    if as_json:
        streams.out(json.dumps(_document(done)) + "\n")
    else:
        streams.out("\n".join(printable(redact(line)) for line in _text(done, really)) + "\n")
    return 0


def _connection(name: str, origin: AnySource, environ: Mapping[str, str]) -> PrefectConnection:
    """A server by its address, or by the name of a profile that has its credentials."""
    if name.lower().startswith(("http://", "https://")):
        return PrefectConnection(api_url=name.rstrip("/"))
    # What the environment says of a server is about another one.
    own = {key: value for key, value in environ.items() if not key.startswith("PREFECT_API_")}
    return options.settings(origin, own, profile=name).require_prefect()


def _document(done: Collected) -> dict[str, object]:
    return {
        "ok": True,
        "dropped": [{"id": e.id, "snapshot": e.snapshot} for e in done.sorted.dropped],
        "kept": [{"id": e.id, "snapshot": e.snapshot} for e in done.sorted.kept],
        "kept_because_pinned": [e.id for e in done.sorted.pinned],
        "kept_because_young": [e.id for e in done.sorted.young],
        "servers": [redact(server) for server in done.servers],
        "done": done.tip is not None,
        "entry": done.tip,
    }


def _text(done: Collected, really: bool) -> list[str]:
    gone = done.sorted.dropped
    lines = [f"server {each}" for each in done.servers]
    if not gone:
        return [*lines, f"nothing to drop: {_kept(done)}"]
    lines += [
        f"- {e.id[:12]}  snapshot {e.snapshot[:12]}  {e.origin.source}" for e in gone[:_SHOWN]
    ]
    lines += [f"and {len(gone) - _SHOWN} more"] if len(gone) > _SHOWN else []
    word = "dropped" if really else "to drop"
    lines.append(f"{count(len(gone), 'release')} {word}; {_kept(done)}")
    if not really:
        lines.append("nothing was changed; --yes drops them")
    return lines


def _kept(done: Collected) -> str:
    """How many stay, and for what reasons other than the options."""
    kept = f"{count(len(done.sorted.kept), 'release')} stay"
    if done.sorted.pinned:
        kept += f", {len(done.sorted.pinned)} of them because something is pinned to them"
    if done.sorted.young:
        kept += f", {len(done.sorted.young)} of them because nothing of the last hour is dropped"
    return kept
