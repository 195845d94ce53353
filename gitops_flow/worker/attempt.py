"""Which commit an attempt of a flow run gets, and the labels that tell of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gitops_flow.errors import CheckoutError
from gitops_flow.git.url import split_userinfo
from gitops_flow.redact import redact

if TYPE_CHECKING:
    from gitops_flow.checkout import Place
    from gitops_flow.model import Json
    from gitops_flow.worker.labels import Run

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Request:
    """The step's inputs, checked.

    ``moves``: the commit is from a release pointer, so that another attempt may be
    given another one, and only the run's labels tell which it had.
    """

    places: tuple[Place, ...]
    commit: str
    directories: tuple[str, ...]
    shared: bool
    release: str | None
    signers: tuple[str, ...]
    moves: bool = False

    @property
    def address(self) -> str:
        """The first address, without credentials."""
        return split_userinfo(self.places[0].address)[0]


def resolve(
    logger: Logger, request: Request, source: Json, environ: Mapping[str, str]
) -> tuple[Request, Callable[[], None]]:
    """What to pull in this attempt of the run, and what to do after it was pulled.

    The first attempt's commit is a label of the run. A server that cannot be
    asked is no reason not to run, unless the commit is from a release pointer.

    Raises:
        CheckoutError: it is, and the labels can be neither read nor written.
    """
    if "PREFECT__FLOW_RUN_ID" not in environ:
        return request, lambda: None
    from gitops_flow.worker import labels

    run = labels.current(environ)
    if run is None:
        return request, lambda: None
    try:
        first = labels.read(run)
    except labels.LabelError as error:
        _without_labels(logger, request, f"cannot see whether this run was tried before: {error}")
        first = {}
    known = {split_userinfo(place.address)[0] for place in request.places}
    commit, release = first.get("commit", ""), first.get("release")
    if first.get("repository") in known and _COMMIT.fullmatch(commit):
        if commit == request.commit:
            return request, lambda: None
        logger.info(
            "this run was tried before: it keeps the commit of its first attempt, %s; "
            "the deployment is at %s by now",
            commit[:12],
            request.commit[:12],
        )
        return replace(request, commit=commit, release=release), lambda: None
    return request, lambda: _label(logger, run, request, source)


def _label(logger: Logger, run: Run, request: Request, source: Json) -> None:
    from gitops_flow.worker import labels

    origin = source if isinstance(source, Mapping) else {}
    dirty = origin.get("dirty")
    told = {
        "repository": request.address,
        "commit": request.commit,
        "source": origin.get("name"),
        "source-commit": origin.get("commit"),
        "author": origin.get("author"),
        "state": ("dirty" if dirty else "clean") if isinstance(dirty, bool) else None,
    }
    try:
        texts = {key: redact(str(value)) for key, value in told.items() if value}
        # Byte for byte: it is checked again when the run is tried again.
        signed = {"release": request.release} if request.signers and request.release else {}
        labels.write(run, texts | signed)
    except labels.LabelError as error:
        _without_labels(logger, request, f"the run gets no labels that tell its code: {error}")


def _without_labels(logger: Logger, request: Request, why: str) -> None:
    """Go on with a warning, or not at all where a retry would get other code unnoticed."""
    if request.moves:
        raise CheckoutError(
            why,
            hint="a deployment with a release pointer needs them, so that a retry gets the same "
            "code: look why the worker cannot reach the Prefect server",
            retry=True,
        )
    logger.warning("%s", why)
