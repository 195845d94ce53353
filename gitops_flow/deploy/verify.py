"""``gitflow verify`` and ``deploy --verify``: find code that does not load before a run does."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gitops_flow import buildsteps, checkout, files, flows, prefect
from gitops_flow.deploy import choice, server, source
from gitops_flow.errors import CheckoutError, FlowError, GitflowError, ManifestError, StoppedError
from gitops_flow.git import credentials, environment
from gitops_flow.git.url import split_userinfo
from gitops_flow.manifest.placeholders import (
    KEEP,
    MISSING,
    block_parts,
    block_value,
    fill,
    placeholders,
    variable_name,
)
from gitops_flow.model import Problem
from gitops_flow.pin import Pin, pointer_of
from gitops_flow.stop import using
from gitops_flow.worker import signers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.request import Which
    from gitops_flow.deploy.server import Server
    from gitops_flow.deploy.source import AnySource, Project
    from gitops_flow.git.command import Auth
    from gitops_flow.manifest.placeholders import Keep, Placeholder
    from gitops_flow.model import Deployment, Json, Source
    from gitops_flow.prefect import Clients
    from gitops_flow.settings import Settings
    from gitops_flow.stop import Stop

    # Makes the files of a pin in a new directory below the given one; where they are.
    Make = Callable[[Pin, Path], Path]

_PACKAGE = "gitops_flow"
_GIT_TIMEOUT = 600.0  # seconds, for each talk with a git server
_TIMEOUT = 120.0  # seconds, for all flows of a directory
_INSTEAD = "name the Python that your workers have with ‹python›"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one deployment; ``error`` says why it is broken.

    ``not_run`` names the pull steps beside the pinned one, which do not run here.
    """

    name: str
    status: Literal["ok", "broken", "not pinned"]
    commit: str | None = None
    error: GitflowError | None = None
    not_run: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Python:
    """Which Python imports the flows, and its whole environment."""

    path: str
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and with which Python."""

    source: Source
    python: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return all(each.status != "broken" for each in self.findings)


def run(
    origin: AnySource,
    which: Which,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    python: str | None = None,
    clients: Clients | None = None,
    tell: Callable[[str], None] = lambda _: None,
    stop: Stop | None = None,
) -> Verified:
    """Look at what is pinned on the server now; nothing is written.

    Args:
        origin: the source.
        which: which of its deployments on the server.
        settings: where Prefect is.
        environ: for the flows that are imported.
        python: the Python that imports them; None finds it.
        tell: is told what is being done.
        clients, stop: as for a deploy.

    Raises:
        GitflowError: the manifest cannot be read, the server does not answer,
            or a name matches nothing.
        StoppedError: ``stop`` was set.
    """
    with using(stop), environment.unless_given(environ):
        project = source.find(origin, settings)
        target = project.target
        with server.connected(project, clients) as live:
            chosen = choice.choose_live(live.live(()), which, project.source.suffix)
            chosen.sort(key=lambda item: item.full_name)
            pinned = [(item, Pin.of(item.pull_steps)) for item in chosen]
            tell("asking for what is pinned")
            # Code from elsewhere is not run on this machine because somebody wrote so on the server.
            ours = [
                (item, _filled(live, pin, environ) if pin and _is_named(pin, target) else None)
                for item, pin in pinned
            ]
        tell("checking out and importing")
        importing = find_python(project, python, environ)
        findings = look(ours, lambda pin, top: _fetched(pin, top, target), importing)
        told = [_or_why_not(each, *item) for each, item in zip(findings, pinned, strict=True)]
        if not buildsteps.has_package(importing.path, _PACKAGE, importing.environ):
            told = [
                without_package(each, item, importing)
                for each, item in zip(told, pinned, strict=True)
            ]
        return Verified(project.source, importing.path, tuple(told))


def without_package(
    finding: Finding, item: tuple[Deployment, Pin | None], python: Python
) -> Finding:
    """``finding``, for a Python that cannot import the pull step."""
    pin = item[1]
    if pin is None or pin.stock or pin.requires is not None or finding.status != "ok":
        return finding
    error = CheckoutError(
        f"{python.path} has no module 'gitops_flow', so a worker with this Python cannot pull code",
        hint="install the package there (docs/workers.md), name the Python that your workers have "
        "with ‹python›, or deploy with gitflow: {checkout: stock}",
    )
    return replace(finding, status="broken", error=error)


def _is_named(pin: Pin, target: CodeStore) -> bool:
    return set(pin.addresses) <= {target.url, target.pull_url, *target.mirrors}


def _or_why_not(finding: Finding, item: Deployment, pin: Pin | None) -> Finding:
    """``finding``, with the reason where there is a pin that was left alone, or leads nowhere."""
    if pin is None and (pointer := pointer_of(item.pull_steps)):
        lost = CheckoutError(
            f"the release pointer {pointer} is missing on the server or names no commit",
            hint="gitflow deploy ‹everything› writes it again",
        )
        return replace(finding, status="broken", error=lost)
    if pin is None or finding.status != "not pinned":
        return finding
    error = CheckoutError(
        f"its code comes from {', '.join(pin.addresses)}, which is not this source's code store",
        hint="deploy again, or name what it was deployed with (‹remote›, ‹pull_url›)",
    )
    return replace(finding, commit=pin.commit, error=error)


def before_publishing(
    code: Code, desired: Sequence[Deployment], python: Python
) -> tuple[Problem, ...]:
    """Look at a snapshot that no server has yet.

    Returns:
        a warning for each deployment whose code is not this snapshot.

    Raises:
        ManifestError: flows that do not load, all at once.
    """
    pinned = [(item, Pin.of(item.pull_steps)) for item in desired]
    with files.temporary("gitflow-objects-") as place:
        lender = str(code.store.lend(place / "snapshot.git"))

        def make(pin: Pin, top: Path) -> Path:
            return checkout.make(lender, pin.commit, top, directories=_directories(pin)).directory

        ours = [(item, pin if _is(pin, code) else None) for item, pin in pinned]
        findings = look(ours, make, python)
    _refuse([each for each in findings if each.error])
    return tuple(
        Problem(
            f"{item.full_name} was not verified: its code is not this snapshot",
            item.where,
            severity="warning",
            subject=item.full_name,
        )
        for item, pin in ours
        if pin is None
    )


def _refuse(broken: Sequence[Finding]) -> None:
    if not broken:
        return
    raise ManifestError(
        f"{len(broken)} deployment{'' if len(broken) == 1 else 's'} would not load; "
        "nothing was pinned",
        tuple(_problem(each) for each in broken),
        hint=next((each.error.hint for each in broken if each.error and each.error.hint), None),
    )


def _is(pin: Pin | None, code: Code) -> bool:
    return pin is not None and pin.commit == code.snapshot.commit


def _problem(finding: Finding) -> Problem:
    error = finding.error
    where = f"{error.where}: " if error and error.where else ""
    return Problem(f"{where}{finding.name}: {error.message if error else ''}")


def find_python(project: Project, named: str | None, environ: Mapping[str, str]) -> Python:
    """The Python that imports the flows, and what it finds in its environment."""
    path = named or buildsteps.find_python(environ)
    return Python(path, {**environ, **server.server_environment(project.settings)})


def _directories(pin: Pin) -> tuple[str, ...]:
    """What the pull step writes: a directory that is handed over is always among it."""
    if pin.directories and pin.directory:
        return (*pin.directories, pin.directory)
    return pin.directories


def _fetched(pin: Pin, top: Path, target: CodeStore) -> Path:
    """The checkout of ``pin``, from the first of its addresses that gives it out."""
    if not pin.addresses:
        raise CheckoutError("the pull step names no repository")
    signers.check(pin.signers, pin.signature, pin.commit)
    places = [
        checkout.Place(each, _auth(pin, each, target), _GIT_TIMEOUT) for each in pin.addresses
    ]
    return checkout.make(
        places, pin.commit, top, directories=_directories(pin), pauses=()
    ).directory


def _auth(pin: Pin, address: str, target: CodeStore) -> Auth | None:
    if not address.lower().startswith(("http://", "https://")):
        return None
    if found := credentials.resolve(pin.credentials, address):
        return found
    # A worker has its own git configuration; here the publisher's login stands in for it.
    return target.auth if split_userinfo(address)[0] == target.url else None


def look(
    pinned: Sequence[tuple[Deployment, Pin | None]], make: Make, python: Python
) -> tuple[Finding, ...]:
    """Load the flow of each deployment, in an empty temporary directory that is removed.

    One checkout for each snapshot, one process for each directory in it.
    """
    errors: dict[str, GitflowError] = {}
    groups: dict[str, list[tuple[Deployment, Pin]]] = {}
    for item, pin in pinned:
        if pin is not None:
            groups.setdefault(_checkout_of(pin), []).append((item, pin))
    with files.temporary("gitflow-verify-") as top:
        for number, group in enumerate(groups.values()):
            parent = top / str(number)
            parent.mkdir()
            errors |= _group(group, make, parent, python)
            files.remove(parent)
    return tuple(_finding(item, pin, errors.get(item.full_name)) for item, pin in pinned)


def _checkout_of(pin: Pin) -> str:
    """The same for pins that one checkout serves."""
    directories = sorted({*pin.directories, pin.directory}) if pin.directories else []
    asked = [pin.addresses, pin.commit, pin.credentials, pin.signature, pin.signers, directories]
    return json.dumps(asked, default=str)


def _finding(item: Deployment, pin: Pin | None, error: GitflowError | None) -> Finding:
    if pin is None:
        return Finding(item.full_name, "not pinned")
    status: Literal["ok", "broken"] = "ok" if error is None else "broken"
    return Finding(item.full_name, status, pin.commit, error, pin.others)


def _group(
    group: Sequence[tuple[Deployment, Pin]], make: Make, parent: Path, python: Python
) -> dict[str, GitflowError]:
    """Why deployments of one checkout do not load, by full name."""
    try:
        root = make(group[0][1], parent)
    except StoppedError:
        raise
    except GitflowError as error:
        return {item.full_name: error for item, _ in group}
    errors: dict[str, GitflowError] = {}
    directories: dict[str, list[Deployment]] = {}
    for item, pin in group:
        directories.setdefault(pin.directory.strip("/"), []).append(item)
    for directory, items in directories.items():
        errors |= _directory(root, directory, items, python)
    return errors


def _directory(
    root: Path, directory: str, items: Iterable[Deployment], python: Python
) -> dict[str, GitflowError]:
    errors: dict[str, GitflowError] = {}
    wanted: dict[str, list[str]] = {}
    for item in items:
        if item.entrypoint:
            wanted.setdefault(item.entrypoint, []).append(item.full_name)
        else:
            errors[item.full_name] = FlowError("the deployment has no entrypoint")
    place = root / directory
    if not place.is_dir() or not place.resolve().is_relative_to(root.resolve()):
        gone = CheckoutError(
            f"the pinned commit has no directory {directory!r}", hint="deploy again"
        )
        return errors | {name: gone for names in wanted.values() for name in names}
    for entrypoint, error in _loaded(place, list(wanted), python).items():
        if error is not None:
            errors |= dict.fromkeys(wanted[entrypoint], _placed(error, directory, entrypoint))
    return errors


def _loaded(place: Path, entrypoints: list[str], python: Python) -> dict[str, FlowError | None]:
    """Why entrypoints do not load; one that ends its process does not take the next ones with it."""
    results: dict[str, FlowError | None] = {}
    while left := [each for each in entrypoints if each not in results]:
        told = flows.load(
            python.path, place, left, environ=python.environ, timeout=_TIMEOUT, instead=_INSTEAD
        )
        for entrypoint, error in told.items():
            if isinstance(error, flows.NotReachedError):
                break
            results[entrypoint] = error
    return results


def _placed(error: FlowError, directory: str, entrypoint: str) -> FlowError:
    """The same error, with its file named from the root of the code."""
    where = error.where or entrypoint
    return FlowError(
        error.message,
        where=f"{directory}/{where}" if directory else where,
        hint=error.hint,
        retry=error.retry,
    )


def _filled(live: Server, pin: Pin, environ: Mapping[str, str]) -> Pin:
    """``pin`` with its placeholders filled in as far as can be known here."""
    inputs = [pin.credentials, pin.directory, list(pin.directories)]
    credentials, directory, directories = fill(inputs, _answers(live, inputs, environ))
    return replace(
        pin,
        credentials=credentials,
        directory=str(directory),
        directories=tuple(map(str, directories)),
    )


def _answers(
    live: Server, inputs: Json, environ: Mapping[str, str]
) -> Callable[[Placeholder], Json | Keep]:
    """What the server and the environment have for the placeholders in ``inputs``."""
    marks = placeholders(inputs)
    parts = {
        mark.name: block for mark in marks if mark.kind == "block" and (block := block_parts(mark))
    }
    blocks = prefect.blocks(live.client, {(slug, name) for slug, name, _ in parts.values()})
    variables = live.variables(variable_name(m) for m in marks if m.kind == "variable")

    def answer(mark: Placeholder) -> Json | Keep:
        value: Json = MISSING
        if mark.kind == "env":
            value = environ.get(mark.name, MISSING)
        elif mark.kind == "variable":
            value = variables.get(variable_name(mark), MISSING)
        elif mark.name in parts:
            slug, name, path = parts[mark.name]
            if f"{slug}/{name}" in blocks:
                value = block_value(blocks[f"{slug}/{name}"], path)
        return KEEP if value is MISSING else value

    return answer
