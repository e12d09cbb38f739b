"""The producer: sends records, and waits until the broker has them."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from ..envelope import Envelope, Record
from ..errors import BrokerUnavailable
from ..settings import Settings
from .application import DELIVERY_TIMEOUT, Admin, application


class Producer:
    """Sends records and knows whether they have arrived; threads may share it."""

    def __init__(self, settings: Settings, group: str = "producer") -> None:
        self._settings = settings
        self._producer = application(settings, group).get_producer()

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
            why = errors[0] if errors else "no answer"
            raise BrokerUnavailable(f"{sent - arrived + len(errors)} messages not taken: {why}")

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable`."""
        Admin(self._settings).topics(timeout=2)

    def close(self) -> None:
        """Deliver what is still on its way."""
        with suppress(KafkaException):  # wrong settings: there has never been a producer
            self._producer.flush(DELIVERY_TIMEOUT)
