"""The worker: hosts one function on its topics, a batch of records at a time.

One batch is one database transaction, then one flush of the replies, then one offset commit, in
this order: a crash anywhere between them only causes a redelivery, which the inbox answers.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import peewee
import tenacity
from pydantic import BaseModel, ValidationError

from . import crash, inbox
from .clock import Clock, utcnow
from .database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from .database.connection import is_serialization_failure, serialize_batches, transaction
from .dead_letter import to_dead_letter
from .errors import BrokerUnavailable, ContractError, Rejected, Undecodable
from .function import Function
from .inbox import Answer
from .message import (
    Command,
    Envelope,
    Message,
    Outcome,
    Record,
    decode,
    problem,
    read_command_id,
    read_reply,
    reasons,
    reply_id,
)
from .saga import Retry
from .transport import Transport

log = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_LIMIT = 200_000  # characters of an event; brokers take messages of 1 MB at most
POLL_TIMEOUT = 0.5  # seconds, and so the longest that a stop waits for an idle worker

# What may pass by itself. An integrity error is another process that answered the same command
# while we did: the next look into the inbox finds its answer.
DATABASE_ERRORS = (*DATABASE_UNAVAILABLE, peewee.IntegrityError)
UNAVAILABLE = (*DATABASE_ERRORS, BrokerUnavailable)
WAIT = Retry(first=0.1, longest=5.0)


class Worker:
    """Runs one function. `process` is one batch without any transport."""

    def __init__(
        self,
        function: Function,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        self.function = function
        self.database = database
        self.clock = clock
        self._crash = crash_points
        self._work: Callable[[Sequence[Record]], list[Record]] = {
            "command": self._answer_commands,
            "replies": self._apply_replies,
            "timer": self._tick,
        }[function.kind]

    def process(self, records: Sequence[Record]) -> list[Record]:
        """Work off a batch in one transaction; return what is to be sent once it is committed.

        Retries for a second what passes by itself; then raises the database's error.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(DATABASE_ERRORS),
            stop=tenacity.stop_after_delay(1.0),
            wait=tenacity.wait_random_exponential(multiplier=0.01, max=0.2),
            before_sleep=lambda _: self._reconnect(),
            reraise=True,
        )
        return retrying(self._work, records)

    def run(self, transport: Transport, stop: threading.Event) -> None:
        """Work until `stop` is set; a batch that has been begun is finished."""
        failures = 0
        while not stop.is_set():
            try:
                self._turn(transport)
                failures = 0
            except UNAVAILABLE as error:
                failures += 1
                delay = WAIT.delay(failures, self.function.name)
                log.warning("%s; trying again in %.1f s", _first_line(error), delay)
                self._reconnect()
                transport.rewind()
                stop.wait(delay)

    def run_timer(
        self,
        send: Callable[[Iterable[Record]], None],
        stop: threading.Event,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a timer function until `stop` is set, at once again when it had something to do.

        `check` raises `BrokerUnavailable` as long as there is no sense in another try.
        """
        failures = 0
        while not stop.is_set():
            delay = self.function.every or 0.0
            try:
                if failures:
                    check()  # what can't be sent must not use up the attempts of sagas
                self._crash.reach(crash.BEFORE_HANDLER)
                commands = self.process([])
                self._crash.reach(crash.AFTER_COMMIT)
                send(commands)
                self._crash.reach(crash.AFTER_SEND)
                failures = 0
                delay = 0.0 if commands else delay
            except UNAVAILABLE as error:
                failures += 1
                delay = max(delay, WAIT.delay(failures, self.function.name))
                log.warning("%s; trying again in %.1f s", _first_line(error), delay)
                self._reconnect()
            stop.wait(delay)

    def _turn(self, transport: Transport) -> None:
        records = transport.poll(POLL_TIMEOUT)
        if records:
            self._crash.reach(crash.BEFORE_HANDLER)
            replies = self.process(records)
            self._crash.reach(crash.AFTER_COMMIT)
            transport.send(replies)
            self._crash.reach(crash.AFTER_SEND)
            transport.commit()
            self._crash.reach(crash.AFTER_OFFSETS)

    def _answer_commands(self, records: Sequence[Record]) -> list[Record]:
        now = self.clock()
        commands, out = self._read(records, self._command)
        with transaction(self.database):
            serialize_batches(self.database)
            known = inbox.load(inbox.related(envelope for envelope, _ in commands))
            fresh: dict[str, Answer] = {}
            for envelope, message in commands:
                decision = inbox.decide(envelope, known, now)
                answer = decision.answer or self._attempt(envelope, message)
                if decision.fence is not None:
                    known[decision.fence] = fresh[decision.fence] = inbox.fenced(now)
                if envelope.id not in known and inbox.is_final(envelope, answer):
                    known[envelope.id] = fresh[envelope.id] = answer
                out.append(self._reply(envelope, answer))
            inbox.save(list(fresh.items()))
            self._crash.reach(crash.BEFORE_COMMIT)
        return out

    def _attempt(self, envelope: Envelope, message: Message) -> Answer:
        """Call the handler in a savepoint, and turn whatever comes of it into an answer."""
        run_sql = self.database.execute_sql
        run_sql("SAVEPOINT handler")
        try:
            event = self.function.handler(message)
            self._crash.reach(crash.IN_HANDLER)
            if not isinstance(event, self._command_class.event):
                raise ContractError(f"{self.function.name} returned {event!r}")
            answer = self._answer(type(event).__name__, "done", event)
            if len(answer.data) > ANSWER_LIMIT:
                raise ValueError(f"the event is over {ANSWER_LIMIT} characters")
            run_sql("RELEASE SAVEPOINT handler")
            return answer
        except Rejected as no:
            log.info("%s rejected: %s", envelope.id, no)
            answer = self._answer(
                f"{self._type}.Rejected", "rejected", problem(no.code, no.message)
            )
        except Exception as fault:
            if is_serialization_failure(fault):
                raise
            log.exception("%s failed, attempt %d", envelope.id, envelope.attempt)
            why = problem(type(fault).__name__, _first_line(fault))
            answer = self._answer(f"{self._type}.Failed", "failed", why)
        # Raises where the whole transaction is gone: then the batch has to be begun again.
        run_sql("ROLLBACK TO SAVEPOINT handler")
        run_sql("RELEASE SAVEPOINT handler")
        return answer

    def _answer(self, kind: str, outcome: Outcome, body: BaseModel) -> Answer:
        return Answer(kind, outcome, self.clock().isoformat(), body.model_dump_json())

    def _apply_replies(self, records: Sequence[Record]) -> list[Record]:
        replies, out = self._read(records, read_reply)
        with transaction(self.database):
            commands = self.function.handler([reply for _, reply in replies], self.clock())
            self._crash.reach(crash.BEFORE_COMMIT)
        return out + [command.record() for command in commands]

    def _tick(self, _: Sequence[Record]) -> list[Record]:
        with transaction(self.database):
            commands = self.function.handler(self.clock())
            self._crash.reach(crash.BEFORE_COMMIT)
        return [command.record() for command in commands]

    def _read(
        self, records: Sequence[Record], read: Callable[[Envelope], T]
    ) -> tuple[list[tuple[Envelope, T]], list[Record]]:
        """Decode a batch; what can't be read becomes a dead letter."""
        good, dead = [], []
        for record in records:
            try:
                envelope = decode(record)
                good.append((envelope, read(envelope)))
            except Undecodable as error:
                where = f"{record.topic}[{record.partition}]@{record.offset}"
                log.warning("dead letter from %s: %s", where, error)
                dead.append(to_dead_letter(record, self.function.name, str(error), self.clock()))
        return good, dead

    def _command(self, envelope: Envelope) -> Message:
        read_command_id(envelope.id)
        if envelope.type != self._type:
            raise Undecodable(f"ce_type is {envelope.type!r}, this topic takes {self._type!r}")
        try:
            return self._command_class.model_validate_json(envelope.data)
        except ValidationError as error:
            raise Undecodable("; ".join(reasons(error))) from error

    def _reply(self, command: Envelope, answer: Answer) -> Record:
        return Envelope(
            topic=self._command_class.event.topic,
            id=reply_id(command.id),
            type=answer.type,
            source=f"/{self.function.name.replace('.', '/')}",
            time=answer.time,
            data=answer.data,
            outcome=answer.outcome,
            # What is not final names its attempt: a copy of it must not be taken for a later one's.
            attempt=1 if inbox.is_final(command, answer) else command.attempt,
            traceparent=command.traceparent,
        ).record()

    @property
    def _command_class(self) -> type[Command]:
        if self.function.command is None:
            raise ContractError(f"{self.function.name} takes no commands")
        return self.function.command

    @property
    def _type(self) -> str:
        return self._command_class.__name__

    def _reconnect(self) -> None:
        """Drop a connection that may be broken; SQLite's can't be, and may be all that there is."""
        if not isinstance(self.database, peewee.SqliteDatabase):
            self.database.close()


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:500]
