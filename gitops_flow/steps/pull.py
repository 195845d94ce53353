"""The pull step: the directory in which a worker runs exactly the pinned code."""

from __future__ import annotations

import contextlib
import logging
import os
import posixpath
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import checkout, files, worker
from gitops_flow import pin as pins
from gitops_flow.checkout import cache, sweep
from gitops_flow.checkout.tree import shown
from gitops_flow.errors import CheckoutError, GitflowError
from gitops_flow.git import credentials as given
from gitops_flow.git import environment
from gitops_flow.git.url import check_address, name_of
from gitops_flow.redact import RedactingFilter, get_logger
from gitops_flow.worker import attempt, signers
from gitops_flow.worker.attempt import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitops_flow.git.command import Auth
    from gitops_flow.model import Json
    from gitops_flow.worker.attempt import Logger

TIMEOUT_VARIABLE = "GITFLOW_GIT_TIMEOUT"
_DEFAULT_TIMEOUT = 600.0
# Of several addresses, all but the last have this long.
_MIRROR_TIMEOUT = 60.0
_POINTER_HINT = "it is a Prefect variable that gitflow deploy --all writes; deploy again"
_ISOLATIONS = ("copy", "shared")


@environment.using(environment.GitEnvironment(os.environ))
def pull_code(
    repository: str | Sequence[str],
    commit: str | None = None,
    credentials: Json = None,
    source: Json = None,
    directory: str | None = None,
    directories: Json = None,
    isolation: str = "copy",
    release: str | None = None,
    verify_signers: Json = None,
    pin: Json = None,
    **unknown: Json,
) -> dict[str, str]:
    """Make a new directory below the current one that holds exactly the files of ``commit``.

    In a flow run that was tried before, it is the commit of the first attempt.

    Args:
        repository: the code store's address, or several, tried in order.
        commit: 40 hex digits; may be left out where ``pin`` says it.
        credentials: a token, ``user:token``, or a mapping or Prefect block with
            one. Without it, the worker's own git and ssh configuration is used.
        source: where the snapshot came from; only shown.
        directory: the subdirectory to hand over; everything is there all the same.
        directories: fetch and write only what is below these (and ``directory``),
            and the files at the root and beside them.
        isolation: ``copy``, or ``shared`` for one read-only directory for all runs.
        release: the text of a signed tag of ``commit``.
        verify_signers: ssh public keys or gpg fingerprints, one of which must be
            the signer's.
        pin: the value of the source's release pointer, ``{commit, source, release}``,
            which takes the place of these inputs.
        unknown: what a newer publisher adds; ignored with a warning.

    Returns:
        ``{"directory": <absolute path>}``.

    Raises:
        GitflowError: with what is wrong, what to do, and whether trying again
            may help. Nothing is left behind. Each talk with the server ends
            after ``GITFLOW_GIT_TIMEOUT`` seconds (default 600).
    """
    logger = _logger()
    try:
        for name in sorted(unknown):
            logger.warning(
                "pull_code does not know the input %r and ignores it; "
                "this worker's gitops-flow is older than the one that published",
                name,
            )
        if pin is not None:
            commit, source, release = _pointed(pin)
        if commit is None:
            raise CheckoutError(
                "no commit is known for this run: the pull step has none, or names a release "
                "pointer that is empty",
                hint=_POINTER_HINT,
            )
        _check_text(commit=commit, directory=directory or "", release=release or "")
        asked = Request(
            _places(logger, credentials, _addresses(repository)),
            commit,
            tuple(_chosen(directories, directory)),
            _is_shared(isolation),
            release,
            tuple(_texts("verify_signers", verify_signers)),
            moves=pin is not None,
        )
        request, finish = attempt.resolve(logger, asked, source, os.environ)
        signers.check(request.signers, request.release, request.commit)
        made = _made(logger, request)
        try:
            for warning in made.warnings:
                logger.warning("%s", warning)
            found = _below(made.directory, directory or "")
            logger.info("%s", _report(request, source, made))
            finish()
        except BaseException:
            _discard(made.directory)
            raise
        return {"directory": str(found)}
    except GitflowError as error:
        if isinstance(logger, logging.LoggerAdapter):
            # Prefect ends the run without telling it why.
            logger.error("%s", error)  # noqa: TRY400 - the same
        # Where in our code it was noticed is no help to the reader of a run's log.
        raise error.with_traceback(None) from None


def _pointed(value: Json) -> tuple[str, Json, str | None]:
    """Commit, source and release from the value of a release pointer."""
    if isinstance(value, str):
        _check_text(pin=value)
    try:
        told = pins.read_value(value)
    except ValueError as error:
        raise CheckoutError(
            f"no commit is known for this run: the release pointer {error}",
            hint=_POINTER_HINT,
        ) from None
    return told["commit"], told.get("source"), told.get("release")


def _made(logger: Logger, request: Request) -> checkout.Checkout:
    """Make the directory, or find the shared one, and clear away what nobody needs."""
    here = _here()
    bounds = worker.limits(os.environ)
    place = files.own_directory(os.environ, "cache", here) if worker.cached(os.environ) else None
    root = place and place / "checkout"
    made = None
    if request.shared and root is None:
        logger.warning("isolation: shared needs the cache, which is switched off or has no place")
    elif request.shared and root is not None:
        try:
            made = checkout.make_shared(
                request.places,
                request.commit,
                root,
                directories=request.directories,
            )
        except cache.UnusableError as error:
            logger.warning("this run gets a directory of its own: %s", error)
        else:
            # Root may write into read-only directories, and Python would.
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if made is None:
        made = checkout.make(
            request.places,
            request.commit,
            here,
            directories=request.directories,
            cache=root,
        )
        if "PREFECT__FLOW_RUN_ID" in os.environ:
            sweep.register(made.directory)
    sweep.finished_runs(here, bounds.runs)
    if root is not None:
        sweep.cache(root, bounds)
    return made


