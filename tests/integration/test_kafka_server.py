"""Apache Kafka on the JVM starts, keeps what it is given, stops, and says what it misses."""

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import apache as kafka_server
from support.missing import need_kafka
from support.ports import free_port
from support.waiting import DEADLINE

pytestmark = pytest.mark.proof

TOPIC = "letters"

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def programs() -> None:
    """Java and the jars; skip where they are missing, but fail in CI."""
    need_kafka()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(programs: None, port: int, tmp_path: Path) -> Iterator[Start]:
    """Start the node on one port and folder, as often as asked; kill what is left."""
    started: list[subprocess.Popen[bytes]] = []

    def start_node() -> "subprocess.Popen[bytes]":
        started.append(kafka_server.start_kafka(port, tmp_path / "kafka", tmp_path / "kafka.log"))
        return started[-1]

    yield start_node
    for process in started:
        process.kill()
        process.wait()


def create_topic(port: int) -> None:
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
    admin.create_topics([NewTopic(TOPIC, 3, 1)])[TOPIC].result(DEADLINE)


def produce(port: int, value: bytes) -> None:
    errors: list[Any] = []
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{port}", "acks": "all"})
    producer.produce(TOPIC, value, key=b"k", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(DEADLINE) == 0
    assert errors == [None]


def consume(port: int) -> bytes:
    """Return the group's next record and commit it."""
    consumer = Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "group.id": "readers",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 1_000,
            "heartbeat.interval.ms": 300,
        }
    )
    consumer.subscribe([TOPIC])
    try:
        message = consumer.poll(DEADLINE)
        assert message is not None
        assert message.error() is None
        consumer.commit(message, asynchronous=False)
        value: bytes = message.value()
        return value
    finally:
        consumer.close()


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(DEADLINE)


def test_it_keeps_topics_records_and_offsets(start: Start, port: int) -> None:
    process = start()
    create_topic(port)
    produce(port, b"one")
    produce(port, b"two")
    assert consume(port) == b"one"
    stop(process)
    start()
    assert consume(port) == b"two"


def test_a_killed_node_starts_again_on_its_folder(start: Start, port: int) -> None:
    process = start()
    create_topic(port)
    produce(port, b"one")
    process.kill()
    process.wait()
    start()
    produce(port, b"two")
    assert [consume(port), consume(port)] == [b"one", b"two"]


def test_sigterm_stops_it_and_frees_its_port(start: Start, port: int) -> None:
    stop(start())
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def test_a_second_node_on_one_folder_is_one_clear_line(
    start: Start, port: int, tmp_path: Path
) -> None:
    process = start()
    folder = tmp_path / "kafka"
    with pytest.raises(BrokerUnavailable) as refused:
        kafka_server.start_kafka(free_port(), folder, tmp_path / "second.log")
    assert str(refused.value) == f"another Apache Kafka runs on {folder}"
    create_topic(port)
    stop(process)


def test_a_taken_port_is_one_clear_line(programs: None, port: int, tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(BrokerUnavailable) as refused:
        kafka_server.start_kafka(port, tmp_path / "kafka", log)
    assert str(refused.value) == f"Apache Kafka ended at once; see {log}"
    assert "Address already in use" in log.read_text()


def test_its_classes_come_from_an_archive(programs: None) -> None:
    java, *rest = kafka_server.java_command()
    run = [java, "-Xlog:class+load", *rest, "kafka.Kafka"]
    told = subprocess.run(run, capture_output=True, text=True, timeout=DEADLINE).stdout
    [source] = [line for line in told.splitlines() if "kafka.Kafka source: " in line]
    assert "shared objects file" in source


def test_it_needs_neither_java_nor_maven_on_the_machine(
    programs: None, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    process = kafka_server.start_kafka(port, tmp_path / "kafka", tmp_path / "kafka.log")
    create_topic(port)
    stop(process)
    assert kafka_server.java_command()[1].startswith("-XX:AOTCache=")
