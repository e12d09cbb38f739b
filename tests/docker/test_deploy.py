"""`saga deploy --target docker` on a real engine: under load, bad versions, scale, kills."""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from uuid_utils.compat import uuid7

from saga.runtime.deploy.target import DEPLOYED
from support.images import STAND_INS
from support.network_gone import network_gone
from support.waiting import DEADLINE, given_up, wait_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
CREATE, RESERVE = "order.create_order", "product.reserve_product"
SECRET = "hunter2-of-the-till"
CREDENTIALS = {
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
    "region_name": "us-east-1",
}


class Deployed:
    """The order system in containers, with the order service's code in a folder of the test's."""

    def __init__(self, system: Any, engine: Any, project: Path) -> None:
        self.system = system
        self.engine = engine
        self.project = project

    def compose(self, *arguments: str) -> None:
        """Run Compose 1, where that is installed; test_compose.py takes Compose 2."""
        name = self.system.environment["SAGA_SYSTEM"]
        command = ["docker-compose", "--project-name", name]
        command += ["--file", str(ROOT / "docker-compose.yml"), *arguments]
        environment = {**os.environ, **STAND_INS, "SAGA_SYSTEM": name}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"docker-compose {' '.join(arguments)}: {done.stderr}"

    def down(self, *arguments: str) -> None:
        with network_gone(self.engine, self.system.environment["SAGA_SYSTEM"]):
            self.compose("down", *arguments)
        assert self.containers() == []

    def saga(self, *arguments: str, check: bool = True, **environment: str) -> Any:
        before = dict(self.system.environment)
        self.system.environment.update(environment)
        try:
            return self.system.saga(*arguments, check=check, timeout=DEADLINE)
        finally:
            self.system.environment.clear()
            self.system.environment.update(before)

    def refused(self, *arguments: str, **environment: str) -> str:
        """Run a command that must fail, and return its error."""
        done = self.saga(*arguments, check=False, **environment)
        assert done.returncode == 1, done.stdout + done.stderr
        assert 'Traceback (most recent call last):\n  File "' + str(ROOT) not in done.stderr
        return str(done.stderr)

    def containers(self, name: str | None = None) -> list[Any]:
        label = f"saga.system={self.system.environment['SAGA_SYSTEM']}"
        found = self.engine.containers.list(all=True, filters={"label": label})
        return [each for each in found if name is None or each.labels["saga.name"] == name]

    def ids(self) -> dict[str, str]:
        return {each.name: each.id for each in self.containers()}

    def versions(self, name: str) -> set[str]:
        return {
            row["version"] for row in self.system.processes().values() if row["deployed"] == name
        }

    def edit(self, old: str, new: str) -> None:
        """Change the code of create_order."""
        path = self.project / "shop/order/create_order.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def an_order_completes(self) -> None:
        system = self.system
        saga = system.ended(system.order(system.make_user(), system.make_product())["saga_id"])
        assert saga["status"] == "COMPLETED"


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """An S3 bucket on loopback, and the environment that leads to it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=url, **CREDENTIALS).create_bucket(Bucket="artifacts")
    yield {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    server.stop()


def copy_order_service(folder: Path) -> None:
    """Copy the order service's code to a package that the tests may change."""
    shutil.copytree(ROOT / "functions/order", folder / "shop/order")
    for path in (folder / "shop/order").glob("*.py"):
        path.write_text(path.read_text().replace("saga.functions.order", "shop.order"))


