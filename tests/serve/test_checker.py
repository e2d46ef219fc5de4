"""The checker: in a world where everything goes wrong, each client gets all that Redis was
given, in order, once, or is told what it will not get. What exactly is asked stands at the
top of judge.py; the first tests here show that the judge catches who breaks it."""

import asyncio
import os
import random

import pytest

from checker import run_world
from harness import SLOW_FACTOR, is_sanitizer_build
from judge import Close, Event, Gap, Judge, Live, Open, Record, Stream

SEEDS = [3, 47]
RANDOM = pytest.param(None, id="random")  # by hand and in `make soak`: CI is to be repeatable


# --- the judge ---------------------------------------------------------------------
#
# Ten events, one a second: #3 was sent at t=3 and has the id 3003-0. Clients come at 0.


def given(count=10, stream=None):
    stream = stream or Stream("s")
    for _ in range(count):
        t = len(stream.entries)
        stream.acknowledge(stream.add(t), id_of(t))
    return stream


def id_of(at):
    return 1000 * at + 3, 0


def event(at, t=None, **other):
    return Event(20 + at if t is None else t, at, **dict(id=id_of(at)) | other)


def events(*places):
    return [event(at) for at in places]


def live(t=-1):
    return Open(t, 1, "live")


def resumed(at, broker=2, t=30):
    return Open(t, broker, "after", True, id_of(at))


def gap(after, before, reason="trimmed", missed=None, t=25):
    end = before if before is None else id_of(before)
    return Gap(t, id_of(after), end, reason, missed)


def judge(stream, *items, tells=True, others=(), **record):
    """What is violated, by name."""
    records = [Record("one", "s", tells, list(items), **record), *others]
    return [v.what for v in Judge({"s": stream}, window_s=60).run(records)]


def raw(*places):
    return [event(at, id=None) for at in places]


def test_all_events_in_order_are_fine():
    assert judge(given(), live(), Live(0, None), *events(*range(10))) == []
    assert judge(given(), live(), *raw(*range(10)), tells=False) == []


def test_a_hole_is_caught():
    assert judge(given(), live(), *events(0, 1, 2, 4, 5)) == ["hole"]


def test_a_hole_at_the_start_is_caught():
    assert judge(given(), live(), *events(2, 3)) == ["hole"]
    assert judge(given(), live(4.5), Live(4.6, id_of(3)), *events(5)) == ["hole"]


def test_a_hole_of_a_raw_client_is_caught():
    assert judge(given(), live(), *raw(0, 1, 3), tells=False) == ["hole"]


def test_a_hole_across_a_reconnect_is_caught():
    assert judge(given(), live(), *events(0, 1), Close(29, 1001, ""), resumed(1), *events(3)) == ["hole"]


def test_an_event_that_comes_twice_is_caught():
    assert judge(given(), live(), *events(0, 1, 1, 2)) == ["twice"]
    assert judge(given(), live(), *raw(0, 1, 1, 2), tells=False) == ["twice"]


def test_an_event_that_comes_again_behind_a_reconnect_is_caught():
    assert judge(given(), live(), *events(0, 1, 2), resumed(2), *events(2, 3)) == ["twice"]


def test_disorder_is_caught():
    assert judge(given(), Open(9, 1, "first"), *events(5, 4)) == ["disorder"]
    assert judge(given(), Open(9, 1, "first"), *raw(5, 4), tells=False) == ["disorder"]


def test_an_event_that_was_never_there_or_was_changed_is_caught():
    assert judge(given(), live(), *events(0), event(10)) == ["stranger"]
    assert judge(given(), live(), event(0, intact=False)) == ["stranger"]
    assert judge(given(), live(), event(0, id=(7, 7))) == ["stranger"]
    stream = given(2)
    stream.deny(stream.add(2))
    assert judge(stream, live(), *events(0, 1), event(2, id=None)) == ["stranger"]


@pytest.mark.parametrize("missed, wrong", [(2, []), (None, []), (1, ["missed"]), (3, ["missed"])])
def test_missed_is_exact_or_null(missed, wrong):
    told = gap(1, 4, missed=missed)
    assert judge(given(), live(), *events(0, 1), told, *events(4, 5)) == wrong


def test_a_gap_that_covers_less_than_the_hole_is_caught():
    assert judge(given(), live(), *events(0, 1), gap(1, 3), *events(4)) == ["hole", "gap"]
    assert "hole" in judge(given(), live(), *events(0, 1), gap(2, 4), *events(4))


def test_a_gap_that_says_more_than_is_missing_is_caught():
    assert judge(given(), live(), *events(0, 1), gap(0, 4), *events(4)) == ["gap"]
    assert judge(given(), live(), *events(0, 1), gap(1, 5), *events(4)) == ["gap"]


def test_a_gap_without_an_end_covers_what_was_sent_before_it_was_told():
    told = gap(1, None, t=2.5)
    assert judge(given(), live(), event(0, 0), event(1, 1), told, event(3, 3)) == []
    assert judge(given(), live(), event(0, 0), event(1, 1), told, event(4, 4)) == ["hole"]


def test_live_names_where_the_client_is():
    assert judge(given(), live(4.5), Live(4.6, id_of(4)), *events(5, 6)) == []
    wrong = [live(4.5), Live(4.6, id_of(3)), event(4), resumed(4), Live(31, id_of(5)), event(6)]
    assert judge(given(), *wrong) == ["live", "hole"]


def remade(deleted=2.5):
    """#0 to #2, deleted, #3 to #5."""
    stream = given(3)
    stream.reset(deleted)
    return given(3, stream)


