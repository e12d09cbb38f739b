"""Scaled under load, with a dead database, with a dead broker: nothing is lost or doubled."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from support.missing import missing
from support.waiting import DEADLINE

pytestmark = pytest.mark.proof

SERVICES = ("order", "orchestrator", "product", "user")
SCALED = ("product.reserve_product", "user.process_payment", "orchestrator.place_order")
DISK = "128m"  # of the embedded system's data directory
# Longer than SQLite waits for a lock, than a message waits for its delivery, than a group waits
# for a member.
LOCKED = 7.0  # seconds
FROZEN = 20.0  # seconds

Start = Callable[..., Any]
Until = Callable[..., Any]


@pytest.fixture(scope="module")
def embedded(start_system: Start) -> Iterator[Any]:
    """The embedded broker and SQLite, on a small disk of their own where that can be had."""
    disks: list[Path] = []

    def mount(system: Any) -> None:
        if os.geteuid() == 0:
            system.data.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", system.data]
            if subprocess.run(command, capture_output=True).returncode == 0:
                disks.append(system.data)

    running = start_system(prepare=mount)
    try:
        yield running
    finally:
        running.saga("down", check=False)
        for disk in disks:
            subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture(scope="module")
def kafka(start_system: Start) -> Iterator[Any]:
    """Apache Kafka and SQLite."""
    running = start_system(broker="kafka")
    yield running
    running.saga("down")


def add_something(system: Any, load: Any, service: str) -> httpx.Response:
    """Ask a service for a new row, one that holds neither money nor units."""
    order = {"user_id": 1, "product_id": 1, "quantity": 1}
    email = f"{time.time_ns()}@example.org"
    path, body = {
        "user": ("/users", {"name": "Bob", "email": email, "balance": "0.00"}),
        "product": ("/products", {"name": "Air", "price": "1.00", "stock": 0}),
        "order": ("/orders", order),
        "orchestrator": ("/orders", order),
    }[service]
    answer = system.http("POST", service, path, json=body)
    assert isinstance(answer, httpx.Response)
    if service == "orchestrator":
        load.hear(order, answer)
    return answer


def is_away(answer: httpx.Response, what: str) -> bool:
    """Tell whether a service says that it can't reach something, in the way of the contract."""
    if answer.status_code != 503:
        return False
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["away"] == [what]
    return True


def is_refused(system: Any, load: Any, service: str) -> bool:
    """Tell whether a service takes no new row because its database is away."""
    return is_away(add_something(system, load, service), "database")


def restarts(system: Any) -> dict[str, int]:
    return {name: row["restarts"] for name, row in system.processes().items()}


@pytest.mark.parametrize("broker", ["embedded", "kafka"])
def test_a_function_scaled_up_and_down_under_load_loses_and_doubles_nothing(
    request: pytest.FixtureRequest, broker: str, traffic: Any
) -> None:
    system = request.getfixturevalue(broker)
    before = restarts(system)
    with traffic(system) as load:
        load.flows()
        system.saga("scale", *(f"{name}=3" for name in SCALED))
        replicas = {f"{name}{suffix}" for name in SCALED for suffix in ("", "-2", "-3")}
        assert replicas <= set(system.processes())
        load.flows()
        system.saga("scale", *(f"{name}=1" for name in SCALED))
        load.flows()
    assert load.violations() == []
    assert restarts(system) == before


def test_a_frozen_broker_holds_up_orders_and_loses_none(
    embedded: Any, kafka: Any, traffic: Any, until: Until
) -> None:
    # Both at once: the test is as long as they are frozen.
    with traffic(embedded) as one, traffic(kafka) as other:
        one.flows()
        other.flows()
        with frozen(embedded), frozen(kafka):
            thawing = time.monotonic() + FROZEN
            for system, load in ((embedded, one), (kafka, other)):
                assert is_away(system.http("GET", "orchestrator", "/health"), "broker")
                load.flows(10)
            until(lambda: time.monotonic() > thawing, "the brokers were frozen long enough")
        one.flows()
        other.flows()
    for load in (one, other):
        assert load.violations() == []
        assert load.refused == []


@contextmanager
def frozen(system: Any) -> Iterator[None]:
    """Stop a system's broker in its tracks, as an overloaded machine would."""
    pid = system.processes()["broker"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_locked_databases_answer_503_and_lose_nothing(
    embedded: Any, traffic: Any, until: Until
) -> None:
    before = restarts(embedded)
    with traffic(embedded) as load:
        load.flows()
        with locked(embedded.data), ThreadPoolExecutor() as pool:
            locked_until = time.monotonic() + LOCKED
            refused = list(pool.map(partial(is_refused, embedded, load), SERVICES))
            assert all(refused), refused
            # Readers do not wait for writers.
            assert embedded.http("GET", "order", "/orders").status_code == 200
            until(lambda: time.monotonic() > locked_until, "the locks were held long enough")
        load.flows()
    assert load.violations() == []
    assert restarts(embedded) == before


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the write lock of every service's database."""
    connections = [sqlite3.connect(data / f"{name}.db", timeout=DEADLINE) for name in SERVICES]
    try:
        for connection in connections:
            connection.isolation_level = None
            connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        for connection in connections:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            connection.close()


def test_a_full_disk_answers_503_and_loses_nothing(
    embedded: Any, traffic: Any, until: Until
) -> None:
    if not os.path.ismount(embedded.data):
        missing("a small disk can be mounted by root only, where mounting is permitted")
    with traffic(embedded) as load:
        load.flows()
        with full(embedded.data):
            until(lambda: load.refused, "an order is refused")
            for service in SERVICES:
                until(partial(is_refused, embedded, load, service), f"{service} refuses a new row")
            victim = embedded.processes()["product.reserve_product"]
            os.kill(victim["pid"], signal.SIGKILL)
            until(lambda: not psutil.pid_exists(victim["pid"]), "its end has been noticed")
        load.flows()
    for answer in load.refused:
        response = httpx.Response(answer.status, headers=answer.headers, content=answer.body)
        assert is_away(response, "database")
    assert load.violations() == []
    after = embedded.processes()
    assert after["product.reserve_product"]["restarts"] == victim["restarts"] + 1
    assert {row["state"] for row in after.values()} == {"ready"}


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a disk up, and keep it full."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    try:
        assert shutil.disk_usage(disk).free == 0
        yield
    finally:
        filler.unlink()


def test_a_stopped_postgresql_answers_503_and_loses_nothing(
    start_system: Start,
    postgres_server: Any,
    traffic: Any,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAGA_DATABASE_URL", postgres_server.url_of_services(SERVICES))
    system = start_system()
    before = restarts(system)
    with traffic(system) as load:
        load.flows()
        postgres_server.stop()
        try:
            for service in SERVICES:
                until(partial(is_refused, system, load, service), f"{service} refuses a new row")
                assert is_away(system.http("GET", service, "/health"), "database")
        finally:
            postgres_server.start()
        load.flows()
    assert load.violations() == []
    assert restarts(system) == before
    system.saga("down")
