"""Whose turn it is: by a clock of the test, in no time."""

from __future__ import annotations

import random
import threading

import pytest

from gitops_flow.controller import queue
from gitops_flow.controller.queue import Alone, Outcome, Queue, Schedule, Turn
from tools.scale import Clock, Simulation


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schedule(clock: Clock) -> Schedule:
    return Schedule(4, clock=clock, random=lambda: 1.0)


def _key(schedule: Schedule) -> str | None:
    turn = schedule.take()
    return turn.key if turn else None


def test_what_is_asked_for_many_times_has_one_turn(schedule: Schedule) -> None:
    for _ in range(1000):
        schedule.add("a")
    assert [_key(schedule), _key(schedule)] == ["a", None]
    schedule.finish("a", Outcome.DONE)
    assert _key(schedule) is None


def test_an_earlier_time_counts_and_a_later_one_does_not(schedule: Schedule, clock: Clock) -> None:
    schedule.add("a", after=50)
    schedule.add("a", after=10)
    schedule.add("a", after=90)
    assert schedule.next_due() == clock.now + 10
    clock.now += 10
    assert _key(schedule) == "a"
    schedule.finish("a", Outcome.DONE)
    assert schedule.next_due() is None


def test_a_trigger_during_the_work_has_it_run_once_more(schedule: Schedule) -> None:
    schedule.add("a")
    assert _key(schedule) == "a"
    schedule.add("a")
    schedule.add("a")
    assert _key(schedule) is None
    schedule.finish("a", Outcome.DONE)
    assert [_key(schedule), _key(schedule)] == ["a", None]


def test_a_look_answers_the_last_trigger_before_it(schedule: Schedule, clock: Clock) -> None:
    schedule.add("a", after=100)
    clock.now += 1
    schedule.add("a")
    clock.now += 1
    schedule.add("a")
    clock.now += 1
    assert schedule.take() == Turn("a", clock.now - 1)


def test_what_is_handed_back_still_answers_its_old_trigger(
    schedule: Schedule, clock: Clock
) -> None:
    schedule.add("a")
    turn = schedule.take()
    assert turn is not None
    clock.now += 5
    schedule.add("a", asked=turn.asked)
    schedule.finish("a", Outcome.UNTRIED)
    assert schedule.take() == turn


def test_failures_are_tried_later_and_later_up_to_a_bound_and_success_forgets_them(
    schedule: Schedule, clock: Clock
) -> None:
    schedule.add("a")
    pauses = []
    for _ in range(14):
        assert _key(schedule) == "a"
        schedule.finish("a", Outcome.FAILED)
        due = schedule.next_due()
        assert due is not None
        pauses.append(due - clock.now)
        clock.now = due
    assert pauses[:4] == [2, 4, 8, 16]
    assert set(pauses[9:]) == {queue.LONGEST_BACKOFF}
    assert _key(schedule) == "a"
    schedule.finish("a", Outcome.DONE)
    schedule.add("a")
    assert _key(schedule) == "a"
    schedule.finish("a", Outcome.FAILED)
    assert schedule.next_due() == clock.now + queue.BACKOFF


def test_pauses_are_spread_so_that_many_do_not_come_back_together(clock: Clock) -> None:
    schedule = Schedule(1000, clock=clock, random=random.Random(1).random)
    for number in range(1000):
        schedule.add(str(number))
        schedule.finish(_key(schedule) or "", Outcome.FAILED)
    clock.now += queue.BACKOFF * 0.75
    half = sum(schedule.take() is not None for _ in range(1000))
    assert 400 < half < 600


def test_a_trigger_has_a_failing_source_looked_at_before_its_next_try_which_stays_due(
    schedule: Schedule, clock: Clock
) -> None:
    schedule.add("a")
    schedule.take()
    schedule.finish("a", Outcome.FAILED)
    schedule.add("a")
    turn = schedule.take()
    assert turn == Turn("a", clock.now, retry=False)
    schedule.finish("a", Outcome.UNTRIED)
    clock.now += queue.BACKOFF
    assert schedule.take() == Turn("a", clock.now, retry=True)


def test_another_commit_that_fails_begins_the_pauses_anew(schedule: Schedule, clock: Clock) -> None:
    schedule.add("a")
    for _ in range(6):
        assert _key(schedule)
        schedule.finish("a", Outcome.FAILED)
        clock.now = schedule.next_due() or 0
    assert _key(schedule)
    schedule.finish("a", Outcome.FAILED_AFRESH)
    assert schedule.next_due() == clock.now + queue.BACKOFF


def test_what_time_does_not_heal_waits_until_it_is_asked_for(schedule: Schedule) -> None:
    schedule.add("a")
    schedule.take()
    schedule.finish("a", Outcome.WAITING)
    assert schedule.next_due() is None


def test_who_asks_by_name_gets_a_try_at_once(schedule: Schedule, clock: Clock) -> None:
    schedule.add("a")
    schedule.take()
    schedule.finish("a", Outcome.FAILED)
    schedule.add("a", forced=True)
    assert schedule.take() == Turn("a", clock.now, retry=True, forced=True)


def test_who_asks_by_name_during_the_work_gets_another_try(schedule: Schedule) -> None:
    schedule.add("a")
    schedule.take()
    schedule.add("a", forced=True)
    schedule.finish("a", Outcome.FAILED)
    turn = schedule.take()
    assert turn is not None
    assert (turn.retry, turn.forced) == (True, True)


