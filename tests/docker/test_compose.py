"""docker-compose.yml as it stands, on a Docker engine: `up -d`, crashes, `restart`, `down`.

By Compose 2, as `docker compose`; test_deploy.py takes `docker-compose`, which may be Compose 1.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from uuid_utils.compat import uuid7

from saga.runtime.deploy.compose import compose
from saga.runtime.deploy.target import DEPLOYED
from saga.runtime.system.stack import Stack
from support.images import STAND_INS
from support.network_gone import network_gone

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SAGA = Path(sys.executable).with_name("saga")
PORTS = {"user": 8000, "product": 8001, "order": 8002, "orchestrator": 8003}
TIMEOUT = 90.0  # seconds
USER = "10001"  # of the image
ENDS = ("COMPLETED", "COMPENSATED", "FAILED")

# What a URL, a shell and Compose itself would take for something else.
PASSWORDS = {
    "POSTGRES_PASSWORD": "p@st/gr:es?%41#&$$",
    "ORDER_DATABASE_PASSWORD": "or der@/:%?#&{service}",
}


@dataclass
class Project:
    """A project of Compose's, with the adapters' clients."""

    name: str
    folder: Path
    engine: Any
    until: Callable[..., Any]

    def compose(self, *arguments: str, file: Path = ROOT / "docker-compose.yml") -> str:
        """Run `docker compose`, with the variables of .env and none of the tests' own."""
        env = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_HOST") if key in os.environ}
        command = ["docker", "compose", "--file", str(file), "--project-name", self.name]
        command += ["--env-file", str(self.folder / ".env")]
        done = subprocess.run([*command, *arguments], env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def down(self, *arguments: str) -> None:
        with network_gone(self.engine, self.name):
            self.compose("down", *arguments)
        assert self.containers() == {}

    def saga(self, *arguments: str) -> str:
        """Run our command with the same variables."""
        lines = (self.folder / ".env").read_text().splitlines()
        variables = {key: value[1:-1] for key, _, value in (line.partition("=") for line in lines)}
        done = subprocess.run(
            [SAGA, *arguments, "--target", "docker"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def write_variables(self, **changed: str) -> None:
        values = {"SAGA_SYSTEM": self.name, **STAND_INS, **PASSWORDS, **changed}
        (self.folder / ".env").write_text("".join(f"{k}='{v}'\n" for k, v in values.items()))

    def containers(self) -> dict[str, Any]:
        label = f"com.docker.compose.project={self.name}"
        found = self.engine.containers.list(all=True, filters={"label": label})
        return {each.labels["com.docker.compose.service"]: each for each in found}

    def hosted(self) -> dict[str, Any]:
        """Return the containers of functions, sagas and adapters."""
        return {k: c for k, c in self.containers().items() if c.labels.get("saga.kind") in DEPLOYED}

    def unwell(self) -> dict[str, str]:
        """Return the states of those containers that are not what they should be."""
        states = {name: state_of(container) for name, container in self.containers().items()}
        if states.pop("create-databases") != "exited 0":
            return {"create-databases": "has not done its work"}
        return {name: state for name, state in states.items() if state != "running healthy"}

    def gets_well(self) -> None:
        self.until(lambda: not self.unwell(), "all containers are healthy", TIMEOUT)

    def http(self, method: str, service: str, path: str, **options: Any) -> Any:
        """Send a request, and again as long as the service is away; return what it answers."""
        url = f"http://127.0.0.1:{PORTS[service]}{path}"

        def answer() -> httpx.Response | None:
            try:
                found = httpx.request(method, url, timeout=20, verify=False, **options)
            except httpx.TransportError:
                return None
            return None if found.status_code >= 500 else found

        found = self.until(answer, f"{method} {url} is answered", TIMEOUT)
        assert not found.is_error, found.text
        return found.json()

    def make_user(self, balance: str = "100.00") -> int:
        body = {"name": "Ada", "email": f"{uuid7()}@example.org", "balance": balance}
        return int(self.http("POST", "user", "/users", json=body)["id"])

    def make_product(self, stock: int = 10) -> int:
        body = {"name": "Lamp", "price": "10.00", "stock": stock}
        return int(self.http("POST", "product", "/products", json=body)["id"])

    def balance_of(self, user: int) -> Decimal:
        return Decimal(self.http("GET", "user", f"/users/{user}")["balance"])

    def order(self, user: int, product: int) -> dict[str, Any]:
        """Place an order and return its saga once that has ended."""
        body = {"user_id": user, "product_id": product, "quantity": 1}
        headers = {"Idempotency-Key": str(uuid7()), "Prefer": "wait=10"}
        accepted = self.http("POST", "orchestrator", "/orders", json=body, headers=headers)
        saga: dict[str, Any] = {}

        def has_ended() -> bool:
            saga.update(self.http("GET", "orchestrator", f"/sagas/{accepted['saga_id']}"))
            return saga["status"] in ENDS

        self.until(has_ended, f"saga {accepted['saga_id']} ends", TIMEOUT)
        return saga

    def an_order_completes(self) -> None:
        assert self.order(self.make_user(), self.make_product())["status"] == "COMPLETED"


def state_of(container: Any) -> str:
    state = container.attrs["State"]
    if state["Status"] == "exited":
        return f"exited {state['ExitCode']}"
    return f"{state['Status']} {state.get('Health', {}).get('Status')}"


def check_ports() -> None:
    for port in PORTS.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                pytest.fail(f"port {port}, which docker-compose.yml publishes, is taken: {error}")


@pytest.fixture(scope="module")
def project(engine, until, tmp_path_factory) -> Iterator[Project]:
    """The whole system, started by `docker compose up -d`."""
    check_ports()
    name = f"saga-test-{secrets.token_hex(4)}"
    found = Project(name, tmp_path_factory.mktemp("compose"), engine, until)
    found.write_variables()
    began = time.monotonic()
    try:
        found.compose("up", "-d")
        told = found.saga("demo")  # which waits for what it needs
        assert "Ada had 100.00 and has 60.02." in told
        print(f"up -d to the end of the demo: {time.monotonic() - began:.1f} s\n{told}")  # noqa: T201
        yield found
    finally:
        found.down("--volumes", "--timeout", "5")


def test_an_order_completes(project) -> None:
    user, product = project.make_user("25.00"), project.make_product(3)
    assert project.order(user, product)["status"] == "COMPLETED"
    assert project.balance_of(user) == Decimal("15.00")


def test_an_order_without_money_or_stock_is_undone(project) -> None:
    poor, rich = project.make_user("5.00"), project.make_user()
    plenty, none = project.make_product(), project.make_product(0)
    for user, product, code in [
        (poor, plenty, "insufficient_funds"),
        (rich, none, "insufficient_stock"),
    ]:
        saga = project.order(user, product)
        assert (saga["status"], saga["failure"]["code"]) == ("COMPENSATED", code)
    assert (project.balance_of(poor), project.balance_of(rich)) == (Decimal(5), Decimal(100))


def test_all_containers_become_healthy(project) -> None:
    project.gets_well()
    assert len(project.hosted()) == 12


def test_a_second_up_changes_nothing(project) -> None:
    before = {name: container.id for name, container in project.hosted().items()}
    project.compose("up", "-d")
    assert {name: container.id for name, container in project.hosted().items()} == before


def test_data_is_in_volumes_with_names(project) -> None:
    """Others would stay behind, one more with each `down`."""
    mounts = [m for container in project.containers().values() for m in container.attrs["Mounts"]]
    names = {mount.get("Name", mount["Destination"]) for mount in mounts}
    assert names == {f"{project.name}_kafka", f"{project.name}_postgres"}


def test_what_a_container_may_do_is_little(project) -> None:
    script = """
import pathlib, os
status = dict(line.split(":", 1) for line in open("/proc/1/status"))
print(os.getuid(), int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"])
for folder in ("/", "/code", "/opt/saga", "/etc"):
    try:
        pathlib.Path(folder, "x").touch()
        print("wrote to", folder)
    except OSError:
        pass
pathlib.Path("/tmp/x").touch()
"""
    for name, container in project.hosted().items():
        done = container.exec_run(["python", "-c", script])
        assert (done.exit_code, done.output.decode().split()) == (0, [USER, "0", "0", "1"]), name


def test_a_container_knows_the_password_of_its_own_database_alone(project) -> None:
    for name, container in project.hosted().items():
        environment = dict(entry.split("=", 1) for entry in container.attrs["Config"]["Env"])
        service = container.labels["saga.stack"]
        passwords = {key for key in environment if "PASSWORD" in key}
        assert passwords == {f"{service.upper()}_DATABASE_PASSWORD"}, name
        if service != "order":
            assert PASSWORDS["ORDER_DATABASE_PASSWORD"] not in environment.values()


def test_metrics_of_a_container_are_for_its_network_alone(project) -> None:
    """A function's, and a saga's with its database; all groups are told by their members."""
    script = """
import sys, urllib.request
print(urllib.request.urlopen(f"http://{sys.argv[1]}:9464/metrics", timeout=30).read().decode())
"""
    containers = project.containers()
    for name, known in (
        ("order.create_order", 'saga_commands_total{function="order.create_order"'),
        ("orchestrator.place_order", 'saga_sagas{saga="place-order",status="COMPLETED"}'),
    ):
        done = containers["user-http"].exec_run(["python", "-c", script, name])
        text = done.output.decode()
        assert known in text
        assert f'kafka_consumergroup_members{{consumergroup="{name}"}} 1.0' in text
        assert not containers[name].ports


def test_console_tells_what_the_broker_knows_and_who_knows_the_rest(project, until) -> None:
    url = f"http://127.0.0.1:{PORTS['orchestrator']}/console/functions/order.create_order"

    def page() -> str:
        text = httpx.get(url, timeout=20, verify=False).text
        return text if "<dt>Members</dt><dd><span>1</span>" in text else ""

    text = until(page, "the broker has told the members", TIMEOUT)
    assert "<dt>Lag</dt><dd><span>0</span>" in text
    assert '<dt>Restarts</dt><dd><span class="unknown">unknown</span>' in text
    assert "docker-compose logs -f order.create_order" in text


def test_a_role_enters_its_own_database_alone(project) -> None:
    script = """
import psycopg
from saga.runtime.settings import Settings
url = Settings().database_url("order")
for database in ("order", "product", "user", "orchestrator"):
    try:
        psycopg.connect(url, dbname=database).close()
        print(database, "let in")
    except psycopg.OperationalError as error:
        print(database, "permission denied" in str(error))
try:
    psycopg.connect(url, password="order")
except psycopg.OperationalError as error:
    print("password", "authentication failed" in str(error))
"""
    done = project.containers()["order-http"].exec_run(["python", "-c", script])
    assert done.output.decode().splitlines() == [
        "order let in",
        "product True",
        "user True",
        "orchestrator True",
        "password True",
    ]


def test_passwords_are_in_no_log(project) -> None:
    for name, container in project.containers().items():
        log = container.logs().decode(errors="replace")
        assert not any(password in log for password in PASSWORDS.values()), name


@pytest.mark.parametrize(
    "service", ["order.create_order", "orchestrator.place_order", "user-http", "kafka", "postgres"]
)
def test_a_killed_process_is_started_again(project, until, service) -> None:
    container = project.containers()[service]
    restarts, process = container.attrs["RestartCount"], container.attrs["State"]["Pid"]
    os.kill(process, signal.SIGKILL)

    def has_restarted() -> bool:
        container.reload()
        return bool(
            container.attrs["RestartCount"] > restarts
            and container.attrs["State"]["Pid"] not in (0, process)
        )

    until(has_restarted, f"{service} is started again", TIMEOUT)
    project.an_order_completes()
    project.gets_well()


def test_orders_complete_after_a_restart(project) -> None:
    user = project.make_user("70.00")
    project.compose("restart")
    assert project.balance_of(user) == Decimal(70)
    project.an_order_completes()
    project.gets_well()


def test_data_outlives_the_containers(project) -> None:
    user, product = project.make_user("30.00"), project.make_product()
    saga = project.order(user, product)
    project.compose("stop")
    assert {state_of(container) for container in project.hosted().values()} == {"exited 0"}
    project.down()
    project.compose("up", "-d")
    assert project.http("GET", "orchestrator", f"/sagas/{saga['saga_id']}")["status"] == "COMPLETED"
    assert project.balance_of(user) == Decimal(20)
    assert project.order(user, product)["status"] == "COMPLETED"
    assert project.balance_of(user) == Decimal(10)


def test_a_changed_password_takes_effect(project) -> None:
    user, product = project.make_user(), project.make_product()
    project.write_variables(ORDER_DATABASE_PASSWORD="another one")
    project.compose("up", "-d")
    assert project.order(user, product)["status"] == "COMPLETED"
    environment = project.containers()["order-http"].attrs["Config"]["Env"]
    assert "ORDER_DATABASE_PASSWORD=another one" in environment


def test_a_wrong_password_of_the_administrator_is_one_line(project) -> None:
    """As after POSTGRES_PASSWORD was changed, which counts at the first start only."""
    container = project.containers()["create-databases"]
    environment = dict(entry.split("=", 1) for entry in container.attrs["Config"]["Env"])
    log = project.engine.containers.run(
        container.image.id,
        ["-c", "saga create-databases || echo code $?"],
        entrypoint="sh",
        environment={**environment, "POSTGRES_PASSWORD": "wrong"},
        network=project.name,
        remove=True,
        stderr=True,
    )
    said, code = log.decode().splitlines()
    assert said.startswith("saga: PostgreSQL: connection failed: ")
    assert said.endswith('FATAL:  password authentication failed for user "postgres"')
    assert code == "code 1"


def test_odd_values_reach_a_container_as_they_are(project, tmp_path) -> None:
    odd = {
        "DOLLARS": "$HOME ${A:-b} $$",
        "QUOTES": "'\"\\ \t\n",
        "UNICODE": "é😀\u2028",
        "NO": "on",
    }
    stack = {
        "service": "on",
        "package": "shop",
        "database": "shop",
        "environment": odd,
        "secrets": ["POSTGRES_PASSWORD"],
        "functions": {"wrap": {"replicas": 2, "cpu": 0.5}},
    }
    file = tmp_path / "docker-compose.yml"
    file.write_text(compose([Stack.model_validate(stack)], "saga-functions:test"))
    read = yaml.safe_load(project.compose("config", file=file))["services"]["on.wrap"]
    environment = {k: str(v).replace("$$", "$") for k, v in read["environment"].items()}
    assert odd.items() <= environment.items()
    assert environment["POSTGRES_PASSWORD"] == PASSWORDS["POSTGRES_PASSWORD"]
    assert (read["scale"], read["cpus"]) == (2, 0.5)


def test_saga_deploy_takes_a_function_over_and_rollback_gives_it_back(project, tmp_path) -> None:
    def saga(*arguments: str) -> str:
        return project.saga(*arguments, "--data", str(tmp_path))

    def running() -> list[str]:
        rows = json.loads(saga("ps", "--json"))
        return [row["version"] for row in rows if row["deployed"] == "order.create_order"]

    def ids() -> dict[str, str]:
        return {service: container.id for service, container in project.hosted().items()}

    before = ids()
    assert running() == ["image"]
    saga("deploy", "order.create_order")
    [version] = running()
    assert version != "image"
    project.an_order_completes()
    deployed = ids()
    assert deployed.keys() == before.keys()
    assert {name for name in before if before[name] != deployed[name]} == {"order.create_order"}
    project.compose("up", "-d")
    assert ids() == deployed, "it is the project's own now"
    container = project.hosted()["order.create_order"]
    assert container.name in project.compose("ps")
    assert "order.create_order" in project.compose("logs", "order.create_order")
    saga("rollback", "order.create_order")
    assert running() == ["image"]
    project.an_order_completes()
    saga("remove", "order.create_order")
    project.compose("up", "-d")
    project.an_order_completes()


def test_down_takes_what_was_deployed_too(project, tmp_path) -> None:
    """The last one: the project is gone after it."""
    volumes = {volume.id for volume in project.engine.volumes.list()}
    project.saga("deploy", "order", "product.reserve_product", "--data", str(tmp_path))
    project.down()
    label = {"label": f"saga.system={project.name}"}
    assert project.engine.containers.list(all=True, filters=label) == []
    # Compose leaves volumes, of which those are ours that hold code and secrets.
    assert len(project.engine.volumes.list(filters=label)) == 4
    project.saga("down")
    assert project.engine.volumes.list(filters=label) == []
    assert volumes <= {volume.id for volume in project.engine.volumes.list()}
