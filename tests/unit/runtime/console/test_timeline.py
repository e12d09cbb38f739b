"""A saga's time, attempt by attempt: no microsecond is lost, and none is told twice."""

from datetime import timedelta

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from saga.runtime.clock import MICROSECOND
from saga.runtime.console.timeline import (
    FOLDED,
    WIDTH,
    Attempt,
    Part,
    bars,
    totals,
)
from saga.runtime.stamps import Stamps
from support.told import Telling

MS = 1_000  # microseconds


def rows(told):
    return [(a.step, a.action, a.number, a.outcome, a.code) for a in told.attempts]


def parts(attempt):
    return [(part.kind, part.length) for part in attempt.parts]


def test_completed_saga_has_a_row_for_each_step():
    told = Telling().done(4).done(5).done(6).timeline()
    assert rows(told) == [
        ("bake", "do", 1, "done", ""),
        ("sell", "do", 1, "done", ""),
        ("ship", "do", 1, "done", ""),
    ]
    assert [a.began for a in told.attempts] == [0, 4 * MS, 9 * MS]
    assert [parts(a) for a in told.attempts] == [
        [("flight", 4 * MS)],
        [("flight", 5 * MS)],
        [("flight", 6 * MS)],
    ]
    assert told.length == 15 * MS


def test_fault_is_an_attempt_with_the_wait_for_its_retry():
    told = Telling().failed(3, "Broken").due().done(2).timeline()
    assert rows(told)[:2] == [
        ("bake", "do", 1, "failed", "Broken"),
        ("bake", "do", 2, "done", ""),
    ]
    [flight, retry] = told.attempts[0].parts
    assert flight == Part("flight", 3 * MS)
    assert retry.kind == "retry"
    assert retry.length > 0


def test_answer_that_comes_while_a_retry_is_waited_for_is_the_outcome():
    told = Telling().failed(3, "Broken").done(2).timeline()
    assert rows(told)[0] == ("bake", "do", 1, "done", "")
    assert parts(told.attempts[0]) == [("flight", 3 * MS), ("retry", 2 * MS)]
    assert rows(told)[1] == ("sell", "do", 1, "in flight", "")


def test_fault_whose_saga_is_cancelled_stays_one():
    told = Telling().failed(3, "Broken").cancel(2).timeline()
    assert rows(told)[0] == ("bake", "do", 1, "failed", "Broken")


def test_command_that_is_sent_again_is_one_attempt():
    told = Telling().due().done(2).timeline()
    assert rows(told)[0] == ("bake", "do", 1, "done", "")
    assert told.attempts[0].resent == 1


def test_undos_are_told_in_their_order():
    told = Telling().done(1).done(1).rejected(1, "no_ship").done(1).done(1).timeline()
    assert rows(told)[2:] == [
        ("ship", "do", 1, "rejected", "no_ship"),
        ("sell", "undo", 1, "done", ""),
        ("bake", "undo", 1, "done", ""),
    ]


def test_cancelled_attempt_is_given_up():
    told = Telling().done(1).cancel(7).timeline()
    assert rows(told)[1] == ("sell", "do", 1, "given up", "cancelled")


def test_wait_for_a_person_belongs_to_what_failed():
    telling = Telling().done(1).rejected(1, "no_sale").undo_refused(1, "no_oven")
    told = telling.retry(60_000).done(2).timeline()
    assert parts(told.attempts[2])[-1] == ("person", 60_000 * MS)
    assert rows(told)[3] == ("bake", "undo", 2, "done", "")


def test_what_a_person_has_done_is_no_attempt():
    telling = Telling().done(1).rejected(1, "no_sale").undo_refused(1, "no_oven")
    told = telling.skip(5_000, "bake", "Ada", "thrown away").timeline()
    assert [(skip.step, skip.told) for skip in told.skips] == [("bake", "Ada: thrown away")]
    assert len(told.attempts) == 3
    assert told.length == sum(a.length for a in told.attempts) == 5_003 * MS


