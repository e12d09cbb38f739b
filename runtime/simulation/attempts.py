"""Attempts: a saga gives up only after as many of them as it says have failed.

Each has ended with an answer that was seen here, or without one in its time.
"""

from collections.abc import Iterator, Set

from ..envelope import message_id
from ..saga import Saga
from ..saga_state import StepState
from ..testing.judgement import Case
from ..testing.path import time_outs

Attempt = tuple[str, str, str]  # a reply's id, its outcome, and the attempt that it names


def attempt_problems(saga: Saga, case: Case, answered: Set[Attempt]) -> Iterator[str]:
    """Say which steps gave up earlier than their answers explain."""
    for step in case.state.steps:
        yield from _do_problems(case, step, answered)
        yield from _undo_problems(saga, case, step, answered)


def _do_problems(case: Case, step: StepState, answered: Set[Attempt]) -> Iterator[str]:
    failure = case.state.failure
    if failure is None or (failure.step, failure.code) != (step.name, "attempts_exhausted"):
        return
    failed = _count(answered, f"{message_id(case.state.id, step.name, 'do')}/reply", "failed")
    unheard = sum((name, was) == (step.name, "RUNNING") for name, was, _ in time_outs(case.path))
    if step.attempts > failed + unheard:
        yield f"{step.name} gave up after {step.attempts} attempts, of which {failed} failed"


def _undo_problems(
    saga: Saga, case: Case, step: StepState, answered: Set[Attempt]
) -> Iterator[str]:
    """See that each round of an undo has had all its attempts, but for those that were refused."""
    rounds = sum(
        (name, status) == (step.name, "UNDO_FAILED") and code != "invalid_command"
        for moment in case.path
        for name, status, code in moment.steps
    )
    reply = f"{message_id(case.state.id, step.name, 'undo')}/reply"
    used_up = rounds - _count(answered, reply, "rejected")
    if step.undo_attempts < used_up * saga.step(step.name).undo_retry.attempts:
        yield f"{step.name} was given up {used_up} times, in {step.undo_attempts} attempts to undo"


def _count(answered: Set[Attempt], reply: str, outcome: str) -> int:
    return sum((identifier, told) == (reply, outcome) for identifier, told, _ in answered)
