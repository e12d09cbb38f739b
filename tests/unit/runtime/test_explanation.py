"""What a saga is waiting for, in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga.runtime import Command, Event, Message, Retry, Saga, Step
from saga.runtime.explanation import explain
from saga.runtime.problem import Problem
from saga.runtime.saga_state import Failure, SagaState, SagaStatus, StepState

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Begin(Message):
    pass


class Done(Event, topic="why.events"):
    pass


class Make(Command, topic="why.make", event=Done):
    pass


class Unmake(Command, topic="why.unmake", event=Done):
    pass


class Pay(Command, topic="why.pay", event=Done):
    pass


SAGA = Saga("why", Begin, [Step(Make, undo=Unmake, retry=Retry(attempts=4)), Step(Pay)])
BROKEN = Problem(code="OSError", message="disk full")
NO = Failure("pay", "no_money", "2.00 is missing")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def state(status: SagaStatus, *steps: StepState, **changes: Any) -> SagaState:
    given = SagaState(
        id="s",
        name="why",
        status="RUNNING",
        input={},
        steps=steps or (StepState("make", "DONE", 1), StepState("pay", "DONE", 1)),
        created_at=NOON,
        updated_at=at(8),
        deadline_at=at(300),
    )
    return replace(given, status=status, **changes)


def told(saga: SagaState, now: float = 20, declared: Saga | None = SAGA) -> str:
    return explain(saga, declared, at(now))


def test_saga_that_waits_for_an_answer() -> None:
    waiting = state("RUNNING", StepState("make", "RUNNING", 2), awaiting=True, due_at=at(23))
    assert told(waiting) == (
        "It waits for the answer to make, attempt 2, which was sent to why.make 12.0 s ago. "
        "Without an answer, the same is sent again in 3.00 s. "
        "At its deadline, 2026-01-01T12:05:00Z, it is undone, too. `DELETE /sagas/s` cancels it."
    )


def test_saga_that_nobody_answers() -> None:
    silent = StepState("make", "RUNNING", 1, silences=3)
    waiting = state("RUNNING", silent, awaiting=True, due_at=at(300))
    assert "was sent again 3 times. Look with `saga ps` whether that function runs." in told(
        waiting
    )
    assert "Without an answer" not in told(waiting), "it is its deadline that comes next"


def test_saga_that_waits_for_its_next_attempt() -> None:
    failed = StepState("make", "RUNNING", 2, error=BROKEN)
    assert told(state("RUNNING", failed, due_at=at(20.25))).startswith(
        "make has failed, attempt 2: OSError: disk full. The next attempt is made in 250 ms. "
        "After 4 attempts, what was done is undone. At its deadline,"
    )


def test_saga_that_is_undone() -> None:
    undoing = StepState("make", "UNDOING", 1, 3, error=BROKEN, undo_from=1)
    waiting = state("COMPENSATING", undoing, awaiting=True, failure=NO, due_at=at(100))
    assert told(waiting) == (
        "It could not be completed: pay: no_money: 2.00 is missing. "
        "It waits for the answer to the undo of make, attempt 3, which was sent to why.unmake "
        "12.0 s ago. Without an answer, the same is sent again in 1 min 20 s. "
        "An answer is waited for without end, and asked for every 300 s."
    )
    assert told(replace(waiting, awaiting=False)).endswith(
        "The undo of make has failed, attempt 3: OSError: disk full. The next attempt is made "
        "in 1 min 20 s. After 10 attempts, of which this was number 2, it is FAILED."
    )


def test_saga_that_was_cancelled() -> None:
    undoing = state("COMPENSATING", StepState("make", "UNDOING", 1, 1), awaiting=True)
    assert told(undoing).startswith("It is undone as somebody has cancelled it. It waits for")


def test_saga_whose_host_does_not_act() -> None:
    waiting = state("RUNNING", StepState("make", "RUNNING", 1), awaiting=True, due_at=at(23))
    assert told(waiting, now=10_000).endswith(
        "That was due 2 h 46 min ago: the host of why does not act. Look with `saga ps` whether "
        "it runs."
    )


def test_saga_that_waits_for_a_person() -> None:
    left = StepState("make", "UNDO_FAILED", 1, 10, error=BROKEN)
    assert told(state("FAILED", left, failure=NO)) == (
        "It could not be completed: pay: no_money: 2.00 is missing. "
        "The undo of make has failed: OSError: disk full. "
        "It waits for a person: mend the cause and `saga retry s`, "
        "or do it by hand and `saga skip s make --by WHO --reason WHY`."
    )


@pytest.mark.parametrize(
    ("saga", "words"),
    [
        (state("COMPLETED"), "It has completed, in 8.00 s; nothing is left to be done."),
        (
            state("COMPENSATED", failure=NO),
            "It could not be completed: pay: no_money: 2.00 is missing. "
            "What was done is undone, in 8.00 s; nothing is left to be done.",
        ),
        (
            state("UNREADABLE", failure=Failure("", "unreadable", "can't be read: id missing")),
            "Its row can't be read: id missing. Nothing of it is lost: mend the row or the code, "
            "and then `saga retry s` takes it up.",
        ),
    ],
)
def test_saga_that_has_ended(saga: SagaState, words: str) -> None:
    assert told(saga) == words


@pytest.mark.parametrize("declared", [None, Saga("why", Begin, [Step(Pay)])])
def test_saga_whose_declaration_has_changed_is_told_of_all_the_same(declared: Saga | None) -> None:
    waiting = state("RUNNING", StepState("make", "RUNNING", 1), awaiting=True, due_at=at(23))
    assert "to make, attempt 1, which was sent 12.0 s ago." in told(waiting, declared=declared)
