"""Topics: created and made wider where they are too few, read to their end, made again."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.admin import create_topics, read_topics
from saga.runtime.kafka.application import Admin
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from support.brokers import POLL, Server, group, poll_one, read, record, values
from support.waiting import DEADLINE, wait_until

_numbers = count()


def new_topic() -> str:
    return f"topics.{next(_numbers)}"


def widths(settings: Settings, *topics: str) -> list[int]:
    known = Admin(settings).topics()
    return [len(known[topic].partitions) if topic in known else 0 for topic in topics]


class TopicContract:
    """The facts of every real broker. A subclass gives the fixture `settings`."""

    def test_topic_that_is_there_is_widened_and_never_narrowed(self, settings: Settings) -> None:
        one, two, three = new_topic(), new_topic(), new_topic()
        create_topics(settings, {one: 1, two: 4})
        create_topics(settings, {one: 3, two: 2, three: 2})
        wait_until(lambda: widths(settings, one, two, three) == [3, 4, 2], "all are as wide")

    def test_topic_that_somebody_else_creates_meanwhile_is_widened(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        topic, looks = new_topic(), count()
        look = Admin.topics

        def look_too_early(admin: Admin, *timeout: float) -> dict[str, Any]:
            return look(admin, *timeout) if next(looks) else {}

        create_topics(settings, {topic: 1})
        wait_until(lambda: widths(settings, topic) == [1], "it is there")
        with monkeypatch.context() as patched:
            patched.setattr(Admin, "topics", look_too_early)
            create_topics(settings, {topic: 2})
        wait_until(lambda: widths(settings, topic) == [2], "it is wider")

    def test_topic_is_read_to_its_end_behind_a_transaction(self, settings: Settings) -> None:
        """A transaction leaves something behind that is no record, and has an offset."""
        plain, marked = new_topic(), new_topic()
        create_topics(settings, {plain: 2, marked: 1})
        servers = {"bootstrap.servers": str(settings.kafka_bootstrap_servers)}
        producer = Producer({**servers, "transactional.id": marked})
        producer.init_transactions(DEADLINE)
        producer.begin_transaction()
        for number in range(3):
            producer.produce(marked, b"%d" % number)
        producer.commit_transaction(DEADLINE)
        plain_producer = Producer(servers)
        for number in range(5):
            plain_producer.produce(plain, b"%d" % number, key=b"%d" % number)
        assert plain_producer.flush(DEADLINE) == 0
        records = read_topics(settings, [plain, marked, "topics.none"])
        assert sorted(values([r for r in records if r.topic == plain])) == [*range(5)]
        assert values([r for r in records if r.topic == marked]) == [0, 1, 2]

    @pytest.mark.proof
    def test_topic_that_is_deleted_under_its_reader_is_made_again(self, settings: Settings) -> None:
        topic = new_topic()

        def create() -> None:
            create_topics(settings, {topic: 1})

        create()
        servers = {"bootstrap.servers": str(settings.kafka_bootstrap_servers)}
        reader = KafkaTransport(settings, group(), [topic], on_missing=create)
        try:
            reader.send([record(topic, 1)])
            wait_until(self._reads(reader, 1), "the first is read")
            admin = AdminClient(servers)  # which ends its calls where it is let go
            admin.delete_topics([topic])[topic].result(DEADLINE)
            wait_until(self._reads(reader, 2, topic), "the second is read, of the new topic")
        finally:
            reader.close()

    def _reads(self, reader: KafkaTransport, number: int, topic: str = "") -> Callable[[], bool]:
        def reads() -> bool:
            try:
                got = values(reader.poll(POLL))
                reader.finish([])
                if topic and number not in got:
                    reader.send([record(topic, number)])
            except BrokerUnavailable:
                reader.rewind()
                return False
            return number in got

        return reads

    def test_offset_out_of_range_is_logged_with_what_is_read_instead(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        topic, name = new_topic(), group()
        create_topics(settings, {topic: 1})
        member = KafkaTransport(settings, name, [topic])
        member.send([record(topic, n) for n in range(5)])
        batch = poll_one(member)
        if batch[1:]:
            member.put_back(batch[1:])
        member.finish([])
        member.poll(0)
        member.close()
        admin = Admin(settings).client
        for future in admin.delete_records([TopicPartition(topic, 0, 3)]).values():
            future.result()
        again = KafkaTransport(settings, name, [topic])
        assert values(read(again, 2)) == [3, 4]
        again.close()
        [said] = [text for text in caplog.messages if "offset reset" in text]
        assert topic in said
        assert "BEGINNING" in said
        assert "out of range" in said


class TestEmbedded(TopicContract):
    @pytest.fixture
    def settings(self, embedded_server: Server) -> Settings:
        return embedded_server.settings


@pytest.mark.proof
class TestKafka(TopicContract):
    @pytest.fixture
    def settings(self, kafka_server: Server) -> Settings:
        return kafka_server.settings
