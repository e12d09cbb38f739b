"""Sends that the broker refuses for good, which `saga chaos` lets happen to whoever sends."""

import logging
import random
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Self

from uuid_utils.compat import uuid7

from saga.functions.orchestrator.place_order import place_order
from saga.functions.order.messages import CompleteOrder
from saga.runtime import saga_queries
from saga.runtime.dead_letter import SUFFIX, DeadLetter
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.polling import poll_until, wait_until
from saga.runtime.saga_host import NOT_SENT
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_search import FAILED_CODE
from saga.runtime.saga_state import from_json
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks, topics
from saga.runtime.testing.judgement import Case

from . import ledger
from .calls import Calls
from .mishaps import Mishap

log = logging.getLogger(__name__)

REFUSE_EVERY = (2.0, 6.0)  # seconds
REFUSED_FOR = (0.2, 1.0)  # seconds
REFUSED_AT_MOST = 10.0  # seconds, until the first saga has given up
LIMIT = "max.message.bytes"
NOTHING = "1"  # byte: the limit of a topic that takes nothing
ANSWER_TIMEOUT = 10.0  # seconds
MEND_TIMEOUT = 120.0  # seconds


class Refuser(Mishap):
    """Sets the limit of a topic to a byte for a while, so that it takes no message at all.

    It leaves `spared` topics alone; every other time it is that of an order's last command, as what
    can't be completed is refunded: the first time, until that was so. `address` is that of the
    adapter at which sagas are retried.
    """

    every = REFUSE_EVERY
    kinds = ("refused sends",)

    def __init__(
        self,
        settings: Settings,
        spared: Collection[str],
        address: tuple[str, int],
        chance: random.Random,
    ) -> None:
        super().__init__(chance)
        self._settings = settings
        known = topics(read_stacks(settings.saga_stacks))
        self._topics = [t for t in known if not t.endswith(SUFFIX) and t not in spared]
        self._is_last = False
        self._own: dict[str, str] = {}  # limits by topic, where they are not the broker's
        self._refusing: set[str] = set()  # topics that have taken nothing for a while
        self._since = str(uuid7())
        self._calls = Calls(address, threading.Event(), [])

    def __enter__(self) -> Self:
        """Begin, with topics that take again what they took before a run that was killed."""
        wait_until(self._find_limits, "the broker tells no limits", MEND_TIMEOUT)
        for topic in [topic for topic, limit in self._own.items() if limit == NOTHING]:
            log.warning("%s took nothing since a run was killed: the broker's limit is its", topic)
            del self._own[topic]
            self._restore(topic)
        return super().__enter__()

    def happen(self) -> None:
        """Let a topic take nothing, and then all again."""
        self._is_last = not self._is_last
        topic = CompleteOrder.topic if self._is_last else self.chance.choice(self._topics)
        self._refusing.add(topic)
        try:
            poll_until(lambda: self.done.is_set() or self._limit(topic, NOTHING), MEND_TIMEOUT)
            self.done.wait(self.chance.uniform(*REFUSED_FOR))
            if self._is_last and not self.seen["refused sends"]:
                with ledger.sagas().connection_context():
                    poll_until(lambda: self.done.is_set() or not self.missing(), REFUSED_AT_MOST)
        finally:
            self._restore(topic)

    def missing(self) -> list[str]:
        """Tell whether no saga has given up so far because a topic took nothing."""
        if not self.seen["refused sends"]:
            search = {FAILED_CODE: NOT_SENT}
            database, since = ledger.sagas(), self._since
            met = saga_queries.page(database, 1, since, saga=place_order, search=search)
            self.seen["refused sends"] += len(met)
        return super().missing()

    def settle(self) -> None:
        """Retry sagas of which an undo was not sent, as an operator does, until all go on."""
        wait_until(self._gone_on, "sagas with undos that were not sent are FAILED", MEND_TIMEOUT)
        self._calls.close()

    def judge(self, cases: Iterable[Case], letters: Sequence[DeadLetter]) -> Iterator[str]:
        """See that only topics which took nothing refused something, and gave up what they met."""
        refused = {letter.saga_id for letter in letters}
        for letter in letters:
            if letter.record.topic not in self._refusing:
                yield f"dead letter {letter.id}: {letter.reason}"
        for case in cases:
            if case.code == NOT_SENT and case.state.id not in refused:
                yield f"{case}: gave up, and nothing of it was refused"

    def _restore(self, topic: str) -> None:
        limit = self._own.get(topic)
        wait_until(lambda: self._limit(topic, limit), f"{topic} takes nothing", MEND_TIMEOUT)

    def _limit(self, topic: str, size: str | None) -> bool:
        """Set the limit of a topic, or let it be the broker's; tell whether that was heard."""
        from confluent_kafka import KafkaException
        from confluent_kafka import admin as kafka

        from saga.runtime.kafka.application import Admin

        how = kafka.AlterConfigOpType.SET if size else kafka.AlterConfigOpType.DELETE
        entry = kafka.ConfigEntry(LIMIT, size or "", incremental_operation=how)
        name = self._settings.kafka_prefix + topic
        kind = kafka.ResourceType.TOPIC
        changed = kafka.ConfigResource(kind, name, incremental_configs=[entry])
        try:
            admin = Admin(self._settings).client
            asked = admin.incremental_alter_configs([changed], request_timeout=ANSWER_TIMEOUT)
            asked[changed].result()
        except (KafkaException, BrokerUnavailable):
            return False  # it is on its way back
        return True

    def _find_limits(self) -> bool:
        """Learn which limits are the topics' own, not the broker's; tell whether that was heard."""
        from confluent_kafka import KafkaException
        from confluent_kafka import admin as kafka

        from saga.runtime.kafka.application import Admin

        prefix = self._settings.kafka_prefix
        asked = [kafka.ConfigResource(kafka.ResourceType.TOPIC, prefix + t) for t in self._topics]
        own = kafka.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        try:
            admin = Admin(self._settings).client
            told = admin.describe_configs(asked, request_timeout=ANSWER_TIMEOUT)
            for resource, future in told.items():
                entry = future.result()[LIMIT]
                if entry.source == own:
                    self._own[resource.name.removeprefix(prefix)] = entry.value
        except (KafkaException, BrokerUnavailable):
            return False
        return True

    def _gone_on(self) -> bool:
        failed = SagaRow.select(SagaRow.id, SagaRow.state).where(SagaRow.status == "FAILED")
        left = [saga_id for saga_id, state in failed.tuples() if _was_not_sent(state)]
        for saga_id in left:
            self._calls.last("POST", f"/sagas/{saga_id}/retry", (202, 409))
        return not left


def is_unsent(letter: DeadLetter) -> bool:
    """Tell whether a dead letter is of a record that the broker has refused."""
    return letter.reason.startswith("not sent: ")


def _was_not_sent(state: str) -> bool:
    steps = from_json(state).steps
    return any(s.status == "UNDO_FAILED" and s.error and s.error.code == NOT_SENT for s in steps)
