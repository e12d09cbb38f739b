"""Systems with a prefix each share a broker, and take nothing of each other's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Envelope, Record, reply_id
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.admin import create_topics, lag
from saga.runtime.kafka.application import Admin
from saga.runtime.kafka.producer import Producer
from saga.runtime.kafka.reading import read_topics
from saga.runtime.kafka.request import request
from saga.runtime.kafka.tail import Tail
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from support.brokers import POLL, Server, poll_one, read, record, values
from support.waiting import wait_until

PREFIXES = ["", "shop.", "Shop-2_"]
GROUP, TOPIC, WIDE = "gift.wrap", "gift.wrap", "gift.events"


@pytest.fixture
def systems(embedded_server: Server) -> list[Settings]:
    systems = [
        embedded_server.settings.model_copy(update={"kafka_prefix": prefix}) for prefix in PREFIXES
    ]
    for width, settings in enumerate(systems, start=1):
        create_topics(settings, {TOPIC: 1, TOPIC + SUFFIX: 1, WIDE: width})
    return systems


@pytest.fixture
def members(systems: list[Settings]) -> Iterator[list[KafkaTransport]]:
    members = [KafkaTransport(settings, GROUP, [TOPIC]) for settings in systems]
    yield members
    for member in members:
        member.close()


def test_same_topic_and_group_are_each_systems_own(
    systems: list[Settings], members: list[KafkaTransport]
) -> None:
    for number, member in enumerate(members):
        member.send([record(TOPIC, number * 10), record(TOPIC, number * 10 + 1)])
    for number, (settings, member) in enumerate(zip(systems, members, strict=True)):
        poll_one(member)
        member.rewind()
        batch = poll_one(member)
        assert (batch[0].topic, values(batch[:1])) == (TOPIC, [number * 10])
        if batch[1:]:
            member.put_back(batch[1:])
        member.finish([])
        assert values(read(member, 1)) == [number * 10 + 1]
        found = read_topics(settings, [TOPIC])
        assert [(r.topic, int(r.value or b"")) for r in found] == [
            (TOPIC, number * 10),
            (TOPIC, number * 10 + 1),
        ]

    def offsets_are_committed() -> bool:
        for member in members:
            member.poll(POLL)
        return [lag(settings, GROUP, [TOPIC]) for settings in systems] == [0, 0, 0]

    wait_until(offsets_are_committed, "each has committed its own")
    members[1].send([record(TOPIC, 3)])
    assert [lag(settings, GROUP, [TOPIC]) for settings in systems] == [0, 1, 0]


def test_topics_of_others_are_not_seen_and_each_has_its_own_width(systems: list[Settings]) -> None:
    known = [Admin(settings).topics() for settings in systems]
    assert [len(topics[WIDE].partitions) for topics in known] == [1, 2, 3]
    assert [sorted(topics) for topics in known[1:]] == [[WIDE, TOPIC, TOPIC + SUFFIX]] * 2
    create_topics(systems[1], {WIDE: 4})
    wait_until(lambda: len(Admin(systems[1]).topics()[WIDE].partitions) == 4, "it is wider")
    assert len(Admin(systems[2]).topics()[WIDE].partitions) == 3


def test_what_is_refused_gets_its_letter_in_its_own_system(
    systems: list[Settings], members: list[KafkaTransport]
) -> None:
    members[1].send([record(TOPIC, 1, size=3_000_000)])
    found = [len(read_topics(settings, [TOPIC + SUFFIX])) for settings in systems]
    assert found == [0, 1, 0]


def test_tail_hears_its_own_system(systems: list[Settings]) -> None:
    heard: list[Record] = []
    tail, stranger = Tail(systems[1], WIDE, heard.extend), Producer(systems[2])
    sender = Producer(systems[1])

    def hears() -> bool:
        stranger.send_records([record(WIDE, 2)])
        sender.send_records([record(WIDE, 1)])
        return bool(heard)

    wait_until(hears, "it hears one")
    tail.close()
    assert {(record.topic, record.value) for record in heard} == {(WIDE, b"1")}


def test_command_is_answered_in_its_own_system(
    systems: list[Settings], members: list[KafkaTransport]
) -> None:
    command = Envelope(TOPIC, "s/wrap/do", "WrapGift", "/test", "", "{}")
    reply = Envelope(WIDE, reply_id(command.id), "GiftWrapped", "/test", "", "{}", outcome="done")
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(request, systems[1], command, WIDE, 30.0)
        batch: list[Record] = []
        while not any(dict(r.headers)["ce_id"] == command.id.encode() for r in batch):
            batch = poll_one(members[1])
            members[1].finish([])
        members[1].send([reply.record()])
        assert asked.result().outcome == "done"


def test_name_that_is_too_long_with_its_prefix_is_told(systems: list[Settings]) -> None:
    with pytest.raises(BrokerUnavailable, match="with KAFKA_PREFIX it is over 249 characters"):
        create_topics(systems[1], {"a" * 245: 1})
