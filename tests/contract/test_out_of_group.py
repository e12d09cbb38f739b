"""A member that is out of its group for long, with a real consumer on real brokers."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient

from saga.runtime.kafka import admin, transport
from saga.runtime.kafka.admin import create_topics, is_at_rest
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from support.brokers import LOST, POLL, Server, group
from support.waiting import wait_until

SOON = 0.3  # seconds
IS_AT_REST = """
import sys
from saga.runtime.kafka.admin import is_at_rest
from saga.runtime.settings import Settings

print(is_at_rest(Settings(kafka_bootstrap_servers=sys.argv[1]), "g"))
"""


def wait_through(act: Callable[[], object]) -> None:
    """Act again and again for as long as several looks take."""
    until = time.monotonic() + 5 * SOON
    while time.monotonic() < until:
        act()


class OutOfGroup:
    """The facts of both real brokers. A subclass gives the fixture `server`."""

    @pytest.fixture
    def topic(self, server: Server) -> str:
        create_topics(server.settings, {"out.of.group": 2})
        return "out.of.group"

    def test_member_whose_group_is_at_rest_without_it_is_told(
        self, server: Server, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "OUT_FOR_LONG", SOON)
        monkeypatch.setattr(transport, "LOOK_EVERY", SOON)
        told: list[bool] = []
        member = KafkaTransport(
            server.settings, group(), [topic], on_forgotten=lambda: told.append(member._is_member)
        )
        wait_until(lambda: member.poll(POLL) or member._is_member, "it has joined")
        told.clear()  # a slow machine may take so long
        wait_through(lambda: member.poll(POLL))
        assert told == []
        member._consumer.unsubscribe()  # it asks the coordinator nothing any more
        wait_until(lambda: member.poll(POLL) or told, "that is told")
        assert set(told) == {False}
        member.close()

    def test_member_for_which_a_group_waits_is_not(
        self, server: Server, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "LOOK_EVERY", SOON)
        name = group()
        first = KafkaTransport(server.settings, name, [topic])
        wait_until(lambda: first.poll(POLL) or first._is_member, "it has joined")
        assert is_at_rest(server.settings, name)
        second = KafkaTransport(server.settings, name, [topic], on_forgotten=pytest.fail)
        # The first one does not poll, and so does not give way.
        wait_until(lambda: second.poll(POLL) or not is_at_rest(server.settings, name), "it waits")
        monkeypatch.setattr(transport, "OUT_FOR_LONG", SOON)
        second._out_until = 0.0
        wait_through(lambda: second.poll(POLL))
        assert not second._is_member
        first.close()
        second.close()

    def test_group_of_a_broker_that_stands_still_is_not_at_rest(self, server: Server) -> None:
        """In a process of its own: librdkafka might end it, or never let it go on."""
        address = server.settings.kafka_bootstrap_servers
        server._process.send_signal(signal.SIGSTOP)
        try:
            command = [sys.executable, "-c", IS_AT_REST, str(address)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        finally:
            server._process.send_signal(signal.SIGCONT)
        assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr

    def test_member_that_comes_back_with_its_broker_is_not(
        self, server: Server, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport, "LOOK_EVERY", 0.0)
        monkeypatch.setattr(transport, "OUT_FOR_LONG", LOST)
        name = group()
        member = KafkaTransport(server.settings, name, [topic], on_forgotten=pytest.fail)
        wait_until(lambda: member.poll(POLL) or member._is_member, "it has joined")
        server.kill()
        try:
            wait_until(lambda: member.poll(POLL) or not member._is_member, "its session ends", LOST)
        finally:
            server.start()
        wait_until(lambda: is_at_rest(server.settings, name), "the group waits for nobody", LOST)
        member._out_until = 0.0
        wait_until(lambda: member.poll(POLL) or member._is_member, "it is back", LOST)
        assert member._out_until > 0.0
        member.close()


@pytest.mark.proof
class TestEmbedded(OutOfGroup):
    @pytest.fixture
    def server(self, embedded_server: Server) -> Server:
        return embedded_server


@pytest.mark.proof
class TestKafka(OutOfGroup):
    @pytest.fixture
    def server(self, kafka_server: Server) -> Server:
        return kafka_server


def test_broker_that_is_away_is_asked_for_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """That would end the process now and then, when the broker is back."""
    monkeypatch.setattr(admin, "LOOK_TIMEOUT", SOON)
    monkeypatch.setattr(AdminClient, "describe_consumer_groups", pytest.fail)
    assert not is_at_rest(Settings(kafka_bootstrap_servers="127.0.0.1:1"), "g")