def test_saga_in_flight_is_told_until_now():
    told = Telling().done(4).timeline(after=10)
    assert rows(told)[-1] == ("sell", "do", 1, "in flight", "")
    assert parts(told.attempts[-1]) == [("flight", 10 * MS)]


def test_reply_tells_the_parts_of_its_attempt():
    told = Telling().done(10, stamps=(1, 2, 5, 8)).timeline()
    assert parts(told.attempts[0]) == [
        ("queue", 1 * MS),
        ("turn", 1 * MS),
        ("handler", 3 * MS),
        ("commit", 3 * MS),
        ("reply", 2 * MS),
    ]


def test_clocks_that_differ_are_seen():
    """The function's host is 5 ms behind."""
    told = Telling().done(10, stamps=(-4, -3, 0, 3)).timeline()
    assert parts(told.attempts[0])[0] == ("queue", -4 * MS)
    assert told.attempts[0].length == 10 * MS


def test_time_before_a_command_was_sent_again_is_silence():
    telling = Telling().due()
    waited = (telling.now - telling.state.created_at) // MICROSECOND
    told = telling.done(10, stamps=(1, 2, 5, 8)).timeline()
    assert parts(told.attempts[0])[0] == ("silence", waited)


def test_answer_to_an_earlier_attempt_tells_no_parts_of_this_one():
    telling = Telling().failed(3, "Broken").due()
    telling.sent_at = telling.state.created_at
    told = telling.done(10, stamps=(1, 2, 5, 8)).timeline()
    assert parts(told.attempts[1]) == [("flight", 10 * MS)]


MOVES = st.sampled_from(["done", "stamped", "failed", "rejected", "due", "cancel", "retry", "skip"])


@examples(st.lists(st.tuples(MOVES, st.integers(0, 10_000)), max_size=40), st.integers(0, 5_000))
def test_parts_add_up_to_the_sagas_time(moves, after):
    telling = Telling()
    for move, milliseconds in moves:
        telling.move(move, milliseconds)
    told = telling.timeline(after)
    assert sum(attempt.length for attempt in told.attempts) == told.length
    assert sum(part.length for part in totals(told.attempts)) == told.length
    for before, following in zip(told.attempts, told.attempts[1:], strict=False):
        assert before.began + before.length == following.began


LENGTHS = st.lists(
    st.lists(
        st.builds(Part, st.sampled_from(["queue", "handler", "retry"]), st.integers(-1_000, 10**9)),
        max_size=4,
    ),
    max_size=8,
)


@examples(LENGTHS)
def test_bars_follow_each_other_on_one_line(lengths):
    attempts = [Attempt("bake", "do", 1, 0, parts=parts) for parts in lengths]
    laid_out = [bar for row in bars(attempts) for bar in row]
    x = 0.0
    for bar in laid_out:
        assert bar.x == pytest.approx(x, abs=0.5)
        assert bar.width > 0
        x += bar.width
    assert not laid_out or x == pytest.approx(WIDTH, abs=1)


def test_long_wait_is_folded_and_all_else_keeps_its_proportion():
    short, long = Part("handler", 4 * MS), Part("retry", 3_600_000 * MS)
    [[first, folded], [second]] = bars(
        [Attempt("a", "do", 1, 0, parts=[short, long]), Attempt("b", "do", 1, 0, parts=[short])]
    )
    assert (first.folded, folded.folded, second.folded) == (False, True, False)
    assert first.width == second.width
    assert folded.width == pytest.approx(FOLDED / (1 + FOLDED) * WIDTH, abs=1)


@pytest.mark.parametrize("kind", ["handler", "commit", "reply"])
def test_work_is_never_folded(kind):
    long = Part(kind, timedelta(hours=1) // MICROSECOND)
    [[_, bar]] = bars([Attempt("a", "do", 1, 0, parts=[Part("handler", MS), long])])
    assert not bar.folded


def test_stamps_of_an_attempt_are_five():
    assert len(Stamps._fields) == 5
