"""`saga bench`: drive order sagas through a running system and measure it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from statistics import quantiles
from typing import Annotated, Literal

import psutil
import typer
from pydantic import BaseModel

from saga.functions.orchestrator.place_order import place_order
from saga.runtime import saga_queries
from saga.runtime.address import reached_at
from saga.runtime.cli.app import Data, Json, settings_for
from saga.runtime.cli.progress import progress_bar
from saga.runtime.cli.terminal import console, line
from saga.runtime.clock import utcnow
from saga.runtime.errors import SagaError
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import IN_FLIGHT, SagaState
from saga.runtime.system.state import System, read_system
from saga.runtime.testing.request import Request

from . import ledger, starting, surroundings
from .starting import Started
from .surroundings import Surroundings

FILLED_TOGETHER = 50_000  # orders of the same buyers
STALLED_AFTER = 60.0  # seconds without any saga ending


class Result(BaseModel):
    """What a run measured. Latency is in milliseconds, to a saga's end.

    It is counted from the saga's row, or in an open loop from the moment at which the saga was to
    start: one that had to wait to be started has waited. To leave that out is what Gil Tene calls
    coordinated omission ("How NOT to Measure Latency"): a system that stalls then looks fast.
    """

    sagas: int
    completed: int
    compensated: int
    seconds: float
    sagas_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_seconds_per_1000: float
    invariants_ok: bool


class Told(Surroundings, Result):
    """What a run measured, and on what."""

    latency_from: Literal["row", "intended start"]


def bench(
    data: Data = None,
    sagas: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 5000,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Sagas started per second [default: all at once].")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Start them through POST /orders.")] = False,
    open_loop: Annotated[
        bool,
        typer.Option(
            "--open-loop", help="Count latency from when --rate wants a saga started, over --http."
        ),
    ] = False,
    fill: Annotated[
        int | None,
        typer.Option(min=1, max=10_000_000, help="Only write so many sagas that have ended."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Drive order sagas through a running system, and measure."""
    if open_loop and not (http and rate):
        raise SagaError("--open-loop needs the start that --rate intends, and --http")
    settings = settings_for(data)
    running = read_system(settings.saga_data)
    ledger.open_databases(settings)
    if fill is not None:
        _fill(fill)
        return
    orders = starting.seed(sagas)
    before, cpu_before = ledger.books(), _cpu_seconds(running)
    began_at = utcnow()
    if http:
        address = (reached_at(settings.saga_host), running.port("orchestrator"))
        started = starting.start_by_http(orders, rate, address)
    else:
        started = starting.start(orders, rate, settings.on_broker(running.broker))
    requests, due, own_cpu = _drive(started, sagas)
    cpu = _cpu_seconds(running) - cpu_before + own_cpu
    # That sagas give up under too much load is what a bench may see.
    violations = ledger.judge_orders(requests, before, excused=1.0).violations
    states = saga_queries.find_many(ledger.sagas(), list(due))
    since = due if open_loop else {state.id: state.created_at for state in states}
    result = measured(states, since, began_at, cpu, invariants_ok=not violations)
    told = Told(
        **result.model_dump(),
        **dict(surroundings.describe(running, ledger.sagas())),
        latency_from="intended start" if open_loop else "row",
    )
    print(told.model_dump_json(indent=1)) if as_json else _show(told)
    if violations:
        raise SagaError(f"{len(violations)} violations, the first: {violations[0]}")


def _drive(
    started: Iterator[Started], count: int
) -> tuple[list[Request], dict[str, datetime], float]:
    """Start all sagas and await their ends.

    Return their requests, when each was due by its id, and the seconds of CPU that starting took:
    to look whether all have ended is no one's work.
    """
    before = _own_cpu_seconds()
    requests: list[Request] = []
    due: dict[str, datetime] = {}
    with progress_bar() as progress:
        bar = progress.add_task("started", total=count)
        for request, moment in started:
            requests.append(request)
            due[str(request.saga_id)] = moment
            progress.update(bar, completed=len(requests))
        own_cpu = _own_cpu_seconds() - before
        progress.update(bar, description="ended")
        for ended in _until_ended(min(due), max(due), count):
            progress.update(bar, completed=ended)
    return requests, due, own_cpu


def _fill(count: int) -> None:
    from .fill import fill

    with progress_bar() as progress:
        bar = progress.add_task("written", total=count)
        for done in range(0, count, FILLED_TOGETHER):
            orders = starting.seed(min(FILLED_TOGETHER, count - done))
            for written in fill(orders, starting.PRICE):
                progress.update(bar, completed=done + written)


def _until_ended(first: str, last: str, count: int) -> Iterator[int]:
    """Yield how many of this run's sagas have ended, until all have.

    Those are counted that have not: they get fewer, and are read from an index alone.
    """
    ours = SagaRow.select(SagaRow.id).where(
        SagaRow.name == place_order.name,
        SagaRow.status.in_(list(IN_FLIGHT)),
        SagaRow.id.between(first, last),
    )
    ended, moved = 0, time.monotonic()
    while ended < count:
        now_ended = count - ours.count()
        if now_ended != ended:
            moved = time.monotonic()
        elif time.monotonic() - moved > STALLED_AFTER:
            raise SagaError(f"only {ended} of {count} sagas ended: see `saga sagas` and `saga ps`")
        ended = now_ended
        yield ended
        time.sleep(0.05)


def measured(
    states: Sequence[SagaState],
    since: Mapping[str, datetime],
    began_at: datetime,
    cpu: float,
    *,
    invariants_ok: bool,
) -> Result:
    """Sum up a run that began at `began_at` and took `cpu` seconds of CPU.

    The latency of each of the ended sagas is counted from the moment that `since` has for its id.
    """
    seconds = (max(state.updated_at for state in states) - began_at).total_seconds()
    milliseconds = [(s.updated_at - since[s.id]).total_seconds() * 1000 for s in states]
    cuts = quantiles(milliseconds, n=100) if len(states) > 1 else milliseconds * 99
    statuses = [state.status for state in states]
    return Result(
        sagas=len(states),
        completed=statuses.count("COMPLETED"),
        compensated=statuses.count("COMPENSATED"),
        seconds=round(seconds, 3),
        sagas_per_second=round(len(states) / seconds, 1),
        p50_ms=round(cuts[49], 1),
        p95_ms=round(cuts[94], 1),
        p99_ms=round(cuts[98], 1),
        cpu_seconds_per_1000=round(cpu / len(states) * 1000, 3),
        invariants_ok=invariants_ok,
    )


def _cpu_seconds(running: System) -> float:
    """Add up what all processes of the system have used so far."""
    total = 0.0
    for process in running.processes:
        with suppress(psutil.NoSuchProcess):
            total += sum(psutil.Process(process.pid).cpu_times()[:2])
    return float(total)


def _own_cpu_seconds() -> float:
    return float(sum(psutil.Process().cpu_times()[:2]))


def _show(told: Told) -> None:
    for name, value in told.model_dump().items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        console.print(line(f"{name:>22}  ", (str(text), "bold")))
