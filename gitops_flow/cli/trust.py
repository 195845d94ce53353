"""``gitflow trust``: servers to which the files of this project may send credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gitops_flow.cli import options, streams
from gitops_flow.cli.streams import printable
from gitops_flow.errors import UsageError
from gitops_flow.redact import redact
from gitops_flow.settings import trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops_flow.deploy.source import AnySource
    from gitops_flow.settings import Settings


def run(
    origin: AnySource,
    environ: Mapping[str, str],
    *,
    address: str | None,
    profile: str | None,
    how: Literal["add", "list", "remove"],
) -> int:
    """Trust the server that the project's files name, list what is trusted, or trust no more.

    Raises:
        UsageError: the files name another server than ``address``, or the list cannot be written.
    """
    found = options.settings(origin, environ, profile=profile)
    project = found.project
    if how == "list":
        lines = [
            f"{entry.project}: {_told(entry.address, entry.terms)}"
            for entry in trust.listed(found.data_dir)
        ]
        lines = lines or ["no server is trusted"]
    elif how == "remove":
        if address is None:
            raise UsageError("trust --remove needs an address", hint="gitflow trust --list")
        was = trust.remove(project, address, found.data_dir)
        lines = [f"{address} is {'no longer' if was else 'not'} trusted in {project}"]
    else:
        lines = [_added(found, address)]
    streams.out("\n".join(printable(redact(line)) for line in lines) + "\n")
    return 0


def _added(found: Settings, address: str | None) -> str:
    asked = found.asked_trust
    if asked is None and address is None:
        return "there is nothing to trust: the files of this project send no credentials anywhere"
    if asked is None or address is None:
        # Known beforehand, an address is trusted with nothing but itself.
        named = trust.shown_address(address or "")
        asked = asked or trust.Decision(found.project, named, True, (), (), ())
    elif trust.shown_address(address) != asked.address:
        raise UsageError(
            f"this project's server is {asked.address}, not {address}",
            where=", ".join(asked.places),
        )
    trust.add(asked, found.data_dir)
    return f"trusted in {asked.project}: {_told(asked.address, asked.terms)}"


def _told(address: str, terms: tuple[str, ...]) -> str:
    return " with ".join((address, *terms))
