"""What placeholders are filled in from, what waits for steps, and what is an error."""

from __future__ import annotations

from typing import Any

import pytest

from gitops_flow import manifest
from gitops_flow.errors import ManifestError
from gitops_flow.manifest import Lookups
from tests.support.manifests import BASE, MARK, OURS, OWN, one, problems_of, resolve

BUILD = "build:\n- a.build: {id: image}\n"


def after(*lines: str, **given: Any) -> Any:
    """The one deployment with these lines in a file that has a build step."""
    text = BUILD + BASE + "".join(f"  {line}\n" for line in lines)
    [deployment], problems = resolve(text, **given)
    assert problems == []
    return deployment


EVERYWHERE = (
    "version: '{{ image.tag }}'",
    "description: 'built {{ tag }}'",
    "tags: ['{{ image.tag }}', b]",
    "parameters: {a: {b: ['{{ image.sizes[0] }}']}}",
    "schedules: [{cron: '{{ image.cron }}'}]",
    "triggers: [{expect: ['{{ image.event }}']}]",
    "work_pool: {name: p, work_queue_name: '{{ image.queue }}', job_variables: {x: '{{ image.tag }}'}}",
    "pull: [{a.b: {c: '{{ image.tag }}'}}]",
)
IMAGE = {"tag": "1.2", "sizes": [7], "cron": "0 6 * * *", "event": "e", "queue": "q"}


def test_fields_that_wait_for_steps_are_unknown_and_keep_their_placeholder() -> None:
    found = after(*EVERYWHERE)
    assert sorted(found.unknown) == [
        "automations",
        "description",
        "job_variables",
        "parameters",
        "pull_steps",
        "schedules",
        "tags",
        "version",
        "work_queue",
    ]
    assert found.version == "{{ image.tag }}"
    assert found.tags == ("{{ image.tag }}", "b", MARK)
    assert found.parameters == {"a": {"b": ["{{ image.sizes[0] }}"]}}
    assert found.schedules[0].spec == {"cron": "{{ image.cron }}"}
    assert found.automations[0].trigger["expect"] == ["{{ image.event }}"]


def test_outputs_of_steps_fill_in_every_field() -> None:
    found = after(*EVERYWHERE, outputs={0: {**IMAGE, "image": IMAGE}})
    assert found.unknown == ()
    assert (found.version, found.description) == ("1.2", "built 1.2")
    assert found.tags == ("1.2", "b", MARK)
    assert found.parameters == {"a": {"b": [7]}}
    assert found.schedules[0].spec == {"cron": "0 6 * * *"}
    assert found.automations[0].trigger["expect"] == ["e"]
    assert (found.work_queue, found.job_variables) == ("q", {"x": "1.2"})
    assert found.pull_steps == (OURS, {"a.b": {"c": "1.2"}})


def test_nothing_is_unknown_without_placeholders() -> None:
    assert after("version: '1'", "pull: [{a.b: {id: x}}, {c.d: {e: '{{ x.y }}'}}]").unknown == ()


def test_nothing_waits_for_steps_that_the_deployment_does_not_have() -> None:
    assert problems_of("version: '{{ image.tag }}'", "build: []") == [
        (
            "error: p.yaml:4:12: deployments[0] 'daily': version: nothing fills in {{ image.tag }} "
            "(write {{ $NAME }} for an environment variable)"
        )
    ]


def test_output_that_no_step_gave_is_named_with_the_nearest() -> None:
    text = BUILD + BASE + "  version: '{{ image.tagg }}'\n"
    assert resolve(text, outputs={0: {"image": {"tag": "1"}, "tag": "1"}}) == (
        [],
        [
            (
                "error: p.yaml:6:12: deployments[0] 'daily': version: nothing fills in "
                "{{ image.tagg }} (did you mean 'image.tag'?)"
            )
        ],
    )


def test_environment_comes_before_outputs_of_steps_as_in_prefect() -> None:
    assert after("version: '{{ TAG }}'", env={"TAG": "e"}, outputs={0: {"TAG": "o"}}).version == "e"


