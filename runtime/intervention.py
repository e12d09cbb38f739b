"""What a person asks of a saga, as pure functions: to cancel it, to retry or skip failed undos."""

from dataclasses import replace
from datetime import datetime

from .errors import Conflict
from .problem import Problem, problem_of
from .saga import Saga
from .saga_state import SKIPPED, SagaState
from .transition import Transition, compensate, give_up, settled

BY_LIMIT, REASON_LIMIT = 100, 500  # characters of who has undone a step by hand, and why


def cancel(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Undo a running saga on request; a compensating one goes on as it is.

    Raises `Conflict` when the saga has ended.
    """
    if state.ended:
        raise Conflict(f"saga {state.id} has already ended: {state.status}", "saga_ended")
    index = state.in_flight
    if index is None or state.status == "COMPENSATING":
        return state, []
    problem = Problem(code="cancelled", message="cancelled on request", public=True)
    return give_up(saga, state, index, problem, now)


def retry(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Give all failed undos a full round of attempts, in reverse.

    Raises `Conflict` when the saga has not failed.
    """
    if state.status != "FAILED":
        what = f"saga {state.id} is {state.status}, only a FAILED one can be retried"
        raise Conflict(what, "saga_not_failed")
    return compensate(saga, state, now)


def skip(
    saga: Saga, state: SagaState, step: str, by: str, reason: str, now: datetime
) -> Transition:
    """Record that a person has done a failed undo by hand: who, and why, both cut to their limits.

    The saga goes on when no other undo has failed. Raises `Conflict` when this one has not, or
    where nobody or no reason is named.
    """
    if not (by.strip() and reason.strip()):
        raise Conflict(f"who has undone {step!r} of saga {state.id} by hand, and why?")
    failed = [i for i, one in enumerate(state.steps) if one.status == "UNDO_FAILED"]
    index = next((i for i in failed if state.steps[i].name == step), None)
    if index is None:
        what = f"saga {state.id} is {state.status}, and has no failed undo of {step!r}"
        raise Conflict(what, "no_failed_undo")
    told = problem_of(SKIPPED, f"{by[:BY_LIMIT]}: {reason[:REASON_LIMIT]}", public=True)
    steps = settled(state, index, status="UNDONE", error=told, finished_at=now)
    state = replace(state, steps=steps, updated_at=now)
    if state.status != "FAILED" or len(failed) > 1:
        return state, []
    return compensate(saga, state, now)
