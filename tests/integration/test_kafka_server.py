"""Apache Kafka on the JVM starts, keeps what it is given, stops, and says what it misses."""

import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import apache as kafka_server
from saga.runtime.settings import Settings
from saga.runtime.system.log_reader import log_file
from saga.runtime.system.rotation import open_pipe
from support.command import SAGA
from support.missing import need_kafka
from support.ports import free_port
from support.waiting import DEADLINE

pytestmark = pytest.mark.proof

_numbers = count()


class Node:
    """A node on one port and folder, which can be stopped, killed and started again.

    Its log is a system's, rotated as `settings` say.
    """

    def __init__(self, data: Path, settings: Settings) -> None:
        self.port, self.folder, self.log = free_port(), data / "kafka", log_file(data, "broker")
        self.log.parent.mkdir()
        self._opened = partial(open_pipe, settings=settings)
        self.start()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def start(self) -> None:
        self._process = kafka_server.start_kafka(self.port, self.folder, self.log, self._opened)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def programs() -> None:
    """Java and the jars; skip where they are missing, but fail in CI."""
    need_kafka()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def only_node(programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    small = Settings(saga_log_bytes=20_000, saga_log_files=100)
    node = Node(tmp_path_factory.mktemp("node"), small)
    yield node
    node.kill()


@pytest.fixture
def node(only_node: Node) -> Node:
    """The one node, running: each start takes seconds of the processor's."""
    if not only_node.runs:
        only_node.start()
    return only_node


def create_topic(port: int) -> str:
    """Create a topic, and return its name."""
    topic = f"letters-{next(_numbers)}"
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(DEADLINE)
    return topic


def produce(port: int, topic: str, value: bytes) -> None:
    errors: list[Any] = []
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{port}", "acks": "all"})
    producer.produce(topic, value, key=b"k", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(DEADLINE) == 0
    assert errors == [None]


def consume(port: int, topic: str) -> bytes:
    """Return the group's next record and commit it."""
    consumer = Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "group.id": "readers",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    try:
        message = consumer.poll(DEADLINE)
        assert message is not None
        assert message.error() is None
        consumer.commit(message, asynchronous=False)
        value: bytes = message.value()
        return value
    finally:
        consumer.close()


def test_it_keeps_topics_records_and_offsets(node: Node) -> None:
    topic = create_topic(node.port)
    produce(node.port, topic, b"one")
    produce(node.port, topic, b"two")
    assert consume(node.port, topic) == b"one"
    node.stop()
    node.start()
    assert consume(node.port, topic) == b"two"


def test_a_killed_node_starts_again_on_its_folder(node: Node) -> None:
    topic = create_topic(node.port)
    produce(node.port, topic, b"one")
    node.kill()
    node.start()
    produce(node.port, topic, b"two")
    assert [consume(node.port, topic), consume(node.port, topic)] == [b"one", b"two"]


def test_a_second_node_on_one_folder_is_one_clear_line(node: Node, tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailable) as refused:
        kafka_server.start_kafka(free_port(), node.folder, tmp_path / "second.log")
    assert str(refused.value) == f"another Apache Kafka runs on {node.folder}"
    create_topic(node.port)


def complain(node: Node, numbers: range) -> None:
    """Let the node log a warning, with its traceback, that has each number in it."""
    for number in numbers:
        with socket.create_connection(("127.0.0.1", node.port), DEADLINE) as client:
            client.sendall(number.to_bytes(4))  # the size of a request, which is too large
            assert client.recv(1) == b""


def test_its_log_is_rotated_and_read_without_losing_a_line(
    node: Node, until: Callable[..., Any]
) -> None:
    numbers = range(200_000_000, 200_000_400)
    logs = [str(SAGA), "logs", "broker", "--data", str(node.log.parents[1])]
    heard: list[str] = []
    with subprocess.Popen([*logs, "--follow"], stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        reading = threading.Thread(target=heard.extend, args=(follower.stdout,))
        reading.start()
        try:
            complain(node, numbers[:200])
            until(lambda: any(f"size = {numbers[199]} " in line for line in heard), "half is heard")
            node.kill()
            node.start()
            complain(node, numbers[200:])
            until(lambda: any(f"size = {numbers[-1]} " in line for line in heard), "all is heard")
        finally:
            follower.terminate()
            reading.join()
    whole = subprocess.run(logs, capture_output=True, text=True, timeout=DEADLINE).stdout
    for told in ("".join(heard), whole):
        assert re.findall(r"Invalid receive \(size = (\d+) ", told) == [str(n) for n in numbers]
    assert len([*node.log.parent.glob("broker.log.*")]) > 10


def test_sigterm_stops_it_and_frees_its_port(node: Node) -> None:
    node.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", node.port))


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
    monkeypatch.setattr(kafka_server, "ARCHIVE_TIMEOUT", DEADLINE)
    process = kafka_server.start_kafka(port, tmp_path / "kafka", tmp_path / "kafka.log")
    create_topic(port)
    process.kill()
    process.wait()
    assert kafka_server.java_command()[1].startswith("-XX:AOTCache=")