def test_value_that_only_steps_make_wrong_is_told_at_its_place() -> None:
    text = BUILD + BASE + "  schedules: [{cron: '{{ image.cron }}'}]\n"
    _, problems = resolve(text, outputs={0: {"image": {"cron": "nope"}}})
    assert problems == [
        (
            "error: p.yaml:6:22: deployments[0] 'daily': schedules[0].cron: 'nope' has 1 field, "
            "cron takes 5 or 6 (minute hour day-of-month month day-of-week)"
        )
    ]


@pytest.mark.parametrize(
    ("line", "column"),
    [("entrypoint: '{{ image.file }}:g'", 15), ("work_pool: {name: '{{ image.p }}'}", 21)],
)
def test_what_is_needed_before_the_steps_cannot_come_from_them(line: str, column: int) -> None:
    base = BASE if line.startswith("work") else BASE.rpartition("  entry")[0]
    _, problems = resolve(f"{BUILD}{base}  {line}\n")
    assert len(problems) == 1
    assert f":{column}: " in problems[0]
    assert "cannot stand here: this is needed before any step runs" in problems[0]


def test_blocks_and_variables_fill_in_fields_with_their_type() -> None:
    found = one(
        "parameters: {a: '{{ prefect.variables.limits }}', b: 'x-{{ prefect.variables.n }}'}",
        "version: '{{ prefect.blocks.json.config.release }}'",
        "work_pool: {name: '{{ prefect.variables.pool }}'}",
        variables={"limits": {"cpu": 2}, "n": 5, "pool": "fast"},
        blocks={"json/config": {"value": {"release": "7"}}},
    )
    assert found.parameters == {"a": {"cpu": 2}, "b": "x-5"}
    assert (found.version, found.work_pool) == ("7", "fast")


def test_entrypoint_from_a_variable_leads_to_its_flow() -> None:
    text = "deployments:\n- name: daily\n  entrypoint: '{{ prefect.variables.file }}:g'\n"
    [found], problems = resolve(text, variables={"file": "f.py"})
    assert (found.entrypoint, found.flow_name, problems) == ("f.py:g", "etl", [])
    read = manifest.parse(text.encode(), "p.yaml")
    answers = manifest.Answers(variables={"file": "f.py"})
    assert manifest.entrypoints(read, answers) == {0: "f.py:g"}


def test_secret_block_outside_of_job_variables_is_warned_of() -> None:
    assert problems_of(
        "parameters: {a: '{{ prefect.blocks.secret.key }}'}", blocks={"secret/key": {"value": "x"}}
    ) == [
        (
            "warning: p.yaml:4:19: deployments[0] 'daily': parameters.a: the value of "
            "{{ prefect.blocks.secret.key }} will be stored on the server in clear "
            "(load the block in the flow instead)"
        )
    ]


def test_misspelt_names_get_the_nearest_one() -> None:
    problems = problems_of(
        "version: '{{ $RELEASE_TG }}'",
        "description: '{{ prefect.variables.regin }}'",
        "parameters: {a: '{{ prefect.blocks.json.confg }}'}",
        env={"RELEASE_TAG": "1"},
        variables={"region": "eu"},
        blocks={"json/config": {"value": 1}},
    )
    assert [each.rpartition(" (")[2] for each in problems] == [
        "did you mean 'RELEASE_TAG'?)",
        "did you mean 'region'?)",
        "did you mean 'json/config'?)",
    ]


def test_part_of_a_block_inside_text_must_be_text() -> None:
    [problem] = problems_of(
        "version: 'v{{ prefect.blocks.json.config }}'", blocks={"json/config": {"value": {"a": 1}}}
    )
    assert "is not text and cannot stand inside text" in problem


def test_allow_missing_leaves_out_what_nothing_fills_in() -> None:
    found = one(
        "version: '{{ image.tag }}'",
        "description: 'a{{ $NOPE }}b{{ prefect.variables.no }}c{{ x.y }}d'",
        "parameters: {a: '{{ gone }}', b: '{{ $NOPE }}', c: ['{{ gone }}', 1], d: '{{ ctx.x }}'}",
        "tags: ['{{ $NOPE }}', b]",
        allow_missing=True,
        default_version="abc",
    )
    assert found.version == "abc"
    assert found.description == "abcd"
    assert found.parameters == {"b": "", "c": [1], "d": "{{ ctx.x }}"}
    assert found.tags == ("b", MARK)


