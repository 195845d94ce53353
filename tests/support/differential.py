"""What a Prefect server has of a namespace, as plain values, and what differs between two of them.

Everything that the server answers is compared, but for what it makes up
itself: ids and times, here by name. A field that a later server adds is
compared without anybody's doing.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gitops_flow.local import call
from tests.support.prefect import patiently

# One request: method, path, body.
Call = Callable[..., Any]
# "flow/deployment" to what the server has of it.
State = dict[str, dict[str, Any]]

ABSENT = "(absent)"
_NOW = "(when it was deployed)"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:\d\d)")
_PAGE = 200
# Sets of a trigger: the server gives them out in any order.
_SETS = frozenset({"expect", "after", "for_each"})
# Ids and times, and what depends on whether a worker has polled meanwhile.
_OF_THE_SERVER = frozenset(
    {
        "id",
        "created",
        "updated",
        "created_by",
        "updated_by",
        "flow_id",
        "deployment_id",
        "work_queue_id",
        "last_polled",
        "status",
        "prefect.flow.id",
        "active_slots",
        "occupancy_seconds",
        "denied_slots",
    }
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one deployment that is not the same; ``path`` is dotted."""

    deployment: str
    path: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.deployment}: {self.path}: prefect {self.theirs!r:.200}, gitflow {self.ours!r:.200}"


def caller(api_url: str) -> Call:
    """Requests to one server, which may be busy for a moment."""

    def ask(method: str, path: str, body: Any = None) -> Any:
        # SQLite answers 503 when its services write at the same moment.
        return patiently(lambda: call(api_url, method, path, body, timeout=60))

    return ask


def read(ask: Call, prefix: str = "", words: Mapping[str, str] | None = None) -> State:
    """Every deployment whose flow's name holds ``prefix``, with its schedules, automations and limit.

    Args:
        ask: one request to the server.
        prefix: text that the names of the flows hold; "" for all.
        words: texts that differ between two namespaces, to what stands for them.
    """
    flows = {item["id"]: item for item in _all(ask, "flows", {"name": {"like_": prefix}})}
    # A trigger's own name may be anything, so it is found by what it runs.
    automations = _all(ask, "automations", None)
    state: State = {}
    for item in _all(ask, "deployments", None):
        flow = flows.get(item["flow_id"])
        if flow is None:
            continue
        owned = [each for each in automations if _runs(each, item["id"])]
        limit = item.pop("global_concurrency_limit")
        state[f"{flow['name']}/{item['name']}"] = {
            **plain(item, {}),
            "flow_name": flow["name"],
            "flow": plain(flow, {}),
            "limit": limit and plain(limit, {limit["name"]: "LIMIT"}),
            "schedules": _sorted(plain(item["schedules"], {})),
            "automations": _sorted(plain(owned, {item["id"]: "DEPLOYMENT"})),
        }
    return _replaced(state, words or {})


def plain(value: Any, words: Mapping[str, str]) -> Any:
    """``value`` without what the server made up, and with ``words`` replaced."""
    if isinstance(value, dict):
        return {
            key: sorted(item) if key in _SETS and isinstance(item, list) else plain(item, words)
            for key, item in value.items()
            if key not in _OF_THE_SERVER
        }
    if isinstance(value, list):
        return [plain(item, words) for item in value]
    if isinstance(value, str):
        return _NOW if _is_now(value) else words.get(value, value)
    return value


def differences(theirs: State, ours: State) -> list[Difference]:
    """What is not the same, deployment by deployment, as deep as mappings go."""
    found: list[Difference] = []
    for name in sorted(theirs.keys() | ours.keys()):
        if name not in theirs or name not in ours:
            found.append(Difference(name, "", name in theirs, name in ours))
            continue
        found += [
            Difference(name, path, one, other)
            for path, one, other in _walk("", theirs[name], ours[name])
        ]
    return found


def _walk(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            below = f"{path}.{key}" if path else key
            yield from _walk(below, one.get(key, ABSENT), other.get(key, ABSENT))
    elif json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        # By their JSON, so that true, 1 and 1.0 are three values.
        yield path, one, other


def _is_now(text: str) -> bool:
    """Whether the server filled in the present moment, as it does for a missing anchor date."""
    if not _MOMENT.fullmatch(text):
        return False
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(text)
    return abs(age) < datetime.timedelta(hours=1)


def _all(ask: Call, kind: str, query: Any) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for page in range(1000):
        body = {"limit": _PAGE, "offset": page * _PAGE, **({kind: query} if query else {})}
        items = ask("POST", f"/{kind}/filter", body)
        found |= {item["id"]: item for item in items}
        if len(items) < _PAGE:
            return list(found.values())
    raise AssertionError(f"the list of {kind} has no end")


def _runs(automation: Mapping[str, Any], deployment: str) -> bool:
    return any(action.get("deployment_id") == deployment for action in automation["actions"])


def _sorted(items: list[Any]) -> list[Any]:
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _replaced(state: State, words: Mapping[str, str]) -> State:
    text = json.dumps(state)
    for word, stands_for in words.items():
        text = text.replace(json.dumps(word)[1:-1], stands_for)
    result: State = json.loads(text)
    return result
