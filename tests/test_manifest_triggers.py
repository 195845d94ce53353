"""Triggers: the same acceptance and the same automation as Prefect's own models."""

from __future__ import annotations

import json
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gitops_flow import manifest
from gitops_flow.errors import ManifestError
from gitops_flow.model import Automation, FlowInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.prefect import SharedServer

EVENT = {
    "type": "event",
    "match": {},
    "match_related": {},
    "after": [],
    "expect": [],
    "for_each": [],
    "posture": "Reactive",
    "threshold": 1,
    "within": 0.0,
}
BASE = "deployments:\n- name: daily\n  entrypoint: f.py:g\n"

# One trigger each; the verdict and the automation are Prefect's, asked in the test.
TRIGGERS = [
    "{}", "{type: event}", "{type: Event}", "{type: 5}", "{type: null}", "{type: [event]}",
    "{expect: [b, a, b]}", "{expect: x}", "{expect: []}", "{expect: null}", "{expect: [1]}",
    "{after: [a], for_each: ['related:flow:x']}", "{for_each: x}", "{after: {a: b}}",
    "{match: {a: b, c: [d, e]}}", "{match: {a: 1}}", "{match: {a: [1]}}", "{match: null}",
    "{match: [a]}", "{match: {a: null}}", "{match_related: {a: b}}", "{match_related: null}",
    "{match_related: [{a: b}, {c: [d]}]}", "{match_related: [a]}", "{match_related: []}",
    "{match_related: [{a: 1}]}",
    "{posture: Reactive}", "{posture: Proactive}", "{posture: reactive}", "{posture: null}",
    "{posture: Proactive, within: 0}", "{posture: Proactive, within: 9}",
    "{posture: Proactive, within: 10}", "{posture: Proactive, within: 10.5}",
    "{within: 60}", "{within: 1.5}", "{within: '00:10:00'}", "{within: PT1H}", "{within: P1D}",
    "{within: x}", "{within: -1}", "{within: null}", "{within: '60'}", "{within: [1]}",
    "{threshold: 5}", "{threshold: '5'}", "{threshold: 1.5}", "{threshold: 2.0}",
    "{threshold: 0}", "{threshold: x}", "{threshold: null}", "{threshold: true}",
    "{name: x}", "{name: null}", "{name: 5}", "{name: ''}", "{description: x}", "{description: null}",
    "{enabled: false}", "{enabled: 'no'}", "{enabled: null}", "{enabled: x}", "{enabled: 1}",
    "{parameters: {a: '{{ event.id }}', b: [1, {c: null}]}}", "{parameters: null}",
    "{parameters: {}}", "{parameters: x}", "{parameters: []}",
    "{job_variables: {image: x}}", "{job_variables: null}", "{job_variables: x}",
    "{schedule_after: 60}", "{schedule_after: PT1M}", "{schedule_after: -1}",
    "{schedule_after: null}", "{schedule_after: '00:00:30'}", "{schedule_after: x}",
    "{triggers: [{expect: [a]}, {}], require: all}", "{triggers: [{}, {}], require: any}",
    "{triggers: [{}, {}], require: 2}", "{triggers: [{}, {}], require: '2'}",
    "{triggers: [{}, {}], require: 3}", "{triggers: [{}], require: 0}",
    "{triggers: [{}], require: some}", "{triggers: [{}], require: 1.5}",
    "{triggers: [{}], require: null}", "{triggers: [{}], require: true}",
    "{triggers: [], require: all}", "{triggers: [], require: 1}", "{triggers: null, require: all}",
    "{triggers: x, require: all}", "{triggers: [x], require: all}",
    "{triggers: [{}], require: all, within: 60}", "{triggers: [{}], require: all, within: null}",
    "{triggers: [{}], require: all, within: x}", "{triggers: [{expect: x}], require: all}",
    "{triggers: [{name: 5, enabled: x}], require: all}",
    "{type: compound, triggers: [{}]}", "{type: compound, require: all}",
    "{triggers: [{expect: [b]}, {expect: [a]}], within: PT5M}", "{triggers: []}", "{triggers: x}",
    "{type: sequence}", "{type: sequence, triggers: [{}], require: all}",
    "{triggers: [{triggers: [{expect: [a]}, {}], require: 1}, {triggers: [{}]}]}",
    "{triggers: [{triggers: [{}], require: 2}]}", "{triggers: [{type: nope}]}",
    "{posture: Metric, metric: {name: lateness, threshold: 1, operator: '>'}}",
    "{type: metric, metric: {name: duration, threshold: '1.5', operator: '<=', range: 600}}",
    "{posture: Metric, metric: {name: successes, threshold: 1, operator: '<', firing_for: PT6M}}",
    "{posture: Metric}", "{posture: Metric, metric: {name: x, threshold: 1, operator: '>'}}",
    "{posture: Metric, metric: {name: lateness, threshold: 1, operator: '=='}}",
    "{posture: Metric, metric: {name: lateness, threshold: x, operator: '>'}}",
    "{posture: Metric, metric: {name: lateness, threshold: 1, operator: '>', range: 299}}",
    "{posture: Metric, metric: {name: lateness, threshold: 1}}", "{posture: Metric, metric: x}",
    "{posture: Metric, triggers: [{}]}", "{type: metric, posture: Reactive}",
    "{triggers: [{posture: Metric, metric: {name: lateness, threshold: 1, operator: '>'}}]}",
    "{triggers: [{posture: Metric, triggers: [{}]}]}", "{type: event, posture: Metric}",
]  # fmt: skip