def test_tags_may_be_one_placeholder_for_a_list() -> None:
    found = one("tags: '{{ prefect.variables.tags }}'", variables={"tags": ["a", "b"]})
    assert found.tags == ("a", "b", MARK)


def test_environment_alone_may_be_given() -> None:
    found, problems = resolve(BASE + "  version: '{{ $V }}'\n", answers=None, environ={"V": "1"})
    assert (found[0].version, problems) == ("1", [])


def test_answers_do_not_show_what_they_hold() -> None:
    assert "hunter2" not in repr(manifest.Answers({"A": "hunter2"}, {"a/b": "hunter2"}))


LOOKED_UP = """
build:
- a.b: {id: '{{ prefect.variables.reserved }}', x: '{{ prefect.variables.in_build }}'}
push:
- a.c: {x: '{{ prefect.blocks.secret.in-push.value }}'}
pull:
- a.d: {x: '{{ prefect.variables.in_pull }}'}
deployments:
- name: '{{ prefect.variables.v }}'
  entrypoint: f.py:g
  parameters: {a: ['{{ prefect.blocks.json.c.d[0] }}{{ prefect.variables.v }}']}
  schedules: [{cron: '{{ prefect.variables.cron }}'}]
  work_pool:
    name: '{{ prefect.variables.pool }}'
    job_variables: {x: '{{ prefect.variables.in_job }}'}
  triggers:
  - {enabled: '{{ prefect.variables.on }}', job_variables: {x: '{{ prefect.variables.job }}'}}
- {name: b, entrypoint: f.py:g, build: [], push: [{a.e: {x: '{{ prefect.variables.own }}'}}]}
"""


def test_what_is_resolved_here_is_read_and_what_is_left_is_only_looked_for() -> None:
    read = manifest.parse(LOOKED_UP.encode(), "p.yaml")
    assert manifest.lookups(read, read.deployments[:1]) == Lookups(
        (("json", "c"), ("secret", "in-push")),
        ("v", "pool", "cron", "on", "in_build"),
        (),
        ("in_job", "job", "in_pull"),
    )
    assert manifest.lookups(read, read.deployments[1:]) == Lookups(
        (), ("own",), left_variables=("in_pull",)
    )
    assert len(manifest.lookups(read).variables) == 6
    token = "{{ prefect.blocks.secret.t }}"
    assert manifest.lookups(read, [], token) == Lookups(left_blocks=(("secret", "t"),))


BLOCK, VARIABLE = "{{ prefect.blocks.secret.tokn }}", "{{ prefect.variables.nam }}"
CRASHES = "there is no block 'secret/tokn' on the server: every run would crash"
EMPTY = "there is no variable 'nam' on the server: runs would get ''"
LEFT = [
    (f"work_pool: {{job_variables: {{x: {{y: ['{BLOCK}']}}}}}}", CRASHES),
    (f"work_pool: {{job_variables: {{x: 'a {VARIABLE}'}}}}", EMPTY),
    (f"pull: [{{a.b: {{x: '{BLOCK}'}}}}]", CRASHES),
    (f"pull: [{{a.b: {{x: '{VARIABLE}'}}}}]", EMPTY),
    (f"triggers: [{{expect: [e], job_variables: {{x: '{BLOCK}'}}}}]", CRASHES),
]


def column(line: str) -> int:
    """Where the value with the placeholder begins."""
    return len("  ") + line.index("'") + 1


def left(line: str, **options: Any) -> list[str]:
    """The problems of a deployment whose server has a block and a variable of near names."""
    answers = manifest.Answers(
        names=("name", "secret/token"), left=frozenset(options.pop("there", ()))
    )
    return [
        each
        for each in problems_of(line, answers=answers, **options)
        if not each.startswith("note")
    ]


