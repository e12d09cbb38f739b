"""What the tests share: the two databases that stores run on, and whole systems of processes."""

import http.client
import itertools
import json
import os
import pwd
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import peewee
import pytest
from hypothesis import settings
from uuid_utils.compat import uuid7

from saga.runtime import saga_queries
from saga.runtime.database.connection import connect
from saga.runtime.settings import Settings
from saga.stacks import ledger

ROOT = Path(__file__).parents[1]
SAGA = Path(sys.executable).with_name("saga")
DEADLINE = 30.0  # seconds
RETRY_AFTER = 0.1  # seconds between two tries of a client
CANCEL_AFTER = 0.03  # seconds from an order's acceptance to its cancellation


def wait_until(condition: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """Wait until the condition gives something true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    return pytest.fail(f"not within {seconds:g} s: {what}")


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on, below those that Linux gives to clients meanwhile."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports += [port] if port not in ports else []
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
    environment: dict[str, str] = field(default_factory=dict)
    database_url: str | None = None  # of all services, where they are not SQLite's files

    def settings(self) -> Settings:
        """Settings that lead to the services' databases."""
        known = {} if self.database_url is None else {"saga_database_url": self.database_url}
        return Settings(saga_data=self.data, **known)

    def saga(
        self, *arguments: str, check: bool = True, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Run the command on this system."""
        done = subprocess.run(
            [SAGA, *arguments],
            env={
                **os.environ,
                "SAGA_DATA": str(self.data),
                "SAGA_STACKS": str(self.stacks),
                **self.environment,
            },
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            pytest.fail(f"saga {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def processes(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in json.loads(self.saga("ps", "--json").stdout)}

    def broker(self) -> str:
        return str(json.loads((self.data / "system.json").read_text())["broker"])

    def http(self, method: str, service: str, path: str, **options: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        # Without verify=False, each request would read all root certificates first.
        return httpx.request(method, url, timeout=20, verify=False, **options)

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
def make_system(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], RunningSystem]:
    """Lay out systems on ports of their own, without starting anything."""

    def make() -> RunningSystem:
        folder = tmp_path_factory.mktemp("system")
        ports = copy_stacks(folder / "stacks")
        return RunningSystem(folder / "data", folder / "stacks", ports)

    return make


@pytest.fixture(scope="session")
def start_system(
    make_system: Callable[[], RunningSystem],
) -> Iterator[Callable[..., RunningSystem]]:
    """Start systems, and stop them at the end whatever became of them."""
    started: list[RunningSystem] = []

    def start(
        broker: str = "embedded", prepare: Callable[[RunningSystem], object] = lambda _: None
    ) -> RunningSystem:
        system = make_system()
        started.append(system)
        prepare(system)
        system.saga("up", "--detach", "--broker", broker)
        return system

    yield start
    for system in started:
        system.saga("down", check=False)


@pytest.fixture(scope="session")
def system(start_system: Callable[[], RunningSystem]) -> RunningSystem:
    """One system that the tests share."""
    return start_system()


class Traffic:
    """Orders placed all the time, of every fate; a client repeats one until it is accepted.

    Each client begins an order every `pause` seconds, or as soon as it can. With `cancels`, every
    fourth order is cancelled a little later, wherever it is then.
    """

    def __init__(
        self, system: RunningSystem, clients: int = 4, pause: float = 0.03, *, cancels: bool = False
    ) -> None:
        self.accepted: list[str] = []
        self.refused: list[httpx.Response] = []
        self._port = system.ports["orchestrator"]
        self._pause = pause
        self._cancels = cancels
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._place_many) for _ in range(clients)]
        rich, poor = system.make_user("1000000.00"), system.make_user("5.00")
        plenty, scarce = system.make_product(stock=1_000_000), system.make_product(stock=1)
        self._fates = [(rich, plenty), (poor, plenty), (rich, plenty), (rich, scarce)]
        self._settings = system.settings()
        self._open_databases()
        self._before = ledger.totals()

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def flows(self, orders: int = 30) -> None:
        """Wait until so many more orders are accepted."""
        goal = len(self.accepted) + orders
        wait_until(lambda: len(self.accepted) >= goal, f"{orders} more orders are accepted")

    def violations(self, seconds: float = DEADLINE) -> list[str]:
        """Wait until all accepted sagas have ended; return what does not fit."""
        self._open_databases()  # the connections of before may have been cut
        wait_until(lambda: not self._in_flight(), "all accepted sagas have ended", seconds)
        try:
            return ledger.violations(self.accepted, self._before)
        finally:
            self._close_databases()

    def _open_databases(self) -> None:
        self._close_databases()
        ledger.open_databases(self._settings)

    def _close_databases(self) -> None:
        for tables in ledger.TABLES.values():
            if database := tables[0]._meta.database:
                database.close()

    def _in_flight(self) -> set[str]:
        chunks = (self.accepted[n : n + 500] for n in range(0, len(self.accepted), 500))
        return set(self.accepted).difference(
            *(saga_queries.ended(ledger.sagas(), chunk) for chunk in chunks)
        )

    def _place_many(self) -> None:
        # httpx would take a third of the time that the system itself takes.
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        due = time.monotonic() + random.uniform(0, self._pause)
        for number in itertools.count():
            if self._stop.wait(max(0, due - time.monotonic())):
                break
            due += self._pause
            user, product = self._fates[number % len(self._fates)]
            order = {"user_id": user, "product_id": product, "quantity": 1}
            saga_id = self._place(client, order)
            # One that could be paid: its cancellation is what leads to refunds.
            if self._cancels and saga_id is not None and number % len(self._fates) == 0:
                self._cancel(client, saga_id)
        client.close()

    def _cancel(self, client: http.client.HTTPConnection, saga_id: str) -> None:
        self._stop.wait(CANCEL_AFTER)
        try:
            client.request("DELETE", f"/sagas/{saga_id}")
            client.getresponse().read()
        except (OSError, http.client.HTTPException):
            client.close()

    def _place(self, client: http.client.HTTPConnection, order: dict[str, int]) -> str | None:
        """Place an order and return its saga's id; None where the traffic stops before."""
        headers = {"Idempotency-Key": str(uuid7()), "Content-Type": "application/json"}
        unsure = 0  # tries that may have been accepted without our knowing
        while not self._stop.is_set() or 0 < unsure < DEADLINE / RETRY_AFTER:
            try:
                client.request("POST", "/orders", json.dumps(order), headers)
                answer = client.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                client.close()
                unsure += 1
            else:
                unsure = 0
                if answer.status == 202:
                    saga_id = str(json.loads(body)["saga_id"])
                    self.accepted.append(saga_id)
                    return saga_id
                refusal = httpx.Response(answer.status, headers=answer.getheaders(), content=body)
                self.refused.append(refusal)
            time.sleep(RETRY_AFTER)
        return None


@pytest.fixture(scope="session")
def traffic() -> type[Traffic]:
    """Load on a system."""
    return Traffic


# The same examples on every laptop, others in every CI run. A busy machine is no failure.
settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile(
    "rotating", deadline=None, derandomize=False, database=None, print_blob=True
)
settings.load_profile("rotating" if os.environ.get("CI") else "fixed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed before hypothesis looks for it; the processes of xdist get it, too."""
    if os.environ.get("CI") and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(random.randrange(10**9))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell how to run the same examples again."""
    seed = config.option.hypothesis_seed
    return [] if seed is None else [f"examples: CI=1, --hypothesis-seed={seed}"]


def postgres_programs() -> Path:
    """Return the folder of initdb and pg_ctl; skip where there is none, but fail in CI."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin")]
    if on_path := shutil.which("initdb"):
        folders.append(Path(on_path).parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    reason = "PostgreSQL's server programs are missing: apt-get install postgresql"
    if os.environ.get("CI"):
        pytest.fail(reason)
    return pytest.skip(reason)


def server_account() -> str | None:
    """Return the account to run PostgreSQL as: it refuses to be root's."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@dataclass
class PostgresServer:
    """A PostgreSQL server, reached by its socket."""

    folder: Path
    programs: Path
    account: str | None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://saga@/{database}?host={self.folder}"

    def create(self) -> None:
        if self.account is not None:
            shutil.chown(self.folder, self.account)
        self._run("initdb", "-U", "saga", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off -c shared_buffers=16MB"
        self._run("pg_ctl", "-w", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [self.programs / program, "-D", self.folder / "data", *arguments]
        with (self.folder / "log").open("a") as log:
            done = subprocess.run(
                command,
                user=self.account,
                extra_groups=None if self.account is None else [],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if done.returncode:
            pytest.fail(f"{program} failed: {(self.folder / 'log').read_text()[-2000:]}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for this session, gone without a trace."""
    programs, account = postgres_programs(), server_account()
    folder = Path(tempfile.mkdtemp(prefix="saga-postgres-"))  # pytest's own is closed to others
    server = PostgresServer(folder, programs, account)
    try:
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    return postgres_server.url()


@pytest.fixture
def sqlite() -> Iterator[peewee.Database]:
    """An empty SQLite database in memory."""
    database = connect("sqlite://")
    yield database
    database.close()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[peewee.Database]:
    """An empty PostgreSQL database."""
    database = connect(postgres_url)
    database.execute_sql("SET client_min_messages = warning")
    database.execute_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> peewee.Database:
    """An empty database, on SQLite and on PostgreSQL."""
    return request.getfixturevalue(request.param)
