"""Counts what a function or a saga's host does."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, get_args

from ..clock import MICROSECOND, microseconds
from ..dead_letter import SUFFIX
from ..envelope import Action, Record
from ..function import Function
from ..observer import Applied, Handled, Handling, Observer
from ..saga import Saga
from ..saga_host import HostedSaga
from ..saga_state import SagaState, StepState
from ..stamps import Parts
from .catalogue import (
    ATTEMPTS,
    COMMANDS,
    COMPENSATIONS,
    DEAD_LETTERS,
    DEADLINE,
    DURATION,
    ENDED,
    FAILED_UNDOS,
    HANDLED,
    PARTS,
    RECEIVED,
    RETRIES,
    SENT,
    SWEPT,
)
from .instruments import MOST_CODES, OTHER, Instruments

KAFKA, PROCESS, RECEIVE, SEND, TICK = "kafka", "process", "receive", "send", "tick"
Attempted = tuple[str, Action]  # of a step
ENDS = ("COMPLETED", "COMPENSATED", "FAILED")


def count_sent(instruments: Instruments) -> Callable[[Record], None]:
    """Return what counts a record that the broker has taken; a dead letter is one, too."""

    @cache
    def counters(topic: str) -> list[Any]:
        sent = instruments.series(SENT, KAFKA, SEND, topic)
        dead = topic.endswith(SUFFIX)
        letters = [instruments.series(DEAD_LETTERS, topic.removesuffix(SUFFIX))] if dead else []
        return [sent, *letters]

    def count(record: Record) -> None:
        for counter in counters(record.topic):
            counter.inc(1)

    return count


class _Counting(Observer):
    """Counts what is sent; what may be counted later is 0 from the start, and not unknown."""

    def __init__(self, hosted: Function | HostedSaga, instruments: Instruments) -> None:
        self._name, self._series = hosted.name, instruments.series
        self._count_sent = count_sent(instruments)
        for topic in hosted.topics:
            self._series(DEAD_LETTERS, topic)

    def sent(self, record: Record) -> None:
        """Count a record that the broker has taken."""
        self._count_sent(record)


class FunctionRecorder(_Counting):
    """Counts what a function does."""

    def __init__(self, function: Function, instruments: Instruments) -> None:
        super().__init__(function, instruments)
        self._topic = next(iter(function.topics), "")  # a timer has none
        if self._topic:
            self._received = self._series(RECEIVED, KAFKA, RECEIVE, self._topic, self._name)
            for outcome in get_args(Handling):
                self._series(COMMANDS, self._name, outcome)

    def handled(self, handled: Sequence[Handled]) -> None:
        """Count records by what came of them, and the time in the handler."""
        self._received.inc(len(handled))
        counts: dict[Handling, int] = {}
        for _, _, outcome, _, began, ended in handled:
            counts[outcome] = counts.get(outcome, 0) + 1
            if ended > began:  # or else no handler was called
                self._took(PROCESS, ended - began, outcome)
        for outcome, count in counts.items():
            self._series(COMMANDS, self._name, outcome).inc(count)

    def ticked(self, began: int, ended: int, commands: int) -> None:  # noqa: ARG002
        """Count a timer's call."""
        self._took(TICK, ended - began, "done")

    def _took(self, what: str, microseconds: int, outcome: str) -> None:
        error = "" if outcome == "done" else outcome
        series = self._series(HANDLED, KAFKA, what, self._topic, self._name, error)
        series.observe(max(0, microseconds) / 1e6)  # a clock may be set back


