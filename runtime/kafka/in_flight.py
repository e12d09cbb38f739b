"""What is in flight between a consumer and its producer: batches whose answers are on their way."""

from collections import deque
from collections.abc import Sequence

from ..envelope import Record
from ..transport import Partition

Offsets = dict[Partition, int]


class Batch:
    """A batch that is worked off, and how many of its answers the broker has not taken yet."""

    def __init__(self, records: Sequence[Record], answers: int) -> None:
        self.first: Offsets = {}
        self.end: Offsets = {}  # behind the last record
        for record in records:
            place = record.topic, record.partition
            self.first.setdefault(place, record.offset)
            self.end[place] = record.offset + 1
        self.answers = answers
        self.missing = answers
        self.error: str | None = None

    def taken(self) -> None:
        """Learn of one answer that it has arrived."""
        self.missing -= 1

    def failed(self, error: str) -> None:
        """Learn of one answer why it has not arrived."""
        self.missing -= 1
        self.error = self.error or error


class InFlight:
    """Batches in the order in which they were worked off."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self.answers = 0  # of all batches that are not done

    def add(self, batch: Batch) -> None:
        """Take in a batch whose answers are being sent."""
        self._batches.append(batch)
        self.answers += batch.answers

    @property
    def error(self) -> str | None:
        """Why an answer was not taken; None as long as nothing is known to have failed."""
        for batch in self._batches:
            if batch.error:
                return batch.error
        return None

    def take_done(self) -> Offsets:
        """Let the first batches go, up to one with an answer on its way; return where they end.

        One behind it waits, however early its own answers have arrived: to commit its offsets
        would be to commit those before them, too.
        """
        ends: Offsets = {}
        while self._batches and not self._batches[0].missing and not self._batches[0].error:
            batch = self._batches.popleft()
            self.answers -= batch.answers
            ends |= batch.end
        return ends

    def take_all(self) -> Offsets:
        """Let all go; return where their first records are."""
        starts: Offsets = {}
        for batch in self._batches:
            starts = batch.first | starts
        self._batches.clear()
        self.answers = 0
        return starts
