"""Reading what is sent to a topic from now on, in no consumer group."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException, TopicPartition

from ..envelope import Record
from ..settings import Settings
from ..transport import BATCH_SIZE
from .application import METADATA_REFRESH, application
from .record import to_record

log = logging.getLogger(__name__)

POLL = 0.5  # seconds, and so the longest that closing takes
AGAIN = 1.0  # seconds until a topic that is not there is looked for again
METADATA_TIMEOUT = 5.0  # seconds
LOOK_EVERY = METADATA_REFRESH / 1000  # seconds until partitions that were added are read


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
        self._partitions: set[int] = set()
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
            while not (self._stop.is_set() or self._assigned(OFFSET_END, METADATA_TIMEOUT)):
                self._stop.wait(AGAIN)
            looked_at = time.monotonic()
            while not self._stop.is_set():
                self._hand_over()
                if time.monotonic() - looked_at >= LOOK_EVERY:
                    self._assigned(OFFSET_BEGINNING, POLL)
                    looked_at = time.monotonic()
        finally:
            self._consumer.close()

    def _assigned(self, begin: int, timeout: float) -> bool:
        """Take up the partitions that are new, from `begin`; return whether any is read."""
        try:
            found = self._consumer.list_topics(self._topic, timeout).topics[self._topic]
        except KafkaException as error:
            if not self._partitions:
                log.warning("can't follow %s: %s", self._topic, error)
            return bool(self._partitions)
        if new := found.partitions.keys() - self._partitions:
            self._consumer.incremental_assign([TopicPartition(self._topic, n, begin) for n in new])
            self._partitions |= new
        return bool(self._partitions)

    def _hand_over(self) -> None:
        first = self._consumer.poll(POLL)
        if first is None:
            return
        messages = [first, *self._consumer.consume(BATCH_SIZE - 1, timeout=0)]
        self._on_records([to_record(m, self._prefix) for m in messages if m.error() is None])