class SagaCounter:
    """Counts what a change makes of a saga, whoever has made it: its host, or a person."""

    def __init__(self, saga: Saga, instruments: Instruments) -> None:
        self._saga, self._series = saga.name, instruments.series
        self._codes: set[str] = set()
        for status in ENDS:
            self._series(ENDED, self._saga, status)

    def __call__(self, old: SagaState, new: SagaState) -> None:
        """Count a change that is committed."""
        for was, step in zip(old.steps, new.steps, strict=False):
            if step is not was:
                self._step(was, step)
        if new.failure is not None and old.failure is None:
            code = self._bounded(new.failure.code)
            self._series(COMPENSATIONS, self._saga, new.failure.step, code).inc(1)
        if new.ended and new.status != old.status:  # a skip ends one that has failed once more
            self._series(ENDED, self._saga, new.status).inc(1)
            took = (new.updated_at - new.created_at).total_seconds()
            self._series(DURATION, self._saga, new.status).observe(max(0.0, took))

    def _step(self, was: StepState, step: StepState) -> None:
        if step.attempts > was.attempts > 0:
            self._series(RETRIES, self._saga, step.name, "do").inc(step.attempts - was.attempts)
        if step.undo_attempts > was.undo_attempts > 0:
            again = step.undo_attempts - was.undo_attempts
            self._series(RETRIES, self._saga, step.name, "undo").inc(again)
        if step.status == "UNDO_FAILED" != was.status:
            self._series(FAILED_UNDOS, self._saga, step.name).inc(1)

    def _bounded(self, code: str) -> str:
        if code in self._codes or len(self._codes) < MOST_CODES:
            self._codes.add(code)
            return code
        return OTHER


class SagaRecorder(_Counting):
    """Counts what becomes of the sagas of one declaration."""

    def __init__(self, hosted: HostedSaga, instruments: Instruments) -> None:
        super().__init__(hosted, instruments)
        saga = hosted.saga
        self._saga = saga.name
        self._count = SagaCounter(saga, instruments)
        self._begin(saga)

    def _begin(self, saga: Saga) -> None:
        # Of which of its topics nobody tells.
        self._received = self._series(RECEIVED, KAFKA, RECEIVE, "", self._name)
        self._series(DEADLINE, self._saga).set(saga.deadline)
        self._series(SWEPT, self._saga)
        for step in saga.steps:
            self._series(RETRIES, self._saga, step.name, "do")
            if step.undo is not None:
                self._series(RETRIES, self._saga, step.name, "undo")
                self._series(FAILED_UNDOS, self._saga, step.name)

    def received(self, count: int) -> None:
        """Count replies."""
        self._received.inc(count)

    def applied(self, changes: Sequence[Applied]) -> None:
        """Count what has changed, and what the time of an attempt was made of.

        A part that the clocks of two hosts make less than nothing counts as nothing, and as the
        whole time of its saga where they make it longer than that: stamps may be anybody's.
        """
        attempts: dict[Attempted, list[Sequence[int]]] = {}
        for reply, old, new, took in changes:
            if reply is None:
                self._swept(old, new)
            elif took:
                age = (new.updated_at - new.created_at) // MICROSECOND
                fit = min(took) >= 0 and max(took) <= age
                bounded = took if fit else [max(0, min(part, age)) for part in took]
                attempts.setdefault((reply.step, reply.action), []).append(bounded)
            self._count(old, new)
        # Together, as each change of what is counted costs more than all else here.
        for attempted, each in attempts.items():
            self._series(ATTEMPTS, self._saga, *attempted).inc(len(each))
            for part, times in zip(Parts._fields, zip(*each, strict=True), strict=True):
                self._series(PARTS, self._saga, *attempted, part).inc(sum(times) / 1e6)

    def _swept(self, old: SagaState, new: SagaState) -> None:
        self._series(SWEPT, self._saga).inc(1)
        for part_of, waited in _waited(old, new).items():
            self._series(PARTS, self._saga, *part_of).inc(waited / 1e6)


def _waited(old: SagaState, new: SagaState) -> dict[tuple[str, Action, str], int]:
    """Return for how many microseconds a step has waited for its next attempt, if it has."""
    index = old.in_flight
    if index is None or (old.status, index) != (new.status, new.in_flight):
        return {}
    if old.awaiting or not new.awaiting:
        return {}
    action: Action = "do" if new.status == "RUNNING" else "undo"
    waited = microseconds(new.updated_at) - microseconds(old.updated_at)
    return {(new.steps[index].name, action, "retry"): max(0, waited)}


def recorder(hosted: Function | HostedSaga, instruments: Instruments) -> Observer:
    """Return what counts for a function or a saga's host."""
    if isinstance(hosted, HostedSaga):
        return SagaRecorder(hosted, instruments)
    return FunctionRecorder(hosted, instruments)
