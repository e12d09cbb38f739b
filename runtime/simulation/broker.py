"""A broker in one process, without threads: topics, partitions, offsets and consumer groups.

Its clock is the caller's. It is honest: what a test contract says of the transport over Kafka holds
here too, and whatever may go wrong on the way is for the caller to do.
"""

import random
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ..dead_letter import SUFFIX
from ..envelope import Record
from ..errors import NeverTaken
from ..transport import BATCH_SIZE

FETCHED = 0.3  # the share of polls that find something though the broker is away
# Bytes of a record's body, at most; nearly as Kafka has it, and as our topics of letters have.
LARGEST, LARGEST_LETTER = 1_000_000, 2_000_000

Place = tuple[str, int]  # a topic and the number of one of its partitions
Wake = Callable[[float], None]


class _Entry(NamedTuple):
    """A record in its partition, and when consumers see it."""

    ready: float
    record: Record


class Member(Protocol):
    """Who reads in a group: which topics, how far; `wake` is told when there may be more."""

    topics: tuple[str, ...]
    positions: dict[Place, int]
    wake: Wake


class Group:
    """One consumer group: its members, and how far they have read together."""

    def __init__(self) -> None:
        self.members: list[Member] = []
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

        Whatever comes after it in its partition is seen no earlier. Raises `NeverTaken` when there
        is no such topic, or the record is too large.
        """
        largest = LARGEST_LETTER if record.topic.endswith(SUFFIX) else LARGEST
        if len(record.value or b"") > largest:
            raise NeverTaken("the record is too large")
        place = self._place(record)
        log = self._logs[place]
        ready = max(self.now() + lag, log[-1].ready if log else 0.0)
        log.append(_Entry(ready, record._replace(partition=place[1], offset=len(log))))
        for group in self._groups.values():
            for member in group.members:
                if place in member.positions:
                    member.wake(ready)

    def has(self, topic: str) -> bool:
        """Tell whether there is such a topic."""
        return topic in self._counts

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

    def join(self, name: str, member: Member) -> Group:
        """Take a member into a group."""
        group = self._groups.setdefault(name, Group())
        group.members.append(member)
        self._rebalance(group)
        return group

    def leave(self, name: str, member: Member) -> None:
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
            raise NeverTaken(f"there is no topic {record.topic}")
        if record.key is None:
            return record.topic, self._chance.randrange(count)
        return record.topic, zlib.crc32(record.key) % count

    def _clear(self) -> None:
        self._logs = {(topic, n): [] for topic, count in self._counts.items() for n in range(count)}
