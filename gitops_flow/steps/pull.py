"""The pull step: the directory in which a worker runs exactly the pinned code."""

from __future__ import annotations

import logging
import os
import posixpath
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gitops_flow import checkout, log
from gitops_flow.errors import CheckoutError, GitflowError
from gitops_flow.git import credentials as given
from gitops_flow.git.url import check_address, name_of, split_userinfo

if TYPE_CHECKING:
    from gitops_flow.git.command import Auth
    from gitops_flow.model import Json

TIMEOUT_VARIABLE = "GITFLOW_GIT_TIMEOUT"
_DEFAULT_TIMEOUT = 600.0


def pull_code(
    repository: str,
    commit: str,
    credentials: Json = None,
    source: Json = None,
    directory: str | None = None,
    directories: Json = None,
    **unknown: Json,
) -> dict[str, str]:
    """Make a new directory below the current one that holds exactly the files of ``commit``.

    Args:
        repository: the code store's address.
        commit: 40 hex digits.
        credentials: a token, ``user:token``, or a mapping or Prefect block with
            one. Without it, the worker's own git and ssh configuration is used.
        source: where the snapshot came from; only shown.
        directory: the subdirectory to hand over; everything is there all the same.
        directories: write only what is below these (and ``directory``), and the
            files at the root and beside them.
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
        _check_text(repository=repository, commit=commit, directory=directory or "")
        auth = _auth(logger, credentials, repository)
        made = checkout.make(
            repository,
            commit,
            _here(),
            directories=_chosen(directories, directory),
            auth=auth,
            timeout=_timeout(),
        )
        for warning in made.warnings:
            logger.warning("%s", warning)
        logger.info("%s", _report(repository, commit, source, made))
        return {"directory": str(_below(made.directory, directory or ""))}
    except GitflowError as error:
        # Where in our code it was noticed is no help to the reader of a run's log.
        raise error.with_traceback(None) from None


def _check_text(**inputs: str) -> None:
    for name, value in inputs.items():
        if not isinstance(value, str):
            raise CheckoutError(f"pull_code: {name} is {type(value).__name__}, not text")
        if "{{" in value:
            raise CheckoutError(
                f"pull_code: {name} still holds a placeholder that Prefect did not fill in",
                hint="check that the block, variable or environment variable it names exists",
            )


def _chosen(directories: Json, handed_over: str | None) -> list[str]:
    """What to write, empty for everything."""
    names = [directories] if isinstance(directories, str) else directories or []
    if not isinstance(names, list | tuple):
        raise CheckoutError("pull_code: directories is not a list of directories")
    for name in names:
        _check_text(directories=name)
    return [*names, handed_over] if names and handed_over else list(names)


def _auth(
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
    credentials: Json,
    repository: str,
) -> Auth | None:
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


def _timeout() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(text) if text else _DEFAULT_TIMEOUT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 10_000_000:
        raise CheckoutError(
            f"{TIMEOUT_VARIABLE}={text!r} is not a number of seconds", hint="for example 120"
        )
    return seconds


def _below(made: Path, directory: str) -> Path:
    """The subdirectory ``directory`` of the checkout."""
    found = made / posixpath.normpath(directory or ".")
    if not found.is_dir() or not found.resolve().is_relative_to(made.resolve()):
        shutil.rmtree(made, ignore_errors=True)
        raise CheckoutError(
            f"the pinned commit has no directory {directory!r}",
            hint="deploy again; the manifest's directory may have been moved",
        )
    return found


def _report(repository: str, commit: str, source: Json, made: checkout.Checkout) -> str:
    origin = source if isinstance(source, Mapping) else {}
    told = [f"source commit {str(origin['commit'])[:12]}"] if origin.get("commit") else []
    told += ["with uncommitted changes"] if origin.get("dirty") else []
    whence = f" ({', '.join(told)})" if told else ""
    total = sum(seconds for _, seconds in made.seconds)
    phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in made.seconds)
    return (
        f"pulled {name_of(split_userinfo(repository)[0])} at {commit[:12]}{whence}, "
        f"{made.files} files in {total:.2f} s: {phases}"
    )


def _logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The log of the flow run if there is one, without importing Prefect for it.

    Prefect sends records below this name to its server when they carry a run's id.
    """
    run = os.environ.get("PREFECT__FLOW_RUN_ID")
    if run is None or "prefect" not in sys.modules:
        return log.get("steps.pull")
    logger = logging.getLogger("prefect.flow_runs.gitops_flow")
    if not logger.filters:
        logger.addFilter(log.RedactingFilter())
    return logging.LoggerAdapter(logger, {"flow_run_id": run})
