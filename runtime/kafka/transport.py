"""The transport over Kafka, through Quix Streams' consumer and producer.

The consumer takes one record as soon as there is one, and with it all that has arrived meanwhile:
a lone message waits for nothing, and a flood is worked off in batches. Between two polls nothing
is in flight, so a rebalance has nothing to hand over.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ..dead_letter import SUFFIX
from ..envelope import Envelope, Record
from ..errors import BrokerUnavailable
from ..health import HealthFile
from ..settings import Settings
from ..transport import BATCH_SIZE

with warnings.catch_warnings(record=True):
    # quixstreams imports authlib, which warns of its own HTTP client: nothing that a user can mend.
    from quixstreams import Application
    from quixstreams.kafka import ConnectionConfig

log = logging.getLogger(__name__)

RECORD_LIMIT = 2_000_000  # bytes: a dead letter is its record and more
DELIVERY_TIMEOUT = 6.0  # seconds until a message that the broker does not take counts as lost
ADMIN_TIMEOUT = 10.0  # seconds
LOOK_EVERY = 1.0  # seconds
SILENT: dict[str, Any] = {"statistics.interval.ms": 0, "log_level": 3}


def application(settings: Settings, group: str) -> Application:
    """Make the Quix Streams application that consumers and producers come from."""
    return Application(
        broker_address=_connection(settings),
        consumer_group=group,
        auto_offset_reset="earliest",
        loglevel=None,
        consumer_extra_config={
            **SILENT,
            "fetch.wait.max.ms": settings.kafka_fetch_wait_ms,
            "session.timeout.ms": settings.kafka_session_timeout_ms,
            "heartbeat.interval.ms": max(300, settings.kafka_session_timeout_ms // 10),
            "fetch.error.backoff.ms": 50,
            "topic.metadata.refresh.interval.ms": 10_000,
            "reconnect.backoff.max.ms": 1_000,
        },
        producer_extra_config={
            **SILENT,
            # Duplicates are the inbox's business, and an idempotent producer dies of a broker that
            # has forgotten it.
            "enable.idempotence": False,
            "acks": "all",
            "message.max.bytes": RECORD_LIMIT,
            # Every sending ends with a flush, which does not linger: so each is one batch.
            "linger.ms": 100,
            "message.timeout.ms": int(DELIVERY_TIMEOUT * 1000),
            "reconnect.backoff.max.ms": 1_000,
        },
    )


class Sender:
    """A producer that knows whether its messages have arrived; threads may share it."""

    def __init__(self, settings: Settings, group: str = "sender") -> None:
        self._app = application(settings, group)
        self._producer = self._app.get_producer()

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Send messages; raise `BrokerUnavailable` unless the broker has taken them all."""
        self.send_records(envelope.record() for envelope in envelopes)

    def send_records(self, records: Iterable[Record]) -> None:
        """Send records as they are; raise `BrokerUnavailable` unless all have arrived."""
        errors: list[str] = []
        sent = arrived = 0

        def delivered(error: KafkaError | None, _: Any) -> None:
            nonlocal arrived
            arrived += 1
            if error is not None:
                errors.append(error.str())

        try:
            for record in records:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    on_delivery=delivered,
                )
                sent += 1
            self._producer.flush(DELIVERY_TIMEOUT + 1)
        except (BufferError, KafkaException) as error:
            raise BrokerUnavailable(f"the broker takes no messages: {error}") from error
        if errors or arrived < sent:
            reason = errors[0] if errors else "no answer"
            raise BrokerUnavailable(f"{sent - arrived + len(errors)} messages not taken: {reason}")

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable`."""
        try:
            AdminClient(_admin_config(self._app.config.broker_address)).list_topics(timeout=2)
        except KafkaException as error:
            raise BrokerUnavailable(f"the broker does not answer: {error}") from error

    def close(self) -> None:
        """Deliver what is still on its way."""
        self._producer.flush(DELIVERY_TIMEOUT)


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
        self._sender = Sender(settings, group)
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
        self._sender.send_records(records)

    def commit(self) -> None:
        """Commit the offset behind the last record of each partition."""
        ends = {(r.topic, r.partition): r.offset + 1 for r in self._batch}
        offsets = [TopicPartition(*where, offset) for where, offset in ends.items()]
        try:
            committed = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise BrokerUnavailable(f"offsets not committed: {error}") from error
        for partition in committed or ():
            if partition.error:
                raise BrokerUnavailable(f"offsets not committed: {partition.error}")
        self._batch = []

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable`."""
        self._sender.check()

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
        self._sender.close()


def create_topics(settings: Settings, partitions: dict[str, int]) -> None:
    """Create the topics that are missing; raise `BrokerUnavailable` if the broker will not."""
    admin = AdminClient(_admin_config(_connection(settings)))
    try:
        existing = admin.list_topics(timeout=ADMIN_TIMEOUT).topics
        missing = [
            NewTopic(name, count, settings.kafka_replication_factor, config=_config(name))
            for name, count in sorted(partitions.items())
            if name not in existing
        ]
        futures = admin.create_topics(missing, request_timeout=ADMIN_TIMEOUT) if missing else {}
        for future in futures.values():
            _unless_exists(future)
    except KafkaException as error:
        raise BrokerUnavailable(f"topics not created: {error}") from error


def lag(settings: Settings, group: str, topics: Sequence[str]) -> int:
    """Count the records that a consumer group has not committed yet.

    Raises `BrokerUnavailable` when the broker does not answer.
    """
    with application(settings, group).get_consumer(auto_commit_enable=False) as consumer:
        try:
            known = consumer.list_topics(timeout=ADMIN_TIMEOUT).topics
            partitions = [
                TopicPartition(topic, number)
                for topic in topics
                if topic in known
                for number in known[topic].partitions
            ]
            behind = 0
            for committed in consumer.committed(partitions, timeout=ADMIN_TIMEOUT):
                low, high = consumer.get_watermark_offsets(committed, timeout=ADMIN_TIMEOUT)
                # A broker that came back empty may have less than was committed meanwhile.
                behind += max(0, high - max(low, committed.offset))
            return behind
        except KafkaException as error:
            raise BrokerUnavailable(f"offsets not read: {error}") from error


def read_topics(settings: Settings, topics: Sequence[str]) -> list[Record]:
    """Read all that is on the topics now, in order; topics that are not there hold nothing.

    Raises `BrokerUnavailable` when the broker does not answer.
    """
    records = []
    with application(settings, "saga.reader").get_consumer(auto_commit_enable=False) as consumer:
        try:
            known = consumer.list_topics(timeout=ADMIN_TIMEOUT).topics
            ends = {
                (topic, number): consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=ADMIN_TIMEOUT
                )
                for topic in topics
                if topic in known
                for number in known[topic].partitions
            }
            unread = {where for where, (low, high) in ends.items() if low < high}
            consumer.assign([TopicPartition(*where, ends[where][0]) for where in unread])
            while unread:
                message = consumer.poll(ADMIN_TIMEOUT)
                if message is None or message.error():
                    raise BrokerUnavailable(f"no answer within {ADMIN_TIMEOUT:g} s")
                records.append(to_record(message))
                where = (message.topic(), message.partition())
                if message.offset() + 1 >= ends[where][1]:
                    unread.discard(where)
        except KafkaException as error:
            raise BrokerUnavailable(f"topics not read: {error}") from error
    return sorted(records, key=lambda record: (record.topic, record.partition, record.offset))


def _config(topic: str) -> dict[str, str]:
    return {"max.message.bytes": str(RECORD_LIMIT)} if topic.endswith(SUFFIX) else {}


def _unless_exists(future: Any) -> None:
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _connection(settings: Settings) -> ConnectionConfig:
    if settings.kafka_bootstrap_servers is None:
        raise BrokerUnavailable("no broker: set KAFKA_BOOTSTRAP_SERVERS to its address")
    return ConnectionConfig(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=settings.kafka_sasl_password,
        ssl_ca_location=settings.kafka_ssl_ca_location,
        ssl_certificate_location=settings.kafka_ssl_certificate_location,
        ssl_key_location=settings.kafka_ssl_key_location,
    )


def _admin_config(connection: ConnectionConfig) -> dict[str, Any]:
    return {**connection.as_librdkafka_dict(), "log_level": 3}


def _failed(message: Any) -> bool:
    error = message.error()
    if error is not None:
        # librdkafka recovers from these by itself: no topic yet, no broker for a while.
        log.warning("consumer: %s", error.str())
    return error is not None


def to_record(message: Any) -> Record:
    """Read what a consumer has got as a record."""
    return Record(
        topic=message.topic(),
        key=message.key(),
        value=message.value(),
        headers=message.headers() or [],
        partition=message.partition(),
        offset=message.offset(),
    )
