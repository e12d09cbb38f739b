"""How far a group is behind, as a broker tells it."""

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Producer

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.metrics.backlog import Backlog
from saga.runtime.metrics.catalogue import COMMITTED, END, LAG, LAG_SECONDS, MEMBERS, Metric
from saga.runtime.settings import Settings
from support.brokers import Server, group, read, record
from support.ports import free_port
from support.waiting import wait_until

Asked = dict[tuple[Metric, tuple[str, ...]], float]
OLD = 100  # seconds

_numbers = count()


@pytest.fixture
def topic(settings: Settings) -> str:
    name = f"lag.{next(_numbers)}"
    create_topics(settings, {name: 2})
    return name


def ask(backlog: Callable[[], Any]) -> Asked:
    return {(metric, labels): value for metric, labels, value in backlog()}


def send_old(settings: Settings, topic: str, partition: int, number: int) -> None:
    """Send a record as if that had been long ago."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    sent = int((time.time() - OLD) * 1000)
    name = settings.kafka_prefix + topic
    producer.produce(name, b"%d" % number, b"k", partition=partition, timestamp=sent)
    assert producer.flush(10) == 0


class LagContract:
    """The facts of every real broker. A subclass gives the fixture `settings`."""

    def test_group_that_has_read_all_is_not_behind(self, settings: Settings, topic: str) -> None:
        name = group()
        backlog = Backlog(settings, lambda: {name: [topic]})
        member = KafkaTransport(settings, name, [topic])
        member.send([record(topic, n, key=f"k{n}") for n in range(10)])
        read(member, 10)
        member.finish([])

        def committed() -> float:
            member.poll(0.05)
            found = ask(backlog)
            places = [(name, topic, str(number)) for number in range(2)]
            return sum(found.get((COMMITTED, place), 0) for place in places)

        wait_until(lambda: committed() == 10, "all is committed")
        found = ask(backlog)
        assert [found[LAG, (name, topic, str(number))] for number in range(2)] == [0, 0]
        assert sum(found[END, (topic, str(number))] for number in range(2)) == 10
        assert found[LAG_SECONDS, (name, topic)] == 0
        assert found[MEMBERS, (name,)] == 1
        member.close()
        assert ask(backlog)[MEMBERS, (name,)] == 0

    def test_lag_is_counted_and_as_old_as_the_first_unread_record(
        self, settings: Settings, topic: str
    ) -> None:
        name = group()
        backlog = Backlog(settings, lambda: {name: [topic]})
        for number in range(3):
            send_old(settings, topic, 1, number)
        found = ask(backlog)
        assert [found[LAG, (name, topic, str(number))] for number in range(2)] == [0, 3]
        assert OLD <= found[LAG_SECONDS, (name, topic)] < OLD + 60
        assert not [labels for metric, labels in found if metric is COMMITTED]
        member = KafkaTransport(settings, name, [topic])
        read(member, 3)
        member.close()
        send = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
        send.produce(settings.kafka_prefix + topic, b"4", b"k", partition=1)
        assert send.flush(10) == 0
        found = ask(backlog)
        assert found[LAG, (name, topic, "1")] == 1
        assert 0 <= found[LAG_SECONDS, (name, topic)] < OLD

    def test_groups_of_one_topic_are_told_apart(self, settings: Settings, topic: str) -> None:
        fast, slow = group(), group()
        backlog = Backlog(settings, lambda: {fast: [topic], slow: [topic]})
        send_old(settings, topic, 0, 1)
        member = KafkaTransport(settings, fast, [topic])
        read(member, 1)
        member.close()
        found = ask(backlog)
        assert [found[LAG, (name, topic, "0")] for name in (fast, slow)] == [0, 1]
        assert found[LAG_SECONDS, (fast, topic)] == 0
        assert found[LAG_SECONDS, (slow, topic)] >= OLD

    def test_names_are_without_the_systems_prefix(self, settings: Settings) -> None:
        shop = settings.model_copy(update={"kafka_prefix": "lag-shop."})
        name, topic = group(), f"lag.{next(_numbers)}"
        create_topics(shop, {topic: 1})
        send_old(shop, topic, 0, 1)
        found = ask(Backlog(shop, lambda: {name: [topic]}))
        assert found[LAG, (name, topic, "0")] == found[END, (topic, "0")] == 1

    def test_topic_that_is_not_there_is_absent(self, settings: Settings) -> None:
        name = group()
        found = ask(Backlog(settings, lambda: {name: ["lag.never"]}))
        assert found == {(MEMBERS, (name,)): 0}

    def test_nothing_is_asked_where_nothing_reads(self, settings: Settings) -> None:
        assert ask(Backlog(settings, dict)) == {}


class TestLagOnTheEmbeddedBroker(LagContract):
    @pytest.fixture
    def settings(self, embedded_server: Server) -> Settings:
        return embedded_server.settings


@pytest.mark.proof
class TestLagOnKafka(LagContract):
    @pytest.fixture
    def settings(self, kafka_server: Server) -> Settings:
        return kafka_server.settings


def test_broker_that_is_away_is_told() -> None:
    settings = Settings().on_broker(f"127.0.0.1:{free_port()}")
    with pytest.raises(BrokerUnavailable):
        ask(Backlog(settings, lambda: {"x": ["y"]}))