@pytest.mark.parametrize(("line", "message"), LEFT)
def test_what_is_left_for_the_worker_and_does_not_exist_is_an_error_with_the_nearest_name(
    line: str, message: str
) -> None:
    [told] = left(line)
    near = "did you mean 'secret/token'?" if "block" in message else "did you mean 'name'?"
    assert told.startswith(f"error: p.yaml:4:{column(line)}: ")
    assert told.endswith(f"{message} ({near})")


@pytest.mark.parametrize(("line", "message"), LEFT)
def test_what_is_left_and_does_not_exist_is_a_warning_when_that_is_allowed(
    line: str, message: str
) -> None:
    [told] = left(line, allow_missing=True)
    assert told.startswith(f"warning: p.yaml:4:{column(line)}: ")


@pytest.mark.parametrize("line", [line for line, _ in LEFT])
def test_of_what_is_left_and_exists_there_is_nothing_to_say(line: str) -> None:
    assert left(line, there=("nam", "secret/tokn")) == []


CREDENTIALS = f"gitflow: {{code_store: {{credentials: '{BLOCK}'}}}}\n"


@pytest.mark.parametrize(
    ("head", "place"),
    [
        (CREDENTIALS, "p.yaml:1:37: gitflow.code_store.credentials"),
        ("", "p.yaml:2:3: deployments[0]"),
    ],
)
def test_credentials_of_the_code_store_that_do_not_exist_are_told(head: str, place: str) -> None:
    [(name, inputs)] = OURS.items()
    step = {name: {**inputs, "credentials": BLOCK}}
    answers = manifest.Answers(left=frozenset())
    _, problems = resolve(head + BASE, pull_step=step, answers=answers)
    [told] = [each for each in problems if CRASHES in each]
    assert told.startswith(f"error: {place}")


def test_the_credentials_of_a_clone_that_is_replaced_are_looked_for_and_told_of_where_they_stand() -> (
    None
):
    line = f"pull: [{{prefect.deployments.steps.git_clone: {{repository: '{OWN}', access_token: '{BLOCK}'}}}}]"
    [told] = left(line)
    assert CRASHES in told
    assert told.startswith(f"error: p.yaml:4:{line.rindex(BLOCK) + 2}: ")


def test_incomplete_block_is_an_error_and_not_looked_up() -> None:
    line = "version: '{{ prefect.blocks.secret }}'"
    read = manifest.parse(f"{BASE}  {line}\n".encode(), "p.yaml")
    assert manifest.lookups(read) == Lookups()
    [problem] = problems_of(line)
    assert "names no block (write {{ prefect.blocks.<type>.<name> }})" in problem


def test_version_type_simple_prefers_the_flows_version_to_the_commits() -> None:
    assert one("version_type: prefect:simple", default_version="abc").version == "9"
    assert one("version_type: vcs:git", default_version="abc").version == "abc"


def test_ignored_fields_are_carried() -> None:
    text = "gitflow: {ignore: [paused, schedules.active, paused], checkout: stock}\n"
    [found], _ = resolve(text + BASE)
    assert found.ignored == ("paused", "schedules.active")
    assert manifest.parse(text.encode(), "p.yaml").gitflow.checkout == "stock"


def test_replaced_slug_is_carried() -> None:
    found = one("schedules: [{interval: 60, slug: new, replaces: old}]")
    assert (found.schedules[0].slug, found.schedules[0].replaces) == ("new", "old")


IGNORED_KEYS = [
    BASE + "  job_variables: {}\n",
    BASE + "  triggers: [{expects: [x]}]\n",
    BASE + "  work_pool: {nam: x}\n",
    BASE + "deploymets: []\n",
]


@pytest.mark.parametrize("text", IGNORED_KEYS)
def test_strict_makes_an_error_of_a_key_that_prefect_ignores(text: str) -> None:
    [warned] = manifest.parse(text.encode(), "p.yaml").problems
    assert warned.severity == "warning"
    with pytest.raises(ManifestError) as caught:
        manifest.parse(text.encode(), "p.yaml", strict=True)
    assert caught.value.lines == (str(warned),)
