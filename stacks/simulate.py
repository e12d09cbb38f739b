"""`saga simulate`: the order system in one process, a thousand times, each time from a seed."""

import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Annotated, Any
from uuid import UUID

import typer
from pydantic import BaseModel
from rich.progress import TextColumn

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime import inbox
from saga.runtime.cli.app import Json, console, settings_for
from saga.runtime.cli.progress import progress_bar
from saga.runtime.envelope import Envelope
from saga.runtime.errors import SagaError
from saga.runtime.inbox import Answer, Decision
from saga.runtime.message import Message
from saga.runtime.saga import Saga
from saga.runtime.simulation.simulator import Run, Simulator, Workload
from saga.runtime.system.stack import Stack, read_stacks

from . import ledger

ORDERS = (3, 12)  # placed in one run
SHOWN = 10  # seeds with violations, and violations of each, that are printed
PRICE = Decimal("9.99")
# Half of the buyers and products are rich and plenty; one of each is not there at all.
BALANCES = ("5.00", "60.00", "100000.00", "100000.00")
STOCKS = (1, 10, 100_000, 100_000)


class Orders:
    """The order system as a workload: orders of every fate, checked by the ledger."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.saga: Saga = place_order
        self.stacks = stacks
        self._before = ledger.Totals(0, Decimal(0))

    def prepare(self, chance: Random) -> list[Message]:
        """Make buyers and products, and the orders that they will get."""
        for n, (balance, stock) in enumerate(zip(BALANCES, STOCKS, strict=True), start=1):
            User.create(id=n, name=f"buyer {n}", email=f"{n}@example.org", balance=Decimal(balance))
            Product.create(id=n, name=f"product {n}", price=PRICE, stock=stock)
        self._before = ledger.totals()
        return [self._order(chance) for _ in range(chance.randint(*ORDERS))]

    def violations(self, saga_ids: Sequence[str]) -> list[str]:
        """Ask the ledger, and look for what went below zero."""
        found = ledger.violations(saga_ids, self._before)
        if short := Product.select().where(Product.stock < 0).count():
            found.append(f"{short} products have less than nothing in stock")
        if poor := User.select().where(User.balance < 0).count():
            found.append(f"{poor} users have less than nothing")
        return found

    def _order(self, chance: Random) -> PlaceOrder:
        return PlaceOrder(
            order_id=UUID(int=chance.getrandbits(128)),
            user_id=chance.randint(1, len(BALANCES) + chance.randint(0, 1)),
            product_id=chance.randint(1, len(STOCKS) + chance.randint(0, 1)),
            quantity=chance.randint(1, 3),
        )


WORKLOADS: dict[str, Callable[[Sequence[Stack]], Workload]] = {place_order.name: Orders}


class Summary(BaseModel):
    """What came of all seeds."""

    saga: str
    runs: int
    sagas: int
    statuses: dict[str, int]
    simulated_hours: float
    seconds: float
    runs_per_second: float
    sagas_per_second: float
    violations: dict[int, list[str]]  # by seed


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, one run each.")] = 1000,
    first: Annotated[int, typer.Option(min=0, help="The first of the seeds.")] = 0,
    saga: Annotated[str, typer.Option(help=f"One of {', '.join(WORKLOADS)}.")] = place_order.name,
    seed: Annotated[int | None, typer.Option(help="Run this one seed.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Tell the story of --seed.")] = False,
    without: Annotated[
        str | None, typer.Option(help="Take out inbox, fence or guard, to see it noticed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate sagas among crashes, losses and delays; the same seed gives the same run."""
    if trace and seed is None:
        raise SagaError("--trace tells the story of one seed: add --seed K")
    make = _chosen("--saga", saga, WORKLOADS)
    workload = make(read_stacks(settings_for(None).saga_stacks))
    with broken(without), Simulator(workload) as simulator:
        if seed is not None:
            _show_run(simulator.run(seed, story=trace))
            return
        summary = run_all(simulator, range(first, first + seeds))
    print(summary.model_dump_json(indent=1)) if as_json else _show(summary)
    if summary.violations:
        again = f" --without {without}" if without else ""
        raise SagaError(
            f"violations with {len(summary.violations)} of {summary.runs} seeds: see "
            f"`saga simulate --seed {min(summary.violations)} --trace{again}`"
        )


