"""What a saga is waiting for, in words: for a person who asks why nothing happens."""

from datetime import UTC, datetime

from .clock import MICROSECOND, length
from .errors import ContractError
from .problem import Problem
from .saga import Saga, Step
from .saga_state import SagaState, StepState
from .sending import LONGEST_WAIT

Words = list[str]


def explain(state: SagaState, saga: Saga | None, now: datetime) -> str:
    """Say in a paragraph what a saga waits for, since when, what comes next, and what helps.

    `saga` is its declaration, None where that is not known: then less is told.
    """
    index = state.in_flight
    if state.ended or index is None:
        return " ".join(_ended(state))
    step, undoing = state.steps[index], state.status == "COMPENSATING"
    policy = _policy(saga, step)
    told = _reason(state) if undoing else []
    told += _awaited(state, step, policy, now) if state.awaiting else _backing_off(state, step, now)
    told += _later(state, step, policy, undoing=undoing)
    if state.due_at is not None and state.due_at < now:
        told.append(
            f"That was due {_ago(state.due_at, now)}: the host of {state.name} does not act. "
            "Look with `saga ps` whether it runs."
        )
    return " ".join(told)


def _ended(state: SagaState) -> Words:
    took = length((state.updated_at - state.created_at) // MICROSECOND)
    if state.status == "COMPLETED":
        return [f"It has completed, in {took}; nothing is left to be done."]
    if state.status == "COMPENSATED":
        return [*_reason(state), f"What was done is undone, in {took}; nothing is left to be done."]
    if state.status == "UNREADABLE":
        why = state.failure.message if state.failure is not None else "can't be read"
        return [
            f"Its row {why}. Nothing of it is lost: mend the row or the code, and then "
            f"`saga retry {state.id}` takes it up."
        ]
    failed = [step for step in state.steps if step.status == "UNDO_FAILED"]
    told = _reason(state)
    for step in failed:
        told.append(f"The undo of {step.name} has failed{_because(step.error)}.")
    told.append(f"It waits for a person: mend the cause and `saga retry {state.id}`")
    names = " or ".join(step.name for step in failed)
    by_hand = f", or do it by hand and `saga skip {state.id} {names} --by WHO --reason WHY`"
    return [*told[:-1], told[-1] + (by_hand if failed else "") + "."]


def _reason(state: SagaState) -> Words:
    if state.failure is None:
        return ["It is undone as somebody has cancelled it."] if not state.ended else []
    failure = state.failure
    return [f"It could not be completed: {failure.step}: {failure.code}: {failure.message}."]


def _awaited(state: SagaState, step: StepState, policy: Step | None, now: datetime) -> Words:
    what = "the undo of " if step.status == "UNDOING" else ""
    attempt = step.undo_attempts if step.status == "UNDOING" else step.attempts
    topic = _topic(step, policy)
    told = [
        f"It waits for the answer to {what}{step.name}, attempt {attempt}, "
        f"which was sent{topic} {_ago(state.updated_at, now)}."
    ]
    if step.silences:
        times = "once" if step.silences == 1 else f"{step.silences} times"
        told.append(f"Nobody has answered so far, and it was sent again {times}.")
        told.append("Look with `saga ps` whether that function runs.")
    if state.due_at is not None and state.due_at >= now and state.due_at != state.deadline_at:
        told.append(f"Without an answer, the same is sent again {_at(state.due_at, now)}.")
    return told


def _backing_off(state: SagaState, step: StepState, now: datetime) -> Words:
    what = "The undo of " if step.status == "UNDOING" else ""
    attempt = step.undo_attempts if step.status == "UNDOING" else step.attempts
    told = [f"{what}{step.name} has failed, attempt {attempt}{_because(step.error)}."]
    if state.due_at is not None and state.due_at >= now:
        told.append(f"The next attempt is made {_at(state.due_at, now)}.")
    return told


def _later(state: SagaState, step: StepState, policy: Step | None, *, undoing: bool) -> Words:
    """Say what ends the waiting, and what a person may do meanwhile."""
    if undoing:
        round_of = policy.undo_retry.attempts if policy is not None else None
        tried = step.undo_attempts - step.undo_from
        if round_of is not None and not state.awaiting:
            return [f"After {round_of} attempts, of which this was number {tried}, it is FAILED."]
        return [f"An answer is waited for without end, and asked for every {LONGEST_WAIT:g} s."]
    told = []
    if policy is not None and not state.awaiting:
        told.append(f"After {policy.retry.attempts} attempts, what was done is undone.")
    deadline = state.deadline_at.astimezone(UTC).isoformat(timespec="seconds")
    told.append(f"At its deadline, {deadline.replace('+00:00', 'Z')}, it is undone, too.")
    told.append(f"`DELETE /sagas/{state.id}` cancels it.")
    return told


def _policy(saga: Saga | None, step: StepState) -> Step | None:
    try:
        return saga.step(step.name) if saga is not None else None
    except ContractError:
        return None


def _topic(step: StepState, policy: Step | None) -> str:
    command = policy and (policy.undo if step.status == "UNDOING" else policy.command)
    return f" to {command.topic}" if command else ""


def _because(error: Problem | None) -> str:
    return f": {error.code}: {error.message}" if error is not None else ""


def _ago(at: datetime, now: datetime) -> str:
    return f"{length(max(0, (now - at) // MICROSECOND))} ago"


def _at(at: datetime, now: datetime) -> str:
    return f"in {length((at - now) // MICROSECOND)}"
