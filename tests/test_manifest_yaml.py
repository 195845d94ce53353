"""The YAML reader: what safe_load reads, with places, in bounded time."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gitops_flow import manifest
from gitops_flow.errors import ManifestError
from gitops_flow.manifest import yaml as yaml_reader
from gitops_flow.model import FlowInfo

if TYPE_CHECKING:
    from pathlib import Path

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.binary(max_size=8)
)
KEYS = st.text(max_size=8) | st.integers() | st.booleans() | st.none()
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(DOCUMENTS, st.sampled_from([None, True, False]))
def test_any_document_is_read_as_safe_load_reads_it(document: object, style: bool | None) -> None:
    text = yaml.safe_dump(document, allow_unicode=True, default_flow_style=style)
    root, problems = yaml_reader.read(text.encode(), "p.yaml")
    assert problems == []
    assert root is not None
    assert root.value == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: 1}\nc: *x\n",
        "a: &x {b: 1, d: 2}\nc: {<<: *x, b: 3}\n",
        "a: &x {b: 1}\ne: &y {b: 2, f: 3}\nc: {<<: [*x, *y]}\n",
        "a: &x {b: 1}\nc: {b: 3, <<: *x}\n",
        "a: &x {b: 1}\ne: &y {<<: *x, c: 2}\nf: {<<: *y, d: 3}\n",
        "a: &x 1\nb: [*x, *x]\n",
        '"<<": 1\n',
        "a: 0o14\nb: 014\nc: 1_000\nd: 1:30:00\ne: .5\nf: 1e3\ng: ~\nh: on\ni: =x\n",
        "a: !!str 1\nb: !!int '2'\nc: !!float 3\nd: !!bool 'yes'\ne: ! 5\n",
        "a: |\n  one\n  two\nb: >-\n  one\n  two\nc: 'it''s'\nd: \"x\\ty\"\n",
        "\ufeffa: 1\n",
        "a: 1\r\nb: 2\r\n",
        "--- {a: 1}\n...\n",
        "? a\n: b\n",
    ],
)
def test_yaml_feature_means_what_safe_load_says(text: str) -> None:
    root, problems = yaml_reader.read(text.encode(), "p.yaml")
    assert problems == []
    assert root is not None
    assert root.value == yaml.safe_load(text)


@given(st.text() | st.text(alphabet="ab:- \n\t[]{}'\"#&*!|>%@`,<0.1", max_size=60))
def test_any_text_is_a_manifest_or_a_manifest_error(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    try:
        manifest.parse(data, "p.yaml")
    except ManifestError as error:
        assert error.lines  # noqa: PT017


@given(st.binary(max_size=60))
def test_any_bytes_are_a_manifest_or_a_manifest_error(data: bytes) -> None:
    try:
        manifest.parse(data, "p.yaml")
    except ManifestError as error:
        assert error.lines  # noqa: PT017


FIELDS = st.sampled_from(
    [
        "name",
        "entrypoint",
        "version",
        "tags",
        "description",
        "schedule",
        "schedules",
        "paused",
        "concurrency_limit",
        "flow_name",
        "parameters",
        "enforce_parameter_schema",
        "build",
        "push",
        "pull",
        "work_pool",
        "triggers",
        "sla",
        "cron",
        "interval",
        "rrule",
        "timezone",
        "anchor_date",
        "active",
        "slug",
        "replaces",
        "day_or",
        "job_variables",
        "limit",
        "collision_strategy",
        "gitflow",
        "code_store",
        "credentials",
        "deployments",
        "prefect-version",
        "version_type",
        "checkout",
        "ignore",
        "type",
        "match",
        "match_related",
        "expect",
        "posture",
        "within",
        "require",
        "metric",
        "enabled",
        "schedule_after",
        "a.b.git_clone",
        "repository",
        "id",
    ]
)
SHAPED = st.recursive(
    SCALARS | st.sampled_from(["* * * * *", "f.py:g", "{{ $X }}", "FREQ=DAILY", "UTC"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(st.dictionaries(FIELDS, SHAPED, max_size=6), st.dictionaries(FIELDS, SHAPED, max_size=6))
def test_any_value_under_any_key_is_a_manifest_or_a_manifest_error(
    top: dict[str, object], deployment: dict[str, object]
) -> None:
    document = {**top, "deployments": [deployment, deployment]}
    try:
        manifest.parse(yaml.safe_dump(document).encode(), "p.yaml")
    except ManifestError as error:
        assert error.lines  # noqa: PT017


TRIGGER = st.dictionaries(
    st.sampled_from(
        [
            "type",
            "expect",
            "posture",
            "within",
            "require",
            "triggers",
            "metric",
            "parameters",
            "name",
        ]
    ),
    st.sampled_from(["event", "Proactive", "Metric", "{{ x.y }}", "PT1M", 5, None, "all"])
    | st.lists(st.just({}), max_size=2),
)
STEP = st.dictionaries(
    st.sampled_from(["a.b", "p.git_clone", "p.set_working_directory", "p.build_docker_image"]),
    st.none() | st.dictionaries(FIELDS | st.sampled_from(["directory", "access_token"]), SHAPED),
    min_size=1,
    max_size=1,
)
STEPS = st.none() | STEP | st.lists(STEP, max_size=3)
DEPLOYMENT = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "{{ n.n }}", "{{ $X }}"]), "entrypoint": st.just("f.py:g")},
    optional={
        "version": st.sampled_from(["1", "{{ prefect.variables.x }}", "{{ x.y }}"]),
        "tags": st.lists(st.sampled_from(["a", "{{ x }}"])) | st.just("{{ x }}"),
        "parameters": st.dictionaries(KEYS, SHAPED, max_size=3),
        "triggers": st.lists(TRIGGER, max_size=2),
        "build": STEPS,
        "push": STEPS,
        "pull": STEPS,
        "work_pool": st.fixed_dictionaries({"job_variables": st.dictionaries(FIELDS, SHAPED)}),
    },
)


@given(
    st.fixed_dictionaries({}, optional={"build": STEPS, "push": STEPS, "pull": STEPS}),
    st.lists(DEPLOYMENT, min_size=1, max_size=2),
    st.booleans(),
    st.none() | st.just({0: {"x": {"y": [1]}}}),
)
def test_what_is_a_manifest_resolves_to_deployments_or_problems(
    top: dict[str, object],
    deployments: list[dict[str, object]],
    allow_missing: bool,
    outputs: dict[int, dict[str, object]] | None,
) -> None:
    text = yaml.safe_dump({**top, "deployments": deployments})
    try:
        read = manifest.parse(text.encode(), "p.yaml")
    except ManifestError:
        return
    manifest.lookups(read)
    answers = manifest.Answers({"X": "x"}, {}, {"x": {"a": 1}}, outputs)
    found, problems = manifest.resolve(
        read,
        mark="gitflow:x-0",
        pull_step={"gitops_flow.steps.pull_code": {}},
        default_version=None,
        flows={"f.py:g": FlowInfo("etl", None, None, {})},
        answers=answers,
        default_work_pool="pool",
        allow_missing=allow_missing,
        notes=True,
    )
    assert len(found) == len(deployments) or [p for p in problems if p.severity == "error"]
    json.dumps([dataclasses.asdict(each) for each in found])


def place(text: str, *path: object) -> tuple[int, int]:
    root, _ = yaml_reader.read(text.encode(), "p.yaml")
    node, steps = yaml_reader.at(root, path)
    assert node is not None
    assert steps == len(path)
    return node.line, node.column


def test_value_and_key_know_their_line_and_column() -> None:
    text = "a:\n  - b: c\n    é: [1, 2]\n"
    assert place(text, "a", 0, "b") == (2, 8)
    assert place(text, "a", 0, "é", 1) == (3, 12)
    root, _ = yaml_reader.read(text.encode(), "p.yaml")
    assert yaml_reader.key_place(root, ("a", 0, "é")) == (3, 5)
    assert yaml_reader.key_place(root, ("a", 0, "gone")) is None


def test_merged_value_is_where_it_was_written() -> None:
    assert place("a: &x\n  b: 1\nc:\n  <<: *x\n", "c", "b") == (2, 6)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        inner = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{inner}]")
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    keys = ", ".join(f"k{number}: 1" for number in range(500))
    merge = f"{{<<: [{', '.join(['*a'] * 150)}]}}"
    return f"a: &a {{{keys}}}\n" + "".join(f"b{n}: {merge}\n" for n in range(levels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            bomb(30),
            "p.yaml:5:5: more than 100,000 values with all aliases written out (use fewer aliases)",
        ),
        (
            merge_bomb(5000),
            "p.yaml:3:5: more than 100,000 values with all aliases written out (use fewer aliases)",
        ),
        ("[" * 200_000, "p.yaml:1:101: nested more than 100 levels deep"),
        ("- " * 50_000, "p.yaml:1:201: nested more than 100 levels deep"),
        ("{a: " * 50_000, "p.yaml:1:401: nested more than 100 levels deep"),
        (
            "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{x: *a{n - 1}}}\n" for n in range(1, 200)),
            "p.yaml:100:6: nested more than 100 levels deep",
        ),
        (
            "a: x" + "y" * 6_000_000,
            "p.yaml:1:1: the file has 5,000,001 bytes; the limit is 5,000,000",
        ),
    ],
    ids=["aliases", "merges", "lists", "dashes", "mappings", "alias depth", "size"],
)
def test_bomb_is_one_error_in_bounded_time(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    started = time.perf_counter()
    with pytest.raises(ManifestError) as caught:
        manifest.load(path, "p.yaml")
    assert time.perf_counter() - started < 10  # a bomb that goes off takes for ever
    assert caught.value.lines == (message,)


def test_megabyte_scalar_is_not_echoed() -> None:
    text = "deployments:\n- name: a\n  entrypoint: f.py:g\n  paused: " + "x" * 1_000_000
    with pytest.raises(ManifestError) as caught:
        manifest.parse(text.encode(), "p.yaml")
    assert caught.value.lines == (
        (
            "p.yaml:4:11: deployments[0] 'a': paused: expected true or false, "
            "got a text of 1,000,000 characters"
        ),
    )


def test_number_too_large_to_write_out_is_not_echoed() -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.parse(b"name: 0x" + b"f" * 3_000, "p.yaml")
    assert caught.value.lines == (
        "p.yaml:1:7: name: expected text, got the number too large to show (put it in quotes)",
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("!!int ''", "int"),
        ("!!int '-'", "int"),
        ("!!int _", "int"),
        ("!!float ''", "float"),
        ("!!float _", "float"),
        ("!!bool maybe", "bool"),
        ("!!bool ''", "bool"),
        ("!!timestamp tomorrow", "timestamp"),
        ("!!timestamp ''", "timestamp"),
        ("!!binary 'ä'", "binary"),
        ("!!int " + "9" * 3501, "int"),
        ("1:" * 2000 + "1", "int"),
    ],
)
def test_a_text_that_its_tag_does_not_fit_is_told_with_its_place(value: str, kind: str) -> None:
    _, [problem] = yaml_reader.read(f"a: {value}\n".encode(), "p.yaml")
    hint = "remove the tag" if value.startswith("!!") else "quote it"
    assert str(problem).startswith("p.yaml:1:4: ")
    assert str(problem).endswith(f" is not a valid {kind} ({hint})")


@given(
    st.sampled_from(["int", "float", "bool", "timestamp", "null", "binary", "merge", "value"]),
    st.text(max_size=12) | st.text(alphabet="0123456789:.-+_xboeTZ ", max_size=12),
)
def test_no_text_under_any_tag_is_a_bug(tag: str, text: str) -> None:
    try:
        data = f"a: !!{tag} {json.dumps(text)}\n".encode()
    except UnicodeEncodeError:
        return
    try:
        manifest.parse(data, "p.yaml")
    except ManifestError as error:
        assert error.lines  # noqa: PT017


@pytest.mark.parametrize("text", ["- a\n" * 1_000_000, "{a: " + "a, " * 1_000_000])
def test_values_are_counted_as_they_are_read_and_not_at_the_end(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(yaml_reader, "MAX_NODES", 1_000)
    scalar = yaml_reader._Builder._scalar
    monkeypatch.setattr(
        yaml_reader._Builder,
        "_scalar",
        lambda self, event: (made.append(1), scalar(self, event))[1],
    )
    with pytest.raises(yaml_reader.Fatal, match="more than 1,000 keys and values"):
        yaml_reader.read(text.encode(), "p.yaml")
    assert len(made) < 1_001


LONG = "n" * 10_000
WITH_LONG = {
    "name": f"- {{name: '{LONG}/', entrypoint: 'a.py:f'}}",
    "longish name": f"- {{name: '{'n' * 900}/', entrypoint: 'a.py:f'}}",
    "entrypoint": f"- {{name: d, entrypoint: '{LONG}'}}",
    "key": f"- {{name: d, entrypoint: 'a.py:f', ? {LONG} : x, paused: maybe}}",
    "key of a parameter": f"- {{name: d, entrypoint: 'a.py:f', parameters: {{? {LONG} : .inf}}}}",
    "key that is no text": f"- {{name: d, entrypoint: 'a.py:f', tags: 0x{'f' * 3000}, 0x{'f' * 3000}: 1}}",
    "number": f"- {{name: d, entrypoint: 'a.py:f', concurrency_limit: -0x{'f' * 3000}}}",
    "tag": f"- {{name: d, entrypoint: 'a.py:f', tags: [!{LONG} x]}}",
    "anchor": f"- {{name: &{LONG} d, entrypoint: *{LONG}x}}",
    "repeated anchor": f"- {{name: &{LONG} d, entrypoint: &{LONG} e}}",
    "alias in its anchor": f"- &{LONG} [*{LONG}]",
    "repeated key": f"- {{? {LONG} : 1, ? {LONG} : 2}}",
    "version type": f"- {{name: d, entrypoint: 'a.py:f', version_type: {LONG}}}",
    "schedule": f"- {{name: d, entrypoint: 'a.py:f', schedule: {{cron: '{LONG}'}}}}",
    "trigger": f"- {{name: d, entrypoint: 'a.py:f', triggers: [{{type: {LONG}}}]}}",
    "step": f"- {{name: d, entrypoint: 'a.py:f', build: [{{{LONG[:900]}: 1}}]}}",
}


@pytest.mark.parametrize("where", WITH_LONG)
def test_no_message_shows_a_long_text_in_full(where: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.parse(f"deployments:\n{WITH_LONG[where]}\n".encode(), "p.yaml")
    assert max(map(len, caught.value.lines)) < 400, caught.value.lines


@pytest.mark.parametrize(
    "line",
    [
        f"description: '{{{{ ${LONG} }}}}'",
        f"description: '{{{{ prefect.variables.{LONG} }}}}'",
        f"description: '{{{{ prefect.blocks.{LONG} }}}}'",
        f"description: '{{{{ prefect.blocks.secret.{LONG} }}}}'",
        f"description: '{{{{ {LONG} }}}}'",
        f"work_pool: {{name: '{{{{ {LONG} }}}}'}}",
        f"parameters: {{{'p' * 900}: 1}}",
    ],
)
def test_no_message_shows_a_long_placeholder_in_full(line: str) -> None:
    text = f"deployments:\n- name: {'d' * 5000}\n  entrypoint: f.py:g\n  {line}\n"
    document = manifest.parse(text.encode(), "p.yaml")
    flow = FlowInfo("etl", None, None, parameter_schema={"properties": {}})
    _, problems = manifest.resolve(
        document,
        mark="gitflow:x-0",
        pull_step={},
        default_version="1",
        flows={"f.py:g": flow},
        default_work_pool="p",
    )
    assert problems
    assert max(len(str(each)) for each in problems) < 500, problems


def test_reading_ends_at_more_problems_than_anybody_reads() -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.parse(("a: [" + "!x a, " * 5_000 + "]\n").encode(), "p.yaml")
    assert len(caught.value.lines) == yaml_reader.MAX_PROBLEMS + 1
    assert caught.value.lines[-1].endswith(": more problems than can be listed")


ONE = "deployments:\n- name: a\n  entrypoint: f.py:g\n"
MANY = {
    "deployments that are none": "deployments:\n" + "- x\n" * 1_500,
    "marks among tags": f"{ONE}  tags: [{'gitflow:x, ' * 1_500}]\n",
    "numbers that JSON has not": f"{ONE}  parameters: {{a: [{'.nan, ' * 1_500}]}}\n",
    "steps without inputs": f"{ONE}  build: [{'{a: 1}, ' * 1_500}]\n",
}


@pytest.mark.parametrize("case", MANY)
def test_checking_ends_at_more_problems_than_anybody_reads(case: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.parse(MANY[case].encode(), "p.yaml")
    assert len(caught.value.lines) == yaml_reader.MAX_PROBLEMS + 1
    assert caught.value.lines[-1].endswith(": more problems than can be listed")


def test_warnings_beyond_those_that_anybody_reads_are_left_out() -> None:
    text = ONE + "".join(f"  other{number}: 1\n" for number in range(1_500))
    warnings = manifest.parse(text.encode(), "p.yaml").problems
    assert len(warnings) == yaml_reader.MAX_PROBLEMS + 1
    assert warnings[-1].message == "more warnings than can be listed"


def test_filling_in_ends_at_more_problems_than_anybody_reads() -> None:
    one = "- name: a{}\n  entrypoint: f.py:g\n  work_pool: {{name: p}}\n  description: '{{{{ $NO }}}}'\n"
    text = "deployments:\n" + "".join(map(one.format, range(1_500)))
    document = manifest.parse(text.encode(), "p.yaml")
    flow = FlowInfo("etl", None, None, parameter_schema={"properties": {}})
    _, problems = manifest.resolve(
        document,
        mark="gitflow:x-0",
        pull_step={},
        default_version="1",
        flows={"f.py:g": flow},
        default_work_pool="p",
        environ={},
    )
    assert len(problems) == yaml_reader.MAX_PROBLEMS + 1
    assert any(each.message.endswith("more problems than can be listed") for each in problems)


def test_problems_before_the_one_that_ends_the_reading_are_told() -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.parse(b"a: !x 1\nb: *none\n", "p.yaml")
    places = [each.partition(": ")[0] for each in caught.value.lines]
    assert places == ["p.yaml:1:4", "p.yaml:2:4"]
