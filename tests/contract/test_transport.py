"""What a worker may rely on, on every transport: one suite of facts, run over each of them."""

import time
from collections.abc import Sequence
from typing import Any

import pytest

from saga.runtime.envelope import Record
from saga.runtime.transport import BATCH_SIZE, Transport
from support.brokers import POLL, Broker, group, poll_one, read, record, values
from support.waiting import wait_until

DEADLINE = 120.0  # seconds until what must come counts as lost


class TransportContract:
    """The facts. A subclass gives the fixture `broker`."""

    def test_a_sent_record_is_polled_once(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send([record(topic, 1)])
        assert values(read(member, 1)) == [1]

    def test_headers_key_and_bytes_survive(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        headers = [("ce_id", "ü".encode()), ("odd", b"\x00\xff"), ("odd", b"twice"), ("no", b"")]
        sent = Record(topic, b"\x00key\xff", b"\xff\x00body", headers)
        member.send([sent])
        (received,) = read(member, 1)
        assert received._replace(headers=list(received.headers), partition=-1, offset=-1) == sent
        assert (received.partition, received.offset) == (0, 0)

    def test_a_record_without_key_or_body_survives(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send([Record(topic, None, None, [])])
        (received,) = read(member, 1)
        assert (received.key, received.value, list(received.headers)) == (None, None, [])

    def test_records_of_one_key_keep_their_order(self, broker: Broker) -> None:
        topic = broker.topic(partitions=3)
        member = broker.member(group(), topic)
        member.send([record(topic, n, key=f"key {n % 4}") for n in range(40)])
        received = read(member, 40)
        for key in {r.key for r in received}:
            mine = [r for r in received if r.key == key]
            assert values(mine) == sorted(values(mine))
            assert len({r.partition for r in mine}) == 1

    def test_offsets_count_the_records_of_a_partition(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send([record(topic, n) for n in range(3)])
        assert [r.offset for r in read(member, 3)] == [0, 1, 2]

    def test_finishing_or_rewinding_nothing_changes_nothing(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.finish([])
        member.rewind()
        member.send([])
        member.send([record(topic, 1)])
        read(member, 1)
        member.finish([])
        member.rewind()
        assert values(member.poll(POLL)) == []

    def test_a_poll_of_nothing_is_empty(self, broker: Broker) -> None:
        assert broker.member(group(), broker.topic()).poll(POLL) == []

    def test_a_poll_returns_what_is_there_without_waiting_for_more(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send([record(topic, 1)])
        read(member, 1)
        member.send([record(topic, 2)])
        began = time.monotonic()
        assert values(member.poll(600.0)) == [2]
        assert time.monotonic() - began < 300.0

    def test_a_batch_has_a_limit(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send(record(topic, n) for n in range(BATCH_SIZE + 200))
        assert len(poll_one(member)) <= BATCH_SIZE
        member.rewind()
        received = read(member, BATCH_SIZE + 200)
        assert values(received) == list(range(BATCH_SIZE + 200))

    def test_rewind_gives_the_batch_again(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send([record(topic, n) for n in range(3)])
        batch = poll_one(member)
        member.rewind()
        assert values(read(member, 3))[: len(batch)] == values(batch)

    def test_rewind_gives_what_was_sent_since_after_the_batch(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send([record(topic, 1)])
        assert values(poll_one(member)) == [1]
        member.send([record(topic, 2)])
        member.rewind()
        assert values(read(member, 2)) == [1, 2]

    def test_rewind_goes_back_in_every_partition(self, broker: Broker) -> None:
        topic = broker.topic(partitions=3)
        member = broker.member(group(), topic)
        member.send([record(topic, n, key=str(n)) for n in range(30)])
        batch = poll_one(member)
        member.rewind()
        again = read(member, 30)
        assert set(values(batch)) <= set(values(again))
        assert sorted(values(again)) == list(range(30))

    def test_what_is_put_back_comes_again_and_the_rest_is_done(self, broker: Broker) -> None:
        topic, name = broker.topic(partitions=2), group()
        member = broker.member(name, topic)
        member.send([record(topic, n, key=f"key {n}") for n in range(20)])
        batch = poll_all(member, 20)
        assert len({r.partition for r in batch}) == 2
        member.put_back(batch[7:])
        member.finish([])
        again = read(member, 13, finish=False)
        assert sorted(values(again)) == sorted(values(batch[7:]))
        broker.leave(member)
        other = broker.member(name, topic)
        assert sorted(values(read(other, 13))) == sorted(values(again))

    def test_what_is_put_back_is_there_at_once(self, broker: Broker) -> None:
        """One by one, a batch of many would take minutes, were each of them a fetch."""
        topic, name = broker.topic(), group()
        member = broker.member(name, topic)
        member.send([record(topic, n) for n in range(20)])
        batch = poll_all(member, 20)
        member.send([record(topic, 20)])
        while len(batch) > 1:
            member.put_back(batch[1:])
            member.finish([])
            rest, batch = batch[1:], member.poll(0)
            assert values(batch[: len(rest)]) == values(rest)
        member.rewind()
        assert values(poll_one(member))[0] in (19, 20)

    def test_what_is_put_back_twice_comes_in_its_order(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send([record(topic, n) for n in range(6)])
        batch = poll_all(member, 6)
        member.put_back(batch[4:])
        member.put_back(batch[2:4])
        member.finish([])
        assert values(member.poll(0)) == [2, 3, 4, 5]
        member.put_back(batch[3:])
        member.rewind()
        assert values(read(member, 4)) == [2, 3, 4, 5]

    def test_a_batch_has_its_limit_with_what_was_put_back(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member(group(), topic)
        member.send(record(topic, n) for n in range(BATCH_SIZE + 200))
        done: list[Record] = []

        def is_full() -> bool:
            batch = member.poll(POLL)
            if batch[1:]:
                member.put_back(batch[1:])
            member.finish([])
            done.extend(batch[:1])
            assert len(batch) <= BATCH_SIZE
            return len(batch) == BATCH_SIZE

        for _ in range(2):
            wait_until(is_full, "as many as may be are in one hand", DEADLINE)
        assert values(done) == list(range(len(done)))

    def test_what_is_put_back_goes_along_with_its_partition(self, broker: Broker) -> None:
        topic, name = broker.topic(partitions=4), group()
        first = broker.member(name, topic)
        first.send([record(topic, n, key=str(n)) for n in range(40)])
        wait_until(lambda: len(put_all_back(first)) == 40, "all is in one hand", DEADLINE)
        second = broker.member(name, topic)

        def shared() -> bool:
            mine, theirs = put_all_back(first), put_all_back(second)
            return bool(mine and theirs) and sorted(values(mine + theirs)) == list(range(40))

        wait_until(shared, "each holds what is in its own partitions", DEADLINE)

    def test_unfinished_is_redelivered_to_the_next_member(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        first = broker.member(name, topic)
        first.send([record(topic, n) for n in range(3)])
        read(first, 3, finish=False)
        broker.leave(first)
        assert values(read(broker.member(name, topic), 3)) == [0, 1, 2]

    def test_finished_is_not_redelivered(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        first = broker.member(name, topic)
        first.send([record(topic, n) for n in range(3)])
        read(first, 3)
        first.send([record(topic, 3)])
        broker.leave(first)
        assert values(read(broker.member(name, topic), 1)) == [3]

    def test_finished_before_an_unfinished_batch_is_not_redelivered(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        first = broker.member(name, topic)
        first.send([record(topic, 1)])
        read(first, 1)
        first.send([record(topic, 2)])
        read(first, 1, finish=False)
        broker.leave(first)
        assert values(read(broker.member(name, topic), 1)) == [2]

    def test_finishing_twice_changes_nothing(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        first = broker.member(name, topic)
        first.send([record(topic, 1), record(topic, 2)])
        batch = poll_one(first)
        first.finish([])
        first.finish([])
        first.send([record(topic, 3)])
        broker.leave(first)
        rest = [1, 2, 3][len(batch) :]
        assert values(read(broker.member(name, topic), len(rest))) == rest

    def test_a_new_group_begins_with_the_first_record(self, broker: Broker) -> None:
        topic = broker.topic()
        broker.member(group(), topic).send([record(topic, n) for n in range(2)])
        assert values(read(broker.member(group(), topic), 2)) == [0, 1]

    def test_two_groups_both_get_it(self, broker: Broker) -> None:
        topic = broker.topic()
        first, second = broker.member(group(), topic), broker.member(group(), topic)
        first.send([record(topic, 1)])
        assert values(read(first, 1)) == values(read(second, 1)) == [1]

    def test_a_member_reads_all_its_topics(self, broker: Broker) -> None:
        topics = [broker.topic() for _ in range(3)]
        member = broker.member(group(), *topics)
        member.send([record(topic, n) for n, topic in enumerate(topics)])
        assert sorted(values(read(member, 3))) == [0, 1, 2]

    def test_partitions_are_split_between_two_members(self, broker: Broker) -> None:
        """All is read, and once both are in, each partition by one of them."""
        topic, name = broker.topic(partitions=4), group()
        members = [broker.member(name, topic), broker.member(name, topic)]
        wait_for_both(members, topic)
        members[0].send([record(topic, n, key=str(n)) for n in range(40)])
        got = read_together(members, 40)
        places = [{r.partition for r in records} for records in got]
        assert all(places)
        assert not places[0] & places[1]

    def test_the_one_who_stays_takes_over(self, broker: Broker) -> None:
        topic, name = broker.topic(partitions=4), group()
        members = [broker.member(name, topic), broker.member(name, topic)]
        wait_for_both(members, topic)
        broker.leave(members[0])
        members[1].send([record(topic, n, key=str(n)) for n in range(40)])
        assert sorted(values(read(members[1], 40))) == list(range(40))


def poll_all(member: Transport, wanted: int) -> list[Record]:
    """Poll until so many records come in one batch."""
    batch: list[Record] = []
    while len(batch) < wanted:
        member.rewind()
        batch = poll_one(member)
    return batch


def put_all_back(member: Transport) -> list[Record]:
    """Poll, and take nothing in hand of what has come."""
    if batch := member.poll(POLL):
        member.put_back(batch)
        member.finish([])
    return batch


def wait_for_both(members: Sequence[Transport], topic: str) -> None:
    """Send and read until both members get records."""
    deadline = time.monotonic() + DEADLINE
    got: list[Any] = [[], []]
    while not all(got):
        assert time.monotonic() < deadline, "one member gets nothing"
        members[0].send([record(topic, n, key=str(n)) for n in range(20)])
        got = read_together(members, 20)


def read_together(members: Sequence[Transport], wanted: int) -> list[list[Record]]:
    """Poll members in turn until they have so many different records, and no more come."""
    got: list[list[Record]] = [[] for _ in members]
    deadline = time.monotonic() + DEADLINE
    quiet = 0
    while quiet < 5 or len({v for records in got for v in values(records)}) < wanted:
        assert time.monotonic() < deadline, f"{[len(records) for records in got]} of {wanted} came"
        quiet += 1
        for member, records in zip(members, got, strict=True):
            if batch := member.poll(POLL):
                quiet = 0
                records += batch
                member.finish([])
    return got


class TestSimulated(TransportContract):
    @pytest.fixture
    def broker(self, simulated_broker: Broker) -> Broker:
        return simulated_broker


class TestEmbedded(TransportContract):
    @pytest.fixture
    def broker(self, embedded_broker: Broker) -> Broker:
        return embedded_broker


@pytest.mark.proof
class TestKafka(TransportContract):
    @pytest.fixture
    def broker(self, kafka_broker: Broker) -> Broker:
        return kafka_broker
