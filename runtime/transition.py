"""What happens to a saga, as pure functions: `(saga, state, reply, now) -> (state, commands)`.

No I/O, no clock, no chance. The store, the topics and the clock are outside.
A saga in flight has exactly one step that is RUNNING or UNDOING.
"""

from datetime import datetime, timedelta
from typing import Any

from . import body
from .database.connection import UNAVAILABLE
from .envelope import Action, Envelope, Reply
from .errors import ContractError, Rejected
from .message import Message, why
from .problem import INVALID_COMMAND, Problem, problem_in, problem_of
from .saga import Saga, Step
from .saga_state import Failure, SagaState, SagaStatus, StepState, StepStatus, altered
from .sending import command, make_body, time_to_answer

# A failed or running step may have done its work without our knowing; a rejected one has not.
MAY_HAVE_DONE: frozenset[StepStatus] = frozenset({"DONE", "RUNNING", "FAILED"})

# What a later try may mend: another declaration, or a database that a validator asks.
MENDABLE = (ContractError, *UNAVAILABLE)

Transition = tuple[SagaState, list[Envelope]]


def start(
    saga: Saga, saga_id: str, message: Message, now: datetime, traceparent: str | None = None
) -> Transition:
    """Make a new saga and its first command."""
    state = SagaState(
        id=saga_id,
        name=saga.name,
        status="RUNNING",
        input=body.values(message),
        steps=tuple(StepState(step.name) for step in saga.steps),
        created_at=now,
        updated_at=now,
        deadline_at=now + timedelta(seconds=saga.deadline),
        traceparent=traceparent,
    )
    return _send(saga, state, 0, "do", now)


def on_reply(saga: Saga, state: SagaState, reply: Reply, now: datetime) -> Transition:
    """Apply a reply. One that is late, early or of another step changes nothing.

    The record that led to the command now awaited may come again, because its first delivery was
    not acknowledged: then that command may never have been sent, and is sent again. A copy of it,
    which is another record, sends nothing: else one duplicate would make one of each later command.
    """
    index = state.in_flight
    if index is None:
        return state, []
    action: Action = "do" if state.status == "RUNNING" else "undo"
    step = state.steps[index]
    if (reply.step, reply.action) != (step.name, action):
        if state.awaiting and _was_applied(state, reply):
            return _command(saga, state, index, action, now)
        return state, []
    if reply.outcome in ("failed", "unsent"):
        attempt = step.attempts if action == "do" else step.undo_attempts
        if not state.awaiting or reply.attempt != attempt:
            return state, []
        end = _fault if reply.outcome == "failed" else _end_attempts
        return end(saga, state, index, problem_in(reply), now)
    if action == "undo":
        return _undo_answered(saga, state, index, reply, now)
    return _do_answered(saga, state, index, reply, now)


