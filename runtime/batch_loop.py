"""What works off records, a batch at a time.

One batch is one database transaction, then one flush of what is to be sent, then one offset commit,
in this order: a crash anywhere between them only causes a redelivery, which changes nothing.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import peewee
import tenacity

from . import crash
from .clock import Clock, utcnow
from .database.connection import UNAVAILABLE as DATABASE_UNAVAILABLE
from .dead_letter import to_dead_letter
from .envelope import Envelope, Record, decode
from .errors import BrokerUnavailable, Undecodable, first_line
from .saga import Retry
from .transport import Transport

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL_TIMEOUT = 0.5  # seconds, and so the longest that a stop waits for an idle loop

# What may pass by itself. An integrity error is another process that answered the same command
# while we did: the next look into the inbox finds its answer.
DATABASE_ERRORS = (*DATABASE_UNAVAILABLE, peewee.IntegrityError)
UNAVAILABLE = (*DATABASE_ERRORS, BrokerUnavailable)
WAIT = Retry(first=0.1, longest=5.0)


class BatchLoop(ABC):
    """Polls, processes, sends and commits. `process` is one batch without any transport."""

    def __init__(
        self,
        name: str,
        database: peewee.Database,
        clock: Clock = utcnow,
        crash_points: crash.CrashPoints = crash.DISARMED,
    ) -> None:
        self.name = name
        self.database = database
        self.clock = clock
        self.failures = 0  # turns in succession that something unavailable has ended
        self._crash = crash_points
        self._begun = False  # a batch may be polled, and is not committed

    @abstractmethod
    def _work(self, records: Sequence[Record]) -> list[Record]:
        """Work off a batch in one transaction; return what is to be sent once it is committed."""

    def process(self, records: Sequence[Record]) -> list[Record]:
        """Work off a batch in one transaction; return what is to be sent once it is committed.

        Retries for a second what passes by itself; then raises the database's error.
        """
        return self._retried(lambda: self._work(records))

    def run(self, transport: Transport, stop: threading.Event) -> None:
        """Work until `stop` is set; a batch that has been begun is finished."""

        def recover() -> None:
            if self._begun:
                transport.rewind()

        self._repeat(lambda: self._turn(transport), recover, stop)

    def _repeat(
        self,
        turn: Callable[[], float | None],
        recover: Callable[[], None],
        stop: threading.Event,
        at_least: float = 0.0,
    ) -> None:
        """Take turns until `stop` is set; a turn returns for how many seconds to wait then.

        One that something unavailable has ended is taken again after `at_least` seconds.
        """
        while not stop.is_set():
            try:
                delay = turn() or 0.0
                self.failures = 0
            except UNAVAILABLE as error:
                self.failures += 1
                delay = max(at_least, WAIT.delay(self.failures, self.name))
                log.warning("%s; trying again in %.1f s", first_line(error), delay)
                self._reconnect()
                recover()
            if delay:
                stop.wait(delay)

    def _turn(self, transport: Transport, timeout: float = POLL_TIMEOUT) -> None:
        self._begun = True
        records = transport.poll(timeout)
        if records:
            self._crash.reach(crash.BEFORE_HANDLER)
            out = self.process(records)
            self._crash.reach(crash.AFTER_COMMIT)
            transport.send(out)
            self._crash.reach(crash.AFTER_SEND)
            transport.commit()
            self._crash.reach(crash.AFTER_OFFSETS)
        self._begun = False

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
                dead.append(to_dead_letter(record, self.name, str(error), self.clock()))
        return good, dead

    def _retried(self, work: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(DATABASE_ERRORS),
            stop=tenacity.stop_after_delay(1.0),
            wait=tenacity.wait_random_exponential(multiplier=0.01, max=0.2),
            before_sleep=lambda _: self._reconnect(),
            reraise=True,
        )
        return retrying(work)

    def _reconnect(self) -> None:
        """Drop a connection that may be broken; SQLite's can't be, and may be all that there is."""
        if not isinstance(self.database, peewee.SqliteDatabase):
            self.database.close()
