"""The pull step: how the commit that a worker checks out is written on the server, and read again.

There are two forms, our own ``pull_code`` and Prefect's ``git_clone``. Nothing
else knows which inputs they have. Ours names a commit, or a **release pointer**: a
Prefect variable with the commit and what goes with it, which a worker reads when a
run starts. Here such a step has both, the name (``pin``) and what it stands for
now; :func:`stored` is what the server keeps of it. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitops_flow.git import url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gitops_flow.model import Json

    # One pull step: the function's dotted name with its inputs.
    Step = dict[str, Json]

PULL_CODE = "gitops_flow.steps.pull_code"
GIT_CLONE = "prefect.deployments.steps.git_clone"
SET_DIRECTORY = "prefect.deployments.steps.set_working_directory"

# Signing may ask for a passphrase or a touch, so a plan is made without the signature.
_SIGNED_LATER = "signed when it is released"
# What older versions wrote. Prefect installs whatever the index has under this name.
_NAME_ALONE = "gitops-flow"
_EXACT = re.compile(r"gitops[-_.]flow\s*={2,3}\s*[0-9][0-9A-Za-z.+!_-]*", re.IGNORECASE)
_HASHED = re.compile(
    r"gitops[-_.]flow\s*@\s*(?:(?:https?|file)://[^\s#@]+#(?:[^\s#]*&)?sha256=[0-9a-f]{64}(?:&\S*)?"
    r"|git\+(?:https|ssh|file)://[^\s#]+@[0-9a-f]{40}(?:#\S*)?)",
    re.IGNORECASE,
)
_COMMIT = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
# What a commit takes along when a deployment is pinned to another one.
_MOVES = ("commit", "source", "release")
_POINTER = re.compile(r"\{\{\s*prefect\.variables\.([a-z0-9_]+)\s*\}\}")
# Characters that a Prefect variable's value may have as JSON.
_LONGEST_VALUE = 5000
_BELOW = re.compile(r"\{\{\s*(?:([\w-]+)\.)?directory\s*\}\}/?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pin:
    """One checkout, as a pull step asks a worker for it.

    ``addresses`` are tried in order. ``credentials`` and the other texts are as
    the server keeps them, so they may hold placeholders. ``directory`` is what
    the entrypoint is relative to, "" for the root; ``directories`` are the only
    ones that are written, if any. ``others`` names the pull steps beside it.
    ``signature`` is the text of a signed tag, which one of ``signers``, if any,
    must have signed; ``signed`` says that there is, or will be, one. ``origin``
    says where the code came from, so it is no part of what the pin is.
    ``stock``: Prefect's own step, for workers without this package. ``requires``
    is what Prefect installs on a worker without it. ``pointer`` names the release
    pointer that the commit is from, None for a step that names the commit itself.
    """

    addresses: tuple[str, ...]
    commit: str
    credentials: Json = None
    directory: str = ""
    directories: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    signature: str | None = None
    signers: tuple[str, ...] = ()
    stock: bool = False
    signed: bool = False
    requires: Json = None
    pointer: str | None = None
    origin: Json = field(default=None, compare=False)

    @classmethod
    def of(cls, steps: Sequence[Step] | None) -> Pin | None:
        """The pin in a deployment's pull steps; None without one."""
        every = list(steps or ())
        for at, step in enumerate(every):
            commit, inputs = commit_of(step), inputs_of(step)
            if commit is None or not is_ours(step, every):
                continue
            stock = name_of(step) != PULL_CODE
            below, later = _below(inputs.get("id"), every[at + 1 :])
            own = None if stock else inputs.get("directory")
            release = inputs.get("release")
            return cls(
                addresses=_texts(inputs.get("repository")),
                commit=commit,
                credentials=inputs.get("credentials") or inputs.get("access_token"),
                directory=str(own or below or ""),
                directories=_texts(inputs.get("directories")),
                others=tuple(
                    name_of(other)
                    for number, other in enumerate(every)
                    if number not in (at, at + (later or 0))
                ),
                signature=release,
                signers=_texts(inputs.get("verify_signers")),
                stock=stock,
                signed=bool(release),
                requires=None if stock else inputs.get("requires"),
                pointer=_pointer_of(step),
                origin=inputs.get("source"),
            )
        return None

    def value(self) -> dict[str, Json]:
        """What a release pointer holds so that steps that name it get this commit."""
        inputs = self._ours()
        return {key: inputs[key] for key in _MOVES if key in inputs}

    def step(self) -> Step:
        """The pull step for the whole checkout, without ``directory`` and ``directories``."""
        return {GIT_CLONE: self._stock()} if self.stock else {PULL_CODE: self._ours()}

    def _ours(self) -> dict[str, Json]:
        one = len(self.addresses) == 1
        inputs: dict[str, Json] = {
            "repository": self.addresses[0] if one else list(self.addresses),
            "commit": self.commit,
        }
        if self.requires is not None:
            inputs = {"requires": self.requires, **inputs}
        if self.credentials is not None:
            inputs["credentials"] = self.credentials
        inputs["source"] = self.origin
        if self.signed:
            inputs["release"] = self.signature or _SIGNED_LATER
        return inputs

    def _stock(self) -> dict[str, Json]:
        """Prefect's step takes any directory that is there, so its name has to carry the commit."""
        address = self.addresses[0]
        inputs: dict[str, Json] = {
            "repository": address,
            "commit_sha": self.commit,
            "clone_directory_name": f"{url.name_of(address)}-{self.commit[:12]}",
        }
        if isinstance(self.credentials, dict):
            inputs |= self.credentials
        elif self.credentials is not None:
            # A secret block or a variable is a token; any other block is credentials.
            text = str(self.credentials)
            whole = "prefect.blocks." in text and "prefect.blocks.secret." not in text
            inputs["credentials" if whole else "access_token"] = self.credentials
        return inputs


