"""A broker in one process, without threads: topics, partitions, offsets and consumer groups.

Its clock is the caller's. It is honest: what a test contract says of the transport over Kafka holds
here too, and whatever may go wrong on the way is for the caller to do.
"""

import random
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from ..envelope import Record
from ..errors import BrokerUnavailable
from ..transport import BATCH_SIZE

FETCHED = 0.3  # the share of polls that find something though the broker is away
LARGEST = 1_000_000  # bytes of a record's body, at most; nearly as Kafka has it

Place = tuple[str, int]  # a topic and the number of one of its partitions
Wake = Callable[[float], None]


class _Entry(NamedTuple):
    """A record in its partition, and when consumers see it."""

    ready: float
    record: Record


class Group:
    """One consumer group: its members, and how far they have read together."""

    def __init__(self) -> None:
        self.members: list[SimulatedTransport] = []
        self.committed: dict[Place, int] = {}
        self.generation = 0  # counts rebalances; who belongs to an older one can't commit


class SimulatedBroker:
    """Holds records in order per partition. `available` says whether it answers."""

    def __init__(
        self,
        partitions: Mapping[str, int],
        now: Callable[[], float] = lambda: 0.0,
        chance: random.Random | None = None,
    ) -> None:
        self.available = True
        self.now = now
        self._chance = chance or random.Random(0)  # noqa: S311 - to be repeatable is its purpose
        self._counts = dict(partitions)
        self._groups: dict[str, Group] = {}
        self._logs: dict[Place, list[_Entry]] = {}
        self._clear()

    def append(self, record: Record, lag: float = 0.0) -> None:
        """Store a record at the end of its key's partition; consumers see it after `lag` seconds.

        Whatever comes after it in its partition is seen no earlier. Raises `BrokerUnavailable` when
        there is no such topic, or the record is too large.
        """
        if len(record.value or b"") > LARGEST:
            raise BrokerUnavailable("the record is too large")
        place = self._place(record)
        log = self._logs[place]
        ready = max(self.now() + lag, log[-1].ready if log else 0.0)
        log.append(_Entry(ready, record._replace(partition=place[1], offset=len(log))))
        for group in self._groups.values():
            for member in group.members:
                if place in member.positions:
                    member.wake(ready)

    def read(self, positions: dict[Place, int]) -> list[Record]:
        """Take what is there at the positions, and move them; any partition may come first."""
        batch: list[Record] = []
        places = list(positions)
        self._chance.shuffle(places)
        for place in places:
            log, position = self._logs[place], positions[place]
            while position < len(log) and log[position].ready <= self.now():
                if len(batch) == BATCH_SIZE:
                    break
                batch.append(log[position].record)
                position += 1
            positions[place] = position
        return batch

    def has_been_fetched(self) -> bool:
        """Tell, of a broker that is away, whether a member has fetched what is there before."""
        return self._chance.random() < FETCHED

    def next_ready(self, positions: Mapping[Place, int]) -> float | None:
        """Return when the first unread record can be read; None where there is none."""
        unread = [
            self._logs[place][position].ready
            for place, position in positions.items()
            if position < len(self._logs[place])
        ]
        return min(unread, default=None)

    def join(self, name: str, member: "SimulatedTransport") -> Group:
        """Take a member into a group."""
        group = self._groups.setdefault(name, Group())
        group.members.append(member)
        self._rebalance(group)
        return group

    def leave(self, name: str, member: "SimulatedTransport") -> None:
        """Let a member go, or throw it out: its session has ended."""
        group = self._groups[name]
        if member in group.members:
            group.members.remove(member)
            member.positions = {}
            self._rebalance(group)

    def restart_empty(self) -> None:
        """Forget all records, offsets and members, as a broker does whose data was removed."""
        for group in self._groups.values():
            for member in group.members:
                member.positions = {}
                member.wake(self.now())
            group.members.clear()
            group.committed.clear()
            group.generation += 1
        self._clear()

    def forget_offsets(self) -> None:
        """Forget how far the groups have read: they begin again at the first record."""
        for group in self._groups.values():
            group.committed.clear()
            self._rebalance(group)

    def unread(self) -> int:
        """Count the records that a group has not committed yet."""
        return sum(
            len(self._logs[place]) - group.committed.get(place, 0)
            for group in self._groups.values()
            for place in {place for member in group.members for place in member.positions}
        )

    def _rebalance(self, group: Group) -> None:
        """Deal the partitions out anew, as Kafka's range assignor does."""
        group.generation += 1
        for member in group.members:
            member.positions = {}
        for topic in sorted({topic for member in group.members for topic in member.topics}):
            readers = [member for member in group.members if topic in member.topics]
            for number in range(self._counts.get(topic, 0)):
                owner = readers[number * len(readers) // self._counts[topic]]
                owner.positions[topic, number] = group.committed.get((topic, number), 0)
        for member in group.members:
            member.wake(self.now())

    def _place(self, record: Record) -> Place:
        count = self._counts.get(record.topic)
        if count is None:
            raise BrokerUnavailable(f"there is no topic {record.topic}")
        if record.key is None:
            return record.topic, self._chance.randrange(count)
        return record.topic, zlib.crc32(record.key) % count

    def _clear(self) -> None:
        self._logs = {(topic, n): [] for topic, count in self._counts.items() for n in range(count)}


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
        self._batch = self._broker.read(self.positions) if there else []
        return self._batch

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
        """Store records; where one is refused, the others are stored all the same."""
        self.check()
        refused = []
        for record in records:
            try:
                self._broker.append(record)
            except BrokerUnavailable as error:
                refused.append(error)
        if refused:
            raise BrokerUnavailable(f"{len(refused)} messages not taken: {refused[0]}")

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
        for record in reversed(list(chain.from_iterable(batches))):
            if (record.topic, record.partition) in self.positions:
                self.positions[record.topic, record.partition] = record.offset
        self._in_flight.clear()
        self._batch = []

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
