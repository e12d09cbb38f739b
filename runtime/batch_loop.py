"""What works off records, a batch at a time.

One batch is one database transaction. When that is committed, what came of it is sent; when the
broker has it, the batch's offsets are committed. A crash anywhere between them only causes a
redelivery, which changes nothing. While one batch is on its way to the broker, the next is worked
off.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from . import crash
from .database.connection import CommitRefused
from .dead_letter import to_dead_letter
from .envelope import Envelope, Record, decode
from .errors import Undecodable, first_line
from .log_fields import fields_of_record
from .loop import UNAVAILABLE, Loop
from .transport import Refusal, Transport

log = logging.getLogger(__name__)
T = TypeVar("T")

# What a record is: its dead letter where it can't be read, and what there is to act on.
Read = tuple[Record | None, tuple[Envelope, T] | None]

LONGEST_BATCH = 0.5  # seconds, and what its last message takes: other writers wait meanwhile
POLL_TIMEOUT = 0.5  # seconds, and so the longest that a stop waits for an idle loop


class BatchLoop(Loop, ABC):
    """Polls, processes, sends and commits. `process` is one batch without any transport.

    `unworked` are those records of the last batch for which there was no time. One that works
    `singly` has a transaction for each record: what is rolled back there takes no other along.
    """

    unworked: Sequence[Record] = ()
    singly = False

    @abstractmethod
    def _work(self, records: Sequence[Record]) -> list[Record]:
        """Work off a batch in one transaction; return what is to be sent once it is committed."""

    def process(self, records: Sequence[Record]) -> list[Record]:
        """Work off a batch in one transaction; return what is to be sent once it is committed.

        Records have a transaction each where they are to be taken `singly`, and where what they
        have written together is refused, so that the one is found whose fault it is.
        Retries for a second what passes by itself; then raises the database's error.
        """
        self.unworked = ()
        if self.singly:
            return self._process_each(records)
        try:
            return self._retried(self._work, records)
        except CommitRefused as refused:
            log.warning("taken one by one, as their commit was refused: %s", refused)
            return self._process_each(records)

    def _process_each(self, records: Sequence[Record]) -> list[Record]:
        until, out, worked = self.stopwatch() + LONGEST_BATCH, list[Record](), 0
        for record in records:
            out += self._retried(self._work, [record])
            worked += 1
            if self.stopwatch() > until:
                break
        self.unworked = records[worked:]
        return out

    def run(self, transport: Transport, stop: threading.Event) -> None:
        """Work until `stop` is set; a batch that has been begun is finished."""
        self._repeat(lambda: self._turn(transport), stop)

    def _turn(self, transport: Transport, timeout: float = POLL_TIMEOUT) -> float:
        try:
            if records := transport.poll(timeout):
                self._finish(records, transport)
            if refused := transport.refused():
                self._give_up(refused, transport)
        except UNAVAILABLE:
            transport.rewind()
            raise
        return 0.0

    def _give_up(self, refused: Sequence[Refusal], transport: Transport) -> None:
        """Hear of what the broker will never take; an answer is in the inbox, and a letter."""

    def _finish(self, records: Sequence[Record], transport: Transport) -> None:
        self._crash.reach(crash.BEFORE_HANDLER, records)
        out = self.process(records)
        self._crash.reach(crash.AFTER_COMMIT, out)
        if self.unworked:
            transport.put_back(self.unworked)
        transport.finish(out)
        self._crash.reach(crash.AFTER_SEND, out)

    def _read(
        self,
        records: Sequence[Record],
        read: Callable[[Envelope], T],
        unreadable: Callable[[Record, str], tuple[Envelope, T] | None] = lambda *_: None,
    ) -> list[Read[T]]:
        """Decode a batch; what can't be read becomes a dead letter.

        `unreadable` is given such a record and the reason: it may find something to go on with.
        """
        found: list[Read[T]] = []
        for record in records:
            try:
                envelope = decode(record)
                found.append((None, (envelope, read(envelope))))
            except Exception as error:  # a validator of a user's may raise anything
                reason = str(error) if isinstance(error, Undecodable) else first_line(error)
                told = "dead letter from %s: %s"
                log.warning(told, record.place, reason, extra=fields_of_record(record))
                letter = to_dead_letter(record, self.name, reason, self.clock())
                found.append((letter, unreadable(record, reason)))
        return found