def on_due(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Act on a saga whose `due_at` has passed: send again, or meet the deadline."""
    index = state.in_flight
    if index is None or state.due_at is None or now < state.due_at:
        return state, []
    if state.status == "RUNNING" and now >= state.deadline_at:
        message = f"not completed within {saga.deadline:g} s"
        late = Problem(code="deadline_exceeded", message=message, public=True)
        return give_up(saga, state, index, late, now)
    action: Action = "do" if state.status == "RUNNING" else "undo"
    send = _send_again if state.awaiting else _send
    return send(saga, state, index, action, now)


def break_off(saga: Saga, state: SagaState, error: Exception, now: datetime) -> Transition:
    """Give up the do or the undo in flight, because of an error that no attempt can mend."""
    index = state.in_flight
    if index is None:
        return state, []
    if isinstance(error, Rejected):
        problem = problem_of(error.code, error.message, public=True)
    else:
        problem = problem_of(INVALID_COMMAND, why(error))
    return _end_attempts(saga, state, index, problem, now)


def _end_attempts(
    saga: Saga, state: SagaState, index: int, problem: Problem, now: datetime
) -> Transition:
    """Make no more attempts of the step in flight; earlier ones may have done its work."""
    end = give_up if state.status == "RUNNING" else _undo_failed
    return end(saga, state, index, problem, now)


def _do_answered(
    saga: Saga, state: SagaState, index: int, reply: Reply, now: datetime
) -> Transition:
    answered = _answered(reply)
    if reply.outcome == "rejected":
        problem = problem_in(reply)
        steps = settled(state, index, status="REJECTED", error=problem, finished_at=now)
        failure = _failure(state, index, problem)
        state = altered(state, answered=answered, steps=steps, failure=failure)
        return compensate(saga, state, now)
    try:
        event = body.values(body.read(_step(saga, state, index).command.event, reply.data))
    except MENDABLE:
        raise
    except Exception as error:  # whatever a validator may raise
        if not state.awaiting:
            return state, []
        return _fault(saga, state, index, problem_of("invalid_event", why(error)), now)
    told = saga.sources.kept(state.steps[index].name, event)
    steps = settled(state, index, status="DONE", error=None, finished_at=now, told=told)
    state = altered(state, answered=answered, steps=steps)
    if index + 1 == len(steps):
        return _end(state, "COMPLETED", now), []
    return _send(saga, state, index + 1, "do", now)


def _undo_answered(
    saga: Saga, state: SagaState, index: int, reply: Reply, now: datetime
) -> Transition:
    if reply.outcome == "rejected":
        if not state.awaiting or reply.attempt != state.steps[index].undo_attempts:
            return state, []
        # A refused undo has done nothing: what is mended may give its command another body.
        steps = changed(state, index, body=None)
        state = altered(state, answered=_answered(reply), steps=steps)
        return _undo_failed(saga, state, index, problem_in(reply), now)
    steps = settled(state, index, status="UNDONE", finished_at=now)
    return _undo_next(saga, altered(state, answered=_answered(reply), steps=steps), index, now)


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
    due_at = now + timedelta(seconds=rule.delay(attempt, f"{state.id}/{step.name}"))
    return altered(
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
    steps = settled(state, index, status="FAILED", error=error or problem, finished_at=now)
    failure = _failure(state, index, problem)
    return compensate(saga, altered(state, steps=steps, failure=failure), now)


def compensate(saga: Saga, state: SagaState, now: datetime) -> Transition:
    """Undo what is done and what has failed, in reverse."""
    return _undo_next(saga, altered(state, status="COMPENSATING"), len(state.steps), now)


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
    return _undo_next(saga, altered(state, steps=steps), index, now)


def _send(saga: Saga, state: SagaState, index: int, action: Action, now: datetime) -> Transition:
    """Put a step in flight, as a new attempt."""
    step = state.steps[index]
    changes: dict[str, Any]
    if action == "do":
        changes = {"attempts": step.attempts + 1, "started_at": step.started_at or now}
    else:
        # An operator's retry begins another round.
        begun = step.undo_attempts if step.status == "UNDO_FAILED" else step.undo_from
        counted = {"undo_attempts": step.undo_attempts + 1, "undo_from": begun}
        changes = {"finished_at": None, **counted}
    status = "RUNNING" if action == "do" else "UNDOING"
    return _ask(saga, state, index, action, now, status=status, silences=0, **changes)


def _send_again(
    saga: Saga, state: SagaState, index: int, action: Action, now: datetime
) -> Transition:
    """Send what nobody has answered in time once more, as the same attempt."""
    silences = state.steps[index].silences
    message = f"no answer within {time_to_answer(_step(saga, state, index), silences):g} s"
    error = Problem(code="timeout", message=f"{message}, sent again", public=True)
    return _ask(saga, state, index, action, now, silences=silences + 1, error=error)


def _ask(
    saga: Saga, state: SagaState, index: int, action: Action, now: datetime, **changes: Any
) -> Transition:
    """Change a step and send its command, which is made the first time, and wait for the answer."""
    before = state.steps[index]
    try:
        made = before.body or make_body(saga, state, before.name, action)
        seconds = time_to_answer(_step(saga, state, index), changes["silences"])
        due_at = _not_after(state, now + timedelta(seconds=seconds))
    except MENDABLE:
        raise
    except Exception as error:  # a service's event that has changed, whatever a validator may raise
        asked = altered(state, steps=changed(state, index, **changes))
        return break_off(saga, asked, error, now)
    steps = changed(state, index, body=made, **changes)
    state = altered(state, steps=steps, awaiting=True, updated_at=now, due_at=due_at)
    return state, [command(saga, state, steps[index], made, now)]


def _command(saga: Saga, state: SagaState, index: int, action: Action, now: datetime) -> Transition:
    """Send the command in flight as it is; a row of version 0.1 has not kept its body."""
    step = state.steps[index]
    made = step.body or make_body(saga, state, step.name, action)
    if step.body is None:
        state = altered(state, steps=changed(state, index, body=made))
    return state, [command(saga, state, step, made, now)]


def _step(saga: Saga, state: SagaState, index: int) -> Step:
    """Return a step's declaration. A saga keeps the steps that it was started with."""
    return saga.step(state.steps[index].name)


def changed(state: SagaState, index: int, **changes: Any) -> tuple[StepState, ...]:
    """Return a saga's steps with changes to one of them."""
    step = altered(state.steps[index], **changes)
    return (*state.steps[:index], step, *state.steps[index + 1 :])


def settled(state: SagaState, index: int, **changes: Any) -> tuple[StepState, ...]:
    """Change a step whose command is never sent again."""
    return changed(state, index, silences=0, body=None, **changes)


def _answered(reply: Reply) -> str:
    return f"{reply.step}/{reply.action} {reply.place}"


def _was_applied(state: SagaState, reply: Reply) -> bool:
    """Tell the record applied last; a row of version 0.1 does not say which copy it was."""
    return state.answered in (_answered(reply), f"{reply.step}/{reply.action}")


def _end(state: SagaState, status: SagaStatus, now: datetime) -> SagaState:
    return altered(state, status=status, awaiting=False, answered=None, due_at=None, updated_at=now)


def _not_after(state: SagaState, due_at: datetime) -> datetime:
    return min(due_at, state.deadline_at) if state.status == "RUNNING" else due_at


def _failure(state: SagaState, index: int, problem: Problem) -> Failure:
    return Failure(state.steps[index].name, problem.code, problem.message, problem.public)
