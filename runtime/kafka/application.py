"""The connection to Kafka: what every consumer, producer and admin client is configured with."""

import warnings
from typing import Any

from confluent_kafka.admin import AdminClient

from ..errors import BrokerUnavailable
from ..settings import Settings

with warnings.catch_warnings(record=True):
    # quixstreams imports authlib, which warns of its own HTTP client: nothing that a user can mend.
    from quixstreams import Application
    from quixstreams.kafka import ConnectionConfig

RECORD_LIMIT = 2_000_000  # bytes: a dead letter is its record and more
DELIVERY_TIMEOUT = 6.0  # seconds until a message that the broker does not take counts as lost
ADMIN_TIMEOUT = 10.0  # seconds
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


def admin_client(settings: Settings) -> AdminClient:
    """Make a client for topics and metadata."""
    return AdminClient({**_connection(settings).as_librdkafka_dict(), "log_level": 3})


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
