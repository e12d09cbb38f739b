"""What a process in a simulation has of the broker: the transport's calls, without any waiting."""

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain

from ..clock import utcnow
from ..dead_letter import to_unsent_letter
from ..envelope import Record
from ..errors import BrokerUnavailable, NeverTaken
from ..transport import Refusal
from .broker import Place, SimulatedBroker, Wake


class SimulatedTransport:
    """A `Transport` on a simulated broker; `wake` is told when there may be something to poll."""

    def __init__(
        self,
        broker: SimulatedBroker,
        group: str,
        topics: Sequence[str],
        wake: Wake = lambda _: None,
    ) -> None:
        self.topics = tuple(topics)
        self.wake = wake
        self.positions: dict[Place, int] = {}
        self._broker = broker
        self._name = group
        self._batch: list[Record] = []
        self.in_hand: list[Record] = []  # since the last poll, finished or not
        self._refused: list[Refusal] = []
        # Batches that are finished, and why the broker has not taken what came of them.
        self._in_flight: deque[tuple[list[Record], BrokerUnavailable | None]] = deque()
        self._group = broker.join(group, self)
        self._generation = self._group.generation

    def poll(self, timeout: float) -> list[Record]:  # noqa: ARG002 - no time passes in here
        """Return what is there, at once.

        One who was thrown out joins again, as Kafka's consumers do. They fetch ahead, too, and so
        may find something while the broker is away, of partitions that they know to be theirs.
        """
        self._see_to_answers()
        if self._broker.available:
            if self not in self._group.members:
                self._broker.join(self._name, self)
            self._generation = self._group.generation
        is_member = self._generation == self._group.generation
        there = self._broker.available or (is_member and self._broker.has_been_fetched())
        self._batch = self.in_hand = self._broker.read(self.positions) if there else []
        return self._batch

    def put_back(self, records: Sequence[Record]) -> None:
        """Go back to the first of these, where a partition is still ours."""
        self._batch = self.in_hand = self._batch[: -len(records)]
        self._go_back(records)

    def finish(self, records: Iterable[Record]) -> None:
        """Store what came of the last batch; the next poll sees to its offsets."""
        batch, self._batch = self._batch, []
        try:
            self.send(records)
        except BrokerUnavailable as error:
            self._in_flight.append((batch, error))
        else:
            self._in_flight.append((batch, None))

    def send(self, records: Iterable[Record]) -> None:
        """Store records; where one can't be, its dead letter is, if that can be."""
        self.check()
        for record in records:
            try:
                self._broker.append(record)
            except NeverTaken as error:
                self._refuse(record, str(error))

    def refused(self) -> list[Refusal]:
        """Return, once each, the records that the broker will never take."""
        refused, self._refused = self._refused, []
        return refused

    def _refuse(self, record: Record, reason: str) -> None:
        self._refused.append(Refusal(record, reason, not self._broker.has(record.topic)))
        letter = to_unsent_letter(record, self._name, reason, utcnow())
        if self._broker.has(letter.topic):
            self._broker.append(letter)

    def _see_to_answers(self) -> None:
        """Commit what is taken, up to the first batch that is not; then raise why it is not.

        Nothing is committed of partitions that have been dealt out anew meanwhile.
        """
        is_member = self in self._group.members and self._generation == self._group.generation
        if not is_member:
            self._in_flight.clear()
        while self._in_flight:
            batch, error = self._in_flight[0]
            if error is not None:
                raise error
            if not self._broker.available:
                return
            if not self._commit(batch):
                return
            self._in_flight.popleft()

    def _commit(self, batch: Sequence[Record]) -> bool:
        """Commit a batch's offsets; return False where that has to be tried again."""
        for record in batch:
            self._group.committed[record.topic, record.partition] = record.offset + 1
        return True

    def committed(self) -> dict[Place, int]:
        """Return how far the group has read, by its own account."""
        return dict(self._group.committed)

    def rewind(self) -> None:
        """Go back to the first record that is not answered for, where a partition is still ours."""
        with suppress(BrokerUnavailable):
            self._see_to_answers()
        batches = [batch for batch, _ in self._in_flight] + [self._batch]
        self._go_back(list(chain.from_iterable(batches)))
        self._in_flight.clear()
        self._batch = []

    def _go_back(self, records: Sequence[Record]) -> None:
        for record in reversed(records):
            if (record.topic, record.partition) in self.positions:
                self.positions[record.topic, record.partition] = record.offset

    def check(self) -> None:
        """Raise `BrokerUnavailable` when the broker is away."""
        if not self._broker.available:
            raise BrokerUnavailable("the broker does not answer")

    def next_ready(self) -> float | None:
        """Return when there is something to poll."""
        return self._broker.next_ready(self.positions)

    def waits_for_answers(self) -> bool:
        """Tell whether a poll has to see to a batch that is finished."""
        return bool(self._in_flight)

    def lose_session(self) -> None:
        """Be thrown out of the group."""
        self._broker.leave(self._name, self)

    def close(self) -> None:
        """Leave the group, and commit what is finished and taken."""
        with suppress(BrokerUnavailable):
            self._see_to_answers()
        self.lose_session()
