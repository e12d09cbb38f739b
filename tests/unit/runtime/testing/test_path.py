"""A saga's path: what it may do on its way, and what not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.runtime.problem import Problem
from saga.runtime.saga_history import Change, Moment
from saga.runtime.saga_state import Failure, SagaState, StepState
from saga.runtime.testing.path import Transitions, path_problems

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NAMES = [step.name for step in place_order.steps]
CREATE, RESERVE, PAY, COMPLETE = NAMES


def path(*told: str) -> Transitions:
    """Write a path down: `RUNNING: reserve_product DONE, process_payment RUNNING`."""
    moments = []
    for second, line in enumerate(told):
        status, _, words = line.partition(": ")
        steps = [Change(*word.split(maxsplit=2)) for word in words.split(", ")]
        moments.append(Moment(NOON + timedelta(seconds=second), status, steps))
    return moments


def state_after(told: Transitions, **attempts: tuple[int, int]) -> SagaState:
    """Make the state that a path leads to; `attempts` are those that are not one each."""
    steps = dict.fromkeys(NAMES, "PENDING")
    begun: set[tuple[str, str]] = set()
    for moment in told:
        steps |= {change.name: change.status for change in moment.steps}
        begun |= {(change.name, change.status) for change in moment.steps}
    return SagaState(
        id="s",
        name=place_order.name,
        status=told[-1].status,  # type: ignore[arg-type]
        input={},
        steps=tuple(
            StepState(name, status, *attempts.get(name, ran(begun, name)))  # type: ignore[arg-type]
            for name, status in steps.items()
        ),
        created_at=NOON,
        updated_at=NOON,
        deadline_at=NOON + timedelta(seconds=300),
    )


def ran(begun: set[tuple[str, str]], name: str) -> tuple[int, int]:
    return int((name, "RUNNING") in begun), int((name, "UNDOING") in begun)


def problems(told: Transitions, **attempts: tuple[int, int]) -> list[str]:
    return list(path_problems(place_order, state_after(told, **attempts), told))


FORWARD = [
    f"RUNNING: {CREATE} RUNNING",
    f"RUNNING: {CREATE} DONE, {RESERVE} RUNNING",
    f"RUNNING: {RESERVE} DONE, {PAY} RUNNING",
]
COMPLETED = [
    *FORWARD,
    f"RUNNING: {PAY} DONE, {COMPLETE} RUNNING",
    f"COMPLETED: {COMPLETE} DONE",
]
COMPENSATED = [
    *FORWARD,
    f"COMPENSATING: {PAY} REJECTED, {RESERVE} UNDOING",
    f"COMPENSATING: {RESERVE} UNDONE, {CREATE} UNDOING",
    f"COMPENSATED: {CREATE} UNDONE",
]


@pytest.mark.parametrize("told", [COMPLETED, COMPENSATED])
def test_step_by_step_there_and_back_is_fine(told: list[str]) -> None:
    assert problems(path(*told)) == []


def test_attempt_after_a_fault_is_fine() -> None:
    again = [FORWARD[0], f"{FORWARD[0]} Fault", f"{FORWARD[0]} Fault", *COMPLETED[1:]]
    assert problems(path(*again)) == []


def test_attempt_for_no_reason_is_told() -> None:
    again = [FORWARD[0], FORWARD[0], *COMPLETED[1:]]
    assert problems(path(*again), create_order=(2, 0)) == [
        f"{CREATE} was RUNNING and was sent again, though nothing had failed"
    ]


# The release fails, and the order is cancelled all the same.
FAILED = [
    *COMPENSATED[:4],
    f"COMPENSATING: {RESERVE} UNDO_FAILED, {CREATE} UNDOING",
    f"FAILED: {CREATE} UNDONE",
]
BOTH_FAILED = [*FAILED[:-1], f"FAILED: {CREATE} UNDO_FAILED"]
AGAIN = f"COMPENSATING: {RESERVE} UNDOING"


def test_failed_undo_that_is_tried_again_is_fine() -> None:
    told = path(*FAILED, AGAIN, f"COMPENSATED: {RESERVE} UNDONE")
    assert problems(told, reserve_product=(1, 2)) == []


def test_failed_undos_that_are_all_tried_again_are_fine() -> None:
    told = path(
        *BOTH_FAILED,
        AGAIN,
        f"COMPENSATING: {RESERVE} UNDO_FAILED, {CREATE} UNDOING",
        f"FAILED: {CREATE} UNDONE",
        AGAIN,
        f"COMPENSATED: {RESERVE} UNDONE",
    )
    assert problems(told, reserve_product=(1, 3), create_order=(1, 2)) == []


def test_undo_that_is_tried_more_than_once_after_another_has_failed_is_fine() -> None:
    again = [f"COMPENSATING: {CREATE} UNDOING Fault"] * 2
    assert problems(path(*FAILED[:-1], *again, FAILED[-1]), create_order=(1, 2)) == []


def test_failed_undo_that_a_retry_passes_over_is_told() -> None:
    told = path(*BOTH_FAILED, f"COMPENSATING: {CREATE} UNDOING", f"FAILED: {CREATE} UNDONE")
    found = problems(told, create_order=(1, 2))
    assert found == [f"began to undo {CREATE} before {RESERVE}"]


BY_HAND = "UNDONE skipped: Ada: see note 7: in cash"


def test_undo_done_by_hand_is_fine() -> None:
    assert problems(path(*FAILED, f"COMPENSATED: {RESERVE} {BY_HAND}")) == []
    both = [*BOTH_FAILED, f"FAILED: {RESERVE} {BY_HAND}", f"COMPENSATED: {CREATE} {BY_HAND}"]
    assert problems(path(*both)) == []
    while_others_run = [*BOTH_FAILED[:5], f"COMPENSATING: {RESERVE} {BY_HAND}", COMPENSATED[5]]
    assert problems(path(*while_others_run)) == []


@pytest.mark.parametrize("words", ["", " no_release", " skipped", " skipped: Ada"])
def test_failed_undo_that_is_undone_without_a_person_and_a_reason_is_told(words: str) -> None:
    assert problems(path(*FAILED, f"COMPENSATED: {RESERVE} UNDONE{words}")) == [
        "was FAILED and became COMPENSATED",
        f"{RESERVE} was UNDO_FAILED and became UNDONE",
    ]


def test_completed_saga_is_not_compensated_by_hand() -> None:
    found = problems(path(*COMPLETED, f"COMPENSATED: {CREATE} {BY_HAND}"))
    assert "was COMPLETED and became COMPENSATED" in found


@pytest.mark.parametrize(("told", "before"), [(FORWARD[:2], "DONE"), (FORWARD[:1], "RUNNING")])
def test_what_no_undo_has_failed_of_is_not_done_by_hand(told: list[str], before: str) -> None:
    found = problems(path(*told, f"COMPENSATED: {CREATE} {BY_HAND}"))
    assert f"{CREATE} was {before} and became UNDONE" in found


def test_saga_whose_other_undo_is_open_is_not_compensated_by_hand() -> None:
    found = problems(path(*BOTH_FAILED, f"COMPENSATED: {RESERVE} {BY_HAND}"))
    assert found == [f"COMPENSATED, but {CREATE} is UNDO_FAILED"]


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ([*COMPENSATED[:4], f"FAILED: {RESERVE} UNDO_FAILED"], f"FAILED, but {CREATE} is DONE"),
        ([*COMPENSATED[:5], f"FAILED: {CREATE} UNDONE"], "FAILED, but no undo has"),
    ],
)
def test_saga_that_fails_before_it_has_tried_all_undos_or_without_one_is_told(
    told: list[str], problem: str
) -> None:
    assert problems(path(*told)) == [problem]


def test_saga_without_a_path_has_a_problem() -> None:
    state = state_after(path(*COMPLETED))
    assert list(path_problems(place_order, state, [])) == ["has no history"]


def test_step_that_begins_too_early_is_told() -> None:
    skipped = [COMPLETED[0], f"RUNNING: {CREATE} DONE, {PAY} RUNNING", *COMPLETED[3:]]
    assert f"began {PAY} before the step before it was done" in problems(path(*skipped))


def test_undo_in_the_wrong_order_is_told() -> None:
    turned = [
        *FORWARD,
        f"COMPENSATING: {PAY} REJECTED, {CREATE} UNDOING",
        f"COMPENSATING: {CREATE} UNDONE, {RESERVE} UNDOING",
        f"COMPENSATED: {RESERVE} UNDONE",
    ]
    assert problems(path(*turned)) == [f"began to undo {CREATE} before {RESERVE}"]


def test_undo_in_the_wrong_order_is_told_at_its_beginning() -> None:
    turned = path(*FORWARD, f"COMPENSATING: {PAY} REJECTED, {CREATE} UNDOING")
    assert problems(turned) == [f"began to undo {CREATE} before {RESERVE}"]


def test_completed_saga_with_a_step_left_is_told() -> None:
    assert f"COMPLETED, but {COMPLETE} is PENDING" in problems(
        path(*FORWARD, f"COMPLETED: {PAY} DONE")
    )


@pytest.mark.parametrize("left", ["RUNNING", "DONE", "FAILED", "UNDOING", "UNDO_FAILED"])
def test_compensated_saga_with_a_step_that_may_have_done_its_work_is_told(left: str) -> None:
    told = path(*COMPENSATED[:5], f"COMPENSATED: {CREATE} {left}")
    assert f"COMPENSATED, but {CREATE} is {left}" in problems(told, create_order=(1, 1))


def test_step_without_an_undo_may_be_left_when_compensated() -> None:
    told = path(
        *COMPLETED[:4],
        f"COMPENSATING: {COMPLETE} FAILED, {PAY} UNDOING",
        f"COMPENSATING: {PAY} UNDONE, {RESERVE} UNDOING",
        *COMPENSATED[4:],
    )
    assert problems(told) == []


def test_history_of_another_end_is_told() -> None:
    told = path(*COMPLETED)
    state = replace(state_after(told), status="COMPENSATED")
    assert "is COMPENSATED, and its history ends COMPLETED" in list(
        path_problems(place_order, state, told)
    )


def test_history_of_other_steps_is_told() -> None:
    told = path(*COMPLETED)
    state = state_after(told)
    steps = (replace(state.steps[0], status="UNDONE"), *state.steps[1:])
    found = list(path_problems(place_order, replace(state, steps=steps), told))
    assert f"{CREATE} is UNDONE, and in its history DONE" in found


def gave_up(code: str, deadline: float, attempts: int, error: str) -> list[str]:
    """Give the payment up three seconds after noon."""
    given_up = f"COMPENSATING: {PAY} FAILED {error}, {RESERVE} UNDOING"
    told = path(*FORWARD, given_up, *COMPENSATED[4:])
    state = state_after(told)
    payment = replace(
        state.steps[2],
        status="UNDONE",
        attempts=attempts,
        error=Problem(code=error, message=""),
    )
    state = replace(
        state,
        failure=Failure(PAY, code, ""),
        deadline_at=NOON + timedelta(seconds=deadline),
        steps=(*state.steps[:2], payment, state.steps[3]),
    )
    return [text for text in path_problems(place_order, state, told) if "gave" in text]


def test_giving_up_with_the_attempts_or_the_time_is_fine() -> None:
    assert gave_up("attempts_exhausted", deadline=300, attempts=5, error="Fault") == []
    assert gave_up("attempts_exhausted", deadline=3, attempts=5, error="Fault") == []
    assert gave_up("deadline_exceeded", deadline=3, attempts=1, error="timeout") == []


def test_giving_up_too_early_is_told() -> None:
    [early] = gave_up("attempts_exhausted", deadline=300, attempts=4, error="Fault")
    assert early == f"gave {PAY} up after 4 of 5 attempts"
    [early] = gave_up("deadline_exceeded", deadline=4, attempts=1, error="timeout")
    assert early.startswith("gave up at 2026-01-01 12:00:03")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (f"COMPENSATED: {CREATE} UNDOING", f"{CREATE} was UNDONE and became UNDOING"),
        (f"RUNNING: {CREATE} DONE", "was COMPENSATED and became RUNNING"),
        (f"COMPENSATED: {PAY} UNDOING", f"{PAY} was REJECTED and became UNDOING"),
        (f"COMPENSATED: {COMPLETE} DONE", f"{COMPLETE} was PENDING and became DONE"),
    ],
)
def test_step_and_saga_do_not_go_back(line: str, text: str) -> None:
    assert text in problems(path(*COMPENSATED, line))


def test_failed_saga_does_not_end_without_another_try() -> None:
    skipped = [*BOTH_FAILED, COMPENSATED[5]]
    assert "was FAILED and became COMPENSATED" in problems(path(*skipped))


def blamed(step: str) -> list[str]:
    told = path(*COMPENSATED)
    state = replace(state_after(told), failure=Failure(step, "insufficient_funds", ""))
    return list(path_problems(place_order, state, told))


def test_step_that_was_in_flight_is_the_one_that_failed() -> None:
    assert blamed(PAY) == []


def test_step_that_could_not_be_sent_may_be_the_one_that_failed() -> None:
    told = path(
        *FORWARD[:2],
        f"COMPENSATING: {RESERVE} DONE, {PAY} UNDOING invalid_command",
        f"COMPENSATING: {PAY} UNDONE invalid_command, {RESERVE} UNDOING",
        *COMPENSATED[4:],
    )
    state = replace(state_after(told), failure=Failure(PAY, "invalid_command", ""))
    assert list(path_problems(place_order, state, told)) == []


def test_failure_of_what_goes_on_is_read_all_the_same() -> None:
    told = path(*FORWARD)
    state = replace(state_after(told), failure=Failure(PAY, "attempts_exhausted", ""))
    assert list(path_problems(place_order, state, told)) == []


@pytest.mark.parametrize(
    ("step", "status"), [(CREATE, "DONE"), (RESERVE, "DONE"), (COMPLETE, "PENDING")]
)
def test_failure_of_another_step_is_told(step: str, status: str) -> None:
    assert blamed(step) == [f"failed by {step}, which was {status} then"]
