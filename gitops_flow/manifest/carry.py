"""What a clone of this repository asked for, carried over to the step that takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow.git import url
from gitops_flow.manifest.template import placeholders
from gitops_flow.manifest.wording import quoted
from gitops_flow.pin import PULL_CODE, inputs_of, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.model import Json

    Step = dict[str, Json]

_SECRETS = ("access_token", "credentials")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say about pull step number ``at``, or about them all when None."""

    at: int | None
    message: str
    severity: Literal["error", "warning", "note"] = "note"
    hint: str | None = None


def in_place_of(at: int, step: Step, raw: Step, ours: Step) -> tuple[Step, list[Remark]]:
    """``ours`` with what ``step`` asked for, and what there is to say about it.

    Args:
        at: the number of the step that is replaced.
        step: that step, filled in as far as it can be.
        raw: the same as written.
        ours: our own step or Prefect's ``git_clone``, pinned.
    """
    [(name, inputs)] = ours.items()
    old = inputs_of(step)
    # Later steps name its output {{ id.directory }}.
    taken: dict[str, Json] = {"id": old["id"]} if old.get("id") is not None else {}
    kept: dict[str, Json] = {"directories": old["directories"]} if old.get("directories") else {}
    secret, remarks = _credentials(at, step, raw)
    if secret and any(inputs.get(key) is not None for key in _SECRETS):
        remarks = [Remark(at, "its credentials give way to those of gitflow: {code_store: ...}")]
    elif secret and "repository" in old and (strangers := _hosts(inputs) - _hosts(old)):
        remarks = [_elsewhere(at, strangers)]
    elif secret:
        [(key, value)] = secret.items()
        kept["credentials" if name == PULL_CODE else key] = value
    if name == PULL_CODE == name_of(step) and old.get("directory") is not None:
        kept["directory"] = old["directory"]
    return {name: {**taken, **inputs, **kept}}, remarks


def named_by(at: int, step: Step, later: Sequence[Step]) -> list[Remark]:
    """A warning for each later step that names the directory which ``step`` would have made."""
    name = inputs_of(step).get("clone_directory_name")
    return [
        Remark(
            number,
            f"{name_of(each)} names {quoted(name)}, which is not there with the pinned code",
            "warning",
            "give the clone an id, and write {{ id.directory }}",
        )
        for number, each in enumerate(later, at + 1)
        if isinstance(name, str) and name in str(inputs_of(each))
    ]


def _credentials(at: int, step: Step, raw: Step) -> tuple[dict[str, Json], list[Remark]]:
    """The input that holds the credentials, with its value; empty without any."""
    old, written = inputs_of(step), inputs_of(raw)
    for key in _SECRETS:
        if old.get(key):
            if _is_literal(written.get(key)):
                return {}, [_literal(at, f"{key} is not a placeholder")]
            return {key: old[key]}, []
    address = written.get("repository")
    _, user, password = url.split_userinfo(address) if isinstance(address, str) else ("", "", "")
    text = ":".join(part for part in (user, password) if part)
    if not text:
        return {}, []
    if _is_literal(text):
        message = "the user name and password in the address are not carried over"
        return {}, [Remark(at, message, "warning", "write access_token: '{{ prefect.blocks... }}'")]
    return {"access_token": text}, []


def _hosts(inputs: dict[str, Json]) -> set[str]:
    """The hosts that a step fetches from; a path is on none."""
    given = inputs.get("repository")
    addresses = given if isinstance(given, list) else [given]
    return {found for each in addresses if isinstance(each, str) and (found := url.host(each))}


def _elsewhere(at: int, hosts: set[str]) -> Remark:
    message = f"its credentials are not carried over: {', '.join(sorted(hosts))} is another host"
    hint = "write gitflow: {code_store: {credentials: '{{ prefect.blocks.secret.NAME }}'}}"
    return Remark(at, message, "warning", hint)


def _is_literal(value: Json) -> bool:
    """Whether a secret stands there in clear; a user name beside a placeholder may."""
    return not placeholders(value)


def _literal(at: int, message: str) -> Remark:
    told = f"{message}; a literal secret would be readable by everybody"
    return Remark(at, told, "error", "write '{{ prefect.blocks.secret.NAME }}'")
