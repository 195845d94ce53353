"""What ``gitflow --help`` says: every command in a group, every example one that works."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from typing import Any

import pytest

from gitops_flow.cli import help as texts
from gitops_flow.cli.app import command

COMMANDS: dict[str, Any] = {
    name: each for name, each in command().commands.items() if not each.hidden
}
EXAMPLES = [
    (name, line) for names in texts.GROUPS.values() for name in names for line, _ in names[name]
]


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def printed(*args: str) -> str:
    """What ``gitflow *args`` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit):
        command().main(list(args), prog_name="gitflow")
    return out.getvalue()


def test_every_command_is_listed_once_in_a_group() -> None:
    assert sorted(name for names in texts.GROUPS.values() for name in names) == sorted(COMMANDS)
    shown = re.findall(r"^  ([a-z]+)  +\S", printed("--help"), re.MULTILINE)
    assert shown == [name for names in texts.GROUPS.values() for name in names]


def test_the_list_of_commands_has_a_line_for_each_on_80_columns() -> None:
    lines = printed("--help").split("Deploy:\n")[1].splitlines()
    assert len([line for line in lines if line.startswith("  ")]) == len(COMMANDS)
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_an_example_is_taken_by_the_parser_of_its_command(name: str, line: str) -> None:
    program, verb, *args = shlex.split(line)
    assert (program, verb) == ("gitflow", name)
    context = COMMANDS[name].make_context(name, args)
    assert not context.args


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_help_of_a_command_ends_with_two_or_three_examples(name: str) -> None:
    text = printed(name, "--help")
    lines = text.split("  Examples:\n")[1].splitlines()
    assert 2 <= len(lines) <= 3
    assert all(line.startswith(f"    gitflow {name}") for line in lines)
    assert max(map(len, text.splitlines())) <= 80
