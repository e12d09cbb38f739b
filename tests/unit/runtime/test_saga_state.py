"""What a saga's row holds, and the rows that version 0.1 has written."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from saga.runtime import saga_state
from saga.runtime.problem import Problem
from saga.runtime.saga_state import (
    Failure,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
    Written,
    altered,
    from_json,
    to_json,
)

START = datetime(2026, 11, 26, 7, 57, 55, 136107, tzinfo=UTC)
DONE = START + timedelta(milliseconds=3)
BEGUN = StepState("make", "DONE", 1, 0, START, DONE, told={"total": "19.98"})
STATE = SagaState(
    id="01a216dc-7040-7740-a211-c26072ec72be",
    name="cake",
    status="RUNNING",
    input={"goods": "ü", "user_id": 7},
    steps=(BEGUN, StepState("pay", "RUNNING", 1, 0, DONE, body='{"a":1}'), StepState("finish")),
    created_at=START,
    updated_at=DONE,
    deadline_at=START + timedelta(minutes=5),
    due_at=DONE + timedelta(seconds=15),
    awaiting=True,
    answered="make/do cake.events[0]@7",
    history=((0, "0R"), (3000, "0D", "1R")),
)
# As version 0.1 has written the same.
OLDER = """{
    "id":"01a216dc-7040-7740-a211-c26072ec72be","name":"cake","status":"RUNNING",
    "input":{"goods":"ü","user_id":7},
    "context":{"goods":"ü","user_id":7,
               "saga_id":"01a216dc-7040-7740-a211-c26072ec72be","total":"19.98"},
    "steps":[
        {"name":"make","status":"DONE","attempts":1,"undo_attempts":0,"error":null,
         "started_at":"2026-11-26T07:57:55.136107Z","finished_at":"2026-11-26T07:57:55.139107Z"},
        {"name":"pay","status":"RUNNING","attempts":1,"undo_attempts":0,"error":null,
         "started_at":"2026-11-26T07:57:55.139107Z","finished_at":null},
        {"name":"finish","status":"PENDING","attempts":0,"undo_attempts":0,"error":null,
         "started_at":null,"finished_at":null}],
    "created_at":"2026-11-26T07:57:55.136107Z","updated_at":"2026-11-26T07:57:55.139107Z",
    "deadline_at":"2026-11-26T08:02:55.136107Z","due_at":"2026-11-26T07:58:10.139107Z",
    "failure":null,"awaiting":true,"answered":"make/do","traceparent":null}"""


def test_row_is_read_as_it_was_written() -> None:
    assert from_json(to_json(STATE)) == STATE
    problem = Problem(code="no", message="none left")
    failed = replace(
        STATE,
        status="COMPENSATED",
        failure=Failure("pay", "no", "none left"),
        steps=(replace(BEGUN, status="UNDONE", error=problem), *STATE.steps[1:]),
        due_at=None,
    )
    assert from_json(to_json(failed)) == failed


# A double holds a later one to a few microseconds.
@given(st.datetimes(datetime(1970, 1, 1), datetime(2096, 1, 1), timezones=st.just(UTC)))
def test_times_are_kept_to_the_microsecond(moment: datetime) -> None:
    state = replace(STATE, created_at=moment, steps=(StepState("make", started_at=moment),))
    assert from_json(to_json(state)) == state


def test_row_holds_nothing_twice_and_nothing_that_is_so_anyway() -> None:
    row = json.loads(to_json(STATE))
    assert "context" not in row
    assert "failure" not in row
    assert row["steps"][2] == {"name": "finish"}
    assert {"began", "ended"} < row["steps"][0].keys()
    assert to_json(STATE).count(STATE.id) == 1
    assert len(to_json(STATE)) < len(json.dumps(json.loads(OLDER))) / 1.5


def test_row_of_version_0_1_is_read() -> None:
    older = from_json(OLDER)
    begun, pay = replace(BEGUN, told={}), replace(STATE.steps[1], body=None)
    steps = (begun, pay, STATE.steps[2])
    known = {**STATE.given, "total": "19.98"}
    assert older == replace(STATE, history=(), answered="make/do", steps=steps, events=known)
    assert older.context == known
    assert older.context["total"] == "19.98"
    assert {step.undo_from for step in older.steps} == {0}
    assert from_json(to_json(older)) == older


def test_start_messages_field_is_its_own_whatever_an_event_has_told() -> None:
    row = json.loads(OLDER)
    row["context"]["goods"] = "tea"
    assert from_json(json.dumps(row)).context["goods"] == "ü"


def test_what_the_later_step_has_told_is_shown_of_two() -> None:
    paid = replace(STATE.steps[1], told={"total": "20.00", "by": "card"})
    context = replace(STATE, steps=(BEGUN, paid), events={"total": "1.00", "old": 1}).context
    assert context == {**STATE.given, "total": "20.00", "by": "card", "old": 1}


@pytest.mark.parametrize(
    ("status", "of_steps", "index"),
    [
        ("RUNNING", ["DONE", "RUNNING", "PENDING"], 1),
        ("RUNNING", ["RUNNING", "PENDING", "PENDING"], 0),
        ("COMPENSATING", ["UNDOING", "REJECTED", "PENDING"], 0),
        ("COMPLETED", ["DONE", "DONE", "DONE"], None),
        ("FAILED", ["UNDO_FAILED", "FAILED", "PENDING"], None),
    ],
)
def test_step_in_flight_is_the_one_that_is_acted_on(
    status: SagaStatus, of_steps: list[StepStatus], index: int | None
) -> None:
    steps = [replace(s, status=of) for s, of in zip(STATE.steps, of_steps, strict=True)]
    state = replace(STATE, status=status, steps=tuple(steps))
    assert (state.in_flight, state.ended) == (index, index is None)


def test_row_that_cant_be_read_has_ended() -> None:
    assert replace(STATE, status="UNREADABLE", steps=()).ended


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "EOF"),
        ("[]", "object"),
        ("{}", "id"),
        (to_json(STATE).replace("RUNNING", "WALKING"), "status"),
        (OLDER.replace("RUNNING", "WALKING"), "status"),
        (to_json(STATE).replace('"attempts":1', '"attempts":"x"'), "attempts"),
    ],
)
def test_what_is_no_saga_is_refused_and_it_is_told_why(text: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        from_json(text)


@pytest.mark.parametrize(
    "changes", [{}, {"status": "COMPENSATING"}, {"history": (), "due_at": DONE}]
)
def test_altered_saga_is_a_copy_with_the_changes(changes):
    before = replace(STATE)
    copy = altered(STATE, **changes)
    assert (copy, STATE) == (replace(STATE, **changes), before)
    assert copy is not STATE


def test_saga_is_altered_in_its_fields_alone():
    with pytest.raises(AttributeError, match="SagaState has not all of statos, due_at"):
        altered(STATE, statos="RUNNING", due_at=DONE)


def test_who_has_written_a_saga_need_not_parse_it() -> None:
    written = Written()
    text = written.write(STATE)
    assert text == to_json(STATE)
    assert written.read(text) is STATE
    again = written.read(text)
    assert again == STATE
    assert again is not STATE  # it was asked for, and so is written anew


def test_row_that_somebody_has_edited_is_read_as_it_is() -> None:
    written = Written()
    edited = written.write(STATE).replace("19.98", "9.98")
    assert written.read(edited).steps[0].told == {"total": "9.98"}
    with pytest.raises(ValidationError):
        written.read("{}")


def test_no_saga_that_has_ended_is_kept() -> None:
    written, ended = Written(), replace(STATE, status="COMPLETED")
    assert written.read(written.write(ended)) is not ended


def test_no_large_saga_is_kept() -> None:
    written = Written()
    small, large = (replace(STATE, input={"goods": "x" * length}) for length in (100, 100_000))
    assert written.read(written.write(small)) is small
    assert written.read(written.write(large)) is not large


def test_only_the_last_sagas_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga_state, "MOST_KEPT", 2)
    written = Written()
    states = [replace(STATE, id=f"saga-{number}") for number in range(3)]
    texts = [written.write(state) for state in states]
    read = [written.read(text) for text in texts]
    assert [was is state for was, state in zip(read, states, strict=True)] == [False, True, True]
