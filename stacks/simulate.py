"""`saga simulate`: the order system in one process, a thousand times, each time from a seed."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
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
from saga.runtime.cli.app import Json
from saga.runtime.cli.progress import progress_bar
from saga.runtime.cli.terminal import console, line
from saga.runtime.errors import SagaError
from saga.runtime.message import Message
from saga.runtime.saga import Saga
from saga.runtime.settings import ORDERS
from saga.runtime.simulation.simulator import (
    BAD_ITEMS,
    GIVEN_UP,
    Run,
    Simulator,
    Workload,
)
from saga.runtime.system.stack import Stack, read_stacks
from saga.runtime.testing.judgement import EXCUSES, Judgement
from saga.runtime.testing.request import Request

from . import ledger
from .planted_bugs import BUGS, planted

PLACED = (3, 12)  # orders, in one run
SHOWN = 10  # seeds with violations, and violations of each, that are printed
PRICE = Decimal("9.99")
ENOUGH_RUNS = 100  # in which everything must have been seen
EXCUSED = 0.45  # of the sagas may give up: functions that fail for a while are most of their luck
# Half of the buyers and products are rich and plenty; one of each is not there at all. The poor
# have the price of one unit, or of six, to the cent.
BALANCES = ("9.99", "59.94", "100000.00", "100000.00")
STOCKS = (1, 10, 100_000, 100_000)


class Orders:
    """The order system as a workload: orders of every fate, checked by the ledger."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.saga: Saga = place_order
        self.stacks = stacks

    def prepare(self, chance: Random) -> list[Message]:
        """Make buyers and products, and the orders that they will get."""
        for n, (balance, stock) in enumerate(zip(BALANCES, STOCKS, strict=True), start=1):
            User.create(id=n, name=f"buyer {n}", email=f"{n}@example.org", balance=Decimal(balance))
            Product.create(id=n, name=f"product {n}", price=PRICE, stock=stock)
        self._before = ledger.books()
        return [self._order(chance) for _ in range(chance.randint(*PLACED))]

    def judge(self, requests: Sequence[Request]) -> Judgement:
        """Ask the ledger; what the nemesis has refused counts as given up."""
        return ledger.judge_orders(requests, self._before, EXCUSES | GIVEN_UP, excused=1.0)

    def _order(self, chance: Random) -> PlaceOrder:
        return PlaceOrder(
            order_id=UUID(int=chance.getrandbits(128)),
            user_id=chance.randint(1, len(BALANCES) + chance.randint(0, 1)),
            product_id=chance.randint(1, len(STOCKS) + chance.randint(0, 1)),
            quantity=chance.randint(1, 3),
        )


WORKLOADS: dict[str, Callable[[Sequence[Stack]], Workload]] = {place_order.name: Orders}


class Summary(BaseModel):
    """What came of all seeds, which follow one another."""

    saga: str
    first_seed: int
    runs: int
    sagas: int
    statuses: dict[str, int]
    seen: dict[str, int]
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
    bug: Annotated[
        str | None, typer.Option(help=f"Plant one, to see it noticed: {', '.join(BUGS)}.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Simulate sagas among crashes and bad items, from seeds.

    The same seed gives the same run.
    """
    if trace and seed is None:
        raise SagaError("--trace tells the story of one seed: add --seed K")
    make = _chosen("--saga", saga, WORKLOADS)
    workload = make(read_stacks(ORDERS))
    planting = planted(_chosen("--bug", bug, BUGS)) if bug else nullcontext()
    with Simulator(workload) as simulator, planting:
        if seed is not None:
            _show_run(simulator.run(seed, story=trace))
            return
        summary = run_all(simulator, range(first, first + seeds))
    print(summary.model_dump_json(indent=1)) if as_json else _show(summary)
    if summary.violations:
        again = f" --bug {bug}" if bug else ""
        raise SagaError(
            f"violations with {len(summary.violations)} of {summary.runs} seeds: see "
            f"`saga simulate --seed {min(summary.violations)} --trace{again}`"
        )
    if problems := too_little_seen(summary):
        raise SagaError("; ".join(problems))


def run_all(simulator: Simulator, seeds: Sequence[int]) -> Summary:
    """Run seeds one after another, with a progress bar."""
    statuses: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    violations: dict[int, list[str]] = {}
    simulated, began = 0.0, time.perf_counter()
    with progress_bar(TextColumn("{task.fields[found]}")) as progress:
        bar = progress.add_task("simulated", total=len(seeds), found="")
        for seed in seeds:
            run = simulator.run(seed)
            statuses.update(run.statuses)
            seen.update(run.seen)
            simulated += run.seconds
            if run.violations:
                violations[seed] = run.violations
                progress.update(bar, found=f"[red]{len(violations)} broken[/]")
            progress.advance(bar)
    seconds = time.perf_counter() - began
    sagas = statuses.total()
    return Summary(
        saga=simulator.workload.saga.name,
        first_seed=seeds[0],
        runs=len(seeds),
        sagas=sagas,
        statuses=dict(sorted(statuses.items())),
        seen=dict(sorted(seen.items())),
        simulated_hours=round(simulated / 3600, 1),
        seconds=round(seconds, 1),
        runs_per_second=round(len(seeds) / seconds, 1),
        sagas_per_second=round(sagas / seconds, 1),
        violations=violations,
    )


def too_little_seen(summary: Summary) -> list[str]:
    """Say what many runs were there to try and have not seen: then they have shown nothing of it.

    Far more that gave up than is usual would be an excuse for whatever goes wrong.
    """
    if summary.runs < ENOUGH_RUNS:
        return []
    unseen = ledger.unseen(summary.seen, "duplicates", *BAD_ITEMS)
    found = [f"these runs saw no {', no '.join(unseen)}"] if unseen else []
    if summary.seen["excused"] > EXCUSED * summary.sagas:
        found.append(f"{summary.seen['excused']} of {summary.sagas} sagas gave up")
    return found


def _chosen(option: str, name: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise SagaError(f"{option} {name}: not one of {', '.join(choices)}")
    return choices[name]


def _show_run(run: Run) -> None:
    for told in run.story:
        console.print(told, soft_wrap=True)
    fates = ", ".join(f"{count} {status}" for status, count in run.statuses.items())
    console.print(f"seed {run.seed}: {fates} within {run.seconds:g} simulated seconds")
    console.print(f"faults: {run.faults}")
    console.print(f"fingerprint: {run.fingerprint}")
    if run.violations:
        raise SagaError("; ".join(run.violations[:SHOWN]))


def _show(summary: Summary) -> None:
    for name, value in summary.model_dump(exclude={"statuses", "seen", "violations"}).items():
        console.print(line(f"{name.replace('_', ' '):>17}  ", (str(value), "bold")))
    for kind, number in summary.seen.items():
        console.print(line(f"{kind:>17}  ", (str(number), "bold")))
    for seed, violations in list(summary.violations.items())[:SHOWN]:
        for violation in violations[:SHOWN]:
            where = f"{f'seed {seed}':>17}  "
            console.print(line(where, (violation, "red")), soft_wrap=True)
    verdict = ("broken", "red") if summary.violations else ("holds", "green")
    console.print(line(f"{'verdict':>17}  ", verdict))
