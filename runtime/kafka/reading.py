"""Reads what topics hold, as a consumer in no group: all of it, on from some places, or some."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

from ..dead_letter import Origin
from ..envelope import Record
from ..errors import BrokerUnavailable
from ..settings import Settings
from ..transport import Partition
from .application import ADMIN_TIMEOUT, FETCHED_AHEAD, Admin, application, reason
from .record import to_record

READ_AT_ONCE = 32 * 1024 * 1024  # bytes

IsWanted = Callable[[str], bool]  # a topic, by its name


def read_topics(settings: Settings, topics: Sequence[str]) -> list[Record]:
    """Read all that is on the topics now, in order; topics that are not there hold nothing.

    Raises `BrokerUnavailable` when the broker does not answer.
    """
    with _reader(settings) as reader:
        records = list(reader.between(reader.ends({*topics}.__contains__)))
    return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))


class Reading(NamedTuple):
    """What was read of some topics, partition by partition.

    `began` is where that was, `places` where it goes on; so many records are `left` behind them.
    """

    records: list[Record]
    began: dict[Origin, int]
    places: dict[Origin, int]
    left: int


def read_on(
    settings: Settings, is_wanted: IsWanted, places: Mapping[Origin, int], most: int
) -> Reading:
    """Read what is on topics from some places on, up to `most` records, or `READ_AT_ONCE` bytes.

    A partition that has no such place is read from its begin. Raises `BrokerUnavailable`.
    """
    records: list[Record] = []
    with _reader(settings) as reader:
        ends = reader.ends(is_wanted)
        origins = reader.origins(ends)
        began = {
            where: place
            if (place := places.get(origins[where], -1)) in range(low, high + 1)
            else low
            for where, (low, high) in ends.items()
        }
        reached, size = dict(began), 0
        with closing(reader.between({w: (began[w], ends[w][1]) for w in ends})) as found:
            for record in found:
                records.append(record)
                reached[record.topic, record.partition] = record.offset + 1
                size += _size(record)
                if len(records) >= most or size >= READ_AT_ONCE:
                    break
            else:
                reached = {where: high for where, (_, high) in ends.items()}
    left = sum(high - reached[where] for where, (_, high) in ends.items())
    named = [{origins[where]: at for where, at in found.items()} for found in (began, reached)]
    return Reading(records, named[0], named[1], left)


def read_records(
    settings: Settings, places: Collection[tuple[str, int, int]]
) -> tuple[list[Record], list[tuple[str, int, int]]]:
    """Read the records at topics' partitions' offsets, up to 8 MB (`FETCHED_AHEAD`) or one more.

    Those that are not there are left out. Returns the places, too, that are still to be read.
    Raises `BrokerUnavailable`.
    """
    wanted: dict[Partition, list[int]] = {}
    for topic, partition, offset in places:
        wanted.setdefault((topic, partition), []).append(offset)
    records: list[Record] = []
    reached, size = dict.fromkeys(wanted, -1), 0
    with _reader(settings) as reader:
        ends = reader.ends({topic for topic, _ in wanted}.__contains__)
        ranges = {
            where: (max(low, min(wanted[where])), min(high, max(wanted[where]) + 1))
            for where, (low, high) in ends.items()
            if where in wanted
        }
        with closing(reader.between(ranges)) as found:
            for record in found:
                where = record.topic, record.partition
                reached[where] = record.offset
                if record.offset in wanted[where]:
                    records.append(record)
                    size += _size(record)
                if size >= FETCHED_AHEAD:
                    return records, [one for one in places if one[2] > reached[one[:2]]]
    return records, []


def _size(record: Record) -> int:
    parts = record.key, record.value, *(value for _, value in record.headers)
    return sum(len(part) for part in parts if part)


class _Reader:
    """A consumer in no group, that reads what topics hold and goes."""

    def __init__(self, settings: Settings, consumer: Any) -> None:
        self._admin = Admin(settings)
        self._prefix = settings.kafka_prefix
        self._consumer = consumer

    def ends(self, is_wanted: IsWanted) -> dict[Partition, tuple[int, int]]:
        """Return the first offset of each partition, and the one behind its last record."""
        known = self._admin.topics()
        return {
            (topic, number): self._consumer.get_watermark_offsets(
                TopicPartition(self._prefix + topic, number), timeout=ADMIN_TIMEOUT
            )
            for topic in filter(is_wanted, known)
            for number in known[topic].partitions
        }

    def origins(self, ends: Mapping[Partition, tuple[int, int]]) -> dict[Partition, Origin]:
        """Tell which partitions these are, that have the same names as others may have had."""
        names = TopicCollection([*{self._prefix + topic for topic, _ in ends}])
        # The collection of none is one of all.
        asked = (
            self._admin.client.describe_topics(names, request_timeout=ADMIN_TIMEOUT) if ends else {}
        )
        ids = {name: str(future.result().topic_id) for name, future in asked.items()}
        return {
            (topic, number): Origin(topic, number, ids[self._prefix + topic], low)
            for (topic, number), (low, _) in ends.items()
        }

    def between(self, ranges: Mapping[Partition, tuple[int, int]]) -> Generator[Record]:
        """Read from one offset up to before another."""
        unread = {where: end for where, (begin, end) in ranges.items() if begin < end}
        self._consumer.assign(
            [TopicPartition(self._prefix + topic, n, ranges[topic, n][0]) for topic, n in unread]
        )
        while unread:
            message = self._consumer.poll(ADMIN_TIMEOUT)
            if message is None:
                raise BrokerUnavailable(f"no answer within {ADMIN_TIMEOUT:g} s")
            where = (message.topic().removeprefix(self._prefix), message.partition())
            offset, error = message.offset(), message.error()
            if error is None:
                if offset < unread.get(where, 0):
                    yield to_record(message, self._prefix)
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            # What a transaction leaves at the end is no record: nothing comes of that offset.
            if error is not None or offset + 1 >= unread.get(where, 0):
                unread.pop(where, None)


@contextmanager
def _reader(settings: Settings) -> Iterator[_Reader]:
    # A partition at its end, of which nothing is wanted, holds up no other.
    consuming = {"enable.partition.eof": True, "fetch.wait.max.ms": 10}
    made = application(settings, "saga.reader", consuming=consuming)
    with made.get_consumer(auto_commit_enable=False) as consumer:
        try:
            yield _Reader(settings, consumer)
        except KafkaException as error:
            raise BrokerUnavailable(f"topics not read: {reason(error)}") from error
