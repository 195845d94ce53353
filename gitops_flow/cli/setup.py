"""The commands that set a machine up: trust and demo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gitops_flow.cli import options, streams
from gitops_flow.errors import UsageError
from gitops_flow.report.words import shown

if TYPE_CHECKING:
    from gitops_flow.settings import Settings


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave server and worker running until Ctrl-C.")
    ] = False,
) -> int:
    """Show it all on this machine: server, worker, uncommitted code."""
    from gitops_flow.cli.demo import run

    return run(keep, sys.stdout)


def trust(
    address: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="The server; default: the one that is named."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list what is trusted.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Trust ADDRESS no more.")] = False,
    file: options.File = None,
    env: options.Env = None,
    profile: options.Profile = None,
) -> int:
    """Let this project's files send Prefect credentials to a server."""
    given = locals()
    from gitops_flow.settings import trust

    if list_ and (address or remove):
        raise UsageError("--list takes no address and no --remove")
    settings = options.settings(options.tree(given), given)
    project = settings.project
    if list_:
        lines = [
            f"{entry.project}: {_with_terms(entry.address, entry.terms)}"
            for entry in trust.listed(settings.data_dir)
        ]
        lines = lines or ["no server is trusted"]
    elif remove:
        if address is None:
            raise UsageError("trust --remove needs an address", hint="gitflow trust --list")
        was = trust.remove(project, address, settings.data_dir)
        lines = [f"{address} is {'no longer' if was else 'not'} trusted in {project}"]
    else:
        lines = [_add(settings, address)]
    streams.out("\n".join(map(shown, lines)) + "\n")
    return 0


def _add(settings: Settings, address: str | None) -> str:
    from gitops_flow.settings import trust

    asked = settings.asked_trust
    if asked is None and address is None:
        return "there is nothing to trust: the files of this project send no credentials anywhere"
    if asked is None or address is None:
        # Known beforehand, an address is trusted with nothing but itself.
        named = trust.shown_address(address or "")
        asked = asked or trust.Decision(settings.project, named, True, (), (), ())
    elif trust.shown_address(address) != asked.address:
        raise UsageError(
            f"this project's server is {asked.address}, not {address}",
            where=", ".join(asked.places),
        )
    trust.add(asked, settings.data_dir)
    return f"trusted in {asked.project}: {_with_terms(asked.address, asked.terms)}"


def _with_terms(address: str, terms: tuple[str, ...]) -> str:
    return " with ".join((address, *terms))
