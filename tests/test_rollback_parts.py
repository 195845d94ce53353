"""What holds a deployment, and which inputs a rollback of the code alone changes; no server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitops_flow import pin, plan
from gitops_flow.deploy import DeployRequest, Release, Which, releases, working_tree
from gitops_flow.errors import UsageError
from gitops_flow.model import Deployment
from gitops_flow.pin import PULL_CODE, Pin
from gitops_flow.plan import ownership
from tests.support.releases import Shop

MARK = "gitflow:shop-01234567"
LIVE = Deployment("flow", "main", "flow.py:f", tags=("team", MARK), id="1", flow_id="2")
HELD = replace(LIVE, tags=(*LIVE.tags, ownership.HOLD_TAG))


def _plan(
    *live: Deployment, desired: tuple[Deployment, ...] = (), prune: bool = False
) -> plan.Plan:
    return plan.make(list(desired), live, source_mark=MARK, adopt=False, prune=prune)


@pytest.mark.parametrize("description", [None, "changed"])
def test_a_held_deployment_is_passed_by_whether_it_differs_or_not(description: str | None) -> None:
    wanted = replace(LIVE, id=None, description=description)
    (action,) = ownership.without_held(_plan(HELD, desired=(wanted,))).actions
    assert isinstance(action, plan.Held)
    assert action.full_name == "flow/main"


def test_a_held_deployment_is_not_deleted() -> None:
    pruned = ownership.without_held(_plan(HELD, prune=True))
    assert (pruned.deletes, pruned.writes) == ((), ())


def test_what_is_not_held_is_planned_as_ever() -> None:
    planned = _plan(LIVE, desired=(replace(LIVE, id=None, description="changed"),))
    assert ownership.without_held(planned) == planned


def test_another_sources_deployment_stays_a_conflict_when_it_is_held() -> None:
    others = replace(HELD, tags=("gitflow:other-76543210", ownership.HOLD_TAG))
    (action,) = ownership.without_held(_plan(others, desired=(replace(LIVE, id=None),))).actions
    assert isinstance(action, plan.Conflict)


def test_holding_and_releasing_writes_the_tags_and_nothing_else() -> None:
    (action,) = ownership.switch_hold([LIVE, HELD], hold=True).actions
    assert isinstance(action, plan.Update)
    assert (action.fields, action.desired.tags) == (("tags",), HELD.tags)
    (back,) = ownership.switch_hold([LIVE, HELD], hold=False).actions
    assert isinstance(back, plan.Update)
    assert (back.fields, back.desired.tags) == (("tags",), LIVE.tags)


@pytest.mark.parametrize(
    ("live", "asked", "held"), [(LIVE, False, False), (LIVE, True, True), (HELD, False, True)]
)
def test_a_rollback_keeps_a_hold_and_sets_one_when_asked(
    live: Deployment, asked: bool, held: bool
) -> None:
    (kept,) = ownership.with_holds([replace(LIVE, id=None)], [live], hold=asked)
    assert ownership.is_held(kept) is held


NEW = Pin(("new",), "b" * 40, origin={"dirty": 1})


def _moved(step: dict[str, Any], new: Pin = NEW) -> dict[str, Any]:
    (moved,) = pin.repin([step], new)
    return moved


def test_only_the_commit_and_what_goes_with_it_change_in_a_pull_step() -> None:
    before = {
        "repository": "kept",
        "commit": "a" * 40,
        "directory": "kept",
        "source": {"dirty": 0},
        "release": "old signature",
    }
    assert _moved({PULL_CODE: before})[PULL_CODE] == {
        "repository": "kept",
        "commit": "b" * 40,
        "directory": "kept",
        "source": {"dirty": 1},
    }


def test_a_signed_rollback_brings_its_own_signature() -> None:
    before = {"repository": "r", "commit": "a" * 40, "release": "old"}
    after = _moved({PULL_CODE: before}, replace(NEW, signed=True, signature="new"))
    assert after[PULL_CODE]["release"] == "new"


def test_prefects_own_step_gets_the_commit_and_the_directory_that_carries_it() -> None:
    name = "prefect.deployments.steps.git_clone"
    before = {
        "repository": "r",
        "commit_sha": "a" * 40,
        "clone_directory_name": f"shop-{'a' * 12}",
        "access_token": "{{ prefect.blocks.secret.t }}",
    }
    assert _moved({name: before}) == {
        name: {**before, "commit_sha": "b" * 40, "clone_directory_name": f"shop-{'b' * 12}"}
    }


LIBRARY = "1" * 40


@pytest.mark.parametrize(
    "other",
    [
        {PULL_CODE: {"repository": "library", "commit": LIBRARY}},
        {"prefect.deployments.steps.git_clone": {"repository": "r", "commit_sha": LIBRARY}},
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_pull_step_that_fetches_another_commit_is_not_moved_with_ours(
    other: dict[str, Any], first: bool
) -> None:
    def steps(ours: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        return (other, {PULL_CODE: ours}) if first else ({PULL_CODE: ours}, other)

    old = {"repository": "r", "commit": "a" * 40, "source": None}
    before = steps(old)
    assert pin.repin(before, NEW) == steps({**old, "commit": "b" * 40, "source": {"dirty": 1}})
    pointing = pin.point(before, "gitflow_x")
    placeholder = "{{ prefect.variables.gitflow_x }}"
    assert pin.stored(pointing) == list(steps({"repository": "r", "pin": placeholder}))
    assert pin.point(pointing, None) == before
    known = Pin.of(before)
    assert known is not None
    assert (known.commit, known.others) == ("a" * 40, (pin.name_of(other),))


@pytest.mark.parametrize(
    "step",
    [
        {"prefect.deployments.steps.set_working_directory": {"directory": "/x"}},
        {"prefect.deployments.steps.git_clone": {"repository": "r", "branch": "main"}},
        {"prefect.deployments.steps.run_shell_script": None},
    ],
)
def test_other_steps_stay_as_they_are(step: dict[str, Any]) -> None:
    assert _moved(step) == step


@pytest.mark.parametrize(
    ("name", "hint"), [("mian", "did you mean 'main'?"), ("other", "it has flow/main")]
)
def test_going_back_with_a_deployment_that_is_not_there_names_it(
    tmp_path: Path, name: str, hint: str
) -> None:
    shop = Shop(tmp_path)
    shop.release("1\n")
    project: Any = SimpleNamespace(
        settings=SimpleNamespace(cache_dir=tmp_path / "cache"),
        repository=shop.found,
        target=shop.target,
        source=shop.source,
    )
    shop.repo.write("prefect.yaml", "deployments: []\n")
    origin = Release(working_tree(shop.repo.path))
    server: Any = SimpleNamespace(live=lambda _: [LIVE])
    with pytest.raises(UsageError, match=f"no deployment '{name}' on the server") as error:
        releases.look_up(project, origin, DeployRequest(origin, Which((name,))), server)
    assert error.value.hint == hint
