"""Dead letters on a real broker: read on from a place, fetched by id, closed where they are."""

from collections.abc import Iterator
from itertools import count
from typing import Any
from unittest import mock

import pytest
from confluent_kafka import Producer, TopicPartition

from saga.runtime.clock import utcnow
from saga.runtime.dead_letter import GONE, SUFFIX, Origin, open_dead_letters, to_dead_letter
from saga.runtime.envelope import Record
from saga.runtime.kafka import dead_letters
from saga.runtime.kafka import reading as module
from saga.runtime.kafka.admin import create_topics
from saga.runtime.kafka.application import Admin
from saga.runtime.kafka.dead_letters import close, close_all, fetch, read_more, read_open
from saga.runtime.kafka.reading import read_on, read_records, read_topics
from saga.runtime.settings import Settings
from support.brokers import Server
from support.waiting import DEADLINE, wait_until

_numbers = count()


class LettersContract:
    """The facts of every real broker. A subclass gives the fixture `settings`."""

    @pytest.fixture
    def topic(self, settings: Settings) -> Iterator[str]:
        """A topic of dead letters with two partitions."""
        name = f"letters.{next(_numbers)}{SUFFIX}"
        create_topics(settings, {name: 2})
        found = Admin(settings)
        wait_until(lambda: name in found.topics(), "it is there")
        yield name
        found.client.delete_topics([name])[name].result(DEADLINE)

    def put(self, settings: Settings, topic: str, partition: int, *numbers: int) -> None:
        """Set records aside in a partition, whatever their key."""
        producer = Producer({"bootstrap.servers": str(settings.kafka_bootstrap_servers)})
        for number in numbers:
            record = Record(topic.removesuffix(SUFFIX), b"k", b"%d" % number, [], 0, number)
            letter = to_dead_letter(record, "f", f"reason {number}", utcnow())
            headers: list[Any] = list(letter.headers)
            producer.produce(topic, letter.value, letter.key, partition, headers=headers)
        assert producer.flush(DEADLINE) == 0

    def test_reading_goes_on_where_it_ended(self, settings: Settings, topic: str) -> None:
        self.put(settings, topic, 0, 0, 1, 2)
        self.put(settings, topic, 1, 3, 4)
        numbers, places, lefts = list[int](), dict[Origin, int](), []
        for _ in range(3):
            more = read_on(settings, topic.__eq__, places, 2)
            numbers += [int(record.value or b"") for record in more.records]
            assert more.began == {where: places.get(where, 0) for where in more.places}
            places = more.places
            lefts.append(more.left)
        assert sorted(numbers) == [0, 1, 2, 3, 4]
        assert lefts == [3, 1, 0]
        assert {where[:2]: at for where, at in places.items()} == {(topic, 0): 3, (topic, 1): 2}
        assert read_on(settings, topic.__eq__, places, 2).records == []
        self.put(settings, topic, 1, 5)
        more = read_on(settings, topic.__eq__, places, 2)
        assert [record.offset for record in more.records] == [2]
        assert read_on(settings, "none".__eq__, {}, 2) == ([], {}, {}, 0)

    def test_reading_ends_with_what_is_large(
        self, settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(settings, topic, 0, 10, 11, 12)
        monkeypatch.setattr(module, "READ_AT_ONCE", 30)  # bytes: the headers of one
        more = read_on(settings, topic.__eq__, {}, 9)
        assert (len(more.records), more.left) == (1, 2)

    def test_place_that_is_not_there_is_the_begin(self, settings: Settings, topic: str) -> None:
        self.put(settings, topic, 0, 0, 1, 2)
        places = read_on(settings, topic.__eq__, {}, 9).places
        more = read_on(settings, topic.__eq__, dict.fromkeys(places, 99), 9)
        assert set(more.began.values()) == {0}
        assert [record.offset for record in more.records] == [0, 1, 2]

    def test_partition_without_its_first_records_is_another(
        self, settings: Settings, topic: str
    ) -> None:
        self.put(settings, topic, 0, 0, 1, 2)
        places = read_on(settings, topic.__eq__, {}, 9).places
        admin = Admin(settings)  # which ends its calls where it is let go
        [done] = admin.client.delete_records([TopicPartition(topic, 0, 2)]).values()
        done.result(DEADLINE)
        more = read_on(settings, topic.__eq__, places, 9)
        assert [record.offset for record in more.records] == [2]
        [changed] = {*more.began} - {*places}
        assert (changed.partition, changed.first, more.began[changed]) == (0, 2, 2)

    def test_topic_that_is_made_anew_is_another(self, settings: Settings, topic: str) -> None:
        self.put(settings, topic, 0, 0, 1)
        places = read_on(settings, topic.__eq__, {}, 9).places
        found = Admin(settings)
        found.client.delete_topics([topic])[topic].result(DEADLINE)
        wait_until(lambda: topic not in found.topics(), "it is gone")
        create_topics(settings, {topic: 2})
        wait_until(lambda: topic in found.topics(), "it is there")
        self.put(settings, topic, 0, 5, 6, 7)
        more = read_on(settings, topic.__eq__, places, 9)
        assert [record.value for record in more.records] == [b"5", b"6", b"7"]
        assert not {*more.began} & {*places}

    def test_topics_are_asked_for_once(
        self, settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = mock.Mock(side_effect=Admin(settings).topics)
        monkeypatch.setattr(Admin, "topics", lambda _: asked())
        assert topic in {where.topic for where in read_more(settings, {}, 99).places}
        assert asked.call_count == 1

    def test_letters_are_fetched_by_id(self, settings: Settings, topic: str) -> None:
        self.put(settings, topic, 0, 0, 1, 2, 3)
        self.put(settings, topic, 1, 4, 5)
        name = topic.removesuffix(SUFFIX)
        ids = [f"{name}/0/1", f"{name}/0/3", f"{name}/1/0"]
        gone = [f"{name}/0/9", f"{name}/7/0", "none/0/0"]
        found = fetch(settings, [*ids, *gone])
        assert {one: letter and letter.record.value for one, letter in found.items()} == {
            ids[0]: b"1",
            ids[1]: b"3",
            ids[2]: b"4",
            **dict.fromkeys(gone),
        }
        assert read_records(settings, []) == ([], [])

    def test_large_letters_are_fetched_some_at_a_time(
        self, settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(settings, topic, 0, 10, 11, 12)
        self.put(settings, topic, 1, 13)
        monkeypatch.setattr(module, "FETCHED_AHEAD", 30)  # bytes: the headers of one
        name = topic.removesuffix(SUFFIX)
        ids, rounds = [f"{name}/0/0", f"{name}/0/2", f"{name}/0/7", f"{name}/1/0"], []
        while ids:
            rounds.append(fetch(settings, ids))
            ids = [one for one in ids if one not in rounds[-1]]
        found = {one: letter for some in rounds for one, letter in some.items()}
        assert {one for one, letter in found.items() if letter is None} == {f"{name}/0/7"}
        assert sorted(letter.record.value for letter in found.values() if letter) == [
            b"10",
            b"12",
            b"13",
        ]
        assert [sum(map(bool, some.values())) for some in rounds if any(some.values())] == [1] * 3

    @pytest.mark.parametrize("what", ["replayed", "dropped"])
    def test_mark_is_behind_its_letter_in_its_partition(
        self, settings: Settings, topic: str, what: Any
    ) -> None:
        create_topics(settings, {topic.removesuffix(SUFFIX): 1})
        for partition in (0, 1):
            self.put(settings, topic, partition, partition)
        letters = open_dead_letters(read_topics(settings, [topic]))
        close(settings, letters, what, utcnow())
        records = read_topics(settings, [topic])
        assert [record.partition for record in records] == [0, 0, 1, 1]
        assert open_dead_letters(records) == []
        assert {record.topic for record in read_more(settings, {}, 99).records} >= {topic}

    def test_open_letters_are_read_without_what_they_hold(
        self, settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letters, "READ_AT_ONCE", 2)  # records: a mark comes later
        self.put(settings, topic, 1, 3, 4)
        self.put(settings, topic, 0, *range(10, 14))
        name = topic.removesuffix(SUFFIX)
        assert dict(close_all(settings, [f"{name}/0/1"], "dropped", utcnow()))
        found = read_open(settings, [name, "none"])
        places = ["0/0", "0/2", "0/3", "1/0", "1/1"]
        assert [letter.id for letter in found] == [f"{name}/{place}" for place in places]
        assert {len(one.record.headers) for one in found} == {0}
        assert {one.record[:3] for one in found} == {(name, b"k", None)}
        assert found[0].reason == "reason 10"

    def test_letter_that_no_broker_takes_leaves_the_others(
        self, settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dead_letters, "CHUNK", 2)
        name = topic.removesuffix(SUFFIX)
        self.put(settings, topic, 0, 0, 1)  # its own topic is not there
        other = f"{name}.other"
        create_topics(settings, {other: 1, other + SUFFIX: 2})
        self.put(settings, other + SUFFIX, 1, 2)
        ids = [f"{name}/0/0", f"{other}/1/0", f"{other}/1/7", f"{name}/0/1"]
        told = dict(close_all(settings, ids, "replayed", utcnow()))
        assert [*told] == ids
        lost, sent, gone, again = told.values()
        assert lost == again
        assert lost.startswith("not sent: ")
        assert (sent, gone) == ("", GONE)
        assert [record.value for record in read_topics(settings, [other])] == [b"2"]
        assert [one.id for one in read_open(settings, [name, other])] == [ids[0], ids[3]]
        assert dict(close_all(settings, ids[:1], "dropped", utcnow())) == {ids[0]: ""}


class TestEmbedded(LettersContract):
    @pytest.fixture
    def settings(self, embedded_server: Server) -> Settings:
        return embedded_server.settings


@pytest.mark.proof
class TestKafka(LettersContract):
    @pytest.fixture
    def settings(self, kafka_server: Server) -> Settings:
        return kafka_server.settings
