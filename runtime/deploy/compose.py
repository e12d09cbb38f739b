"""A docker-compose.yml that runs all stacks, on a broker and a server of its own.

It is for Compose 1.29 and for 2: no `version`, `scale` for replicas, and the image is built by the
one service on which all others wait. An adapter is `order-http` there: Compose 2 takes a service
`order` beside `order.create_order` for a cycle, where they share an anchor.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..system.stack import Stack
from .compose_project import service_name
from .compose_yaml import MERGE, Quoted, dump
from .container import (
    BROKER,
    DATABASE,
    LOG_DRIVER,
    LOG_ROTATION,
    STOP_TIMEOUT,
    Container,
    container_for,
    labels,
)
from .database_name import check_name
from .target import IMAGE

HEAD = """\
# The whole system in containers: Apache Kafka, PostgreSQL, and what the stack files declare.
# Generated; after a change of a stack file: saga render compose --output docker-compose.yml
#
#   docker-compose up -d     start; the image is built if there is none
#   docker-compose ps        what runs, and whether it is healthy
#   docker-compose logs -f NAME
#   docker-compose build     build the image again; then `up -d` takes it
#   docker-compose down      stop; the data stays in volumes, until `down -v`
#
# A file .env beside this one may set variables, passwords before the first start:
"""
SYSTEM = "${SAGA_SYSTEM:-saga}"
LOG_LEVEL = "${SAGA_LOG_LEVEL:-INFO}"
METRICS_PORT = "${SAGA_METRICS_PORT:-9464}"  # of each container; published nowhere
CONSOLE = "${SAGA_CONSOLE:-on}"
HOSTS = "${SAGA_HOSTS:-}"
LOG_FORMAT = "${SAGA_LOG_FORMAT:-text}"
ACCESS_LOG = "${SAGA_ACCESS_LOG:-true}"
TRACES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)
KAFKA_IMAGE = "${KAFKA_IMAGE:-apache/kafka:4.3.1}"
POSTGRES_IMAGE = "${POSTGRES_IMAGE:-postgres:17}"
PREFIX = "${KAFKA_PREFIX:-}"
POSTGRES_PASSWORD = "${POSTGRES_PASSWORD:-postgres}"  # noqa: S105 - a default, for a laptop
LOGGING = {"driver": LOG_DRIVER, "options": LOG_ROTATION}

KAFKA = {
    "CLUSTER_ID": "saga-functions-cluster",
    "KAFKA_NODE_ID": 1,
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://localhost:9093",
    "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:9092",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "KAFKA_LOG_DIRS": "/var/lib/kafka/data",
    # A killed node is let in again when its session has run out; the default is 9 s.
    "KAFKA_BROKER_SESSION_TIMEOUT_MS": 3000,
    "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": 500,
    "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m",
    "KAFKA_LOG_CLEANER_DEDUPE_BUFFER_SIZE": 2097152,
    "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": 0,
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": 4,
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": 1,
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": 1,
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": 1,
}


def compose(stacks: Sequence[Stack], image: str) -> str:
    """Return a docker-compose.yml, in which SAGA_IMAGE takes the place of `image`.

    Raises `StackError` for a database that would be PostgreSQL's own.
    """
    for stack in stacks:
        check_name(stack.database)
    return f"{HEAD}{''.join(_variables(stacks, image))}\n{dump(_document(stacks, image))}"


def _variables(stacks: Sequence[Stack], image: str) -> Iterator[str]:
    """Describe the variables that the file takes, with their defaults."""
    optional = {
        "SAGA_SYSTEM": SYSTEM,
        "SAGA_IMAGE": _image(image),
        "KAFKA_IMAGE": KAFKA_IMAGE,
        "POSTGRES_IMAGE": POSTGRES_IMAGE,
        "SAGA_LOG_LEVEL": LOG_LEVEL,
        "SAGA_METRICS_PORT": METRICS_PORT,
        "SAGA_CONSOLE": CONSOLE,
        "SAGA_HOSTS": HOSTS,
        "SAGA_LOG_FORMAT": LOG_FORMAT,
        "SAGA_ACCESS_LOG": ACCESS_LOG,
        **{name: f"${{{name}:-}}" for name in TRACES},
        "KAFKA_PREFIX": PREFIX,
        "POSTGRES_PASSWORD": POSTGRES_PASSWORD,
        **_passwords(stacks),
    }
    for name, value in optional.items():
        yield f"#   {name}={value.removeprefix(f'${{{name}:-').removesuffix('}')}\n"
    resources = [stack.resources(name) for stack in stacks for name in (None, *stack.entries)]
    for secret in sorted({secret for given in resources for secret in given.secrets}):
        yield f"#   {secret}= (a secret, and needed)\n"


def _document(stacks: Sequence[Stack], image: str) -> dict[str, Any]:
    container = {"image": _image(image), **_options(Container())}
    hosted = {
        MERGE: container,
        "depends_on": {
            "kafka": {"condition": "service_healthy"},
            "create-databases": {"condition": "service_completed_successfully"},
        },
    }
    # The runtime fills in the password: each container has that of its own database alone.
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": BROKER,
        "KAFKA_PREFIX": PREFIX,
        "SAGA_DATABASE_URL": DATABASE,
        "SAGA_LOG_LEVEL": LOG_LEVEL,
        "SAGA_METRICS_PORT": METRICS_PORT,
        "SAGA_CONSOLE": CONSOLE,
        "SAGA_HOSTS": HOSTS,
        "SAGA_LOG_FORMAT": LOG_FORMAT,
        "SAGA_ACCESS_LOG": ACCESS_LOG,
        **{name: f"${{{name}:-}}" for name in TRACES},
    }
    services: dict[str, Any] = {
        "kafka": _kafka(),
        "postgres": _postgres(),
        "create-databases": {MERGE: container, **_create_databases(stacks, container)},
    }
    for stack in stacks:
        for name in stack.names():
            services[service_name(name)] = {
                MERGE: hosted,
                **_service(stack, name, container, settings),
            }
    return {
        "x-logging": LOGGING,
        "x-container": container,
        "x-hosted": hosted,
        "x-settings": settings,
        "services": services,
        "volumes": {"kafka": None, "postgres": None},
        "networks": {"default": {"name": SYSTEM}},
    }


def _kafka() -> dict[str, Any]:
    """Describe one node, which the containers reach and nobody else."""
    # The image declares them as volumes, which `down` would leave behind.
    volumes = {"/etc/kafka/secrets": "", "/mnt/shared/config": ""}
    container = Container(memory="1g", processes=None, is_read_only=False, tmpfs=volumes)
    return {
        "image": KAFKA_IMAGE,
        **_options(container),
        "environment": KAFKA,
        "volumes": ["kafka:/var/lib/kafka/data"],
        # No Kafka tool: a JVM every few seconds would cost more than the broker.
        "healthcheck": _healthcheck("CMD", "bash", "-c", "</dev/tcp/localhost/9092"),
        "labels": {"saga.system": SYSTEM, "saga.kind": "broker", "saga.name": "kafka"},
    }


def _postgres() -> dict[str, Any]:
    container = Container(
        memory="1g", processes=None, is_read_only=False, tmpfs={}, has_capabilities=True
    )
    # By TCP: while the server is set up, it answers on its socket already.
    ready = ["CMD", "pg_isready", "--quiet", "--host", "127.0.0.1", "--username", "postgres"]
    return {
        "image": POSTGRES_IMAGE,
        **_options(container),
        "environment": {"POSTGRES_PASSWORD": POSTGRES_PASSWORD},
        "volumes": ["postgres:/var/lib/postgresql/data"],
        "healthcheck": _healthcheck(*ready),
        "labels": {"saga.system": SYSTEM, "saga.kind": "database", "saga.name": "postgres"},
    }


def _healthcheck(*test: str) -> dict[str, Any]:
    return {
        "test": list(test),
        "interval": "3s",
        "timeout": "5s",
        "retries": 5,
        "start_period": "60s",
    }


def _create_databases(stacks: Sequence[Stack], shared: Mapping[Any, Any]) -> dict[str, Any]:
    """Describe what makes the missing databases and roles, and ends.

    It comes before all others of its image, hence it builds it.
    """
    return {
        "build": ".",
        "command": ["create-databases"],
        **_differing(_options(Container(restart="on-failure:3")), shared),
        "healthcheck": {"disable": True},
        "depends_on": {"postgres": {"condition": "service_healthy"}},
        "environment": {
            "SAGA_ADMIN_URL": "postgresql://postgres:{password}@postgres/postgres",
            "POSTGRES_PASSWORD": POSTGRES_PASSWORD,
            **_passwords(stacks),
        },
    }


def _service(
    stack: Stack, name: str, shared: Mapping[Any, Any], settings: Mapping[str, str]
) -> dict[str, Any]:
    """Describe a function, a saga or an adapter, apart from what is shared."""
    entry = name.partition(".")[2] or None
    service: dict[str, Any] = {"command": ["run", name]}
    if stack.replicas(name) != 1:
        service["scale"] = stack.replicas(name)
    service |= _differing(_options(container_for(stack.resources(entry))), shared)
    if entry is None:
        service["ports"] = [f"127.0.0.1:{stack.port}:{stack.port}"]
    return {
        **service,
        "environment": {MERGE: settings, **_environment(stack, entry)},
        "labels": labels(stack, name, system=SYSTEM, version=IMAGE),
    }


def _options(container: Container) -> dict[str, Any]:
    """Render a container's limits and hardening in Compose's words."""
    options = {
        "read_only": container.is_read_only,
        "tmpfs": [f"{path}:{how}".rstrip(":") for path, how in container.tmpfs.items()],
        "cap_drop": [] if container.has_capabilities else ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": container.processes,
        "mem_limit": container.memory,
        "cpus": container.cpus,
        "restart": container.restart,
        "stop_grace_period": f"{STOP_TIMEOUT}s",
        "logging": LOGGING,
    }
    return {key: value for key, value in options.items() if value}


def _differing(options: Mapping[str, Any], shared: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the options that are not already among those that are shared."""
    return {key: value for key, value in options.items() if shared.get(key) != value}


def _environment(stack: Stack, entry: str | None) -> dict[str, str]:
    """Return a container's environment besides the settings that all have."""
    resources = stack.resources(entry)
    # `$` would begin a variable of Compose's.
    own = {k: Quoted(value.replace("$", "$$")) for k, value in resources.environment.items()}
    secrets = {
        name: f"${{{name}:?secret {name} is not set; export it or write it into .env}}"
        for name in resources.secrets
    }
    return {**own, **_passwords([stack]), **secrets}


def _passwords(stacks: Sequence[Stack]) -> dict[str, str]:
    """Return the variables of the databases' passwords, as `saga.runtime.secrets` names them."""
    names = dict.fromkeys(stack.database for stack in stacks)
    return {_variable(name): f"${{{_variable(name)}:-{name}}}" for name in names}


def _variable(database: str) -> str:
    return f"{database.upper()}_DATABASE_PASSWORD"


def _image(image: str) -> str:
    return f"${{SAGA_IMAGE:-{image}}}"
