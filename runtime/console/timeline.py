"""A saga's time, attempt by attempt: where each microsecond of it went, from its history alone.

A saga has one command in flight at a time. So its attempts follow each other without a gap, and
their parts add up to the saga's time; a part that the clocks of two hosts make negative does, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, get_args

from ..clock import MICROSECOND
from ..envelope import Action
from ..saga_history import Change, Moment
from ..saga_state import IN_FLIGHT, SKIPPED, SagaState
from ..stamps import Parts

# Those that `Parts` has; `flight` is all of them where nothing tells them apart, `silence` the time
# before a command was sent again, `retry` the back-off after a fault, `person` a person's.
Kind = Literal[
    "silence", "queue", "turn", "handler", "commit", "reply", "flight", "retry", "person"
]
STAMPED: tuple[Kind, ...] = ("queue", "turn", "handler", "commit", "reply")  # as in `Parts`
Outcome = Literal["done", "rejected", "failed", "given up", "in flight"]

ENDS: dict[str, Outcome] = {
    "DONE": "done",
    "UNDONE": "done",
    "REJECTED": "rejected",
    "FAILED": "failed",
    "UNDO_FAILED": "failed",
}
GIVEN_UP = ("cancelled", "deadline_exceeded")  # the codes of what no answer has ended


class Part(NamedTuple):
    """A part of an attempt's time, in microseconds."""

    kind: Kind
    length: int


@dataclass
class Attempt:
    """One attempt of a step's do or undo, and the wait after it.

    It `began` so many microseconds after the saga; `resent` counts how often its command was sent
    again because no answer came in time. One whose fault another try may mend `backs_off`. It is
    `retried` where a person has let the saga go on.
    """

    step: str
    action: Action
    number: int
    began: int
    outcome: Outcome = "in flight"
    code: str = ""
    resent: int = 0
    backs_off: bool = False
    retried: bool = False
    parts: list[Part] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Its time in microseconds, the wait after it included."""
        return sum(part.length for part in self.parts)


class Skip(NamedTuple):
    """A failed undo that a person has done by hand, so many microseconds after the saga's start."""

    step: str
    at: int
    told: str


@dataclass
class Timeline:
    """A saga's attempts in order, what persons have done, and the saga's time in microseconds."""

    attempts: list[Attempt]
    skips: list[Skip]
    length: int


def timeline(state: SagaState, moments: Sequence[Moment], now: datetime) -> Timeline:
    """Tell a saga's time from its history; of one in flight, that until `now`."""
    reading = _Reading()
    for moment in moments:
        at = (moment.at - state.created_at) // MICROSECOND
        reading.begin(moment.parts)
        for change in moment.steps:
            reading.take(change, at)
    end = state.updated_at if state.ended else max(now, state.updated_at)
    length = (end - state.created_at) // MICROSECOND
    reading.close(length)
    return Timeline(reading.attempts, reading.skips, length)