@pytest.fixture(scope="module")
def deployed(
    engine: Any, make_system: Callable[..., Any], bucket: dict[str, str], tmp_path_factory: Any
) -> Iterator[Deployed]:
    """A broker and a database in containers, and all functions, sagas and adapters beside them."""
    name, project = f"saga-test-{uuid7().hex[-8:]}", tmp_path_factory.mktemp("project")
    copy_order_service(project)
    system = make_system()
    stack = system.stacks / "order.toml"
    stack.write_text(
        stack.read_text()
        .replace('package = "saga.functions.order"', 'package = "shop.order"')
        .replace(
            "[functions.create_order]",
            '[functions.create_order]\nmemory = "300m"\ncpu = 1.5\nsecrets = ["TILL_KEY"]\n'
            'environment = { CURRENCY = "EUR$" }',
        )
    )
    system.environment.update(
        {
            **bucket,
            "PYTHONPATH": str(project),
            "SAGA_SYSTEM": name,
            "SAGA_TARGET": "docker",
            "SAGA_ARTIFACTS": "s3://artifacts/orders",
            "TILL_KEY": SECRET,
        }
    )
    found = Deployed(system, engine, project)
    try:
        found.compose("up", "-d", "kafka", "postgres", "create-databases")
        [postgres] = [c for c in found.containers() if c.labels["saga.kind"] == "database"]
        [network] = postgres.attrs["NetworkSettings"]["Networks"].values()
        system.database_url = (
            f"postgresql://{{service}}:{{service}}@{network['IPAddress']}/{{service}}"
        )
        found.saga("deploy", "--timeout", "120")
        yield found
    finally:
        found.saga("down", check=False)
        found.down("--volumes", "--timeout", "5")


def test_whole_system_runs_in_containers(deployed: Deployed) -> None:
    deployed.an_order_completes()
    rows = deployed.system.processes().values()
    assert {row["state"] for row in rows} == {"ready"}
    kinds = [row["kind"] for row in rows]
    assert [kinds.count(kind) for kind in DEPLOYED] == [7, 1, 4]  # functions, saga, adapters


def test_second_deploy_of_the_same_code_changes_nothing(deployed: Deployed) -> None:
    before = deployed.ids()
    assert "Nothing to do" in deployed.saga("deploy").stdout
    assert deployed.ids() == before


