"""The worker: answers the commands of one function, each exactly once."""

import logging
from collections.abc import Sequence
from datetime import datetime
from decimal import localcontext
from typing import Any, NamedTuple

import peewee
from pydantic import BaseModel, ValidationError

from . import body, crash, inbox, secret_fields
from .batch_loop import LONGEST_BATCH, BatchLoop, Read
from .clock import Clock, microseconds, utcnow
from .database.connection import (
    WENT_ON,
    CommitRefused,
    batch_transaction,
    is_aftermath,
    is_over,
    is_serialization_failure,
    is_spoilt,
    rows_written,
)
from .envelope import BODY_LIMIT, Envelope, Outcome, Record, decode, read_command_id, reply_id
from .errors import ContractError, Rejected, Tame, Undecodable, first_line, name_of, shown, traced
from .function import Function
from .inbox import Answer
from .log_fields import fields_of, log_failure
from .loop import UNAVAILABLE
from .message import Command, Message, reasons
from .observer import Handled
from .outside import note_begun, unseen
from .poison import DEATHS, Suspects
from .problem import INVALID_COMMAND, Problem, problem_of
from .stamps import stamped
from .transport import Transport

log = logging.getLogger(__name__)

PROCESS_ENDED = "process_ended"  # the code of one that does so whenever it is handled
EVENT_TOO_LARGE = "event_too_large"  # the code of one that is over it: no attempt would mend that

# A batch is worked off without savepoints, which cost more than most handlers. Where a handler's
# writes have to be undone, all is rolled back and done again with them; so are some batches that
# follow, as faults come in groups.
GUARDED_BATCHES = 10

Asked = Message | Answer  # a command, or what it is answered unseen
Found = Sequence[Read[Asked]]


class Tried(NamedTuple):
    """What came of a handler, and when it began and ended."""

    answer: Answer
    began: int
    ended: int


Undone = dict[int, Tried]


class _UndoneWithItsBatch(Exception):
    """A handler without a savepoint has to be undone; its argument is what came of it."""


