"""Placeholders: the same values as Prefect's own templating, in one pass."""

from __future__ import annotations

import asyncio
import os
import re
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_flow import manifest
from gitops_flow.manifest import placeholders as template
from gitops_flow.manifest.config import StepSections
from gitops_flow.manifest.placeholders import block_value
from gitops_flow.manifest.steps import build_step
from gitops_flow.manifest.substitution import Substitution

if TYPE_CHECKING:
    from collections.abc import Callable

OUTPUTS: dict[str, Any] = {
    "image": "r/app:1",
    "count": 3,
    "none": None,
    "flag": False,
    "build": {"image": "r/app:1", "tags": ["a", {"b": [1, 2]}], "0": "zero", "deep": {"er": {}}},
    "list": [{"k": "v"}, [5, 6], "text"],
}
ENVIRON = {"HOME": "/root", "EMPTY": "", "TEAM": "data"}
NAMES = [
    "image", "count", "none", "flag", "build", "list", "build.image", "build.tags", "build.tags[0]",
    "build.tags[1].b[1]", "build.tags.1.b.0", "build.tags[-1].b", "build.tags[9]", "build.0",
    "build.deep.er", "build.deep.er.no", "list[0].k", "list[1][0]", "list.2", "list[2][0]",
    "image[0]", "image.no", "none.x", "gone", "gone.x[1]", "build.", ".build", "[0]", "-", "ctx",
    "$HOME", "$EMPTY", "$NOPE", "$$HOME", "$", "TEAM", "HOME[0]", "event.id", "build-x.y",
]  # fmt: skip

spaces = st.sampled_from(["", " ", "  "])
marks = st.builds(
    lambda name, before, after: f"{{{{{before}{name}{after}}}}}",
    st.sampled_from(NAMES),
    spaces,
    spaces,
)
texts = st.lists(st.text(alphabet="ab {}$.|\n", max_size=4) | marks, max_size=4).map("".join)
leaves = st.none() | st.booleans() | st.integers(0, 9) | marks | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def prefect() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.utilities import collections, templating

    return SimpleNamespace(
        apply_values=templating.apply_values,
        get_from_dict=collections.get_from_dict,
        blocks=templating.resolve_block_document_references.__wrapped__,
        variables=templating.resolve_variables.__wrapped__,
    )


def filling(**given: Any) -> Substitution:
    read = manifest.parse(b"deployments:\n- {name: a, entrypoint: f.py:g}\n", "p.yaml")
    answers = manifest.Answers(**given)
    return Substitution(read, read.deployments[0], answers, allow_missing=True)


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_name_leads_to_what_it_leads_to_in_prefect(name: str, prefect: Any) -> None:
    missing = template.MISSING
    assert template.lookup(OUTPUTS, name) is prefect.get_from_dict(OUTPUTS, name, missing) or (
        template.lookup(OUTPUTS, name) == prefect.get_from_dict(OUTPUTS, name, missing)
    )


@pytest.mark.real
@given(value=values)
def test_steps_inputs_are_filled_in_as_prefect_fills_them_in(value: Any, prefect: Any) -> None:
    with mock.patch.dict(os.environ, ENVIRON, clear=True):
        expected = prefect.apply_values({"a": value}, OUTPUTS)
    step = build_step(filling(environ=ENVIRON), {"x.y": {"a": value}}, ("build", 0), OUTPUTS)
    assert step == {"x.y": expected}


@pytest.mark.real
@given(value=values)
def test_fields_are_filled_in_as_prefect_fills_them_in(value: Any, prefect: Any) -> None:
    # Prefect takes a whole list item away before it has asked the steps; here it is filled in.
    # It fills in the environment first: "{{ n }}{{ $EMPTY }}" is a number there, and text here.
    value = _without_placeholders_as_items(_without_empty_neighbours(value))
    with mock.patch.dict(os.environ, ENVIRON, clear=True):
        early = prefect.apply_values({"a": value}, os.environ, remove_notset=False)
        expected = prefect.apply_values(early, OUTPUTS, skip_prefixes=["ctx."])
    found = filling(environ=ENVIRON, outputs={0: OUTPUTS}).value({"a": value}, "parameters")
    assert found == expected