def test_container_gets_what_its_stack_file_says_and_may_do_little(deployed: Deployed) -> None:
    [container] = deployed.containers(CREATE)
    host, config = container.attrs["HostConfig"], container.attrs["Config"]
    assert (host["Memory"], host["NanoCpus"]) == (300 * 1024**2, 1_500_000_000)
    assert "CURRENCY=EUR$" in config["Env"]
    assert host["ReadonlyRootfs"]
    assert (host["CapDrop"], host["SecurityOpt"]) == (["ALL"], ["no-new-privileges"])
    assert not host["PortBindings"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert not [mount for mount in container.attrs["Mounts"] if mount["Type"] == "bind"]
    for command in ("touch /code/x", "touch /opt/x", "sh -c 'echo x > /run/secrets/TILL_KEY'"):
        assert container.exec_run(command).exit_code != 0, command
    assert container.exec_run("id -u").output.strip() == b"10001"
    labels = {"saga.stack": "order", "saga.kind": "function", "saga.name": CREATE}
    assert labels.items() <= container.labels.items()


def test_adapters_are_published_on_loopback_alone(deployed: Deployed) -> None:
    for service, port in deployed.system.ports.items():
        [container] = deployed.containers(service)
        [[binding]] = container.attrs["HostConfig"]["PortBindings"].values()
        assert binding == {"HostIp": "127.0.0.1", "HostPort": str(port)}


def test_secret_is_with_its_function_and_nowhere_else(deployed: Deployed) -> None:
    [container] = deployed.containers(CREATE)
    assert container.exec_run("cat /run/secrets/TILL_KEY").output.decode() == SECRET
    [other] = deployed.containers(RESERVE)
    assert other.exec_run("cat /run/secrets/TILL_KEY").exit_code != 0
    for each in deployed.containers():
        if each.labels["saga.kind"] in DEPLOYED:
            assert SECRET not in json.dumps(each.attrs)
            assert "postgresql://" not in json.dumps(each.attrs)
    assert SECRET not in deployed.saga("ps", "--json").stdout
    assert SECRET not in deployed.saga("logs").stdout


def test_missing_secret_refuses_a_deploy_before_anything_starts(deployed: Deployed) -> None:
    before = deployed.ids()
    del deployed.system.environment["TILL_KEY"]
    try:
        deployed.edit("OrderCreated(", "OrderCreated (")
        assert "no secret TILL_KEY" in deployed.refused("deploy", CREATE)
        assert deployed.ids() == before
    finally:
        deployed.system.environment["TILL_KEY"] = SECRET
        deployed.edit("OrderCreated (", "OrderCreated(")


def test_changed_function_is_deployed_under_load_without_loss(
    deployed: Deployed, traffic: Any
) -> None:
    others = {key: value for key, value in deployed.ids().items() if CREATE not in key}
    [before] = deployed.versions(CREATE)
    [old] = deployed.containers(CREATE)
    deployed.edit(
        "    insert_order(",
        '    import os\n    assert os.environ["TILL_KEY"].startswith("hunter2")\n    insert_order(',
    )
    with traffic(deployed.system, clients=24, pause=0.12) as load:
        load.flows(200)
        began, orders = time.monotonic(), load.accepted
        deployed.saga("deploy", CREATE)
        took = time.monotonic() - began
        rate = (load.accepted - orders) / took
        load.flows(200)
    print(f"deployed in {took:.1f} s under {rate:.0f} orders/s")  # noqa: T201
    assert load.refused == []
    assert load.violations(120) == []
    assert deployed.versions(CREATE) != {before}
    assert others.items() <= deployed.ids().items()
    assert old.id not in deployed.ids().values()


def test_version_that_does_not_start_is_taken_down_and_the_old_one_stays(
    deployed: Deployed, traffic: Any
) -> None:
    before = deployed.ids()
    deployed.edit("@function\n", 'raise RuntimeError("no such till")\n\n\n@function\n')
    try:
        with traffic(deployed.system) as load:
            load.flows(20)
            told = deployed.refused("deploy", CREATE)
            load.flows(20)
        assert "has ended with exit code 1. Its last lines:" in told
        assert "RuntimeError: no such till" in told
        assert deployed.ids() == before
        assert load.violations(60) == []
    finally:
        deployed.edit('raise RuntimeError("no such till")\n\n\n', "")


def test_version_that_never_gets_healthy_is_taken_down(deployed: Deployed) -> None:
    before = deployed.ids()
    hang = 'print("hanging")\nimport time\n\ntime.sleep(600)\n\n\n'
    deployed.edit("@function\n", f"{hang}@function\n")
    try:
        deploy = partial(deployed.refused, "deploy", CREATE, "--timeout")
        told, after = given_up(deploy, "hanging", 6)
        assert f"is not ready after {after} s" in told
        assert "hanging" in told
        assert deployed.ids() == before
    finally:
        deployed.edit(hang, "")


def test_rollback_brings_the_version_before_back(deployed: Deployed) -> None:
    [running] = deployed.versions(CREATE)
    deployed.saga("rollback", CREATE)
    [older] = deployed.versions(CREATE)
    assert older != running
    [container] = deployed.containers(CREATE)
    code = container.exec_run("cat /code/shop/order/create_order.py").output
    assert b"TILL_KEY" not in code
    deployed.an_order_completes()
    deployed.saga("rollback", CREATE, running[:8])
    assert deployed.versions(CREATE) == {running}
    listed = json.loads(deployed.saga("deployments", CREATE, "--json").stdout)
    assert [row["version"] for row in listed[:2]] == [running, older]


def test_rollback_runs_the_image_that_the_version_ran_on(deployed: Deployed) -> None:
    [container] = deployed.containers(CREATE)
    old, name = container.attrs["Image"], f"{deployed.system.environment['SAGA_SYSTEM']}-next"
    new = container.commit(repository=name)
    try:
        deployed.edit("OrderCreated(", "OrderCreated (")
        deployed.saga("deploy", CREATE, SAGA_IMAGE=name)
        images = [each.attrs["Image"] for each in deployed.containers(CREATE)]
        deployed.saga("rollback", CREATE, SAGA_IMAGE=name)
        images += [each.attrs["Image"] for each in deployed.containers(CREATE)]
    finally:
        deployed.edit("OrderCreated (", "OrderCreated(")
        deployed.engine.images.remove(name)
    assert images == [new.id, old]
    listed = json.loads(deployed.saga("deployments", CREATE, "--json").stdout)
    assert [row["image"] for row in listed[:2]] == [old, new.id]


def test_missing_artifact_leaves_the_running_version(deployed: Deployed, bucket: Any) -> None:
    s3 = boto3.client("s3", endpoint_url=bucket["AWS_ENDPOINT_URL"], **CREDENTIALS)
    listed = json.loads(deployed.saga("deployments", CREATE, "--json").stdout)
    before, replaced = deployed.ids(), listed[0]["replaced"]
    key = f"orders/artifacts/{replaced}.zip"
    artifact = s3.get_object(Bucket="artifacts", Key=key)["Body"].read()
    s3.put_object(Bucket="artifacts", Key=key, Body=artifact[:-1] + b"x")
    assert "is damaged" in deployed.refused("rollback", CREATE)
    s3.delete_object(Bucket="artifacts", Key=key)
    assert "is not in the store" in deployed.refused("rollback", CREATE)
    s3.put_object(Bucket="artifacts", Key=key, Body=artifact)
    assert deployed.ids() == before


def test_scaling_up_and_down_under_load_loses_nothing(deployed: Deployed, traffic: Any) -> None:
    with traffic(deployed.system) as load:
        load.flows(20)
        deployed.saga("scale", f"{RESERVE}=3")
        assert len(deployed.containers(RESERVE)) == 3
        load.flows(50)
        deployed.saga("scale", f"{RESERVE}=1")
        assert len(deployed.containers(RESERVE)) == 1
        load.flows(20)
    assert load.violations(60) == []


def test_killed_containers_are_started_again_and_nothing_is_lost(
    deployed: Deployed, traffic: Any, until: Callable[..., Any]
) -> None:
    names = [CREATE, RESERVE, "user.process_payment", "orchestrator.place_order", "orchestrator"]
    with traffic(deployed.system) as load:
        for name in names:
            load.flows(10)
            [container] = deployed.containers(name)
            os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)
            restarted = lambda name=name: deployed.containers(name)[0].attrs["RestartCount"] == 1  # noqa: E731
            until(restarted, f"{name} is started again", 60)
        load.flows(20)
    assert load.violations(120) == []


