"""The brokers on which the contract of a transport is tested."""

from collections.abc import Iterator
from functools import partial

import pytest

from saga.runtime.kafka.apache import start_kafka
from saga.runtime.kafka.embedded import start_embedded
from saga.runtime.settings import Settings
from support.brokers import Broker, Real, Server, Simulated
from support.missing import need_kafka
from support.ports import free_port


@pytest.fixture
def simulated_broker() -> Broker:
    """The simulated broker."""
    return Simulated()


# Of the session: each test has topics and groups of its own, and one start of Kafka takes as long
# as ten of them.
@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port, folder = free_port(), tmp_path_factory.mktemp("embedded")
    settings = Settings().on_broker(f"127.0.0.1:{port}", "embedded")
    server = Server(settings, partial(start_embedded, port), folder)
    yield server
    server.kill()


@pytest.fixture
def embedded_broker(embedded_server: Server) -> Iterator[Broker]:
    """The embedded broker."""
    broker = Real(embedded_server)
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    need_kafka()
    port, folder = free_port(), tmp_path_factory.mktemp("kafka")
    settings = Settings().on_broker(f"127.0.0.1:{port}", "kafka")
    server = Server(settings, partial(start_kafka, port), folder)
    yield server
    server.kill()


@pytest.fixture
def kafka_broker(kafka_server: Server) -> Iterator[Broker]:
    """Apache Kafka."""
    broker = Real(kafka_server)
    yield broker
    broker.close()
