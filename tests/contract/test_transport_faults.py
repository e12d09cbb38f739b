"""What a worker may rely on when a broker is away, forgets, refuses, or has ousted it."""

from contextlib import suppress

import pytest

from saga.runtime.dead_letter import SUFFIX
from saga.runtime.envelope import Record
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.transport import Transport
from support.brokers import (
    LOST,
    POLL,
    Broker,
    group,
    poll_one,
    read,
    read_until,
    record,
    send_until_taken,
    values,
)
from support.remote_member import Died
from support.waiting import wait_until

OVER_EVERY_LIMIT = 3_000_000  # bytes
OVER_THE_BROKERS_LIMIT = 1_500_000  # bytes, which the client lets pass


def oust(broker: Broker, name: str, topic: str) -> tuple[Transport, Transport]:
    """Let a member stand still with a record in hand; its successor finishes that, and two more."""
    ousted = broker.member_elsewhere(name, topic)
    ousted.send([record(topic, 0)])
    poll_one(ousted)
    broker.stand_still(ousted)
    successor = broker.member_elsewhere(name, topic)
    successor.send([record(topic, 1), record(topic, 2)])
    assert values(read(successor, 3)) == [0, 1, 2]
    broker.go_on(ousted)
    return ousted, successor


def poll_or_rewind(member: Transport) -> list[Record]:
    """Poll; where answers were not taken, which may be told late, go back to their batch."""
    try:
        return member.poll(POLL)
    except BrokerUnavailable:
        member.rewind()
        return []


