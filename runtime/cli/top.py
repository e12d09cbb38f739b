"""`saga top`: what each function and saga does now, again and again."""

import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..errors import NotRunning, SagaError
from ..settings import Settings
from ..system.state import read_system
from .app import Data, Json, app, settings_for
from .terminal import bare_table, console, line

if TYPE_CHECKING:
    from ..metrics.scrape import FunctionNow, SagasNow, Scrape

EVERY = 2.0  # seconds between two looks
APART = 1.0  # seconds between the two looks of a rate that is told once
LOOKS = 5  # between the first and the last of which a rate is told


@app.command()
def top(
    data: Data = None,
    once: Annotated[
        bool, typer.Option("--once", help="Tell it once, as where there is no terminal.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show live what functions and sagas do: rates, lag, errors.

    It reads the metrics that `saga up` serves. Errors are faults and dead letters since the
    system's start, P99 is of the time in the handler since then; what nobody knows is "unknown".
    """
    settings = settings_for(data)
    url = _address(settings)
    if as_json or once or not sys.stdout.isatty():
        first = _look(url)
        time.sleep(APART)  # a rate is what happens between two looks
        _tell(_look(url), first, as_json=as_json)
        return
    looks = deque([_look(url)], LOOKS)
    told = ""
    try:
        with Live(_tables(looks[-1], None), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(EVERY)
                try:
                    looks.append(_look(url))
                    told = f"{settings.saga_data}, every {EVERY:g} s; Ctrl-C ends it"
                except SagaError as error:
                    told = f"{error}; this is {time.monotonic() - looks[-1].at:.0f} s old"
                live.update(Group(_tables(looks[-1], looks[0]), line((told, "dim"))), refresh=True)
    except KeyboardInterrupt:
        return


def _address(settings: Settings) -> str:
    url = read_system(settings.saga_data).metrics_at(settings.saga_host)
    if url is None:
        raise NotRunning("this system serves no metrics: see SAGA_METRICS_PORT, and its log")
    return url


def _look(url: str) -> "Scrape":
    from ..metrics.scrape import scrape

    try:
        return scrape(url, time.monotonic())
    except OSError as error:
        raise SagaError(f"{url} does not answer: {error}") from None


def _tell(now: "Scrape", before: "Scrape", *, as_json: bool) -> None:
    if not as_json:
        console.print(_tables(now, before))
        return
    from ..metrics.scrape import functions, sagas

    told = {
        "functions": [asdict(one) for one in functions(now, before)],
        "sagas": [asdict(one) for one in sagas(now, before)],
    }
    print(json.dumps(told, indent=1))


def _tables(now: "Scrape", before: "Scrape | None") -> Group:
    from ..metrics.scrape import functions, sagas

    return Group(_functions(functions(now, before)), Text(), _sagas(sagas(now, before)))


def _functions(rows: Sequence["FunctionNow"]) -> Table:
    table = bare_table("FUNCTION", "MEMBERS", "RATE", "LAG", "OLDEST", "ERRORS", "P99")
    for row in rows:
        table.add_row(
            row.name,
            _number(row.members, bad=row.members == 0),
            _number(row.rate, "/s"),
            _number(row.lag),
            _number(row.lag_seconds, " s"),
            _number(row.errors, bad=bool(row.errors)),
            _number(row.p99 and row.p99 * 1000, " ms"),
        )
    return table


def _sagas(rows: Sequence["SagasNow"]) -> Table:
    table = bare_table("SAGA", "RUNNING", "COMPENSATING", "FAILED", "OLDEST", "ENDED")
    for row in rows:
        none_open = row.running == row.compensating == 0
        table.add_row(
            row.name,
            _number(row.running),
            _number(row.compensating),
            _number(row.failed, bad=bool(row.failed)),
            Text() if none_open else _number(row.oldest, " s"),
            _number(row.rate, "/s"),
        )
    return table


def _number(value: float | None, unit: str = "", *, bad: bool = False) -> Text:
    from ..metrics.scrape import told

    return Text(told(value, unit), "dim" if value is None else "red" if bad else "")