def test_removed_functions_messages_wait_until_it_is_deployed_again(
    deployed: Deployed, until: Callable[..., Any]
) -> None:
    deployed.saga("remove", RESERVE)
    assert deployed.containers(RESERVE) == []
    user, product = deployed.system.make_user(), deployed.system.make_product()
    saga = deployed.system.order(user, product, wait=0)

    def reserving() -> bool:
        return deployed.system.saga_of(saga["saga_id"])["steps"][1]["status"] == "RUNNING"

    until(reserving, "the order waits for its reservation")
    deployed.saga("deploy", RESERVE)
    assert deployed.system.ended(saga["saga_id"])["status"] == "COMPLETED"


def test_invoke_sends_one_command_and_prints_its_event(deployed: Deployed) -> None:
    product = deployed.system.make_product(stock=3)
    command = {"order_id": str(uuid7()), "product_id": product, "quantity": 2}
    done = deployed.saga("invoke", RESERVE, "--body", json.dumps(command))
    assert json.loads(done.stdout)["type"] == "ProductReserved"
    again = {**command, "order_id": str(uuid7())}
    refused = deployed.saga("invoke", RESERVE, "--body", json.dumps(again), check=False)
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["data"]["code"] == "insufficient_stock"
    assert "quantity: Field required" in deployed.refused(
        "invoke", RESERVE, "--body", '{"order_id": "1", "product_id": 1}'
    )