class Worker(BatchLoop):
    """Runs one function of kind `command`; raises `ContractError` for another."""

    def __init__(
        self,
        function: Function,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        super().__init__(function.name, database, clock, crash_points)
        if function.command is None:
            raise ContractError(f"{function.name} takes no commands")
        self.function = function
        self.singly = function.outside
        self._tame = Tame(function.name, ContractError)
        self._command_class: type[Command] = function.command
        self._type = function.command.__name__
        self._source = f"/{function.name.replace('.', '/')}"
        self._guarded = 0  # batches that are still worked off with savepoints
        self._received = self._answered = microseconds(clock())
        self._guilty = False  # the only message in hand has ended too many processes
        self.suspects: Suspects | None = None

    def _finish(self, records: Sequence[Record], transport: Transport) -> None:
        """Take a batch in hand, or what of it may be."""
        if self.suspects is None or not self.suspects.watch(records):
            super()._finish(records, transport)
            return
        planned = self.suspects.begin(records)
        if planned.take < len(records):
            transport.put_back(records[planned.take :])
        self._guilty = planned.guilty
        worked_off = False
        try:
            super()._finish(records[: planned.take], transport)
            worked_off = True
        except UNAVAILABLE:
            worked_off = not planned.guilty  # or else it stays so until its letter is on its way
            raise
        finally:
            self._guilty = False
            if worked_off:
                self.suspects.end(planned)

    def _work(self, records: Sequence[Record]) -> list[Record]:
        found = self._read(records, self._command, self._unreadable)
        undone: Undone = {}
        self._received = microseconds(self.clock())
        if self.function.outside:
            commands = [on[0] for _, on in found if on is not None and isinstance(on[1], Message)]
            note_begun(self.database, commands, self.clock())
        try:
            handled = self._answer_all(found, undone, guarded=self._guarded > 0)
        except _UndoneWithItsBatch as it:
            if self.singly and len(found) > 1:
                raise CommitRefused(WENT_ON) from it
            self._guarded = GUARDED_BATCHES
            handled = self._answer_all(found, undone, guarded=True)
        except CommitRefused as refused:
            command = found[0][1]
            if len(found) > 1 or command is None:
                raise
            answer = self._failure(command[0], refused.__cause__ or refused)
            undone[0] = Tried(answer, self._received, self._answered)
            handled = self._answer_all(found, undone, guarded=False)
        self._guarded = max(0, self._guarded - 1)
        self.unworked = records[len(handled) :]
        answered = microseconds(self.clock())
        self.observer.handled(handled)
        out = [(was[0], self._reply(at, answered)) for was, at in zip(found, handled, strict=False)]
        return [record for pair in out for record in pair if record is not None]

    def _answer_all(self, found: Found, undone: Undone, *, guarded: bool) -> list[Handled]:
        """Answer commands in one transaction; return what came of those that there was time for.

        Guarded, each handler has a savepoint. Without, the first one whose writes have to be undone
        takes the whole batch along: `_UndoneWithItsBatch` is raised. `undone` has what came of such
        a handler, which does not run again, by its place in the batch.
        """
        now = self.clock()
        with batch_transaction(self.database):
            commands = [command[0] for _, command in found if command is not None]
            kept = inbox.load(self.database, inbox.related(commands, outside=self.function.outside))
            known = dict(kept)
            with self.time_limit:
                handled = self._answer_each(found, known, undone, now, guarded)
            fresh = {key: answer for key, answer in known.items() if key not in kept}
            inbox.save(self.database, list(fresh.items()))
            self._crash.reach(crash.BEFORE_COMMIT, fresh)
        return handled

    def _answer_each(
        self, found: Found, known: dict[str, Answer], undone: Undone, now: datetime, guarded: bool
    ) -> list[Handled]:
        """Answer in turn, up to one that takes it over its time; add to what is `known`."""
        until, handled = self.stopwatch() + LONGEST_BATCH, list[Handled]()
        ended = microseconds(now)
        for place, (letter, command) in enumerate(found):
            began = ended
            if command is None:
                handled.append(Handled(None, None, "dead", self._received, began, ended))
                continue
            envelope, asked = command
            decision = inbox.decide(envelope, known, now)
            if decision.answer is not None:
                answer = decision.answer
            elif place in undone:
                answer, began, ended = undone[place]
            elif isinstance(asked, Answer):
                answer = unseen(envelope, asked, known)
            else:
                try:
                    answer = self._attempt(envelope, asked, guarded=guarded)
                except _UndoneWithItsBatch as it:
                    undone[place] = Tried(it.args[0], began, self._answered)
                    raise
                ended = self._answered
            again = envelope.id in known
            if decision.fence is not None:
                known[decision.fence] = inbox.fenced(now)
            if inbox.is_kept(envelope, answer, self._guilty):
                known[envelope.id] = answer
            what = "dead" if letter is not None else "duplicate" if again else answer.outcome
            handled.append(Handled(envelope, answer, what, self._received, began, ended))
            if self.stopwatch() > until:
                break
        return handled

    def _attempt(self, envelope: Envelope, message: Message, *, guarded: bool) -> Answer:
        """Call the handler, and turn whatever comes of it into an answer."""
        key = {"key": envelope.id} if self.function.keyed else {}
        run_sql = self.database.execute_sql
        if guarded:
            run_sql("SAVEPOINT handler")
        before = rows_written(self.database)
        try:
            with self._tame, localcontext(), self.observer.around(envelope):
                event: Any = self.function.handler(message, **key)
            self._crash.reach(crash.IN_HANDLER, [event])
            if not isinstance(event, self._command_class.event):
                raise ContractError(f"{self.function.name} returned {shown(event)}")
            answer = self._answer(type(event).__name__, "done", event)
            if len(answer.data) > BODY_LIMIT:
                no = Rejected(EVENT_TOO_LARGE, f"{len(answer.data)} characters of {BODY_LIMIT}")
                # What has acted outside has to be undone.
                raise ContractError(str(no)) if self.function.outside else no
            if guarded:
                run_sql("RELEASE SAVEPOINT handler")
            elif is_spoilt(self.database):
                raise ContractError(f"{self.function.name} {WENT_ON}")
            return answer
        except Rejected as no:
            log.info("%s rejected: %s", envelope.id, no, extra=fields_of(envelope))
            answer = self._refusal("rejected", problem_of(no.code, no.message))
            if before == rows_written(self.database) and not (guarded or is_over(self.database)):
                return answer  # there is nothing to undo
        except Exception as fault:
            if is_serialization_failure(fault):
                raise
            if is_aftermath(fault) or is_over(self.database):
                fault = ContractError(f"{self.function.name} {WENT_ON}")
            answer = self._failure(envelope, fault)
        if not guarded or is_over(self.database):
            self.singly |= is_over(self.database)  # another one like it takes no other along
            raise _UndoneWithItsBatch(answer)
        # Raises where the whole transaction is gone: then the batch has to be begun again.
        run_sql("ROLLBACK TO SAVEPOINT handler")
        run_sql("RELEASE SAVEPOINT handler")
        return answer

    def _answer(self, kind: str, outcome: Outcome, told: BaseModel) -> Answer:
        now = self.clock()
        self._answered = microseconds(now)
        return Answer(kind, outcome, now.isoformat(), body.write(told))

    def _failure(self, envelope: Envelope, fault: BaseException) -> Answer:
        texts = traced(fault), first_line(fault)
        trace, said = secret_fields.scrubbed((self._command_class,), envelope.data, *texts)
        log_failure(log, envelope, trace)
        return self._refusal("failed", problem_of(name_of(fault), said))

    def _refusal(self, outcome: Outcome, why: Problem) -> Answer:
        return self._answer(f"{self._type}.{outcome.capitalize()}", outcome, why)

    def _command(self, envelope: Envelope) -> Asked:
        self._check_addressee(envelope)
        if self._guilty:
            raise Undecodable(f"{DEATHS} processes have ended with this message in hand")
        try:
            return body.read(self._command_class, envelope.data)
        except ValidationError as error:
            raise Undecodable("; ".join(reasons(error))) from error

    def _check_addressee(self, envelope: Envelope) -> None:
        read_command_id(envelope.id)
        if envelope.type != self._type:
            raise Undecodable(f"ce_type is {envelope.type!r}, this topic takes {self._type!r}")

    def _unreadable(self, record: Record, reason: str) -> tuple[Envelope, Asked] | None:
        """Answer a command of which nothing but the headers can be read, or may be.

        One that is not for this function is none of its business, whatever its id says.
        """
        try:
            envelope = decode(record._replace(value=None))
            self._check_addressee(envelope)
        except Undecodable:
            return None
        why = problem_of(PROCESS_ENDED if self._guilty else INVALID_COMMAND, reason)
        return envelope, self._refusal("failed" if self._guilty else "rejected", why)

    def _reply(self, handled: Handled, answered: int) -> Record | None:
        command, answer, _, *at = handled
        if command is None or answer is None:
            return None
        return Envelope(
            topic=self._command_class.event.topic,
            id=reply_id(command.id),
            type=answer.type,
            source=self._source,
            time=answer.time,
            data=answer.data,
            outcome=answer.outcome,
            # What is not final names its attempt: a copy of it must not be taken for a later one's.
            attempt=1 if inbox.is_final(command, answer) else command.attempt,
            traceparent=command.traceparent,
            stamps=stamped(command.time, *at, answered),
        ).record()
