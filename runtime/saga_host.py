"""A saga's host: applies the replies to its sagas, and between two polls acts on what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import peewee

from . import crash, saga_changes, unsent
from .batch_loop import POLL_TIMEOUT, BatchLoop
from .clock import EPOCH, Clock, utcnow
from .database.connection import transaction
from .database.schema import Table
from .envelope import Envelope, Record, Reply, decode, read_command_id, read_reply
from .errors import BrokerUnavailable, ContractError, Undecodable
from .function import import_declaring
from .observer import Applied
from .problem import problem_of
from .saga import Saga
from .saga_state import SagaState
from .saga_store import TABLES, SagaStore
from .transport import Refusal, Transport

NOT_SENT = "not_sent"  # the code where the broker will never take a command
SWEEP_EVERY = timedelta(seconds=1)  # at once again where there was something to do
PRUNE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class HostedSaga:
    """A saga that a service hosts: `name` is `SERVICE.MODULE`, and is its consumer group too."""

    name: str
    saga: Saga

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """The topics on which its commands are answered."""
        return tuple(self.saga.reply_topics)

    def tables(self) -> list[type[Table]]:
        """List the tables that its host needs."""
        return TABLES


def load_saga(module: str) -> HostedSaga:
    """Import a module and return the saga that it is named after; raise `ContractError` if none."""
    package, _, name = module.rpartition(".")
    saga = getattr(import_declaring(module), name, None)
    if not isinstance(saga, Saga):
        raise ContractError(f"{module} declares no saga of its own name: {name} = Saga(…)")
    return HostedSaga(f"{package.rpartition('.')[2]}.{name}", saga)


class SagaHost(BatchLoop):
    """Runs all sagas of one declaration that are in one database."""

    def __init__(
        self,
        hosted: HostedSaga,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        super().__init__(hosted.name, database, clock, crash_points)
        self.saga = hosted.saga
        self._changes: list[Applied] = []  # of the transaction at work
        self._ended: list[Envelope] = []
        self._store = SagaStore(database, self._changed)
        self._swept_at = EPOCH
        self._marked_at = EPOCH  # when what is being sent was swept
        self._pruned_at = EPOCH

    def sweep(self) -> list[Record]:
        """Act on the sagas that are due, in one transaction; return the commands to send.

        Until `note_sent` is told, so does a sweep after a second or two.
        """
        return self._retried(self._sweep)

    def note_sent(self, commands: Sequence[Record]) -> None:
        """Note that the commands of a sweep are sent."""
        saga_ids = [(command.key or b"").decode() for command in commands]
        self._retried(self._note_sent, saga_ids)

    def next_sweep(self) -> float:
        """Return in how many seconds the next sweep is due."""
        waited = abs(self.clock() - self._swept_at)  # a clock may be set back
        return max(0.0, (SWEEP_EVERY - waited).total_seconds())

    def _turn(self, transport: Transport, timeout: float = POLL_TIMEOUT) -> float:
        super()._turn(transport, min(timeout, self.next_sweep()))
        if not self.next_sweep():
            self._sweep_and_send(transport)
        return 0.0

    def _sweep_and_send(self, transport: Transport) -> None:
        if self.failures:
            transport.check()  # what can't be sent must not use up attempts, or count as silence
        self._crash.reach(crash.BEFORE_SWEEP, lambda: self._store.due(self.saga, self.clock()))
        commands = self.sweep()
        self._crash.reach(crash.AFTER_SWEEP, commands)
        self._swept_at = EPOCH if commands else self.clock()
        if commands:
            self._send(commands, transport)

    def _send(self, commands: Sequence[Record], transport: Transport) -> None:
        """Send what a sweep asks for, and note it once the broker has it.

        What it has not taken in its time counts as sent, too, and is waited for as any other: were
        it sent again at once, a broker that takes only some would be sent those for ever.
        """
        try:
            transport.send(commands)
        except BrokerUnavailable:
            self.note_sent(commands)
            raise
        self._crash.reach(crash.AFTER_SWEEP_SENT, commands)
        self.note_sent(commands)

    def _give_up(self, refused: Sequence[Refusal], transport: Transport) -> None:
        """Let sagas make no more attempts whose commands the broker will never take.

        A topic that is missing may be there later: such a command is waited for as any other.
        """
        replies = [r for one in refused if not one.missing and (r := _unsent(one)) is not None]
        if replies:
            transport.finish(self._retried(self._advance, replies))

    def _work(self, records: Sequence[Record]) -> list[Record]:
        found = self._read(records, read_reply)
        letters = [letter for letter, _ in found if letter is not None]
        commands = self._advance([heard[1] for _, heard in found if heard is not None])
        self.observer.received(len(records))
        return letters + commands

    def _advance(self, replies: Sequence[Reply]) -> list[Record]:
        self._begin()
        with transaction(self.database):
            commands = self._store.advance(self.saga, replies, self.clock())
            self._crash.reach(crash.BEFORE_COMMIT, commands)
        return self._to_send(commands)

    def _sweep(self) -> list[Record]:
        self._prune(self.clock())
        if not self._store.due(self.saga, self.clock()):
            return []  # most often, and looking takes no lock
        self._begin()
        with transaction(self.database):
            self._marked_at = self.clock()
            commands = self._store.sweep(self.saga, self._marked_at)
            self._crash.reach(crash.IN_SWEEP, commands)
        return self._to_send(commands)

    def _begin(self) -> None:
        self._changes.clear()
        self._ended.clear()

    def _changed(self, change: Applied, text: str) -> None:
        self._changes.append(change)
        if change.new.ended and not change.old.ended:
            self._ended.append(_end(self.saga, change.new, text))

    def _prune(self, now: datetime) -> None:
        if abs(now - self._pruned_at) >= PRUNE_EVERY:
            saga_changes.prune(self.database, now)
            self._pruned_at = now

    def _note_sent(self, saga_ids: Sequence[str]) -> None:
        with transaction(self.database):
            unsent.note_sent(self.database, saga_ids, self._marked_at)

    def _to_send(self, commands: Sequence[Envelope]) -> list[Record]:
        """Return each command once, and messages that tell which sagas have ended.

        What they come of is committed, and observed.
        """
        self.observer.applied(self._changes)
        self._changes.clear()  # a batch that stays in memory slows down the next one
        once = {command.id: command for command in commands}
        return [message.record() for message in (*once.values(), *self._ended)]


def _unsent(refusal: Refusal) -> Reply | None:
    """Answer for a command that nobody will ever have; None for what is no command."""
    try:
        command = decode(refusal.record)
        saga_id, step, action = read_command_id(command.id)
    except Undecodable:
        return None
    problem = problem_of(NOT_SENT, refusal.reason).model_dump_json()
    return Reply(saga_id, step, action, "unsent", command.attempt, problem)


def _end(saga: Saga, state: SagaState, text: str) -> Envelope:
    return Envelope(
        topic=saga.ended_topic,
        id=f"{state.id}/ended",
        type="SagaEnded",
        source=f"/{saga.name}",
        time=state.updated_at.isoformat(),
        data=text,
        traceparent=state.traceparent,
    )
