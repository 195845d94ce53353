"""``gitflow verify`` and ``deploy --verify``: find code that does not load before a run does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow import buildsteps, checkout, files
from gitops_flow.deploy import building, loading, pinfilling, rollback
from gitops_flow.deploy.loading import Finding, Python
from gitops_flow.deploy.session import opened
from gitops_flow.errors import CheckoutError, ManifestError
from gitops_flow.git import credentials
from gitops_flow.git.url import split_userinfo
from gitops_flow.model import Problem
from gitops_flow.pin import Pin
from gitops_flow.worker import signers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gitops_flow.codestore.address import CodeStore
    from gitops_flow.deploy.code import Code
    from gitops_flow.deploy.prepare import Prepared
    from gitops_flow.deploy.request import DeployRequest
    from gitops_flow.git.command import Auth
    from gitops_flow.model import Deployment, Source
    from gitops_flow.settings import Settings

_PACKAGE = "gitops_flow"
_TIMEOUT = 600.0  # seconds, for each talk with a git server


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
    request: DeployRequest,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    tell: Callable[[str], None] = lambda _: None,
) -> Verified:
    """Look at what is pinned on the server now; nothing is written.

    Args:
        request: where the manifest is, which says what the source is; its
            ``names`` choose among this source's deployments on the server.
        settings: where Prefect is.
        environ: for the flows that are imported.
        tell: is told what is being done.

    Raises:
        GitflowError: the manifest cannot be read, the server does not answer,
            or a name matches nothing.
    """
    whole = replace(request, everything=True, names=(), tags=())
    with opened(whole, settings, environ) as session:
        prepared, target = session.prepared, session.prepared.target
        chosen = rollback.choose(session.live(()), request)
        chosen.sort(key=lambda item: item.full_name)
        found = [(item, Pin.of(item.pull_steps)) for item in chosen]
        tell("asking for what is pinned")
        # Code from elsewhere is not run on this machine because somebody wrote so on the server.
        ours = [
            (item, pinfilling.filled(session, pin) if pin and _is_named(pin, target) else None)
            for item, pin in found
        ]
    tell("checking out and importing")
    python = _python(prepared, environ)
    findings = loading.look(ours, lambda pin, top: _fetched(pin, top, target), python)
    told = [_or_elsewhere(each, pin) for each, (_, pin) in zip(findings, found, strict=True)]
    if not buildsteps.has_package(python.path, _PACKAGE, python.environ):
        told = [without_package(each, item, python) for each, item in zip(told, found, strict=True)]
    return Verified(prepared.source, python.path, tuple(told))


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
        "with --python, or deploy with gitflow: {checkout: stock}",
    )
    return replace(finding, status="broken", error=error)


def _is_named(pin: Pin, target: CodeStore) -> bool:
    return set(pin.addresses) <= {target.url, target.pull_url, *target.mirrors}


def _or_elsewhere(finding: Finding, pin: Pin | None) -> Finding:
    """``finding``, with the reason where there is a pin that was left alone."""
    if pin is None or finding.status != "not pinned":
        return finding
    error = CheckoutError(
        f"its code comes from {', '.join(pin.addresses)}, which is not this source's code store",
        hint="deploy again, or name what it was deployed with (--remote, --pull-url)",
    )
    return replace(finding, commit=pin.commit, error=error)


def before_publishing(
    prepared: Prepared,
    code: Code,
    desired: Sequence[Deployment],
    environ: Mapping[str, str],
) -> tuple[Problem, ...]:
    """Look at a snapshot that no server has yet.

    Returns:
        a warning for each deployment whose code is not this snapshot.

    Raises:
        ManifestError: flows that do not load, all at once.
    """
    found = [(item, Pin.of(item.pull_steps)) for item in desired]
    with files.temporary("gitflow-objects-") as place:
        lender = str(code.store.lend(place / "snapshot.git"))

        def make(pin: Pin, top: Path) -> Path:
            return checkout.make(lender, pin.commit, top, directories=_directories(pin)).directory

        ours = [(item, pin if _is(pin, code) else None) for item, pin in found]
        findings = loading.look(ours, make, _python(prepared, environ))
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


def _problem(finding: Finding) -> str:
    error = finding.error
    where = f"{error.where}: " if error and error.where else ""
    return f"{where}{finding.name}: {error.message if error else ''}"


def _python(prepared: Prepared, environ: Mapping[str, str]) -> Python:
    path = prepared.request.python or buildsteps.find_python(environ)
    return Python(path, {**environ, **building.server_environment(prepared)})


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
    places = [checkout.Place(each, _auth(pin, each, target), _TIMEOUT) for each in pin.addresses]
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