class _Reading:
    """Takes the changes of a history in, one after another."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.skips: list[Skip] = []
        self._parts: Parts | None = None  # of the attempt whose reply made these changes
        self._retries = False
        self._until = 0  # up to where time is told
        self._in_flight: Attempt | None = None
        self._backs_off = False

    def begin(self, parts: Parts | None) -> None:
        """Take in that a moment's changes follow."""
        self._parts = parts
        self._retries = bool(self.attempts) and self._in_flight is None

    def take(self, change: Change, at: int) -> None:
        """Take in what became of one step."""
        if change.status in IN_FLIGHT.values():
            self._asked(change, at)
        elif change.code.startswith(f"{SKIPPED}: "):
            told = change.code.removeprefix(f"{SKIPPED}: ")
            self.skips.append(Skip(change.name, at, told))
            self._retries = False
        elif change.status in ENDS:
            self._ended(change, at)

    def close(self, end: int) -> None:
        """Tell the time from the last change on to the end."""
        if self._in_flight is None:
            self._wait("person", end)
        else:
            self._wait("retry" if self._backs_off else "flight", end)

    def _asked(self, change: Change, at: int) -> None:
        action: Action = "do" if change.status == "RUNNING" else "undo"
        current = self._in_flight
        if current is not None and (current.step, current.action) == (change.name, action):
            if self._backs_off:
                self._wait("retry", at)
            elif change.code == "timeout":
                current.resent += 1
                return
            else:
                self._answered(at)
                current.outcome, current.code = "failed", change.code
                current.backs_off = self._backs_off = True
                return
        elif current is not None:  # a do that is given up, and undone at once
            self._closed(current, change.code, at)
        else:
            self._wait("person", at)
        self._begin(change.name, action, at)

    def _ended(self, change: Change, at: int) -> None:
        current = self._in_flight
        if current is None or current.step != change.name:  # its command could not be made
            self._wait("person", at)
            current = self._begin(change.name, _action(change), at)
        # An undo that is done still tells of the error before it.
        code = "" if ENDS[change.status] == "done" else change.code
        self._closed(current, code, at, ENDS[change.status])

    def _closed(self, current: Attempt, code: str, at: int, outcome: Outcome = "failed") -> None:
        if self._backs_off and outcome == "failed":  # by a person, or its deadline
            self._wait("retry", at)
        else:
            if self._backs_off:  # another answer came meanwhile
                self._wait("retry", at)
            self._answered(at)
            current.outcome = "given up" if code in GIVEN_UP else outcome
            current.code = code
        self._in_flight, self._backs_off = None, False

    def _begin(self, step: str, action: Action, at: int) -> Attempt:
        number = 1 + sum((a.step, a.action) == (step, action) for a in self.attempts)
        attempt = Attempt(step, action, number, at, retried=self._retries)
        self._retries = False
        self.attempts.append(attempt)
        self._in_flight, self._backs_off = attempt, False
        return attempt

    def _answered(self, at: int) -> None:
        lengths = [part // MICROSECOND for part in self._parts or ()]
        silence = at - self._until - sum(lengths)
        # An answer to an attempt before this one tells nothing of its parts.
        if lengths and silence >= 0:
            self._wait("silence", self._until + silence)
            for kind, length in zip(STAMPED, lengths, strict=True):
                self._wait(kind, self._until + length)
        self._wait("flight", at)

    def _wait(self, kind: Kind, at: int) -> None:
        if self.attempts and at != self._until:
            self.attempts[-1].parts.append(Part(kind, at - self._until))
        self._until = at


def _action(change: Change) -> Action:
    return "undo" if change.status in ("UNDONE", "UNDO_FAILED") else "do"


# Which are folded where long.
WAITS: frozenset[Kind] = frozenset({"silence", "queue", "flight", "retry", "person"})
LONG = 100_000  # microseconds, from which on a wait may be
LARGE = 0.3  # of all that is drawn, from which on it is
FOLDED = 0.08  # of the line is what a folded wait takes up
LEAST = 0.004  # of the line is what anything does
WIDTH = 1000.0  # of the line


class Bar(NamedTuple):
    """One part as it is drawn, on a line from 0 to `WIDTH`."""

    part: Part
    x: float
    width: float
    folded: bool


def bars(attempts: Sequence[Attempt]) -> list[list[Bar]]:
    """Lay the parts of each attempt out on one line, on which long waits are folded."""
    parts = [part for attempt in attempts for part in attempt.parts]
    limit = _limit(parts)
    drawn = sum(part.length for part in parts if part.length > 0 and not _is_long(part, limit)) or 1
    scale = WIDTH / (sum(_size(part, limit, drawn) for part in parts) or 1)
    x, laid_out = 0.0, []
    for attempt in attempts:
        row = []
        for part in attempt.parts:
            width = _size(part, limit, drawn) * scale
            row.append(Bar(part, round(x, 2), round(width, 2), _is_long(part, limit)))
            x += width
        laid_out.append(row)
    return laid_out


def _limit(parts: Sequence[Part]) -> int:
    """Return the length in microseconds from which on a wait is folded."""
    left = sum(part.length for part in parts if part.length > 0)
    waits = sorted((p.length for p in parts if p.kind in WAITS and p.length >= LONG), reverse=True)
    limit = left + 1
    for length in waits:
        if length <= LARGE * left or length == left:
            break
        left, limit = left - length, length
    return limit


def _is_long(part: Part, limit: int) -> bool:
    return part.kind in WAITS and part.length >= limit


def _size(part: Part, limit: int, drawn: int) -> float:
    if _is_long(part, limit):
        return FOLDED * drawn
    return max(part.length, LEAST * drawn)


def totals(attempts: Sequence[Attempt]) -> Iterator[Part]:
    """Sum the parts up by their kinds."""
    for kind in get_args(Kind):
        lengths = [p.length for a in attempts for p in a.parts if p.kind == kind]
        if lengths:
            yield Part(kind, sum(lengths))