def run_all(simulator: Simulator, seeds: Iterable[int]) -> Summary:
    """Run seeds one after another, with a progress bar."""
    statuses: Counter[str] = Counter()
    violations: dict[int, list[str]] = {}
    seeds, simulated, began = list(seeds), 0.0, time.perf_counter()
    with progress_bar(TextColumn("{task.fields[found]}")) as progress:
        bar = progress.add_task("simulated", total=len(seeds), found="")
        for seed in seeds:
            run = simulator.run(seed)
            statuses.update(run.statuses)
            simulated += run.seconds
            if run.violations:
                violations[seed] = run.violations
                progress.update(bar, found=f"[red]{len(violations)} broken[/]")
            progress.advance(bar)
    seconds = time.perf_counter() - began
    sagas = statuses.total()
    return Summary(
        saga=simulator.workload.saga.name,
        runs=len(seeds),
        sagas=sagas,
        statuses=dict(sorted(statuses.items())),
        simulated_hours=round(simulated / 3600, 1),
        seconds=round(seconds, 1),
        runs_per_second=round(len(seeds) / seconds, 1),
        sagas_per_second=round(sagas / seconds, 1),
        violations=violations,
    )


@contextmanager
def broken(part: str | None) -> Iterator[None]:
    """Take out a part that makes effects exact: a simulation that is worth its time notices."""
    if part is None:
        yield
        return
    path, name, substitute = _chosen("--without", part, BROKEN)
    module = importlib.import_module(path)
    whole = getattr(module, name)
    setattr(module, name, substitute)
    try:
        yield
    finally:
        setattr(module, name, whole)


_decide = inbox.decide


def _decide_without_inbox(
    command: Envelope, known: Mapping[str, Answer], now: datetime
) -> Decision:
    """Run the handler for a duplicate, too."""
    others = {key: answer for key, answer in known.items() if key != command.id}
    return _decide(command, others, now)


def _decide_without_fence(
    command: Envelope, known: Mapping[str, Answer], now: datetime
) -> Decision:
    """Let a do come after its undo."""
    return replace(_decide(command, known, now), fence=None)


def _take_units_without_guard(product_id: int, quantity: int) -> list[tuple[Decimal]]:
    """Take units whether they are there or not."""
    taken = Product.update(stock=Product.stock - quantity).where(Product.id == product_id)
    return [(row.price,) for row in taken.returning(Product.price).execute()]


# By module name: importing a function declares it, and another system may have one of its name.
BROKEN: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "inbox": ("saga.runtime.inbox", "decide", _decide_without_inbox),
    "fence": ("saga.runtime.inbox", "decide", _decide_without_fence),
    "guard": (
        "saga.functions.product.reserve_product",
        "take_units",
        _take_units_without_guard,
    ),
}


def _chosen(option: str, name: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise SagaError(f"{option} {name}: not one of {', '.join(choices)}")
    return choices[name]


def _show_run(run: Run) -> None:
    for line in run.story:
        console.print(line, markup=False, soft_wrap=True)
    fates = ", ".join(f"{count} {status}" for status, count in run.statuses.items())
    console.print(f"seed {run.seed}: {fates} within {run.seconds:g} simulated seconds")
    console.print(f"faults: {run.faults}")
    console.print(f"fingerprint: {run.fingerprint}")
    if run.violations:
        raise SagaError("; ".join(run.violations[:SHOWN]))


def _show(summary: Summary) -> None:
    for name, value in summary.model_dump(exclude={"statuses", "violations"}).items():
        console.print(f"{name.replace('_', ' '):>16}  [bold]{value}[/]")
    for status, number in summary.statuses.items():
        console.print(f"{status.lower():>16}  [bold]{number}[/]")
    for seed, violations in list(summary.violations.items())[:SHOWN]:
        for violation in violations[:SHOWN]:
            console.print(f"{f'seed {seed}':>16}  [red]{violation}[/]", soft_wrap=True)
    verdict = "[red]broken" if summary.violations else "[green]holds"
    console.print(f"{'verdict':>16}  {verdict}")