def name_of(step: Step) -> str:
    """The dotted name of a step's function, "" for an empty step."""
    return str(next(iter(step), ""))


def inputs_of(step: Step) -> dict[str, Json]:
    """A step's inputs, empty when there are none."""
    inputs = next(iter(step.values()), None)
    return inputs if isinstance(inputs, dict) else {}


def commit_of(step: Step) -> str | None:
    """The commit that a step pins, in either form; None where it pins none."""
    name, inputs = name_of(step), inputs_of(step)
    if name == PULL_CODE:
        commit = inputs.get("commit")
    else:
        commit = inputs.get("commit_sha") if name.endswith(".git_clone") else None
    return str(commit) if commit else None


def is_ours(step: Step, steps: Sequence[Step]) -> bool:
    """Whether ``step`` is the one of ``steps`` that gitflow pins, or fetches the same.

    Beside it there may be others that fetch a commit: of a library, say, which is not ours
    to move. Ours says where its code came from, or has a directory of the commit's own.
    """
    pinned = [each for each in steps if commit_of(each) or _pointer_of(each)]
    first = next((each for each in pinned if _says_origin(each)), next(iter(pinned), {}))
    return step in pinned and _fetched(step) == _fetched(first)


def _says_origin(step: Step) -> bool:
    inputs, commit = inputs_of(step), commit_of(step) or ""
    if name_of(step) == PULL_CODE:
        return "source" in inputs or _pointer_of(step) is not None
    return str(inputs.get("clone_directory_name", "")).endswith(f"-{commit[:12]}")


def _fetched(step: Step) -> tuple[Json, ...]:
    return name_of(step), addresses_of(step), commit_of(step), _pointer_of(step)


def addresses_of(step: Step) -> tuple[str, ...]:
    """Where a step fetches from; our own takes several addresses."""
    return _texts(inputs_of(step).get("repository"))


def refs_of(step: Step) -> dict[str, Json]:
    """The inputs that say which code of its repository a step fetches, without empty ones."""
    keys = ("commit",) if name_of(step) == PULL_CODE else ("branch", "tag", "commit_sha")
    inputs = inputs_of(step)
    return {key: inputs[key] for key in keys if inputs.get(key) not in (None, "")}


