"""The producer: sends records, and knows whether the broker has them."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from ..envelope import Envelope, Record
from ..errors import BrokerUnavailable
from ..settings import Settings
from .application import DELIVERY_TIMEOUT, Admin, application

log = logging.getLogger(__name__)

Delivered = Callable[[str | None], None]  # is told of each record once: None, or why it failed


class Producer:
    """Sends records and knows whether they have arrived; threads may share it."""

    def __init__(self, settings: Settings, group: str = "producer") -> None:
        self._settings = settings
        self._producer = application(settings, group).get_producer()

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Send messages; raise `BrokerUnavailable` unless the broker has taken them all."""
        self.send_records(envelope.record() for envelope in envelopes)

    def post(self, envelopes: Sequence[Envelope]) -> None:
        """Let messages be sent in the background; what is not taken is told in the log alone.

        Raises `BrokerUnavailable` when no more can be on their way.
        """
        self.hand_over((envelope.record() for envelope in envelopes), _log_failure)

    def send_records(self, records: Iterable[Record]) -> None:
        """Send records as they are; raise `BrokerUnavailable` unless all have arrived."""
        told: list[str | None] = []
        sent = self.hand_over(records, told.append)
        self.flush()
        errors = [error for error in told if error is not None]
        if errors or len(told) < sent:
            why = errors[0] if errors else "no answer"
            raise BrokerUnavailable(f"{sent - len(told) + len(errors)} messages not taken: {why}")

    def hand_over(self, records: Iterable[Record], delivered: Delivered) -> int:
        """Let records be sent in the background; return how many there are.

        `delivered` hears what becomes of each, in a later call of `poll` or `flush`. Raises
        `BrokerUnavailable` when no more can be on their way.
        """

        def on_delivery(error: KafkaError | None, _: Any) -> None:
            delivered(None if error is None else error.str())

        count = 0
        try:
            for record in records:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    poll_timeout=DELIVERY_TIMEOUT,
                    buffer_error_max_tries=2,
                    on_delivery=on_delivery,
                )
                count += 1
        except (BufferError, KafkaException) as error:
            raise BrokerUnavailable(f"the broker takes no messages: {error}") from error
        return count

    def poll(self, timeout: float) -> None:
        """Hear of deliveries; wait for one up to `timeout` seconds."""
        self._producer.poll(timeout)

    def flush(self, timeout: float = DELIVERY_TIMEOUT + 1) -> None:
        """Wait until something has become of each record, or for `timeout` seconds."""
        self._producer.flush(timeout)

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable`."""
        Admin(self._settings).topics(timeout=2)

    def close(self, timeout: float = DELIVERY_TIMEOUT) -> None:
        """Deliver what is still on its way, for `timeout` seconds at most."""
        with suppress(KafkaException):  # wrong settings: there has never been a producer
            self._producer.flush(timeout)


def _log_failure(error: str | None) -> None:
    if error is not None:
        log.warning("a command was not taken, its saga's host will send it again: %s", error)
