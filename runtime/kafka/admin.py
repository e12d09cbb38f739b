"""Topics and offsets: create topics, count a group's lag, read all that topics hold."""

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic

from ..dead_letter import SUFFIX
from ..envelope import Record
from ..errors import BrokerUnavailable
from ..settings import Settings
from .application import ADMIN_TIMEOUT, RECORD_LIMIT, Admin, application, reason
from .record import to_record


def create_topics(settings: Settings, partitions: dict[str, int]) -> None:
    """Create the topics that are missing; raise `BrokerUnavailable` if the broker will not."""
    admin = Admin(settings)
    existing = admin.topics()
    try:
        missing = [
            NewTopic(name, count, settings.kafka_replication_factor, config=_config(name))
            for name, count in sorted(partitions.items())
            if name not in existing
        ]
        if missing:
            made = admin.client.create_topics(missing, request_timeout=ADMIN_TIMEOUT)
            for future in made.values():
                _unless_exists(future)
    except KafkaException as error:
        raise BrokerUnavailable(f"topics not created: {reason(error)}") from error


def lag(settings: Settings, group: str, topics: Sequence[str]) -> int:
    """Count the records that a consumer group has not committed yet.

    Raises `BrokerUnavailable` when the broker does not answer.
    """
    known = Admin(settings).topics()
    with application(settings, group).get_consumer(auto_commit_enable=False) as consumer:
        try:
            partitions = [
                TopicPartition(topic, number)
                for topic in topics
                if topic in known
                for number in known[topic].partitions
            ]
            behind = 0
            for committed in consumer.committed(partitions, timeout=ADMIN_TIMEOUT):
                low, high = consumer.get_watermark_offsets(committed, timeout=ADMIN_TIMEOUT)
                # A broker that came back empty may have less than was committed meanwhile.
                behind += max(0, high - max(low, committed.offset))
            return behind
        except KafkaException as error:
            raise BrokerUnavailable(f"offsets not read: {reason(error)}") from error


def read_topics(settings: Settings, topics: Sequence[str]) -> list[Record]:
    """Read all that is on the topics now, in order; topics that are not there hold nothing.

    Raises `BrokerUnavailable` when the broker does not answer.
    """
    records, known = [], Admin(settings).topics()
    with application(settings, "saga.reader").get_consumer(auto_commit_enable=False) as consumer:
        try:
            ends = {
                (topic, number): consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=ADMIN_TIMEOUT
                )
                for topic in topics
                if topic in known
                for number in known[topic].partitions
            }
            unread = {where for where, (low, high) in ends.items() if low < high}
            consumer.assign([TopicPartition(*where, ends[where][0]) for where in unread])
            while unread:
                message = consumer.poll(ADMIN_TIMEOUT)
                if message is None or message.error():
                    raise BrokerUnavailable(f"no answer within {ADMIN_TIMEOUT:g} s")
                records.append(to_record(message))
                where = (message.topic(), message.partition())
                if message.offset() + 1 >= ends[where][1]:
                    unread.discard(where)
        except KafkaException as error:
            raise BrokerUnavailable(f"topics not read: {reason(error)}") from error
    return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))


def _config(topic: str) -> dict[str, str]:
    return {"max.message.bytes": str(RECORD_LIMIT)} if topic.endswith(SUFFIX) else {}


def _unless_exists(future: Any) -> None:
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
