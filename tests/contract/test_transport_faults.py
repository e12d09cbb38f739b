"""What a worker may rely on when a broker is away, forgets, refuses, or has ousted it."""

import pytest

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.transport import Transport
from support.brokers import (
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

OVER_EVERY_LIMIT = 3_000_000  # bytes
OVER_THE_BROKERS_LIMIT = 1_500_000  # bytes, which the client lets pass


def oust(broker: Broker, name: str, topic: str) -> tuple[Transport, Transport]:
    """Let a member stand still with three records in hand, which its successor then commits."""
    ousted = broker.member_elsewhere(name, topic)
    ousted.send([record(topic, n) for n in range(3)])
    poll_one(ousted)
    broker.stand_still(ousted)
    successor = broker.member_elsewhere(name, topic)
    assert values(read(successor, 3)) == [0, 1, 2]
    broker.go_on(ousted)
    return ousted, successor


class FaultContract:
    """The facts of every broker. A subclass gives the fixture `broker`."""

    def test_commit_of_an_ousted_member_is_refused(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        ousted, successor = oust(broker, name, topic)
        with pytest.raises(BrokerUnavailable, match="offsets not committed"):
            ousted.commit()
        ousted.rewind()
        successor.send([record(topic, 3)])
        assert values(read(successor, 1)) == [3]

    def test_ousted_member_joins_again_where_its_successor_left_off(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        ousted, successor = oust(broker, name, topic)
        with pytest.raises(BrokerUnavailable):
            ousted.commit()
        ousted.rewind()
        broker.leave(successor)
        ousted.send([record(topic, 3)])
        read_until(ousted, 3)
        ousted.commit()
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

    def test_sending_of_one_that_is_too_large_is_refused(self, broker: Broker) -> None:
        """What comes before it is taken, what comes behind it perhaps not."""
        topic = broker.topic()
        member = broker.member_elsewhere(group(), topic)
        large = record(topic, 2, size=OVER_EVERY_LIMIT)
        with pytest.raises(BrokerUnavailable):
            member.send([record(topic, 1), large, record(topic, 3)])
        member.send([record(topic, 4)])
        assert read_until(member, 4) in ([1, 4], [1, 3, 4])


class BackWithAll(FaultContract):
    """The facts of brokers that come back with all that they had."""

    def test_batch_whose_commit_was_refused_comes_again(self, broker: Broker) -> None:
        topic, name = broker.topic(), group()
        member = broker.member_elsewhere(name, topic)
        member.send([record(topic, 1)])
        read(member, 1)
        member.send([record(topic, 2)])
        assert values(poll_one(member)) == [2]
        with broker.away(), pytest.raises(BrokerUnavailable):
            member.commit()
        member.rewind()
        send_until_taken(member, record(topic, 3))
        got = read_until(member, 3)
        assert set(got) >= {2, 3}
        assert 1 not in got

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
        with pytest.raises((BrokerUnavailable, Died)):
            member.commit()
        member.rewind()
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


class RefusesSome(FaultContract):
    """The facts of brokers that may take some records of a sending and refuse others."""

    def test_others_are_taken_where_one_is_refused(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member_elsewhere(group(), topic)
        large = record(topic, 2, size=OVER_THE_BROKERS_LIMIT)
        with pytest.raises(BrokerUnavailable):
            member.send([record(topic, 1), large, record(topic, 3)])
        assert values(read(member, 2)) == [1, 3]

    def test_others_are_taken_where_a_topic_is_missing(self, broker: Broker) -> None:
        topic = broker.topic()
        member = broker.member_elsewhere(group(), topic)
        with pytest.raises(BrokerUnavailable):
            member.send([record(topic, 1), record("contract.none", 2), record(topic, 3)])
        assert values(read(member, 2)) == [1, 3]


class TestSimulated(BackWithAll, BackEmpty, RefusesSome):
    """It can do all that any of the real ones can."""

    @pytest.fixture
    def broker(self, simulated_broker: Broker) -> Broker:
        return simulated_broker


@pytest.mark.proof
class TestEmbedded(BackEmpty):
    """It keeps all in memory, has no limit of size, and makes a topic that is missing."""

    @pytest.fixture
    def broker(self, embedded_broker: Broker) -> Broker:
        return embedded_broker


@pytest.mark.proof
class TestKafka(BackWithAll, RefusesSome):
    """It keeps all in files."""

    @pytest.fixture
    def broker(self, kafka_broker: Broker) -> Broker:
        return kafka_broker
