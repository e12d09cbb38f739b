"""The text of a docker-compose.yml that runs all stacks, on a broker and a server of its own.

It is for Compose 1.29 and for 2: no `version`, `scale` for replicas, and the image is built by the
one service on which all others wait. An adapter is `order-http` there: Compose 2 takes a service
`order` beside `order.create_order` for a cycle, where they share an anchor.
"""

import json
import re
from collections.abc import Iterator, Sequence

from ..system.stack import Stack
from .container_options import BROKER, DATABASE
from .databases import check_name

# Words that YAML 1.1 does not take for text.
NO_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

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

SHARED = """\
x-logging: &logging
  driver: json-file
  options: {{max-size: 10m, max-file: "3"}}

x-container: &container
  image: ${{SAGA_IMAGE:-{image}}}
  read_only: true
  tmpfs: ["/tmp:size=64m,mode=1777"]
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  pids_limit: 128
  restart: unless-stopped
  stop_grace_period: 30s
  logging: *logging

# A function or an adapter.
x-hosted: &hosted
  <<: *container
  depends_on:
    kafka: {{condition: service_healthy}}
    create-databases: {{condition: service_completed_successfully}}

# The runtime fills in the password: each container has that of its own database alone.
x-settings: &settings
  KAFKA_BOOTSTRAP_SERVERS: {broker}
  SAGA_DATABASE_URL: "{database}"
  SAGA_LOG_LEVEL: ${{SAGA_LOG_LEVEL:-INFO}}

x-function-labels: &function-labels
  saga.system: ${{SAGA_SYSTEM:-saga}}
  saga.kind: function
  saga.version: image

x-adapter-labels: &adapter-labels
  saga.system: ${{SAGA_SYSTEM:-saga}}
  saga.kind: adapter
  saga.version: image

services:
  # One node, which the containers reach and nobody else. Its health check is no Kafka tool: a JVM
  # every few seconds would cost more than the broker.
  kafka:
    image: apache/kafka:4.3.1
    restart: unless-stopped
    stop_grace_period: 30s
    mem_limit: 1g
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    logging: *logging
    environment:
      CLUSTER_ID: saga-functions-cluster
      KAFKA_NODE_ID: 1
      KAFKA_PROCESS_ROLES: broker,controller
      KAFKA_LISTENERS: PLAINTEXT://:9092,CONTROLLER://localhost:9093
      KAFKA_ADVERTISED_LISTENERS: PLAINTEXT://kafka:9092
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
      KAFKA_INTER_BROKER_LISTENER_NAME: PLAINTEXT
      KAFKA_CONTROLLER_LISTENER_NAMES: CONTROLLER
      KAFKA_CONTROLLER_QUORUM_VOTERS: 1@localhost:9093
      KAFKA_LOG_DIRS: /var/lib/kafka/data
      # A killed node is let in again when its session has run out; the default is 9 s.
      KAFKA_BROKER_SESSION_TIMEOUT_MS: 3000
      KAFKA_BROKER_HEARTBEAT_INTERVAL_MS: 500
      KAFKA_HEAP_OPTS: -Xms128m -Xmx512m
      KAFKA_LOG_CLEANER_DEDUPE_BUFFER_SIZE: 2097152
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false"
      KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: 0
      KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS: 4
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: 1
      KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: 1
      KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: 1
    volumes: ["kafka:/var/lib/kafka/data"]
    # The image declares them as volumes, which `down` would leave behind.
    tmpfs: [/etc/kafka/secrets, /mnt/shared/config]
    healthcheck:
      test: [CMD, bash, -c, "</dev/tcp/localhost/9092"]
      interval: 3s
      timeout: 5s
      retries: 5
      start_period: 60s
    labels:
      saga.system: ${{SAGA_SYSTEM:-saga}}
      saga.kind: broker
      saga.name: kafka

  postgres:
    image: postgres:17
    restart: unless-stopped
    stop_grace_period: 30s
    mem_limit: 1g
    security_opt: ["no-new-privileges:true"]
    logging: *logging
    environment:
      POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD:-postgres}}
    volumes: ["postgres:/var/lib/postgresql/data"]
    # By TCP: while the server is set up, it answers on its socket already.
    healthcheck:
      test: [CMD, pg_isready, --quiet, --host, 127.0.0.1, --username, postgres]
      interval: 3s
      timeout: 5s
      retries: 5
      start_period: 60s
    labels:
      saga.system: ${{SAGA_SYSTEM:-saga}}
      saga.kind: database
      saga.name: postgres

  # Makes what is missing of databases and roles, and ends. It comes before all others of its image,
  # hence it builds it.
  create-databases:
    <<: *container
    build: .
    command: [create-databases]
    restart: on-failure:3
    healthcheck: {{disable: true}}
    mem_limit: 256m
    depends_on:
      postgres: {{condition: service_healthy}}
    environment:
      SAGA_ADMIN_URL: "postgresql://postgres:{{password}}@postgres/postgres"
      POSTGRES_PASSWORD: ${{POSTGRES_PASSWORD:-postgres}}
"""

