"""The commands and their options; each module of this package does the work of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from gitops_flow import __version__
from gitops_flow.cli import streams
from gitops_flow.errors import UsageError

app = typer.Typer(
    name="gitflow",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Deploy Prefect flows from git, uncommitted work included, pinned to one commit.",
)


def command() -> Any:
    """The whole command line as one click command (typer may bring its own click)."""
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        streams.out(f"gitflow {__version__}\n")
        raise typer.Exit


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the current directory cannot be used: {error.strerror}",
            hint="change to one that exists",
        ) from None


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    del version


@app.command()
def deploy(
    names: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time
        typer.Argument(
            metavar="[NAME]...", help="Deployments: a name, flow/name, or a glob of either."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Deploy all deployments of the manifest.")
    ] = False,
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--file", "-f", metavar="PATH", help="The manifest (default: prefect.yaml)."),
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Deploy HEAD and leave uncommitted work out.")
    ] = False,
    create_pools: Annotated[
        bool, typer.Option("--create-pools", help="Make missing work pools (type process).")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over deployments that another source owns.")
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first deployment that fails.")
    ] = False,
    submodules: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--submodules/--no-submodules", help="Include the files of submodules."),
    ] = None,
    allow_secret: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="GLOB", help="Let a file through that looks like a secret."),
    ] = None,
    max_file_size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="SIZE", help="Limit for one uncommitted file (default: 50MB)."),
    ] = None,
    max_total_size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="SIZE", help="Limit for all uncommitted files (default: 500MB)."),
    ] = None,
    remote: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REMOTE", help="The code store: a remote's name, a URL or a path."),
    ] = None,
    branch: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="The code store's branch (default: code-store)."),
    ] = None,
    pull_url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="URL", help="The code store's address as workers see it."),
    ] = None,
    profile: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="The Prefect profile to use."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output.")
    ] = False,
) -> int:
    """Ship the code on disk and make the server's deployments equal to the manifest."""
    from gitops_flow.cli import deploy as verb
    from gitops_flow.deploy import DeployRequest
    from gitops_flow.model import CodeStoreSettings

    request = DeployRequest(
        directory=_here(),
        manifest=file,
        names=tuple(names or ()),
        everything=everything,
        clean=clean,
        submodules=submodules,
        adopt=adopt,
        create_pools=create_pools,
        fail_fast=fail_fast,
        allow_secrets=tuple(allow_secret or ()),
        max_file_size=verb.size("--max-file-size", max_file_size),
        max_total_size=verb.size("--max-total-size", max_total_size),
    )
    store = CodeStoreSettings(remote=remote, branch=branch, pull_url=pull_url)
    return verb.run(request, os.environ, profile=profile, code_store=store, as_json=as_json)


@app.command()
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave server and worker running until Ctrl-C.")
    ] = False,
) -> int:
    """Show the main job on this machine: a server, a worker, and uncommitted code that runs."""
    from gitops_flow.cli.demo import run

    return run(keep, sys.stdout)
