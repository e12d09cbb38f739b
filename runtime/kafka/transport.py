"""The transport over Kafka, through Quix Streams' consumer and producer.

The consumer takes one record as soon as there is one, and with it all that has arrived meanwhile:
a lone message waits for nothing, and a flood is worked off in batches. While the broker takes the
answers of one batch, the next is polled and worked off; librdkafka commits, in the background, the
offsets that it is given, which are those of batches whose answers the broker has.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from .. import crash
from ..clock import utcnow
from ..dead_letter import SUFFIX, to_unsent_letter
from ..envelope import Record
from ..errors import BrokerUnavailable
from ..health import HealthFile
from ..settings import Settings
from ..transport import BATCH_SIZE, Refusal
from .admin import is_at_rest
from .application import DELIVERY_TIMEOUT, application
from .in_flight import Batch, InFlight
from .producer import MISSING, Failure, Producer
from .record import to_record

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds
HEALTHY_FOR = 5.0  # seconds, after which that is said again
ANSWERS_IN_FLIGHT = 2 * BATCH_SIZE  # at most, before the next batch is polled
LEAVING = 2.0  # seconds that answers have to arrive; the batches of others come again
CLOSING = 5.0  # seconds until all partitions are given up; hundredths are usual
QUIET_POLLS = 5  # after which nothing more is expected of an assignment
FULL_WAIT = 0.1  # seconds between two looks whether there is room
OUT_FOR_LONG = 15.0  # seconds until a member that is out of its group looks at that, and again


class KafkaTransport:
    """A `Transport` on a Kafka broker.

    `on_ready` is called once, when the group takes us in, and `on_missing` where one of the topics
    is not there any more. `health` is well as long as we are in the group and are polling.
    `on_sent` hears of each record that the broker has taken. `on_forgotten` is called when we have
    been out of the group for two looks at it, though it waits for nobody: no waiting mends that.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        topics: Sequence[str],
        on_ready: Callable[[], None] = lambda: None,
        on_missing: Callable[[], None] = lambda: None,
        health: HealthFile | None = None,
        crash_points: crash.CrashPoints = crash.DISARMED,
        on_sent: Callable[[Record], None] = lambda _: None,
        on_forgotten: Callable[[], None] = lambda: None,
    ) -> None:
        self._producer = Producer(settings, on_sent)
        self._settings = settings
        self._group = group
        self._prefix = settings.kafka_prefix
        self._is_embedded = settings.kafka_is_embedded
        self._batch: list[Record] = []
        self._kept: list[Record] = []  # what was put back, to be polled next
        self._refused: list[Refusal] = []
        self._in_flight = InFlight()
        self._next_look = self._healthy_until = 0.0
        self._health = health or HealthFile(None)
        self._crash = crash_points
        self._is_member = False
        self._out_until = time.monotonic() + OUT_FOR_LONG
        self._was_at_rest = False
        self._on_forgotten = on_forgotten
        self._on_missing = on_missing
        self._on_ready: Callable[[], None] | None = on_ready
        self._consumer = application(settings, group).get_consumer(auto_commit_enable=True)
        self._consumer.subscribe(
            [self._prefix + topic for topic in topics],
            on_assign=lambda *_: self._joined(),
            on_revoke=lambda *_: self._left(),
            on_lost=lambda *_: self._left(),
        )

    def _joined(self) -> None:
        self._is_member = True
        self._mark_healthy()
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()

    def _mark_healthy(self) -> None:
        self._healthy_until = time.monotonic() + HEALTHY_FOR
        self._health.mark_healthy()

    def _left(self) -> None:
        """Keep nothing of partitions that are somebody else's now; what is known is committed."""
        self._is_member = False
        self._out_until = time.monotonic() + OUT_FOR_LONG
        self._was_at_rest = False
        self._health.mark_unhealthy()
        self._store_what_is_taken()
        self._in_flight.take_all()
        self._kept = []

    def poll(self, timeout: float) -> list[Record]:
        """Wait for a first record, then take along what has been fetched with it."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOK_EVERY
            if self._is_embedded:
                self._look_for_an_empty_broker()
            if not self._is_member:
                self._see_to_membership()
            elif time.monotonic() >= self._healthy_until:
                self._mark_healthy()
        self._see_to_answers()
        first = self._consumer.poll(0 if self._kept else timeout)
        messages = []
        if first is not None:
            room = BATCH_SIZE - 1 - len(self._kept)
            messages = [first, *self._consumer.consume(room, timeout=0)]
        # Only now: its partitions may have gone in these calls.
        kept, self._kept = self._kept, []
        fetched = [to_record(m, self._prefix) for m in messages if m.error() is None]
        if len(fetched) < len(messages):
            self._see_to_errors(error for m in messages if (error := m.error()) is not None)
        self._batch = kept + fetched
        return self._batch

    def _see_to_membership(self) -> None:
        """Tell where the group has forgotten us, as seen from its coordinator.

        librdkafka 2.12 may, after its broker stood still for a while, ask the coordinator nothing
        any more, though all else goes on; a consumer like that can't even be closed. One look is
        not enough: it may wait for a broker that is coming back, and be answered before we are
        given our partitions, which only a poll does.
        """
        if time.monotonic() >= self._out_until:
            was_at_rest = self._was_at_rest
            self._was_at_rest = is_at_rest(self._settings, self._group)
            self._out_until = time.monotonic() + OUT_FOR_LONG
            if was_at_rest and self._was_at_rest:
                self._on_forgotten()

    def _see_to_errors(self, errors: Iterable[KafkaError]) -> None:
        """Tell what the consumer reports; librdkafka recovers from most of it by itself."""
        for error in errors:
            log.warning("consumer: %s", error.str())
            if error.code() in MISSING:
                self._on_missing()

    def put_back(self, records: Sequence[Record]) -> None:
        """Keep these, the last of the batch in hand, for the next poll.

        To seek to them would be to fetch them again, and that begins when the broker has answered
        what it was asked before: half a second later, as it is for records yet to come.
        """
        self._batch = self._batch[: -len(records)]
        self._kept = [*records, *self._kept]

    def finish(self, records: Iterable[Record]) -> None:
        """Send what came of the last batch; its offsets follow."""
        answers = list(records)
        batch = Batch(self._batch, len(answers))
        self._batch = []
        self._in_flight.add(batch)
        self._producer.hand_over(answers, batch.taken, partial(self._failed, batch))

    def _failed(self, batch: Batch, record: Record, failure: Failure) -> None:
        if not failure.lasting:
            batch.failed(failure.reason)
            return
        log.error("not taken by %s: %s", record.topic, failure.reason)
        refusal = Refusal(record, failure.reason, failure.missing)

        def told() -> None:
            self._refused.append(refusal)
            batch.taken()

        if failure.missing or record.topic.endswith(SUFFIX):  # there is no place for a letter
            told()
            return

        def failed(letter: Record, why: Failure) -> None:
            if why.lasting:
                self._refused.append(refusal)
            self._failed(batch, letter, why)

        letter = to_unsent_letter(record, self._group, failure.reason, utcnow())
        try:
            # Who hears of it gives up: were it told before, the letter might never come.
            self._producer.hand_over([letter], told, failed)
        except BrokerUnavailable as error:  # the others have to be told of theirs
            batch.failed(str(error))

    def _see_to_answers(self) -> None:
        """Learn what has become of answers, and wait where too many are on their way."""
        self._producer.poll(0)
        while self._in_flight.answers > ANSWERS_IN_FLIGHT and self._in_flight.error is None:
            self._store_offsets()
            self._producer.poll(FULL_WAIT)
        self._store_offsets()
        if error := self._in_flight.error:
            raise BrokerUnavailable(f"answers not taken: {error}")

    def _store_what_is_taken(self) -> None:
        if self._in_flight.answers:
            self._producer.flush(LEAVING)
        self._store_offsets()

    def _store_offsets(self) -> None:
        """Hand over what may be committed; librdkafka does it, and tries again what fails."""
        if ends := self._in_flight.take_done():
            self._crash.reach(crash.AFTER_TAKEN, ends)
            offsets = [
                TopicPartition(self._prefix + topic, number, offset)
                for (topic, number), offset in ends.items()
            ]
            try:
                self._consumer.store_offsets(offsets=offsets)
            except KafkaException as error:  # no partition of ours any more
                log.warning("offsets not committed: %s", error)
            self._crash.reach(crash.AFTER_OFFSETS, ends)

    def _look_for_an_empty_broker(self) -> None:
        """Begin again where a partition ends before our position: its broker has forgotten it.

        Apache Kafka tells a consumer so by an error, which librdkafka heeds and logs; the embedded
        broker says nothing, and records would be passed over until it has as many as before. In a
        cluster, a watermark may lag behind after a failover, and nothing is forgotten.
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
        sending = list(records)
        batch = Batch([], len(sending))
        self._producer.hand_over(sending, batch.taken, partial(self._failed, batch))
        # One that is refused is sent with others, alone, and as a letter.
        until = time.monotonic() + 3 * DELIVERY_TIMEOUT
        while batch.missing and not batch.error and time.monotonic() < until:
            self._producer.poll(FULL_WAIT)
        if batch.missing or batch.error:
            raise BrokerUnavailable(f"messages not taken: {batch.error or 'no answer'}")

    def refused(self) -> list[Refusal]:
        """Return, once each, the records that the broker will never take."""
        refused, self._refused = self._refused, []
        return refused

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable`."""
        self._producer.check()

    def rewind(self) -> None:
        """Seek to the first record that is not answered for, where a partition is still ours."""
        self._store_offsets()
        starts = Batch([*self._batch, *self._kept], 0).first | self._in_flight.take_all()
        self._batch = self._kept = []
        for partition in self._consumer.assignment():
            topic = partition.topic.removeprefix(self._prefix)
            start = starts.get((topic, partition.partition))
            if start is not None:
                self._consumer.seek(TopicPartition(partition.topic, partition.partition, start))

    def close(self) -> None:
        """Leave the group, so that the others need not wait for our session to run out."""
        self._store_what_is_taken()
        self._give_up_partitions()
        self._consumer.close()
        self._producer.close(0)

    def _give_up_partitions(self) -> None:
        """Leave nothing to be told of an assignment.

        librdkafka hangs where it is closed just as it has been given partitions (its issue 4884),
        and this process with it: the Python client holds the interpreter's lock there.
        """
        self._consumer.unsubscribe()
        until, quiet = time.monotonic() + CLOSING, 0
        while quiet < QUIET_POLLS and time.monotonic() < until:
            message = self._consumer.poll(0.01)
            quiet = 0 if message or self._consumer.assignment() else quiet + 1
