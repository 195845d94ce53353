"""What a person reads at the end of a command; no server."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

import gitops_flow
from gitops_flow import manifest
from gitops_flow.apply import Result
from gitops_flow.cli import errors
from gitops_flow.cli.app import command
from gitops_flow.deploy import Report
from gitops_flow.deploy.request import Published
from gitops_flow.errors import GitflowError, StoppedError
from gitops_flow.model import Deployment, Position, Problem, Provenance, Snapshot, Source
from gitops_flow.plan import Create, Plan
from gitops_flow.report import deploy, facts, words
from tests.support.commands import again
from tests.support.manifests import FLOW, MARK, OURS

SNAPSHOT = Snapshot("1" * 40, "2" * 40, Provenance("shop", None, False, "Ann <ann@x>"))


AGAIN = again("deploy", "--all", "--file", "a b.yaml", "--fail-fast")


def _report(*results: Result, orphans: tuple[Deployment, ...] = (), **desired: Any) -> Report:
    source = Source("shop", "host/shop", "prefect.yaml")
    actions = [
        Create(Deployment(*result.full_name.split("/"), "f.py:g", **desired)) for result in results
    ]
    published = Published("/store", "code-store", "3" * 40, True, False)
    return Report(source, SNAPSHOT, published, Plan(tuple(actions), orphans), results)


def _next(report: Report, profile: str | None = None) -> list[str]:
    lines = deploy.text(report, 1.0, again=AGAIN, profile=profile)
    return [line.removeprefix("next: ") for line in lines if line.startswith("next:")]


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([Result("held", "f/a"), Result("deleted", "f/b")], []),
        ([Result("held", "f/a"), Result("updated", "f/b")], ["prefect deployment run f/b"]),
    ],
)
def test_what_was_not_deployed_is_no_next_step(results: list[Result], told: list[str]) -> None:
    assert _next(_report(*results)) == told


def test_a_run_that_needs_a_value_is_no_next_step() -> None:
    schema = {"properties": {"day": {}}, "required": ["day"]}
    result = Result("created", "f/a")
    assert _next(_report(result, parameter_schema=schema)) == []
    assert _next(_report(result, parameter_schema=schema, parameters={"day": 1})) != []


def test_the_next_step_talks_to_the_server_that_was_deployed_to() -> None:
    report = _report(Result("created", "my flow/a"))
    assert _next(report, "at work") == ["prefect --profile 'at work' deployment run 'my flow/a'"]


def test_what_cannot_be_printed_as_it_is_typed_is_no_next_step() -> None:
    assert _next(_report(Result("created", "f/a\x1b[1m"))) == []


def test_a_deploy_tells_of_what_it_left_alone_and_how_to_look_at_it() -> None:
    report = _report(Result("created", "f/a"), orphans=(Deployment("f", "old", None),))
    assert deploy.document(report, 1.0)["orphans"] == ["f/old"]
    lines = deploy.text(report, 1.0, again=AGAIN)
    at = lines.index("not in the manifest any more: f/old")
    assert lines[at + 1].rpartition(": ")[2] == "gitflow plan --all --prune --file 'a b.yaml'"


def test_next_steps_are_made_in_one_place() -> None:
    root = Path(gitops_flow.__file__).parent
    modules = (*root.glob("cli/*.py"), *root.glob("report/*.py"))
    assert [each.name for each in modules if "next: " in each.read_text()] == ["words.py"]


def test_a_command_is_repeated_with_the_options_that_it_had() -> None:
    line = "--submodules --prune --adopt --no-lfs --tag x --tag y -f p.yaml --verbose -- 'a b' -c"
    asked = again("plan", *shlex.split(line))
    assert asked("deploy", prune=False) == (
        "gitflow deploy --tag x --tag y --adopt --file p.yaml --submodules --no-lfs -- 'a b' -c"
    )


def test_what_is_said_of_many_places_is_printed_once_with_the_first() -> None:
    def unset(line: int, name: str = "REGION") -> Problem:
        where, label = Position("prefect.yaml", line, 5), f"deployments[{line}]"
        message = f"{label}: ${name} is not set"
        return Problem(message, where, "set it", severity="warning", subject=label)

    note = Problem("no pull steps", severity="note")
    problems = (unset(3), note, unset(9), unset(12, "ZONE"), note, unset(15))
    assert facts.problem_lines(problems) == [
        "warning: prefect.yaml:3:5: deployments[3]: $REGION is not set (set it) (the first of 3 places)",
        "note: no pull steps (the first of 2 places)",
        "warning: prefect.yaml:12:5: deployments[12]: $ZONE is not set (set it)",
    ]
    report = replace(_report(), warnings=(unset(3), unset(9)))
    assert deploy.text(report, 1.0, again=AGAIN)[0].endswith("(set it) (the first of 2 places)")
    assert len(deploy.document(report, 1.0)["warnings"]) == 2


def test_deployments_of_which_the_same_is_said_are_not_each_listed() -> None:
    one = "- {name: %s, entrypoint: 'f.py:g', token: x, work_pool: {name: p}}\n"
    read = manifest.parse(("deployments:\n" + one % "a" + one % "b").encode(), "p.yaml")
    _, problems = manifest.resolve(
        read,
        mark=MARK,
        pull_step=OURS,
        default_version=None,
        flows={"f.py:g": FLOW},
        answers=manifest.Answers({}, {}, {}),
        default_work_pool=None,
        is_own_repository=lambda _: False,
        notes=True,
    )
    ignored = "deployments[0] 'a': Prefect ignores this key: 'token'"
    pulled = "deployments[0] 'a': no pull steps: the pinned code is pulled"
    assert facts.problem_lines([*read.problems, *problems]) == [
        f"warning: p.yaml:2:35: {ignored} (the first of 2 places)",
        f"note: p.yaml:2:3: {pulled} (the first of 2 places)",
    ]


@pytest.mark.parametrize(("repeated", "end"), [(0, "s"), (1, ", 1 request repeated")])
def test_the_last_count_says_how_many_requests_were_repeated(repeated: int, end: str) -> None:
    report = replace(_report(Result("created", "f/d", "id")), repeated=repeated)
    lines = deploy.text(report, 1.0, again=AGAIN, profile=None)
    assert next(line for line in lines if "deployment: 1 created" in line).endswith(end)
    document = deploy.document(report, 1.0)
    assert document["requests_repeated"] == repeated


CREATED = Result("created", "f/d", "id")


def _end_after_a_write(error: BaseException) -> None:
    with errors.Written() as written:
        written.append(CREATED)
        raise error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Exit(143), 143, "terminated"),
        (GitflowError("the store is gone", hint="look there"), 1, "the store is gone"),
    ],
)
def test_whatever_ends_the_writing_is_told_with_what_was_written(
    error: BaseException, code: int, message: str
) -> None:
    with pytest.raises(StoppedError) as caught:
        _end_after_a_write(error)
    stopped = caught.value
    assert (stopped.exit_code, stopped.message) == (code, message)
    assert stopped.lines == ("f/d  created",)
    assert stopped.document["deployments"] == [deploy.result_document(CREATED)]
    assert str(stopped.hint).endswith("run the same command again: it converges")


def test_what_ends_a_command_before_it_writes_is_left_as_it_is() -> None:
    with pytest.raises(KeyboardInterrupt), errors.Written():
        raise KeyboardInterrupt


def _texts() -> Iterator[str]:
    """Every text below the front ends that is no docstring."""
    for path in Path(gitops_flow.__file__).parent.rglob("*.py"):
        if path.parent.name not in ("cli", "steps"):
            tree = ast.parse(path.read_text())
            doc = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
            for each in ast.walk(tree):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield from () if id(each) in doc else (each.value,)


def _flags() -> set[str]:
    commands = command().commands.values()
    params = [param for each in commands for param in each.params]
    return {flag for param in params for flag in (*param.opts, *param.secondary_opts)}


def test_no_message_below_the_front_ends_names_a_flag() -> None:
    # What has no space in it is an argument of git's.
    messages = [text for text in _texts() if " " in text]
    named = {flag for text in messages for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)}
    assert named & _flags() == set()


def test_every_option_that_a_message_names_has_a_flag_that_exists() -> None:
    named = {name for text in _texts() for name in re.findall("‹([a-z_]+)›", text)}
    assert named == set(words.COMMAND_LINE)
    assert set(words.COMMAND_LINE.values()) <= _flags()


@pytest.mark.parametrize("form", [str, json.dumps])
def test_a_message_calls_an_option_what_the_front_end_calls_it(form: Any) -> None:
    told = words.worded(form("with ‹allow_secrets› PATH, not ‹this›"), words.COMMAND_LINE)
    assert told == form("with --allow-secret PATH, not ‹this›")
