"""The path that a saga has taken: its history, and whether it is one that a saga may take."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from ..saga import Saga
from ..saga_history import BY_HAND, Change, Moment
from ..saga_state import SKIPPED, Failure, SagaState

# What a step may have left behind that its undo has to take back.
UNSETTLED = ("RUNNING", "DONE", "FAILED", "UNDOING", "UNDO_FAILED")
BROKEN = ("FAILED", "UNDOING", "UNDO_FAILED")
# What may become of a step. One whose command can't be made has failed without being sent.
STEP_MOVES: dict[str, tuple[str, ...]] = {
    "PENDING": ("RUNNING", *BROKEN),
    "RUNNING": ("RUNNING", "DONE", "REJECTED", *BROKEN),
    "DONE": ("UNDOING", "UNDO_FAILED"),
    "REJECTED": (),
    "FAILED": ("UNDOING", "UNDO_FAILED"),
    "UNDOING": ("UNDOING", "UNDONE", "UNDO_FAILED"),
    "UNDONE": (),
    "UNDO_FAILED": ("UNDOING", "UNDO_FAILED"),
}
# What may become of a saga.
SAGA_MOVES: dict[str, tuple[str, ...]] = {
    "RUNNING": ("RUNNING", "COMPLETED", "COMPENSATING", "COMPENSATED", "FAILED"),
    "COMPENSATING": ("COMPENSATING", "COMPENSATED", "FAILED"),
    "FAILED": ("COMPENSATING", "FAILED"),
    "COMPLETED": (),
    "COMPENSATED": (),
}
Transitions = list[Moment]


def path_problems(saga: Saga, state: SagaState, path: Transitions) -> Iterator[str]:
    """Say what a saga may not have done on its way, or left undone at its end.

    A step begins when the one before it is done; undos go in reverse, and each takes back a step
    that may have done its work (Garcia-Molina and Salem, "Sagas", SIGMOD 1987). One that fails
    holds up none of the others; a person retries all that have failed, or does one by hand.
    """
    if not path:
        yield "has no history"
        return
    if path[-1].status != state.status:
        yield f"is {state.status}, and its history ends {path[-1].status}"
    yield from _move_problems(state, path)
    yield from _order_problems(saga, state, path)
    yield from _end_problems(saga, state)
    if state.failure is not None:
        yield from _blame_problems(state.failure.step, path)
        yield from _excuse_problems(saga, state, state.failure, path)


def _move_problems(state: SagaState, path: Transitions) -> Iterator[str]:
    """See that no step and no saga goes back, or on from where it has ended."""
    for before, after in pairwise(path):
        by_hand = before.status == "FAILED" and any(_by_hand(change) for change in after.steps)
        allowed = (*SAGA_MOVES[before.status], *(["COMPENSATED"] if by_hand else []))
        if after.status not in allowed:
            yield f"was {before.status} and became {after.status}"
    now = dict.fromkeys((step.name for step in state.steps), "PENDING")
    for change in _told(path):
        name, status, code = change
        by_hand = (now[name], status) == BY_HAND and _by_hand(change)
        if status not in STEP_MOVES[now[name]] and not by_hand:
            yield f"{name} was {now[name]} and became {status}"
        if status == now[name] and not code:
            yield f"{name} was {status} and was sent again, though nothing had failed"
        now[name] = status


def _by_hand(change: Change) -> bool:
    """Tell whether it is said who has undone a step by hand, and why."""
    code, *told = change.code.split(": ", 2)
    return (change.status, code, len(told)) == ("UNDONE", SKIPPED, 2)


def _order_problems(saga: Saga, state: SagaState, path: Transitions) -> Iterator[str]:
    names = [step.name for step in state.steps]
    now = dict.fromkeys(names, "PENDING")
    tried: set[str] = set()  # whose undo has failed since a person last asked for it
    status = "RUNNING"
    for moment in path:
        if status == "FAILED":
            tried.clear()
        status = moment.status
        for name, became, _ in moment.steps:
            index = names.index(name)
            if became == "RUNNING" and any(now[earlier] != "DONE" for earlier in names[:index]):
                yield f"began {name} before the step before it was done"
            if became == "UNDOING":
                for later in names[index + 1 :]:
                    if _to_be_undone(saga, later, now) and later not in tried:
                        yield f"began to undo {name} before {later}"
            if became == "UNDO_FAILED":
                tried.add(name)
            now[name] = became
        if status == "FAILED":
            yield from _left_problems(saga, now)
    for step in state.steps:
        if now[step.name] != step.status:
            yield f"{step.name} is {step.status}, and in its history {now[step.name]}"


def _left_problems(saga: Saga, now: Mapping[str, str]) -> Iterator[str]:
    """See that what a FAILED saga leaves to a person are undos that have failed, and only they."""
    if "UNDO_FAILED" not in now.values():
        yield "FAILED, but no undo has"
    for name, status in now.items():
        if status != "UNDO_FAILED" and _to_be_undone(saga, name, now):
            yield f"FAILED, but {name} is {status}"


def _to_be_undone(saga: Saga, name: str, now: Mapping[str, str]) -> bool:
    return saga.step(name).undo is not None and now[name] in UNSETTLED


def _blame_problems(blamed: str, path: Transitions) -> Iterator[str]:
    """See that the step that a failure names is the one that was in flight until then."""
    status = "PENDING"
    for moment in path:
        changes = [change.status for change in moment.steps if change.name == blamed]
        if moment.status != "RUNNING":
            if not changes or status not in ("PENDING", "RUNNING"):
                yield f"failed by {blamed}, which was {status} then"
            return
        status = changes[-1] if changes else status


def _told(path: Transitions) -> Iterator[Change]:
    return (change for moment in path for change in moment.steps)


def _end_problems(saga: Saga, state: SagaState) -> Iterator[str]:
    for step in state.steps:
        if state.status == "COMPLETED" and step.status != "DONE":
            yield f"COMPLETED, but {step.name} is {step.status}"
        undo = saga.step(step.name).undo
        if state.status == "COMPENSATED" and undo is not None and step.status in UNSETTLED:
            yield f"COMPENSATED, but {step.name} is {step.status}"


def _excuse_problems(
    saga: Saga, state: SagaState, failure: Failure, path: Transitions
) -> Iterator[str]:
    """Whoever gives up has used up its attempts or its time."""
    end = next((moment for moment in path if moment.status != "RUNNING"), None)
    if end is None:
        return
    step = next(step for step in state.steps if step.name == failure.step)
    if failure.code == "deadline_exceeded" and end.at < state.deadline_at:
        yield f"gave up at {end.at}, before its deadline at {state.deadline_at}"
    if failure.code == "attempts_exhausted":
        wanted = saga.step(step.name).retry.attempts
        if step.attempts != wanted:
            yield f"gave {step.name} up after {step.attempts} of {wanted} attempts"
