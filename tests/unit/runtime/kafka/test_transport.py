"""Where a partition seems to end before the position in it, and who hears of a refusal when."""

from types import SimpleNamespace

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Record
from saga.runtime.kafka import transport as module
from saga.runtime.kafka.producer import Failure
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


class Client(SimpleNamespace):
    """One of librdkafka's, with nothing on its way."""

    def __len__(self):
        return 0


@pytest.fixture
def make_transport(monkeypatch):
    """Make a transport of a consumer, and of a producer that hears nothing."""

    def make(consumer, **settings):
        client = Client(get_consumer=lambda **_: consumer, poll=lambda _: 0)
        monkeypatch.setattr(module, "application", lambda *_, **__: client)
        monkeypatch.setattr("saga.runtime.kafka.producer.producer_client", lambda *_, **__: client)
        return KafkaTransport(Settings(**settings), "gift.wrap", ["gift.wrap"])

    return make


@pytest.mark.parametrize(("embedded", "sought"), [(True, [OFFSET_BEGINNING]), (False, [])])
def test_partition_begins_again_on_the_embedded_broker_alone(make_transport, embedded, sought):
    """In a cluster, a watermark may lag after a failover: nothing is to be replayed."""
    consumer = Consumer()
    transport = make_transport(consumer, kafka_is_embedded=embedded)
    assert transport.poll(0.0) == []
    assert [start.offset for start in consumer.sought] == sought


@pytest.mark.parametrize("letter_is_taken", [True, False])
def test_refusal_is_told_once_it_is_clear_what_has_become_of_its_letter(
    make_transport, monkeypatch, letter_is_taken
):
    """Who gives up because of it, and then dies, would leave nothing else behind."""
    transport, handed = make_transport(Consumer()), []
    monkeypatch.setattr(transport._producer, "hand_over", lambda *given: handed.append(given))
    refused = Record("order.complete", b"s", b"{}", [])
    transport.finish([refused])
    too_large = Failure("too large", lasting=True, missing=False)
    [(_, _, failed)] = handed
    failed(refused, too_large)
    assert transport.refused() == []
    _, ([letter], taken, failed) = handed
    assert letter.topic == refused.topic + SUFFIX
    if letter_is_taken:
        taken()
    else:
        failed(letter, too_large)
    told = [refusal.record for refusal in transport.refused()]
    assert told == ([refused] if letter_is_taken else [refused, letter])


def test_refusal_is_not_told_where_its_letter_comes_again(make_transport, monkeypatch):
    transport, handed = make_transport(Consumer()), []
    monkeypatch.setattr(transport._producer, "hand_over", lambda *given: handed.append(given))
    refused = Record("order.complete", b"s", b"{}", [])
    transport.finish([refused])
    handed[0][2](refused, Failure("too large", lasting=True, missing=False))
    handed[1][2](handed[1][0][0], Failure("no answer", lasting=False, missing=False))
    assert transport.refused() == []