def _without_empty_neighbours(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty_neighbours(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_empty_neighbours(inner) for inner in value]
    if not isinstance(value, str):
        return value
    alone = re.sub(r"\{\{ *\$(EMPTY|NOPE|) *\}\}", "", value)
    return alone if len(template.placeholders(alone)) == 1 else value


def _without_placeholders_as_items(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_placeholders_as_items(inner) for key, inner in value.items()}
    if isinstance(value, list):
        kept = (_without_placeholders_as_items(inner) for inner in value)
        return [inner for inner in kept if not re.fullmatch(r"\{\{[^{}]*\}\}", str(inner))]
    return value


BLOCKS: dict[str, Any] = {
    "secret/token": {"value": "s3cret"},
    "json/config": {"value": {"a": {"b": [1, "x"]}, "value": 5, "values": [7]}},
    "s3-bucket/data": {"bucket_name": "b", "value": 1, "nested": {"k": [0, {"z": "end"}]}},
    "string/empty": {"value": ""},
}
BLOCK_NAMES = [
    "secret.token", "secret.token.value", "json.config", "json.config.a.b[1]", "json.config.value",
    "json.config.value.a", "json.config.values[0]", "json.config.a.b.0", "s3-bucket.data",
    "s3-bucket.data.value", "s3-bucket.data.bucket_name", "s3-bucket.data.nested.k[1].z",
    "string.empty",
]  # fmt: skip
UNKNOWN_BLOCKS = ["json.config.no", "s3-bucket.data.nested.no", "secret.other", "secret"]
VARIABLES = {"region": "eu", "limits": {"cpu": 2}, "on": True, "x.y": "dotted"}


class FakeClient:
    async def read_block_document_by_name(self, name: str, block_type_slug: str) -> Any:
        return SimpleNamespace(data=BLOCKS[f"{block_type_slug}/{name}"])

    async def read_variable_by_name(self, name: str) -> Any:
        return SimpleNamespace(value=VARIABLES[name]) if name in VARIABLES else None


def from_server(text: str) -> tuple[Any, list[str]]:
    fill_in = filling(blocks=BLOCKS, variables=VARIABLES)
    found = fill_in.value({"a": text}, "parameters")
    return found.get("a"), [each.message for each in fill_in.problems if each.severity == "error"]


@pytest.mark.real
@pytest.mark.parametrize("name", BLOCK_NAMES)
@pytest.mark.parametrize("around", ["%s", "<%s>", "%s%s"])
def test_block_gives_what_it_gives_in_prefect(name: str, around: str, prefect: Any) -> None:
    mark = f"{{{{ prefect.blocks.{name} }}}}"
    text = around.replace("%s", mark)
    try:
        expected = asyncio.run(prefect.blocks(text, client=FakeClient()))
    except ValueError:
        assert from_server(text)[1] != []
    else:
        assert from_server(text) == (expected, [])


@pytest.mark.parametrize("name", UNKNOWN_BLOCKS)
def test_block_that_prefect_does_not_find_is_an_error_even_if_missing_is_allowed(name: str) -> None:
    assert len(from_server(f"{{{{ prefect.blocks.{name} }}}}")[1]) == 1


@pytest.mark.real
@pytest.mark.parametrize("name", [*VARIABLES, "gone"])
@pytest.mark.parametrize("around", ["%s", "<%s>", "%s%s"])
def test_variable_gives_what_it_gives_in_prefect(name: str, around: str, prefect: Any) -> None:
    text = around.replace("%s", f"{{{{ prefect.variables.{name} }}}}")
    expected = asyncio.run(prefect.variables(text, client=FakeClient()))
    assert from_server(text) == (expected, [])


@given(answer=st.recursive(st.text(alphabet="{} $ab.", max_size=8), st.lists))
def test_what_was_filled_in_is_never_gone_through_again(answer: Any) -> None:
    outputs = {"x": answer, "b": "EXPANDED", "a": "EXPANDED"}
    fill_in = filling(environ={"ab": "EXPANDED"}, outputs={0: outputs})
    assert fill_in.value({"k": "{{ x }}"}, "parameters") == {"k": answer}
    assert fill_in.value("<{{ x }}>", "parameters") == f"<{answer}>"


def test_data_of_a_block_stands_for_its_only_value() -> None:
    assert block_value({"value": {"value": 1}}, "") == {"value": 1}
    assert block_value({"value": {"value": 1}}, "value") == {"value": 1}
    assert block_value({"value": {"value": 1}}, "value.value") == 1


def test_no_steps_are_no_sections() -> None:
    assert StepSections().all == ()


def test_names_that_can_fill_in_are_listed_two_levels_deep() -> None:
    assert template.names({"a": 1, "b": {"c": {"d": 1}}, "e": ["x"]}) == [
        "a",
        "b",
        "b.c",
        "e",
        "e[0]",
    ]


def ask(value: str, answer: Callable[[template.Placeholder], Any]) -> Any:
    return template.fill(value, answer)


def test_removed_value_takes_its_key_or_item_and_leaves_nothing_in_text() -> None:
    value = {"a": "{{ x }}", "b": ["{{ x }}", 1], "c": "<{{ x }}>"}
    assert template.fill(value, lambda _mark: template.REMOVE) == {"b": [1], "c": "<>"}
    assert ask("{{ x }}", lambda _mark: template.REMOVE) is None
