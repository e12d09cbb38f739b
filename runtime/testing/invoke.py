"""One function, run in a test exactly as its worker runs it: batch, transaction, inbox, fence."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar, cast

from pydantic_core import to_json

from .. import body, crash, inbox
from ..clock import Clock, clock_set_to
from ..dead_letter import SUFFIX
from ..envelope import Envelope, Record, message_id, read_command_id
from ..errors import ContractError
from ..function import Function, declared
from ..inbox import InboxRow
from ..message import Command, Event
from ..transport import Refusal
from ..worker import Worker
from .result import Result, difference, rows_of
from .workbench import workbench

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)

CRASH_POINTS = (
    crash.BEFORE_HANDLER,
    crash.IN_HANDLER,
    crash.BEFORE_COMMIT,
    crash.AFTER_COMMIT,
    crash.AFTER_SEND,
)


class InjectedFault(Exception):
    """The fault that `fail_times` asks for; it comes when the handler has done its work."""


class SimulatedCrash(BaseException):
    """The end that `crash_at` asks for; as after a SIGKILL, no handler sees it coming."""


class _CrashPoint(crash.CrashPoints):
    """Crashes at one point, in this process."""

    def __init__(self, name: str, point: str | None) -> None:
        super().__init__(name, None)
        self._point = point

    def reach(self, point: str, in_hand: crash.InHand) -> None:  # noqa: ARG002
        if point == self._point:
            raise SimulatedCrash(f"{self._name} crashed at {point}")


class _Delivery:
    """A transport that delivers one record once."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.sent: list[Record] = []
        self.finished = threading.Event()

    def poll(self, timeout: float) -> list[Record]:  # noqa: ARG002
        return [self._record]

    def finish(self, records: Iterable[Record]) -> None:
        self.sent += records
        self.finished.set()

    def put_back(self, records: Sequence[Record]) -> None:
        """There is time for one record."""

    def send(self, records: Iterable[Record]) -> None:
        """Send nothing: a worker has nothing but answers."""

    def refused(self) -> list[Refusal]:
        return []

    def rewind(self) -> None:
        # The worker calls this while it handles an error, which nothing will mend in a test.
        raise

    def check(self) -> None:
        """There is always a broker."""

    def close(self) -> None:
        """There is no group to leave."""


class _Watched:
    """A handler that tells whether it was called, and fails as often as it is told to."""

    def __init__(self, function: Function, command_id: str, fail_times: int) -> None:
        self.ran = False
        self._handler = function.handler
        self._id = command_id
        self._fail_times = fail_times

    def __call__(self, command: Command, **key: str) -> Any:
        self.ran = True
        event = self._handler(command, **key)
        if workbench.faults[self._id] < self._fail_times:
            workbench.faults[self._id] += 1
            raise InjectedFault(f"{workbench.faults[self._id]} of {self._fail_times}")
        return event


def invoke(
    function: Callable[[C], E] | Callable[[C, str], E],
    command: C | Mapping[str, Any],
    *,
    message_id: str | None = None,
    undo_of: Result[Any] | str | None = None,
    fail_times: int = 0,
    crash_at: str | None = None,
    clock: Clock | None = None,
) -> Result[E]:
    """Deliver a command to a function, and return what came of it.

    The function's tables are on the database that the test has bound, or else on a new one in
    memory. A `command` given as a mapping is validated by the function, as one off a topic is.

    `message_id` is the saga's id, or the whole id `SAGA/STEP/do`: the same id again is a duplicate,
    and no id is a new command each time. `undo_of` makes the command the undo of an earlier result,
    or of a whole id. `fail_times` makes the handler fail that often for this message id, after it
    has written. `crash_at` raises `SimulatedCrash` at one of `CRASH_POINTS`, and leaves the
    database as a crash would. `clock` tells the time to the worker and the handler.
    """
    if crash_at not in (None, *CRASH_POINTS):
        raise ContractError(f"crash_at is {crash_at!r}, not one of {', '.join(CRASH_POINTS)}")
    target = declared(function)
    expected = _command_class(target)
    identifier = _identify(expected, message_id, undo_of)
    database = workbench.database_of(target)
    tables = [table for table in target.tables() if table is not InboxRow]
    before, known = rows_of(tables), inbox.load(database, [identifier])
    watched = _Watched(target, identifier, fail_times)
    crash_point = _CrashPoint(target.name, crash_at)
    worker = Worker(replace(target, handler=watched), database, crash_points=crash_point)
    with clock_set_to(clock) if clock is not None else nullcontext():
        letter, reply = _deliver(worker, _record(expected, command, identifier))
    answer = inbox.load(database, [identifier]).get(identifier)
    return Result(
        id=identifier,
        record=reply,
        ran=watched.ran,
        duplicate=identifier in known,
        stored=difference(before, rows_of(tables)),
        inbox=answer,
        event_class=cast(type[E], expected.event),
        letter=letter,
    )


def _command_class(function: Function) -> type[Command]:
    if function.command is None:
        raise ContractError(f"{function.name} takes no commands: call it, or tell its saga's story")
    return function.command


def _identify(
    command: type[Command], known_as: str | None, undo_of: Result[Any] | str | None
) -> str:
    if undo_of is not None:
        done = undo_of.id if isinstance(undo_of, Result) else undo_of
        saga_id, step, _ = read_command_id(done)
        return message_id(saga_id, step, "undo")
    if known_as is not None and "/" in known_as:
        return known_as
    return message_id(known_as or workbench.next_saga_id(), command.step_name(), "do")


def _record(
    expected: type[Command], command: Command | Mapping[str, Any], identifier: str
) -> Record:
    sent = type(command) if isinstance(command, Command) else expected
    data = body.write(command) if isinstance(command, Command) else to_json(command).decode()
    envelope = Envelope(
        topic=expected.topic,
        id=identifier,
        type=sent.__name__,
        source="/test",
        time="",  # or else each answer would tell how long it took, and be another one
        data=data,
    )
    return envelope.record()._replace(partition=0, offset=0)


def _deliver(worker: Worker, record: Record) -> tuple[Record | None, Record]:
    """Return the dead letter, if there is one, and the answer, or else the dead letter again."""
    delivery = _Delivery(record)
    worker.run(delivery, delivery.finished)
    letter = next((sent for sent in delivery.sent if sent.topic.endswith(SUFFIX)), None)
    return letter, delivery.sent[-1]
