"""Who names the release pointer after a deploy, and who a commit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gitops_flow import pin, plan
from gitops_flow.model import Deployment, Source
from gitops_flow.pin import PULL_CODE
from gitops_flow.plan import Pointer, ownership
from gitops_flow.plan import pointer as pointing
from gitops_flow.report.facts import pointer_lines

NAME = "gitflow_shop_0123abcd"
MARK = "gitflow:shop-0123abcd"
OLD, NEW, OTHER = "a" * 40, "b" * 40, "c" * 40
AT_OLD, AT_NEW = {"commit": OLD}, {"commit": NEW}


def deployment(commit: str, *, pointed: bool = False, **changes: Any) -> Deployment:
    steps = pin.point(({PULL_CODE: {"repository": "r", "commit": commit}},), NAME * pointed or None)
    base = Deployment("f", "d", "flow.py:f", tags=(MARK,), pull_steps=steps)
    return replace(base, **changes)


def live(commit: str, *, pointed: bool = False, **changes: Any) -> Deployment:
    return deployment(commit, pointed=pointed, id="1", paused=False, **changes)


def settled(
    desired: Deployment | None,
    there: Deployment | None,
    now: Any,
    *,
    whole: bool = True,
    respect: bool = True,
) -> plan.Plan:
    lives = [there] if there else []
    wanted = pointing.follow([desired] if desired else [], lives, NAME)
    planned = plan.make(wanted, lives, source_mark=MARK, adopt=False)
    planned = ownership.without_held(planned) if respect else planned
    return pointing.settle(planned, Pointer(NAME, now, AT_NEW), whole=whole)


def kept(planned: plan.Plan) -> list[list[str]]:
    """What the server keeps of each pull step that is written: the names of the inputs."""
    return [
        sorted(pin.inputs_of(step))
        for action in planned.writes
        if isinstance(action, plan.Create | plan.Update)
        for step in pin.stored(action.desired.pull_steps) or ()
    ]


POINTED, LITERAL = ["pin", "repository"], ["commit", "repository"]


def test_new_code_alone_moves_the_pointer_and_writes_no_deployment() -> None:
    planned = settled(deployment(NEW), live(OLD, pointed=True), AT_OLD)
    (action,) = planned.actions
    assert isinstance(action, plan.Update)
    assert (action.by_pointer, action.written) == (True, ())
    assert planned.pointer == Pointer(NAME, AT_OLD, AT_NEW)
    assert planned.literal == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"parameter_schema": {"type": "object", "title": "x"}},
        {"entrypoint": "other.py:f"},
        {"parameters": {"a": 1}},
        {"tags": (MARK, "new")},
    ],
)
def test_what_changes_with_its_code_is_written_before_the_pointer_moves(changed: Any) -> None:
    planned = settled(deployment(NEW, **changed), live(OLD, pointed=True), AT_OLD)
    assert kept(planned) == [LITERAL]
    assert pointing.precedes(planned.actions[0], Pointer(NAME, AT_OLD, AT_NEW))
    assert planned.pointer is not None
    assert [name for name, _ in planned.literal] == ["f/d"]


def test_a_change_that_leaves_the_code_as_it_is_keeps_the_pointer() -> None:
    planned = settled(deployment(NEW, tags=(MARK, "x")), live(NEW, pointed=True), AT_NEW)
    (action,) = planned.actions
    assert isinstance(action, plan.Update)
    assert [change.field for change in action.written] == ["tags"]
    assert (planned.pointer, planned.literal) == (None, ())


@pytest.mark.parametrize("now", [AT_OLD, AT_NEW, None])
def test_what_names_a_commit_names_the_pointer_at_its_next_change_after_that_has_moved(
    now: Any,
) -> None:
    planned = settled(deployment(NEW), live(OLD), now)
    assert kept(planned) == [POINTED]
    assert pointing.needs(planned.actions[0], Pointer(NAME, now, AT_NEW))
    assert not pointing.precedes(planned.actions[0], Pointer(NAME, now, AT_NEW))


def test_what_names_the_commit_that_is_deployed_is_not_written() -> None:
    planned = settled(deployment(NEW), live(NEW), AT_OLD)
    assert planned.writes == ()
    assert planned.literal[0][1].startswith("unchanged")


def test_no_version_is_written_to_what_named_the_pointer_before() -> None:
    ours = deployment(NEW, version="abcd1234", version_is_ours=True)
    assert settled(ours, live(NEW), AT_NEW).writes == ()
    assert settled(ours, live(NEW, pointed=True, version="12345678"), AT_NEW).writes == ()


@pytest.mark.parametrize("now", [None, "", "text", {"commit": "x"}])
def test_without_a_pointer_that_can_be_read_all_are_made_to_name_it(now: Any) -> None:
    planned = settled(deployment(NEW), live(NEW), now)
    assert kept(planned) == [POINTED]
    assert planned.pointer is not None


def test_a_new_deployment_names_the_pointer_and_is_made_after_that_has_moved() -> None:
    ours = deployment(NEW, version="abcd1234", version_is_ours=True)
    planned = settled(ours, None, AT_OLD)
    assert kept(planned) == [POINTED]
    assert pointing.needs(planned.actions[0], Pointer(NAME, AT_OLD, AT_NEW))
    assert planned.writes[0].desired.version is None  # type: ignore[union-attr]


@pytest.mark.parametrize(("now", "expected"), [(AT_OLD, LITERAL), (AT_NEW, POINTED)])
@pytest.mark.parametrize("there", [None, live(OLD)])
def test_alone_a_deployment_names_the_pointer_only_if_that_is_at_its_code(
    there: Deployment | None, now: Any, expected: list[str]
) -> None:
    planned = settled(deployment(NEW), there, now, whole=False)
    assert kept(planned) == [expected]
    assert planned.pointer is None


def test_deployed_alone_to_other_code_it_leaves_the_pointer() -> None:
    planned = settled(deployment(NEW), live(OLD, pointed=True), AT_OLD, whole=False)
    assert kept(planned) == [LITERAL]
    assert planned.literal == (("f/d", "deployed without the others"),)


def test_what_is_held_by_its_tag_alone_gets_its_commit_before_the_pointer_moves() -> None:
    held = live(OLD, pointed=True, tags=(MARK, ownership.HOLD_TAG))
    planned = settled(deployment(NEW), held, AT_OLD)
    (action,) = planned.actions
    assert isinstance(action, plan.Update)
    assert pin.Pin.of(action.desired.pull_steps).commit == OLD  # type: ignore[union-attr]
    assert kept(planned) == [LITERAL]
    assert action.fields == ("pull_steps",)


def test_a_rollback_takes_held_deployments_to_the_commit_and_not_to_the_pointer() -> None:
    tags = (MARK, ownership.HOLD_TAG)
    planned = settled(deployment(NEW, tags=tags), live(OLD, tags=tags), AT_OLD, respect=False)
    assert kept(planned) == [LITERAL]


@pytest.mark.parametrize(
    ("tags", "reason"),
    [((MARK,), "not in the manifest any more"), ((MARK, ownership.HOLD_TAG), "held")],
)
def test_what_the_manifest_has_no_more_keeps_the_code_that_it_has(
    tags: tuple[str, ...], reason: str
) -> None:
    planned = settled(None, live(OLD, pointed=True, tags=tags), AT_OLD)
    assert kept(planned) == [LITERAL]
    assert [item.name for item in planned.orphans] == ["d"]
    assert planned.literal == (("f/d", reason),)


@pytest.mark.parametrize(
    "steps",
    [
        ({"prefect.deployments.steps.git_clone": {"repository": "r", "commit_sha": NEW}},),
        ({PULL_CODE: {"repository": "r", "commit": OTHER}},),
        None,
    ],
)
def test_what_is_not_pinned_by_our_step_to_this_code_stays_as_it_is_written(steps: Any) -> None:
    planned = settled(deployment(NEW, pull_steps=steps), None, AT_OLD)
    (action,) = planned.writes
    assert isinstance(action, plan.Create)
    assert action.desired.pull_steps == steps


def test_without_the_mode_each_names_its_commit_and_the_pointer_goes() -> None:
    there = live(NEW, pointed=True)
    planned = plan.make([deployment(NEW)], [there], source_mark=MARK, adopt=False)
    assert kept(planned) == [LITERAL]
    gone = Pointer(NAME, None, None)
    assert pointing.leave(planned, gone).pointer == gone


@pytest.mark.parametrize("desired", [[deployment(NEW)], []])
def test_a_pointer_that_something_held_still_names_stays(desired: list[Deployment]) -> None:
    there = live(NEW, pointed=True, tags=(MARK, ownership.HOLD_TAG))
    planned = plan.make(desired, [there], source_mark=MARK, adopt=False)
    planned = ownership.without_held(planned)
    assert pointing.leave(planned, Pointer(NAME, AT_NEW, None)).pointer is None


@pytest.mark.parametrize(("value", "goes"), [(AT_NEW, True), ("a user's own", False)])
def test_a_pointer_that_was_left_when_the_mode_was_given_up_goes_and_nothing_else_does(
    value: Any, goes: bool
) -> None:
    planned = plan.make([deployment(NEW)], [live(NEW)], source_mark=MARK, adopt=False)
    left = pointing.leave(planned, Pointer(NAME, value, None))
    assert (left.writes, left.pending) == ((), goes)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (None, "new, at bbbbbbbbbbbb"),
        (AT_OLD, "aaaaaaaaaaaa -> bbbbbbbbbbbb"),
        ("a user's own", "something else -> bbbbbbbbbbbb"),
        ({"commit": "--option"}, "something else -> bbbbbbbbbbbb"),
    ],
)
def test_a_plan_says_what_the_pointers_variable_held(now: Any, told: str) -> None:
    (line,) = pointer_lines(settled(None, None, now))
    assert line.endswith(f": {told}")


def test_a_source_knows_its_pointers_by_their_digest() -> None:
    source = Source("shop", "github.com/a/b", "prefect.yaml", path="/src/shop")
    renamed = replace(source, name="new")
    assert renamed.is_own_pointer(source.pointer)
    assert not renamed.is_own_pointer(replace(source, manifest="other.yaml").pointer)
    assert not renamed.is_own_pointer(f"mine_{source.mark[-8:]}")
    before = replace(source, identity="/src/shop")
    assert source.is_own_pointer(before.pointer)


def test_a_hold_gives_a_deployment_its_commit_in_the_same_write() -> None:
    (action,) = ownership.switch_hold([live(OLD, pointed=True)], hold=True).actions
    assert isinstance(action, plan.Update)
    assert [change.field for change in action.written] == ["tags", "pull_steps"]
    assert pin.stored(action.desired.pull_steps) == [
        {PULL_CODE: {"repository": "r", "commit": OLD}}
    ]


def test_a_pin_is_read_through_its_pointer_and_stored_without_what_that_tells() -> None:
    kept_steps = ({PULL_CODE: {"repository": "r", "pin": f"{{{{prefect.variables.{NAME}}}}}"}},)
    value = {"commit": OLD, "source": {"name": "s"}, "release": "sig"}
    followed = pin.follow(kept_steps, {NAME: value})
    found = pin.Pin.of(followed)
    assert found is not None
    assert (found.commit, found.signature, found.pointer) == (OLD, "sig", NAME)
    assert tuple(pin.stored(followed) or ()) == kept_steps
    assert pin.follow(kept_steps, {}) == kept_steps
    assert pin.Pin.of(kept_steps) is None
    assert pin.pointer_of(kept_steps) == NAME


def test_a_pointer_has_what_a_literal_pin_has_and_gets_its_signature_later() -> None:
    made = pin.Pin(("r",), NEW, signed=True, origin={"name": "s"})
    signature = f"object {NEW}\ntype commit\n"
    value = pin.sign_value(made.value(), signature)
    assert value == {"commit": NEW, "source": {"name": "s"}, "release": signature}
    assert pin.is_at({"commit": NEW, "release": f"{signature}another"}, value)
    for other in (None, "junk", f"object {OLD}\n"):
        assert not pin.is_at({"commit": NEW, "release": other}, value)


def test_a_literal_pin_with_the_signature_of_something_else_is_written_anew() -> None:
    wanted = pin.Pin(("r",), NEW, signed=True).step()
    right, wrong = (
        pin.comparable([{PULL_CODE: {**wanted[PULL_CODE], "release": f"object {each}\n"}}])
        for each in (NEW, OLD)
    )
    assert pin.comparable([wanted]) == right != wrong


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Shop Töol-2", "gitflow_shop_t_ol_2_"), ("x" * 500, "gitflow_" + "x" * 200 + "_")],
)
def test_a_pointers_name_is_one_that_prefect_takes(name: str, expected: str) -> None:
    source = Source(name, "github.com/a/b", "prefect.yaml")
    assert source.pointer == expected + source.mark[-8:]
