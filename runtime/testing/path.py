"""The path that a saga has taken: its history, and whether it is one that a saga may take."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import peewee

from ..saga import Saga
from ..saga_history import HistoryRow
from ..saga_state import SagaState, StepState

# What a step may have left behind that its undo has to take back.
UNSETTLED = ("RUNNING", "DONE", "FAILED", "UNDOING", "UNDO_FAILED")
_WORD = re.compile(r"(\w+) (PENDING|RUNNING|DONE|REJECTED|FAILED|UNDOING|UNDONE|UNDO_FAILED)\b")


class Moment(NamedTuple):
    """One transition: when, how the saga stood then, and what became of which steps."""

    at: datetime
    status: str
    steps: list[tuple[str, str]]


Transitions = list[Moment]


def transitions(database: peewee.Database, saga_ids: Iterable[str]) -> dict[str, Transitions]:
    """Read the histories of sagas, by id."""
    row = HistoryRow
    query = row.select(row.saga_id, row.at, row.status, row.changes).order_by(row.id).bind(database)
    found: dict[str, Transitions] = {}
    for chunk in peewee.chunked(saga_ids, 500):
        for saga_id, at, status, changes in query.where(row.saga_id.in_(chunk)).tuples():
            found.setdefault(saga_id, []).append(Moment(at, status, _WORD.findall(changes)))
    return found


def path_problems(saga: Saga, state: SagaState, path: Transitions) -> Iterator[str]:
    """Say what a saga may not have done on its way, or left undone at its end.

    A step begins when the one before it is done; undos go in reverse, and each takes back a step
    that may have done its work (Garcia-Molina and Salem, "Sagas", SIGMOD 1987).
    """
    if not path:
        yield "has no history"
        return
    if path[-1].status != state.status:
        yield f"is {state.status}, and its history ends {path[-1].status}"
    yield from _order_problems(saga, state, path)
    yield from _attempt_problems(state, path)
    yield from _end_problems(saga, state)
    if state.failure is not None:
        yield from _excuse_problems(saga, state, path)


def _order_problems(saga: Saga, state: SagaState, path: Transitions) -> Iterator[str]:
    names = [step.name for step in state.steps]
    now = dict.fromkeys(names, "PENDING")
    for moment in path:
        for name, status in moment.steps:
            index = names.index(name)
            if status == "RUNNING" and any(now[earlier] != "DONE" for earlier in names[:index]):
                yield f"began {name} before the step before it was done"
            if status == "UNDOING":
                for later in names[index + 1 :]:
                    if _to_be_undone(saga, later, now):
                        yield f"began to undo {name} before {later}"
            now[name] = status
    for step in state.steps:
        if now[step.name] != step.status:
            yield f"{step.name} is {step.status}, and in its history {now[step.name]}"


def _to_be_undone(saga: Saga, name: str, now: Mapping[str, str]) -> bool:
    return saga.step(name).undo is not None and now[name] in UNSETTLED


def _attempt_problems(state: SagaState, path: Transitions) -> Iterator[str]:
    """Each sending is a transition of its own, so none may be counted that was not made."""
    for step in state.steps:
        mentions = [status for moment in path for name, status in moment.steps if name == step.name]
        for status, attempts in (("RUNNING", step.attempts), ("UNDOING", step.undo_attempts)):
            if attempts > mentions.count(status):
                made = mentions.count(status)
                yield f"{step.name} counts {attempts} attempts {status}, of {made} made"


def _end_problems(saga: Saga, state: SagaState) -> Iterator[str]:
    for step in state.steps:
        if state.status == "COMPLETED" and step.status != "DONE":
            yield f"COMPLETED, but {step.name} is {step.status}"
        undo = saga.step(step.name).undo
        if state.status == "COMPENSATED" and undo is not None and step.status in UNSETTLED:
            yield f"COMPENSATED, but {step.name} is {step.status}"


def _excuse_problems(saga: Saga, state: SagaState, path: Transitions) -> Iterator[str]:
    """Whoever gives up has used up its attempts or its time, and not more of it."""
    failure = state.failure
    gave_up = next((moment.at for moment in path if moment.status != "RUNNING"), None)
    if failure is None or gave_up is None:
        return
    step = next(step for step in state.steps if step.name == failure.step)
    late = gave_up >= state.deadline_at
    if failure.code == "deadline_exceeded" and not late:
        yield f"gave up at {gave_up}, before its deadline at {state.deadline_at}"
    if failure.code == "attempts_exhausted":
        wanted = saga.step(step.name).retry.attempts
        if step.attempts != wanted:
            yield f"gave {step.name} up after {step.attempts} of {wanted} attempts"
        if late and _timed_out(step):
            yield f"went on trying {step.name} after its deadline at {state.deadline_at}"


def _timed_out(step: StepState) -> bool:
    return step.error is not None and step.error.code == "timeout"
