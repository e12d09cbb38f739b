"""What a tail hears of a topic: what is sent from now on, whoever else reads it."""

from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import Producer

from saga.runtime.envelope import Record
from saga.runtime.kafka import tail
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.tail import Tail
from saga.runtime.settings import Settings
from support.brokers import Broker, Real, Server, group, record, values
from support.waiting import DEADLINE, wait_until


class Heard:
    """A tail that keeps what it hears."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.numbers: list[int] = []
        self._tail = Tail(settings, topic, self._hear)

    def _hear(self, records: Sequence[Record]) -> None:
        self.numbers += values(records)

    def close(self) -> None:
        self._tail.close()


@pytest.fixture
def broker(embedded_broker: Broker) -> Broker:
    return embedded_broker


@pytest.fixture
def settings(embedded_server: Server) -> Settings:
    return embedded_server.settings


@pytest.fixture
def heard() -> Iterator[list[Heard]]:
    open_tails: list[Heard] = []
    yield open_tails
    for each in open_tails:
        each.close()


def test_each_tail_hears_what_is_sent_from_now_on(
    broker: Real, settings: Settings, heard: list[Heard]
) -> None:
    topic = broker.topic(partitions=2)
    member = broker.member(group(), topic)
    member.send([record(topic, 1)])
    heard += [Heard(settings, topic), Heard(settings, topic)]

    def sent_until_all_hear() -> bool:
        member.send([record(topic, 2)])
        return all(2 in each.numbers for each in heard)

    wait_until(sent_until_all_hear, "both tails are at the end")
    member.send([record(topic, 3)])
    wait_until(lambda: all(3 in each.numbers for each in heard), "both hear what is new")
    assert not any(1 in each.numbers for each in heard)


def test_topic_that_is_not_there_yet_is_waited_for(
    broker: Real, settings: Settings, heard: list[Heard]
) -> None:
    heard.append(Heard(settings, "contract.later"))
    create_topics(settings, {"contract.later": 1})
    member = broker.member(group(), "contract.later")

    def sent_until_heard() -> bool:
        member.send([record("contract.later", 1)])
        return 1 in heard[0].numbers

    wait_until(sent_until_heard, "the tail has found the topic")


def test_partitions_that_are_added_are_heard_from_their_beginning(
    broker: Real, settings: Settings, heard: list[Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "LOOK_EVERY", 0.0)
    topic = broker.topic()
    heard.append(Heard(settings, topic))
    member = broker.member(group(), topic)

    def sent_until_heard() -> bool:
        member.send([record(topic, 1)])
        return 1 in heard[0].numbers

    wait_until(sent_until_heard, "the tail is at the end")
    create_topics(settings, {topic: 8})
    sender = Producer({"bootstrap.servers": str(settings.kafka_bootstrap_servers)})
    for partition in range(8):
        sender.produce(topic, b"%d" % (10 + partition), partition=partition)
    assert sender.flush(DEADLINE) == 0
    wait_until(lambda: {*range(10, 18)} <= {*heard[0].numbers}, "all are heard")
