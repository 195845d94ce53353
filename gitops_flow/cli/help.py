"""What ``--help`` shows beside the options: the commands by what one does, and examples of each."""

from __future__ import annotations

from typing import Any

import typer.core

# Per group, in the order of the list: each command, and its examples with what they do.
GROUPS: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "Deploy": {
        "deploy": (
            ("gitflow deploy nightly", "one deployment, with the code on disk"),
            ("gitflow deploy --all --clean", "all of them, with the last commit's code"),
            ("gitflow deploy --changed --prune", "what differs; delete what is gone"),
        ),
        "plan": (
            ("gitflow plan", "what a deploy of everything would do"),
            ("gitflow plan --env prod --against test", "how two environments differ"),
            ("gitflow plan --markdown --exit-code", "in CI, for a pull request"),
        ),
        "destroy": (
            ("gitflow destroy", "show what would be deleted, and ask"),
            ("gitflow destroy --yes", "delete it without a question"),
            ("gitflow destroy --suffix kim", "a copy, also without its manifest"),
        ),
    },
    "Look": {
        "diff": (
            ("gitflow diff", "what was changed on the server by others"),
            ("gitflow diff @2 @1", "the files that differ between two releases"),
            ("gitflow diff @2 @1 --patch", "their lines"),
        ),
        "verify": (
            ("gitflow verify", "everything that this source has pinned"),
            ("gitflow verify nightly --json", "one deployment, for a script"),
        ),
        "history": (
            ("gitflow history", "the newest releases of this source"),
            ("gitflow history nightly --limit 5", "those of one deployment"),
            ("gitflow history --all --json", "of all sources, for a script"),
        ),
        "show": (
            ("gitflow show @1", "the newest release"),
            ("gitflow show 3f2a9c1 --json", "one by its id, for a script"),
        ),
    },
    "Go back": {
        "rollback": (
            ("gitflow rollback --all --dry-run", "what going back would do"),
            ("gitflow rollback nightly --to @3", "one deployment, to that release"),
            ("gitflow rollback --all --code-only", "the code; the configuration stays"),
        ),
        "checkout": (
            ("gitflow checkout @2 ../before", "the release before the newest"),
            ("gitflow checkout 3f2a9c1 ../there", "one by its id"),
        ),
        "hold": (
            ("gitflow hold nightly", "deploys pass this one by"),
            ("gitflow hold --all", "and now all of this source"),
        ),
        "unhold": (
            ("gitflow unhold nightly", "deploys change this one again"),
            ("gitflow unhold --all", "and all others"),
        ),
    },
    "Run": {
        "controller": (
            ("gitflow controller run", "keep every source of gitflow.yaml equal to git"),
            ("gitflow controller check", "whether all that it names answers"),
            ("gitflow controller status", "how each source is"),
        ),
        "sync": (
            ("gitflow sync shop", "look at this source now, and deploy it"),
            ("gitflow sync shop --config ops.yaml", "of a controller with that file"),
        ),
        "suspend": (
            ("gitflow suspend shop --until 2h", "leave it alone for two hours"),
            ("gitflow suspend shop --reason 'moving'", "until it is resumed"),
        ),
        "resume": (
            ("gitflow resume shop", "look after it again"),
            ("gitflow resume shop --config ops.yaml", "of a controller with that file"),
        ),
    },
    "Set up and tidy up": {
        "demo": (
            ("gitflow demo", "a minute, and nothing of it stays"),
            ("gitflow demo --keep", "leave the server running, to look around"),
        ),
        "trust": (
            ("gitflow trust", "the server that the files name"),
            ("gitflow trust --list", "the servers that are trusted"),
            ("gitflow trust --remove http://host/api", "trust it no more"),
        ),
        "gc": (
            ("gitflow gc", "which releases would be dropped"),
            ("gitflow gc --keep 10 --older-than 90d", "the same with other limits"),
            ("gitflow gc --yes", "drop them"),
        ),
    },
}


class Commands(typer.core.TyperGroup):
    """The commands of ``gitflow``, listed by :data:`GROUPS`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, each with the whole of its description."""
        del ctx
        width = max(len(name) for names in GROUPS.values() for name in names)
        for title, names in GROUPS.items():
            rows = [
                (f"{name:<{width}}", self.commands[name].get_short_help_str(formatter.width * 2))
                for name in names
            ]
            with formatter.section(title):
                formatter.write_dl(rows)


def examples(name: str) -> str | None:
    """The end of a command's help, as typer takes it; None where no group lists the command."""
    lines = next((names[name] for names in GROUPS.values() if name in names), None)
    if lines is None:
        return None
    width = max(len(line) for line, _ in lines)
    # \b: the lines are not to be joined.
    return "\n".join(("\b", "Examples:", *(f"  {line:<{width}}  {what}" for line, what in lines)))
