"""A saga's history, which its row holds, and what version 0.1 has stored of it."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import peewee
import pytest

from saga.runtime.problem import Problem
from saga.runtime.saga_history import Change, HistoryRow, Moment, histories, recorded
from saga.runtime.saga_state import SagaState, StepState
from saga.runtime.stamps import Parts

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=3)
STATE = SagaState(
    id="a",
    name="cake",
    status="RUNNING",
    input={},
    steps=(StepState("make", "RUNNING", 1), StepState("pay")),
    created_at=NOON,
    updated_at=NOON,
    deadline_at=LATER,
)
BEGUN = recorded(None, STATE)
NO = Problem(code="no (more) tea", message="")


def test_saga_begins_its_history_with_its_first_step(sqlite: peewee.Database) -> None:
    [path] = histories(sqlite, [recorded(None, STATE)]).values()
    assert path == [Moment(NOON, "RUNNING", [Change("make", "RUNNING")])]


def test_first_step_may_fail_at_once(sqlite: peewee.Database) -> None:
    failed = replace(STATE, steps=(StepState("make", "FAILED", 1, error=NO), STATE.steps[1]))
    [path] = histories(sqlite, [recorded(None, failed)]).values()
    assert path == [Moment(NOON, "RUNNING", [Change("make", "FAILED", NO.code)])]


def test_saga_may_have_more_than_nine_steps(sqlite: peewee.Database) -> None:
    steps = [StepState(f"step {number}", "DONE", 1) for number in range(12)]
    before = replace(STATE, steps=(*steps[:-1], StepState("step 11", "RUNNING", 1)))
    [path] = histories(sqlite, [recorded(before, replace(STATE, steps=tuple(steps)))]).values()
    assert path[-1].steps == [Change("step 11", "DONE")]


def test_what_ended_is_told_before_what_was_begun(sqlite: peewee.Database) -> None:
    steps = (StepState("make", "UNDOING", 1, 1), StepState("pay", "REJECTED", 1, error=NO))
    compensating = replace(BEGUN, status="COMPENSATING", steps=steps, updated_at=LATER)
    [path] = histories(sqlite, [recorded(BEGUN, compensating)]).values()
    changes = [Change("pay", "REJECTED", "no (more) tea"), Change("make", "UNDOING")]
    assert path[1:] == [Moment(LATER, "COMPENSATING", changes)]
    told = ["pay REJECTED (no (more) tea)", "make UNDOING"]
    assert [str(change) for change in changes] == told


def test_error_of_an_undo_that_was_done_in_the_end_is_told_by_its_code(
    sqlite: peewee.Database,
) -> None:
    """A service's own code may be the one that stands for what is done by hand."""
    error = Problem(code="skipped", message="for now")
    undoing = StepState("make", "UNDOING", 1, 2, error=error)
    before, after = (
        replace(STATE, steps=(step, STATE.steps[1]))
        for step in (undoing, replace(undoing, status="UNDONE"))
    )
    [path] = histories(sqlite, [recorded(before, after)]).values()
    assert path[-1].steps == [Change("make", "UNDONE", "skipped")]


def test_undo_that_a_person_has_done_is_told_with_who_and_why(sqlite: peewee.Database) -> None:
    failed = StepState("make", "UNDO_FAILED", 1, 2, error=NO)
    by_hand = Problem(code="skipped", message="Ada: thrown away")
    before, after = (
        replace(STATE, status="FAILED", steps=(step, STATE.steps[1]))
        for step in (failed, replace(failed, status="UNDONE", error=by_hand))
    )
    [path] = histories(sqlite, [recorded(before, after)]).values()
    assert path[-1].steps == [Change("make", "UNDONE", "skipped: Ada: thrown away")]


def test_each_attempt_has_its_own_moment(sqlite: peewee.Database) -> None:
    again = replace(BEGUN, steps=(StepState("make", "RUNNING", 2), StepState("pay")))
    [path] = histories(sqlite, [recorded(BEGUN, again)]).values()
    assert [moment.steps for moment in path] == [[Change("make", "RUNNING")]] * 2


def test_fault_like_the_one_before_it_has_its_own_moment(sqlite: peewee.Database) -> None:
    steps = (StepState("make", "RUNNING", 2, error=NO), StepState("pay"))
    sent = replace(STATE, steps=steps, awaiting=True)
    failed = replace(sent, awaiting=False, updated_at=LATER)
    [path] = histories(sqlite, [recorded(sent, failed)]).values()
    assert path == [Moment(LATER, "RUNNING", [Change("make", "RUNNING", NO.code)])]


def test_saga_whose_steps_stay_as_they_are_has_no_new_moment() -> None:
    for before in (STATE, replace(STATE, awaiting=True)):
        for later in (replace(before, due_at=LATER), replace(before, steps=deepcopy(STATE.steps))):
            assert recorded(before, later) is later


def test_what_version_0_1_has_stored_comes_first(database: peewee.Database) -> None:
    with database.bind_ctx([HistoryRow]):
        HistoryRow.create_table()
        compensating = (LATER, "pay REJECTED (no), make UNDOING")
        for at, changes in (*[(NOON, "make RUNNING")] * 2, compensating):
            status = "RUNNING" if at == NOON else "COMPENSATING"
            HistoryRow.create(saga_id="a", at=at, status=status, changes=changes)
        # PostgreSQL writes it anew, behind what is there.
        HistoryRow.update(at=NOON).where(HistoryRow.at == NOON).execute()
        HistoryRow.create(saga_id="another", at=NOON, status="RUNNING", changes="make RUNNING")
    before = replace(STATE, status="COMPENSATING")
    after = replace(before, steps=(StepState("make", "UNDONE", 1, 1), StepState("pay")))
    found = histories(database, [recorded(before, after), replace(STATE, id="b")])
    assert found.keys() == {"a", "b"}
    assert found["b"] == []
    assert found["a"] == [
        *[Moment(NOON, "RUNNING", [Change("make", "RUNNING")])] * 2,
        Moment(LATER, "COMPENSATING", [Change("pay", "REJECTED", "no"), Change("make", "UNDOING")]),
        Moment(NOON, "COMPENSATING", [Change("make", "UNDONE")]),
    ]


def test_moment_tells_what_the_time_of_its_attempt_was_made_of(sqlite: peewee.Database) -> None:
    done = (StepState("make", "DONE", 1), StepState("pay", "RUNNING", 1))
    after = replace(BEGUN, steps=done, updated_at=NOON + timedelta(milliseconds=15))
    took = [1000, 2000, 3000, 4000, 5000]
    [path] = histories(sqlite, [recorded(BEGUN, after, took)]).values()
    assert path[-1].steps == [Change("make", "DONE"), Change("pay", "RUNNING")]
    assert path[-1].parts == Parts(*[timedelta(milliseconds=n) for n in (1, 2, 3, 4, 5)])
    assert path[0].parts is None


@pytest.mark.parametrize("parts", ["~", "~1 2 3", "~1 2 3 4 5 6", "~a b c d e"])
def test_parts_that_were_edited_by_hand_hide_no_other_moment(
    sqlite: peewee.Database, parts: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = replace(BEGUN, history=(*BEGUN.history, (5, "0D", parts)))
    [path] = histories(sqlite, [odd]).values()
    assert [moment.steps for moment in path] == [[Change("make", "RUNNING")]]
    assert "can't be read" in caplog.text