def _check_text(**inputs: str) -> None:
    for name, value in inputs.items():
        if not isinstance(value, str):
            raise CheckoutError(f"pull_code: {name} is {type(value).__name__}, not text")
        if "{{" in value:
            raise CheckoutError(
                f"pull_code: {name} still holds a placeholder that Prefect did not fill in",
                hint="check that the block, variable or environment variable it names exists",
            )


def _addresses(repository: Json) -> list[str]:
    if not repository and not isinstance(repository, str):
        raise CheckoutError(f"pull_code: repository is {type(repository).__name__}, not text")
    return _texts("repository", repository)


def _is_shared(isolation: str) -> bool:
    if isolation not in _ISOLATIONS:
        raise CheckoutError(
            f"pull_code: isolation {isolation!r} is none of {', '.join(_ISOLATIONS)}"
        )
    return isolation == "shared"


def _texts(name: str, given: Json) -> list[str]:
    """One text or a list of them."""
    texts = [given] if isinstance(given, str) else given or []
    if not isinstance(texts, list | tuple):
        raise CheckoutError(f"pull_code: {name} is {type(given).__name__}, not text or a list")
    for text in texts:
        _check_text(**{name: text})
    return list(texts)


def _chosen(directories: Json, handed_over: str | None) -> list[str]:
    """What to write, empty for everything."""
    names = [directories] if isinstance(directories, str) else directories or []
    if not isinstance(names, list | tuple):
        raise CheckoutError("pull_code: directories is not a list of directories")
    for name in names:
        _check_text(directories=name)
    return [*names, handed_over] if names and handed_over else list(names)


def _places(logger: Logger, credentials: Json, addresses: list[str]) -> tuple[checkout.Place, ...]:
    """Each address with the credentials and the time that it gets."""
    last = worker.seconds(os.environ, TIMEOUT_VARIABLE, _DEFAULT_TIMEOUT)
    others = min(worker.seconds(os.environ, "GITFLOW_MIRROR_TIMEOUT", _MIRROR_TIMEOUT), last)
    places = [
        checkout.Place(address, _auth(logger, credentials, address), others)
        for address in addresses
    ]
    return (*places[:-1], replace(places[-1], timeout=last))


def _auth(logger: Logger, credentials: Json, repository: str) -> Auth | None:
    check_address(repository)
    if credentials is not None and not repository.lower().startswith(("http://", "https://")):
        logger.warning(
            "the credentials are not used: only http and https addresses take them, "
            "ssh has its keys and a path needs none"
        )
        return None
    return given.resolve(credentials, repository)


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise CheckoutError("the current directory has been removed") from error


def _below(root: Path, directory: str) -> Path:
    """The subdirectory ``directory`` of the checkout at ``root``."""
    found = root / posixpath.normpath(directory or ".")
    # No name that is too long or leads in a circle is one.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        if found.is_dir() and found.resolve().is_relative_to(root.resolve()):
            return found
    raise CheckoutError(
        f"the pinned commit has no directory {shown(directory)}",
        hint="deploy again; the manifest's directory may have been moved",
    )


def _discard(directory: Path) -> None:
    """Delete a checkout of this run's own; one that is shared stays for the others."""
    if directory.parent == _here():
        directory.with_name(f".{directory.name}.run").unlink(missing_ok=True)
        files.remove(directory)


def _line(value: Json) -> str:
    """``value`` as a part of one line: it may come from a variable that anybody can edit."""
    return "".join(filter(str.isprintable, str(value)))[:200]


def _report(request: Request, source: Json, made: checkout.Checkout) -> str:
    origin = source if isinstance(source, Mapping) else {}
    told = [_line(origin["name"])] if origin.get("name") else []
    told += [f"source commit {_line(origin['commit'])[:12]}"] if origin.get("commit") else []
    told += ["with uncommitted changes"] if origin.get("dirty") else []
    told += ["clean"] if origin.get("dirty") is False else []
    told += [f"by {_line(origin['author'])}"] if origin.get("author") else []
    whence = f" ({', '.join(told)})" if told else ""
    came = f", {made.received / 1000:,.0f} kB" if made.received else ""
    total = sum(seconds for _, seconds in made.seconds)
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in made.seconds)
    return (
        f"pulled {name_of(request.address)} at {request.commit[:12]}{whence}, "
        f"{made.files} files {made.origin}{came} in {total:.2f} s: {phases}"
    )


def _logger() -> Logger:
    """The log of the flow run if there is one, without importing Prefect for it.

    Prefect sends records below this name to its server when they carry a run's id.
    """
    run = os.environ.get("PREFECT__FLOW_RUN_ID")
    if run is None or "prefect" not in sys.modules:
        return get_logger("steps.pull")
    logger = logging.getLogger("prefect.flow_runs.gitops_flow")
    if not logger.filters:
        logger.addFilter(RedactingFilter())
    return logging.LoggerAdapter(logger, {"flow_run_id": run})
