"""What a tail hears of a topic: what is sent from now on, whoever else reads it."""

from collections.abc import Iterator, Sequence

import pytest

from saga.runtime.envelope import Record
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.tail import Tail
from saga.runtime.settings import Settings
from support.brokers import Broker, Real, Server, group, record, values
from support.waiting import wait_until


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
