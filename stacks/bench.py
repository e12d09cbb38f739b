"""`saga bench`: drive order sagas through a running system and measure it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from statistics import quantiles
from typing import Annotated

import psutil
import typer
from pydantic import BaseModel

from saga.functions.orchestrator.place_order import place_order
from saga.runtime import saga_queries
from saga.runtime.cli.app import Data, Json, console, settings_for
from saga.runtime.cli.progress import progress_bar
from saga.runtime.clock import utcnow
from saga.runtime.errors import SagaError
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import IN_FLIGHT
from saga.runtime.system.state import System, read_system
from saga.runtime.testing.request import Request

from . import ledger, starting, surroundings
from .surroundings import Surroundings

FILLED_TOGETHER = 50_000  # orders of the same buyers
STALLED_AFTER = 60.0  # seconds without any saga ending


class Result(BaseModel):
    """What a run measured. Latency is from a saga's row to its end, in milliseconds."""

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


def bench(
    data: Data = None,
    sagas: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 5000,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Sagas started per second [default: all at once].")
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Start them through POST /orders.")] = False,
    fill: Annotated[
        int | None,
        typer.Option(min=1, max=10_000_000, help="Only write so many sagas that have ended."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Drive order sagas through a running system, and measure."""
    settings = settings_for(data)
    running = read_system(settings.saga_data)
    ledger.open_databases(settings)
    if fill is not None:
        _fill(fill)
        return
    orders = starting.seed(sagas)
    before, cpu_before = ledger.books(), _cpu_seconds(running)
    own_before, began_at = _own_cpu_seconds(), utcnow()
    with progress_bar() as progress:
        if http:
            address = (settings.saga_host, running.port("orchestrator"))
            started = starting.start_by_http(orders, rate, address)
        else:
            started = starting.start(orders, rate, settings.on_broker(running.broker))
        bar = progress.add_task("started", total=sagas)
        requests: list[Request] = []
        for request in started:
            requests.append(request)
            progress.update(bar, completed=len(requests))
        own_cpu = _own_cpu_seconds() - own_before  # to look whether all have ended is no one's work
        saga_ids = [str(request.saga_id) for request in requests]
        progress.update(bar, description="ended")
        for count in _until_ended(min(saga_ids), max(saga_ids), sagas):
            progress.update(bar, completed=count)
    cpu = _cpu_seconds(running) - cpu_before + own_cpu
    # That sagas give up under too much load is what a bench may see.
    violations = ledger.judge_orders(requests, before, excused=1.0).violations
    result = _result(saga_ids, began_at, cpu, invariants_ok=not violations)
    told = Told(**result.model_dump(), **dict(surroundings.describe(running, ledger.sagas())))
    print(told.model_dump_json(indent=1)) if as_json else _show(told)
    if violations:
        raise SagaError(f"{len(violations)} violations, the first: {violations[0]}")


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


def _result(
    saga_ids: Sequence[str], began_at: datetime, cpu: float, *, invariants_ok: bool
) -> Result:
    states = saga_queries.find_many(ledger.sagas(), saga_ids)
    seconds = (max(state.updated_at for state in states) - began_at).total_seconds()
    milliseconds = [(s.updated_at - s.created_at).total_seconds() * 1000 for s in states]
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
        console.print(f"{name:>22}  [bold]{text}[/]")
