"""Topics and offsets: create topics, count a group's lag, read all that topics hold."""

import logging
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions, NewTopic

from ..dead_letter import SUFFIX
from ..envelope import Record
from ..errors import BrokerUnavailable, first_line
from ..settings import Settings
from ..topic import NAME_LIMIT
from .application import ADMIN_TIMEOUT, RECORD_LIMIT, Admin, application, reason
from .record import to_record

log = logging.getLogger(__name__)


def create_topics(settings: Settings, partitions: dict[str, int]) -> None:
    """Create the topics that are missing, and add the partitions that are.

    Raises `BrokerUnavailable` if the broker creates none, as it does where a name is too long with
    its prefix. That it adds no partitions is told in the log alone: those that are there do.
    """
    prefix, admin = settings.kafka_prefix, Admin(settings)
    for name in partitions:
        if len(prefix + name) > NAME_LIMIT:
            why = f"with KAFKA_PREFIX it is over {NAME_LIMIT} characters"
            raise BrokerUnavailable(f"topics not created: {prefix + name}: {why}")
    existing = admin.topics()
    missing = [
        NewTopic(prefix + name, count, settings.kafka_replication_factor, config=_config(name))
        for name, count in sorted(partitions.items())
        if name not in existing
    ]
    if missing and not _create(admin, missing):
        existing = admin.topics()  # somebody else has created some, perhaps with fewer partitions
    small = [
        NewPartitions(prefix + name, count)
        for name, count in sorted(partitions.items())
        if name in existing and 0 < len(existing[name].partitions) < count
    ]
    if small:
        for name, future in admin.client.create_partitions(small).items():
            try:
                future.result(ADMIN_TIMEOUT)
                log.info("%s has %d partitions now", name, partitions[name.removeprefix(prefix)])
            except (KafkaException, TimeoutError) as error:
                log.warning("%s keeps its partitions: %s", name, first_line(error))


def _create(admin: Admin, topics: Sequence[NewTopic]) -> bool:
    """Create topics; return whether none of them was there already."""
    all_new = True
    try:
        for future in admin.client.create_topics(topics, request_timeout=ADMIN_TIMEOUT).values():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                all_new = False
    except KafkaException as error:
        raise BrokerUnavailable(f"topics not created: {reason(error)}") from error
    return all_new


def lag(settings: Settings, group: str, topics: Sequence[str]) -> int:
    """Count the records that a consumer group has not committed yet.

    Raises `BrokerUnavailable` when the broker does not answer.
    """
    known = Admin(settings).topics()
    with application(settings, group).get_consumer(auto_commit_enable=False) as consumer:
        try:
            partitions = [
                TopicPartition(settings.kafka_prefix + topic, number)
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
    records, known, prefix = [], Admin(settings).topics(), settings.kafka_prefix
    reader = application(settings, "saga.reader", consuming={"enable.partition.eof": True})
    with reader.get_consumer(auto_commit_enable=False) as consumer:
        try:
            ends = {
                (prefix + topic, number): consumer.get_watermark_offsets(
                    TopicPartition(prefix + topic, number), timeout=ADMIN_TIMEOUT
                )
                for topic in topics
                if topic in known
                for number in known[topic].partitions
            }
            unread = {where for where, (low, high) in ends.items() if low < high}
            consumer.assign([TopicPartition(*where, ends[where][0]) for where in unread])
            while unread:
                message = consumer.poll(ADMIN_TIMEOUT)
                if message is None:
                    raise BrokerUnavailable(f"no answer within {ADMIN_TIMEOUT:g} s")
                where = (message.topic(), message.partition())
                if (error := message.error()) is None:
                    records.append(to_record(message, prefix))
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                # What a transaction leaves at the end is no record: nothing comes of that offset.
                if error is not None or message.offset() + 1 >= ends[where][1]:
                    unread.discard(where)
        except KafkaException as error:
            raise BrokerUnavailable(f"topics not read: {reason(error)}") from error
    return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))


def _config(topic: str) -> dict[str, str]:
    return {"max.message.bytes": str(RECORD_LIMIT)} if topic.endswith(SUFFIX) else {}
