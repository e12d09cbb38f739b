"""Bad items that `saga chaos` throws in: records, and rows of sagas, that can't be read."""

import random
import threading

import peewee
from uuid_utils.compat import uuid7

from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Envelope, Record, message_id
from saga.runtime.function import Function
from saga.runtime.message import Command
from saga.runtime.polling import wait_until
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import IN_FLIGHT
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks, topics

from . import ledger
from .calls import Calls
from .mishaps import Mishap

JUNK = b"junk"  # the key of a record by which it is known, and its letter
LITTER_EVERY = (0.5, 2.0)  # seconds
SPOIL_EVERY = (1.0, 4.0)  # seconds
SPOILT_FOR = (0.1, 4.0)  # seconds
LETTERS = 0.2  # the share of the junk that goes where dead letters are
CHOSEN_FROM = 50  # sagas in flight
MEND_TIMEOUT = 120.0  # seconds
# Each is odd for whoever reads it, or tells of it.
ODD_HEADERS: list[list[tuple[str, bytes]]] = [
    [],
    [("ce_id", b"\xff"), ("ce_type", b"")],
    [("dlq_letter", b"junk"), ("replays", b"junk"), ("dlq_mark", b"junk")],
    [("traceparent", b"0" * 100_000)],
    [("zeros", bytes(400_000))],
]


class Litterer(Mishap):
    """Sends records that nobody can read, to all the topics there are."""

    every = LITTER_EVERY
    kinds = ("junk",)

    def __init__(self, settings: Settings, chance: random.Random) -> None:
        super().__init__(chance)
        self._settings = settings
        stacks = read_stacks(settings.saga_stacks)
        self._topics = [*topics(stacks)]
        hosted = [hosted for stack in stacks for hosted, _ in stack.load()]
        commands = [h.command for h in hosted if isinstance(h, Function) and h.command]
        self._commands = {command.topic: command for command in commands}

    def happen(self) -> None:
        """Send junk of each kind to one of the topics, or to where its dead letters are."""
        from saga.runtime.kafka.producer import Producer

        topic = self.chance.choice(self._topics)
        there = topic + SUFFIX if self.chance.random() < LETTERS else topic
        records = [Record(there, JUNK, JUNK, headers) for headers in ODD_HEADERS]
        if there in self._commands:
            records.append(_addressed(self._commands[there]))
        producer = Producer(self._settings)
        try:
            producer.send_records(records)
            self.seen["junk"] += len(records)
        finally:
            producer.close()


class Spoiler(Mishap):
    """Spoils rows of sagas in flight for a while, as a rollback does or a person by hand.

    `address` is that of the adapter at which sagas are retried.
    """

    every = SPOIL_EVERY
    kinds = ("unreadable rows",)

    def __init__(self, address: tuple[str, int], chance: random.Random) -> None:
        super().__init__(chance)
        self.spoilt: list[str] = []
        self._calls = Calls(address, threading.Event(), [])

    def happen(self) -> None:
        """Spoil the row of a saga, and mend it."""
        with ledger.sagas().connection_context():
            running = SagaRow.select(SagaRow.id, SagaRow.state)
            running = running.where(SagaRow.status.in_(list(IN_FLIGHT))).limit(CHOSEN_FROM)
            found = list(running.tuples())
            if not found:
                return
            saga_id, whole = self.chance.choice(found)
            newer = whole.replace('"status":"', '"status":"NEWLY_', 1)
            spoilt = self.chance.choice((newer, whole[: self.chance.randrange(len(whole))]))
            if not replaced(saga_id, whole, spoilt):
                return  # it has gone on meanwhile
            self.spoilt.append(saga_id)
            self.seen["unreadable rows"] += 1
            self.done.wait(self.chance.uniform(*SPOILT_FOR))
            wait_until(lambda: replaced(saga_id, spoilt, whole), _lost(saga_id), MEND_TIMEOUT)

    def settle(self) -> None:
        """Retry what was set aside, as an operator does, until it all goes on."""
        wait_until(self._gone_on, "sagas are still UNREADABLE", MEND_TIMEOUT)
        self._calls.close()

    def _gone_on(self) -> bool:
        aside = SagaRow.select(SagaRow.id).where(
            SagaRow.status == "UNREADABLE", SagaRow.id.in_(self.spoilt)
        )
        left = [saga_id for (saga_id,) in aside.tuples()]
        for saga_id in left:
            self._calls.last("POST", f"/sagas/{saga_id}/retry", (202, 409))
        return not left


def _addressed(command: type[Command]) -> Record:
    """Make a command of nobody's saga, of which the headers can be read."""
    envelope = Envelope(
        topic=command.topic,
        id=message_id(str(uuid7()), command.step_name(), "do"),
        type=command.__name__,
        source="/junk",
        time="",
        data=JUNK.decode(),
    )
    return envelope.record()._replace(key=JUNK)


def replaced(saga_id: str, old: str, new: str) -> bool:
    """Put another state into a row, if it has the one that it had; False where it has another."""
    try:
        change = SagaRow.update(state=new).where(SagaRow.id == saga_id, SagaRow.state == old)
        return bool(change.execute() == 1)
    except peewee.OperationalError:
        return False  # locked, or its connection is lost: try again


def _lost(saga_id: str) -> str:
    return f"saga {saga_id}: its row was written over, though it can't be read"
