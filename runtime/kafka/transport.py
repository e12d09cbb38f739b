"""The transport over Kafka, through Quix Streams' consumer and producer.

The consumer takes one record as soon as there is one, and with it all that has arrived meanwhile:
a lone message waits for nothing, and a flood is worked off in batches. Between two polls nothing
is in flight, so a rebalance has nothing to hand over.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition

from ..envelope import Record
from ..errors import BrokerUnavailable
from ..health import HealthFile
from ..settings import Settings
from ..transport import BATCH_SIZE
from .application import application
from .producer import Producer
from .record import to_record

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds


class KafkaTransport:
    """A `Transport` on a Kafka broker; `on_ready` is called once, when the group takes us in.

    `health` is well as long as we are in the group and are polling.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        topics: Sequence[str],
        on_ready: Callable[[], None] = lambda: None,
        health: HealthFile | None = None,
    ) -> None:
        self._producer = Producer(settings, group)
        self._leaves = settings.kafka_leave_group
        self._batch: list[Record] = []
        self._next_look = 0.0
        self._health = health or HealthFile(None)
        self._is_member = False
        self._on_ready: Callable[[], None] | None = on_ready
        self._consumer = application(settings, group).get_consumer(auto_commit_enable=False)
        self._consumer.subscribe(
            list(topics),
            on_assign=lambda *_: self._joined(),
            on_revoke=lambda *_: self._left(),
            on_lost=lambda *_: self._left(),
        )

    def _joined(self) -> None:
        self._is_member = True
        self._health.mark_healthy()
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()

    def _left(self) -> None:
        self._is_member = False
        self._health.mark_unhealthy()

    def poll(self, timeout: float) -> list[Record]:
        """Wait for a first record, then take along what has been fetched with it."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY
            self._look_for_an_empty_broker()
            if self._is_member:
                self._health.mark_healthy()
        first = self._consumer.poll(timeout)
        messages = []
        if first is not None:
            messages = [first, *self._consumer.consume(BATCH_SIZE - 1, timeout=0)]
        self._batch = [to_record(message) for message in messages if not _failed(message)]
        return self._batch

    def _look_for_an_empty_broker(self) -> None:
        """Begin again where a partition ends before our position: its broker has forgotten it.

        Apache Kafka tells a consumer so by an error, which librdkafka heeds; the embedded broker
        says nothing, and records would be passed over until it has as many as before.
        """
        for position in self._consumer.position(self._consumer.assignment()):
            if position.offset > 0:
                _, end = self._consumer.get_watermark_offsets(position, cached=True)
                if 0 <= end < position.offset:
                    log.warning("%s[%d] begins again", position.topic, position.partition)
                    start = TopicPartition(position.topic, position.partition, OFFSET_BEGINNING)
                    self._consumer.seek(start)

    def send(self, records: Iterable[Record]) -> None:
        """Send records and wait for the broker to have them."""
        self._producer.send_records(records)

    def commit(self) -> None:
        """Commit the offset behind the last record of each partition."""
        ends = {(r.topic, r.partition): r.offset + 1 for r in self._batch}
        if not ends:
            return  # librdkafka takes it for a mistake
        offsets = [TopicPartition(*where, offset) for where, offset in ends.items()]
        try:
            committed = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise BrokerUnavailable(f"offsets not committed: {error}") from error
        for partition in committed or ():
            if partition.error:
                raise BrokerUnavailable(f"offsets not committed: {partition.error}")

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable`."""
        self._producer.check()

    def rewind(self) -> None:
        """Seek to the first record of the last batch, where a partition is still ours."""
        starts: dict[tuple[str, int], int] = {}
        for record in self._batch:
            starts.setdefault((record.topic, record.partition), record.offset)
        for partition in self._consumer.assignment():
            start = starts.get((partition.topic, partition.partition))
            if start is not None:
                self._consumer.seek(TopicPartition(partition.topic, partition.partition, start))

    def close(self) -> None:
        """Leave the group, so that the others need not wait for our session to run out."""
        if self._leaves:
            self._consumer.close()
        self._producer.close()


def _failed(message: Any) -> bool:
    error = message.error()
    if error is not None:
        # librdkafka recovers from these by itself: no topic yet, no broker for a while.
        log.warning("consumer: %s", error.str())
    return error is not None
