"""What a simulation says of attempts: a saga that gives up has had as many as it says."""

from datetime import UTC, datetime, timedelta

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.runtime.saga_history import Change, Moment
from saga.runtime.saga_state import Failure, SagaState, StepState
from saga.runtime.simulation.attempts import Attempt, attempt_problems
from saga.runtime.testing.judgement import Case
from saga.runtime.testing.request import Request

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAY = "process_payment"


def problems(step: StepState, changes: list[Change], answered: set[Attempt]) -> list[str]:
    """Judge a saga whose payment has failed after these changes, one a minute."""
    state = SagaState(
        id="s",
        name=place_order.name,
        status="COMPENSATED",
        input={},
        events={},
        steps=(step,),
        created_at=NOON,
        updated_at=NOON,
        deadline_at=NOON,
        failure=Failure(PAY, "attempts_exhausted", ""),
    )
    path = [Moment(NOON + timedelta(minutes=n), "RUNNING", [c]) for n, c in enumerate(changes)]
    return list(attempt_problems(place_order, Case(Request({}), state, path), answered))


@pytest.fixture
def changes() -> list[Change]:
    """Two attempts, of which the first was not answered in time."""
    return [Change(PAY, "RUNNING"), Change(PAY, "RUNNING", "timeout"), Change(PAY, "UNDOING", "Oh")]


def test_attempts_that_failed_or_timed_out_are_fine(changes: list[Change]) -> None:
    failed = {(f"s/{PAY}/do/reply", "failed", "2")}
    assert problems(StepState(PAY, attempts=2), changes, failed) == []


def test_attempt_whose_failure_nobody_has_told_is_found(changes: list[Change]) -> None:
    others = {(f"t/{PAY}/do/reply", "failed", "2"), (f"s/{PAY}/undo/reply", "failed", "2")}
    told = [f"{PAY} gave up after 2 attempts, of which 0 failed"]
    assert problems(StepState(PAY, attempts=2), changes, others) == told


@pytest.mark.parametrize(
    ("undo_attempts", "refused", "told"),
    [
        (10, 0, []),
        (1, 1, []),
        (9, 0, [f"{PAY} was given up 1 times, in 9 attempts to undo"]),
    ],
)
def test_undo_is_given_up_after_all_its_attempts_or_refused(
    undo_attempts: int, refused: int, told: list[str]
) -> None:
    answered = {(f"s/{PAY}/undo/reply", "rejected", str(n)) for n in range(refused)}
    step = StepState(PAY, undo_attempts=undo_attempts)
    assert problems(step, [Change(PAY, "UNDO_FAILED")], answered) == told
