"""Command lines as the commands get them."""

from __future__ import annotations

import typer

from gitops_flow.cli import options
from gitops_flow.cli.app import command


def again(verb: str, *words: str) -> options.Again:
    """What repeats ``gitflow VERB WORDS``, as that command makes it."""
    whole = command()
    root = typer.Context(whole, info_name="gitflow")
    return options.Again(whole.commands[verb].make_context(verb, list(words), parent=root))
