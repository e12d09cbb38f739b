"""The sendings of a saga's commands: how many, for how long, and how soon after a fault."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.runtime.problem import Problem
from saga.runtime.retry import Retry
from saga.runtime.saga import Saga
from saga.runtime.saga_history import Change, Moment
from saga.runtime.saga_state import SagaState, StepState
from saga.runtime.sending import LONGEST_WAIT
from saga.runtime.testing.path import Transitions
from saga.runtime.testing.sending import sending_problems, sendings

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEADLINE = NOON + timedelta(days=1)
PAY = "process_payment"
SENT, FAULT, TIMEOUT = ("RUNNING",), ("RUNNING", "Fault"), ("RUNNING", "timeout")
UNDO, UNDO_FAULT, UNDO_TIMEOUT = ("UNDOING",), ("UNDOING", "Fault"), ("UNDOING", "timeout")
DONE, UNDONE, REJECTED, GIVEN_UP = ("DONE",), ("UNDONE",), ("REJECTED", "no"), ("UNDO_FAILED", "x")
NEXT = [Change("complete_order", "RUNNING")]

Told = tuple[float, tuple[str, ...]]  # seconds after noon, what became of the payment


def path(*told: Told) -> Transitions:
    """Write down what became of the payment, and when."""
    return [
        Moment(NOON + timedelta(seconds=at), "RUNNING", [Change(PAY, *words)]) for at, words in told
    ]


def problems(
    *told: Told,
    attempts: int = 1,
    undo_attempts: int = 0,
    error: Problem | None = None,
    saga: Saga = place_order,
) -> list[str]:
    # One that can't be sent hides nothing of those behind it.
    never = StepState("create_order", attempts=1, error=Problem(code="invalid_command", message=""))
    step = StepState(PAY, attempts=attempts, undo_attempts=undo_attempts, error=error)
    state = SagaState(
        id="s",
        name=saga.name,
        status="RUNNING",
        input={},
        steps=(never, step),
        created_at=NOON,
        updated_at=NOON,
        deadline_at=DEADLINE,
    )
    unmade = Moment(NOON, "RUNNING", [Change("create_order", "FAILED", "invalid_command")])
    return list(sending_problems(saga, state, [unmade, *path(*told)]))


def test_one_answered_sending_is_fine() -> None:
    assert problems((0, SENT), (0.1, DONE)) == []
    assert problems((0, SENT), (0.1, REJECTED)) == []


def test_fault_and_the_sending_after_it_are_two_transitions() -> None:
    told = path((0, SENT), (1, FAULT), (2, FAULT), (3, FAULT), (4, FAULT), (5, DONE))
    found = [(one.number, one.at, one.ended_at, one.error) for one in sendings(told)]
    at = [NOON + timedelta(seconds=second) for second in range(6)]
    assert found == [
        (1, at[0], at[1], "Fault"),
        (2, at[2], at[3], "Fault"),
        (3, at[4], at[5], ""),
    ]


def test_timeout_and_the_sending_after_it_are_one_transition() -> None:
    told = path((0, SENT), (15, TIMEOUT), (30, TIMEOUT), (31, DONE))
    assert [(one.number, one.silences, one.error) for one in sendings(told)] == [
        (1, 0, "timeout"),
        (1, 1, "timeout"),
        (1, 2, ""),
    ]


def test_attempt_after_a_fault_has_had_no_silence() -> None:
    told = path((0, SENT), (15, TIMEOUT), (16, FAULT), (17, FAULT), (18, DONE))
    found = [(one.number, one.silences, one.error) for one in sendings(told)]
    assert found == [(1, 0, "timeout"), (1, 1, "Fault"), (2, 0, "")]


def test_error_of_a_step_that_could_not_be_sent_is_no_other_steps() -> None:
    """What came of it is told first, and the answer to the step before it at the end."""
    words = [Change(PAY, "FAILED", "invalid_command"), Change("create_order", "UNDOING")]
    begun = Moment(NOON, "RUNNING", [Change("create_order", "RUNNING")])
    found = sendings([begun, Moment(NOON + timedelta(seconds=1), "COMPENSATING", words)])
    assert [(one.step, one.status, one.error) for one in found] == [
        ("create_order", "RUNNING", ""),
        ("create_order", "UNDOING", ""),
    ]


def test_undo_that_answers_has_no_error_of_its_own() -> None:
    told = path((0, SENT), (15, UNDO_TIMEOUT), (16, ("UNDONE", "timeout")))
    found = [(one.status, one.number, one.error, one.given_up) for one in sendings(told)]
    assert found == [("RUNNING", 1, "timeout", True), ("UNDOING", 1, "", True)]


def test_sendings_of_other_steps_are_counted_by_themselves() -> None:
    first = Moment(NOON, "RUNNING", [Change("create_order", "RUNNING")])
    both = [Change("create_order", "DONE"), Change(PAY, "RUNNING")]
    found = sendings([first, Moment(NOON + timedelta(seconds=1), "RUNNING", both)])
    assert [(one.step, one.number, one.ended_at is None) for one in found] == [
        ("create_order", 1, False),
        (PAY, 1, True),
    ]


@pytest.mark.parametrize("attempts", [1, 3])
def test_attempts_that_were_not_made_or_not_counted_are_told(attempts: int) -> None:
    told = ((0, SENT), (1, FAULT), (2, FAULT), (3, DONE))
    assert problems(*told, attempts=2) == []
    found = [f"{PAY} counts {attempts} attempts RUNNING, of 2 made"]
    for error in (None, Problem(code="Fault", message="")):
        assert problems(*told, attempts=attempts, error=error) == found


def test_attempts_to_undo_are_counted_by_themselves() -> None:
    told = ((0, SENT), (1, DONE), (2, UNDO), (3, UNDO_FAULT), (4, UNDO_FAULT), (5, UNDONE))
    assert problems(*told, undo_attempts=2) == []
    assert problems(*told, undo_attempts=1) == [f"{PAY} counts 1 attempts UNDOING, of 2 made"]


def test_more_attempts_than_declared_are_told() -> None:
    often = [(60.0 * n, FAULT) for n in range(1, 11)]
    allowed = place_order.step(PAY).retry.attempts
    assert problems((0, SENT), *often, attempts=6) == [f"{PAY} had 6 attempts, of {allowed}"]
    assert problems((0, SENT), *often[:-2], attempts=allowed) == []


def test_command_that_can_not_be_made_is_counted_and_not_sent() -> None:
    error = Problem(code="invalid_command", message="")
    assert problems((0, ("FAILED", "invalid_command")), attempts=1, error=error) == []


@pytest.mark.parametrize("before", [(SENT, DONE), (SENT,), (SENT, DONE, GIVEN_UP)])
def test_undo_that_can_not_be_made_is_counted_and_not_sent(before: list[tuple[str, ...]]) -> None:
    told = [*enumerate(before), (10, ("UNDO_FAILED", "invalid_command"))]
    assert problems(*told, undo_attempts=1) == []
    assert problems(*told) == [f"{PAY} counts 0 attempts UNDOING, of 1 made"]


def test_undo_of_what_could_not_be_made_is_sent() -> None:
    told = ((0, ("UNDOING", "invalid_command")), (1, UNDONE))
    assert problems(*told, attempts=1, undo_attempts=1) == []


def test_refused_undo_was_sent_though_it_has_the_code_of_one_that_was_not() -> None:
    told = ((0, SENT), (1, DONE), (2, UNDO), (3, ("UNDO_FAILED", "invalid_command")))
    assert problems(*told, undo_attempts=1) == []


def test_numbers_of_attempts_count_those_that_could_not_be_made() -> None:
    told = ((0, SENT), (1, DONE), (2, ("UNDO_FAILED", "invalid_command")), (3, UNDO), (4, UNDONE))
    assert [(one.status, one.number) for one in sendings(path(*told))] == [
        ("RUNNING", 1),
        ("UNDOING", 2),
    ]


def test_timeout_before_its_time_is_told() -> None:
    seconds = place_order.step(PAY).timeout
    assert problems((0, SENT), (seconds, TIMEOUT)) == []
    found = [f"{PAY} was given 0:00:14.900000 of 0:00:15 to answer"]
    assert problems((0, SENT), (seconds - 0.1, TIMEOUT)) == found


def test_giving_up_because_nobody_answers_is_told() -> None:
    found = [f"{PAY} was given up because nobody answered"]
    assert problems((0, SENT), (60, UNDO_TIMEOUT), undo_attempts=1) == found
    given_up = ((0, UNDO), (60, ("UNDO_FAILED", "timeout")))
    assert problems(*given_up, attempts=0, undo_attempts=1) == found


def test_trying_a_do_again_after_the_deadline_is_told() -> None:
    late = DEADLINE - NOON
    found = [f"went on trying {PAY} after its deadline at {DEADLINE}"]
    assert problems((0, SENT), (late.total_seconds(), TIMEOUT)) == found
    fault = ((0, SENT), (1, FAULT), (late.total_seconds(), FAULT))
    assert problems(*fault, attempts=2) == found
    assert problems((late.total_seconds(), SENT)) == []
    undo = ((0, UNDO), (late.total_seconds(), UNDO_TIMEOUT))
    assert problems(*undo, attempts=0, undo_attempts=1) == []


def test_other_ends_may_come_at_once() -> None:
    assert problems((0, SENT), (0.1, ("UNDOING", "cancelled")), undo_attempts=1) == []
    assert problems((0, SENT), (15, TIMEOUT), (15, ("DONE",))) == []


@pytest.mark.parametrize(("sent", "silent"), [(SENT, TIMEOUT), (UNDO, UNDO_TIMEOUT)])
def test_each_silence_has_twice_the_time(sent: tuple[str], silent: tuple[str, str]) -> None:
    counted = {"attempts": int(sent == SENT), "undo_attempts": int(sent == UNDO)}
    right = ((0, sent), (15, silent), (45, silent), (105, silent))
    assert problems(*right, **counted) == []  # type: ignore[arg-type]
    early = ((0, sent), (15, silent), (44, silent))
    found = [f"{PAY} was given 0:00:29 of 0:00:30 to answer"]
    assert problems(*early, **counted) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("timeout", "longest"), [(10.0, LONGEST_WAIT), (10 * LONGEST_WAIT, 10 * LONGEST_WAIT)]
)
def test_undo_waits_no_longer_than_the_limit_or_its_own_time_out(
    timeout: float, longest: float
) -> None:
    steps = [replace(step, timeout=timeout) for step in place_order.steps]
    patient = replace(place_order, steps=steps)
    at = 0.0
    told: list[Told] = [(0.0, UNDO)]
    for n in range(20):
        at += min(timeout * 2**n, longest)
        told.append((at, UNDO_TIMEOUT))
    assert problems(*told, attempts=0, undo_attempts=1, saga=patient) == []
    told[-1] = (at - 1, UNDO_TIMEOUT)
    short, whole = timedelta(seconds=longest - 1), timedelta(seconds=longest)
    found = [f"{PAY} was given {short} of {whole} to answer"]
    assert problems(*told, attempts=0, undo_attempts=1, saga=patient) == found


RULE = Retry(attempts=9, first=8.0, factor=2.0, longest=12.0)  # waits of 8, 12, 12, … seconds
OTHER = Retry(attempts=9, first=1.0, factor=1.0)


def backing_off(retry: Retry, undo_retry: Retry) -> Saga:
    steps = [replace(step, retry=retry, undo_retry=undo_retry) for step in place_order.steps]
    return replace(place_order, steps=steps)


BACKING_OFF = backing_off(RULE, RULE)


@pytest.mark.parametrize("undo", [False, True])
def test_back_off_is_waited_of_which_half_may_be_taken_off(undo: bool) -> None:
    sent, fault = (UNDO, UNDO_FAULT) if undo else (SENT, FAULT)
    saga = backing_off(OTHER, RULE) if undo else backing_off(RULE, OTHER)

    def found(first: float, second: float) -> list[str]:
        told = [(0, sent), (1, fault), (1 + first, fault), (50, fault), (50 + second, fault)]
        counted = {"attempts": 0, "undo_attempts": 3} if undo else {"attempts": 3}
        return problems(*told, saga=saga, **counted)  # type: ignore[arg-type]

    assert found(4.0, 6.0) == []
    early = f"{PAY} was sent again after 0:00:03.900000, and not 0:00:04 at least"
    assert found(3.9, 6.0) == [early]
    early = f"{PAY} was sent again after 0:00:05.900000, and not 0:00:06 at least"
    assert found(4.0, 5.9) == [early]


def test_after_a_timeout_there_is_no_back_off() -> None:
    told = ((0, SENT), (15, TIMEOUT), (45, TIMEOUT))
    assert problems(*told, saga=BACKING_OFF) == []


def test_operator_need_not_wait_after_a_round() -> None:
    told = ((0, UNDO), (1, GIVEN_UP), (1, ("UNDOING", "x")), (2, UNDONE))
    assert problems(*told, attempts=0, undo_attempts=2, saga=BACKING_OFF) == []


def test_undo_of_what_has_just_failed_need_not_wait() -> None:
    told = ((0, SENT), (1, UNDO_FAULT), (2, UNDONE))
    assert problems(*told, undo_attempts=1, saga=BACKING_OFF) == []


def test_history_that_does_not_fit_together_is_read_all_the_same() -> None:
    nothing = Moment(NOON, "RUNNING", [])
    assert sendings([nothing]) == []
    begun = Moment(NOON, "RUNNING", [Change("create_order", "RUNNING")])
    both = [begun, *path((1, SENT), (2, DONE))]
    assert [one.ended_at for one in sendings(both)] == [None, NOON + timedelta(seconds=2)]
    state = SagaState("s", "x", "RUNNING", {}, (), NOON, NOON, NOON)
    assert list(sending_problems(place_order, state, both)) == []


def test_late_answer_ends_a_back_off() -> None:
    answered = [
        *path((0, SENT), (1, FAULT)),
        Moment(NOON + timedelta(seconds=2), "RUNNING", [*path((2, DONE))[0].steps, *NEXT]),
    ]
    state = SagaState("s", "x", "RUNNING", {}, (), NOON, NOON, NOON)
    assert list(sending_problems(BACKING_OFF, state, answered)) == []
    assert problems((0, SENT), (1, FAULT), (1, ("UNDOING", "late")), undo_attempts=1) == []
