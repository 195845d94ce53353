"""Build and push steps: which a deployment consists of, and one filled in before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_flow import manifest
from gitops_flow.errors import ManifestError
from gitops_flow.manifest import Answers, StepSections
from tests.support.manifests import BASE, resolve

TOP = "build:\n- top.build: {a: 1}\npush:\n- top.push: {a: 1}\n"


def steps(*lines: str, top: str = TOP) -> StepSections:
    read = manifest.parse((top + BASE + "".join(f"  {x}\n" for x in lines)).encode(), "p.yaml")
    return manifest.step_sections(read, read.deployments[0])


def test_deployment_has_the_files_steps() -> None:
    assert steps() == StepSections(({"top.build": {"a": 1}},), ({"top.push": {"a": 1}},))


def test_deployments_own_steps_take_the_place_of_the_files() -> None:
    found = steps("build: {own.build: {b: 2}}", "push: [{own.push: {b: 2}}, {own.second: null}]")
    assert found.build == ({"own.build": {"b": 2}},)
    assert found.push == ({"own.push": {"b": 2}}, {"own.second": None})


@pytest.mark.parametrize("nothing", ["", "[]", "{}", "null"])
def test_empty_build_does_without_the_files_and_empty_push_does_not(nothing: str) -> None:
    # So does Prefect.
    found = steps(f"build: {nothing}", f"push: {nothing}")
    assert found == StepSections((), ({"top.push": {"a": 1}},))


@pytest.mark.parametrize("nothing", ["", "[]", "{}"])
def test_file_may_have_empty_sections(nothing: str) -> None:
    assert steps(top=f"build: {nothing}\npush: {nothing}\n") == StepSections()


def filled(text: str, outputs: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    allow = given.pop("allow_missing", False)
    read = manifest.parse(f"build:\n- {text}\n{BASE}".encode(), "p.yaml")
    config = read.deployments[0]
    [step] = manifest.step_sections(read, config).build
    return manifest.fill_step(
        read, config, "build", 0, step, Answers(**given), outputs or {}, allow_missing=allow
    )


def test_step_is_filled_in_from_all_there_is() -> None:
    found = filled(
        "a.b: {e: '{{ $E }}', o: ['{{ one.x }}'], v: '{{ prefect.variables.v }}', k: 'a-{{ x }}', "
        "s: '{{ prefect.blocks.secret.s }}'}",
        {"one": {"x": 1}, "x": 1},
        environ={"E": "env"},
        variables={"v": [1]},
        blocks={"secret/s": {"value": "hidden"}},
    )
    assert found == {"a.b": {"e": "env", "o": [1], "v": [1], "k": "a-1", "s": "hidden"}}


def test_id_and_requires_stay_as_they_are() -> None:
    found = filled("a.b: {id: '{{ x }}', requires: ['{{ x }}'], c: '{{ x }}'}", {"x": 1})
    assert found == {"a.b": {"id": "{{ x }}", "requires": ["{{ x }}"], "c": 1}}


@pytest.mark.parametrize("text", ["a.b:", "a.b: {}"])
def test_step_without_inputs(text: str) -> None:
    assert filled(text) == {"a.b": {}}


def test_everything_that_is_missing_in_a_step_is_told_at_once() -> None:
    with pytest.raises(ManifestError) as caught:
        filled("a.b: {c: '{{ on.x }}', d: 'x{{ $NO }}'}", {"one": {"x": 1}})
    assert caught.value.message == "a.b cannot be run: 2 placeholders cannot be filled in"
    assert caught.value.lines == (
        "p.yaml:2:12: build[0].a.b.c: nothing fills in {{ on.x }} (did you mean 'one.x'?)",
        "p.yaml:2:29: build[0].a.b.d: environment variable 'NO' is not set (export NO=...)",
    )


def test_bare_name_in_a_step_is_not_read_from_the_environment() -> None:
    # Prefect asks the outputs first, and leaves out what they do not have.
    assert filled("a.b: {c: '{{ HOME }}'}", environ={"HOME": "/"}, allow_missing=True) == {
        "a.b": {}
    }


def test_step_of_a_deployment_is_told_by_the_deployment() -> None:
    read = manifest.parse((BASE + "  push: [{}, {a.b: {c: '{{ x.y }}'}}]\n").encode(), "p.yaml")
    config = read.deployments[0]
    [_, step] = manifest.step_sections(read, config).push
    with pytest.raises(ManifestError) as caught:
        manifest.fill_step(read, config, "push", 1, step, Answers(), {})
    [problem] = caught.value.lines
    assert problem.startswith(
        "p.yaml:4:24: deployments[0] 'daily': push[1].a.b.c: nothing fills in"
    )


def test_what_is_surely_missing_is_told_before_any_step_runs() -> None:
    text = (
        "build:\n- a.b: {c: '{{ x.y }}', d: '{{ $NO }}'}\n- a.c: {id: x, d: '{{ x.y }}'}\n"
        "push:\n- a.d: {e: '{{ prefect.variables.no }}'}\n" + BASE
    )
    deployments, problems = resolve(text)
    assert deployments == []
    assert [each.split(": ")[2:4] for each in problems] == [
        [
            "build[0].a.b.c",
            "nothing fills in {{ x.y }} (write {{ $NAME }} for an environment variable)",
        ],
        ["build[0].a.b.d", "environment variable 'NO' is not set (export NO=...)"],
        [
            "push[0].a.d.e",
            "there is no variable 'no' on the server (prefect variable set no VALUE)",
        ],
    ]


def test_secret_in_a_step_is_not_stored_and_not_warned_of() -> None:
    text = "build:\n- a.b: {c: '{{ prefect.blocks.secret.s }}'}\n" + BASE
    [_], problems = resolve(text, blocks={"secret/s": {"value": "x"}})
    assert problems == []


def test_steps_are_not_checked_again_once_they_have_run() -> None:
    text = "build:\n- a.b: {c: '{{ $UNSET_BY_NOW }}'}\n" + BASE
    [_], problems = resolve(text, outputs={0: {}})
    assert problems == []


SHARED = """\
build: [{a.b: {id: mk}}]
push: [{c.d: {image: "{{ mk.image }}", other: "{{ $UNSET_NAME }}"}}]
deployments:
"""
ONE = "- {name: %s, entrypoint: 'f.py:g'%s}\n"


@pytest.mark.parametrize(
    ("deployments", "whose"),
    [
        (["a"], ""),
        (["a", "b"], ""),
        (["a", "-b", "c"], "deployments[0] 'a', deployments[2] 'c': "),
        (
            ["a", "b", "c", "d", "e", "-f"],
            "deployments[0] 'a', deployments[1] 'b', deployments[2] 'c' and 2 more: ",
        ),
    ],
)
def test_a_problem_in_a_step_of_the_file_names_the_deployments_unless_all_have_it(
    deployments: list[str], whose: str
) -> None:
    # Those with a minus have steps of their own.
    own = ", push: [{e.f: {x: 1}}]"
    text = SHARED + "".join(ONE % (each[-1], own if each[0] == "-" else "") for each in deployments)
    _, [problem] = resolve(text)
    told = "push[0].c.d.other: environment variable 'UNSET_NAME' is not set"
    assert problem == f"error: p.yaml:2:47: {whose}{told} (export UNSET_NAME=...)"


def test_a_step_of_the_file_that_cannot_be_run_names_its_deployment() -> None:
    text = SHARED + ONE % ("a", ", build: null") + ONE % ("b", "")
    read = manifest.parse(text.encode(), "p.yaml")
    config = read.deployments[0]
    [step] = manifest.step_sections(read, config).push
    answers = manifest.Answers({"UNSET_NAME": "x"})
    with pytest.raises(ManifestError) as caught:
        manifest.fill_step(read, config, "push", 0, step, answers, {})
    [problem] = caught.value.lines
    told = "deployments[0] 'a': push[0].c.d.image: nothing fills in {{ mk.image }}"
    assert problem.startswith(f"p.yaml:2:22: {told}")
