"""`saga chaos`: kill processes at random under load, and check that nothing is lost or doubled."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import BaseModel
from rich.progress import Progress
from uuid_utils.compat import uuid7

from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime import saga_queries
from saga.runtime.cli.app import Data, Json, console, settings_for
from saga.runtime.cli.progress import progress_bar
from saga.runtime.errors import NotRunning, SagaError
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks
from saga.runtime.system.state import read_system

from . import ledger

CLIENTS = 8
BUYERS = 20
KILL_EVERY = (0.5, 2.5)  # seconds between two kills, at random between these
REST_TIMEOUT = 300.0  # seconds until all sagas must have ended
RETRY_AFTER = 0.2  # seconds between two tries of a client


class Verdict(BaseModel):
    """What a run did and found. `seconds_to_rest` counts from the last kill and the last order."""

    seed: int
    orders: int
    accepted: int
    completed: int
    compensated: int
    kills: dict[str, int]
    seconds_to_rest: float
    violations: list[str]


def chaos(
    data: Data = None,
    orders: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many orders.")] = 1000,
    seconds: Annotated[float, typer.Option(min=1, help="How long to place and kill.")] = 60,
    seed: Annotated[int | None, typer.Option(help="Of what is ordered and killed.")] = None,
    as_json: Json = False,
) -> None:
    """Place orders while functions, adapters and the broker are killed; then check everything."""
    settings = settings_for(data)
    running = read_system(settings.saga_data)
    seed = random.randrange(2**32) if seed is None else seed  # noqa: S311 - no secret
    ledger.open_databases(settings)
    buyers, products = _seed()
    before = ledger.totals()
    chance = random.Random(seed)  # noqa: S311 - to be repeatable is its purpose
    bodies = [_body(chance, buyers, products) for _ in range(orders)]
    killer = _Killer(settings.saga_data, random.Random(seed + 1))  # noqa: S311
    with progress_bar() as progress:
        url = f"http://{settings.saga_host}:{running.port('orchestrator')}/orders"
        killer.start()
        accepted = _place(url, bodies, seconds, progress)
        killer.stop()
        rest_began = time.monotonic()
        _wait_for_rest(accepted, progress)
        _wait_for_silence(settings.on_broker(running.broker))
    statuses = Counter(state.status for state in saga_queries.find_many(ledger.sagas(), accepted))
    verdict = Verdict(
        seed=seed,
        orders=orders,
        accepted=len(accepted),
        completed=statuses["COMPLETED"],
        compensated=statuses["COMPENSATED"],
        kills=dict(sorted(killer.kills.items())),
        seconds_to_rest=round(time.monotonic() - rest_began, 1),
        violations=ledger.violations(accepted, before),
    )
    print(verdict.model_dump_json(indent=1)) if as_json else _show(verdict)
    if not verdict.kills:
        raise SagaError("nothing was killed: give it more --seconds")
    if verdict.violations:
        raise SagaError(f"{len(verdict.violations)} violations with --seed {seed}")


class _Killer(threading.Thread):
    """Kills one process after another with SIGKILL, none of them the supervisor."""

    def __init__(self, data: Path, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.kills: Counter[str] = Counter()
        self._data = data
        self._chance = chance
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._chance.uniform(*KILL_EVERY)):
            with suppress(NotRunning, ProcessLookupError):
                processes = read_system(self._data).processes
                alive = [p for p in processes if p.kind != "supervisor" and p.pid]
                if alive:
                    victim = self._chance.choice(alive)
                    os.kill(victim.pid or 0, signal.SIGKILL)
                    self.kills[victim.name] += 1

    def stop(self) -> None:
        self._done.set()
        self.join()


def _seed() -> tuple[list[int], list[int]]:
    """Make buyers and products; every fourth has too little for some of the orders."""
    run = uuid7().hex[-12:]
    buyers, products = [], []
    for n in range(BUYERS):
        scarce = n % 4 == 0
        balance = Decimal(50 if scarce else 1_000_000)
        email = f"{run}.{n}@chaos.example"
        buyers.append(User.create(name=f"chaos {n}", email=email, balance=balance).id)
        stock = 10 if scarce else 1_000_000
        product = Product.create(name=f"chaos {n}", price=Decimal("9.99"), stock=stock)
        products.append(product.id)
    return buyers, products


def _body(chance: random.Random, buyers: list[int], products: list[int]) -> dict[str, int]:
    return {
        "user_id": chance.choice(buyers),
        "product_id": chance.choice(products),
        "quantity": chance.randint(1, 3),
    }


def _place(
    url: str, bodies: Sequence[dict[str, int]], seconds: float, progress: Progress
) -> list[str]:
    """Place orders evenly over the time; a client repeats one until it is accepted."""
    bar = progress.add_task("accepted", total=len(bodies))
    began = time.monotonic()

    def place(number: int) -> str:
        key = str(uuid7())
        time.sleep(max(0.0, began + number * seconds / len(bodies) - time.monotonic()))
        while True:
            with suppress(httpx.TransportError):
                headers = {"Idempotency-Key": key}
                answer = httpx.post(url, json=bodies[number], headers=headers, timeout=10)
                if answer.status_code == httpx.codes.ACCEPTED:
                    progress.advance(bar)
                    return str(answer.json()["saga_id"])
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    raise SagaError(f"POST {url}: {answer.status_code} {answer.text}")
            time.sleep(RETRY_AFTER)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(place, range(len(bodies))))


def _wait_for_rest(saga_ids: Sequence[str], progress: Progress) -> None:
    bar = progress.add_task("ended", total=len(saga_ids))
    deadline = time.monotonic() + REST_TIMEOUT
    waiting = set(saga_ids)
    while waiting and time.monotonic() < deadline:
        waiting -= saga_queries.ended(ledger.sagas(), sorted(waiting))
        progress.update(bar, completed=len(saga_ids) - len(waiting))
        time.sleep(0.1)


def _wait_for_silence(settings: Settings) -> None:
    """Wait until every function has read all there is: a duplicate may still be on its way."""
    from saga.runtime.kafka.admin import lag

    functions = [f for stack in read_stacks(settings.saga_stacks) for f, _ in stack.load()]
    deadline = time.monotonic() + REST_TIMEOUT
    while any(lag(settings, f.name, f.topics) for f in functions if f.topics):
        if time.monotonic() > deadline:
            raise SagaError("messages are still unread: see `saga ps` and `saga logs`")


def _show(verdict: Verdict) -> None:
    for name, value in verdict.model_dump(exclude={"kills", "violations"}).items():
        console.print(f"{name:>16}  [bold]{value}[/]")
    killed = ", ".join(f"{name} {count}" for name, count in verdict.kills.items()) or "nothing"
    console.print(f"{'killed':>16}  {killed}")
    for violation in verdict.violations[:20]:
        console.print(f"{'violation':>16}  [red]{violation}[/]")
    console.print(f"{'verdict':>16}  " + ("[red]broken" if verdict.violations else "[green]holds"))
