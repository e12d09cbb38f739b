"""A running system of processes, and its stack files."""

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from saga.runtime.deploy.processes import Processes
from saga.runtime.errors import NotRunning
from saga.runtime.settings import Settings
from saga.runtime.system.log_reader import log_file
from saga.runtime.system.state import lock_system, read_system
from support.command import SAGA, run_saga
from support.ports import free_ports
from support.waiting import DEADLINE, wait_until

ROOT = Path(__file__).parents[2]
ENDS = ("COMPLETED", "COMPENSATED", "FAILED")  # of a saga


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
    """A system on a data directory, and what a test asks of it."""

    data: Path
    stacks: Path
    ports: dict[str, int]
    environment: dict[str, str] = field(default_factory=dict)
    database_url: str | None = None  # of all services, where they are not SQLite's files

    def settings(self) -> Settings:
        """Settings that lead to the services' databases."""
        if self.database_url is None:
            return Settings(saga_data=self.data)
        return Settings(saga_data=self.data, saga_database_url=SecretStr(self.database_url))

    def saga(
        self, *arguments: str, check: bool = True, timeout: float = DEADLINE
    ) -> subprocess.CompletedProcess[str]:
        """Run the command on this system."""
        done = run_saga(arguments, {**os.environ, **self._own()}, timeout=timeout)
        if check and done.returncode:
            pytest.fail(f"saga {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def start(self, broker: str) -> threading.Thread:
        """Do what `saga up --detach` does, without a process that waits; return who reaps it."""
        log = log_file(self.data, "supervisor")
        with lock_system(self.data):  # which makes it a data directory
            log.parent.mkdir()
        with log.open("ab") as output:
            process = subprocess.Popen(
                [SAGA, "up", "--broker", broker],
                env={**os.environ, **self._own()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        reaper = threading.Thread(target=process.wait, daemon=True)
        reaper.start()

        def is_ready() -> bool:
            if not reaper.is_alive():
                pytest.fail(f"saga up: {log.read_text()}")
            with suppress(NotRunning):
                return read_system(self.data).ready
            return False

        wait_until(is_ready, "all is ready")
        return reaper

    def _own(self) -> dict[str, str]:
        own = {"SAGA_DATA": str(self.data), "SAGA_STACKS": str(self.stacks)}
        return {**own, **self.environment}

    def processes(self) -> dict[str, dict[str, Any]]:
        """Tell what `saga ps --json` tells, by name."""
        if "SAGA_TARGET" in self.environment:
            rows = json.loads(self.saga("ps", "--json").stdout)
        else:
            rows = [asdict(instance) for instance in self._processes.instances()]
        return {row["name"]: row for row in rows}

    @cached_property
    def _processes(self) -> Processes:
        return Processes(self.settings())  # which take longer to read than what runs

    def broker(self) -> str:
        """Return the broker's address."""
        return str(json.loads((self.data / "system.json").read_text())["broker"])

    def http(self, method: str, service: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to a service's adapter."""
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        # Without verify=False, each request would read all root certificates first; and without
        # trust_env=False all variables, which a command in this process may be changing.
        return httpx.request(
            method, url, timeout=DEADLINE, verify=False, trust_env=False, **options
        )

    def make_user(self, balance: str = "100.00") -> int:
        """Create a user and return the id."""
        body = {"name": "Ada", "email": f"u{time.time_ns()}@example.org", "balance": balance}
        return int(self.http("POST", "user", "/users", json=body).json()["id"])

    def make_product(self, price: str = "10.00", stock: int = 10) -> int:
        """Create a product and return the id."""
        body = {"name": "Lamp", "price": price, "stock": stock}
        return int(self.http("POST", "product", "/products", json=body).json()["id"])

    def order(self, user: int, product: int, quantity: int = 1, wait: int = 20) -> dict[str, Any]:
        """Place an order and return its saga: once that has ended, or without a wait at once."""
        body = {"user_id": user, "product_id": product, "quantity": quantity}
        headers = {"Prefer": f"wait={wait}"}
        answer = self.http("POST", "orchestrator", "/orders", json=body, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        saga: dict[str, Any] = answer.json()
        return self.ended(saga["saga_id"]) if wait and saga["status"] not in ENDS else saga

    def saga_of(self, saga_id: str) -> dict[str, Any]:
        """Return a saga as it is now."""
        saga: dict[str, Any] = self.http("GET", "orchestrator", f"/sagas/{saga_id}").json()
        return saga

    def ended(self, saga_id: str) -> dict[str, Any]:
        """Wait until a saga has ended and return it."""
        wait_until(lambda: self.saga_of(saga_id)["status"] in ENDS, f"saga {saga_id} ends")
        return self.saga_of(saga_id)


def lay_out(folder: Path) -> RunningSystem:
    """Lay out a system on ports of its own, without starting anything."""
    return RunningSystem(folder / "data", folder / "stacks", copy_stacks(folder / "stacks"))


@contextmanager
def run_system(
    folder: Path,
    broker: str = "embedded",
    prepare: Callable[[RunningSystem], object] = lambda _: None,
) -> Iterator[RunningSystem]:
    """Run a system that is prepared before its start, and stop it whatever became of it."""
    system = lay_out(folder)
    prepare(system)
    reaper = None
    try:
        reaper = system.start(broker)
        yield system
    finally:
        system.saga("down", check=False)
        if reaper is not None:
            reaper.join(DEADLINE)
