"""The connection to Kafka: what every consumer, producer and admin client is configured with."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from ..errors import BrokerUnavailable
from ..settings import Settings
from .quix import Application, ConnectionConfig

log = logging.getLogger(__name__)

RECORD_LIMIT = 2_000_000  # bytes: a dead letter is its record and more
FETCHED_AHEAD = 8 * 1024 * 1024  # bytes that a consumer holds, at most; and one answer more
DELIVERY_TIMEOUT = 6.0  # seconds until a message that the broker does not take counts as lost
ADMIN_TIMEOUT = 10.0  # seconds
METADATA_REFRESH = 10_000  # milliseconds until partitions that were added are read, and sent to
# Errors that say why a connection fails, the most telling one first.
TELLING = (
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._RESOLVE,
    KafkaError._TRANSPORT,
)
SILENT: dict[str, Any] = {"statistics.interval.ms": 0, "log_level": 3}


def application(
    settings: Settings, group: str, consuming: Mapping[str, Any] = MappingProxyType({})
) -> Application:
    """Make the Quix Streams application that consumers come from.

    `consuming` has more options of librdkafka's. The group gets its prefix here; topics do where
    they are handed to librdkafka.
    """
    return Application(
        broker_address=_connection(settings),
        consumer_group=settings.kafka_prefix + group,
        auto_offset_reset="earliest",
        loglevel=None,
        consumer_extra_config={
            **SILENT,
            # Among librdkafka's few warnings is that an offset is out of range, and what it begins
            # with instead.
            "log_level": 4,
            "session.timeout.ms": settings.kafka_session_timeout_ms,
            "heartbeat.interval.ms": max(300, settings.kafka_session_timeout_ms // 10),
            # How long a group waits for a member that was killed as it joined, and the longest
            # that a batch may take before its member is taken for dead, too.
            "max.poll.interval.ms": 30_000
            if settings.kafka_session_timeout_ms < 6_000
            else 300_000,
            "fetch.error.backoff.ms": 50,
            # What is fetched ahead has to fit into a small container, and is fetched again after
            # each rewind.
            "queued.max.messages.kbytes": FETCHED_AHEAD // 1024,
            "fetch.max.bytes": FETCHED_AHEAD,
            # Of offsets that are stored, which are those that may be committed.
            "auto.commit.interval.ms": 500,
            "topic.metadata.refresh.interval.ms": METADATA_REFRESH,
            "reconnect.backoff.max.ms": 1_000,
            **consuming,
        },
    )


def producer_client(settings: Settings, **options: Any) -> Producer:
    """Make a producer; `options` are more of librdkafka's. Raises `BrokerUnavailable`.

    It is the one that Quix Streams' wraps, which asks for news after each record: that takes as
    long as handing it over.
    """
    options = {
        **SILENT,
        # Other clients of one topic put a key into the same partition.
        "partitioner": "murmur2",
        # Duplicates are the inbox's business, and an idempotent producer dies of a broker that has
        # forgotten it.
        "enable.idempotence": False,
        "acks": "all",
        "message.max.bytes": RECORD_LIMIT,
        # A lone message waits for nobody: librdkafka would wait for a millisecond at least.
        "linger.ms": 0,
        "queue.buffering.max.kbytes": 131_072,
        "message.timeout.ms": int(DELIVERY_TIMEOUT * 1000),
        # How long a topic that is not there is waited for: less than for the broker, or the one
        # could not be told from the other.
        "topic.metadata.propagation.max.ms": int(DELIVERY_TIMEOUT * 500),
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH,
        "reconnect.backoff.max.ms": 1_000,
        **options,
        **_connection(settings).as_librdkafka_dict(),
        "error_cb": lambda error: log.warning("producer: %s", error.str()),
    }
    try:
        return Producer(options, logger=log)
    except KafkaException as error:
        raise BrokerUnavailable(f"no way to a broker: {reason(error)}") from error


class Admin:
    """A client for topics and metadata; what it raises says why the broker can't be used."""

    def __init__(self, settings: Settings) -> None:
        reported: dict[int, str] = {}

        def note(error: KafkaError) -> None:
            reported[error.code()] = error.str()

        connection = _connection(settings).as_librdkafka_dict()
        self._reported = reported
        self._prefix = settings.kafka_prefix
        self._servers = settings.kafka_bootstrap_servers
        # Silent: what librdkafka would print is in the error that is raised.
        options = {**connection, "log_level": 0, "error_cb": note}
        try:
            self.client = AdminClient(options)
        except KafkaException as error:
            raise BrokerUnavailable(f"no way to a broker: {reason(error)}") from error

    def topics(self, timeout: float = ADMIN_TIMEOUT) -> dict[str, Any]:
        """Return what topics there are with our prefix, by their names without it.

        Raises `BrokerUnavailable`.
        """
        try:
            found = self.client.list_topics(timeout=timeout).topics
            prefix = self._prefix
            return {n.removeprefix(prefix): it for n, it in found.items() if n.startswith(prefix)}
        except KafkaException as error:
            self.client.poll(0)  # hands over what librdkafka has reported meanwhile
            told = [self._reported[code] for code in TELLING if code in self._reported]
            why = told[0] if told else reason(error)
            where = f"the broker at {self._servers}"
            raise BrokerUnavailable(f"{where} does not answer: {why}") from error


def reason(error: KafkaException) -> str:
    """Say an error of librdkafka in its own words, without code and class."""
    return str(error.args[0].str())


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
