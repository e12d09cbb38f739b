"""A producer that posts: it waits for nothing, and holds no more than so much."""

import pytest

from saga.runtime.envelope import Envelope
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import producer as module
from saga.runtime.kafka.admin import create_topics, read_topics
from saga.runtime.kafka.producer import Producer
from saga.runtime.settings import Settings
from support.brokers import Server
from support.waiting import wait_until

TOPIC = "producer.posts"


@pytest.fixture
def settings(embedded_server: Server) -> Settings:
    create_topics(embedded_server.settings, {TOPIC: 1})
    return embedded_server.settings


def envelope(number: int) -> Envelope:
    return Envelope(TOPIC, f"s{number}/pack/do", "Pack", "/x", "now", "{}")


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
