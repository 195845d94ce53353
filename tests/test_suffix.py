"""A copy of a source under a suffix: its names, its mark, and that nothing of it runs by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitops_flow import deploy, manifest, names, plan, prefect, settings
from gitops_flow.buildsteps import StepPolicy
from gitops_flow.deploy import DeployRequest, Options, Release, Which, choice, source, working_tree
from gitops_flow.errors import ManifestError, RefusedError, UsageError
from gitops_flow.git.repository import Author
from gitops_flow.model import Automation, Deployment, PrefectConnection, Schedule, Source
from tests.support.manifests import one
from tests.support.prefect import SharedServer
from tests.support.project import NearProject
from tests.support.repo import Repo

SHOP = Source("shop", "github.com/you/shop", "prefect.yaml")
CRON = {"cron": "0 6 * * *"}
EVENT = {"type": "event", "expect": ["a"], "posture": "Reactive"}


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("kim", "-kim"),
        ("-kim", "-kim"),
        ("Feature_1.2", "-Feature_1.2"),
        ("feature/a b", "-feature-a-b.13250f2a"),
        ("später", "-sp-ter.bfaef50e"),
        ("a" * 61, f"-{'a' * 51}.35d5fc17"),
    ],
)
def test_a_suffix_holds_what_a_name_a_tag_and_a_glob_can(text: str, suffix: str) -> None:
    assert names.suffix(text) == suffix


@pytest.mark.parametrize("text", ["", "-", "--", " ", "/"])
def test_a_suffix_of_which_nothing_is_left_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at least one letter or digit"):
        names.suffix(text)


# Branches that become alike when what is not allowed is only replaced.
BRANCHES = st.text(alphabet="a1-./_é", min_size=1, max_size=8).filter(
    lambda text: any(map(str.isalnum, text)) and not text.startswith("-")
)


@given(BRANCHES, BRANCHES)
def test_two_branches_never_have_one_suffix(one: str, other: str) -> None:
    assert (names.suffix(one) == names.suffix(other)) == (one == other)


def test_a_branch_that_is_called_like_the_suffix_of_another_has_one_of_its_own() -> None:
    taken = names.suffix("feature/a")
    assert names.suffix(taken) != taken


def test_a_copy_and_an_environment_are_sources_of_their_own() -> None:
    copies = [
        SHOP,
        replace(SHOP, suffix="-kim"),
        replace(SHOP, environment="kim"),
        replace(SHOP, environment="kim", suffix="-kim"),
        replace(SHOP, manifest="prefect.yaml\n\n-kim"),
    ]
    assert len({each.mark for each in copies}) == len({each.pointer for each in copies}) == 5


def test_the_mark_of_a_copy_is_too_long_to_be_met_by_trying_names_of_branches() -> None:
    assert SHOP.mark == "gitflow:shop-28cf5303"
    copy = replace(SHOP, name="shop-kim", suffix="-kim", former=("/srv/shop",))
    for mark in (copy.mark, *copy.former_marks):
        assert len(mark.removeprefix("gitflow:shop-kim-")) == 16
    assert plan.ownership.owned([copy.mark], [replace(copy, name="other").mark])
    assert not plan.ownership.owned([copy.mark], [SHOP.mark])


def test_names_end_in_the_suffix_and_all_that_starts_runs_is_off() -> None:
    found = one(
        "schedules: [{cron: '0 6 * * *', active: true}, {interval: 60}]",
        "triggers: [{expect: [a]}, {expect: [b], enabled: true, name: on b}]",
        suffix="-kim",
    )
    assert found.full_name == "etl/daily-kim"
    assert [each.active for each in found.schedules] == [False, False]
    assert [(each.name, each.enabled) for each in found.automations] == [
        ("daily-kim__automation_1", False),
        ("on b-kim", False),
    ]


COPY = replace(SHOP, name="shop-kim", suffix="-kim")


def _action(
    *,
    live_schedules: tuple[Schedule, ...] = (),
    live_triggers: tuple[Automation, ...] = (),
    **more: Any,
) -> plan.Action:
    """The plan for a copy with one schedule and one trigger, against what is there."""
    want = Deployment("etl", "d-kim", "a.py:f", tags=(COPY.mark,), dormant=True)
    want = replace(
        want,
        schedules=(Schedule(CRON, active=False),),
        automations=(Automation("t", EVENT, enabled=False),),
    )
    have = replace(want, schedules=live_schedules, paused=False, id="d", flow_id="f")
    options = {"tags": (COPY.mark,), "adopt": False} | more
    adopt = options.pop("adopt")
    (action,) = plan.make(
        [want],
        [replace(have, **options)],
        source_mark=COPY.mark,
        adopt=adopt,
        automations={"d": live_triggers},
    ).actions
    return action


def _live(on: bool) -> dict[str, Any]:
    return {
        "live_schedules": (Schedule(CRON, active=on, id="s"),),
        "live_triggers": (Automation("t", EVENT, enabled=on, id="t", tags=(COPY.mark,)),),
    }


@pytest.mark.parametrize("on", [True, False])
def test_what_somebody_switched_on_in_a_copy_stays_on(on: bool) -> None:
    action = _action(**_live(on))
    assert isinstance(action, plan.Unchanged)
    told = [
        (each.field, each.before, each.after) for each in plan.drift(action.desired, action.live)
    ]
    assert told == (
        [
            ('schedules[cron "0 6 * * *" UTC].active', True, False),
            ("triggers[t].enabled", True, False),
        ]
        if on
        else []
    )


def test_what_is_added_to_a_copy_is_off() -> None:
    action = _action()
    assert isinstance(action, plan.Update)
    assert [each.active for each in action.schedules.add] == [False]
    assert [each.enabled for each in action.automations.add] == [False]


def test_a_copy_takes_over_nothing_by_itself() -> None:
    action = _action(**_live(True), tags=())
    assert isinstance(action, plan.Conflict)
    assert action.reason == "etl/d-kim is there already, and was not made under this suffix"


def test_what_a_copy_takes_over_when_it_is_told_to_is_switched_off() -> None:
    action = _action(**_live(True), tags=(), adopt=True)
    assert isinstance(action, plan.Update)
    assert [each.desired.active for each in action.schedules.change] == [False]
    assert [each.desired.enabled for each in action.automations.change] == [False]


LISTED = """\
name: shop
deployments:
- {name: nightly, entrypoint: 'a.py:load_all'}
- {name: night-kim, entrypoint: 'b.py:f'}
- {name: weekly, entrypoint: 'c.py:f'}
"""


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("nightly", ["nightly"]),
        ("nightly-kim", ["nightly"]),
        ("load-all/nightly-kim", ["nightly"]),
        ("*ly-kim", ["nightly", "weekly"]),
        ("night-kim", ["night-kim"]),
        ("night-kim-kim", ["night-kim"]),
    ],
)
def test_a_deployment_of_a_copy_is_meant_by_both_of_its_names(
    tmp_path: Path, name: str, chosen: list[str]
) -> None:
    tree = _tree(tmp_path, LISTED)
    project = choice.select(_read(tree), DeployRequest(tree, Which((name,))))
    assert [each.name for each in project.chosen] == chosen
    assert names.both("etl/nightly-kim", "-kim") == (
        "nightly-kim",
        "etl/nightly-kim",
        "nightly",
        "etl/nightly",
    )


def _tree(directory: Path, text: str | None, suffix: str | None = "kim") -> deploy.WorkingTree:
    repo = Repo(directory / "r")
    repo.git("remote", "add", "origin", "https://github.com/you/shop.git")
    if text is not None:
        repo.write("prefect.yaml", text)
    return working_tree(repo.path, suffix=suffix, may_be_gone=text is None)


def _settings(tree: deploy.WorkingTree) -> settings.Settings:
    return settings.load(os.environ, tree.directory)


def _read(tree: deploy.WorkingTree) -> source.Project:
    return source.read(tree, _settings(tree))


def test_a_suffix_that_is_given_goes_before_the_manifests(tmp_path: Path) -> None:
    text = f"gitflow: {{suffix: -dev}}\n{LISTED}"
    tree = _tree(tmp_path, text)
    asked, said = _read(tree).source, _read(replace(tree, suffix=None)).source
    assert (asked.suffix, asked.name) == ("-kim", "shop-kim")
    assert (said.suffix, said.name) == ("-dev", "shop-dev")


@pytest.mark.parametrize("suffix", ["", "-", "/"])
def test_an_empty_suffix_is_no_way_to_deploy_the_original(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(UsageError, match="is no suffix: a suffix has at least one letter"):
        _read(_tree(tmp_path, LISTED, suffix))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("''", "gitflow.suffix: a suffix has at least one letter or digit"),
        ("'{{ $USER }}'", "gitflow.suffix: expected plain text, got a placeholder"),
        ("1", "gitflow.suffix: expected text, got the number 1"),
    ],
)
def test_a_manifests_suffix_is_judged_at_its_place(value: str, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.parse(f"gitflow: {{suffix: {value}}}\n{LISTED}".encode(), "p.yaml")
    (told,) = caught.value.lines
    assert told.startswith(f"p.yaml:1:19: {problem}")


BROKEN = ["deployments: [", "gitflow: {suffix: ''}\n", "- x\n", None]


@pytest.mark.parametrize("text", BROKEN)
def test_a_copy_whose_suffix_is_given_is_found_without_its_manifest(
    tmp_path: Path, text: str | None
) -> None:
    whole = _read(_tree(tmp_path / "whole", LISTED)).source
    tree = _tree(tmp_path / "broken", text)
    left = source.find(tree, _settings(tree), may_be_gone=True)
    assert plan.ownership.owned([whole.mark], [left.source.mark])
    assert [each.severity for each in left.manifest.problems] == ["warning"]
    with pytest.raises(ManifestError):
        source.find(replace(tree, suffix=None), _settings(tree), may_be_gone=True)
    with pytest.raises(ManifestError):
        source.find(tree, _settings(tree))


class Shop:
    """A source that is deployed as it is, and as copies, to a real server."""

    def __init__(
        self, directory: Path, server: SharedServer, client: prefect.Client, name: str
    ) -> None:
        self.project = NearProject(directory / "shop", server)
        self.repo = self.project.repo
        self.server = server
        self.name = name
        self.environ = {**os.environ, "PREFECT_API_URL": server.api_url}
        self.settings = settings.load(self.environ, self.repo.path)
        self.client = client
        self.policy = StepPolicy(None, self.environ)

    def write(self, *deployments: str, code: int = 1) -> None:
        lines = [f"name: {self.name}", "gitflow: {release: atomic}", "deployments:"]
        for name in deployments:
            lines += [
                f"- name: {name}",
                "  entrypoint: flow.py:hello",
                "  work_pool: {name: gitflow-tests}",
                "  schedules: [{cron: '0 3 * * *'}]",
                f"  triggers: [{{expect: [{self.name}.done]}}]",
            ]
        self.repo.write("prefect.yaml", "\n".join(lines) + "\n")
        self.repo.write(
            "flow.py",
            f"from prefect import flow\n@flow(name='{self.name}')\ndef hello(): return {code}\n",
        )

    def tree(self, suffix: str | None = None) -> deploy.WorkingTree:
        return working_tree(self.repo.path, suffix=suffix, may_be_gone=True)

    def deploy(self, suffix: str | None = None, *names: str, **options: bool) -> dict[str, str]:
        """What became of each deployment."""
        which = Which(names, everything=not names)
        request = DeployRequest(self.tree(suffix), which, Options(**options))
        report = deploy.run(
            request, self.settings, self.environ, author=Author(), policy=self.policy
        )
        assert report.ok, report.results
        return {each.full_name.partition("/")[2]: each.status for each in report.results}

    def pending(self, suffix: str | None) -> bool:
        request = DeployRequest(self.tree(suffix), Which(everything=True))
        return deploy.preview(
            request, self.settings, self.environ, author=Author(), policy=self.policy
        ).pending

    def live(self) -> dict[str, Deployment]:
        everything = prefect.live(self.client, names=None, mark=None)
        own = [each for each in everything if each.flow_name == self.name]
        marks = {mark for each in own for mark in each.marks}
        found = [prefect.live_automations(self.client, mark) for mark in marks]
        triggers = {key: value for each in found for key, value in each.items()}
        return {each.name: each for each in plan.attach(own, triggers)}

    def pointers(self) -> set[str]:
        """The commits that the release pointers of this source and its copies are at."""
        stem = f"gitflow_{self.name.replace('-', '_')}"
        listed = self.server.call("POST", "/variables/filter", {"limit": 200})
        return {each["value"]["commit"] for each in listed if each["name"].startswith(stem)}


@pytest.fixture
def shop(
    tmp_path: Path, prefect_server: SharedServer, prefect_worker: Callable[..., Any], namespace: str
) -> Iterator[Shop]:
    prefect_worker()
    with prefect.Client(PrefectConnection(prefect_server.api_url)) as client:
        yield Shop(tmp_path, prefect_server, client, namespace)


@pytest.mark.real
def test_a_copy_lives_and_goes_without_touching_the_original(shop: Shop) -> None:
    shop.write("day", "night")
    assert shop.deploy() == {"day": "created", "night": "created"}
    original = shop.live()
    assert original["day"].schedules[0].active
    told = shop.project.gitflow("deploy", "--all", "--suffix", "-kim").stdout
    assert "/day-kim" in told
    assert "2 created" in told
    assert not shop.pending("kim")
    live = shop.live()
    assert live["day-kim"].schedules[0].active is live["day-kim"].automations[0].enabled is False
    assert live["day"].automations[0].enabled

    # Somebody tries the copy out; a later deploy leaves that alone.
    schedule = live["day-kim"].schedules[0].id
    where = f"/deployments/{live['day-kim'].id}/schedules/{schedule}"
    shop.server.call("PATCH", where, {"active": True})
    assert not shop.pending("kim")
    shop.write("day", "night", code=2)
    assert set(shop.deploy("kim").values()) == {"updated"}
    assert shop.live()["day-kim"].schedules[0].active
    assert len(shop.pointers()) == 2

    # Back to the first release, of the copy alone.
    back = DeployRequest(Release(shop.tree("kim")), Which(("day",)))
    report = deploy.run(back, shop.settings, shop.environ, author=Author(), policy=shop.policy)
    assert [each.full_name for each in report.results] == [f"{shop.name}/day-kim"]
    assert shop.deploy("kim", "day-kim") == {"day-kim": "updated"}

    shop.write("day", code=2)
    assert shop.deploy("kim", prune=True, force_prune=True)["night-kim"] == "deleted"
    assert set(shop.live()) == {"day", "night", "day-kim"}

    shop.repo.write("prefect.yaml", "deployments: [")
    told = shop.project.gitflow("destroy", "--suffix", "kim", "--yes").stdout
    assert "it cannot be read: the repository alone says which source this is" in told
    assert f"{shop.name}/day-kim  deleted" in told
    assert shop.live() == original
    assert len(shop.pointers()) == 1


@pytest.mark.real
def test_a_copy_is_refused_where_its_name_is_somebody_elses(shop: Shop) -> None:
    shop.write("day", "day-kim")
    shop.deploy()
    original = shop.live()
    with pytest.raises(RefusedError, match="in the way"):
        shop.deploy("kim", "day")
    assert shop.live() == original