def test_what_is_removed_is_not_looked_at_and_one_of_the_name_waits_for_the_look_that_is_taken(
    schedule: Schedule,
) -> None:
    schedule.add("a")
    schedule.remove("a")
    assert _key(schedule) is None
    schedule.add("a")
    assert _key(schedule) == "a"
    schedule.remove("a")
    schedule.add("a")
    assert _key(schedule) is None
    schedule.finish("a", Outcome.DONE)
    assert _key(schedule) == "a"
    schedule.remove("a")
    schedule.finish("a", Outcome.FAILED)
    assert (len(schedule), schedule.next_due()) == (0, None)


def test_sources_that_failed_never_have_more_than_half_of_the_workers(schedule: Schedule) -> None:
    for name in "abcd":
        schedule.add(name)
        schedule.take()
    for name in "abcd":
        schedule.finish(name, Outcome.FAILED)
        schedule.add(name)
    assert [_key(schedule), _key(schedule), _key(schedule)] == ["a", "b", None]
    schedule.add("well")
    assert _key(schedule) == "well"
    schedule.finish("a", Outcome.DONE)
    assert _key(schedule) == "c"


def test_a_turn_that_takes_long_keeps_no_worker_from_the_others(
    schedule: Schedule, clock: Clock
) -> None:
    names = [f"slow-{number}" for number in range(16)]
    for name in (*names, "quick"):
        schedule.add(name)
    for number in range(4):
        taken = [_key(schedule) for _ in range(5)]
        assert taken == [*names[number * 4 : number * 4 + 4], None]
        due = schedule.next_due()
        if number < 3:
            assert due == clock.now + queue.SLOW
            clock.now = due
    clock.now += queue.SLOW
    # There is an end to it, for the sake of whatever else they use.
    assert (_key(schedule), schedule.next_due()) == (None, None)
    schedule.finish(names[5], Outcome.FAILED)
    assert _key(schedule) == "quick"


def test_a_million_triggers_take_no_more_room_than_one(schedule: Schedule, clock: Clock) -> None:
    for _ in range(20_000):
        schedule.add("a", after=300)
        schedule.add("a")
        assert _key(schedule) == "a"
        schedule.finish("a", Outcome.DONE)
        schedule.add("a", after=300)
        clock.now += 0.001
    assert len(schedule._healthy) < 200


def test_sources_that_hang_and_fail_make_none_of_the_others_wait() -> None:
    hanging = frozenset(map(str, range(10)))
    slow = dict.fromkeys(hanging, 30.0)
    trouble = Simulation(50, 4, 10, seconds=slow, failing=hanging)
    trouble.run(3600)
    assert len(trouble.late) == 40
    # Once they are known, nobody waits; before that, for as long as shows that they are slow.
    assert max(trouble.late.values()) <= 2 * queue.SLOW + 1
    known = Simulation(50, 4, 10, seconds=slow, failing=hanging, settled=300)
    known.run(3600)
    assert max(known.late.values()) < 1


@pytest.mark.parametrize("sources", [10_000, 100_000])
def test_every_one_of_very_many_sources_has_its_turn_in_time(sources: int) -> None:
    failing = frozenset({"5", "6"})
    many = Simulation(sources, 8, 300 if sources == 10_000 else 900, failing=failing)
    many.run(400 if sources == 10_000 else 1000)
    assert len(many.late) == sources - 2
    assert max(many.late.values()) < 30
    assert many.overdue == 0


def test_a_simulation_tells_what_does_not_fit() -> None:
    fits, too_many = Simulation(400, 4, 10), Simulation(8000, 4, 10)
    fits.run(60)
    too_many.run(100)
    assert (fits.overdue, round(fits.busy, 1)) == (0, 0.2)
    assert (too_many.overdue > 1000, round(too_many.busy, 1)) == (True, 1.0)
    listed = Simulation(400, 4, 10, listing=0.01, settled=20)
    listed.run(60)
    assert listed.listings > 4
    assert 3.9 < max(listed.late.values()) < 10


def test_two_threads_never_work_on_one_source_and_every_trigger_is_answered() -> None:
    busy: set[str] = set()
    wrong: list[str] = []
    answered: dict[str, int] = {}
    asked: dict[str, int] = {}
    lock = threading.Lock()

    def work(turn: Turn) -> Outcome:
        with lock:
            wrong.extend([turn.key] if turn.key in busy else [])
            busy.add(turn.key)
            seen = asked[turn.key]
        with lock:
            busy.discard(turn.key)
            answered[turn.key] = seen
        if seen % 17 == 3:
            raise RuntimeError("a bug")
        return Outcome.DONE

    made = Queue(work, workers=8)
    made.start()
    for number in range(3000):
        key = str(number % 7)
        with lock:
            asked[key] = number
        made.add(key)
    until = threading.Event()
    for _ in range(500):
        if answered == asked:
            break
        until.wait(0.01)
    made.close()
    assert made.join(10)
    assert (answered, wrong) == (asked, [])


def test_who_cannot_enter_is_called_when_it_is_free_again() -> None:
    alone, called = Alone(), []
    with alone.entered(lambda: called.append("first")) as ours:
        assert ours
        with alone.entered(lambda: called.append("second")) as also:
            assert not also
        assert called == []
    assert called == ["second"]
    with alone.entered(lambda: None) as ours:
        assert ours
