"""What a worker needs of a broker: a few calls, with the same meaning on every transport."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from .envelope import Record

BATCH_SIZE = 500  # records in one transaction, at most

Partition = tuple[str, int]  # a topic's name, and the number of one of its partitions


class Refusal(NamedTuple):
    """A record that the broker will never take as it is, and why.

    `missing` tells that there is no such topic: there may be one later.
    """

    record: Record
    reason: str
    missing: bool


class Transport(Protocol):
    """One member of one consumer group, and a producer.

    Batches are pipelined: `finish` waits for nobody, and the next batch may be polled and worked
    off while the answers of earlier ones are on their way. Offsets follow them, in order.

    A record that the broker will never take, for its size or its topic, holds up nobody: it counts
    as taken, and its dead letter is where the broker takes that.
    """

    def poll(self, timeout: float) -> list[Record]:
        """Wait up to `timeout` seconds for a first record; return it with all that is there.

        Raises `BrokerUnavailable` when something was not taken of what `finish` has sent.
        """

    def put_back(self, records: Sequence[Record]) -> None:
        """Let the next `poll` begin with these, the last ones of the batch that was polled last."""

    def finish(self, records: Iterable[Record]) -> None:
        """Send what came of the batch that was polled last, and be done with it.

        Its offsets are committed when the broker has all that was sent for it and for those before
        it, and not earlier. Raises `BrokerUnavailable` when that is known to fail at once.
        """

    def send(self, records: Iterable[Record]) -> None:
        """Hand records to the broker; return when it has them all, else `BrokerUnavailable`."""

    def refused(self) -> list[Refusal]:
        """Return, once each, the records that the broker will never take."""

    def rewind(self) -> None:
        """Let the next `poll` begin with the first batch of which not all has been taken."""

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable` if there is none."""

    def close(self) -> None:
        """Leave the group, and commit the offsets of what is finished and taken."""