def test_a_reset_covers_what_the_ended_run_had_and_no_more():
    stream = remade()
    reset = gap(0, None, "reset", t=2.6)
    assert judge(stream, live(), *events(0), reset, *events(3, 4)) == []
    is_live = live(), Live(-0.5, None)
    assert judge(stream, *is_live, *events(0), *events(3, 4)) == ["hole"]
    assert judge(stream, *is_live, *events(0), reset, *events(4)) == ["hole"]


def test_behind_a_reset_a_repetition_is_noted_and_order_still_holds():
    stream = given(5)
    reset = gap(4, 0, "reset")
    assert judge(stream, live(), *events(0, 1, 2, 3, 4), reset, *events(0, 1)) == []
    assert judge(stream, live(), *events(0, 1, 2, 3, 4), reset, *events(0, 1, 1)) == ["twice"]


def test_what_a_reset_took_before_a_client_came_back_is_excused():
    assert judge(remade(), live(), *events(0), resumed(0), *events(3)) == []


def test_but_not_by_a_broker_that_has_just_had_it():
    other = Record("other", "s", True, [live(), *[event(at, t=at) for at in range(6)]])
    back = Open(5.5, 1, "after", True, id_of(0))
    items = [live(), event(0, 0.1), back, event(3, 6)]
    assert judge(remade(), *items, others=[other]) == ["hole"]


def test_what_redis_did_not_acknowledge_may_come_or_not():
    stream = given(3)
    stream.add(3)
    stream.reset(3.5)
    stream = given(2, stream)
    reset = gap(2, None, "reset", t=3.6)
    assert judge(stream, live(), *events(0, 1, 2), reset, *events(4, 5)) == []
    reset = gap(3, None, "reset", t=3.6)
    assert judge(stream, live(), *events(0, 1, 2, 3), reset, *events(4, 5)) == []


def test_after_a_snapshot_what_is_back_does_not_come_twice():
    stream = given(3)
    stream.save()
    given(2, stream)
    stream.throw_back(4.5)
    given(2, stream)
    reset = gap(4, None, "reset", t=4.6)
    assert judge(stream, live(), *events(0, 1, 2, 3, 4), reset, *events(5, 6)) == []
    assert judge(stream, live(), *events(0, 1, 2, 3, 4), *events(2, 5)) == ["twice"]


def trimmed():
    """#0 to #9, of which #3 to #5 went before anybody read them."""
    stream = given(6)
    stream.trim(5.5, 0)
    return given(4, stream)


def test_a_raw_client_may_miss_what_another_was_told_of():
    told = [live(), *events(0, 1, 2), gap(2, 6, missed=3), *events(6, 7)]
    told = Record("other", "s", True, told)
    missing = [live(), *raw(0, 1, 2, 6, 7)]
    assert judge(trimmed(), *missing, tells=False, others=[told]) == []
    missing = [live(), *raw(0, 1, 6, 7)]
    assert judge(trimmed(), *missing, tells=False, others=[told]) == ["hole"]


def test_a_raw_client_may_not_miss_what_another_had():
    had = Record("other", "s", True, [live(), *events(*range(8))])
    assert judge(trimmed(), live(), *raw(0, 1, 2, 6, 7), tells=False, others=[had]) == ["hole"]


def test_a_run_that_nobody_saw_is_excused_for_who_came_after_it_began():
    """#0 to #2, deleted; #3, deleted before it was read; #4 and #5."""
    stream = given(3)
    stream.reset(2.5)
    given(1, stream)
    stream.reset(3.5)
    given(2, stream)
    is_live = live(2.8), Live(2.9, None)
    assert judge(stream, *is_live, *events(4, 5)) == []
    seen = Record("other", "s", True, [*is_live, *events(3, 4, 5)])
    assert judge(stream, *is_live, *events(4, 5), others=[seen]) == ["hole"]


def test_what_a_snapshot_lost_before_it_was_read_is_excused():
    stream = given(3)
    stream.save()
    given(1, stream)
    stream.throw_back(3.5)
    given(2, stream)
    is_live = live(), Live(-0.5, None)
    assert judge(stream, *is_live, *events(0, 1, 2, 4, 5)) == []
    seen = Record("other", "s", True, [*is_live, *events(0, 1, 2, 3, 4, 5)])
    assert judge(stream, *is_live, *events(0, 1, 2, 4, 5), others=[seen]) == ["hole"]


def test_a_reset_that_is_told_covers_what_left_before_it_and_no_more():
    """Told of a reset, the client gets what a snapshot still has; what was lost stays lost."""
    stream = given(3)
    stream.save()
    given(2, stream)
    stream.throw_back(4.5)
    given(2, stream)
    reset = gap(4, 1, "reset", t=20)
    had = live(), *[event(at, t=at) for at in range(4)], event(4, t=4.4)
    assert judge(stream, *had, reset, *events(1, 2, 5, 6)) == []
    assert judge(stream, *had, reset, *events(1, 2, 6)) == ["hole"]


def test_an_entry_that_a_snapshot_brings_back_was_gone_meanwhile():
    stream = given(3)
    stream.save()
    stream.trim(2.5, 0)
    given(1, stream)
    stream.throw_back(3.5)
    assert [e.removed for e in stream.entries] == [2.5, 2.5, 2.5, 3.5]
    assert [e.at for e in stream.present] == [0, 1, 2]


# --- the worlds --------------------------------------------------------------------


@pytest.mark.timeout(90 * SLOW_FACTOR)
@pytest.mark.parametrize("seed", SEEDS if os.environ.get("CI") else [*SEEDS, RANDOM])
def test_nothing_is_lost_silently(seed):
    seed = random.randrange(1 << 31) if seed is None else seed
    print("seed", seed)
    length = 10 if is_sanitizer_build() else 6
    world, notes = asyncio.run(run_world(seed, length))
    assert notes["events"] > 100 and notes["resumed"] > 0, (world.describe(), notes)
