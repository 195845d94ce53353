"""From a manifest and its flows to deployments: merging, templating, pull steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_flow import manifest
from gitops_flow.errors import FlowError
from gitops_flow.manifest import placeholders as template
from gitops_flow.model import FlowInfo, Schedule
from tests.support.manifests import (
    BASE,
    CLONE,
    FLOW,
    GO_TO,
    MARK,
    OURS,
    OWN,
    PIP,
    SCHEMA,
    one,
    problems_of,
    pulled,
    resolve,
)


def test_least_manifest_takes_all_else_from_the_flow() -> None:
    found = one()
    assert found.full_name == "etl/daily"
    assert found.entrypoint == "f.py:g"
    assert found.description == "from the flow"
    assert found.version == "9"
    assert not found.version_is_ours
    assert found.tags == (MARK,)
    assert found.parameter_schema == SCHEMA
    assert found.enforce_parameter_schema
    assert found.paused is None
    assert found.pull_steps == (OURS,)
    assert str(found.where) == "p.yaml:2:3"


def test_manifest_wins_over_the_flow() -> None:
    found = one("description: own", "version: '1'", default_version="abc")
    assert (found.description, found.version, found.version_is_ours) == ("own", "1", False)


def test_default_version_wins_over_the_flows_and_is_marked_ours() -> None:
    found = one(default_version="abc")
    assert (found.version, found.version_is_ours) == ("abc", True)


def test_mark_comes_last_among_the_tags() -> None:
    assert one("tags: [b, a, b, '']").tags == ("b", "a", "b", MARK)


def test_one_tag_may_be_written_without_a_list() -> None:
    assert one("tags: '{{ $TEAM }}'", env={"TEAM": "data"}).tags == ("data", MARK)


def test_tag_that_becomes_a_mark_is_refused() -> None:
    assert problems_of("tags: ['{{ $TEAM }}']", env={"TEAM": "gitflow:x-1"}) == [
        (
            "error: p.yaml:4:10: deployments[0] 'daily': tags[0]: "
            "'gitflow:x-1' is a mark of ownership, not a tag"
        )
    ]


def test_work_pool_queue_and_job_variables() -> None:
    found = one("work_pool: {name: p, work_queue_name: q, job_variables: {env: {A: '1'}}}")
    assert (found.work_pool, found.work_queue) == ("p", "q")
    assert found.job_variables == {"env": {"A": "1"}}
    assert one().work_pool == "pool"


def test_no_work_pool_at_all_is_an_error() -> None:
    assert problems_of(default_work_pool=None) == [
        (
            "error: p.yaml:2:3: deployments[0] 'daily': no work pool "
            "(write work_pool: {name: ...}, or set PREFECT_DEFAULT_WORK_POOL_NAME)"
        )
    ]


def test_concurrency_limit_as_a_number_and_as_a_mapping() -> None:
    assert one("concurrency_limit: 3").concurrency_limit == 3
    assert one("concurrency_limit: 3").concurrency_options is None
    found = one(
        "concurrency_limit: {limit: 2, collision_strategy: CANCEL_NEW, grace_period_seconds: 90}"
    )
    assert found.concurrency_limit == 2
    assert found.concurrency_options == {
        "collision_strategy": "CANCEL_NEW",
        "grace_period_seconds": 90,
    }


def test_parameters_and_flags_are_carried() -> None:
    found = one("parameters: {a: [1, {b: null}]}", "paused: false", "enforce_parameter_schema: no")
    assert found.parameters == {"a": [1, {"b": None}]}
    assert found.paused is False
    assert not found.enforce_parameter_schema


def test_dates_and_numbers_as_keys_become_what_json_has() -> None:
    [found], problems = resolve(BASE + "  parameters: {a: 2024-01-02, b: {2: x, true: y}}\n")
    assert found.parameters == {"a": "2024-01-02", "b": {"2": "x", "true": "y"}}
    assert problems == []


SCHEDULES = {
    "cron": ("{cron: 0 6 * * *}", {"cron": "0 6 * * *"}),
    "cron with all": (
        "{cron: 0 6 * * *, timezone: Europe/Berlin, day_or: false}",
        {"cron": "0 6 * * *", "timezone": "Europe/Berlin", "day_or": False},
    ),
    "seconds": ("{interval: 90}", {"interval": 90.0}),
    "iso duration": ("{interval: PT1H30M}", {"interval": 5400.0}),
    "clock duration": ("{interval: '00:10:00'}", {"interval": 600.0}),
    "anchor": (
        "{interval: 60, anchor_date: '2024-01-01T09:00:00+01:00', timezone: UTC}",
        {"interval": 60.0, "anchor_date": "2024-01-01T09:00:00+01:00", "timezone": "UTC"},
    ),
    "anchor without offset is in utc": (
        "{interval: 60, anchor_date: '2024-01-01 09:00'}",
        {"interval": 60.0, "anchor_date": "2024-01-01T09:00:00+00:00"},
    ),
    "anchor as a yaml date": (
        "{interval: 60, anchor_date: 2024-01-01}",
        {"interval": 60.0, "anchor_date": "2024-01-01T00:00:00+00:00"},
    ),
    "rrule": ("{rrule: FREQ=DAILY}", {"rrule": "FREQ=DAILY"}),
    "rrule as json": (
        """{rrule: '{"rrule": "FREQ=DAILY", "timezone": "UTC"}', timezone: Europe/Berlin}""",
        {"rrule": "FREQ=DAILY", "timezone": "Europe/Berlin"},
    ),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedule_in_the_servers_shape(case: str) -> None:
    text, spec = SCHEDULES[case]
    assert one(f"schedules: [{text}]").schedules == (Schedule(spec),)
    assert one(f"schedule: {text}").schedules == (Schedule(spec),)


def test_schedule_carries_slug_parameters_and_active() -> None:
    found = one("schedules:", "- {interval: 60, slug: a, active: 'no', parameters: {x: 1}}")
    assert found.schedules == (Schedule({"interval": 60.0}, False, {"x": 1}, "a"),)


def test_schedule_is_judged_after_its_placeholders_are_filled_in() -> None:
    lines = ("schedules:", "- {cron: '{{ $CRON }}', active: '{{ $ON }}'}")
    found = one(*lines, env={"CRON": "0 6 * * *", "ON": "false"})
    assert found.schedules == (Schedule({"cron": "0 6 * * *"}, False),)
    assert problems_of(*lines, env={"CRON": "0 6 * *", "ON": "true"}) == [
        (
            "error: p.yaml:5:12: deployments[0] 'daily': schedules[0].cron: '0 6 * *' has 4 fields, "
            "cron takes 5 or 6 (minute hour day-of-month month day-of-week)"
        )
    ]


def test_environment_fills_in_every_text_field() -> None:
    env = {"N": "nightly", "F": "f.py", "P": "p", "T": "t", "BARE": "b"}
    text = (
        "deployments:\n- name: '{{ $N }}-run'\n  entrypoint: '{{ $F }}:g'\n"
        "  version: 'v{{ $N }}'\n  tags: ['{{ $T }}']\n  parameters: {a: ['{{ $P }}', '{{ BARE }}']}\n"
        "  work_pool: {name: '{{ $P }}', job_variables: {x: 'a{{$P}}b'}}\n"
    )
    [found], problems = resolve(text, env=env)
    assert problems == []
    assert found.name == "nightly-run"
    assert found.entrypoint == "f.py:g"
    assert found.version == "vnightly"
    assert found.tags == ("t", MARK)
    assert found.parameters == {"a": ["p", "b"]}
    assert (found.work_pool, found.job_variables) == ("p", {"x": "apb"})


UNRESOLVED = {
    "environment": (
        "version: '{{ $NOPE }}'",
        (
            "p.yaml:4:12: deployments[0] 'daily': version: environment variable 'NOPE' is not set "
            "(export NOPE=...)"
        ),
    ),
    "variable": (
        "parameters: {a: '{{ prefect.variables.x }}'}",
        (
            "p.yaml:4:19: deployments[0] 'daily': parameters.a: there is no variable 'x' on the "
            "server (prefect variable set x VALUE)"
        ),
    ),
    "block": (
        "description: '{{ prefect.blocks.secret.x }}'",
        (
            "p.yaml:4:16: deployments[0] 'daily': description: there is no block 'secret/x' on the "
            "server"
        ),
    ),
    "output": (
        "work_pool: {job_variables: {image: '{{ build-image.image }}'}}",
        (
            "p.yaml:4:38: deployments[0] 'daily': work_pool.job_variables.image: nothing fills in "
            "{{ build-image.image }} (write {{ $NAME }} for an environment variable)"
        ),
    ),
    "in a schedule": (
        "schedules: [{cron: '{{ $NOPE }}'}]",
        (
            "p.yaml:4:22: deployments[0] 'daily': schedules[0].cron: environment variable 'NOPE' is "
            "not set (export NOPE=...)"
        ),
    ),
    "entrypoint is named once": (
        "entrypoint: '{{ $NOPE }}'",
        (
            "p.yaml:3:15: deployments[0] 'daily': entrypoint: environment variable 'NOPE' is not set "
            "(export NOPE=...)"
        ),
    ),
}


@pytest.mark.parametrize("case", UNRESOLVED)
def test_placeholder_that_nothing_fills_in_is_named(case: str) -> None:
    line, expected = UNRESOLVED[case]
    text = BASE + f"  {line}\n"
    if line.startswith("entrypoint"):
        text = f"deployments:\n- name: daily\n  {line}\n"
    assert resolve(text) == ([], [f"error: {expected}"])


def test_worker_resolves_blocks_and_variables_in_job_variables() -> None:
    value = "{{ prefect.blocks.secret.x }}-{{ prefect.variables.y }}-{{ ctx.flow_run.id }}"
    found = one(f"work_pool: {{job_variables: {{env: {{A: '{value}'}}}}}}")
    assert found.job_variables == {"env": {"A": value}}


def test_run_context_is_left_alone_everywhere() -> None:
    assert one("parameters: {a: '{{ ctx.flow_run.id }}'}").parameters == {
        "a": "{{ ctx.flow_run.id }}"
    }


def test_secret_from_the_environment_in_job_variables_is_refused_and_not_shown() -> None:
    lines = ("work_pool: {job_variables: {env: {API_TOKEN: '{{ $TOKEN }}'}}}",)
    assert problems_of(*lines, env={"TOKEN": "hunter2"}) == [
        (
            "error: p.yaml:4:48: deployments[0] 'daily': work_pool.job_variables.env.API_TOKEN: "
            "the value of $TOKEN would be stored on the server in clear "
            "(use '{{ prefect.blocks.secret.NAME }}', which stays a placeholder until a worker "
            "needs it; or allow it with gitflow: {allow_stored_secrets: [TOKEN]})"
        )
    ]


STORED = {
    "a key that is named so": "work_pool: {job_variables: {env: {API_TOKEN: '{{ $V }}'}}}",
    "a variable that is named so": "work_pool: {job_variables: {env: {A: '{{ $DB_PASSWORD }}'}}}",
    "without the dollar": "work_pool: {job_variables: {env: {A: '{{ DB_PASSWORD }}'}}}",
    "a parameter": "parameters: {url: 'db://u:{{ $DB_PASSWORD }}@h'}",
    "a description": "description: '{{ $DB_PASSWORD }}'",
    "a tag": "tags: ['{{ $DB_PASSWORD }}']",
    "a schedule's parameter": "schedules: [{cron: '0 1 * * *', parameters: {a: '{{ $DB_PASSWORD }}'}}]",
    "a trigger's parameter": "triggers: [{type: event, match: {a: b}, parameters: {a: '{{ DB_PASSWORD }}'}}]",
    "a pull step": "pull: [{a.run: {script: 'echo {{ $DB_PASSWORD }}'}}]",
}


@pytest.mark.parametrize("case", STORED)
def test_secret_from_the_environment_is_stored_nowhere_unless_it_is_allowed(case: str) -> None:
    env = {"V": "hunter2", "DB_PASSWORD": "hunter2"}
    found, told = resolve(BASE + f"  {STORED[case]}\n", env=env)
    assert found == []
    assert any("would be stored on the server in clear" in each for each in told)
    allowed = "gitflow: {allow_stored_secrets: [V, 'DB_*']}\n"
    found, told = resolve(allowed + BASE + f"  {STORED[case]}\n", env=env)
    assert len(found) == 1
    assert not any("in clear" in each for each in told)


@pytest.mark.parametrize("value", ["4096", "0.5", "true", ""])
def test_number_or_switch_under_a_secret_name_is_only_warned_of(value: str) -> None:
    told = problems_of("parameters: {max_tokens: '{{ $MAX_TOKENS }}'}", env={"MAX_TOKENS": value})
    assert [each.partition(":")[0] for each in told] == ["warning"]


def test_secret_that_a_release_was_deployed_with_does_not_keep_anybody_from_going_back() -> None:
    line = "  parameters: {password: '{{ $V }}'}\n"
    found, told = resolve(BASE + line, env={"V": "hunter2"}, refuse_secrets=False)
    assert found[0].parameters == {"password": "hunter2"}
    assert [each.partition(":")[0] for each in told] == ["warning"]


def test_value_from_the_environment_is_not_read_as_a_placeholder_again() -> None:
    found = one("version: '{{ $A }}'", env={"A": "{{ $B }}", "B": "x"})
    assert found.version == "{{ $B }}"


def test_name_from_the_environment_is_checked() -> None:
    text = "deployments:\n- name: '{{ $N }}'\n  entrypoint: f.py:g\n"
    assert resolve(text, env={"N": "a/b"}) == (
        [],
        [
            (
                "error: p.yaml:2:9: deployments[0] '{{ $N }}': name: "
                "'a/b' holds '/'; a name has none of / % & > <"
            )
        ],
    )


def test_two_deployments_of_one_flow_and_name_are_refused() -> None:
    text = BASE + "- name: daily\n  entrypoint: f:g\n"
    deployments, problems = resolve(text, flows={"f.py:g": FLOW, "f:g": FLOW})
    assert len(deployments) == 1
    assert problems == [
        "error: p.yaml:4:9: deployments[1] 'daily': name: 'etl/daily' is also deployments[0]"
    ]


def test_flow_that_cannot_be_read_is_told_at_its_entrypoint() -> None:
    error = FlowError("there is no 'g' in this file", where="f.py", hint="did you mean 'h'?")
    assert problems_of(flows={"f.py:g": error}) == [
        (
            "error: p.yaml:3:15: deployments[0] 'daily': entrypoint: "
            "f.py: there is no 'g' in this file (did you mean 'h'?)"
        )
    ]
    assert problems_of(flows={}) == [
        "error: p.yaml:3:15: deployments[0] 'daily': entrypoint: no flow was found for 'f.py:g'"
    ]


def test_notes_of_the_flow_become_warnings() -> None:
    noted = FlowInfo("etl", None, None, SCHEMA, ("f.py:1: parameter 'a': any",))
    assert problems_of(flows={"f.py:g": noted}) == [
        "warning: p.yaml:3:15: deployments[0] 'daily': entrypoint: f.py:1: parameter 'a': any"
    ]


def _taking(*names: str, takes_more: bool = False) -> dict[str, FlowInfo]:
    schema = {**SCHEMA, "properties": {name: {} for name in names}}
    return {"f.py:g": FlowInfo("etl", None, None, schema, takes_more=takes_more)}


@pytest.mark.parametrize(
    ("line", "where", "hint"),
    [
        ("parameters: {count: 1, cuont: 2}", "4:33", "did you mean 'count'?"),
        ("parameters: {zzz: 1}", "4:21", "it has 'count', 'who'"),
        ("schedules: [{cron: 0 0 * * *, parameters: {whom: x}}]", "4:52", "did you mean 'who'?"),
    ],
)
@pytest.mark.parametrize(("strict", "severity"), [(False, "warning"), (True, "error")])
def test_a_parameter_that_the_flow_has_not_is_told_with_the_nearest(
    line: str, where: str, hint: str, strict: bool, severity: str
) -> None:
    (told,) = problems_of(line, flows=_taking("count", "who"), strict=strict)
    assert told.startswith(f"{severity}: p.yaml:{where}: deployments[0] 'daily': ")
    assert "the flow has no parameter" in told
    assert told.endswith(f"every run would fail ({hint})")


def test_a_flow_that_takes_any_parameter_has_none_that_are_wrong() -> None:
    assert problems_of("parameters: {zzz: 1}", flows=_taking("a", takes_more=True)) == []


def _needing(*names: str) -> dict[str, FlowInfo]:
    schema = {**SCHEMA, "properties": {name: {} for name in names}, "required": list(names)}
    return {"f.py:g": FlowInfo("etl", None, None, schema)}


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("schedules: [{cron: 0 0 * * *}]", "4:15"),
        ("schedule: {interval: 60}", "4:13"),
        ("schedules: [{cron: 0 0 * * *, parameters: {a: 1}}, {interval: 60}]", "4:54"),
        ("triggers: [{expect: [x]}]", "4:14"),
    ],
)
@pytest.mark.parametrize(("strict", "severity"), [(False, "warning"), (True, "error")])
def test_a_start_without_a_parameter_that_the_flow_needs_is_told(
    line: str, where: str, strict: bool, severity: str
) -> None:
    (told,) = problems_of(line, flows=_needing("a"), strict=strict)
    assert told.startswith(f"{severity}: p.yaml:{where}: deployments[0] 'daily': ")
    assert "no value for the flow's parameter 'a': every run that it starts would fail" in told


def test_a_schedule_without_several_parameters_names_them_all() -> None:
    (told,) = problems_of("schedules: [{cron: 0 0 * * *}]", flows=_needing("a", "b"))
    assert "no value for the flow's parameters 'a', 'b'" in told


@pytest.mark.parametrize(
    "line",
    [
        "parameters: {a: 1}\n  schedules: [{cron: 0 0 * * *}]",
        "schedules: [{cron: 0 0 * * *, parameters: {a: 1}}]",
        "schedules: [{cron: 0 0 * * *, active: false}]",
        "schedules: [{cron: 0 0 * * *, active: 'no'}]",
        "triggers: [{enabled: false, expect: [x]}]",
        "schedules: []",
        "paused: true",
    ],
)
def test_a_flow_that_is_given_what_it_needs_or_is_never_started_is_not_told(line: str) -> None:
    assert problems_of(line, flows=_needing("a")) == []


def test_only_chosen_deployments_are_resolved() -> None:
    read = manifest.parse((BASE + "- name: other\n  entrypoint: gone.py:g\n").encode(), "p.yaml")
    deployments, problems = manifest.resolve(
        read,
        mark=MARK,
        pull_step=OURS,
        default_version=None,
        flows={"f.py:g": FLOW},
        environ={},
        default_work_pool="p",
        chosen=read.deployments[:1],
    )
    assert [each.name for each in deployments] == ["daily"]
    assert problems == []


def test_entrypoints_are_given_with_the_environment_filled_in() -> None:
    text = BASE + "- name: b\n  entrypoint: '{{ $F }}:g'\n- name: c\n  entrypoint: '{{ $X }}:g'\n"
    read = manifest.parse(text.encode(), "p.yaml")
    assert manifest.entrypoints(read, {"F": "h.py"}) == {0: "f.py:g", 1: "h.py:g", 2: None}


# Pull steps.


@pytest.mark.parametrize("section", ["", "pull:\n", "pull: {}\n"])
def test_no_pull_section_becomes_our_step(section: str) -> None:
    assert pulled(section) == ((OURS,), [])


def test_empty_pull_section_is_respected_and_noted() -> None:
    assert pulled("pull: []\n") == (
        (),
        ["warning: p.yaml:1:7: pull: no pull steps: the code is not pinned"],
    )


@pytest.mark.parametrize(
    "step",
    [
        f"{CLONE}: {{repository: {OWN}, branch: main}}",
        f"prefect.projects.steps.git_clone_project: {{repository: {OWN}}}",
        f"{GO_TO}: {{directory: /opt/prefect/here}}",
        f"{GO_TO}: {{directory: '{{{{ $PWD }}}}'}}",
        f"{GO_TO}: {{directory: .}}",
        "gitops_flow.steps.pull_code: {repository: x, commit: '{{ code.commit }}'}",
    ],
)
def test_step_that_leads_to_this_repository_becomes_ours(step: str) -> None:
    assert pulled(f"pull:\n- {step}\n") == ((OURS,), [])
    assert pulled(f"pull:\n  {step}\n") == ((OURS,), [])


def test_other_steps_stay_in_their_place_and_the_id_is_kept() -> None:
    directory = "{{ clone.directory }}"
    steps, problems = pulled(
        f"pull:\n- a.before: {{x: 1}}\n- {CLONE}: {{id: clone, repository: {OWN}}}\n"
        f"- {PIP}: {{directory: '{directory}'}}\n- {GO_TO}: {{directory: '{directory}/sub'}}\n"
    )
    [(name, inputs)] = OURS.items()
    assert steps == (
        {"a.before": {"x": 1}},
        {name: {"id": "clone", **inputs}},
        {PIP: {"directory": directory}},
        {GO_TO: {"directory": f"{directory}/sub"}},
    )
    assert problems == []


def test_ours_goes_first_where_no_step_fetches_code() -> None:
    steps, problems = pulled("pull:\n- a.one: {x: 1}\n- a.two:\n")
    assert steps == (OURS, {"a.one": {"x": 1}}, {"a.two": None})
    assert problems == []


def test_other_repository_is_kept_beside_ours() -> None:
    other = {CLONE: {"repository": "https://example.com/other.git"}}
    steps, problems = pulled(
        f"pull:\n- {CLONE}: {{repository: {OWN}}}\n- {CLONE}: {other[CLONE]}\n"
    )
    assert steps == (OURS, other)
    assert problems == [
        f"warning: p.yaml:3:3: pull[1]: kept {CLONE}: it may lead away from the pinned code"
    ]


@pytest.mark.parametrize(
    "step",
    [
        f"{CLONE}: {{repository: https://example.com/other.git}}",
        "prefect_aws.deployments.steps.pull_from_s3: {bucket: b}",
        "prefect.deployments.steps.pull_with_block: {block_type_slug: s}",
    ],
)
def test_code_from_elsewhere_is_kept_as_it_is_and_noted(step: str) -> None:
    steps, problems = pulled(f"pull:\n- {step}\n")
    name = step.partition(":")[0]
    assert steps is not None
    assert [list(each) for each in steps] == [[name]]
    assert problems == [
        (
            f"warning: p.yaml:2:3: pull[0]: kept {name}: it decides which code runs, "
            "so the code is not pinned"
        )
    ]


def test_deployments_own_pull_section_replaces_the_files() -> None:
    top = f"pull:\n- {CLONE}: {{repository: {OWN}, id: top}}\n"
    [found], _ = resolve(top + BASE + "  pull: [{a.b: {}}]\n")
    assert found.pull_steps == (OURS, {"a.b": {}})
    [found], _ = resolve(top + BASE + "  pull: []\n")
    assert found.pull_steps == ()
    [found], _ = resolve(top + BASE + "  pull:\n")
    assert found.pull_steps == (
        {"gitops_flow.steps.pull_code": {"id": "top", **OURS["gitops_flow.steps.pull_code"]}},
    )
    [found], _ = resolve("pull: []\n" + BASE + "  pull:\n")
    assert found.pull_steps == (OURS,)


def test_pull_steps_keep_what_the_worker_fills_in() -> None:
    inputs = {
        "a": "{{ $SET }}",
        "b": "{{ $UNSET }}",
        "c": "{{ prefect.blocks.secret.x }}",
        "d": "{{ clone.directory }}",
    }
    text = f"pull:\n- {CLONE}: {{repository: {OWN}, id: clone}}\n- a.b: {inputs}\n"
    steps, problems = pulled(text, env={"SET": "1"})
    assert steps is not None
    assert steps[1] == {"a.b": {**inputs, "a": "1"}}
    assert problems == []


def test_secret_in_a_pull_step_is_left_for_the_worker() -> None:
    steps, problems = pulled(
        "pull:\n- a.b: {access_token: '{{ $TOKEN }}'}\n", env={"TOKEN": "hunter2"}
    )
    assert steps == (OURS, {"a.b": {"access_token": "{{ $TOKEN }}"}})
    assert problems == [
        (
            "warning: p.yaml:2:23: pull[0].a.b.access_token: {{ $TOKEN }} is left for the worker's "
            "environment to fill in (use '{{ prefect.blocks.secret.NAME }}')"
        )
    ]


@pytest.mark.parametrize("line", ["build:", "build: []", "build: {}"])
def test_deployment_may_do_without_the_files_build_steps(line: str) -> None:
    found = manifest.parse(f"build:\n- a.build: {{}}\n{BASE}  {line}\n".encode(), "p.yaml")
    assert manifest.step_sections(found, found.deployments[0]).build == ()


# What loading keeps.


def test_gitflow_section_is_read() -> None:
    found = manifest.parse(
        b"gitflow:\n  code_store:\n    remote: origin\n    branch: store\n"
        b"    pull_url: https://example.com/a.git\n"
        b"    credentials: {access_token: '{{ prefect.blocks.secret.x }}'}\n"
        b"  allow_secrets: ['*.pem']\n  max_file_size: 50MB\n  max_total_size: 1GiB\n"
        b"  submodules: include\n  ignore_submodules: [docs/theme]\n  checkout: pinned\n",
        "p.yaml",
    ).gitflow
    assert found.code_store.remote == "origin"
    assert found.code_store.branch == "store"
    assert found.code_store.pull_url == "https://example.com/a.git"
    assert found.code_store.credentials == {"access_token": "{{ prefect.blocks.secret.x }}"}
    assert found.allow_secrets == ("*.pem",)
    assert (found.max_file_size, found.max_total_size) == (50_000_000, 2**30)
    assert (found.submodules, found.ignore_submodules) == ("include", ("docs/theme",))


@pytest.mark.parametrize(
    "remote", ["origin", "../store.git", "/srv/store.git", "git@example.com:a/b.git"]
)
def test_remote_may_be_a_name_a_path_or_an_address(remote: str) -> None:
    text = f"gitflow: {{code_store: {{remote: '{remote}'}}}}"
    assert manifest.parse(text.encode(), "p.yaml").gitflow.code_store.remote == remote


def test_the_addresses_for_workers_may_be_one_or_a_list() -> None:
    text = "gitflow: {code_store: {pull_url: [http://in/x, https://out/x]}}"
    found = manifest.parse(text.encode(), "p.yaml").gitflow.code_store
    assert found.pull_url == ("http://in/x", "https://out/x")
    one = manifest.parse(b"gitflow: {code_store: {pull_url: [http://in/x]}}", "p.yaml")
    assert one.gitflow.code_store.pull_url == "http://in/x"


IGNORED = {
    "job_variables: {}": "'job_variables' (put it under work_pool:)",
    "work_queue_name: x": "'work_queue_name' (put it under work_pool:)",
    "is_paused: true": "'is_paused' (did you mean 'paused'?)",
    "descripton: x": "'descripton' (did you mean 'description'?)",
    "cron: 0 0 * * *": "'cron' (put it in an item of schedules:)",
    "whatever: x": "'whatever'",
}


@pytest.mark.parametrize("line", IGNORED)
def test_key_that_prefect_ignores_is_warned_of(line: str) -> None:
    found = manifest.parse(f"{BASE}  {line}\n".encode(), "p.yaml")
    assert [f"{each.severity} {each}" for each in found.problems] == [
        f"warning p.yaml:4:3: deployments[0] 'daily': Prefect ignores this key: {IGNORED[line]}"
    ]


def test_anchors_in_definitions_are_expanded_in_deployments() -> None:
    text = (
        "definitions:\n  base: &base\n    entrypoint: f.py:g\n    tags: [a]\n"
        "deployments:\n- <<: *base\n  name: one\n- <<: *base\n  name: two\n  tags: [b]\n"
    )
    deployments, problems = resolve(text)
    assert [(each.name, each.tags) for each in deployments] == [
        ("one", ("a", MARK)),
        ("two", ("b", MARK)),
    ]
    assert problems == []


# Templates.

PIECES = st.text(alphabet="ab {}$.-[]0", max_size=12)


@given(PIECES, st.text(max_size=5))
def test_text_without_placeholders_is_left_alone(text: str, answer: str) -> None:
    if not template.placeholders(text):
        assert template.fill(text, lambda _mark: answer) == text


@given(PIECES, PIECES, st.integers() | st.lists(st.integers()) | st.none())
def test_whole_value_keeps_its_type_and_embedded_is_written_out(
    before: str, after: str, answer: object
) -> None:
    assert template.fill("{{ x.y }}", lambda _mark: answer) == answer
    if not template.placeholders(before) and not template.placeholders(after):
        text = f"a{before}|{{{{ x.y }}}}|{after}b"
        expected = f"a{before}|{answer}|{after}b"
        assert template.fill(text, lambda _mark: answer) == expected


def test_placeholders_are_found_with_their_kind_and_place() -> None:
    value = {"a": ["{{ $X }}{{prefect.variables.v}}", {"b": "{{ ctx.z }} {{ s[0].k }}"}]}
    found = [(each.kind, each.name, each.path) for each in template.placeholders(value)]
    assert found == [
        ("env", "X", ("a", 0)),
        ("variable", "prefect.variables.v", ("a", 0)),
        ("context", "ctx.z", ("a", 1, "b")),
        ("output", "s[0].k", ("a", 1, "b")),
    ]


def test_a_variable_or_block_that_only_the_server_has_is_suggested_and_never_filled_in() -> None:
    text = BASE + "  description: '{{ prefect.variables.nums }} {{ prefect.blocks.secret.tik }}'\n"
    answers = manifest.Answers(names=("num", "secret/tok"))
    deployments, problems = resolve(text, answers=answers)
    assert deployments == []
    assert "there is no variable 'nums' on the server (did you mean 'num'?)" in problems[0]
    assert (
        "there is no block 'secret/tik' on the server (did you mean 'secret/tok'?)" in problems[1]
    )
