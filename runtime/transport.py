"""What a worker needs of a broker: six calls, with the same meaning on every transport."""

from collections.abc import Iterable
from typing import Protocol

from .envelope import Record

BATCH_SIZE = 500  # records in one transaction, at most


class Transport(Protocol):
    """One member of one consumer group, and a producer."""

    def poll(self, timeout: float) -> list[Record]:
        """Wait up to `timeout` seconds for a first record; return it with all that is there."""

    def send(self, records: Iterable[Record]) -> None:
        """Hand records to the broker; return when it has them all, else `BrokerUnavailable`."""

    def commit(self) -> None:
        """Commit the offsets of the last batch; raise `BrokerUnavailable` if that fails."""

    def rewind(self) -> None:
        """Let the next `poll` return the last batch again."""

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable` if there is none."""

    def close(self) -> None:
        """Leave the group."""
