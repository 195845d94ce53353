"""No secret is in what a plan shows, wherever a placeholder or a hand has put it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitops_flow import plan
from gitops_flow.model import Deployment, Json
from tests.support.manifests import resolve

BASE = "deployments:\n- name: a\n  entrypoint: f.py:g\n  work_pool: {name: p%s}\n"
TOKEN = {"secret/tok": {"value": "new-secret"}}
BLOCK = "'{{ prefect.blocks.secret.tok }}'"


def shown(desired: Deployment, **live: Json) -> dict[str, tuple[str | None, str | None]]:
    """What a plan shows of an update from ``desired`` with ``live`` in its place."""
    before = replace(desired, id="1", secrets=(), secret_fields=(), work_queue="default", **live)
    mark = "gitflow:s-00000000"
    made = plan.make(
        [desired], [replace(before, tags=(*before.tags, mark))], source_mark=mark, adopt=True
    )
    return {line.path: (line.before, line.after) for line in plan.lines(made.actions[0])}


def desired(text: str, **given: Json) -> Deployment:
    [found], _ = resolve(text, **given)
    return found


def test_a_parameter_from_a_block_is_masked_before_and_after() -> None:
    item = desired(BASE % "" + f"  parameters: {{who: {BLOCK}, times: 2}}\n", blocks=TOKEN)
    lines = shown(item, parameters={"who": "old-secret", "times": 1})
    assert lines == {"parameters.who": ("****", "****"), "parameters.times": ("1", "2")}


def test_a_block_deep_in_a_parameter_that_was_plain_before_is_masked() -> None:
    item = desired(BASE % "" + f"  parameters: {{db: {{url: {BLOCK}}}}}\n", blocks=TOKEN)
    assert shown(item, parameters={"db": "old-secret"}) == {"parameters.db": ("****", "****")}


@pytest.mark.parametrize("line", ["description", "version"])
def test_a_text_from_a_block_is_masked_before_and_after(line: str) -> None:
    item = desired(BASE % "" + f"  {line}: 'x {BLOCK[1:-1]}'\n", blocks=TOKEN)
    assert shown(item, **{line: "x old-secret"})[line] == ("****", "****")


def test_tags_from_a_block_are_masked() -> None:
    item = desired(BASE % "" + f"  tags: [{BLOCK}]\n", blocks=TOKEN)
    assert shown(item, tags=("old-secret",))["tags"] == ("****", "****")


def test_parameters_of_a_schedule_from_a_block_are_masked() -> None:
    text = BASE % "" + f"  schedules: [{{cron: '0 1 * * *', parameters: {{p: {BLOCK}}}}}]\n"
    item = desired(text, blocks=TOKEN)
    assert set(shown(item, schedules=())) == {"schedules"}
    assert "secret" not in str(shown(item, schedules=()))


def test_a_value_under_a_secret_key_is_masked_under_any_other_key() -> None:
    jobs = ", job_variables: {env: {DB_PASSWORD: '{{ $V }}', PLAIN: 'x={{ $V }}'}}"
    item = desired(BASE % jobs, env={"V": "new-secret"})
    before = {"env": {"DB_PASSWORD": "old-secret", "PLAIN": "x=old-secret"}}
    assert shown(item, job_variables=before) == {
        "job_variables.env.DB_PASSWORD": ("****", "****"),
        "job_variables.env.PLAIN": ("x=****", "x=****"),
    }


def test_a_variable_named_like_a_secret_is_masked_in_a_pull_step() -> None:
    text = "pull:\n- a.run: {script: 'echo {{ $PGPASS }}'}\n" + BASE % ""
    item = desired(text, env={"PGPASS": "new-secret"})
    made = plan.make([item], [], source_mark="gitflow:s-00000000", adopt=False)
    assert "new-secret" not in str(plan.lines(made.actions[0]))


def test_a_placeholder_is_shown_for_it_is_no_secret() -> None:
    item = desired(BASE % f", job_variables: {{env: {{TOKEN: {BLOCK}}}}}")
    assert shown(item, job_variables={}) == {
        "job_variables.env.TOKEN": (None, "{{ prefect.blocks.secret.tok }}")
    }
