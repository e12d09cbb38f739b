"""What a simulation says of attempts: each that failed was answered so, a round has them all."""

from datetime import UTC, datetime, timedelta

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.runtime.saga_history import Change, Moment
from saga.runtime.saga_state import SagaState, StepState
from saga.runtime.simulation.attempts import Attempt, attempt_problems
from saga.runtime.testing.judgement import Case
from saga.runtime.testing.request import Request

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAY = "process_payment"


def problems(changes: list[Change], *answered: Attempt) -> list[str]:
    """Judge a saga whose payment has changed so, once a minute."""
    state = SagaState(
        id="s",
        name=place_order.name,
        status="COMPENSATED",
        input={},
        steps=(StepState(PAY),),
        created_at=NOON,
        updated_at=NOON,
        deadline_at=NOON,
    )
    path = [Moment(NOON + timedelta(minutes=n), "RUNNING", [c]) for n, c in enumerate(changes)]
    return list(attempt_problems(place_order, Case(Request({}), state, path), set(answered)))


def undo_given_up(attempts: int, code: str = "Oh") -> list[Change]:
    """Make a round of an undo; all but its last attempt have failed."""
    failed = [Change(PAY, "UNDOING", "Oh")] * 2 * (attempts - 1)
    return [Change(PAY, "UNDOING"), *failed, Change(PAY, "UNDO_FAILED", code)]


def failures(attempts: int) -> list[Attempt]:
    """Make the answers to so many attempts to undo."""
    return [(f"s/{PAY}/undo/reply", "failed", str(n)) for n in range(1, attempts + 1)]


# The first attempt was at first not answered in time; it and the second one failed.
FAILED = [
    Change(PAY, "RUNNING"),
    Change(PAY, "RUNNING", "timeout"),
    Change(PAY, "RUNNING", "Oh"),
    Change(PAY, "RUNNING", "Oh"),
    Change(PAY, "UNDOING", "Oh"),
]
FIRST = (f"s/{PAY}/do/reply", "failed", "1")


def test_attempts_that_failed_or_timed_out_are_fine() -> None:
    assert problems(FAILED, FIRST, (f"s/{PAY}/do/reply", "failed", "2")) == []


@pytest.mark.parametrize(
    "answered",
    [
        (f"t/{PAY}/do/reply", "failed", "2"),
        (f"s/{PAY}/undo/reply", "failed", "2"),
        (f"s/{PAY}/do/reply", "failed", "3"),
        (f"s/{PAY}/do/reply", "done", "2"),
    ],
)
def test_attempt_whose_failure_nobody_has_told_is_found(answered: Attempt) -> None:
    told = f"attempt 2 of {PAY} RUNNING failed by Oh, which nobody has answered"
    assert problems(FAILED, FIRST, answered) == [told]


@pytest.mark.parametrize("code", ["cancelled", "deadline_exceeded", "invalid_command"])
def test_what_no_service_has_said_needs_no_answer(code: str) -> None:
    assert problems([Change(PAY, "RUNNING"), Change(PAY, "UNDOING", code)]) == []


@pytest.mark.parametrize("attempts", [9, 11])
def test_round_of_another_length_is_found(attempts: int) -> None:
    assert problems(undo_given_up(10), *failures(10)) == []
    told = f"gave up at attempt {attempts} of {PAY} UNDOING, of 10 in a round"
    assert problems(undo_given_up(attempts), *failures(attempts)) == [told]


def test_second_round_is_as_long_as_the_first() -> None:
    assert problems(undo_given_up(10) * 2, *failures(20)) == []
    told = f"gave up at attempt 19 of {PAY} UNDOING, of 10 in a round"
    assert problems(undo_given_up(10) + undo_given_up(9), *failures(19)) == [told]


def test_round_after_a_refusal_is_a_full_one() -> None:
    refusal = (f"s/{PAY}/undo/reply", "rejected", "1")
    assert problems(undo_given_up(1, "no") + undo_given_up(10), refusal, *failures(11)) == []
    told = f"gave up at attempt 10 of {PAY} UNDOING, of 10 in a round"
    assert problems(undo_given_up(1, "no") + undo_given_up(9), refusal, *failures(10)) == [told]


def test_undo_that_is_refused_is_given_up_at_once() -> None:
    refused = undo_given_up(1, "no")
    assert problems(refused, (f"s/{PAY}/undo/reply", "rejected", "1")) == []
    assert problems(undo_given_up(1, "invalid_command")) == []


def test_undo_that_is_done_is_not_given_up() -> None:
    assert problems([Change(PAY, "UNDOING"), Change(PAY, "UNDONE")]) == []