TAIL = """
volumes:
  kafka:
  postgres:

networks:
  default:
    name: ${SAGA_SYSTEM:-saga}
"""


def compose(stacks: Sequence[Stack], image: str) -> str:
    """Return a docker-compose.yml, in which SAGA_IMAGE takes the place of `image`.

    Raises `StackError` for a database that would be PostgreSQL's own.
    """
    for stack in stacks:
        check_name(stack.database)
    passwords = _passwords(stacks)
    parts = [
        HEAD,
        *_variables(stacks, image, passwords),
        "\n",
        SHARED.format(image=image, broker=BROKER, database=DATABASE),
    ]
    parts += [f"      {name}: {value}\n" for name, value in passwords.items()]
    for stack in stacks:
        parts += [_service(stack, entry) for entry in stack.entries]
    parts += [_service(stack, None) for stack in stacks if stack.adapter is not None]
    return "".join([*parts, TAIL])


def text(value: str) -> str:
    """Return a YAML scalar that Compose reads as this text; `$` begins a variable with it."""
    quoted = json.dumps(value.replace("$", "$$"), ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _variables(stacks: Sequence[Stack], image: str, passwords: dict[str, str]) -> Iterator[str]:
    optional = {
        "SAGA_SYSTEM": "${SAGA_SYSTEM:-saga}",
        "SAGA_IMAGE": f"${{SAGA_IMAGE:-{image}}}",
        "SAGA_LOG_LEVEL": "${SAGA_LOG_LEVEL:-INFO}",
        "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:-postgres}",
        **passwords,
    }
    for name, value in optional.items():
        yield f"#   {name}={value.removeprefix(f'${{{name}:-').removesuffix('}')}\n"
    resources = [stack.resources(name) for stack in stacks for name in (None, *stack.entries)]
    for secret in sorted({secret for given in resources for secret in given.secrets}):
        yield f"#   {secret}= (a secret, and needed)\n"


def _passwords(stacks: Sequence[Stack]) -> dict[str, str]:
    """Return the variables of the databases' passwords, as `saga.runtime.secrets` names them."""
    names = dict.fromkeys(stack.database for stack in stacks)
    return {_variable(name): f"${{{_variable(name)}:-{name}}}" for name in names}


def _variable(database: str) -> str:
    return f"{database.upper()}_DATABASE_PASSWORD"


def _service(stack: Stack, function: str | None) -> str:
    name = stack.service if function is None else f"{stack.service}.{function}"
    resources = stack.resources(function)
    key = f"{name}-http" if function is None else name
    lines = [f"\n  {key}:", "    <<: *hosted", f"    command: [run, {_word(name)}]"]
    if function is not None and stack.entries[function].replicas != 1:
        lines += [f"    scale: {stack.entries[function].replicas}"]
    lines += [f"    mem_limit: {resources.memory}"]
    if resources.cpu is not None:
        lines += [f"    cpus: {resources.cpu:g}"]
    if function is None:
        lines += [f'    ports: ["127.0.0.1:{stack.port}:{stack.port}"]']
    lines += ["    environment:", "      <<: *settings"]
    lines += [f"      {_word(key)}: {value}" for key, value in _environment(stack, function)]
    lines += ["    labels:", f"      <<: *{'adapter' if function is None else 'function'}-labels"]
    lines += [f"      saga.stack: {_word(stack.service)}", f"      saga.name: {_word(name)}"]
    return "\n".join([*lines, ""])


def _environment(stack: Stack, function: str | None) -> list[tuple[str, str]]:
    """List what a container's environment holds besides the settings that all have."""
    resources = stack.resources(function)
    own = {name: text(value) for name, value in resources.environment.items()}
    own |= _passwords([stack])
    own |= {
        name: f"${{{name}:?secret {name} is not set; export it or write it into .env}}"
        for name in resources.secrets
    }
    return list(own.items())


def _word(name: str) -> str:
    """Return a name as a YAML scalar, in quotes if it needs some."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name) and name.lower() not in NO_TEXT
    return name if plain else text(name)
