"""The producer: sends records, and knows whether the broker has them."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from ..envelope import Envelope, Record
from ..errors import BrokerUnavailable
from ..settings import Settings
from ..transport import Refusal
from .application import DELIVERY_TIMEOUT, Admin, producer_client

log = logging.getLogger(__name__)

# Errors that no waiting mends: Kafka's protocol calls them not retriable, and librdkafka says of
# none whether it is. A topic that is not there has been waited for.
MISSING = frozenset({KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART})
LASTING = MISSING | {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
}

SEVERAL = 4  # records of one batch, from which on they wait for each other
LINGER = 1  # milliseconds that they have for it
POSTED = 10_000  # messages that may be on their way in the background


class Failure(NamedTuple):
    """Why a record was not taken; `lasting` tells that it never will be."""

    reason: str
    lasting: bool
    missing: bool


Taken = Callable[[], None]
Failed = Callable[[Record, Failure], None]  # of each record, one of the two is told once
_Hear = Callable[[Record, KafkaError | None, Any], None]


class Producer:
    """Sends records and knows whether they have arrived; threads may share it.

    Where several records are handed over at once, the first waits for the others. It would be sent
    while they are still being handed over, its reader would work it off alone, and a turn costs
    more than the records in it. Few records wait for nothing: that takes a client of their own, as
    librdkafka knows one waiting time for all.

    `on_sent` hears of each that the broker has taken. Making one raises `BrokerUnavailable` where
    the settings lead to no broker whatsoever.
    """

    def __init__(
        self, settings: Settings, on_sent: Callable[[Record], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._on_sent = on_sent
        self._producer = producer_client(settings)
        self._prefix = settings.kafka_prefix
        self._together: Any = None  # sends what waits for company; made for the first of it
        self._alone: Any = None  # sends each record in a batch of its own; hardly ever there
        self._clients = [self._producer]  # all that there are, the one alone last
        # What librdkafka has told of failures, to be acted on when its call is over: whoever hears
        # of one may send another record, and in a call of its own client that ends the process.
        self._heard: deque[Callable[[], None]] = deque()
        self._telling = False
        self._turn = threading.RLock()

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """Send messages; raise `BrokerUnavailable` unless the broker has taken them all."""
        self.send_records(envelope.record() for envelope in envelopes)

    def post(self, envelopes: Sequence[Envelope]) -> None:
        """Let messages be sent in the background; what is not taken is told in the log alone.

        Raises `BrokerUnavailable` when no more can be on their way; it waits for nothing.
        """
        self.poll(0)  # what has arrived meanwhile counts no more
        if sum(map(len, self._clients)) >= POSTED:
            raise BrokerUnavailable(f"{POSTED} messages are on their way to the broker")
        records = [envelope.record() for envelope in envelopes]
        self.hand_over(records, lambda: None, _log_failure, tries=1)

    def send_records(self, records: Iterable[Record]) -> None:
        """Send records as they are; raise `BrokerUnavailable` unless all have arrived."""
        if refused := self.offer(records):
            raise BrokerUnavailable(f"{len(refused)} messages not taken: {refused[0].reason}")

    def offer(self, records: Iterable[Record]) -> list[Refusal]:
        """Send records as they are; return those that the broker will never take.

        Raises `BrokerUnavailable` unless all others have arrived.
        """
        told: list[tuple[Record, Failure] | None] = []
        sent = self.hand_over([*records], lambda: told.append(None), lambda *why: told.append(why))
        self.flush()
        failed = [why for why in told if why is not None]
        lost = [failure.reason for _, failure in failed if not failure.lasting]
        if lost or len(told) < sent:
            why = lost[0] if lost else "no answer"
            raise BrokerUnavailable(f"{sent - len(told) + len(lost)} messages not taken: {why}")
        return [Refusal(record, failure.reason, failure.missing) for record, failure in failed]

    def hand_over(
        self, records: Sequence[Record], taken: Taken, failed: Failed, tries: int = 2
    ) -> int:
        """Let records be sent in the background; return how many there are.

        For each, `taken` or `failed` is called: in a later call of `poll` or `flush`, but for what
        is taken while this waits for room. Raises `BrokerUnavailable` when no more can be on their
        way: with more than one of the `tries`, after seconds in which others may have arrived.
        """

        def hear(record: Record, error: KafkaError | None, _: Any) -> None:
            if error is None:
                self._on_sent(record)
                taken()
            else:
                self._heard.append(partial(self._try_alone, record, error, taken, failed))

        client = self._producer if len(records) < SEVERAL else self._gathering()
        for record in records:
            self._produce(client, record, hear, tries)
        return len(records)

    def _gathering(self) -> Any:
        with self._turn:
            if self._together is None:
                self._together = producer_client(self._settings, **{"linger.ms": LINGER})
                self._clients.insert(0, self._together)
        return self._together

    def _produce(self, producer: Any, record: Record, hear: _Hear, tries: int = 2) -> None:
        try:
            producer.produce(
                self._prefix + record.topic,
                record.value,
                record.key,
                headers=list(record.headers),
                partition=record.partition,  # -1 is the one of its key
                on_delivery=partial(hear, record),
            )
        except BufferError as full:
            if tries < 2:
                raise BrokerUnavailable(f"the broker takes no messages: {full}") from full
            producer.poll(DELIVERY_TIMEOUT)
            self._produce(producer, record, hear, tries - 1)
        except KafkaException as error:
            first = error.args[0]
            if first.code() not in LASTING:
                raise BrokerUnavailable(f"the broker takes no messages: {first.str()}") from error
            hear(record, first, None)

    def _try_alone(self, record: Record, error: KafkaError, taken: Taken, failed: Failed) -> None:
        """Send a record again that was refused, perhaps for a neighbour's sake.

        The broker refuses whole batches: only a record that is refused alone is refused itself.
        """
        failure = _failure(error)
        if failure.missing or not failure.lasting:
            failed(record, failure)
            return

        def hear(record: Record, error: KafkaError | None, _: Any) -> None:
            if error is None:
                self._on_sent(record)
                taken()
            else:
                self._heard.append(partial(failed, record, _failure(error)))

        try:
            self._produce(self._producing_alone(), record, hear)
        except BrokerUnavailable as trouble:  # the others have to be told of theirs
            failed(record, Failure(str(trouble), lasting=False, missing=False))

    def _producing_alone(self) -> Any:
        if self._alone is None:
            self._alone = producer_client(self._settings, **{"batch.num.messages": 1})
            self._clients.append(self._alone)
        return self._alone

    def poll(self, timeout: float) -> None:
        """Hear of deliveries; wait for one up to `timeout` seconds."""
        for client in sorted(self._clients, key=len, reverse=True):
            client.poll(timeout)
            timeout = 0  # who has most on its way has been waited for
        self._tell()

    def _tell(self) -> None:
        with self._turn:
            if self._telling:  # who is told polls, too
                return
            self._telling = True
            try:
                while self._heard:
                    self._heard.popleft()()
            finally:
                self._telling = False

    def flush(self, timeout: float = DELIVERY_TIMEOUT + 1) -> None:
        """Wait until something has become of each record, or for `timeout` seconds each time.

        A record that has to be sent once more, alone, has another time.
        """
        for _ in range(2):  # what is told may be sent once more, alone, and then as a letter
            until = monotonic() + timeout
            for client in self._clients:  # the one alone may be made meanwhile
                client.flush(max(0.0, until - monotonic()))
                self._tell()

    def check(self) -> None:
        """Ask the broker for a sign of life; raise `BrokerUnavailable`."""
        Admin(self._settings).topics(timeout=2)

    def close(self, timeout: float = DELIVERY_TIMEOUT) -> None:
        """Deliver what is still on its way, for `timeout` seconds at most."""
        self.flush(timeout)


def _failure(error: KafkaError) -> Failure:
    return Failure(error.str(), error.code() in LASTING, error.code() in MISSING)


def _log_failure(_: Record, failure: Failure) -> None:
    log.warning("a command was not taken, its saga's host will send it again: %s", failure.reason)
