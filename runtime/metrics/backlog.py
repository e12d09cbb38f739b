"""How far consumer groups are behind: in records, in seconds, and with how many members."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from confluent_kafka import (
    OFFSET_INVALID,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from ..errors import BrokerUnavailable
from ..kafka.application import Admin, application, reason
from ..settings import Settings
from .catalogue import COMMITTED, END, LAG, LAG_SECONDS, MEMBERS
from .collecting import Sample

ANSWER = 2.0  # seconds that a broker has: who scrapes waits for ten, as a rule
AT_ONCE = 1_000  # bytes, at most: of each partition, the first record is enough

Place = tuple[str, int]  # a topic as Kafka knows it, and a partition
Groups = Callable[[], Mapping[str, Sequence[str]]]


class Ends(NamedTuple):
    """Where partitions begin and end."""

    low: Mapping[Place, int]
    high: Mapping[Place, int]


class Backlog:
    """Asks a broker about consumer groups, of which `groups` says what topics each reads."""

    def __init__(self, settings: Settings, groups: Groups) -> None:
        self._settings, self._groups = settings, groups
        self._prefix = settings.kafka_prefix

    @cached_property
    def _admin(self) -> Admin:
        return Admin(self._settings)

    @cached_property
    def _reader(self) -> Any:
        consuming = {"fetch.message.max.bytes": AT_ONCE, "queued.min.messages": 1}
        reader = application(self._settings, "saga.metrics", consuming=consuming)
        return reader.get_consumer(auto_commit_enable=False)

    def __call__(self) -> Iterator[Sample]:
        """Return what is known; raise `BrokerUnavailable` where the broker does not answer."""
        try:
            groups = self._groups()
            known = self._admin.topics(ANSWER)
            read = {topic for topics in groups.values() for topic in topics if topic in known}
            places = [(self._prefix + t, n) for t in sorted(read) for n in known[t].partitions]
            low, high = OffsetSpec.earliest(), OffsetSpec.latest()
            ends = Ends(self._offsets(places, low), self._offsets(places, high))
            for topic, number in places:
                labels = topic.removeprefix(self._prefix), str(number)
                yield END, labels, ends.high[topic, number]
            for group, topics in groups.items():
                own = [place for place in places if place[0].removeprefix(self._prefix) in topics]
                yield from self._of_group(group, self._committed(group, own), ends)
            yield from self._members(list(groups))
        except (KafkaException, TimeoutError) as error:
            told = reason(error) if isinstance(error, KafkaException) else "no answer in time"
            raise BrokerUnavailable(f"offsets not read: {told}") from error

    def _offsets(self, places: Sequence[Place], where: OffsetSpec) -> dict[Place, int]:
        asked = {TopicPartition(*place): where for place in places}
        if not asked:
            return {}
        futures = self._admin.client.list_offsets(asked, request_timeout=ANSWER)
        return {(at.topic, at.partition): f.result(ANSWER).offset for at, f in futures.items()}

    def _committed(self, group: str, places: Sequence[Place]) -> dict[Place, int]:
        """Return up to where a group has committed; what it has nowhere is below 0."""
        if not places:
            return {}
        asked = [TopicPartition(*place) for place in places]
        request = ConsumerGroupTopicPartitions(self._prefix + group, asked)
        client = self._admin.client
        [future] = client.list_consumer_group_offsets([request], request_timeout=ANSWER).values()
        found = _unless_unknown(future)
        if found is None:
            return dict.fromkeys(places, OFFSET_INVALID)
        parts = found.topic_partitions
        return {(at.topic, at.partition): at.offset for at in parts if at.error is None}

    def _of_group(self, group: str, committed: Mapping[Place, int], ends: Ends) -> Iterator[Sample]:
        # A broker that came back empty may have less than was committed meanwhile.
        unread = {
            place: max(ends.low[place], offset)
            for place, offset in committed.items()
            if max(ends.low[place], offset) < ends.high[place]
        }
        oldest: dict[str, float | None] = {}
        sent = self._sent_at(unread)
        for place, offset in committed.items():
            topic, number = place[0].removeprefix(self._prefix), str(place[1])
            behind = ends.high[place] - unread.get(place, ends.high[place])
            yield LAG, (group, topic, number), behind
            if offset >= 0:
                yield COMMITTED, (group, topic, number), offset
            age = sent.get(place) if place in unread else 0.0
            known = oldest.setdefault(topic, 0.0)
            oldest[topic] = None if age is None or known is None else max(known, age)
        yield from ((LAG_SECONDS, (group, t), age) for t, age in oldest.items() if age is not None)

    def _sent_at(self, unread: Mapping[Place, int]) -> dict[Place, float]:
        """Return how many seconds ago these records were sent, of those that are got in time."""
        if not unread:
            return {}
        found: dict[Place, float] = {}
        until = time.monotonic() + ANSWER
        self._reader.assign([TopicPartition(*place, offset) for place, offset in unread.items()])
        try:
            while len(found) < len(unread) and (left := until - time.monotonic()) > 0:
                message = self._reader.poll(left)
                if message is not None and message.error() is None:
                    place, (_, sent) = (message.topic(), message.partition()), message.timestamp()
                    found.setdefault(place, max(0.0, time.time() - sent / 1000))
        finally:
            self._reader.unassign()
        return found

    def _members(self, groups: Sequence[str]) -> Iterator[Sample]:
        if not groups:
            return
        asked = [self._prefix + group for group in groups]
        client = self._admin.client
        for name, future in client.describe_consumer_groups(asked, request_timeout=ANSWER).items():
            found = _unless_unknown(future)
            members = 0 if found is None else len(found.members)
            yield MEMBERS, (name.removeprefix(self._prefix),), members


def _unless_unknown(future: Any) -> Any:
    """Return what is told of a group; None of one that nobody has ever joined."""
    try:
        return future.result(ANSWER)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise
        return None
