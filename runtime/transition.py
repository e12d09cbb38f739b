"""What happens to a saga, as pure functions: `(saga, state, reply, now) -> (state, commands)`.

No I/O, no clock, no chance. The store, the topics and the clock are outside.
A saga in flight has exactly one step that is RUNNING or UNDOING.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from .database.connection import UNAVAILABLE
from .envelope import Action, Envelope, Problem, Reply, message_id, problem_in, problem_of
from .errors import ContractError, first_line
from .message import Command, Message, reasons
from .saga import Retry, Saga, Step
from .saga_state import Failure, SagaState, SagaStatus, StepState, StepStatus, differing

LONGEST_WAIT = 300.0  # seconds that an undo may go unanswered

# A failed or running step may have done its work without our knowing; a rejected one has not.
MAY_HAVE_DONE: frozenset[StepStatus] = frozenset({"DONE", "RUNNING", "FAILED"})

# What a later try may mend: another declaration, or a database that a validator asks.
MENDABLE = (ContractError, *UNAVAILABLE)


Transition = tuple[SagaState, list[Envelope]]


def start(
    saga: Saga, saga_id: str, message: Message, now: datetime, traceparent: str | None = None
) -> Transition:
    """Make a new saga and its first command."""
    fields = message.model_dump(mode="json")
    state = SagaState(
        id=saga_id,
        name=saga.name,
        status="RUNNING",
        input=fields,
        events={},
        steps=tuple(StepState(step.name) for step in saga.steps),
        created_at=now,
        updated_at=now,
        deadline_at=now + timedelta(seconds=saga.deadline),
        traceparent=traceparent,
    )
    return _send(saga, state, 0, "do", now)


def on_reply(saga: Saga, state: SagaState, reply: Reply, now: datetime) -> Transition:
    """Apply a reply. One that is late, early or of another step changes nothing.

    The reply that led to the command now awaited may come again, because its first delivery was
    not acknowledged: then that command may never have been sent, and is sent again.
    """
    index = state.in_flight
    if index is None:
        return state, []
    action: Action = "do" if state.status == "RUNNING" else "undo"
    step = state.steps[index]
    if (reply.step, reply.action) != (step.name, action):
        again = state.awaiting and state.answered == _answered(reply)
        return state, [_command(saga, state, index, action, now)] if again else []
    if reply.outcome == "failed":
        attempt = step.attempts if action == "do" else step.undo_attempts
        if not state.awaiting or reply.attempt != attempt:
            return state, []
        return _fault(saga, state, index, problem_in(reply), now)
    if action == "undo":
        return _undo_answered(saga, state, index, reply, now)
    return _do_answered(saga, state, index, reply, now)


def on_due(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Act on a saga whose `due_at` has passed: send again, give up, or meet the deadline."""
    index = state.in_flight
    if index is None or state.due_at is None or now < state.due_at:
        return state, []
    if state.status == "RUNNING" and now >= state.deadline_at:
        message = f"not completed within {saga.deadline:g} s"
        return give_up(saga, state, index, Problem(code="deadline_exceeded", message=message), now)
    action: Action = "do" if state.status == "RUNNING" else "undo"
    if not state.awaiting:
        return _send(saga, state, index, action, now)
    message = f"no answer within {_step(saga, state, index).timeout:g} s"
    problem = Problem(code="timeout", message=message)
    state, commands = _fault(saga, state, index, problem, now)
    if state.ended or state.awaiting:
        return state, commands
    # The time-out was wait enough: no back-off after it.
    return _send(saga, state, index, action, now)


def break_off(saga: Saga, state: SagaState, error: Exception, now: datetime) -> Transition:
    """Give up the do or the undo in flight, because of an error that no attempt can mend."""
    index = state.in_flight
    if index is None:
        return state, []
    problem = problem_of("invalid_command", _why(error))
    if state.status == "RUNNING":
        return give_up(saga, state, index, problem, now)
    return _undo_failed(saga, state, index, problem, now)


def _do_answered(
    saga: Saga, state: SagaState, index: int, reply: Reply, now: datetime
) -> Transition:
    answered = _answered(reply)
    if reply.outcome == "rejected":
        problem = problem_in(reply)
        steps = changed(state, index, status="REJECTED", error=problem, finished_at=now)
        failure = _failure(state, index, problem)
        state = replace(state, answered=answered, steps=steps, failure=failure)
        return compensate(saga, state, now)
    try:
        event = _step(saga, state, index).command.event.model_validate_json(reply.data)
        told = event.model_dump(mode="json")
    except MENDABLE:
        raise
    except Exception as error:  # whatever a validator may raise
        if not state.awaiting:
            return state, []
        return _fault(saga, state, index, problem_of("invalid_event", _why(error)), now)
    steps = changed(state, index, status="DONE", error=None, finished_at=now)
    events = {**state.events, **differing(told, state.context)}
    state = replace(state, answered=answered, steps=steps, events=events)
    if index + 1 < len(state.steps):
        return _send(saga, state, index + 1, "do", now)
    return _end(state, "COMPLETED", now), []


def _undo_answered(
    saga: Saga, state: SagaState, index: int, reply: Reply, now: datetime
) -> Transition:
    if reply.outcome == "rejected":
        if not state.awaiting or reply.attempt != state.steps[index].undo_attempts:
            return state, []
        state = replace(state, answered=_answered(reply))
        return _undo_failed(saga, state, index, problem_in(reply), now)
    steps = changed(state, index, status="UNDONE", finished_at=now)
    return _undo_next(saga, replace(state, answered=_answered(reply), steps=steps), index, now)