@pytest.fixture(scope="module")
def in_prefect() -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """The automation that Prefect makes of a trigger, None where it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prefect.cli.deploy._triggers import _initialize_deployment_triggers
        from pydantic import ValidationError

    def ask(trigger: dict[str, Any]) -> dict[str, Any] | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                [found] = _initialize_deployment_triggers("daily", [trigger])
            except ValidationError:
                return None
        found.set_deployment_id(uuid.uuid4())
        made: dict[str, Any] = found.as_automation().model_dump(mode="json")
        return made

    return ask


def resolved(
    text: str, *, cloud: bool = True, **answers: Any
) -> tuple[tuple[Automation, ...], list[str]]:
    read = manifest.parse(text.encode(), "p.yaml")
    deployments, problems = manifest.resolve(
        read,
        mark="gitflow:x-0",
        pull_step={"gitops_flow.steps.pull_code": {}},
        default_version=None,
        flows={"f.py:g": FlowInfo("etl", None, None, {})},
        answers=manifest.Answers(**answers),
        default_work_pool="pool",
        cloud=cloud,
    )
    found = deployments[0].automations if deployments else ()
    return found, [f"{each.severity}: {each}" for each in problems]


def automations(*triggers: str, **answers: Any) -> tuple[Automation, ...]:
    found, problems = resolved(
        BASE + "  triggers:\n" + "".join(f"  - {t}\n" for t in triggers), **answers
    )
    assert problems == []
    return found


def asked_for(automation: Automation) -> dict[str, Any]:
    """The automation as Prefect would send it, with the sets of its trigger sorted."""
    action = {
        "parameters": automation.parameters,
        "job_variables": automation.job_variables,
        "schedule_after": automation.schedule_after,
    }
    enabled = automation.enabled is not False
    return {
        "name": automation.name,
        "description": automation.description,
        "enabled": enabled,
        "trigger": automation.trigger,
        "action": action,
    }


def as_we_compare(made: dict[str, Any]) -> dict[str, Any]:
    [action] = made["actions"]
    names = ("parameters", "job_variables", "schedule_after")
    return {
        **{name: made[name] for name in ("name", "description", "enabled")},
        "trigger": with_sorted_sets(made["trigger"]),
        "action": {name: action[name] for name in names},
    }


def with_sorted_sets(trigger: dict[str, Any]) -> dict[str, Any]:
    nested = (
        {"triggers": [with_sorted_sets(t) for t in trigger["triggers"]]}
        if "triggers" in trigger
        else {}
    )
    sets = {
        name: sorted(trigger[name]) for name in ("after", "expect", "for_each") if name in trigger
    }
    return {**trigger, **sets, **nested}


@pytest.mark.real
@pytest.mark.parametrize("text", TRIGGERS)
def test_trigger_becomes_the_automation_that_prefect_makes_of_it(
    text: str, in_prefect: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> None:
    trigger = yaml.safe_load(text)
    made = in_prefect(json.loads(json.dumps(trigger)))
    if made is None:
        with pytest.raises(ManifestError):
            automations(text)
        return
    [found] = automations(text)
    if not trigger.get("name") and "name" in trigger:
        made["name"] = "daily__automation_1"  # Prefect names it after the deployment's id
    assert asked_for(found) == as_we_compare(made)


def test_automations_are_numbered_from_1_in_order() -> None:
    found = automations("{}", "{name: own}", "{}")
    assert [each.name for each in found] == ["daily__automation_1", "own", "daily__automation_3"]


def test_trigger_has_every_default_filled_in() -> None:
    assert automations("{}") == (Automation("daily__automation_1", EVENT),)


def test_enabled_is_left_open_unless_it_is_written() -> None:
    assert [each.enabled for each in automations("{}", "{enabled: false}", "{enabled: true}")] == [
        None,
        False,
        True,
    ]


def test_parameters_keep_what_the_server_fills_in_from_the_event() -> None:
    text = "{parameters: {a: '{{ event.id }}', b: ['{{ event.payload.x }}'], c: '{{ $TEAM }}', d: '{{ build.tag }}'}}"
    [found] = automations(text, environ={"TEAM": "data"})
    assert found.parameters == {
        "a": "{{ event.id }}",
        "b": ["{{ event.payload.x }}"],
        "c": "data",
        "d": "{{ build.tag }}",
    }


def test_all_but_parameters_is_filled_in_before_it_is_judged() -> None:
    text = "{enabled: '{{ prefect.variables.on }}', within: '{{ $SECONDS }}', expect: ['{{ $EVENT }}']}"
    [found] = automations(text, environ={"SECONDS": "PT1M", "EVENT": "e"}, variables={"on": False})
    assert (found.enabled, found.trigger["within"], found.trigger["expect"]) == (False, 60.0, ["e"])


def test_value_that_is_wrong_after_filling_in_is_told_at_its_place() -> None:
    text = BASE + "  triggers:\n  - {threshold: '{{ $N }}'}\n"
    assert resolved(text, environ={"N": "many"}) == (
        (),
        [
            (
                "error: p.yaml:5:17: deployments[0] 'daily': triggers[0].threshold: "
                "expected a whole number, got 'many'"
            )
        ],
    )


def test_job_variables_keep_what_the_worker_fills_in() -> None:
    [found] = automations(
        "{job_variables: {a: '{{ prefect.blocks.secret.x }}', b: '{{ $B }}'}}", environ={"B": "1"}
    )
    assert found.job_variables == {"a": "{{ prefect.blocks.secret.x }}", "b": "1"}


def test_keys_that_prefect_ignores_in_a_trigger_are_warned_of() -> None:
    text = BASE + "  triggers:\n  - expects: [x]\n    triggers:\n    - {name: y, expect: [x]}\n"
    found = manifest.parse(text.encode(), "p.yaml").problems
    assert [f"{each.severity} {each}" for each in found] == [
        "warning p.yaml:5:5: deployments[0] 'daily': triggers[0]: Prefect ignores this key: 'expects'",
        "warning p.yaml:7:8: deployments[0] 'daily': triggers[0].triggers[0]: Prefect ignores this key: 'name'",
    ]


def test_misspelt_key_of_a_trigger_names_the_nearest() -> None:
    text = BASE + "  triggers:\n  - {expects: [x]}\n"
    [found] = manifest.parse(text.encode(), "p.yaml").problems
    assert found.hint == "did you mean 'expect'?"


def test_metric_trigger_is_for_prefect_cloud_only() -> None:
    metric = "{posture: Metric, metric: {name: lateness, threshold: 1, operator: '>'}}"
    text = f"{BASE}  triggers:\n  - {metric}\n  - triggers: [{{}}, {metric}]\n"
    assert resolved(text)[1] == []
    assert resolved(text, cloud=False)[1] == [
        "error: p.yaml:5:5: deployments[0] 'daily': triggers[0]: a metric trigger works on Prefect Cloud only (remove it)",
        "error: p.yaml:6:20: deployments[0] 'daily': triggers[1].triggers[1]: a metric trigger works on Prefect Cloud only (remove it)",
    ]


READ_BACK = [
    "{}",
    "{posture: Proactive, for_each: [b, a], match: {a: [x]}}",
    "{triggers: [{expect: [b, a]}, {posture: Proactive, within: PT1M}], require: '2'}",
    "{triggers: [{match_related: [{a: b}]}, {triggers: [{}], require: any}], within: 60}",
]


@pytest.mark.real
@pytest.mark.parametrize("text", READ_BACK)
def test_trigger_is_what_the_server_gives_back(text: str, prefect_server: SharedServer) -> None:
    [automation] = automations(text)
    body = {
        "name": automation.name,
        "trigger": automation.trigger,
        "actions": [{"type": "do-nothing"}],
    }
    made = prefect_server.call("POST", "/automations/", body)
    try:
        assert with_sorted_sets(without_ids(made["trigger"])) == automation.trigger
    finally:
        prefect_server.call("DELETE", f"/automations/{made['id']}")


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(inner) for key, inner in value.items() if key != "id"}
    return [without_ids(inner) for inner in value] if isinstance(value, list) else value
