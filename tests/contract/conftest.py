"""The brokers on which the contract of a transport is tested."""

from collections.abc import Iterator

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


@pytest.fixture(scope="session")
def embedded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port, log = free_port(), tmp_path_factory.mktemp("embedded") / "log"
    # Joining takes half of the session timeout here.
    settings = Settings().on_broker(f"127.0.0.1:{port}", "embedded")
    # A member that does not leave would go on beating here, where its process does not end.
    changes = {"kafka_session_timeout_ms": 1_000, "kafka_leave_group": True}
    server = Server(settings.model_copy(update=changes), lambda: start_embedded(port, log))
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
    settings = Settings(
        kafka_bootstrap_servers=f"127.0.0.1:{port}",
        kafka_fetch_wait_ms=20,
        kafka_session_timeout_ms=3_000,
    )
    server = Server(settings, lambda: start_kafka(port, folder / "data", folder / "log"))
    yield server
    server.kill()


@pytest.fixture
def kafka_broker(kafka_server: Server) -> Iterator[Broker]:
    """Apache Kafka."""
    broker = Real(kafka_server)
    yield broker
    broker.close()
