"""The whole command line: what is common to all commands, and where they come from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gitops_flow import __version__
from gitops_flow.cli import controller, deploy, plan, releases, setup, streams
from gitops_flow.cli.help import Commands, examples

app = typer.Typer(
    name="gitflow",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Deploy Prefect flows from git, uncommitted work included, pinned to one commit.",
)


def command() -> Any:
    """The whole command line as one click command (typer may bring its own click)."""
    whole: Any = typer.main.get_command(app)
    for name, each in whole.commands.items():
        each.epilog = examples(name)
    return whole


def _version(wanted: bool) -> None:
    if wanted:
        streams.out(f"gitflow {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    del version


for verb in (
    deploy.deploy,
    deploy.destroy,
    plan.plan,
    plan.diff,
    plan.verify,
    releases.history,
    releases.show,
    releases.checkout,
    releases.rollback,
    releases.hold,
    releases.unhold,
    releases.gc,
    controller.sync,
    controller.suspend,
    controller.resume,
    setup.demo,
    setup.trust,
):
    app.command()(verb)
app.add_typer(controller.app, name="controller")
# Its name until 0.1.
app.command("release-hold", hidden=True)(releases.unhold)
