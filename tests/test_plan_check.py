"""What the server would refuse, told before it is asked; Prefect's own checks are the oracle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect._internal.schemas.validators import validate_values_conform_to_schema
from prefect.utilities.schema_tools import ValidationError, validate

from gitops_flow import plan
from gitops_flow.model import Deployment, Position, Problem

MARK = "gitflow:etl-0123abcd"
WHERE = Position("prefect.yaml", 3, 5)
# What a pool's template has: pydantic 1 and 2 shapes, references, defaults that are null.
TEMPLATE: dict[str, Any] = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string"},
        "cpu": {"type": "integer", "minimum": 1},
        "stream_output": {"type": "boolean", "default": True},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "policy": {"enum": ["Always", "Never", "IfNotPresent"]},
        "range": {"type": "array", "items": [{"type": "integer"}, {"type": "integer"}]},
        "networks": {"type": "array", "items": {"type": "string"}},
        "limits": {"$ref": "#/definitions/Limits"},
        "cluster": {"allOf": [{"$ref": "#/definitions/Cluster"}]},
    },
    "definitions": {
        "Limits": {
            "type": "object",
            "required": ["memory"],
            "properties": {"memory": {"type": "integer"}, "swap": {"type": "string"}},
            "additionalProperties": False,
        },
        "Cluster": {
            "title": "Cluster",
            "type": "object",
            "block_type_slug": "cluster",
            "required": ["config"],
            "properties": {"config": {"type": "object"}},
        },
    },
}


def desired(**changes: Any) -> Deployment:
    return replace(
        Deployment("etl", "prod", "a.py:f", tags=(MARK,), work_pool="p", where=WHERE), **changes
    )


def problems(**changes: Any) -> list[Problem]:
    return plan.check([desired(**changes)], {"p": TEMPLATE})


def errors(found: list[Problem]) -> list[str]:
    return [problem.message for problem in found if problem.severity == "error"]


def updated(have: dict[str, Any], **want: Any) -> list[str]:
    live = desired(**{"paused": False, "id": "d", "flow_id": "f", "work_queue": "default", **have})
    made = plan.make([desired(**want)], [live], source_mark=MARK, adopt=False)
    return errors(plan.check(made.actions, {"p": TEMPLATE}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"cpu": "two"},
            "job_variables.cpu: work pool 'p' expects a whole number or null, not text",
        ),
        ({"cpu": 0}, "job_variables.cpu: work pool 'p' expects at least 1, not 0"),
        ({"image": 3}, "job_variables.image: work pool 'p' expects text, not a whole number"),
        (
            {"env": {"A": 1}},
            "job_variables.env.A: work pool 'p' expects text, not a whole number",
        ),
        ({"maybe": []}, "job_variables.maybe: work pool 'p' expects text or null, not a list"),
        (
            {"policy": "always"},
            (
                "job_variables.policy: work pool 'p' expects one of Always, Never, IfNotPresent, "
                "not 'always'"
            ),
        ),
        (
            {"range": ["a"]},
            "job_variables.range[0]: work pool 'p' expects a whole number, not text",
        ),
        (
            {"limits": {"memroy": 1}},
            "job_variables.limits: unknown to work pool 'p': 'memroy'",
        ),
        (
            {"cpu": "{{ prefect.variables.cpu }}"},
            (
                "job_variables.cpu: work pool 'p' expects a whole number or null, not a placeholder, "
                "which is text"
            ),
        ),
    ],
)
def test_a_job_variable_that_the_pool_does_not_take_is_named(
    given: dict[str, Any], said: str
) -> None:
    (problem,) = problems(job_variables=given)
    assert problem.message == f"etl/prod: {said}"
    assert problem.where == WHERE


def test_a_value_that_is_or_may_be_a_secret_is_not_shown() -> None:
    known = problems(job_variables={"policy": "hush-hush"}, secrets=("hush",))
    named = problems(job_variables={"policy": "x"}, secret_fields=("job_variables.policy",))
    schema = {"properties": {"password": {"type": "string", "pattern": "^a"}}}
    by_key = problems(parameters={"password": "bcd"}, parameter_schema=schema)
    for (problem,) in (known, named, by_key):
        assert problem.message.endswith(", not this value")


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"maximum": 31}, 40, "at most 31, not 40"),
        ({"maxLength": 2}, "abc", "a length of at most 2, not 3"),
        ({"minItems": 2}, [1], "a number of items of at least 2, not 1"),
        ({"pattern": "^a$"}, "b", "text that matches ^a$, not 'b'"),
        ({"const": True}, False, "true, not false"),
        ({"multipleOf": 5}, 7, "a multiple of 5, not 7"),
        ({"uniqueItems": True}, [1, 1], "each item only once"),
    ],
)
def test_what_was_expected_and_what_is_there_are_told_in_the_same_terms(
    schema: dict[str, Any], value: object, said: str
) -> None:
    (problem,) = problems(parameters={"n": value}, parameter_schema={"properties": {"n": schema}})
    assert problem.message == f"etl/prod: parameters.n: the flow expects {said}"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"policy": "Alway"}, "did you mean 'Always'?"),
        ({"limits": {"memroy": 1}}, "did you mean 'memory'?"),
        ({"imgae": "x"}, "did you mean 'image'?"),
    ],
)
def test_the_nearest_valid_word_is_named(given: dict[str, Any], hint: str) -> None:
    assert [problem.hint for problem in problems(job_variables=given)] == [hint]


def test_a_misspelt_job_variable_is_a_warning_and_an_unknown_one_is_the_users_business() -> None:
    assert [problem.severity for problem in problems(job_variables={"imgae": "x"})] == ["warning"]
    assert problems(job_variables={"entirely_other": 1}) == []


def test_every_problem_is_told_at_once() -> None:
    found = problems(job_variables={"cpu": "a", "image": 1, "networks": [1, 2]})
    assert len(found) == 4


def test_no_value_is_repeated() -> None:
    given = {"cpu": "hunter22", "image": ["hunter22"], "env": {"T": ["hunter22"]}}
    assert "hunter22" not in str(problems(job_variables=given))


def test_what_is_required_may_come_with_the_run() -> None:
    assert problems(job_variables={"cpu": 1, "limits": {"swap": "1"}}) == []


@pytest.mark.parametrize("template", [{}, {"p": {}}, {"other": TEMPLATE}])
def test_a_pool_without_a_template_takes_anything(template: dict[str, Any]) -> None:
    assert plan.check([desired(job_variables={"cpu": "x"})], template) == []


def test_null_is_taken_by_a_creation_and_refused_by_an_update_as_the_server_does() -> None:
    null = {"stream_output": None}
    assert problems(job_variables=null) == []
    assert len(updated({}, job_variables=null)) == 1


def test_what_is_not_written_is_not_checked() -> None:
    wrong = {"cpu": "x"}
    assert updated({"job_variables": wrong}, job_variables=wrong) == []
    assert updated({"job_variables": wrong}, job_variables=wrong, description="new") == []
    moved = updated({"job_variables": wrong, "work_pool": "q"}, job_variables=wrong)
    assert len(moved) == 1


def test_what_steps_complete_is_not_checked_before_they_ran() -> None:
    assert problems(job_variables={"cpu": "{{ cpu }}"}, unknown=("job_variables",)) == []


FLOW = {
    "title": "Parameters",
    "type": "object",
    "required": ["n"],
    "properties": {
        "n": {"title": "n", "position": 0, "type": "integer"},
        "color": {"$ref": "#/definitions/Color"},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}], "maxItems": 1},
        "name": {"type": "string", "default": "x"},
    },
    "definitions": {"Color": {"enum": ["red", "green"], "type": "string"}},
}


def test_parameters_are_held_against_the_flow() -> None:
    given = {"n": "1", "color": "gren", "name": "ok"}
    found = problems(parameters=given, parameter_schema=FLOW)
    assert errors(found) == [
        "etl/prod: parameters.n: the flow expects a whole number, not text",
        "etl/prod: parameters.color: the flow expects one of red, green, not 'gren'",
    ]
    assert found[1].hint == "did you mean 'green'?"


def test_parameters_that_are_not_enforced_are_not_checked() -> None:
    given = {"n": "1"}
    assert problems(parameters=given, parameter_schema=FLOW, enforce_parameter_schema=False) == []
    assert problems(parameters=given, parameter_schema=None) == []


def test_unchanged_parameters_are_checked_when_the_flow_has_changed() -> None:
    given = {"n": "1"}
    old = {"parameters": given, "parameter_schema": {"type": "object"}}
    assert len(updated(old, parameters=given, parameter_schema=FLOW)) == 1


def test_computed_parameters_are_checked_as_what_they_come_to() -> None:
    def kind(text: str) -> dict[str, Any]:
        return {"n": {"__prefect_kind": "json", "value": text}}

    assert problems(parameters=kind("1"), parameter_schema=FLOW) == []
    assert len(problems(parameters=kind('"a"'), parameter_schema=FLOW)) == 1
    variable = {"n": {"__prefect_kind": "workspace_variable", "variable_name": "v"}}
    item = desired(parameters=variable, parameter_schema=FLOW)
    assert plan.check([item], {}) == []
    assert plan.check([item], {}, variables={"v": 1}) == []
    assert len(plan.check([item], {}, variables={"v": "a"})) == 1
    (missing,) = plan.check([item], {}, variables={})
    assert "'v', which does not exist" in missing.message


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"properties": {"n": {"$ref": "#/definitions/none"}}}]
)
def test_a_broken_schema_is_left_to_the_server(schema: dict[str, Any]) -> None:
    assert problems(parameters={"n": 1}, parameter_schema=schema) == []


scalars = st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["x", "Always", "red"])
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["memory", "swap", "config", "$ref", "A"]), inner, max_size=2
        ),
    ),
    max_leaves=4,
)
chosen = st.dictionaries(st.sampled_from([*TEMPLATE["properties"], "other"]), values, max_size=3)


@settings(max_examples=80)
@given(chosen)
def test_job_variables_are_taken_as_prefect_takes_them(given: dict[str, Any]) -> None:
    for none_with_default, said in (
        (True, errors(problems(job_variables=given))),
        (False, updated({"job_variables": {"-": 1}}, job_variables=given)),
    ):
        try:
            validate(
                given,
                TEMPLATE,
                raise_on_error=True,
                ignore_required=True,
                allow_none_with_default=none_with_default,
            )
            refused = False
        except ValidationError:
            refused = True
        assert bool(given and said) == bool(given and refused), said


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from([*FLOW["properties"], "other"]), values, max_size=3))
def test_parameters_are_taken_as_prefect_takes_them(given: dict[str, Any]) -> None:
    try:
        validate_values_conform_to_schema(given, FLOW, ignore_required=True)
        refused = False
    except ValueError:
        refused = True
    assert bool(errors(problems(parameters=given, parameter_schema=FLOW))) == refused


LIVE = replace(desired(work_queue="high"), id="d", tags=(MARK,))


def queue_problems(live: list[Deployment], **changes: Any) -> list[tuple[str, str, str | None]]:
    made = plan.make([desired(**changes)], live, source_mark=MARK, adopt=False)
    found = plan.new_queues(made.actions, {"p": ["default", "high", "low"]})
    return [(each.severity, each.message.split(": ")[1], each.hint) for each in found]


def test_a_queue_that_the_server_will_make_is_told_of() -> None:
    assert queue_problems([], work_queue="nightly") == [
        ("note", "work queue 'nightly' will be created in work pool 'p'", None)
    ]


@pytest.mark.parametrize("live", [[], [LIVE]])
def test_a_queue_that_is_nearly_called_like_another_is_warned_of(live: list[Deployment]) -> None:
    [(severity, _, hint)] = queue_problems(live, work_queue="hihg")
    assert (severity, hint) == ("warning", "did you mean 'high'?")


@pytest.mark.parametrize("queue", ["high", "default", None])
def test_of_a_queue_that_is_there_nothing_is_said(queue: str | None) -> None:
    assert queue_problems([], work_queue=queue) == []


def test_of_a_queue_where_nothing_is_written_nothing_is_said() -> None:
    gone = replace(LIVE, work_queue="gone")
    assert queue_problems([gone], work_queue="gone", description="new") == []


def test_a_queue_of_a_pool_that_is_made_with_it_is_told_of() -> None:
    made = plan.make([desired(work_pool="new", work_queue="q")], [], source_mark=MARK, adopt=False)
    [problem] = plan.new_queues(made.actions, {})
    assert problem.severity == "note"
