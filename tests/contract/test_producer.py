"""A producer that posts: it waits for nothing, and holds no more than so much."""

from collections.abc import Sequence
from threading import Event

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from peewee import SqliteDatabase

from saga.runtime.batch_loop import BatchLoop
from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Envelope, Record
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import producer as module
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.application import Admin
from saga.runtime.kafka.producer import Producer
from saga.runtime.kafka.reading import read_topics
from saga.runtime.settings import Settings
from saga.runtime.transport import Refusal, Transport
from support.brokers import LOST, POLL, Broker, Server, group, read, record
from support.waiting import DEADLINE, wait_until

TOPIC = "producer.posts"


@pytest.fixture
def settings(embedded_server: Server) -> Settings:
    create_topics(embedded_server.settings, {TOPIC: 1})
    return embedded_server.settings


def envelope(number: int) -> Envelope:
    return Envelope(TOPIC, f"s{number}/pack/do", "Pack", "/x", "now", "{}")


def narrow(settings: Settings, topic: str, longest: int) -> None:
    """Let a topic take no longer records, in bytes."""
    entry = ConfigEntry(
        "max.message.bytes", str(longest), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = Admin(settings)
    for future in admin.client.incremental_alter_configs([resource]).values():
        future.result(DEADLINE)


def test_many_answers_that_are_refused_all_become_letters(
    embedded_server: Server, embedded_broker: Broker
) -> None:
    """Whoever hears of a refusal sends the letter: in a call of its own, librdkafka would die."""
    topic, answers = embedded_broker.topic(), embedded_broker.topic(letters=True)
    narrow(embedded_server.settings, answers, 2000)
    member = embedded_broker.member_elsewhere(group(), topic)
    letters = embedded_broker.member(group(), answers + SUFFIX)
    member.send([record(topic, n) for n in range(500)])
    asked = read(member, 500, finish=False)
    member.finish([record(answers, n, size=3000) for n in range(len(asked))])
    found: set[int] = set()
    refused: list[Refusal] = []

    def all_come() -> bool:
        member.poll(POLL)
        refused.extend(member.refused())
        found.update(int((letter.value or b"").split()[0]) for letter in letters.poll(POLL))
        letters.finish([])
        return len(found) == len(asked) <= len(refused)

    wait_until(all_come, "there is a letter of each, and each is told", LOST)
    assert len(refused) == len(asked)


def test_worker_keeps_nothing_of_what_was_refused(embedded_broker: Broker) -> None:
    topic = embedded_broker.topic()
    member = embedded_broker.member(group(), topic)
    stop = Event()

    class Answering(BatchLoop):
        def _work(self, records: Sequence[Record]) -> list[Record]:
            return [record("contract.none", 1)]

        def _finish(self, records: Sequence[Record], transport: Transport) -> None:
            super()._finish(records, transport)
            transport.send([])
            wait_until(lambda: transport.poll(POLL) or refused(), "it is refused", LOST)
            stop.set()

    def refused() -> bool:
        return bool(member._refused)  # type: ignore[attr-defined]

    member.send([record(topic, 1)])
    Answering("contract", SqliteDatabase(":memory:")).run(member, stop)
    assert not refused()


def test_posts_beyond_those_that_may_be_on_their_way_are_refused_until_others_arrive(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSTED", 3)
    producer, taken, refused = Producer(settings), 0, set[str]()

    def post_next() -> bool:
        nonlocal taken
        try:
            producer.post([envelope(taken)])
        except BrokerUnavailable as error:
            refused.add(str(error))
            return False
        taken += 1
        return taken == 20

    wait_until(post_next, "all are posted")
    producer.close()
    assert refused <= {"3 messages are on their way to the broker"}
    assert len(read_topics(settings, [TOPIC])) == 20
