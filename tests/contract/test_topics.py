"""Topics: created and made wider where they are too few, read to their end, made again."""

from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from saga.runtime.dead_letter import SUFFIX
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.application import Admin
from saga.runtime.kafka.reading import read_topics
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from support.brokers import POLL, Server, group, poll_one, read, record, values
from support.waiting import DEADLINE, wait_until

_numbers = count()
FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


def new_topic() -> str:
    return f"topics.{next(_numbers)}"


def widths(settings: Settings, *topics: str) -> list[int]:
    known = Admin(settings).topics()
    return [len(known[topic].partitions) if topic in known else 0 for topic in topics]


def config_of(settings: Settings, topic: str) -> dict[str, str | None]:
    admin = Admin(settings)  # which ends its calls where it is let go
    [future] = admin.client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(DEADLINE).items()}


def kept_of(settings: Settings, topic: str) -> dict[str, str | None]:
    found = config_of(settings, topic)
    return {name: found[name] for name in FOREVER}


class TopicContract:
    """The facts of every real broker. A subclass gives the fixture `settings`."""

    def test_topic_that_is_there_is_widened_and_never_narrowed(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, two, three = new_topic(), new_topic(), new_topic()
        create_topics(settings, {one: 1, two: 4})
        with caplog.at_level("INFO"):
            create_topics(settings, {one: 3, two: 2, three: 2})
        assert caplog.messages == [
            f"{two} keeps its 4 partitions: Kafka takes none away",
            f"{one} has 3 partitions now",
        ]
        wait_until(lambda: widths(settings, one, two, three) == [3, 4, 2], "all are as wide")

    def test_replication_is_the_brokers_unless_it_is_set(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[NewTopic] = []
        create = AdminClient.create_topics

        def note(client: AdminClient, topics: list[NewTopic], **options: Any) -> Any:
            asked.extend(topics)
            return create(client, topics, **options)

        monkeypatch.setattr(AdminClient, "create_topics", note)
        default, one = new_topic(), new_topic()
        create_topics(settings, {default: 1})
        create_topics(settings.model_copy(update={"kafka_replication_factor": 1}), {one: 1})
        assert [topic.replication_factor for topic in asked] == [-1, 1]
        wait_until(lambda: widths(settings, default, one) == [1, 1], "both are there")

    def test_dead_letters_stay_for_ever_and_all_else_as_the_broker_says(
        self, settings: Settings
    ) -> None:
        topic = new_topic()
        create_topics(settings, {topic: 1, topic + SUFFIX: 1})
        assert kept_of(settings, topic + SUFFIX) == FOREVER
        assert kept_of(settings, topic)["retention.ms"] == "604800000"

    def test_dead_letters_that_would_have_gone_stay(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        letters = new_topic() + SUFFIX
        config = {"retention.ms": "1000", "max.message.bytes": "3000000"}
        admin = Admin(settings)
        made = admin.client.create_topics([NewTopic(letters, 1, config=config)])
        made[letters].result(DEADLINE)
        with caplog.at_level("INFO"):
            create_topics(settings, {letters: 1})
            create_topics(settings, {letters: 1})
        assert caplog.messages == [f"{letters} keeps its dead letters for ever now"]
        wait_until(lambda: kept_of(settings, letters) == FOREVER, "they stay")
        assert config_of(settings, letters)["max.message.bytes"] == "3000000"

    def test_dead_letters_that_may_go_as_nobody_may_keep_them_are_told(
        self, settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        letters = new_topic() + SUFFIX
        create_topics(settings, {letters: 1})
        refused: Future[Any] = Future()
        refused.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
        resource = ConfigResource(ResourceType.TOPIC, letters)
        monkeypatch.setattr(AdminClient, "describe_configs", lambda *_: {resource: refused})
        create_topics(settings, {letters: 1})
        [said] = caplog.messages
        assert said.startswith(f"{letters} may not keep its dead letters for ever: ")

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