def _fault(saga: Saga, state: SagaState, index: int, problem: Problem, now: datetime) -> Transition:
    """Wait out the back-off, or give up once the attempts are used up."""
    step, policy = state.steps[index], _step(saga, state, index)
    if state.status == "RUNNING":
        rule, attempt = policy.retry, step.attempts
        if rule.exhausted(attempt):
            message = f"{step.name} failed {attempt} times, lastly: {problem.message}"
            used_up = Problem(code="attempts_exhausted", message=message)
            return give_up(saga, state, index, used_up, now, problem)
    else:
        rule, attempt = policy.undo_retry, step.undo_attempts
        if rule.exhausted(attempt - step.undo_from):
            return _undo_failed(saga, state, index, problem, now)
    due_at = now + timedelta(seconds=_delay(rule, state, index, attempt))
    return replace(
        state,
        steps=changed(state, index, error=problem),
        awaiting=False,
        updated_at=now,
        due_at=_not_after(state, due_at),
    ), []


def give_up(
    saga: Saga,
    state: SagaState,
    index: int,
    problem: Problem,
    now: datetime,
    error: Problem | None = None,
) -> Transition:
    """Fail the step in flight, and undo it too: it may have done its work."""
    steps = changed(state, index, status="FAILED", error=error or problem, finished_at=now)
    failure = _failure(state, index, problem)
    return compensate(saga, replace(state, steps=steps, failure=failure), now)


def compensate(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Undo what is done and what has failed, in reverse."""
    return _undo_next(saga, replace(state, status="COMPENSATING"), len(state.steps), now)


def _undo_next(saga: Saga, state: SagaState, before: int, now: datetime) -> Transition:
    """Undo the last of the steps before this one that asks for it; end where none does.

    A step there whose undo has failed did so before a retry: it is tried again in its turn. An undo
    that has failed in this round is left to a person.
    """
    for index in reversed(range(before)):
        status = state.steps[index].status
        if (status in MAY_HAVE_DONE and _step(saga, state, index).undo) or status == "UNDO_FAILED":
            return _send(saga, state, index, "undo", now)
    left = any(step.status == "UNDO_FAILED" for step in state.steps)
    return _end(state, "FAILED" if left else "COMPENSATED", now), []


def _undo_failed(
    saga: Saga, state: SagaState, index: int, problem: Problem, now: datetime
) -> Transition:
    """Leave an undo to a person, and go on with the others."""
    steps = changed(state, index, status="UNDO_FAILED", error=problem, finished_at=now)
    return _undo_next(saga, replace(state, steps=steps), index, now)


def _send(saga: Saga, state: SagaState, index: int, action: Action, now: datetime) -> Transition:
    """Put a step in flight, as a new attempt."""
    step, policy = state.steps[index], _step(saga, state, index)
    if action == "do":
        attempts, started_at, timeout = step.attempts + 1, step.started_at or now, policy.timeout
        steps = changed(state, index, status="RUNNING", attempts=attempts, started_at=started_at)
    else:
        attempts = step.undo_attempts + 1
        begun = step.undo_attempts if step.status == "UNDO_FAILED" else step.undo_from
        # A service that is away for long should not cost a person's work: an undo waits longer
        # with each attempt.
        timeout = min(policy.timeout * 2.0 ** min(attempts - 1, 16), LONGEST_WAIT)
        counted = {"undo_attempts": attempts, "undo_from": begun}
        steps = changed(state, index, status="UNDOING", finished_at=None, **counted)
    state = replace(state, steps=steps, awaiting=True, updated_at=now)
    try:
        due_at = _not_after(state, now + timedelta(seconds=timeout))
        return replace(state, due_at=due_at), [_command(saga, state, index, action, now)]
    except MENDABLE:
        raise
    except Exception as error:  # a service's event that has changed, whatever a validator may raise
        return break_off(saga, state, error, now)


def _command(saga: Saga, state: SagaState, index: int, action: Action, now: datetime) -> Envelope:
    """Build the command in flight from the saga's context, by field name."""
    step, progress = _step(saga, state, index), state.steps[index]
    cls = _command_class(step, action)
    return Envelope(
        topic=cls.topic,
        id=message_id(state.id, step.name, action),
        type=cls.__name__,
        source=f"/saga/{saga.name}",
        time=now.isoformat(),
        data=cls.model_validate(state.context).model_dump_json(),
        attempt=progress.attempts if action == "do" else progress.undo_attempts,
        traceparent=state.traceparent,
    )


def _command_class(step: Step, action: Action) -> type[Command]:
    cls = step.command if action == "do" else step.undo
    if cls is None:
        raise ContractError(f"step {step.name} has no undo any more")
    return cls


def _step(saga: Saga, state: SagaState, index: int) -> Step:
    """Return a step's declaration. A saga keeps the steps that it was started with."""
    return saga.step(state.steps[index].name)


def changed(state: SagaState, index: int, **changes: Any) -> tuple[StepState, ...]:
    """Return a saga's steps with changes to one of them."""
    step = replace(state.steps[index], **changes)
    return (*state.steps[:index], step, *state.steps[index + 1 :])


def _answered(reply: Reply) -> str:
    return f"{reply.step}/{reply.action}"


def _end(state: SagaState, status: SagaStatus, now: datetime) -> SagaState:
    return replace(state, status=status, awaiting=False, answered=None, due_at=None, updated_at=now)


def _not_after(state: SagaState, due_at: datetime) -> datetime:
    return min(due_at, state.deadline_at) if state.status == "RUNNING" else due_at


def _delay(rule: Retry, state: SagaState, index: int, attempt: int) -> float:
    return rule.delay(attempt, f"{state.id}/{state.steps[index].name}")


def _failure(state: SagaState, index: int, problem: Problem) -> Failure:
    return Failure(state.steps[index].name, problem.code, problem.message)


def _why(error: Exception) -> str:
    return reasons(error)[0] if isinstance(error, ValidationError) else first_line(error)