def test_logs_of_a_function_are_printed_and_followed(deployed: Deployed) -> None:
    assert "order.create_order starts" in deployed.saga("logs", CREATE).stdout
    with subprocess.Popen(
        [Path(sys.executable).with_name("saga"), "logs", RESERVE, "--follow"],
        env={
            **os.environ,
            "SAGA_STACKS": str(deployed.system.stacks),
            **deployed.system.environment,
        },
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any("starts" in line for line in process.stdout)
        command = {"order_id": str(uuid7()), "product_id": 1_000_000, "quantity": 1}
        deployed.saga("invoke", RESERVE, "--body", json.dumps(command), check=False)
        # A line that came later; without it, the test's time-out ends this.
        assert any("product_not_found" in line for line in process.stdout)
        deployed.saga("scale", f"{RESERVE}=2")
        assert any(re.match(rf"{RESERVE}-\d+ \| .* starts", line) for line in process.stdout)
        deployed.saga("scale", f"{RESERVE}=1")
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 0


class Knocking:
    """A client that asks an adapter all the time, each time on a new connection."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/users"
        self._answers: list[tuple[float, float, bool]] = []  # begin, end, and whether it was 200
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._knock)

    def __enter__(self) -> "Knocking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _knock(self) -> None:
        while not self._stop.wait(0.005):
            begin = time.monotonic()
            try:
                ok = httpx.get(self._url, verify=False, timeout=DEADLINE).status_code == 200
            except httpx.TransportError:
                ok = False
            self._answers.append((begin, time.monotonic(), ok))

    def gap(self) -> float:
        """Return the seconds between the last good answer before the first bad one and the next."""
        bad = [number for number, (_, _, ok) in enumerate(self._answers) if not ok]
        if not bad:
            return 0.0
        return self._answers[bad[-1] + 1][1] - self._answers[bad[0] - 1][1]

    def answers(self, more: int) -> None:
        """Wait for so many good answers in a row."""
        before = len(self._answers)

        def came() -> bool:
            last = self._answers[before:][-more:]
            return len(last) == more and all(ok for _, _, ok in last)

        wait_until(came, f"{more} good answers")


def test_gap_of_a_replaced_adapter_is_short(deployed: Deployed) -> None:
    """The numbers in docs/deploying.md are what this prints."""
    stack = deployed.system.stacks / "user.toml"
    text, gaps = stack.read_text(), []
    for number in range(5):
        [before] = deployed.versions("user")
        other = f'\n[functions.refund_payment.environment]\nX = "{number}"\n'
        stack.write_text(text + other)
        with Knocking(deployed.system.ports["user"]) as client:
            client.answers(10)
            deployed.saga("deploy", "user")
            client.answers(10)
        assert deployed.versions("user") != {before}
        gaps.append(client.gap() * 1000)
    stack.write_text(text)
    told = ", ".join(f"{each:.0f}" for each in (min(gaps), statistics.median(gaps), max(gaps)))
    print(f"requests failed for so many ms (minimum, median, maximum): {told}")  # noqa: T201
    assert statistics.median(gaps) < 30_000, gaps  # on a machine that does other things, too


def test_version_of_an_adapter_that_fails_never_ends_the_old_one(deployed: Deployed) -> None:
    stack = deployed.system.stacks / "user.toml"
    text, before = stack.read_text(), deployed.ids()
    stack.write_text(text.replace("saga.http.user", "shop.wrong"))
    try:
        with Knocking(deployed.system.ports["user"]) as client:
            client.answers(10)
            (deployed.project / "shop/wrong.py").write_text("")
            assert "no attribute 'make_app'" in deployed.refused("deploy", "user")
            hanging = "import time\n\n\ndef make_app(_):\n    time.sleep(600)\n"
            (deployed.project / "shop/wrong.py").write_text(hanging)
            told = deployed.refused("deploy", "user", "--timeout", "4")
            assert "user-rehearsal is not ready after 4 s" in told
            client.answers(10)
        assert client.gap() == 0.0
    finally:
        stack.write_text(text)
    assert deployed.ids() == before


def test_rehearsal_of_a_deploy_that_was_killed_goes_with_the_next_one(
    deployed: Deployed, until: Callable[..., Any]
) -> None:
    stack = deployed.system.stacks / "user.toml"
    text = stack.read_text()
    stack.write_text(text.replace("saga.http.user", "shop.wrong"))
    (deployed.project / "shop/wrong.py").write_text("import time\n\ntime.sleep(600)\n")
    own = {"SAGA_DATA": str(deployed.system.data), "SAGA_STACKS": str(deployed.system.stacks)}
    command = [str(Path(sys.executable).with_name("saga")), "deploy", "user"]
    environment = {**os.environ, **own, **deployed.system.environment}
    rehearsal = f"{deployed.system.environment['SAGA_SYSTEM']}-user-rehearsal"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        until(lambda: rehearsal in deployed.ids(), "the rehearsal runs", 60)
        process.kill()
    stack.write_text(f"{text}\n# After a deploy that was killed.\n")
    deployed.saga("deploy", "user")
    assert rehearsal not in deployed.ids()
    assert len(deployed.containers("user")) == 1
    assert deployed.system.http("GET", "user", "/health").status_code == 200
    stack.write_text(text)


def test_foreign_container_with_our_name_is_not_touched(deployed: Deployed) -> None:
    name = f"{deployed.system.environment['SAGA_SYSTEM']}-product.release_product-2"
    image = deployed.containers(CREATE)[0].image
    foreign = deployed.engine.containers.create(image, name=name)
    before = deployed.ids()
    try:
        told = deployed.refused("scale", "product.release_product=2")
        assert f"there is a container {name} that is not of the system" in told
        assert deployed.ids() == before
        assert deployed.engine.containers.get(name).id == foreign.id
    finally:
        foreign.remove()


def test_taken_port_is_told_and_leaves_nothing_behind(deployed: Deployed) -> None:
    deployed.saga("remove", "product")
    before = deployed.ids()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", deployed.system.ports["product"]))
        taken.listen()
        assert "a port is taken" in deployed.refused("deploy", "product")
    assert deployed.ids() == before
    deployed.saga("deploy", "product")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"SAGA_IMAGE": "saga-functions:none"}, "image saga-functions:none is not on this engine"),
        ({"DOCKER_HOST": "unix:///nowhere.sock"}, "no Docker engine answers at unix:///nowhere"),
        ({"SAGA_ARTIFACTS": "s3://nothing/at-all"}, "the artifact store s3://nothing"),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    deployed: Deployed, environment: dict[str, str], told: str
) -> None:
    before = deployed.ids()
    deployed.edit("OrderCreated(", "OrderCreated (")
    try:
        error = deployed.refused("deploy", CREATE, **environment)
    finally:
        deployed.edit("OrderCreated (", "OrderCreated(")
    assert told in error
    assert re.fullmatch(r"saga: .*\n", error.replace("\n ", " "))
    assert deployed.ids() == before


def test_down_removes_all_of_the_system_and_nothing_else(deployed: Deployed) -> None:
    """The last but one: only the broker and the databases are left after it."""
    volumes = {v.id for v in deployed.engine.volumes.list()}
    used = {
        mount["Name"]
        for each in deployed.containers()
        if each.labels["saga.kind"] in DEPLOYED
        for mount in each.attrs["Mounts"]
        if mount["Type"] == "volume"
    }
    assert used
    deployed.saga("down")
    assert {each.labels["saga.kind"] for each in deployed.containers()} == {"broker", "database"}
    assert {v.id for v in deployed.engine.volumes.list()} == volumes - used


def test_compose_ends_what_was_deployed_beside_its_own(deployed: Deployed) -> None:
    """The last one: there is nothing left to test after it."""
    deployed.saga("deploy", CREATE)
    deployed.down("--remove-orphans")
