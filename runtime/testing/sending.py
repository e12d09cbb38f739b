"""The sendings of a saga's commands: each had its time to be answered, and none came too soon.

Who acts on a saga compares its own clock with `due_at`, and that moment is what the history tells:
so times fit together exactly, also where the clocks of two hosts differ.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ..retry import Retry
from ..saga import Saga, Step
from ..saga_history import Change
from ..saga_state import SagaState
from ..sending import LONGEST_WAIT, UNMADE
from .path import BROKEN, Transitions

Kind = tuple[str, str]  # of an attempt: its step, and the step's status meanwhile

DOUBLINGS = 16  # of a wait, beyond which every limit is reached


@dataclass
class Sending:
    """One sending of a step's command, which is RUNNING then, or of its undo: UNDOING.

    `number` counts the attempts of one kind from 1, and `silences` the earlier sendings of the same
    attempt. `error` is the code that it ended with at `ended_at`; it is empty where the answer was
    one, and until then. After the last one of a round it is `given_up`.
    """

    step: str
    status: str
    number: int
    at: datetime
    silences: int = 0
    ended_at: datetime | None = None
    error: str = ""
    given_up: bool = False


def sendings(path: Transitions) -> list[Sending]:
    """Read from a history what was sent, in order: one step is in flight at a time."""
    return _read(path)[0]


def _read(path: Transitions) -> tuple[list[Sending], Counter[Kind]]:
    """Return what was sent, and how many attempts of each kind have had no command to send.

    Where one could not be made, its attempt is given up in the transition that begins it: the step
    is never seen in flight.
    """
    found: list[Sending] = []
    unmade: Counter[Kind] = Counter()
    before: dict[str, str] = {}
    for moment in path:
        for change in moment.steps:
            was = before.get(change.name)
            if change.code in UNMADE:
                unmade[change.name, "RUNNING"] += was is None
                undo_failed = change.status == "UNDO_FAILED" and was != "UNDOING"
                unmade[change.name, "UNDOING"] += undo_failed
            _follow(found, unmade, change, moment.at)
            before[change.name] = change.status
    return found, unmade


def _follow(found: list[Sending], unmade: Counter[Kind], change: Change, at: datetime) -> None:
    kind = change.name, change.status
    last = found[-1] if found and found[-1].step == change.name else None
    if last is not None and last.ended_at is None:
        last.ended_at = at
        # An error stays with a step until another takes its place.
        last.error = change.code if change.status in (last.status, *BROKEN) else ""
        last.given_up = change.status != last.status
        if not last.given_up:
            if last.error == "timeout":
                found.append(Sending(*kind, last.number, at, last.silences + 1))
            return  # a fault, and a back-off after it
    if change.status in ("RUNNING", "UNDOING"):
        found.append(Sending(*kind, _attempts(found, *kind) + unmade[kind] + 1, at))


def _attempts(sent: list[Sending], step: str, status: str) -> int:
    return len({one.number for one in sent if (one.step, one.status) == (step, status)})


def sending_problems(saga: Saga, state: SagaState, path: Transitions) -> Iterator[str]:
    """Say which attempts were not made or not counted, and which came before their time."""
    sent, unmade = _read(path)
    yield from _count_problems(saga, state, sent, unmade)
    for one in sent:
        if one.error == "timeout" and one.ended_at is not None:
            given, whole = one.ended_at - one.at, _time_to_answer(saga.step(one.step), one)
            if given < whole:
                yield f"{one.step} was given {given} of {whole} to answer"
            if one.given_up:
                yield f"{one.step} was given up because nobody answered"
        again = one.status == "RUNNING" and (one.number > 1 or one.silences)
        if again and one.at >= state.deadline_at:
            yield f"went on trying {one.step} after its deadline at {state.deadline_at}"
    for one, after in pairwise(sent):
        # A late answer may have come in the back-off, and let another command go.
        again = (one.step, one.status) == (after.step, after.status) and not one.given_up
        if again and one.error != "timeout" and one.ended_at is not None:
            waited, least = after.at - one.ended_at, _least_back_off(saga.step(one.step), one)
            if waited < least:
                yield f"{one.step} was sent again after {waited}, and not {least} at least"


def _count_problems(
    saga: Saga, state: SagaState, sent: list[Sending], unmade: Counter[Kind]
) -> Iterator[str]:
    """Each attempt begins with a transition of its own, so there are as many as are counted."""
    for step in state.steps:
        if step.attempts > (allowed := saga.step(step.name).retry.attempts):
            yield f"{step.name} had {step.attempts} attempts, of {allowed}"
        for status, attempts in (("RUNNING", step.attempts), ("UNDOING", step.undo_attempts)):
            made = _attempts(sent, step.name, status) + unmade[step.name, status]
            if attempts != made:
                yield f"{step.name} counts {attempts} attempts {status}, of {made} made"


def _time_to_answer(step: Step, sending: Sending) -> timedelta:
    """Return the time that a sending has: it doubles after each silence, up to a limit."""
    doubled = step.timeout * 2.0 ** min(sending.silences, DOUBLINGS)
    return timedelta(seconds=min(doubled, max(LONGEST_WAIT, step.timeout)))


def _least_back_off(step: Step, sending: Sending) -> timedelta:
    """Return the least time from a fault to the next sending: half may be taken off."""
    rule: Retry = step.retry if sending.status == "RUNNING" else step.undo_retry
    whole = rule.first * rule.factor ** min(sending.number - 1, DOUBLINGS)
    return timedelta(seconds=min(whole, rule.longest) / 2)