def _below(identity: Json, later: Sequence[Step]) -> tuple[str | None, int | None]:
    """Where a later step goes on from the checkout, and how many steps later; None when none does."""
    for number, step in enumerate(later, 1):
        text = inputs_of(step).get("directory")
        match = _BELOW.fullmatch(text) if isinstance(text, str) else None
        goes_on = match and match[1] in (None, identity)
        if match and goes_on and name_of(step).endswith(".set_working_directory"):
            return match[2], number
    return None, None


def pointer_of(steps: Sequence[Step] | None) -> str | None:
    """The release pointer that a deployment's pull steps name, also where there is none of it."""
    return next((name for step in steps or () if (name := _pointer_of(step))), None)


def _pointer_of(step: Step) -> str | None:
    named = inputs_of(step).get("pin") if name_of(step) == PULL_CODE else None
    match = _POINTER.fullmatch(named.strip()) if isinstance(named, str) else None
    return match[1] if match else None


def follow(steps: Sequence[Step] | None, values: Mapping[str, Json]) -> tuple[Step, ...] | None:
    """``steps`` as the server keeps them, with what the release pointers in them stand for.

    ``values`` are those of Prefect variables by name. A pointer that is missing or
    malformed stands for nothing.
    """
    return None if steps is None else tuple(_followed(step, values) for step in steps)


def _followed(step: Step, values: Mapping[str, Json]) -> Step:
    name = _pointer_of(step)
    if name is None:
        return step
    try:
        return {PULL_CODE: {**inputs_of(step), **read_value(values.get(name, ""))}}
    except ValueError:
        return step


def read_value(value: Json) -> dict[str, Json]:
    """``commit``, ``source`` and ``release`` (those that there are) of a release pointer's value.

    Raises:
        ValueError: whose text completes the sentence "the release pointer ...".
    """
    if value is None or value == "":
        raise ValueError("is missing on the server")
    if not isinstance(value, dict):
        raise ValueError("holds no JSON object")  # noqa: TRY004 - not the caller's fault
    if not isinstance(commit := value.get("commit"), str) or not _COMMIT.fullmatch(commit):
        raise ValueError("names no commit of 40 hex digits")
    if not isinstance(value.get("release") or "", str):
        raise ValueError("has a release that is no text")  # noqa: TRY004 - as above
    return {key: value[key] for key in _MOVES if value.get(key) is not None}


def is_at(value: Json, new: Mapping[str, Json]) -> bool:
    """Whether a pointer of ``value`` makes runs as one of ``new`` does: the commit, signed or not."""
    try:
        old = read_value(value)
    except ValueError:
        return False
    return old["commit"] == new["commit"] and _is_signed(old) == _is_signed(new)


def _is_signed(inputs: Mapping[str, Json]) -> bool:
    """Whether there is a signature, and of this commit: anything else is to be written anew."""
    release = str(inputs.get("release") or "")
    return release == _SIGNED_LATER or release.startswith(f"object {inputs.get('commit')}\n")


def too_long(value: Json) -> bool:
    """Whether a Prefect variable cannot hold ``value``."""
    return len(json.dumps(value)) > _LONGEST_VALUE


def point(steps: Sequence[Step] | None, pointer: str | None) -> tuple[Step, ...] | None:
    """``steps`` with their commit from the release pointer ``pointer``; None: each names its own."""
    if steps is None:
        return None
    return tuple(_pointing(each, pointer) if is_ours(each, steps) else each for each in steps)


def _pointing(step: Step, pointer: str | None) -> Step:
    if name_of(step) != PULL_CODE or commit_of(step) is None:
        return step
    inputs = {key: value for key, value in inputs_of(step).items() if key != "pin"}
    if pointer is not None:
        inputs["pin"] = f"{{{{ prefect.variables.{pointer} }}}}"
    return {PULL_CODE: inputs}


