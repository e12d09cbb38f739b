"""A whole system of real processes on the embedded broker, on ports of its own."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
SAGA = Path(sys.executable).with_name("saga")
DEADLINE = 30.0  # seconds


def wait_until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Wait until the condition gives something true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    return pytest.fail(f"not within {seconds:g} s: {what}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


def copy_stacks(folder: Path) -> dict[str, int]:
    """Copy the stack files with free ports in place of 8000 to 8003; return the ports."""
    folder.mkdir(parents=True)
    sources = sorted((ROOT / "stacks").glob("*.toml"))
    ports = dict(zip([source.stem for source in sources], free_ports(len(sources)), strict=True))
    for source in sources:
        text = re.sub(r"(?m)^port = .*$", f"port = {ports[source.stem]}", source.read_text())
        (folder / source.name).write_text(text)
    return ports


@dataclass
class RunningSystem:
    data: Path
    stacks: Path
    ports: dict[str, int]

    def saga(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command on this system."""
        done = subprocess.run(
            [SAGA, *arguments, "--data", self.data],
            env={**os.environ, "SAGA_STACKS": str(self.stacks)},
            capture_output=True,
            text=True,
            timeout=90,
        )
        if check and done.returncode:
            pytest.fail(f"saga {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def processes(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in json.loads(self.saga("ps", "--json").stdout)}

    def broker(self) -> str:
        return str(json.loads((self.data / "system.json").read_text())["broker"])

    def http(self, method: str, service: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(
            method, f"http://127.0.0.1:{self.ports[service]}{path}", timeout=20, **options
        )

    def make_user(self, balance: str = "100.00") -> int:
        body = {"name": "Ada", "email": f"u{time.time_ns()}@example.org", "balance": balance}
        return int(self.http("POST", "user", "/users", json=body).json()["id"])

    def make_product(self, price: str = "10.00", stock: int = 10) -> int:
        body = {"name": "Lamp", "price": price, "stock": stock}
        return int(self.http("POST", "product", "/products", json=body).json()["id"])

    def order(self, user: int, product: int, quantity: int = 1, wait: int = 20) -> dict[str, Any]:
        """Place an order and return its saga once that has ended."""
        body = {"user_id": user, "product_id": product, "quantity": quantity}
        headers = {"Prefer": f"wait={wait}"}
        answer = self.http("POST", "orchestrator", "/orders", json=body, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        saga: dict[str, Any] = answer.json()
        return saga

    def saga_of(self, saga_id: str) -> dict[str, Any]:
        saga: dict[str, Any] = self.http("GET", "orchestrator", f"/sagas/{saga_id}").json()
        return saga

    def ended(self, saga_id: str) -> dict[str, Any]:
        """Wait until a saga has ended and return it."""
        ends = ("COMPLETED", "COMPENSATED", "FAILED")
        wait_until(lambda: self.saga_of(saga_id)["status"] in ends, f"saga {saga_id} ends")
        return self.saga_of(saga_id)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Wait for a condition, with a deadline."""
    return wait_until


@pytest.fixture(scope="session")
def start_system(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RunningSystem]]:
    """Start systems, and stop them at the end whatever became of them."""
    started: list[RunningSystem] = []

    def start(broker: str = "embedded") -> RunningSystem:
        folder = tmp_path_factory.mktemp("system")
        ports = copy_stacks(folder / "stacks")
        system = RunningSystem(folder / "data", folder / "stacks", ports)
        started.append(system)
        system.saga("up", "--detach", "--broker", broker)
        return system

    yield start
    for system in started:
        system.saga("down", check=False)


@pytest.fixture(scope="session")
def system(start_system: Callable[[], RunningSystem]) -> RunningSystem:
    """One system that the tests share."""
    return start_system()