class FaultContract:
    """The facts of every broker. A subclass gives the fixture `broker`."""

    def test_ousted_member_does_not_set_back_its_successor(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        ousted, successor = oust(broker, name, topic)
        ousted.finish([])
        broker.leave(ousted)
        successor.send([record(topic, 3)])
        assert values(read(successor, 1)) == [3]
        broker.leave(successor)
        third = broker.member_elsewhere(name, topic)
        third.send([record(topic, 4)])
        assert values(read(third, 1)) == [4]

    def test_ousted_member_joins_again_where_its_successor_left_off(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        ousted, successor = oust(broker, name, topic)
        ousted.finish([])
        broker.leave(successor)
        ousted.send([record(topic, 3)])
        got = read_until(ousted, 3)
        assert set(got) == {3}
        ousted.finish([])
        ousted.send([record(topic, 4)])
        broker.leave(ousted)
        assert values(read(broker.member_elsewhere(name, topic), 1)) == [4]

    def test_broker_that_is_away_is_noticed(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member_elsewhere(group(), topic)
        member.check()
        with broker.away():
            assert member.poll(POLL) == []
            with pytest.raises(BrokerUnavailable):
                member.check()
            with pytest.raises(BrokerUnavailable):
                member.send([record(topic, 1)])
            member.rewind()
            assert member.poll(POLL) == []
        send_until_taken(member, record(topic, 2))
        assert values(poll_one(member))[-1] == 2
        member.check()

    @pytest.mark.parametrize("size", [OVER_EVERY_LIMIT, OVER_THE_BROKERS_LIMIT])
    def test_sending_of_one_that_is_too_large_holds_up_nobody(
        self, broker: Broker, size: int
    ) -> None:
        topic = broker.topic(letters=True)
        member = broker.member_elsewhere(group(), topic)
        large = record(topic, 2, size=size)
        member.send([record(topic, 1), large, record(topic, 3)])
        [refused] = member.refused()
        assert (refused.record.value, refused.missing) == (large.value, False)
        assert member.refused() == []
        member.send([record(topic, 4)])
        assert sorted(read_until(member, 4)) == [1, 3, 4]

    @pytest.mark.parametrize("size", [OVER_EVERY_LIMIT, OVER_THE_BROKERS_LIMIT])
    def test_batch_whose_answer_is_too_large_is_done(self, broker: Broker, size: int) -> None:
        topic, answers, name = broker.topic(), broker.topic(letters=True), group()
        letters = broker.member(group(), answers + SUFFIX)
        member = broker.member_elsewhere(name, topic)
        member.send([record(topic, 1)])
        assert values(poll_one(member)) == [1]
        member.finish([record(answers, 10, size=size), record(answers, 11)])

        def letter_comes() -> list[Record]:
            assert member.poll(POLL) == []
            return letters.poll(POLL)

        [letter] = wait_until(letter_comes, "the letter comes", LOST)
        assert int((letter.value or b"").split()[0]) == 10
        assert b"not sent: " in dict(letter.headers)["dlq_reason"]
        member.send([record(topic, 2)])
        assert values(poll_one(member)) == [2]
        broker.leave(member)
        # The second was not finished, the first was.
        assert values(poll_one(broker.member_elsewhere(name, topic))) == [2]
        assert values(read(broker.member(group(), answers), 1)) == [11]

    def test_sending_to_a_topic_that_is_missing_holds_up_nobody(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member_elsewhere(group(), topic)
        member.send([record(topic, 1), record("contract.none", 2), record(topic, 3)])
        [refused] = member.refused()
        assert (refused.record.topic, refused.missing) == ("contract.none", True)
        assert values(read(member, 2)) == [1, 3]


class BackWithAll(FaultContract):
    """The facts of brokers that come back with all that they had."""

    def test_batch_finished_without_a_broker_is_answered_or_comes_again(
        self, broker: Broker
    ) -> None:
        topic, answers = broker.topic(), broker.topic()
        member, client = broker.member(group(), topic), broker.member(group(), answers)
        member.send([record(topic, 2)])
        poll_one(member)
        with broker.away():
            member.finish([record(answers, 20)])
            assert poll_or_rewind(member) == []

        def answered_or_again() -> bool:
            return 20 in values(client.poll(POLL)) or 2 in values(poll_or_rewind(member))

        wait_until(answered_or_again, "the answer or the batch comes", LOST)

    def test_answers_of_many_batches_are_all_taken(self, broker: Broker) -> None:
        topic, answers = broker.topic(), broker.topic()
        member, client = broker.member(group(), topic), broker.member(group(), answers)
        for number in range(30):
            member.send([record(topic, number)])
            poll_one(member)
            member.finish([record(answers, number)])
        assert values(read(client, 30)) == [*range(30)]

    def test_poll_without_a_broker_gives_what_was_fetched_before(self, broker: Broker) -> None:
        """Or nothing; at last it comes."""
        topic = broker.topic()
        member = broker.member_elsewhere(group(), topic)
        member.send([record(topic, 1)])
        read(member, 1)
        member.send([record(topic, 2)])
        with broker.away():
            assert values(member.poll(POLL)) in ([], [2])
        member.rewind()
        assert values(poll_one(member))[-1] == 2


class BackEmpty(FaultContract):
    """The facts of brokers that may come back empty."""

    def test_member_goes_on_with_what_is_new(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member_elsewhere(group(), topic)
        member.send([record(topic, n) for n in range(5)])
        read(member, 5)
        broker.restart_empty()
        send_until_taken(member, record(topic, 5))
        batch = poll_one(member)
        assert (values(batch)[0], batch[0].offset) == (5, 0)

    def test_batch_that_is_forgotten_is_not_committed(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        member = broker.member_elsewhere(name, topic)
        member.send([record(topic, n) for n in range(5)])
        poll_one(member)
        broker.restart_empty()
        # librdkafka may die of a topic that is made anew: then nothing is committed either.
        with suppress(Died):
            member.finish([])
        send_until_taken(member, record(topic, 5))
        assert set(values(poll_one(member))) == {5}
        broker.leave(member)
        assert set(values(poll_one(broker.member_elsewhere(name, topic)))) == {5}

    def test_committed_is_forgotten_with_the_records(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        first = broker.member_elsewhere(name, topic)
        first.send([record(topic, n) for n in range(5)])
        read(first, 5)
        broker.leave(first)
        broker.restart_empty()
        second = broker.member_elsewhere(name, topic)
        send_until_taken(second, record(topic, 5))
        assert set(values(poll_one(second))) == {5}


class TestSimulated(BackWithAll, BackEmpty):
    """It can do all that any of the real ones can."""

    @pytest.fixture
    def broker(self, simulated_broker: Broker) -> Broker:
        return simulated_broker


@pytest.mark.proof
class TestEmbedded(BackWithAll, BackEmpty):
    """It keeps all in files, which a person may remove."""

    @pytest.fixture
    def broker(self, embedded_broker: Broker) -> Broker:
        return embedded_broker


@pytest.mark.proof
class TestKafka(BackWithAll):
    """It keeps all in files."""

    @pytest.fixture
    def broker(self, kafka_broker: Broker) -> Broker:
        return kafka_broker
