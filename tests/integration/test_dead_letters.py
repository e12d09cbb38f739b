"""Bytes that nobody can read, on every topic of a running system."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from support.waiting import DEADLINE

TOPICS = [
    "order.create",
    "order.complete",
    "order.cancel",
    "order.events",
    "product.reserve",
    "product.release",
    "product.events",
    "user.pay",
    "user.refund",
    "user.events",
]
JUNK = b"\xff\xfe not a message"


@pytest.fixture
def dead_letters(system: Any) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": system.broker(),
            "group.id": f"test-{time.time_ns()}",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
            "session.timeout.ms": 4000,
            "heartbeat.interval.ms": 400,
        }
    )
    consumer.subscribe([f"{topic}.dlq" for topic in TOPICS])
    yield consumer
    consumer.close()


def test_junk_ends_in_the_dead_letters_and_the_function_goes_on(
    system: Any, dead_letters: Consumer
) -> None:
    producer = Producer({"bootstrap.servers": system.broker()})
    for topic in TOPICS:
        producer.produce(topic, value=JUNK, key=b"k", headers=[("ce_id", b"\xff"), ("mine", b"1")])
    assert producer.flush(DEADLINE) == 0

    found: dict[str, Any] = {}
    deadline = time.monotonic() + DEADLINE
    while len(found) < len(TOPICS) and time.monotonic() < deadline:
        message = dead_letters.poll(0.2)
        if message is not None and message.error() is None and message.value() == JUNK:
            found[message.topic()] = message
    assert sorted(found) == sorted(f"{topic}.dlq" for topic in TOPICS)
    for message in found.values():
        headers = dict(message.headers())
        assert message.key() == b"k"
        assert (headers["ce_id"], headers["mine"]) == (b"\xff", b"1")
        assert headers["dlq_topic"].decode() + ".dlq" == message.topic()
        assert b"CloudEvents" in headers["dlq_reason"]

    saga = system.order(system.make_user(), system.make_product())
    assert saga["status"] == "COMPLETED"
