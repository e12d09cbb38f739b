"""The order saga as this project runs it: four services, each with its own database."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from saga.functions.order.store import Order as OrderRow
from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime.errors import NotRunning
from saga.runtime.kafka.embedded import free_port
from saga.runtime.polling import poll_until
from saga.runtime.settings import EMBEDDED, KAFKA, Settings
from saga.runtime.system.state import System as SystemState
from saga.runtime.system.state import read_system
from saga.stacks import ledger, surroundings

from . import postgres
from .books import Books
from .load import Api
from .orders import MONEY, PRICE, PRODUCTS, UNITS, USERS, Order
from .processes import ROOT, START_TIMEOUT, Command, Failed, running
from .system import Running, System

SAGA = Path(sys.executable).with_name("saga")
WAIT = 30  # seconds that a client waits for its order's end
STATUSES = {"COMPLETED": True, "COMPENSATED": False}
KINDS = {"broker": "broker", "saga": "saga host", "adapter": "adapters", "function": "functions"}


def ours(broker: str = EMBEDDED, *, on_postgres: bool = False, batch: bool = True) -> System:
    """Return the order system on a broker that it starts, and SQLite or PostgreSQL.

    Not `batch`, it is never batch work, however much it does.
    """
    return partial(_run, broker, on_postgres, batch)


@contextmanager
def _run(broker: str, on_postgres: bool, batch: bool, folder: Path, _: Path) -> Iterator[Running]:
    with ExitStack() as stack:
        server = stack.enter_context(postgres.server(folder)) if on_postgres else None
        settings = _settings(folder, server).model_copy(update={"saga_batch_work": batch})
        stack.enter_context(_started(settings, folder / "stacks", broker))
        ledger.open_databases(settings)
        stack.callback(_close_databases)
        state = read_system(settings.saga_data)
        described = surroundings.describe_database(ledger.sagas())
        parts = _parts(state)
        if server is not None:
            parts["postgresql"] = [server.pid]
        yield Running(
            _api(state.port("orchestrator"), *_seed()),
            parts,
            _books,
            surroundings.versions(broker, described),
            f"each service's {described.kind} (synchronous {described.synchronous}, "
            f"fsync {described.fsync}), once for each batch; the broker does not",
        )


OURS: dict[str, System] = {
    "ours": ours(),
    "ours-unbatched": ours(batch=False),
    "ours-postgres": ours(on_postgres=True),
    "ours-kafka": ours(KAFKA),
    "ours-kafka-postgres": ours(KAFKA, on_postgres=True),
}


def data_folder(folder: Path) -> Path:
    """Return the data directory of a system in this folder."""
    return folder / "data"


def _settings(folder: Path, server: postgres.Server | None) -> Settings:
    if server is None:
        return Settings(saga_data=data_folder(folder), saga_stacks=folder / "stacks")
    server.create(*ledger.TABLES)
    url = SecretStr(server.url("{service}"))
    return Settings(
        saga_data=data_folder(folder), saga_stacks=folder / "stacks", saga_database_url=url
    )


@contextmanager
def _started(settings: Settings, stacks: Path, broker: str) -> Iterator[None]:
    """Run `saga up`, on ports of its own; raise `Failed` if not all is ready in time."""
    stacks.mkdir()
    for file in (ROOT / "stacks").glob("*.toml"):
        text = re.sub(r"(?m)^port = .*$", lambda _: f"port = {free_port()}", file.read_text())
        (stacks / file.name).write_text(text)
    env = {
        "SAGA_STACKS": str(stacks),
        "SAGA_DATABASE_URL": settings.saga_database_url.get_secret_value(),
        "SAGA_BATCH_WORK": str(settings.saga_batch_work),
    }
    log = stacks.with_name("log")
    command: Command = [SAGA, "up", "--broker", broker, "--data", settings.saga_data]
    # Not detached: what is ended while it starts would be left behind.
    with running(command, log, env):
        if not poll_until(lambda: _is_ready(settings), START_TIMEOUT):
            raise Failed(f"not all is ready after {START_TIMEOUT:g} s: see {log}")
        yield


def _is_ready(settings: Settings) -> bool:
    try:
        return read_system(settings.saga_data).ready
    except NotRunning:
        return False


def _parts(state: SystemState) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {}
    for process in state.processes:
        if process.pid is not None:
            parts.setdefault(KINDS.get(process.kind, process.kind), []).append(process.pid)
    return parts


def _seed() -> tuple[list[int], list[int]]:
    """Make the users and products; return their ids."""
    with User._meta.database.atomic(), Product._meta.database.atomic():
        users = [
            User.insert(
                name=f"user {n}", email=f"{n}@bench.example", balance=Decimal(MONEY if n else 0)
            ).execute()
            for n in range(USERS)
        ]
        products = [
            Product.insert(
                name=f"product {n}", price=Decimal(PRICE), stock=UNITS if n else 0
            ).execute()
            for n in range(PRODUCTS)
        ]
    return users, products


def _api(port: int, users: list[int], products: list[int]) -> Api:
    def body(order: Order) -> dict[str, int]:
        return {
            "user_id": users[order.user],
            "product_id": products[order.product],
            "quantity": order.quantity,
        }

    def read(answer: Any) -> bool:
        return STATUSES[answer["status"]]

    return Api(port, "/orders", f"prefer: wait={WAIT}\r\n", body, read)


def _books() -> Books:
    stocks, balances = Product.select(Product.stock), User.select(User.balance)
    statuses = Counter(status for (status,) in OrderRow.select(OrderRow.status).tuples())
    return Books(
        sum(stock for (stock,) in stocks.tuples()),
        int(sum(balance for (balance,) in balances.tuples())),
        statuses,
    )


def _close_databases() -> None:
    for tables in ledger.TABLES.values():
        tables[0]._meta.database.close()
