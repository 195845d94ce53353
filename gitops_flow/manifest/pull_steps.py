"""Pull steps: the one that fetches this repository becomes ours, the others stay.

What a clone of this repository asked for is carried over to the step that takes its place.
Without a ``pull:``, code that is built into an image gets the step that Prefect writes for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gitops_flow.git import identity, url
from gitops_flow.manifest import steps
from gitops_flow.manifest.config import pull_section
from gitops_flow.manifest.placeholders import KEEP, fill, placeholders, variable_name
from gitops_flow.manifest.substitution import Substitution, named
from gitops_flow.manifest.wording import quoted
from gitops_flow.pin import (
    PULL_CODE,
    SET_DIRECTORY,
    addresses_of,
    inputs_of,
    is_ours,
    name_of,
    refs_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.model import Json

    Step = dict[str, Json]
    from collections.abc import Callable, Hashable

    from gitops_flow.manifest.config import DeploymentConfig, Manifest
    from gitops_flow.manifest.placeholders import Answers, Keep, Placeholder
    from gitops_flow.model import Json, Problem

    Path = tuple[Hashable, ...]
    Role = Literal["own", "other", "here", "away", "plain"]

# What only the manifest says of a step of ours.
_OWN = ("directory", "isolation", "verify_signers")
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
    if name == PULL_CODE == name_of(step):
        kept |= {key: old[key] for key in _OWN if old.get(key) is not None}
    elif old.get("verify_signers"):
        message = f"{name} checks no signature: its verify_signers is left out"
        remarks = [*remarks, Remark(at, message, "warning", "leave checkout: stock out")]
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
    repository = inputs.get("repository")
    addresses = repository if isinstance(repository, list) else [repository]
    return {host for each in addresses if isinstance(each, str) and (host := url.host(each))}


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


_HOME = "/opt/prefect"


def image_pull_steps(manifest: Manifest, config: DeploymentConfig) -> tuple[Step, ...] | None:
    """The pull steps of a deployment without a ``pull:`` whose code its build puts into an image.

    As Prefect does without asking: the directory that an automatic Dockerfile
    copies to; nothing for a Dockerfile of one's own, which sets it; the home of
    Prefect's images for other builders. None when no build step makes an image.
    """
    spec = config.spec
    for step in spec.build or manifest.build or ():
        name = name_of(step)
        last = name.rpartition(".")[2]
        if last.endswith("build_docker_image"):
            if inputs_of(step).get("dockerfile") != "auto":
                return ()
            return ({SET_DIRECTORY: {"directory": f"{_HOME}/{manifest.directory}"}},)
        if "buildpack" in name or "build_image" in last:
            return ({SET_DIRECTORY: {"directory": _HOME}},)
    return None


_CLONE = ("git_clone", "git_clone_project")
_FETCH = (*_CLONE, "pull_with_block")


@dataclass(frozen=True, slots=True)
class Pinned:
    """The pull steps to store, and what there is to say about them."""

    steps: tuple[Step, ...]
    remarks: tuple[Remark, ...] = ()


def pin(
    section: Sequence[Step] | None,
    pull_steps: Sequence[Step],
    is_own_repository: Callable[[str], bool],
    *,
    is_own_directory: Callable[[str], bool] = lambda _: True,
    raw: Sequence[Step] | None = None,
) -> Pinned:
    """Put ``pull_steps`` in the place of what fetches this repository's code.

    Args:
        section: the manifest's pull steps, filled in as far as they can be; None
            without any, empty for ``[]``.
        pull_steps: ``{"gitops_flow.steps.pull_code": {inputs}}``, or Prefect's
            own ``git_clone`` with what has to come after it.
        is_own_repository: whether an address is this repository's.
        is_own_directory: whether a directory is this repository's, or in it.
        raw: the section as written.
    """
    ours = list(pull_steps)
    if section is None:
        return Pinned(tuple(ours), (Remark(None, "no pull steps: the pinned code is pulled"),))
    steps = list(section)
    if not steps:
        message = "no pull steps: the code is not pinned"
        return Pinned((), (Remark(None, message, "warning"),))
    store = [each for step in ours for each in addresses_of(step)]
    roles = [role(step, is_own_repository, is_own_directory, store) for step in steps]
    if "own" not in roles and "here" in roles and "other" not in roles:
        roles[roles.index("here")] = "own"
    leads = [at for at, what in enumerate(roles) if what in ("other", "away")]
    if "own" not in roles and leads:
        at = leads[0]
        message = (
            f"kept {name_of(steps[at])}: it decides which code runs, so the code is not pinned"
        )
        return Pinned(tuple(steps), (Remark(at, message, "warning"),))
    if "own" not in roles and "here" in roles:
        roles[roles.index("here")] = "own"
    pinned = _replace(steps, roles, steps if raw is None else raw, ours)
    if "own" in roles:
        return pinned
    first = Remark(None, "the pinned code is pulled first")
    return Pinned((*ours, *pinned.steps), (first, *pinned.remarks))


def _replace(steps: list[Step], roles: list[Role], raw: Sequence[Step], ours: list[Step]) -> Pinned:
    """``steps`` with ``ours`` in the place of each of the role ``own``."""
    remarks: list[Remark] = []
    result: list[Step] = []
    for at, (step, what) in enumerate(zip(steps, roles, strict=True)):
        if what == "own":
            remarks.append(Remark(at, f"{name_of(step)} becomes a pull of the pinned code"))
            first, about_inputs = in_place_of(at, step, raw[at], ours[0])
            result += [first, *ours[1:]]
            remarks += [*about_inputs, *named_by(at, step, steps[at + 1 :])]
            continue
        result.append(step)
        if what in ("other", "here", "away"):
            message = f"kept {name_of(step)}: it may lead away from the pinned code"
            remarks.append(Remark(at, message, "warning"))
    return Pinned(tuple(result), tuple(remarks))


def role(
    step: Step,
    is_own_repository: Callable[[str], bool],
    is_own_directory: Callable[[str], bool] = lambda _: True,
    store: Sequence[str] = (),
) -> Role:
    """What a step is to the code: ours to replace, another source of code, a place, or neither.

    ``store`` holds the addresses of the code store, which our own step pulls from.
    """
    name, inputs = name_of(step), inputs_of(step)
    last = name.rpartition(".")[2]
    if name == PULL_CODE:
        # What push_code gives is what a deploy publishes, whatever the workers' address.
        if placeholders([inputs.get("commit"), *addresses_of(step)]):
            return "own"
        known = set(map(identity.of, store))
        ours = [identity.of(at) in known or is_own_repository(at) for at in addresses_of(step)]
        return "own" if all(ours) else "other"
    if last in _CLONE:
        return "own" if is_own_repository(str(inputs.get("repository", ""))) else "other"
    if last in _FETCH or last.startswith(("pull_from_", "pull_project_from_")):
        return "other"
    if last != "set_working_directory":
        return "plain"
    directory = str(inputs.get("directory", ""))
    # Below the output of another step is where that step put it, wherever that is.
    if any(mark.kind == "output" for mark in placeholders(directory)):
        return "plain"
    return "here" if is_own_directory(directory) else "away"


def waiting(steps: Sequence[Step]) -> tuple[int, ...]:
    """The numbers of the clones whose address the output of a build step has to say."""
    return tuple(
        number
        for number, step in enumerate(steps)
        if name_of(step).rpartition(".")[2] in _CLONE
        and any(mark.kind == "output" for mark in placeholders(list(addresses_of(step))))
    )


def in_directory(steps: Sequence[Step] | None, directory: str) -> tuple[Step, ...] | None:
    """Pinned pull steps that end in ``directory``, relative to the code's root, "" for that.

    Where a later step goes on from what the pinned one gave, the manifest finds
    its own way and the steps stay as they are.
    """
    if not directory or steps is None:
        return None if steps is None else tuple(steps)
    result = list(steps)
    for at, step in enumerate(steps):
        name, inputs = name_of(step), inputs_of(step)
        if not is_ours(step, steps):
            continue
        stock = name != PULL_CODE
        users = [later for later in steps[at + 1 :] if _uses(inputs.get("id"), later)]
        if any(name_of(user).endswith(".set_working_directory") for user in users):
            break
        if not stock and not users:
            result[at] = {name: {**inputs, "directory": inputs.get("directory", directory)}}
            break
        # What comes between was written for the root of the code.
        identity = inputs.get("id") or "pinned-code"
        result[at] = {name: {**inputs, "id": identity}}
        result.append({SET_DIRECTORY: {"directory": f"{{{{ {identity}.directory }}}}/{directory}"}})
        break
    return tuple(result)


def _uses(identity: Json, step: Step) -> bool:
    """Whether a step is given the directory that the step with this id gave."""
    known = ("directory", f"{identity}.directory")
    return any(mark.name in known for mark in placeholders(inputs_of(step)))


def wants_submodules(manifest: Manifest, chosen: Sequence[DeploymentConfig] | None = None) -> bool:
    """Whether any of these deployments clones with ``include_submodules``."""
    return any(
        inputs_of(step).get("include_submodules") is True
        for config in (manifest.deployments if chosen is None else chosen)
        for step in pull_section(manifest, config)[0] or ()
    )


def other_code(
    manifest: Manifest,
    chosen: Sequence[DeploymentConfig],
    answers: Answers,
    is_own_repository: Callable[[str], bool],
    store: Sequence[str],
    differs: Callable[[str, str, str], tuple[str, str] | None],
) -> list[Problem]:
    """An error for each pull step that names other code of this repository than what is deployed.

    A pull of the pinned code takes the place of such a step, so it has to mean that.

    Args:
        manifest: from :func:`gitops_flow.manifest.load`.
        chosen: the deployments to look at.
        answers: what placeholders are filled in from. Where they wait for the outputs
            of build and push steps, nothing is said yet.
        is_own_repository: whether an address is this repository's.
        store: the addresses of the code store.
        differs: is given the address, the name of the input and its value; says what
            is wrong and what to do, or None when that is what is deployed.
    """
    substitutions = []
    for config in chosen:
        substitution = Substitution(manifest, config, answers)
        section, own = pull_section(manifest, config)
        path: Path = ("pull",) if own else ("", "pull")
        # What this says of the steps is told when they are resolved.
        probe = Substitution(manifest, config, answers)
        for number, step in enumerate(steps.pull_steps(probe, section or (), path)):
            if role(step, is_own_repository, store=store) != "own":
                continue
            for key, value in refs_of(step).items():
                where = (*path, number, name_of(step), key)
                text = str(_with_variables(value, answers))
                left = placeholders(text)
                waits = substitution.outputs is None and any(mark.kind == "output" for mark in left)
                if left and not waits:
                    message = (
                        f"{left[0].shown} is not known here, so what it names cannot be pinned"
                    )
                    substitution.error(where, message, "set it here as well, or take the line out")
                elif not left and (told := differs(" ".join(addresses_of(step)), key, text)):
                    substitution.error(where, *told)
        substitutions.append(substitution)
    return named(manifest, substitutions)


def _with_variables(value: Json, answers: Answers) -> Json:
    """``value`` with Prefect variables as they are now."""

    def answer(mark: Placeholder) -> Json | Keep:
        if mark.kind != "variable":
            return KEEP
        return answers.variables.get(variable_name(mark), KEEP)

    return fill(value, answer)
