"""Reading what is sent to a topic from now on, in no consumer group."""

import logging
import threading
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_END, KafkaException, TopicPartition

from ..envelope import Record
from ..settings import Settings
from ..transport import BATCH_SIZE
from .application import application
from .record import to_record

log = logging.getLogger(__name__)

POLL = 0.5  # seconds, and so the longest that closing takes
AGAIN = 1.0  # seconds until a topic that is not there is looked for again
METADATA_TIMEOUT = 5.0  # seconds


class Tail:
    """Hands the records of one topic to `on_records`, in a thread of its own.

    What is sent while the broker can't be reached, or before the thread has got to the topic's
    end, may be missed: it is for those who have another way to know, and want to know sooner.
    """

    def __init__(
        self, settings: Settings, topic: str, on_records: Callable[[Sequence[Record]], None]
    ) -> None:
        self._topic = settings.kafka_prefix + topic
        self._prefix = settings.kafka_prefix
        self._on_records = on_records
        self._stop = threading.Event()
        # No group: nothing is committed under this name, nobody joins.
        self._consumer = application(settings, f"tail of {topic}").get_consumer(
            auto_commit_enable=False
        )
        self._thread = threading.Thread(target=self._run, name=f"tail of {topic}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not (self._stop.is_set() or self._assigned()):
                self._stop.wait(AGAIN)
            while not self._stop.is_set():
                self._hand_over()
        finally:
            self._consumer.close()

    def _assigned(self) -> bool:
        try:
            found = self._consumer.list_topics(self._topic, METADATA_TIMEOUT).topics[self._topic]
        except KafkaException as error:
            log.warning("can't follow %s: %s", self._topic, error)
            return False
        ends = [TopicPartition(self._topic, number, OFFSET_END) for number in found.partitions]
        if ends:
            self._consumer.assign(ends)
        return bool(ends)

    def _hand_over(self) -> None:
        first = self._consumer.poll(POLL)
        if first is None:
            return
        messages = [first, *self._consumer.consume(BATCH_SIZE - 1, timeout=0)]
        self._on_records([to_record(m, self._prefix) for m in messages if m.error() is None])
