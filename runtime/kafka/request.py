"""Request and reply: send one command, and wait on its topic of events for the one that answers."""

import time
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from ..envelope import Envelope, decode, reply_id
from ..errors import BrokerUnavailable, SagaError, Undecodable
from ..settings import Settings
from .application import ADMIN_TIMEOUT, Admin, application, reason
from .producer import Producer
from .record import to_record

POLL = 0.2  # seconds


def request(settings: Settings, command: Envelope, replies: str, timeout: float) -> Envelope:
    """Send a command and return its reply from the topic `replies`.

    Raises `SagaError` when there is none within `timeout` seconds, and `BrokerUnavailable`.
    """
    try:
        return _exchange(settings, command, replies, timeout)
    except KafkaException as error:
        raise BrokerUnavailable(f"the broker does not answer: {reason(error)}") from error


def _exchange(settings: Settings, command: Envelope, replies: str, timeout: float) -> Envelope:
    known = Admin(settings).topics()
    if replies not in known:
        raise BrokerUnavailable(f"there is no topic {replies}")
    with application(settings, "saga.invoke").get_consumer(auto_commit_enable=False) as consumer:
        topic = settings.kafka_prefix + replies
        ends = [TopicPartition(topic, number) for number in known[replies].partitions]
        for end in ends:  # what is on the topic already is no reply
            end.offset = consumer.get_watermark_offsets(end, timeout=ADMIN_TIMEOUT)[1]
        consumer.assign(ends)
        Producer(settings).send([command])
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if reply := _reply(consumer.poll(POLL), command):
                return reply
    raise SagaError(f"no answer from {command.topic} within {timeout:g} s: see `saga logs`")


def _reply(message: Any, command: Envelope) -> Envelope | None:
    if message is None or message.error():
        return None
    try:
        found = decode(to_record(message))
    except Undecodable:
        return None
    return found if found.id == reply_id(command.id) else None
