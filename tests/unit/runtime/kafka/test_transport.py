"""Where a partition seems to end before the position in it."""

from types import SimpleNamespace

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from saga.runtime.kafka import transport as module
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings


class Consumer:
    """One at offset 5 of a partition that is said to end at 3."""

    def __init__(self):
        self.sought = []

    def subscribe(self, topics, **_):
        self.topics = topics

    def assignment(self):
        return [TopicPartition("gift.wrap", 0)]

    def position(self, partitions):
        return [TopicPartition(one.topic, one.partition, 5) for one in partitions]

    def get_watermark_offsets(self, partition, cached):
        return 0, 3

    def seek(self, start):
        self.sought.append(start)

    def poll(self, timeout):
        return None


@pytest.mark.parametrize(("embedded", "sought"), [(True, [OFFSET_BEGINNING]), (False, [])])
def test_partition_begins_again_on_the_embedded_broker_alone(monkeypatch, embedded, sought):
    """In a cluster, a watermark may lag after a failover: nothing is to be replayed."""
    consumer = Consumer()
    client = SimpleNamespace(get_consumer=lambda **_: consumer, poll=lambda _: 0)
    monkeypatch.setattr(module, "application", lambda *_, **__: client)
    monkeypatch.setattr("saga.runtime.kafka.producer.producer_client", lambda *_, **__: client)
    transport = KafkaTransport(Settings(kafka_is_embedded=embedded), "gift.wrap", ["gift.wrap"])
    assert transport.poll(0.0) == []
    assert [start.offset for start in consumer.sought] == sought
