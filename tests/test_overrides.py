"""Values that the command line gives in place of a manifest's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gitops_flow import manifest
from gitops_flow.cli import options, overrides
from gitops_flow.errors import UsageError
from gitops_flow.model import Deployment
from tests.support.manifests import FLOW, MARK, OURS

MANIFEST = """\
deployments:
- name: daily
  entrypoint: f.py:g
  version: "1"
  tags: [a, b]
  parameters: {kept: 1, day: monday}
  work_pool: {name: p, work_queue_name: q, job_variables: {kept: 1, cpu: 2}}
  schedules: [{cron: "0 3 * * *"}]
- {name: other, entrypoint: "f.py:g", work_pool: {name: p}}
"""


def resolved(
    text: str = MANIFEST, env: dict[str, str] | None = None, **given: Any
) -> tuple[list[Deployment], list[str]]:
    """The deployments and problems with the overrides of these options on the first."""
    read = manifest.parse(text.encode(), "p.yaml")
    asked = overrides.read(given)
    section = manifest.check_overrides(asked)
    first, *rest = read.deployments
    found, problems = manifest.resolve(
        read,
        mark=MARK,
        pull_step=OURS,
        default_version=None,
        flows={"f.py:g": FLOW},
        answers=manifest.Answers(env or {}, {}, {}),
        default_work_pool=None,
        chosen=[manifest.override(first, asked, section), *rest],
    )
    return found, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"pool": "x"}, "work_pool", "x"),
        ({"pool": "x"}, "work_queue", "q"),
        ({"work_queue": "x"}, "work_queue", "x"),
        ({"version": "2"}, "version", "2"),
        ({"description": "d"}, "description", "d"),
        ({"set_tag": ["x", "y"]}, "tags", ("x", "y", MARK)),
        ({"param": ["day=2"]}, "parameters", {"kept": 1, "day": 2}),
        ({"param": ["day=a=b", "l=[1]"]}, "parameters", {"kept": 1, "day": "a=b", "l": [1]}),
        ({"params": '{"day": null}'}, "parameters", {"kept": 1, "day": None}),
        ({"job_variable": ["cpu=4"]}, "job_variables", {"kept": 1, "cpu": "4"}),
        ({"job_variable": ['{"cpu": 4}']}, "job_variables", {"kept": 1, "cpu": 4}),
    ],
)
def test_an_option_takes_the_place_of_the_manifests_value(
    given: dict[str, Any], field: str, value: object
) -> None:
    (first, other), problems = resolved(**given)
    assert problems == []
    assert getattr(first, field) == value
    assert other.work_pool == "p"


@pytest.mark.parametrize("head", ["  schedules: [{cron: '0 3 * * *'}]\n", ""])
def test_a_schedule_is_added_to_those_of_the_manifest(head: str) -> None:
    text = f"deployments:\n- name: daily\n  entrypoint: f.py:g\n  work_pool: {{name: p}}\n{head}"
    (deployment,), _ = resolved(text, cron=["1 1 * * *"], interval=[60.0], timezone="Asia/Tokyo")
    assert [each.spec for each in deployment.schedules][-2:] == [
        {"cron": "1 1 * * *", "timezone": "Asia/Tokyo"},
        {"interval": 60.0, "timezone": "Asia/Tokyo"},
    ]
    assert len(deployment.schedules) == 2 + bool(head)


def test_a_placeholder_in_an_option_is_filled_in_as_in_the_manifest() -> None:
    (first, _), _ = resolved(env={"POOL": "x"}, pool="{{ $POOL }}")
    assert first.work_pool == "x"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cron": ["61 * * * *"]}, "--cron: schedules[0].cron: minute '61'"),
        ({"rrule": ["FREQ=DAYLY"]}, "--rrule: schedules[0].rrule: FREQ 'DAYLY' is not valid"),
        ({"interval": [-1.0]}, "--interval: schedules[0].interval: expected a duration above 0"),
        ({"cron": ["0 0 * * *"], "timezone": "Mars"}, "'Mars' is not a time zone"),
        ({"set_tag": ["gitflow:x"]}, "--set-tag: tags[0]: tags that start with 'gitflow:'"),
        ({"param": ["day"]}, "--param: 'day' is not KEY=VALUE"),
        ({"params": "[1]"}, "--params: '[1]' is not a JSON object"),
        ({"params": "{}", "param": ["a=1"]}, "--param and --params exclude each other"),
        ({"job_variable": ["cpu"]}, "--job-variable: 'cpu' is not a JSON object"),
        ({"timezone": "UTC"}, "--timezone needs --cron"),
    ],
)
def test_an_option_that_is_wrong_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        resolved(**given)
    assert message in str(error.value)


def test_everything_that_is_wrong_with_the_options_is_told_at_once() -> None:
    with pytest.raises(UsageError) as error:
        resolved(cron=["x"], set_tag=["gitflow:x"])
    assert "--cron: " in str(error.value)
    assert "--set-tag: " in str(error.value)


def test_what_is_wrong_with_a_value_in_this_manifest_names_the_option_and_no_place() -> None:
    _, problems = resolved(pool="{{ $POOL }}")
    assert problems[0].startswith("--pool: deployments[0] 'daily': work_pool.name: ")
    _, problems = resolved(MANIFEST.replace("name: p,", "name: '{{ $POOL }}',"))
    assert any(each.startswith("p.yaml:7:21: ") for each in problems)


def test_a_deployment_knows_what_it_has_from_which_option() -> None:
    (first, other), _ = resolved(
        pool="x", work_queue="y", param=["day=1"], job_variable=["cpu=1"], cron=["0 0 * * *"]
    )
    assert set(first.overridden) == {
        ("work_pool", "--pool"),
        ("work_queue", "--work-queue"),
        ("parameters.day", "--param"),
        ("job_variables.cpu", "--job-variable"),
        ("schedules", "--cron"),
    }
    assert other.overridden == ()


def test_names_may_be_options_as_in_prefect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.chdir(tmp_path)
    request = options.request({"names": ["a"], "name": ["b"]})
    assert request.which.names == ("a", "b")
