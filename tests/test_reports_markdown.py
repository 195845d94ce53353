"""Markdown of plans, deploys and errors: what a reader gets, and that no name breaks out of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gitops_flow.apply import Result
from gitops_flow.codestore.changes import CodeChange
from gitops_flow.deploy import Preview, Report
from gitops_flow.deploy.request import Published, Refusal
from gitops_flow.errors import (
    ApiError,
    GitflowError,
    ManifestError,
    SnapshotError,
    StoppedError,
)
from gitops_flow.model import (
    Deployment,
    FileChange,
    LeftOut,
    Position,
    Problem,
    Provenance,
    Snapshot,
    Source,
)
from gitops_flow.plan import Conflict, Create, Plan, Unchanged, Update
from gitops_flow.plan.actions import FieldChange, Pointer, ScheduleDiff
from gitops_flow.report import markdown

SERVER = "server http://h/api (PREFECT_API_URL)"
HOSTILE = [
    "a|b",
    "a\\|b|c\\",
    "`a` **b**",
    "``",
    "@team please",
    "<img src=x onerror=alert(1)>",
    "<!-- -->",
    "[x](javascript:alert(1)) ![y](http://evil/z.png)",
    "https://evil.example/x",
    "a\n\n# head\n\n| x |\n|---|\n",
    "```\n</details>\n~~~",
    "\x1b[31m\u202e\u200b\udcff",
    "#1 :tada: &lt;b&gt; $x$",
    " ",
    "",
]


def _plan(name: str = "f/a", text: str = "me", path: str = "flow.py") -> Preview:
    flow, _, own = name.partition("/")
    live = Deployment(flow, own or name, "f.py:g", id="1", description=text)
    desired = replace(live, id=None, description="you")
    change = FieldChange("description", text, "you")
    position = Position(path, 3, 5)
    actions = (
        Update(desired, live, (change,), ScheduleDiff()),
        Create(replace(desired, name=f"{own}2", parameters={text: text})),
        Conflict(replace(desired, name=f"{own}3"), live, text),
        Unchanged(replace(desired, name=f"{own}4"), live),
    )
    files = (FileChange(path, "modified"), FileChange(path, "added"))
    snapshot = Snapshot(
        "1" * 40,
        "2" * 40,
        Provenance("shop", "3" * 40, True, "Ann <ann@x>"),
        changes=files,
        left_out=(LeftOut(path, text),),
    )
    pointer = Pointer(f"gitflow_{name}", None, {"commit": "1" * 40})
    return Preview(
        Source(name, "host/shop", path),
        snapshot,
        "url",
        "branch",
        Plan(actions, (replace(live, name=f"{own}5"),), literal=((name, text),), pointer=pointer),
        (text,),
        1,
        (CodeChange("4" * 40, "1" * 40, files, 10, 3),),
        (),
        (Refusal(text, (Problem(text, position, text),), text),),
        {name: (FieldChange("paused", text, False),)},
        (Problem(text, position, text, severity="warning"),),
        (Problem(text, position, severity="note"),),
    )


def _report(name: str = "f/a", text: str = "me", path: str = "flow.py") -> Report:
    preview = _plan(name, text, path)
    error = ApiError(text, where=path, hint=text)
    results = (
        Result("updated", name, changed=("description", text)),
        Result("failed", name, error=error),
        Result("held", name),
        Result("unchanged", name),
    )
    published = Published(text, text, "5" * 40, True, True)
    return Report(
        preview.source,
        preview.snapshot,
        published,
        preview.plan,
        results,
        preview.warnings,
        (text,),
    )


def _tokens(lines: list[str]) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable("table").parse("\n".join(lines)):
        yield token
        yield from token.children or ()


def _rows(lines: list[str]) -> list[list[str]]:
    """The cells of a table, as a reader sees them."""
    rows: list[list[str]] = []
    kinds = MarkdownIt("commonmark").enable("table").parse("\n".join(lines))
    for before, token in itertools.pairwise(kinds):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("td_open", "th_open"):
            rows[-1].append(" ".join(each.content for each in token.children or () if each.content))
    return rows


def test_a_plan_begins_with_its_sum_and_has_a_row_for_what_changes() -> None:
    lines = markdown.plan(_plan(), SERVER)
    assert lines[:3] == [
        "### gitflow plan: `f/a`",
        "",
        "`1 to update, 1 to create, 1 to refuse, 1 unchanged; nothing was changed`",
    ]
    assert _rows(lines) == [
        ["action", "deployment", "changes"],
        ["update", "f/a", "description: me -> you"],
        ["create", "f/a2", "entrypoint: f.py:g <br> description: you <br> parameters.me: me"],
        ["refuse", "f/a3", "me"],
    ]
    assert lines[-1] == f"`{SERVER}`"


def test_a_deploy_begins_with_its_sum_and_has_a_row_for_what_is_not_as_it_was() -> None:
    lines = markdown.deploy(_report(), 1.25, SERVER)
    sums = "4 deployments: 1 updated, 1 failed, 1 held, 1 unchanged in 1.2 s"
    assert lines[:3] == ["### gitflow deploy: `f/a`", "", f"`{sums}`"]
    assert _rows(lines)[1:] == [
        ["updated", "f/a", "(description, me)"],
        ["failed", "f/a", "flow.py: me <br> hint: me"],
        ["held", "f/a", "(left as it is; gitflow unhold lets deploys change it)"],
    ]


def test_problems_are_a_table_with_their_places() -> None:
    problems = (
        Problem("no such work pool: 'p'", Position("prefect.yaml", 3, 5), "make it"),
        Problem("no name", severity="warning"),
    )
    lines = markdown.error(ManifestError("2 problems", problems, hint="mend them"), "plan")
    assert lines[:3] == ["### gitflow plan: failed", "", "`2 problems`"]
    assert _rows(lines)[1:] == [
        ["error", "prefect.yaml:3:5", "no such work pool: 'p' <br> make it"],
        ["warning", "", "no name"],
    ]
    assert "hint: `mend them`" in lines


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("where", ["name", "text", "path"])
def test_nothing_that_others_name_is_markup(where: str, text: str) -> None:
    said: dict[str, Any] = {where: text}
    problem = Problem(text, Position(text, 1, 1), text)
    documents = [
        (markdown.plan(_plan(**said), text), 4),
        (markdown.plan(_plan(**said), text, verbose=True), 4),
        (markdown.deploy(_report(**said), 1.0, text), 4),
        (markdown.error(ManifestError(text, (problem,), hint=text), "plan"), 2),
        (markdown.error(SnapshotError(text, paths=(text,), hint=text), "plan"), 0),
        (markdown.error(StoppedError(text, lines=(text,), hint=text), "deploy"), 0),
        (markdown.error(GitflowError(text, where=text, retry=True), "deploy"), 0),
    ]
    for lines, rows in documents:
        assert not [line for line in lines if "\n" in line]
        assert [len(row) for row in _rows(lines)] == [3] * rows
        for token in _tokens(lines):
            if token.type in ("text", "html_inline", "html_block"):
                assert not set(token.content) & set("@[]|\x1b\u202e\u200b"), token
                assert "evil" not in token.content
                assert "x" not in token.content.replace("next", "")
            assert token.type not in ("link_open", "image", "hr", "blockquote_open")
            if token.type == "html_inline":
                assert token.content == "<br>"
            if token.type == "html_block":
                assert token.content.startswith(("<details><summary>", "</details>"))


def test_no_secret_of_an_address_is_in_it() -> None:
    secret = "hidden" + "password"
    text = f"https://user:{secret}@h/x"
    for lines in (
        markdown.plan(_plan(text=text), text),
        markdown.deploy(_report(text=text, path=text), 1.0, text),
        markdown.error(GitflowError(text, where=text, hint=text), "plan"),
        markdown.error(ManifestError(text, (Problem(text, None, text),)), "plan"),
    ):
        assert secret not in "\n".join(lines)
        assert "****@h" in "\n".join(lines)


def test_a_comment_never_gets_too_long_for_a_forge_and_says_what_is_left_out() -> None:
    preview, long = _plan(), "x" * 900
    item = Deployment("f", "a", "f.py:g", parameters={f"p{n}": long for n in range(90)})
    actions = tuple(Create(replace(item, name=f"a{n}")) for n in range(90))
    files = tuple(FileChange(f"{n}{long}", "added") for n in range(90))
    warnings = tuple(Problem(f"{n}{long}", severity="warning") for n in range(90))
    preview = replace(
        preview,
        plan=Plan(actions),
        code=(CodeChange("4" * 40, "1" * 40, files, 1, 1),) * 90,
        warnings=warnings,
        blocked=(),
    )
    lines = markdown.plan(preview, SERVER)
    assert len("\n".join(lines)) < 65_536
    assert len([line for line in lines if line.endswith(" more")]) == 12
