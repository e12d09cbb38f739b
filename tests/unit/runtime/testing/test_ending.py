"""How a saga's row tells its end: what it may say, and what not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga.runtime.problem import Problem
from saga.runtime.saga_state import Failure, SagaState, StepState
from saga.runtime.testing.ending import ending_problems

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(seconds=1)
NONE_LEFT = Problem(code="none_left", message="")

COMPLETED = SagaState(
    id="s",
    name="order",
    status="COMPLETED",
    input={},
    steps=(
        StepState("reserve", "DONE", 1, 0, NOON, NOON),
        StepState("pay", "DONE", 1, 0, NOON, LATER),
    ),
    created_at=NOON,
    updated_at=LATER,
    deadline_at=NOON,
)
REJECTED = replace(
    COMPLETED,
    status="COMPENSATED",
    failure=Failure("pay", "none_left", ""),
    steps=(
        StepState("reserve", "UNDONE", 1, 1, NOON, LATER),
        StepState("pay", "REJECTED", 1, 0, NOON, NOON, NONE_LEFT),
        StepState("pack"),
    ),
)


def problems(state: SagaState, **changes: Any) -> list[str]:
    return list(ending_problems(replace(state, **changes)))


def with_step(state: SagaState, index: int, **changes: Any) -> SagaState:
    steps = list(state.steps)
    steps[index] = replace(steps[index], **changes)
    return replace(state, steps=tuple(steps))


@pytest.mark.parametrize("state", [COMPLETED, REJECTED])
def test_whole_row_is_fine(state: SagaState) -> None:
    assert problems(state) == []


def test_saga_in_flight_is_not_judged() -> None:
    assert problems(COMPLETED, status="RUNNING", due_at=NOON, awaiting=True, updated_at=NOON) == []


@pytest.mark.parametrize("left", [{"due_at": NOON}, {"awaiting": True}])
def test_saga_that_still_waits_is_told(left: dict[str, Any]) -> None:
    [text] = problems(COMPLETED, **left)
    assert text.startswith("has ended, and still waits")


def test_failure_that_does_not_fit_the_end_is_told() -> None:
    assert problems(COMPLETED, failure=REJECTED.failure)[0].startswith("is COMPLETED, and its")
    assert "is COMPENSATED, and its failure is None" in problems(REJECTED, failure=None)


def test_end_at_another_time_is_told() -> None:
    assert problems(COMPLETED, updated_at=NOON + timedelta(days=1)) == [
        "has ended at 2026-01-02 12:00:00+00:00, when no step has"
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"started_at": None}, "reserve was sent 1 times, and started at None"),
        ({"attempts": 0}, "reserve was sent 0 times, and started at"),
        ({"finished_at": None}, "reserve is DONE, and finished at None"),
        ({"status": "PENDING"}, "reserve is PENDING, and finished at"),
        ({"error": NONE_LEFT}, "reserve is DONE, and its error is"),
    ],
)
def test_step_that_does_not_fit_together_is_told(changes: dict[str, Any], text: str) -> None:
    [told] = ending_problems(with_step(COMPLETED, 0, **changes))
    assert told.startswith(text)


@pytest.mark.parametrize(
    "failure", [Failure("reserve", "none_left", ""), Failure("pay", "other", "")]
)
def test_rejection_that_is_not_the_failure_is_told(failure: Failure) -> None:
    [text] = problems(REJECTED, failure=failure)
    assert text.startswith("was rejected by ('pay', 'none_left'), and its failure is")


def test_rejection_without_a_reason_is_told() -> None:
    [text] = ending_problems(with_step(REJECTED, 1, error=None))
    assert text.startswith("was rejected by ('pay', ''), and its failure is")
