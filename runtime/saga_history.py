"""A saga's history: for each transition when it was, and what it changed.

It is a part of the saga's row, an entry for a transition: the microseconds since the saga's start,
then each step that changed, as `3R` or `3J CODE`: its index, a letter for its status, and the code
of its error, and the saga's status where that changed. What a person has undone by hand is
`3N skipped: WHO: WHY`. Where a reply made it, there is last what its attempt's time was made of,
as `~812 35 1204 960 410`: the microseconds of its parts.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

import peewee

from .clock import MICROSECOND
from .database.columns import Instant
from .database.schema import Table
from .database.statements import one_of, prepared
from .errors import first_line
from .saga_state import IN_FLIGHT, SagaState, StepState, StepStatus, altered
from .stamps import Parts, parts

log = logging.getLogger(__name__)

_LETTERS: dict[StepStatus, str] = {
    "PENDING": "P",
    "RUNNING": "R",
    "DONE": "D",
    "REJECTED": "J",
    "FAILED": "F",
    "UNDOING": "U",
    "UNDONE": "N",
    "UNDO_FAILED": "X",
}
_BEGUN = frozenset(IN_FLIGHT.values())
PARTS = "~"  # so begins what tells the parts of an attempt
BY_HAND = ("UNDO_FAILED", "UNDONE")  # a step so changes when a person has undone it
_STATUSES = {letter: status for status, letter in _LETTERS.items()}
_WORDS = re.compile(rf"(\w+) ({'|'.join(get_args(StepStatus))})\b(?: \(([^)]*)\))?")


class Change(NamedTuple):
    """What became of one step, and the code of the error that it has since.

    Of one that a person has undone by hand, the code is `skipped: WHO: WHY`.
    """

    name: str
    status: str
    code: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.status}" + (f" ({self.code})" if self.code else "")


class Moment(NamedTuple):
    """One transition: when, how the saga stood then, and what became of which steps.

    `parts` are those of the attempt whose reply made it, where that told them.
    """

    at: datetime
    status: str
    steps: list[Change]
    parts: Parts | None = None


class HistoryRow(Table):
    """One transition, as version 0.1 has stored it."""

    saga_id = peewee.CharField(max_length=36, index=True)
    at = Instant()
    status = peewee.CharField(max_length=12)
    changes = peewee.TextField()

    class Meta:
        """peewee's settings."""

        table_name = "saga_history"


def recorded(old: SagaState | None, new: SagaState, took: Sequence[int] = ()) -> SagaState:
    """Return a saga with its transition from `old`, which is None at the start, in its history.

    `took` are the parts of the attempt whose reply made it, in microseconds, where it told them.
    """
    before = old.steps if old else (None,) * len(new.steps)
    # A fault like the one before it changes nothing of its step but that no answer is awaited.
    failed = new.in_flight if old is not None and old.awaiting and not new.awaiting else None
    changed = [
        (index, step)
        for index, (was, step) in enumerate(zip(before, new.steps, strict=True))
        if index == failed or (step is not was and _differs(was, step))
    ]
    # What ended comes before what was begun because of it.
    changed.sort(key=lambda found: found[1].status in _BEGUN)
    told = [_told(index, before[index], step) for index, step in changed]
    if old is not None and old.status != new.status:
        told.append(new.status)
    if not told:
        return new
    if took:
        told.append(PARTS + " ".join(map(str, took)))
    after = (new.updated_at - new.created_at) // MICROSECOND
    return altered(new, history=(*new.history, (after, *told)))


def _differs(was: StepState | None, step: StepState) -> bool:
    # Most often its status does: all else takes longer to compare.
    differs = was is None or step.status != was.status or step != was
    return differs and step.status != "PENDING"


def histories(database: peewee.Database, states: Iterable[SagaState]) -> dict[str, list[Moment]]:
    """Return the histories of sagas by id, oldest transition first."""
    states = list(states)
    found = _older(database, [state.id for state in states])
    for state in states:
        moments = found.setdefault(state.id, [])
        try:
            moments += _moments(state, moments[-1].status if moments else "RUNNING")
        except (
            ValueError,
            LookupError,
            OverflowError,
            TypeError,
        ) as error:  # edited by hand, perhaps
            log.error("saga %s: its history can't be read: %s", state.id, first_line(error))
    return found


def _told(index: int, was: StepState | None, step: StepState) -> str:
    letter, error = _LETTERS[step.status], step.error
    if error is None:
        return f"{index}{letter}"
    by_hand = was is not None and (was.status, step.status) == BY_HAND
    return f"{index}{letter} {error.code}" + (f": {error.message}" if by_hand else "")


def _moments(state: SagaState, status: str) -> Iterator[Moment]:
    for after, *told in state.history:
        steps, taken = [], None
        for words in map(str, told):
            if words.startswith(PARTS):
                taken = parts(map(int, words[1:].split()))
                continue
            step, _, code = words.partition(" ")
            if step[0].isdigit():
                name = state.steps[int(step[:-1])].name
                steps.append(Change(name, _STATUSES[step[-1]], code))
            else:
                status = words
        yield Moment(state.created_at + int(after) * MICROSECOND, status, steps, taken)


def _older(database: peewee.Database, saga_ids: list[str]) -> dict[str, list[Moment]]:
    found: dict[str, list[Moment]] = {}
    if database.table_exists(HistoryRow._meta.table_name):
        for saga_id, at, status, changes in _select_older.on(database, saga_ids):
            steps = [Change(*words) for words in _WORDS.findall(changes)]
            found.setdefault(saga_id, []).append(Moment(at, status, steps))
    return found


@prepared
def _select_older(saga_ids: list[str]) -> Any:
    row = HistoryRow
    found = row.select(row.saga_id, row.at, row.status, row.changes)
    return found.where(one_of(row.saga_id, saga_ids)).order_by(row.id)
