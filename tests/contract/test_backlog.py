"""A backlog of slow messages: it takes longer than a member may stay away from its poll."""

import threading
import time
from functools import partial
from pathlib import Path

import pytest

from saga.runtime import Command, Event
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Envelope, Record
from saga.runtime.function import Function
from saga.runtime.inbox import InboxRow
from saga.runtime.kafka import transport as module
from saga.runtime.kafka.admin import create_topics, lag
from saga.runtime.kafka.application import application
from saga.runtime.kafka.reading import read_topics
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from saga.runtime.worker import Worker
from support.brokers import Server

pytestmark = pytest.mark.proof

COUNT = 200  # messages, which one batch could hold
TAKES = 0.02  # seconds that each takes
POLL_INTERVAL = 2_000  # milliseconds; less than all of them take together
GROUP = "backlog.grind"


class Ground(Event, topic="backlog.events"):
    pass


class Grind(Command, topic="backlog.grind", event=Ground):
    pass


class Member(KafkaTransport):
    """Counts how often its partitions were taken from it, and stops when all is committed."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.stop, self.taken = settings, threading.Event(), 0
        super().__init__(settings, GROUP, [Grind.topic])

    def poll(self, timeout: float) -> list[Record]:
        batch = super().poll(timeout)
        if not batch and self._is_member and lag(self.settings, GROUP, [Grind.topic]) == 0:
            self.stop.set()
        return batch

    def _left(self) -> None:
        self.taken += not self.stop.is_set()
        super()._left()


def test_backlog_costs_no_member_its_partitions_and_is_answered_once(
    embedded_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = embedded_server.settings
    create_topics(settings, {Grind.topic: 1, Ground.topic: 1})
    soon = {"max.poll.interval.ms": POLL_INTERVAL}
    monkeypatch.setattr(module, "application", partial(application, consuming=soon))
    calls: list[Command] = []

    def grind(command: Grind) -> Ground:
        calls.append(command)
        time.sleep(TAKES)  # the work
        return Ground()

    database = connect(f"sqlite:///{tmp_path}/backlog.db")
    bind(database, [InboxRow])
    worker = Worker(Function(GROUP, grind, "command", (Grind.topic,), Grind), database)
    member = Member(settings)
    asked = [
        Envelope(Grind.topic, f"s{n}/grind/do", "Grind", "/x", "t", "{}") for n in range(COUNT)
    ]
    member.send([command.record() for command in asked])
    worker.run(member, member.stop)
    member.close()
    database.close()
    assert (member.taken, len(calls)) == (0, COUNT)
    assert len(read_topics(settings, [Ground.topic])) == COUNT
