"""The docker-compose.yml that is rendered from stack files, and the one in the repository."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from saga.runtime.deploy.compose import compose
from saga.runtime.errors import StackError
from saga.runtime.kafka.jars import pinned_jars
from saga.runtime.settings import Settings
from saga.runtime.system.stack import Stack, read_stacks
from support.command import SAGA, run_saga
from support.images import STAND_INS
from support.waiting import DEADLINE

ROOT = Path(__file__).parents[4]
FILE = (ROOT / "docker-compose.yml").read_text()
SERVICES = {"user": 8000, "product": 8001, "order": 8002, "orchestrator": 8003}
FUNCTIONS = {
    "order.create_order",
    "order.complete_order",
    "order.cancel_order",
    "product.reserve_product",
    "product.release_product",
    "user.process_payment",
    "user.refund_payment",
}
SAGAS = {"orchestrator.place_order"}
ADAPTERS = {f"{service}-http": service for service in SERVICES}
HOSTED = sorted({*FUNCTIONS, *SAGAS, *ADAPTERS})


class UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping with a key twice, as Compose 2 does."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written = [key.value for key, _ in node.value]
        self.flatten_mapping(node)
        assert len(written) == len(set(written)), written
        return super().construct_mapping(node, deep)


def services_of(document: str) -> dict[str, dict[str, Any]]:
    return yaml.load(document, UniqueKeys)["services"]


def render(*stacks: Stack) -> dict[str, dict[str, Any]]:
    return services_of(compose(stacks, "saga-functions:test"))


def stack(service: str = "shop", **fields: Any) -> Stack:
    values = {"service": service, "package": "shop", "database": "shop", **fields}
    return Stack.model_validate(values)


COMMITTED = services_of(FILE)


def test_the_file_in_the_repository_is_what_the_command_prints() -> None:
    done = subprocess.run(
        [SAGA, "render", "compose"], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert done.stdout == FILE, "run: saga render compose --output docker-compose.yml"


def test_the_command_writes_a_file(tmp_path) -> None:
    output = tmp_path / "docker-compose.yml"
    done = run_saga(["render", "compose", "--output", str(output)], os.environ)
    assert (done.returncode, output.read_text()) == (0, FILE)


def test_a_file_that_cant_be_written_is_one_line(tmp_path) -> None:
    done = run_saga(["render", "compose", "--output", str(tmp_path)], os.environ)
    assert (done.returncode, done.stderr) == (1, f"saga: {tmp_path}: Is a directory\n")


def test_the_environment_of_the_machine_is_not_in_it(monkeypatch) -> None:
    monkeypatch.setenv("SAGA_IMAGE", "other:1")
    monkeypatch.setenv("SAGA_SYSTEM", "other")
    monkeypatch.setenv("ORDER_DATABASE_PASSWORD", "other")
    assert compose(read_stacks(ROOT / "stacks"), "saga-functions:0.1.0") == FILE


def test_it_has_all_functions_the_saga_four_adapters_and_what_they_need() -> None:
    assert set(COMMITTED) == {*HOSTED, "kafka", "postgres", "create-databases"}


def test_only_adapters_are_published_and_only_on_loopback() -> None:
    published = {
        name: service["ports"] for name, service in COMMITTED.items() if "ports" in service
    }
    assert published == {
        f"{service}-http": [f"127.0.0.1:{port}:{port}"] for service, port in SERVICES.items()
    }


@pytest.mark.parametrize("name", [*HOSTED, "create-databases"])
def test_a_container_of_ours_may_do_little(name) -> None:
    service = COMMITTED[name]
    assert service["read_only"] is True
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] == "256m"
    assert service["pids_limit"] > 0
    assert service["image"] == "${SAGA_IMAGE:-saga-functions:0.1.0}"
    assert service.keys().isdisjoint({"user", "privileged", "volumes", "network_mode", "cap_add"})


@pytest.mark.parametrize("name", sorted(COMMITTED))
def test_a_container_has_limits_and_a_policy(name) -> None:
    service = COMMITTED[name]
    policy = "on-failure:3" if name == "create-databases" else "unless-stopped"
    assert service["restart"] == policy
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["stop_grace_period"] == "30s"
    assert "mem_limit" in service


@pytest.mark.parametrize("name", HOSTED)
def test_a_function_waits_for_the_broker_and_its_database(name) -> None:
    assert COMMITTED[name]["depends_on"] == {
        "kafka": {"condition": "service_healthy"},
        "create-databases": {"condition": "service_completed_successfully"},
    }


@pytest.mark.parametrize("name", HOSTED)
def test_a_container_runs_and_is_labelled_as_what_it_is(name) -> None:
    short = ADAPTERS.get(name, name)
    assert COMMITTED[name]["command"] == ["run", short]
    assert COMMITTED[name]["labels"] == {
        "saga.system": "${SAGA_SYSTEM:-saga}",
        "saga.stack": short.partition(".")[0],
        "saga.kind": "saga" if name in SAGAS else "function" if name in FUNCTIONS else "adapter",
        "saga.name": short,
        "saga.version": "image",
    }


@pytest.mark.parametrize(("name", "kind"), [("kafka", "broker"), ("postgres", "database")])
def test_what_is_not_ours_is_labelled_too(name, kind) -> None:
    labels = {"saga.system": "${SAGA_SYSTEM:-saga}", "saga.kind": kind, "saga.name": name}
    assert COMMITTED[name]["labels"] == labels


def test_one_service_builds_the_image_and_all_others_wait_for_it() -> None:
    builders = [name for name, service in COMMITTED.items() if "build" in service]
    assert builders == ["create-databases"]
    assert all("create-databases" in COMMITTED[name]["depends_on"] for name in HOSTED)


@pytest.mark.parametrize("name", HOSTED)
def test_a_container_has_the_password_of_its_own_database_alone(name) -> None:
    service = ADAPTERS.get(name, name).partition(".")[0]
    environment = COMMITTED[name]["environment"]
    variable = f"{service.upper()}_DATABASE_PASSWORD"
    passwords = {key: value for key, value in environment.items() if "PASSWORD" in key}
    assert passwords == {variable: f"${{{variable}:-{service}}}"}


def test_each_container_serves_metrics_that_are_published_nowhere() -> None:
    default = Settings.model_fields["saga_metrics_port"].default
    for name in HOSTED:
        assert COMMITTED[name]["environment"]["SAGA_METRICS_PORT"] == (
            f"${{SAGA_METRICS_PORT:-{default}}}"
        )
    ports = [port for service in COMMITTED.values() for port in service.get("ports", [])]
    assert not [port for port in ports if str(default) in port]


def test_the_runtime_finds_its_database_with_what_it_is_given(monkeypatch) -> None:
    for key, value in COMMITTED["order.create_order"]["environment"].items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setenv("ORDER_DATABASE_PASSWORD", "p@ss/w:rd%")
    monkeypatch.setenv("SAGA_LOG_LEVEL", "INFO")
    monkeypatch.setenv("SAGA_METRICS_PORT", "9464")
    monkeypatch.setenv("SAGA_CONSOLE", "on")
    monkeypatch.setenv("SAGA_LOG_FORMAT", "text")
    monkeypatch.setenv("SAGA_ACCESS_LOG", "true")
    monkeypatch.setenv("KAFKA_PREFIX", "shop.")
    settings = Settings()
    assert settings.database_url("order") == "postgresql://order:p%40ss%2Fw%3Ard%25@postgres/order"
    assert settings.kafka_bootstrap_servers == "kafka:9092"


def test_databases_has_all_passwords() -> None:
    variables = {f"{service.upper()}_DATABASE_PASSWORD" for service in SERVICES}
    environment = COMMITTED["create-databases"]["environment"]
    assert set(environment) == variables | {"SAGA_ADMIN_URL", "POSTGRES_PASSWORD"}


def test_the_broker_is_the_one_that_is_tested() -> None:
    jars = [jar.coordinates.split(":") for jar in pinned_jars()]
    [version] = [version for _, name, version in jars if name.startswith("kafka_")]
    assert COMMITTED["kafka"]["image"] == f"${{KAFKA_IMAGE:-apache/kafka:{version}}}"


def test_stand_ins_of_images_have_names_of_their_own() -> None:
    script = (ROOT / "tests/docker/images").read_text()
    built = re.findall("^step .* stand_in (\\S+) ", script, re.MULTILINE)
    assert set(STAND_INS.values()) < set(built)
    assert all(name.startswith("saga-test/") for name in built)
    assert all(f"${{{variable}:-" in FILE for variable in STAND_INS)


def test_the_image_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert COMMITTED["create-databases"]["image"] == f"${{SAGA_IMAGE:-saga-functions:{version}}}"


def test_data_is_in_volumes() -> None:
    assert set(yaml.safe_load(FILE)["volumes"]) == {"kafka", "postgres"}
    assert COMMITTED["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"
    assert COMMITTED["kafka"]["volumes"] == ["kafka:/var/lib/kafka/data"]
    assert COMMITTED["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]


def test_the_head_names_every_variable() -> None:
    head = FILE[: FILE.index("\nx-")]
    for name in re.findall(r"\$\{(\w+)", FILE):
        assert re.search(rf"^#   {name}=", head, re.MULTILINE), name


# Odd stacks.


def test_a_function_is_given_what_its_stack_file_says() -> None:
    services = render(
        stack(
            memory="512m",
            cpu=2,
            environment={"PAPER": "red", "COLOUR": "a"},
            secrets=["SHOP_KEY"],
            adapter="shop.http",
            port=9000,
            functions={
                "wrap": {
                    "replicas": 3,
                    "memory": "1g",
                    "cpu": 0.5,
                    "environment": {"COLOUR": "b"},
                    "secrets": ["WRAP_KEY"],
                }
            },
        )
    )
    wrap, adapter = services["shop.wrap"], services["shop-http"]
    assert (wrap["scale"], wrap["mem_limit"], wrap["cpus"]) == (3, "1g", 0.5)
    assert wrap["environment"]["COLOUR"] == "b"
    assert wrap["environment"]["PAPER"] == "red"
    assert (
        wrap["environment"]["SHOP_KEY"]
        == "${SHOP_KEY:?secret SHOP_KEY is not set; export it or write it into .env}"
    )
    assert (
        wrap["environment"]["WRAP_KEY"]
        == "${WRAP_KEY:?secret WRAP_KEY is not set; export it or write it into .env}"
    )
    assert (adapter["mem_limit"], adapter["cpus"]) == ("512m", 2)
    assert adapter["environment"]["COLOUR"] == "a"
    assert "WRAP_KEY" not in adapter["environment"]
    assert "scale" not in adapter


@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_replicas_are_a_scale(replicas) -> None:
    services = render(stack(functions={"wrap": {"replicas": replicas}}))
    assert services["shop.wrap"].get("scale", 1) == replicas


def test_a_stack_without_functions_still_has_its_database() -> None:
    services = render(stack())
    assert set(services) == {"kafka", "postgres", "create-databases"}
    assert "SHOP_DATABASE_PASSWORD" in services["create-databases"]["environment"]


def test_the_password_is_named_after_the_database_and_not_the_service(monkeypatch) -> None:
    services = render(stack(database="depot", functions={"wrap": {}}))
    environment = services["shop.wrap"]["environment"]
    assert "DEPOT_DATABASE_PASSWORD" in environment
    assert "SHOP_DATABASE_PASSWORD" not in environment
    monkeypatch.setenv("SAGA_DATABASE_URL", environment["SAGA_DATABASE_URL"])
    assert Settings().database_url("depot") == "postgresql://depot:depot@postgres/depot"


def test_two_stacks_may_share_a_database() -> None:
    services = render(stack("shop", functions={"a": {}}), stack("mill", functions={"b": {}}))
    passwords = [k for k in services["create-databases"]["environment"] if "DATABASE_PASSWORD" in k]
    assert passwords == ["SHOP_DATABASE_PASSWORD"]


@pytest.mark.parametrize("service", ["y", "on", "no", "null", "true", "off"])
def test_a_name_that_yaml_takes_for_something_else(service) -> None:
    variables = dict.fromkeys(("ON", "No", "Y", "null"), "1")
    odd = stack(
        service,
        adapter="shop.http",
        port=9000,
        database=service,
        environment=variables,
        functions={"yes": {}},
    )
    services = render(odd)
    adapter, function = services[f"{service}-http"], services[f"{service}.yes"]
    assert adapter["command"] == ["run", service]
    assert function["command"] == ["run", f"{service}.yes"]
    assert adapter["labels"]["saga.stack"] == service
    assert variables.items() <= adapter["environment"].items()


@pytest.mark.parametrize("service", ["kafka", "postgres", "create_databases"])
def test_a_service_may_have_the_name_of_another_container(service) -> None:
    services = render(stack(service, adapter="shop.http", port=9000, functions={"wrap": {}}))
    own = {f"{service}.wrap", f"{service}-http"}
    assert set(services) == {"kafka", "postgres", "create-databases", *own}


def test_no_name_is_a_parent_of_another() -> None:
    """Compose 2 takes that for a cycle."""
    for name in COMMITTED:
        assert not [other for other in COMMITTED if other.startswith(f"{name}.")]


@pytest.mark.parametrize("database", ["postgres", "template1", "pg_shop"])
def test_a_database_of_the_servers_own_is_refused(database) -> None:
    with pytest.raises(StackError, match=f"database: {database}"):
        render(stack(database=database))


def test_a_secret_that_is_the_database_password_is_needed() -> None:
    services = render(stack(secrets=["SHOP_DATABASE_PASSWORD"], functions={"wrap": {}}))
    value = services["shop.wrap"]["environment"]["SHOP_DATABASE_PASSWORD"]
    assert value.startswith("${SHOP_DATABASE_PASSWORD:?")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "yes",
        "1.0",
        "null",
        "a: b # c",
        "'\"\\",
        "line\nline\r\n\ttab",
        "&a *b !c %d @e `f` {g} [h] - ?",
        "é😀\u2028\x85\x7f\ufeff\xa0\x01",
        "C:\\new\\u0041",
    ],
)
def test_an_odd_value_stays_what_it_is(value) -> None:
    services = render(stack(environment={"ODD": value}, functions={"wrap": {}}))
    assert services["shop.wrap"]["environment"]["ODD"] == value


@pytest.mark.parametrize(
    ("value", "written"), [("$HOME", "$$HOME"), ("${A:-b}", "$${A:-b}"), ("5$", "5$$")]
)
def test_a_dollar_is_no_variable(value, written) -> None:
    services = render(stack(environment={"ODD": value}, functions={"wrap": {}}))
    assert services["shop.wrap"]["environment"]["ODD"] == written


@settings(max_examples=30)
@given(st.text())
def test_any_value_stays_what_it_is(value) -> None:
    services = render(stack(environment={"ODD": value}, functions={"wrap": {}}))
    assert services["shop.wrap"]["environment"]["ODD"] == value.replace("$", "$$")


@pytest.mark.parametrize("value", ["1e3", "0o17", "2001-1-2", "y", "~", "1_000"])
def test_a_value_that_only_some_readers_take_for_text_is_in_quotes(value) -> None:
    document = compose([stack(environment={"ODD": value}, functions={"wrap": {}})], "image")
    assert f'ODD: "{value}"' in document
