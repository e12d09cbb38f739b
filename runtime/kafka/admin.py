"""Topics and offsets: create topics, count a group's lag."""

import logging
from collections.abc import Mapping, Sequence

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from ..dead_letter import SUFFIX
from ..errors import BrokerUnavailable, first_line
from ..settings import Settings
from ..topic import NAME_LIMIT
from .application import ADMIN_TIMEOUT, RECORD_LIMIT, Admin, application, reason

log = logging.getLogger(__name__)

DEFAULT_REPLICATION = -1  # the broker's, which Kafka 2.4 and newer take for it (KIP-464)
LOOK_TIMEOUT = 2.0  # seconds for a sign of life
REBALANCING = (
    ConsumerGroupState.PREPARING_REBALANCING,
    ConsumerGroupState.COMPLETING_REBALANCING,
)
# A dead letter waits for a person, however long that takes and whatever else topics keep there.
KEPT_FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


def create_topics(settings: Settings, partitions: dict[str, int]) -> None:
    """Create the topics that are missing, and add the partitions that are; keep all dead letters.

    Raises `BrokerUnavailable` if the broker creates none, as it does where a name is too long with
    its prefix. What it does not change of those that are there is told in the log alone: they do.
    """
    prefix, admin = settings.kafka_prefix, Admin(settings)
    for name in partitions:
        if len(prefix + name) > NAME_LIMIT:
            why = f"with KAFKA_PREFIX it is over {NAME_LIMIT} characters"
            raise BrokerUnavailable(f"topics not created: {prefix + name}: {why}")
    existing = admin.topics()
    replication = settings.kafka_replication_factor or DEFAULT_REPLICATION
    missing = [
        NewTopic(prefix + name, count, replication, config=_config(name))
        for name, count in sorted(partitions.items())
        if name not in existing
    ]
    if missing and not _create(admin, missing):
        existing = admin.topics()  # somebody else has created some, perhaps with fewer partitions
    there = {name: len(existing[name].partitions) for name in partitions if name in existing}
    _widen(admin, prefix, there, partitions)
    _keep_letters(admin, [prefix + name for name in there if name.endswith(SUFFIX)])


def _widen(
    admin: Admin, prefix: str, there: Mapping[str, int], partitions: Mapping[str, int]
) -> None:
    """Add partitions; Kafka takes none away, as that would lose what is in them."""
    for name, count in there.items():
        if count > partitions[name] > 1:  # who wants one may but send there
            log.info("%s keeps its %d partitions: Kafka takes none away", prefix + name, count)
    small = [
        NewPartitions(prefix + name, partitions[name])
        for name, count in sorted(there.items())
        if 0 < count < partitions[name]
    ]
    futures = admin.client.create_partitions(small) if small else {}
    for name, future in futures.items():
        try:
            future.result(ADMIN_TIMEOUT)
            log.info("%s has %d partitions now", name, partitions[name.removeprefix(prefix)])
        except (KafkaException, TimeoutError) as error:
            log.warning("%s keeps its partitions: %s", name, first_line(error))


def _keep_letters(admin: Admin, topics: Sequence[str]) -> None:
    """Let topics of dead letters that are there keep them for ever, whoever made them."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    futures = admin.client.describe_configs(resources) if resources else {}
    for resource, future in futures.items():
        try:
            now = future.result(ADMIN_TIMEOUT)
            changes = {k: v for k, v in KEPT_FOREVER.items() if now[k].value != v}
            if changes:
                _alter(admin, resource.name, changes)
                log.info("%s keeps its dead letters for ever now", resource.name)
        except (KafkaException, TimeoutError) as error:
            why = first_line(error)
            log.warning("%s may not keep its dead letters for ever: %s", resource.name, why)


def _alter(admin: Admin, topic: str, changes: Mapping[str, str]) -> None:
    operation = AlterConfigOpType.SET
    entries = [ConfigEntry(k, v, incremental_operation=operation) for k, v in changes.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    [future] = admin.client.incremental_alter_configs([resource]).values()
    future.result(ADMIN_TIMEOUT)


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


def is_at_rest(settings: Settings, group: str) -> bool:
    """Tell whether a group's coordinator answers, and waits for no member."""
    name = settings.kafka_prefix + group
    try:
        admin = Admin(settings)
        # Asked for a group's coordinator, librdkafka 2.12 may end the process when its broker is
        # back after it stood still: so one that does not answer at all is not asked.
        admin.topics(timeout=LOOK_TIMEOUT)
        asked = admin.client.describe_consumer_groups([name], request_timeout=ADMIN_TIMEOUT)
        return asked[name].result().state not in REBALANCING
    except BrokerUnavailable:
        return False
    except KafkaException as error:
        return bool(error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)


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


def _config(topic: str) -> dict[str, str]:
    is_letters = topic.endswith(SUFFIX)
    return {"max.message.bytes": str(RECORD_LIMIT), **KEPT_FOREVER} if is_letters else {}