def stored(steps: Sequence[Step] | None) -> list[Step] | None:
    """``steps`` as the server keeps them: what a release pointer tells is not in them."""
    return None if steps is None else [_stored(step) for step in steps]


def _stored(step: Step) -> Step:
    if _pointer_of(step) is None:
        return step
    return {PULL_CODE: {key: value for key, value in inputs_of(step).items() if key not in _MOVES}}


def repin(steps: Sequence[Step] | None, new: Pin) -> tuple[Step, ...]:
    """``steps`` with the commit of ``new`` and what goes with it; other inputs stay as they are."""
    known = steps or ()
    return tuple(_repinned(each, new) if is_ours(each, known) else each for each in known)


def _repinned(step: Step, new: Pin) -> Step:
    old = commit_of(step)
    name, inputs = name_of(step), inputs_of(step)
    if name == PULL_CODE:
        kept = {key: value for key, value in inputs.items() if key != "release"}
        if kept.get("requires") == _NAME_ALONE:
            del kept["requires"]
        moved = inputs_of(new.step()) if not new.stock else {"commit": new.commit}
        return {name: {**kept, **{key: moved[key] for key in _MOVES if key in moved}}}
    moved = {**inputs, "commit_sha": new.commit}
    if isinstance(directory := inputs.get("clone_directory_name"), str):
        moved["clone_directory_name"] = directory.replace(str(old)[:12], new.commit[:12])
    return {name: moved}


def sign(steps: Sequence[Step] | None, signature: str) -> tuple[Step, ...] | None:
    """``steps`` with the signature in the pin that was made without it."""
    return None if steps is None else tuple(_signed(step, signature) for step in steps)


def sign_value(value: Json, signature: str) -> Json:
    """A release pointer's value with the signature, where it was made without it."""
    if not isinstance(value, dict) or value.get("release") != _SIGNED_LATER:
        return value
    return {**value, "release": signature}


def _signed(step: Step, signature: str) -> Step:
    inputs = inputs_of(step)
    if name_of(step) != PULL_CODE or inputs.get("release") != _SIGNED_LATER:
        return step
    return {PULL_CODE: {**inputs, "release": signature}}


def without_origin(step: Step) -> Step:
    """``step`` without the input that says where the code came from."""
    inputs = step.get(PULL_CODE)
    if not isinstance(inputs, dict):
        return step
    return {PULL_CODE: {key: value for key, value in inputs.items() if key != "source"}}


def comparable(steps: Sequence[Step] | None) -> list[Step]:
    """``steps`` without what makes no difference to a run.

    No steps and an empty list mean the same to a worker. The origin says where
    the code came from and not what it is. Of a signature it counts that there is
    one: each is different, and the commit that it is for is compared.
    """
    return [_comparable(step) for step in steps or ()]


def _comparable(step: Step) -> Step:
    known = without_origin(step)
    if name_of(step) == PULL_CODE and inputs_of(known).get("release"):
        return {PULL_CODE: {**inputs_of(known), "release": _is_signed(inputs_of(known))}}
    return known


def names_one_package(requirement: str) -> bool:
    """Whether ``requirement`` is this package, and exactly one content or version of it.

    An exact version, an address with a SHA-256, or one of git with a whole
    commit. No extras: with these, Prefect would install at each run.
    """
    text = requirement.strip()
    return bool(_EXACT.fullmatch(text) or _HASHED.fullmatch(text))


def leaves_open(requirement: str) -> bool:
    """Whether ``requirement`` is this package, of whatever content the index has."""
    own = re.match(r"\s*gitops[-_.]flow(?![\w.-])", requirement, re.IGNORECASE)
    return bool(own) and not names_one_package(requirement)


def commits(*places: Json) -> set[str]:
    """Every commit that is named somewhere in ``places``, such as an image's tag."""
    return set(_COMMIT.findall(json.dumps(places, default=str)))


def _texts(value: Json) -> tuple[str, ...]:
    """One text or several, as a tuple."""
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)
