"""Where the time of one order goes."""

from datetime import UTC, datetime

import pytest

from benchmarks.hops import HOPS, Marks, Sent, Visit, durations, marks_of, table
from saga.functions.orchestrator.place_order import place_order

# Each moment comes a millisecond after the one before it, but for the client's.
MARKS = Marks(
    asked=0.0,
    made=0.010,
    commanded=[0.011, 0.015, 0.019, 0.023],
    handled=[0.012, 0.016, 0.020, 0.024],
    replied=[0.013, 0.017, 0.021, 0.025],
    applied=[0.014, 0.018, 0.022, 0.026],
    ended=0.027,
    answered=0.047,
)


def test_hops_add_up_to_what_the_client_waited():
    assert sum(durations(MARKS)) == pytest.approx(MARKS.answered - MARKS.asked)


def test_each_hop_has_its_time():
    expected = [0.010, 0.001, 0.004, 0.004, 0.004, 0.004, 0.020]
    assert durations(MARKS) == pytest.approx(expected)


def test_table_tells_each_hop_and_the_sum():
    lines = list(table([MARKS, MARKS]))
    assert len(lines) == 2 + len(HOPS) + 1
    assert lines[4].endswith("| 4 | 1.00 | 4.00 | 9% |")
    assert lines[-1] == "| mean of 2 orders |  |  | 47.00 | 100% |"


def test_marks_are_put_together_from_what_each_has_kept():
    time = datetime(2026, 1, 1, tzinfo=UTC)
    sent = {"s/ended": Sent(9.0, "")}
    for number, step in enumerate(place_order.steps):
        sent[f"s/{step.name}/do"] = Sent(number, "")
        sent[f"s/{step.name}/do/reply"] = Sent(number + 0.5, time.isoformat())
    marks = marks_of(Visit("s", 1.0, 2.0), time, [time] * 4, sent)
    moment = time.timestamp()
    assert marks == Marks(
        1.0, moment, [0, 1, 2, 3], [moment] * 4, [0.5, 1.5, 2.5, 3.5], [moment] * 4, 9.0, 2.0
    )
