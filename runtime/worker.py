"""The worker: answers the commands of one function, each exactly once."""

import logging
from collections.abc import Sequence

import peewee
from pydantic import BaseModel, ValidationError

from . import crash, inbox
from .batch_loop import BatchLoop
from .clock import Clock, utcnow
from .database.connection import is_serialization_failure, serialize_batches, transaction
from .envelope import Envelope, Outcome, Record, problem, read_command_id, reply_id
from .errors import ContractError, Rejected, Undecodable, first_line
from .function import Function
from .inbox import Answer
from .message import Command, Message, reasons

log = logging.getLogger(__name__)

ANSWER_LIMIT = 200_000  # characters of an event; brokers take messages of 1 MB at most


class Worker(BatchLoop):
    """Runs one function of kind `command`."""

    def __init__(
        self,
        function: Function,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        super().__init__(function.name, database, clock, crash_points)
        self.function = function

    def _work(self, records: Sequence[Record]) -> list[Record]:
        now = self.clock()
        commands, out = self._read(records, self._command)
        with transaction(self.database):
            serialize_batches(self.database)
            known = inbox.load(self.database, inbox.related(e for e, _ in commands))
            fresh: dict[str, Answer] = {}
            for envelope, message in commands:
                decision = inbox.decide(envelope, known, now)
                answer = decision.answer or self._attempt(envelope, message)
                if decision.fence is not None:
                    known[decision.fence] = fresh[decision.fence] = inbox.fenced(now)
                if envelope.id not in known and inbox.is_final(envelope, answer):
                    known[envelope.id] = fresh[envelope.id] = answer
                out.append(self._reply(envelope, answer))
            inbox.save(self.database, list(fresh.items()))
            self._crash.reach(crash.BEFORE_COMMIT, fresh)
        return out

    def _attempt(self, envelope: Envelope, message: Message) -> Answer:
        """Call the handler in a savepoint, and turn whatever comes of it into an answer."""
        run_sql = self.database.execute_sql
        run_sql("SAVEPOINT handler")
        try:
            event = self.function.handler(message)
            self._crash.reach(crash.IN_HANDLER, [event])
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
            why = problem(type(fault).__name__, first_line(fault))
            answer = self._answer(f"{self._type}.Failed", "failed", why)
        # Raises where the whole transaction is gone: then the batch has to be begun again.
        run_sql("ROLLBACK TO SAVEPOINT handler")
        run_sql("RELEASE SAVEPOINT handler")
        return answer

    def _answer(self, kind: str, outcome: Outcome, body: BaseModel) -> Answer:
        return Answer(kind, outcome, self.clock().isoformat(), body.model_dump_json())

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
